"""What each command of ``python -m keras_lnn`` takes and does; the heavy imports wait until the options are right."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pydantic
from pydantic_settings import CliPositionalArg
from rich.table import Table
from rich.text import Text

from keras_lnn.config import DataOptions, OwnModules, Side, TrainConfig, parse_classes
from keras_lnn.data.catalog import require_data, require_source
from keras_lnn.errors import InputError
from keras_lnn.files.atomic import require_writable
from keras_lnn.registry import require_model
from keras_lnn.runs.own_modules import import_modules, require_modules
from keras_lnn.terminal import loading, make_console, print_metrics, start_keras

if TYPE_CHECKING:
    from rich.console import Console

    from keras_lnn.evaluation.samples import LearnedData

# So many answers are shown on the terminal too.
_SHOWN_PREDICTIONS = 20


class _Command(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class ListCommand(OwnModules, _Command):
    """List the models or the data sets."""

    what: CliPositionalArg[Literal["models", "data"]] = pydantic.Field(description="models or data")
    json_output: bool = pydantic.Field(False, alias="json", description="print one JSON list")
    data_dir: Path | None = pydantic.Field(None, description="folder of the data files")


class EvaluateCommand(OwnModules, _Command, DataOptions):
    """Measure a trained model, with 95% intervals; options of the data that are left out are those of its training."""

    model: CliPositionalArg[str] = pydantic.Field(description="run, .keras file, exported folder or name")
    data: str | None = pydantic.Field(None, description="data set (default: the one that it learned from)")
    split: Literal["train", "val", "test", "all"] | None = pydantic.Field(
        None,
        description="which images; all: those that were in neither its training nor its validation (default: test, and "
        "all of other data than it learned from)",
    )
    size: Side | None = pydantic.Field(None, description="side of the images in pixels")
    map_classes: str | None = pydantic.Field(
        None, description="THEIRS=OURS,...: what the model calls classes that have other names in the data"
    )
    positive_class: str | None = pydantic.Field(
        None, description="which of two classes sensitivity, precision and F1 speak of (default: that of its training)"
    )
    json_output: bool = pydantic.Field(False, alias="json", description="print one JSON object")

    @pydantic.field_validator("map_classes", mode="after")
    @classmethod
    def _map_classes(cls, value: str | None) -> str | None:
        parse_classes(value)
        return value


class PredictCommand(OwnModules, _Command):
    """Give the class probabilities of image files, or their masks; folders are searched for images."""

    model: CliPositionalArg[str] = pydantic.Field(description="run, .keras file, exported folder or name")
    images: CliPositionalArg[list[Path]] = pydantic.Field(description="image files and folders; .npy for volumes")
    output: Path | None = pydantic.Field(
        None,
        description="CSV file to write; of a network of masks the folder for them and for a CSV file (default: "
        "predictions.csv, or predictions)",
    )
    overlay: bool = pydantic.Field(False, description="write each mask on its image too")
    skip_bad: bool = pydantic.Field(False, description="leave out image files that are unreadable")


class ExportCommand(OwnModules, _Command):
    """Export a run's best model with its card and signature."""

    run: CliPositionalArg[str] = pydantic.Field(description="run or .keras file")
    format: Literal["saved_model", "keras"] = pydantic.Field("saved_model", description="format of the model")
    output: Path | None = pydantic.Field(None, description="folder to make (default: saved_models/RUN)")


class ImportCommand(OwnModules, _Command):
    """Read weights learned in PyTorch (a state_dict saved as .npz) into the Keras model of the same network."""

    weights: CliPositionalArg[Path] = pydantic.Field(description=".npz with the arrays of a state_dict")
    model: str = pydantic.Field(description="network that the weights are of")
    output: Path = pydantic.Field(description="folder to make; serves like a run")
    model_args: dict[str, Any] = pydantic.Field(default_factory=dict, description="arguments of the network's builder")
    data: str | None = pydantic.Field(None, description="data set it is for (default: the one it was published for)")
    size: Side | None = pydantic.Field(None, description="side of the images in pixels")
    implicit_param_constraints: bool = pydantic.Field(
        True, description="whether an LTC keeps its conductances positive by softplus, as ncps.torch does by default"
    )


