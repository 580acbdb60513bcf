"""The command ``python -m keras_lnn compare``."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pydantic
from pydantic_settings import CliPositionalArg

from keras_lnn.errors import InputError, suggest
from keras_lnn.files.atomic import require_writable, without_nan
from keras_lnn.terminal import loading, make_console, print_written

if TYPE_CHECKING:
    from rich.console import Console

    from keras_lnn.comparing.mask_runs import MaskRun
    from keras_lnn.comparing.runs import Run

_MODELS_IN_A_NAME = 3


class CompareCommand(pydantic.BaseModel):
    """Compare trained models on the same test samples: which differences the data show, and which they do not.

    Runs that differ in nothing but their seed count as one model. Runs of several data sets are compared data set by
    data set, with one page for each.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    runs: CliPositionalArg[list[Path]] = pydantic.Field(description="runs, and folders that are searched for runs")
    output: Path | None = pydantic.Field(
        None,
        description="folder for the page, tables and pictures, of several data sets for a folder of each (default: "
        "comparisons/DATA-MODELS)",
    )
    split: Literal["test", "val"] = pydantic.Field("test", description="whose samples")
    reference: str | None = pydantic.Field(
        None, description="model that the others are told against (default: the best by mean validation AUC)"
    )
    json_output: bool = pydantic.Field(
        False, alias="json", description="print one JSON object, or of several data sets a list of them"
    )


@dataclasses.dataclass(frozen=True)
class _Result:
    """The comparison of the runs of one data set, and how it is written and shown."""

    data: str
    models: Sequence[str]
    content: dict[str, Any]
    write: Callable[[Path], dict[str, Path]]
    show: Callable[[Console], None]


def run_compare(command: CompareCommand) -> None:
    """Compares, writes and prints."""
    if command.output is not None:
        require_writable(command.output, "--output")
    console, quiet = make_console(), make_console(stderr=True)
    parts = _read_parts(command, quiet)
    references = _find_references(command.reference, parts)
    with loading(quiet, "comparing") as progress:
        results = [
            _compare_part(part, reference, quiet, lambda done, place=place: progress((place + done) / len(parts)))
            for place, (part, reference) in enumerate(zip(parts, references, strict=True))
        ]
    outputs = _find_outputs(command, results)
    for output in outputs:
        require_writable(output, "The output")
    written = [result.write(output) for result, output in zip(results, outputs, strict=True)]
    if command.json_output:
        contents = [result.content for result in results]
        print(json.dumps(contents if len(contents) > 1 else contents[0], indent=2, ensure_ascii=False))
        return
    if len(parts) > 1:
        console.print(f"The runs are of {len(parts)} data sets, each of which is compared by itself.")
    for result, files in zip(results, written, strict=True):
        result.show(console)
        print_written(console, files)


def _read_parts(command: CompareCommand, quiet: Console) -> list[list[Run] | list[MaskRun]]:
    """Returns the runs of each data set."""
    from keras_lnn.comparing.mask_runs import is_mask_run, read_mask_run, same_images
    from keras_lnn.comparing.runs import check_same_samples, find_all_runs, part_by_data, read_run, same_samples

    with loading(quiet, "reading runs"):
        folders = find_all_runs(command.runs)
        of_masks = {folder for folder in folders if is_mask_run(folder)}
        runs = [read_run(folder, command.split) for folder in folders if folder not in of_masks]
        masks = [read_mask_run(folder, command.split) for folder in folders if folder in of_masks]
        of_classes = part_by_data(runs, same_samples)
        for part in of_classes:
            check_same_samples(part)
        return [*of_classes, *part_by_data(masks, same_images)]


def _find_references(reference: str | None, parts: Sequence[Sequence[Run] | Sequence[MaskRun]]) -> list[str | None]:
    """Returns the reference of each data set: the model that was named, where it is among the models there."""
    from keras_lnn.comparing.groups import group_runs

    if reference is None:
        return [None] * len(parts)
    names = [{group.name for group in group_runs(part)} for part in parts]
    every = set().union(*names)
    if reference not in every:
        raise InputError(f"The reference must be one of the models. Received: {reference}. {suggest(reference, every)}")
    return [reference if reference in known else None for known in names]


def _compare_part(
    runs: list[Run] | list[MaskRun], reference: str | None, quiet: Console, progress: Callable[[float], None]
) -> _Result:
    from keras_lnn.comparing.comparison import compare
    from keras_lnn.comparing.mask_runs import compare_masks, print_mask_comparison, write_mask_comparison
    from keras_lnn.comparing.runs import Run
    from keras_lnn.comparing.writing import print_comparison, write_comparison

    if isinstance(runs[0], Run):
        found = compare(runs, reference, progress=progress)
        return _Result(
            found.example.config.data,
            [model.name for model in found.models],
            found.to_json(),
            lambda folder: write_comparison(found, folder, quiet),
            lambda console: print_comparison(found, console),
        )
    # Runs of masks have tables and a picture; the page is of classes.
    masks = compare_masks(runs, reference)
    content = {"models": masks.models.to_dict("records"), "differences": masks.differences.to_dict("records")}
    return _Result(
        masks.data,
        list(masks.models["model"]),
        without_nan({"data": masks.data, **content}),
        lambda folder: write_mask_comparison(masks, folder),
        lambda console: print_mask_comparison(masks, console),
    )


def _find_outputs(command: CompareCommand, results: Sequence[_Result]) -> list[Path]:
    """Returns the folder that was named, or for each data set one that is called by the data and the models."""
    if command.output is not None and len(results) == 1:
        return [command.output]
    parent = command.output or Path("comparisons")
    outputs: list[Path] = []
    for result in results:
        models = sorted(result.models)
        names = "-".join(models) if len(models) <= _MODELS_IN_A_NAME else f"{len(models)}-models"
        split = "" if command.split == "test" else f"-{command.split}"
        name = f"{Path(result.data.split(':', 1)[-1]).stem}-{names}{split}"
        name = re.sub(r"[^A-Za-z0-9._=-]+", "-", name).strip("-.")[:100]
        # Folders of one name may lie in several places.
        free = (name if count == 1 else f"{name}-{count}" for count in itertools.count(1))
        outputs.append(next(parent / one for one in free if parent / one not in outputs))
    return outputs
