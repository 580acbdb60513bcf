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
from keras_lnn.fields.values import OneOf
from keras_lnn.files.atomic import require_writable
from keras_lnn.saved.formats import FORMATS, list_formats
from keras_lnn.terminal import loading, make_console

if TYPE_CHECKING:
    from keras_lnn.data.arrays import ImageArray


class ExportCommand(OwnModules, Command):
    """Export a run's best model with its model card and signature."""

    run: CliPositionalArg[str] = pydantic.Field(description="folder of a run, or .keras file")
    format: Annotated[str, OneOf(list_formats)] = pydantic.Field(
        "saved_model", description="format of the exported model"
    )
    output: Path | None = pydantic.Field(None, description="folder to create (default: saved_models/RUN)")


def run_export(command: ExportCommand) -> None:
    """Exports the model and prints its path."""
    console = make_console()
    from keras_lnn.runs.folder import RunFolder
    from keras_lnn.saved.predictor import find_model
    from keras_lnn.saved.signature import read_signature

    read_signature(find_model(command.run))
    FORMATS[command.format].require_installed(writing=True)
    folder = RunFolder(Path(command.run))
    asked_for = command.output or Path("saved_models", folder.name if folder.path.is_dir() else folder.path.stem)
    require_writable(asked_for.parent, "--output")
    start(command, console)
    from keras_lnn.saved.export import export_model, find_place

    with loading(console, "reading samples to compare on"):
        samples, missing = _read_samples(command.run)
    if missing:
        console.print(Text.assemble(("note: ", "bold"), missing), soft_wrap=True)
    with loading(console, "exporting"):
        metrics = folder.read_metrics() if folder.path.is_dir() else None
        output = find_place(asked_for, command.format)
        note = "  (replaced an earlier export)" if output.exists() else ""
        note = note if output == asked_for else f"  (beside {asked_for}, which has another format){note}"
        export_model(command.run, output, command.format, metrics, samples)
    console.print(f"exported  {output}{note}")


def _read_samples(model: str) -> tuple[ImageArray | None, str]:
    """Returns samples of a model's validation split, and why there are none."""
    from keras_lnn.data.arrays import take_images
    from keras_lnn.saved.export import COMPARED_SAMPLES
    from keras_lnn.training.evaluate import open_model

    try:
        images = open_model(model, split="val").chosen.joined().images
    except InputError as error:
        return None, f"The export is compared with its model on random samples only: {error}"
    return take_images(images, slice(COMPARED_SAMPLES)), ""
