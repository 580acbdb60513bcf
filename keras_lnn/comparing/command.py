"""The command ``python -m keras_lnn compare``."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pydantic
from pydantic_settings import CliPositionalArg

from keras_lnn.files import require_writable
from keras_lnn.terminal import loading, make_console, print_written

if TYPE_CHECKING:
    from rich.console import Console

_MODELS_IN_A_NAME = 3


class CompareCommand(pydantic.BaseModel):
    """Compare trained models on the same test samples: which differences the data show, and which they do not.

    Runs that differ in nothing but their seed count as one model.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    runs: CliPositionalArg[list[Path]] = pydantic.Field(description="runs, and folders that are searched for runs")
    output: Path | None = pydantic.Field(
        None, description="folder for the page, tables and pictures (default: comparisons/DATA-MODELS)"
    )
    split: Literal["test", "val"] = pydantic.Field("test", description="whose samples")
    reference: str | None = pydantic.Field(
        None, description="model that the others are told against (default: the best by mean validation AUC)"
    )
    json_output: bool = pydantic.Field(False, alias="json", description="print one JSON object")


def run_compare(command: CompareCommand) -> None:
    """Compares, writes and prints."""
    from keras_lnn.comparing.comparison import compare
    from keras_lnn.comparing.runs import find_runs, load_runs
    from keras_lnn.comparing.writing import print_comparison, write_comparison
    from keras_lnn.segmenting.comparing import is_mask_run

    if command.output is not None:
        require_writable(command.output, "--output")
    console, quiet = make_console(), make_console(stderr=True)
    if any(is_mask_run(folder) for path in command.runs for folder in find_runs(path)):
        _compare_masks(command, console)
        return
    with loading(quiet, "reading runs"):
        runs = load_runs(command.runs, split=command.split)
    with loading(quiet, "comparing") as progress:
        comparison = compare(runs, command.reference, progress=progress)
    models = [model.name for model in comparison.models]
    output = _find_output(command, comparison.example.config.data, models)
    require_writable(output, "The output")
    written = write_comparison(comparison, output, quiet)
    if command.json_output:
        print(json.dumps(comparison.to_json(), indent=2, ensure_ascii=False))
        return
    print_comparison(comparison, console)
    print_written(console, written)


def _compare_masks(command: CompareCommand, console: Console) -> None:
    """Runs of masks have tables and a picture; the page is of classes."""
    from keras_lnn.comparing.runs import find_runs
    from keras_lnn.files import without_nan
    from keras_lnn.segmenting.comparing import (
        compare_masks,
        print_mask_comparison,
        read_mask_run,
        write_mask_comparison,
    )

    folders = {folder.resolve(): folder for path in command.runs for folder in find_runs(path)}
    found = compare_masks([read_mask_run(folder, command.split) for folder in folders.values()], command.reference)
    output = _find_output(command, found.data, list(found.models["model"]))
    require_writable(output, "The output")
    written = write_mask_comparison(found, output)
    if command.json_output:
        content = {"models": found.models.to_dict("records"), "differences": found.differences.to_dict("records")}
        print(json.dumps(without_nan(content), indent=2, ensure_ascii=False))
        return
    print_mask_comparison(found, console)
    print_written(console, written)


def _find_output(command: CompareCommand, data: str, models: Sequence[str]) -> Path:
    """The folder that was named, or one called by the data and the models or how many there are."""
    if command.output is not None:
        return command.output
    names = "-".join(sorted(models)) if len(models) <= _MODELS_IN_A_NAME else f"{len(models)}-models"
    split = "" if command.split == "test" else f"-{command.split}"
    name = re.sub(r"[^A-Za-z0-9._=-]+", "-", f"{Path(data.split(':', 1)[-1]).stem}-{names}{split}").strip("-.")
    return Path("comparisons", name[:100])
