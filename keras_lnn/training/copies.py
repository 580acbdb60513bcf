"""A picture and a table of the images that are in two splits, written before a training begins."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from rich.console import Console

from keras_lnn.config import TrainConfig
from keras_lnn.data import ImageData
from keras_lnn.data.checking import Copies
from keras_lnn.errors import InputError
from keras_lnn.files.atomic import write_text
from keras_lnn.files.csv_tables import to_csv
from keras_lnn.plots import plot_copies, require_free_picture, require_png, save_figure
from keras_lnn.plots.views import view_samples
from keras_lnn.tasks.kinds import make_task
from keras_lnn.terminal import make_console, print_written
from keras_lnn.training.loop import load_images
from keras_lnn.training.protocol import complete_config

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = ("kind", "split", "file", "label", "other split", "other file", "other label")
# So many pairs are drawn; the table has all of them.
_DRAWN = 48


def show_copies(config: TrainConfig, path: Path, console: Console | None = None) -> None:
    """Draws the images that are in two splits, or look as if they were, to a PNG file, with a table beside it.

    Args:
        config: Configuration of the run.
        path: The picture to write; the table has the same name and the ending ``.csv``.
        console: Where progress is shown; standard output if not given.
    """
    table = path.with_suffix(".csv")
    require_png(path)
    require_free_picture(path)
    _require_free_table(table)
    console = console or make_console()
    data = load_images(complete_config(config), console)
    if data.check is None:
        raise InputError(
            f"--show-copies compares your own images, which may be in two splits. Received: {data.name}, whose splits"
            " are fixed. Give --data folder:..., table:..., masks:... or series:..."
        )
    if not data.check.copies:
        console.print(f"No two {data.check.noun} in different splits look the same.")
        return
    save_figure(draw_copies(data, data.check.copies), path)
    write_text(table, to_csv(tabulate_copies(data, data.check.copies)))
    print_written(console, {"copies": path, "table": table})


def tabulate_copies(data: ImageData, pairs: tuple[Copies, ...]) -> pd.DataFrame:
    """Returns one row per pair: whether it is identical, and of both images split, file and label.

    Args:
        data: The data.
        pairs: Pairs of its images.
    """
    rows = []
    for pair in pairs:
        labels = _describe_labels(data, pair)
        both = [value for one in zip(pair.splits, pair.names, labels, strict=True) for value in one]
        rows.append(["identical" if pair.identical else "nearly identical", *both])
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def draw_copies(data: ImageData, pairs: tuple[Copies, ...]) -> Figure:
    """Draws pairs of images side by side, with their splits and labels; at most 48 pairs.

    Args:
        data: The data.
        pairs: Pairs of its images.
    """
    drawn = pairs[:_DRAWN]
    views = {split: view_samples(part.images) for split, part in data.splits.items()}
    pictures, captions = [], []
    for pair in drawn:
        both = zip(pair.splits, pair.places, strict=True)
        pictures.append([views[split].pictures(np.array([place]))[0] for split, place in both])
        one, other = zip(pair.splits, _describe_labels(data, pair), strict=True)
        captions.append((", ".join(one), ", ".join(other)))
    note = next(iter(views.values())).picture_note
    some = f"the first {len(drawn)} of " if len(drawn) < len(pairs) else ""
    heading = f"Images in two splits of {data.name}: {some}{len(pairs)} pairs{note}"
    return plot_copies(
        np.array(pictures), [pair.names for pair in drawn], captions, [pair.identical for pair in drawn], heading
    )


def _describe_labels(data: ImageData, pair: Copies) -> list[str]:
    """Returns the labels of both images of a pair in words."""
    task = make_task(data.task, data.class_names)
    both = zip(pair.splits, pair.places, strict=True)
    return [task.describe_label(data.splits[split].labels[place]) for split, place in both]


def _require_free_table(path: Path) -> None:
    """Checks that a path is free or holds an earlier table of copies."""
    if not path.exists():
        return
    try:
        with open(path, encoding="utf-8") as stream:
            is_ours = stream.readline(1000).rstrip("\r\n") == ",".join(_COLUMNS)
    except (OSError, UnicodeDecodeError):
        is_ours = False
    if not is_ours:
        raise InputError(
            f"Only an earlier table of copies is replaced. Received: {path}, which is another file. Choose another"
            " path, or move it away."
        )
