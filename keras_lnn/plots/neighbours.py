"""Images beside the training images that are nearest to them in the eyes of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_lnn.data.arrays import name_samples
from keras_lnn.errors import InputError
from keras_lnn.plots.arguments import check_images
from keras_lnn.plots.samples import CAPTION_WIDTH, EXAMPLE_INCHES, name_file
from keras_lnn.plots.sheet import IMAGES_IN_A_ROW, Block, Cell, draw_sheet
from keras_lnn.plots.style import BLACK, DARK_GREY, wrap_name
from keras_lnn.plots.views import view_samples

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_neighbours(
    images: Any,
    training_images: Any,
    rows: np.ndarray,
    distances: np.ndarray,
    labels: Sequence[Sequence[str]],
    titles: Sequence[str],
    names: Sequence[Sequence[str]] | None = None,
) -> Figure:
    """Draws images, each at the left of the training images that are nearest to it.

    Args:
        images: uint8 (samples, height, width, channels), or volumes (samples, depth, height, width, channels), of which
            the middle slice is drawn, or series, of which the last frame is drawn.
        training_images: The training images, likewise.
        rows: Positions of the nearest training images of each image, the nearest first, (samples, neighbours).
        distances: Their distances, (samples, neighbours).
        labels: Their labels in words.
        titles: Line above each row, such as the name of the image and what is predicted for it.
        names: Captions of the training images, such as their file names; None means their positions.

    Returns:
        The figure.

    Raises:
        InputError: If the arguments do not fit together.
    """
    count, total = check_images(images), check_images(training_images)
    rows, distances = np.asarray(rows), np.asarray(distances)
    if rows.ndim != 2 or rows.shape != distances.shape or not len(rows) == len(labels) == len(titles) == count:
        raise InputError(
            "rows and distances must be (samples, neighbours), with labels and a title for each sample. Received: "
            f"{rows.shape}, {distances.shape}, {len(labels)} and {len(titles)} for {count} samples."
        )
    if not 1 <= rows.shape[1] < IMAGES_IN_A_ROW:
        raise InputError(f"There is room for 1 to {IMAGES_IN_A_ROW - 1} neighbours. Received: {rows.shape[1]}.")
    if rows.min() < 0 or rows.max() >= total:
        raise InputError(
            f"rows must be positions among {total} training {name_samples(images)}. Received: {rows.max()}."
        )
    view, known = view_samples(images), view_samples(training_images)
    pictures, blocks = view.pictures(np.arange(count)), []
    for place, title in enumerate(titles):
        cells = [Cell(pictures[place], f"this {view.noun}", "", BLACK)]
        for column, picture in enumerate(known.pictures(rows[place])):
            above = f"#{rows[place, column]}" if names is None else name_file(names[place][column])
            label = wrap_name(labels[place][column], CAPTION_WIDTH, 4)
            below = f"{label}\ndistance {distances[place, column]:.3f}"
            cells.append(Cell(picture, above, below, DARK_GREY))
        blocks.append(Block(title, cells, ""))
    heading = f"Nearest training {name_samples(images)} by the features that the network decides by{view.picture_note}"
    return draw_sheet(heading, blocks, EXAMPLE_INCHES)