def _start(command: OwnModules, console: "Console") -> None:
    """Imports Keras, and then the modules that the command names."""
    require_modules(command.imports)
    start_keras(console)
    import_modules(command.imports)


def run_list(command: ListCommand) -> None:
    """Prints a table or JSON."""
    quiet = make_console(stderr=True)
    if command.imports:
        _start(command, quiet)
    rows = _model_rows(quiet) if command.what == "models" else _data_rows(command.data_dir)
    if command.json_output:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    table = Table()
    for name in rows[0]:
        table.add_column(name, no_wrap=name in ("name", "here"))
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    console = make_console()
    console.print(table)
    if command.what == "data":
        from keras_lnn.data.catalog import OTHER_SOURCES

        width = max(map(len, OTHER_SOURCES))
        for name, what in OTHER_SOURCES.items():
            console.print(f"{name.ljust(width)}  {what}")


def run_evaluate(command: EvaluateCommand) -> None:
    """Measures and prints."""
    console = make_console()
    quiet = make_console(stderr=True)
    from keras_lnn.evaluation.samples import LearnedData
    from keras_lnn.saved.predictor import find_model
    from keras_lnn.saved.signature import read_signature

    signature = read_signature(find_model(command.model))
    _require_data(command, LearnedData.of(command.model, signature))
    _start(command, quiet)
    from keras_lnn.training.evaluate import describe_measured, evaluate_model

    with loading(quiet, "evaluating") as progress:
        metrics = evaluate_model(
            command.model,
            data=command.data,
            split=command.split,
            options=command,
            map_classes=parse_classes(command.map_classes),
            positive_class=command.positive_class,
            progress=progress,
        )
    if command.json_output:
        print(json.dumps(metrics, indent=2, ensure_ascii=False))
    else:
        print_metrics(console, metrics, describe_measured(metrics))


def _require_data(command: EvaluateCommand, learned: "LearnedData") -> None:
    """Checks the name of the data and that their files are there, as far as can be known before Keras is imported."""
    name = command.data or learned.name
    require_source(name, command.image_dir)
    if not command.imports and (learned.config is None or not learned.config.imports):
        require_data(name)


def run_predict(command: PredictCommand) -> None:
    """Predicts and writes a CSV file, or masks."""
    from keras_lnn.files.written import is_standard_output
    from keras_lnn.saved.card import describe_thresholds
    from keras_lnn.saved.image_files import check_headers, find_files
    from keras_lnn.saved.image_predictions import (
        predict_files,
        require_free_table,
        shorten_predictions,
        write_predictions,
    )
    from keras_lnn.saved.mask_predictions import predict_masks, require_free_masks
    from keras_lnn.saved.predictor import find_model, load_predictor
    from keras_lnn.saved.signature import read_signature

    signature = read_signature(find_model(command.model))
    files = find_files(command.images, volumes=len(signature.image_shape) == 4)
    of_masks = signature.get_task().has_masks
    if command.overlay and not of_masks:
        raise InputError(
            f"--overlay is for networks of masks. Received: {command.model}, which has none. Leave it out."
        )
    output = command.output or Path("predictions" if of_masks else "predictions.csv")
    replaced = False
    if of_masks:
        require_free_masks(files, command.images, output, command.overlay)
    else:
        replaced = require_free_table(output)
    check_headers(files, signature, command.skip_bad)
    # A table that goes to standard output stands there alone.
    console = make_console(stderr=is_standard_output(output))
    _start(command, console)
    with loading(console, "loading the model"):
        predictor = load_predictor(command.model)
    warnings: list[str] = []
    options = {"skip_bad": command.skip_bad, "warn": warnings.append}
    with loading(console, "predicting") as progress:
        options["progress"] = progress
        if of_masks:
            table = predict_masks(predictor, command.images, output, overlay=command.overlay, **options)
        else:
            table = predict_files(predictor, command.images, **options)
    if not of_masks:
        write_predictions(table, output)
    for warning in warnings:
        console.print(Text.assemble(("warning: ", "bold yellow"), warning))
    if len(table) <= _SHOWN_PREDICTIONS:
        shown = Table()
        table_of_few = table if of_masks else shorten_predictions(table)
        for name in table_of_few.columns:
            shown.add_column(str(name), overflow="fold")
        for row in table_of_few.itertuples(index=False):
            shown.add_row(*(Text(f"{value:.4f}" if isinstance(value, float) else str(value)) for value in row))
        console.print(shown)
    thresholds = describe_thresholds(signature)
    if thresholds is not None:
        console.print(f"predicted: {thresholds}")
    note = "  (took the place of the predictions that were there)" if replaced else ""
    what = f"{'mask' if of_masks else 'prediction'}{'s' if len(table) != 1 else ''}"
    console.print(f"{len(table)} {what}  {output}{note}")


