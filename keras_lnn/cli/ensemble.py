"""``keras-lnn ensemble``: joins runs into one model that predicts the mean of their probabilities."""

from pathlib import Path
from typing import Literal

import pydantic
from pydantic_settings import CliPositionalArg
from rich.text import Text

from keras_lnn.cli.starting import Command, start
from keras_lnn.fields.options import OwnModules
from keras_lnn.files.atomic import require_writable
from keras_lnn.terminal import loading, make_console, print_rows, print_written


class EnsembleCommand(OwnModules, Command):
    """Join runs into one model whose prediction is the mean of their calibrated probabilities, and measure its gain."""

    runs: CliPositionalArg[list[Path]] = pydantic.Field(
        description="folders of runs on the same data, or folders that contain them, such as that of a cross-validation"
    )
    output: Path | None = pydantic.Field(
        None, description="folder to create, or of an earlier ensemble (default: saved_models/ensemble-FIRST)"
    )
    views: Literal["none", "mirror"] = pydantic.Field(
        "none",
        description="mirror: each member also predicts the mirror images that its augmentation had, and the mean is "
        "over all of them; one run is enough",
    )


def run_ensemble(command: EnsembleCommand) -> None:
    """Makes the ensemble, and prints what it gains over its members."""
    console = make_console()
    output = command.output or Path("saved_models", f"ensemble-{command.runs[0].resolve().name}")
    require_writable(output.parent, "--output")
    from keras_lnn.ensembles.layout import MODEL_FILE, PAGE_FILE, require_output
    from keras_lnn.ensembles.members import find_axes, open_members

    require_output(output)
    mirror = command.views == "mirror"
    members = open_members(command.runs, 1 if mirror else 2)
    if mirror:
        find_axes(members)
    start(command, console)
    from keras_lnn.ensembles.writing import make_ensemble

    with loading(console, "joining and measuring") as progress:
        made = make_ensemble(command.runs, output, mirror=mirror, progress=progress)
    for note in made.notes:
        console.print(Text.assemble(("note: ", "bold"), note), soft_wrap=True)
    if made.gain is not None:
        print_rows(made.gain.to_table().to_dict("records"), f"Ensemble of {len(made.gain.members)} models", 4)
        console.print(made.gain.describe(), soft_wrap=True)
    print_written(console, {"model": output / MODEL_FILE, "page": output / PAGE_FILE})
