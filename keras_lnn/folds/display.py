"""The data of a cross-validation and what is printed of it: the samples of all folds, and one line per run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from keras_lnn.data.arrays import ImageData, name_samples
from keras_lnn.data.folds import count_pooled
from keras_lnn.folds.layout import FoldRun
from keras_lnn.studies.declaration import StudyRun
from keras_lnn.studies.display import StudyDisplay
from keras_lnn.terminal import loading


class FoldDisplay(StudyDisplay):
    """The display of a cross-validation.

    Args:
        console: Console for the output.
        runs: Its runs, done or not.
        folder: Its folder.
    """

    def __init__(self, console: Console, runs: Sequence[FoldRun], folder: Path) -> None:
        config = runs[0].config
        super().__init__(console, f"{config.model} on {config.data}", runs, folder)


def load_pool(run: StudyRun, console: Console) -> ImageData:
    """Returns the data in the splits of one fold, which together have the samples of all folds.

    Args:
        run: The run of the fold.
        console: Console on which progress is shown.
    """
    from keras_lnn.data import load_data
    from keras_lnn.data.reading import Reading
    from keras_lnn.training.protocol import complete_config

    config = complete_config(run.config)
    with loading(console, f"loading {config.data}") as progress:
        return load_data(config.data, Reading.of_run(config), progress=progress)


def print_pool(console: Console, data: ImageData, folds: int) -> None:
    """Prints how many samples are dealt to the folds, what stays out, and what a look at own images found.

    Args:
        console: Console that is printed to.
        data: The data in the splits of one of the folds.
        folds: Number of folds.
    """
    samples, patients = count_pooled(data)
    noun = name_samples(data.splits["train"].images)
    of_patients = "; patients are not known" if patients is None else f" of {patients:,} patients, who are not divided"
    console.print(f"{samples:,} {noun}{of_patients}: {folds} folds of about {samples / folds:.0f}")
    if "test" in data.given_splits:
        console.print(f"the test split of {data.name} is left out, for a final test")
    for warning in () if data.check is None else data.check.warnings:
        console.print(Text.assemble(("warning: ", "bold yellow"), warning))