def run_export(command: ExportCommand) -> None:
    """Exports and says where to."""
    console = make_console()
    from keras_lnn.runs.folder import RunFolder
    from keras_lnn.saved.predictor import find_model
    from keras_lnn.saved.signature import read_signature

    read_signature(find_model(command.run))
    folder = RunFolder(Path(command.run))
    asked_for = command.output or Path("saved_models", folder.name if folder.path.is_dir() else folder.path.stem)
    require_writable(asked_for.parent, "--output")
    _start(command, console)
    from keras_lnn.saved.export import export_model, find_place

    with loading(console, "exporting"):
        metrics = folder.read_metrics() if folder.path.is_dir() else None
        output = find_place(asked_for, command.format)
        note = "  (took the place of the export that was there)" if output.exists() else ""
        note = note if output == asked_for else f"  (beside {asked_for}, which is of another format){note}"
        export_model(command.run, output, command.format, metrics)
    console.print(f"exported  {output}{note}")


def run_import(command: ImportCommand) -> None:
    """Imports and says where to."""
    console = make_console()
    if not command.weights.is_file():
        raise InputError(f"Weights must be an .npz file. Received: {command.weights}, which is not there.")
    if not command.imports:
        require_model(command.model)
    _start(command, console)
    from keras_lnn.registry import get_model
    from keras_lnn.runs.protocol import complete_config
    from keras_lnn.saved.torch_weights import import_weights

    with loading(console, "importing"):
        config = TrainConfig.create(
            {
                "model": command.model,
                "model_args": command.model_args,
                "data": command.data or get_model(command.model).reference_data,
                "size": command.size,
                "run_dir": command.output,
                "imports": command.imports,
            }
        )
        folder = import_weights(command.weights, complete_config(config), command.implicit_param_constraints)
    console.print(f"imported {command.weights} as {command.model} for {config.data}: {folder.path}")


def _model_rows(console: "Console") -> list[dict[str, Any]]:
    from keras_lnn.cli.model_list import find_rows, make_rows

    rows, unknown = find_rows()
    if unknown:
        start_keras(console)
        with loading(console, f"counting the parameters of {len(unknown)} models"):
            rows += make_rows(unknown)
    return sorted(rows, key=lambda row: row["name"])


def _data_rows(data_dir: Path | None) -> list[dict[str, Any]]:
    from keras_lnn.data.catalog import catalog
    from keras_lnn.data.sources.medmnist import medmnist_file

    return [
        {
            "name": entry.name,
            "task": entry.task,
            "labels": list(entry.class_names),
            "dimensions": entry.dimensions,
            "channels": entry.channels,
            "sizes": list(entry.sizes),
            "samples": dict(entry.samples),
            "licence": entry.licence,
            "here": not entry.sources or any(medmnist_file(entry, size, data_dir).is_file() for size in entry.sizes),
        }
        for entry in catalog().values()
    ]


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return " / ".join(f"{number:,}" for number in value.values())
    if isinstance(value, list):
        return ", ".join(map(str, value)) if len(value) <= 4 else f"{len(value)}: {value[0]}, ..."
    return f"{value:,}" if isinstance(value, int) else str(value)
