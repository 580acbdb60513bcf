"""A sheet of small images under headings, laid out in inches so that captions of any length have room."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_lnn.plots.style import (
    BLACK,
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
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

IMAGES_IN_A_ROW = 8
LEAST_WIDTH = 4.2
MARGIN, GAP = 0.12, 0.1
TITLE_INCHES, LINE_INCHES, LEGEND_INCHES = 0.27, 0.132, 0.22
# Each pixel is divided into this many parts along each side before its outline is drawn.
_FINER = 4


@dataclasses.dataclass(frozen=True)
class Outline:
    """The border of an area, drawn on an image.

    Args:
        mask: Whether each pixel belongs to the area, (height, width).
        colour: Colour of the line.
        beneath: Whether the line is wide, with a dark rim, so that it shows on both sides of another line on top of it.
    """

    mask: np.ndarray
    colour: str
    beneath: bool = False


@dataclasses.dataclass(frozen=True)
class Cell:
    """One image of a sheet.

    Args:
        picture: uint8, (height, width, 1 or 3).
        above: Lines of text above the image; may be empty.
        below: Lines of text below the image; may be empty.
        colour: Colour of the text below.
        outlines: Outlines drawn on the image, the later ones on top.
        begins_row: Whether the image begins a new row; its text below is then that of the row.
    """

    picture: np.ndarray
    above: str = ""
    below: str = ""
    colour: str = DARK_GREY
    outlines: Sequence[Outline] = ()
    begins_row: bool = False


@dataclasses.dataclass(frozen=True)
class Block:
    """Images under one heading.

    Args:
        title: The heading.
        cells: The images.
        note: Text to show where there are no images.
    """

    title: str
    cells: Sequence[Cell]
    note: str

    def rows(self) -> list[list[Cell]]:
        """Returns the images of each row."""
        rows: list[list[Cell]] = []
        for cell in self.cells:
            if not rows or cell.begins_row or len(rows[-1]) == IMAGES_IN_A_ROW:
                rows.append([])
            rows[-1].append(cell)
        return rows


def draw_sheet(
    heading: str, blocks: Sequence[Block], image_inches: float, legend: Sequence[tuple[str, str]] = ()
) -> Figure:
    """Draws blocks of images, one below the other.

    Args:
        heading: Heading of the sheet.
        blocks: The blocks to draw.
        image_inches: The width of each image.
        legend: Names and colours of outlines, written in one line below the heading.

    Returns:
        The figure.
    """
    from matplotlib.figure import Figure

    columns = max((len(row) for block in blocks for row in block.rows()), default=1)
    width = max(columns * (image_inches + GAP) - GAP + 2 * MARGIN, LEAST_WIDTH)
    heading = wrap_heading(heading, width)
    head = MARGIN + 0.21 * (heading.count("\n") + 1)
    top = head + (LEGEND_INCHES if legend else 0)
    height = top + sum(_block_height(block, image_inches) for block in blocks) + MARGIN
    figure = Figure(figsize=(width, height), facecolor="white")
    figure.text(MARGIN / width, 1 - MARGIN / height, literal(heading), va="top", fontsize=TITLE_SIZE + 1)
    if legend:
        _draw_legend(figure, legend, (MARGIN / width, 1 - head / height))
    for block in blocks:
        _draw_block(figure, block, top, image_inches)
        top += _block_height(block, image_inches)
    return figure


def _draw_legend(figure: Figure, legend: Sequence[tuple[str, str]], corner: tuple[float, float]) -> None:
    from matplotlib.patches import Patch

    handles = [
        Patch(facecolor=colour, edgecolor=DARK_GREY, linewidth=0.6, label=literal(name)) for name, colour in legend
    ]
    style = {"frameon": False, "fontsize": LABEL_SIZE, "ncols": len(handles), "handlelength": 1.0, "handleheight": 0.8}
    padding = {"borderpad": 0.1, "borderaxespad": 0.0, "handletextpad": 0.4, "columnspacing": 1.2}
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=corner, **style, **padding)


def _draw_block(figure: Figure, block: Block, top: float, image_inches: float) -> None:
    width, height = figure.get_size_inches()
    title = shorten_name(block.title, int(width * 12))
    figure.text(
        MARGIN / width, 1 - (top + 0.08) / height, title, va="top", fontsize=LABEL_SIZE + 0.5, fontweight="bold"
    )
    top += TITLE_INCHES
    if not block.cells:
        figure.text(MARGIN / width, 1 - top / height, block.note, va="top", fontsize=LABEL_SIZE, color=DARK_GREY)
    for strip in block.rows():
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
    axes.set_autoscale_on(False)
    for outline in cell.outlines:
        _draw_outline(axes, outline)
    blank_axes(axes)
    if cell.above:
        axes.set_title(cell.above, fontsize=SMALL_SIZE - 0.5, color=DARK_GREY, pad=2)
    if cell.below:
        side = "left" if cell.begins_row else "center"
        axes.set_xlabel(cell.below, fontsize=SMALL_SIZE, color=cell.colour, labelpad=2, linespacing=1.15, loc=side)


def _draw_outline(axes: Axes, outline: Outline) -> None:
    """Draws an outline along the sides of the pixels, which a contour through their centres would cut off."""
    if not outline.mask.any():
        return
    fine = np.kron(np.pad(outline.mask, 1), np.ones((_FINER, _FINER)))
    rows, columns = ((np.arange(length) + 0.5) / _FINER - 1.5 for length in fine.shape)
    if outline.beneath:
        axes.contour(columns, rows, fine, levels=[0.5], colors=BLACK, linewidths=3.6)
    axes.contour(columns, rows, fine, levels=[0.5], colors=outline.colour, linewidths=2.8 if outline.beneath else 1.3)


def _strip_inches(strip: Sequence[Cell], image_inches: float) -> tuple[float, float, float]:
    """Returns the height of the lines above, of the images, and of the lines below with the gap that follows."""
    rows, columns = strip[0].picture.shape[:2]
    # The shape is limited, because a very long or flat image would take the whole sheet or none of it.
    picture = image_inches * float(np.clip(rows / columns, 0.4, 2.5))
    above = max(_lines(cell.above) for cell in strip) * LINE_INCHES
    return above, picture, max(_lines(cell.below) for cell in strip) * LINE_INCHES + GAP


def _lines(text: str) -> int:
    return text.count("\n") + 1 if text else 0


def _block_height(block: Block, image_inches: float) -> float:
    content = sum(sum(_strip_inches(strip, image_inches)) for strip in block.rows())
    content = content if block.cells else 2 * LINE_INCHES
    return TITLE_INCHES + content
