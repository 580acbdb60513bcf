"""A sheet of small images under headings, laid out in inches so that captions of any length have room."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_lnn.plots.style import (
    DARK_GREY,
    LABEL_SIZE,
    SMALL_SIZE,
    TITLE_SIZE,
    blank_axes,
    literal,
    shorten_name,
    wrap_heading,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IMAGES_IN_A_ROW = 8
LEAST_WIDTH = 4.2
MARGIN, GAP = 0.12, 0.1
TITLE_INCHES, LINE_INCHES = 0.27, 0.132


@dataclasses.dataclass(frozen=True)
class Cell:
    """One image of a sheet.

    Args:
        picture: uint8, (height, width, 1 or 3).
        above: Lines over it, or nothing.
        below: Lines under it, or nothing.
        colour: Of the lines under it.
    """

    picture: np.ndarray
    above: str = ""
    below: str = ""
    colour: str = DARK_GREY


@dataclasses.dataclass(frozen=True)
class Block:
    """Images under one heading.

    Args:
        title: The heading.
        cells: The images.
        note: What is said where there are none.
    """

    title: str
    cells: Sequence[Cell]
    note: str


def draw_sheet(heading: str, blocks: Sequence[Block], image_inches: float) -> Figure:
    """Draws blocks of images, one under the other.

    Args:
        heading: Over everything.
        blocks: What is drawn.
        image_inches: The width of each image.

    Returns:
        The figure.
    """
    from matplotlib.figure import Figure

    columns = max(1, min(IMAGES_IN_A_ROW, max(len(block.cells) for block in blocks)))
    width = max(columns * (image_inches + GAP) - GAP + 2 * MARGIN, LEAST_WIDTH)
    heading = wrap_heading(heading, width)
    top = MARGIN + 0.21 * (heading.count("\n") + 1)
    height = top + sum(_block_height(block, image_inches) for block in blocks) + MARGIN
    figure = Figure(figsize=(width, height), facecolor="white")
    figure.text(MARGIN / width, 1 - MARGIN / height, literal(heading), va="top", fontsize=TITLE_SIZE + 1)
    for block in blocks:
        _draw_block(figure, block, top, image_inches)
        top += _block_height(block, image_inches)
    return figure


def _draw_block(figure: Figure, block: Block, top: float, image_inches: float) -> None:
    width, height = figure.get_size_inches()
    title = shorten_name(block.title, int(width * 12))
    figure.text(
        MARGIN / width, 1 - (top + 0.08) / height, title, va="top", fontsize=LABEL_SIZE + 0.5, fontweight="bold"
    )
    top += TITLE_INCHES
    if not block.cells:
        figure.text(MARGIN / width, 1 - top / height, block.note, va="top", fontsize=LABEL_SIZE, color=DARK_GREY)
    for start in range(0, len(block.cells), IMAGES_IN_A_ROW):
        strip = block.cells[start : start + IMAGES_IN_A_ROW]
        above, picture, _ = _strip_inches(strip, image_inches)
        for column, cell in enumerate(strip):
            left = MARGIN + column * (image_inches + GAP)
            place = (left / width, 1 - (top + above + picture) / height, image_inches / width, picture / height)
            _draw_cell(figure, cell, place)
        top += sum(_strip_inches(strip, image_inches))


def _draw_cell(figure: Figure, cell: Cell, place: tuple[float, float, float, float]) -> None:
    axes = figure.add_axes(place)
    picture = cell.picture[..., 0] if cell.picture.shape[-1] == 1 else cell.picture
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    blank_axes(axes)
    if cell.above:
        axes.set_title(cell.above, fontsize=SMALL_SIZE - 0.5, color=DARK_GREY, pad=2)
    if cell.below:
        axes.set_xlabel(cell.below, fontsize=SMALL_SIZE, color=cell.colour, labelpad=2, linespacing=1.15)


def _strip_inches(strip: Sequence[Cell], image_inches: float) -> tuple[float, float, float]:
    """The height of the lines above, of the images and of the lines below with the gap to what follows."""
    rows, columns = strip[0].picture.shape[:2]
    # A very long or flat image would otherwise take the whole sheet, or none of it.
    picture = image_inches * float(np.clip(rows / columns, 0.4, 2.5))
    above = max(_lines(cell.above) for cell in strip) * LINE_INCHES
    return above, picture, max(_lines(cell.below) for cell in strip) * LINE_INCHES + GAP


def _lines(text: str) -> int:
    return text.count("\n") + 1 if text else 0


def _block_height(block: Block, image_inches: float) -> float:
    strips = [block.cells[start : start + IMAGES_IN_A_ROW] for start in range(0, len(block.cells), IMAGES_IN_A_ROW)]
    content = sum(sum(_strip_inches(strip, image_inches)) for strip in strips) if strips else 2 * LINE_INCHES
    return TITLE_INCHES + content
