"""The command ``python -m keras_lnn compare``."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pydantic
from pydantic_settings import CliPositionalArg

from keras_lnn.errors import InputError, suggest
from keras_lnn.files.atomic import require_writable
from keras_lnn.terminal import loading, make_console, print_written, start_keras

if TYPE_CHECKING:
    from rich.console import Console

    from keras_lnn.comparing.compared_run import ComparedRun
    from keras_lnn.comparing.comparison import Comparison

_MODELS_IN_A_NAME = 3


class CompareCommand(pydantic.BaseModel):
    """Compare trained models on the same test samples, and report which differences the data show.

    Runs that differ only in their seed count as one model. Runs on several data sets are compared separately for each
    data set, with one page for each. Cross-validations with the same folds are compared on average over the folds and
    by all predictions.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    runs: CliPositionalArg[list[Path]] = pydantic.Field(
        description="folders of runs, or folders that contain them; or folders of cross-validations"
    )
    output: Path | None = pydantic.Field(
        None,
        description="folder for the page, tables and pictures; with several data sets it gets one folder for each "
        "(default: comparisons/DATA-MODELS)",
    )
    split: Literal["test", "val"] = pydantic.Field("test", description="split on which the models are compared")
    reference: str | None = pydantic.Field(
        None, description="model that the others are compared with (default: the best by mean validation AUC or Dice)"
    )
    sampling: bool = pydantic.Field(
        False,
        description="for series: load the models, measure them on the same series with other frames as well, and write "
        "sampling.csv and a picture",
    )
    json_output: bool = pydantic.Field(
        False, alias="json", description="print one JSON object, or a list of them for several data sets"
    )


def run_compare(command: CompareCommand) -> None:
    """Compares the runs, and writes and prints the results."""
    from keras_lnn.comparing.comparison import compare
    from keras_lnn.comparing.cross_validations import CrossValidation
    from keras_lnn.comparing.fold_differences import with_folds
    from keras_lnn.comparing.writing import print_comparison, write_comparison

    if command.output is not None:
        require_writable(command.output, "--output")
    console, quiet = make_console(), make_console(stderr=True)
    parts = _read_parts(command, quiet)
    references = _find_references(command.reference, parts)
    if command.sampling:
        _require_series(parts)
    with loading(quiet, "comparing") as progress:
        results = [
            compare(part, reference, progress=lambda done, place=place: progress((place + done) / len(parts)))
            for place, (part, reference) in enumerate(zip(parts, references, strict=True))
        ]
        results = [with_folds(result) if isinstance(result.example, CrossValidation) else result for result in results]
    if command.sampling:
        start_keras(quiet)
        results = _measure_samplings(results, command.split, quiet)
    outputs = _find_outputs(command, results)
    for output in outputs:
        require_writable(output, "The output")
    written = [write_comparison(result, output, quiet) for result, output in zip(results, outputs, strict=True)]
    if command.json_output:
        contents = [result.to_json() for result in results]
        print(json.dumps(contents if len(contents) > 1 else contents[0], indent=2, ensure_ascii=False))
        return
    if len(parts) > 1:
        console.print(f"The runs are on {len(parts)} data sets, which are compared separately.")
    for result, files in zip(results, written, strict=True):
        print_comparison(result, console)
        print_written(console, files)


def _read_parts(command: CompareCommand, quiet: Console) -> list[list[ComparedRun]]:
    """Returns the runs of each data set, or all cross-validations."""
    from keras_lnn.comparing.compared_run import check_same_samples, part_by_data, same_samples
    from keras_lnn.comparing.cross_validations import find_cross_validations, load_cross_validations
    from keras_lnn.comparing.runs import find_all_runs, read_any_run

    with loading(quiet, "reading runs"):
        folders = find_cross_validations(command.runs)
        if folders:
            if command.sampling:
                raise InputError(
                    f"--sampling measures the models of runs. Received: {folders[0]}, a cross-validation. Leave it out,"
                    " or name the runs of a fold."
                )
            return [[*load_cross_validations(folders, command.split)]]
        runs: list[ComparedRun] = [read_any_run(folder, command.split) for folder in find_all_runs(command.runs)]
        parts = part_by_data(runs, same_samples)
        for part in parts:
            check_same_samples(part)
        return parts


def _require_series(parts: Sequence[Sequence[ComparedRun]]) -> None:
    """Checks that all runs are of series, whose models can be loaded."""
    from keras_lnn.saved.predictor import find_model
    from keras_lnn.saved.signature import read_signature

    for run in itertools.chain.from_iterable(parts):
        read_signature(find_model(run.path)).require_series(str(run.path), "--sampling")


def _measure_samplings(results: Sequence[Comparison], split: str, quiet: Console) -> list[Comparison]:
    """Returns the comparisons with each model's leading metric under each sampling."""
    from keras_lnn.comparing.sampling import with_sampling
    from keras_lnn.trained.evaluate import LastLoaded, predict_run_samplings

    measured, load = [], LastLoaded()
    with loading(quiet, "measuring samplings") as progress:
        for place, result in enumerate(results):
            runs = [run for model in result.models for run in model.runs]
            predicted = {}
            for number, run in enumerate(runs):
                predicted[run.path] = predict_run_samplings(run.path, split, run.truth, load)
                progress((place + (number + 1) / len(runs)) / len(results))
            measured.append(with_sampling(result, predicted))
    return measured


def _find_references(reference: str | None, parts: Sequence[Sequence[ComparedRun]]) -> list[str | None]:
    """Returns the reference of each data set: the named model, or None for a data set without it."""
    from keras_lnn.comparing.groups import group_runs

    if reference is None:
        return [None] * len(parts)
    names = [{group.name for group in group_runs(part)} for part in parts]
    every = set().union(*names)
    if reference not in every:
        raise InputError(f"The reference must be one of the models. Received: {reference}. {suggest(reference, every)}")
    return [reference if reference in known else None for known in names]


def _find_outputs(command: CompareCommand, results: Sequence[Comparison]) -> list[Path]:
    """Returns the output folder that was given, or one per data set, named after the data and the models."""
    if command.output is not None and len(results) == 1:
        return [command.output]
    parent = command.output or Path("comparisons")
    outputs: list[Path] = []
    for result in results:
        models = sorted(model.name for model in result.models)
        names = "-".join(models) if len(models) <= _MODELS_IN_A_NAME else f"{len(models)}-models"
        split = "" if command.split == "test" else f"-{command.split}"
        name = f"{Path(result.example.config.data.split(':', 1)[-1]).stem}-{names}{split}"
        name = re.sub(r"[^A-Za-z0-9._=-]+", "-", name).strip("-.")[:100]
        # Folders of the same name may lie in several places.
        free = (name if count == 1 else f"{name}-{count}" for count in itertools.count(1))
        outputs.append(next(parent / one for one in free if parent / one not in outputs))
    return outputs
