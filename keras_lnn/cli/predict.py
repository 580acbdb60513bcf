"""``keras-lnn predict``: the probabilities or masks of image files and folders."""

from pathlib import Path
from typing import Any

import pydantic
from pydantic_settings import CliPositionalArg
from rich.table import Table
from rich.text import Text

from keras_lnn.cli.own_series_options import OwnSeriesOptions, read_own_options
from keras_lnn.cli.starting import Command, start
from keras_lnn.fields.options import OwnModules
from keras_lnn.terminal import loading, make_console

# At most this many predictions are shown on the terminal.
_SHOWN_PREDICTIONS = 20


class PredictCommand(OwnSeriesOptions, OwnModules, Command):
    """Predict the class probabilities of images or series of images, or masks; folders are searched for images."""

    model: CliPositionalArg[str] = pydantic.Field(description="run, .keras file, exported folder or name of a model")
    images: CliPositionalArg[list[Path]] = pydantic.Field(
        description="image files and folders; .npy for volumes; tables, folders of series and .npz for series"
    )
    output: Path | None = pydantic.Field(
        None,
        description="CSV file to write; for a segmentation model, the folder for its masks and a CSV file (default: "
        "predictions.csv, or predictions)",
    )
    overlay: bool = pydantic.Field(False, description="also write pictures of each mask drawn on its image")
    skip_bad: bool = pydantic.Field(False, description="skip image files that are unreadable")
    check_likeness: bool = pydantic.Field(
        False,
        description="for a run: compare each image with the training images, in a column, and warn of unlike ones",
    )


def run_predict(command: PredictCommand) -> None:
    """Predicts and writes a CSV file, or masks."""
    from keras_lnn.files.written import is_standard_output
    from keras_lnn.saved.card import describe_thresholds
    from keras_lnn.saved.file_writers import find_writer
    from keras_lnn.saved.formats import find_format
    from keras_lnn.saved.image_files import check_headers, find_inputs
    from keras_lnn.saved.predictor import find_model, load_predictor
    from keras_lnn.saved.signature import read_signature

    path = find_model(command.model)
    signature = read_signature(path)
    own = read_own_options(command, command.model, signature, command.skip_bad)
    files = find_inputs(command.images, signature, own)
    writer = find_writer(signature.get_task(), command.model, command.overlay)
    output = command.output or writer.default_output
    replaced = writer.require_free(files, command.images, output, command.overlay)
    check_headers(files, signature, command.skip_bad)
    # A table on standard output must not be mixed with messages, so they go to standard error.
    console = make_console(stderr=is_standard_output(output))
    if find_format(path).runtime is None or command.check_likeness:
        start(command, console)
    with loading(console, "loading the model"):
        predictor = load_predictor(command.model)
    learned, compare = None, None
    if command.check_likeness:
        from keras_lnn.trained.learned_features import learn_to_compare

        with loading(console, "reading the training images") as progress:
            learned, compare = learn_to_compare(command.model, predictor, progress)
    warnings: list[str] = []
    with loading(console, "predicting") as progress:
        options: dict[str, Any] = {"skip_bad": command.skip_bad, "warn": warnings.append, "progress": progress}
        options |= {"compare": compare}
        options |= {} if own is None else {"own": own}
        table = writer.write(predictor, command.images, output, command.overlay, **options)
    if learned is not None:
        from keras_lnn.explaining.likeness import warn_of_unlike
        from keras_lnn.saved.prediction_columns import LIKENESS

        sentence = warn_of_unlike(table["file"].tolist(), table[LIKENESS].to_numpy(), learned)
        warnings += [] if sentence is None else [sentence]
    for warning in warnings:
        console.print(Text.assemble(("warning: ", "bold yellow"), warning))
    if len(table) <= _SHOWN_PREDICTIONS:
        shown = Table()
        table_of_few = writer.shorten(table)
        for name in table_of_few.columns:
            shown.add_column(str(name), overflow="fold")
        for row in table_of_few.itertuples(index=False):
            shown.add_row(*(Text(f"{value:.4f}" if isinstance(value, float) else str(value)) for value in row))
        console.print(shown)
    thresholds = describe_thresholds(signature)
    if thresholds is not None:
        console.print(f"predicted: {thresholds}")
    note = "  (replaced earlier predictions)" if replaced else ""
    what = f"{writer.noun}{'s' if len(table) != 1 else ''}"
    console.print(f"{len(table)} {what}  {output}{note}")
