"""``keras-lnn ensemble``: joins runs into one model that predicts the mean of their probabilities."""

from pathlib import Path
from typing import Literal

import pydantic
from pydantic_settings import CliPositionalArg
from rich.text import Text

from keras_lnn.cli.starting import Command, start
from keras_lnn.fields.options import OwnModules
from keras_lnn.fields.values import ShareAboveZero
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
    coverage: ShareAboveZero | None = pydantic.Field(
        None,
        description="prediction sets for data with one class per image: the share of samples, such as 0.9, whose set "
        "of classes contains the true one (default: as the members were trained, where all were trained alike)",
    )
    coverage_by_class: bool = pydantic.Field(
        False, description="--coverage holds for each true class on its own; needs more images"
    )
    referral_risk: ShareAboveZero | None = pydantic.Field(
        None,
        description="refer unsure samples to a human: the largest share of wrong decisions, such as 0.05, among those "
        "that are not referred (default: as the members were trained, where all were trained alike)",
    )


def run_ensemble(command: EnsembleCommand) -> None:
    """Makes the ensemble, and prints what it gains over its members."""
    console = make_console()
    output = command.output or Path("saved_models", f"ensemble-{command.runs[0].resolve().name}")
    require_writable(output.parent, "--output")
    from keras_lnn.ensembles.layout import MODEL_FILE, PAGE_FILE, require_output
    from keras_lnn.ensembles.members import find_axes, open_members
    from keras_lnn.ensembles.promises import Promises

    require_output(output)
    mirror = command.views == "mirror"
    members = open_members(command.runs, 1 if mirror else 2)
    if mirror:
        find_axes(members)
    promises = Promises(command.coverage, command.coverage_by_class, command.referral_risk)
    promises.complete(members)
    start(command, console)
    from keras_lnn.ensembles.writing import make_ensemble
    from keras_lnn.saved.results import describe_promised

    with loading(console, "joining and measuring") as progress:
        made = make_ensemble(command.runs, output, mirror=mirror, promises=promises, progress=progress)
    for note in made.notes:
        console.print(Text.assemble(("note: ", "bold"), note), soft_wrap=True)
    if made.gain is not None:
        print_rows(made.gain.to_table().to_dict("records"), f"Ensemble of {len(made.gain.members)} models", 4)
        console.print(made.gain.describe(), soft_wrap=True)
    if made.results is not None:
        for sentence in describe_promised(made.results.content, "test"):
            console.print(sentence, soft_wrap=True)
    print_written(console, {"model": output / MODEL_FILE, "page": output / PAGE_FILE})
