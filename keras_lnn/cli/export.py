"""``keras-lnn export``: exports a trained model in one of the formats, with its card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pydantic
from pydantic_settings import CliPositionalArg
from rich.text import Text

from keras_lnn.cli.starting import Command, start
from keras_lnn.errors import InputError
from keras_lnn.fields.options import OwnModules
from keras_lnn.fields.values import OneOf, Share
from keras_lnn.files.atomic import require_writable
from keras_lnn.saved.formats import FORMATS, list_formats, list_precisions, require_precision
from keras_lnn.terminal import loading, make_console

if TYPE_CHECKING:
    from keras_lnn.benchmarking.precision import PrecisionJudge
    from keras_lnn.data.arrays import ImageArray, Split


class ExportCommand(OwnModules, Command):
    """Export a run's best model with its model card and signature."""

    run: CliPositionalArg[str] = pydantic.Field(description="folder of a run, or .keras file")
    format: Annotated[str, OneOf(list_formats)] = pydantic.Field(
        "saved_model", description="format of the exported model"
    )
    quantize: Annotated[str | None, OneOf(list_precisions)] = pydantic.Field(
        None,
        description="write an ONNX, LiteRT or OpenVINO model in int8 or float16, and measure on validation what that"
        " loses (default: float32)",
    )
    max_loss: Share = pydantic.Field(
        0.01,
        description="the most that --quantize may lose of the leading metric, such as AUC, on validation",
    )
    output: Path | None = pydantic.Field(None, description="folder to create (default: saved_models/RUN)")


def run_export(command: ExportCommand) -> None:
    """Exports the model and prints its path."""
    console = make_console()
    from keras_lnn.runs.folder import RunFolder
    from keras_lnn.saved.predictor import find_model
    from keras_lnn.saved.signature import read_signature

    read_signature(find_model(command.run))
    if command.quantize is not None:
        require_precision(command.format, command.quantize)
    FORMATS[command.format].require_installed(writing=True, precision=command.quantize)
    folder = RunFolder(Path(command.run))
    asked_for = command.output or Path("saved_models", folder.name if folder.path.is_dir() else folder.path.stem)
    require_writable(asked_for.parent, "--output")
    start(command, console)
    from keras_lnn.saved.export import export_model, find_place

    with loading(console, "reading samples to compare on"):
        split, missing = _read_validation(command.run)
    if missing:
        console.print(Text.assemble(("note: ", "bold"), missing), soft_wrap=True)
    judge = _make_judge(command, split)
    with loading(console, "exporting"):
        metrics = folder.read_metrics() if folder.path.is_dir() else None
        output = find_place(asked_for, command.format, command.quantize)
        note = "  (replaced an earlier export)" if output.exists() else ""
        note = note if output == asked_for else f"  (beside {asked_for}, which has another format or precision){note}"
        samples = None if split is None else _take_samples(command, split)
        export_model(command.run, output, command.format, metrics, samples, command.quantize, judge)
    if judge is not None and judge.found is not None:
        console.print(judge.found.describe(), soft_wrap=True, markup=False)
    console.print(f"exported  {output}{note}")


def _read_validation(model: str) -> tuple[Split | None, str]:
    """Returns a model's validation split, and why there is none."""
    from keras_lnn.trained.evaluate import open_model

    try:
        return open_model(model, split="val").chosen.joined(), ""
    except InputError as error:
        return None, f"The export is compared with its model on random samples only: {error}"


def _take_samples(command: ExportCommand, split: Split) -> ImageArray:
    """Returns the samples on which both models are compared, and from which ranges of integers are taken."""
    from keras_lnn.data.arrays import take_images
    from keras_lnn.saved.export import COMPARED_SAMPLES
    from keras_lnn.saved.precisions import take_evenly

    return take_images(split.images, slice(COMPARED_SAMPLES)) if command.quantize is None else take_evenly(split.images)


def _make_judge(command: ExportCommand, split: Split | None) -> PrecisionJudge | None:
    """Returns what measures the loss of a lower precision; None for float32 and where there are no samples."""
    if command.quantize is None or split is None:
        return None
    from keras_lnn.benchmarking.precision import PrecisionJudge
    from keras_lnn.saved.predictor import load_predictor

    return PrecisionJudge(load_predictor(command.run), split, command.max_loss)
