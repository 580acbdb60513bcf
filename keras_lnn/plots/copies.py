"""Pairs of images that are in two splits of a data set, beside each other to be compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_lnn.errors import InputError
from keras_lnn.plots.samples import CAPTION_WIDTH, EXAMPLE_INCHES, name_file
from keras_lnn.plots.sheet import Block, Cell, draw_sheet
from keras_lnn.plots.style import wrap_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_copies(
    pictures: np.ndarray,
    names: Sequence[tuple[str, str]],
    captions: Sequence[tuple[str, str]],
    identical: Sequence[bool],
    heading: str,
) -> Figure:
    """Draws pairs of images, first those with equal pixels, then those that look the same.

    Args:
        pictures: uint8 (pairs, 2, height, width, channels).
        names: The names of the two images of each pair.
        captions: What stands below them, such as their splits and labels.
        identical: Whether the pixels of each pair are equal.
        heading: Heading of the sheet.

    Returns:
        The figure.

    Raises:
        InputError: If the arguments do not fit together.
    """
    lengths = len(pictures), len(names), len(captions), len(identical)
    if len(set(lengths)) > 1 or pictures.ndim != 5 or pictures.shape[1] != 2:
        raise InputError(
            "pictures must be (pairs, 2, height, width, channels), with names, captions and identical for each pair. "
            f"Received: {pictures.shape} and {lengths[1:]}."
        )
    blocks = []
    for wanted, title in ((True, "Identical"), (False, "Nearly identical")):
        cells = [
            Cell(picture, name_file(name), f"{pair + 1}: {wrap_name(caption, CAPTION_WIDTH - 3, 4)}")
            for pair in range(len(pictures))
            if bool(identical[pair]) == wanted
            for picture, name, caption in zip(pictures[pair], names[pair], captions[pair], strict=True)
        ]
        if cells:
            blocks.append(Block(title, cells, ""))
    return draw_sheet(heading, blocks, EXAMPLE_INCHES)
