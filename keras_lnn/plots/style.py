"""The common style of all figures: sizes, colours, text and saving."""

from __future__ import annotations

import os
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from keras_lnn.errors import InputError
from keras_lnn.files.atomic import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The colours of Okabe and Ito, distinct for any colour vision, without the yellow, which is pale on white.
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
BLACK, DARK_GREY, GREY, LIGHT_GREY = "#000000", "#4D4D4D", "#8C8C8C", "#DDDDDD"
PALETTE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
LINE_STYLES = ("-", "--")

TITLE_SIZE, LABEL_SIZE, SMALL_SIZE = 10, 9, 7.5
DOTS_PER_INCH = 150
# Written into each PNG file, so that the program recognises its own pictures.
_MADE_BY = "keras-lnn"


def new_figure(width: float, height: float) -> Figure:
    """Returns an empty figure of a size in inches, whose layout keeps text from being cut off or overlapping."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def figure_of(axes: Axes) -> Figure:
    """Returns the whole figure that a panel is in."""
    figure = axes.get_figure(root=True)
    if figure is None:
        raise ValueError("The panel must be in a figure. Received: one that was removed from its figure. Add it again.")
    return figure


def style_axes(axes: Axes, title: str = "", x_label: str = "", y_label: str = "", grid: bool = True) -> None:
    """Gives one panel its title, labels and a light grid below the data, without a frame at the top and right."""
    if title:
        axes.set_title(literal(title), loc="left", fontsize=TITLE_SIZE)
    axes.set_xlabel(literal(x_label), fontsize=LABEL_SIZE)
    axes.set_ylabel(literal(y_label), fontsize=LABEL_SIZE)
    axes.tick_params(labelsize=LABEL_SIZE - 1, color=GREY)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GREY)
    if grid:
        axes.grid(color=LIGHT_GREY, linewidth=0.6)
        axes.set_axisbelow(True)


def keep_within_unit(axes: Axes, axis: str) -> None:
    """Limits an axis that shows shares to the range from 0 to 1.

    Args:
        axes: The panel, after everything has been drawn in it.
        axis: ``x`` or ``y``.
    """
    low, high = getattr(axes, f"get_{axis}lim")()
    getattr(axes, f"set_{axis}lim")(max(low, 0.0), min(high, 1.0))


def set_heading(figure: Figure, heading: str) -> None:
    """Writes the heading of a figure of several panels, left-aligned like the titles of the panels."""
    wrapped = wrap_heading(heading, float(figure.get_size_inches()[0]))
    figure.suptitle(literal(wrapped), x=0.01, ha="left", fontsize=TITLE_SIZE + 1)


def wrap_heading(heading: str, inches: float) -> str:
    """Breaks a heading into lines that fit a figure of this width; about 11 characters of its size fill an inch."""
    return "\n".join(textwrap.wrap(heading, max(int(inches * 11), 20))) or heading


def blank_axes(axes: Axes) -> None:
    """Removes ticks and frame from a panel, so that only its content remains."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def write_note(axes: Axes, note: str) -> None:
    """Writes a note into the middle of a panel that explains why it is empty."""
    axes.text(
        0.5,
        0.5,
        literal(note),
        transform=axes.transAxes,
        ha="center",
        va="center",
        color=DARK_GREY,
        fontsize=LABEL_SIZE,
    )


def wrap_name(name: str, width: int = 18, lines: int = 3) -> str:
    """Breaks a long name into lines that fit, and cuts off what exceeds them."""
    # Names such as "granulocytes(myelocytes" break better before the bracket than within a word.
    spaced = re.sub(r"(?<=\w)\(", " (", name) if len(name) > width else name
    return literal("\n".join(textwrap.wrap(spaced, width, max_lines=lines, placeholder=" …")) or name)


def shorten_name(name: str, width: int = 40) -> str:
    """Shortens a long name in its middle, because names often differ only at one end."""
    if len(name) > width:
        kept = width - 1
        name = f"{name[: kept - kept // 2].rstrip()}…{name[len(name) - kept // 2 :].lstrip()}"
    return literal(name)


def literal(text: str) -> str:
    """Returns the text with its dollar signs escaped, so that they start no formula; applying it twice is safe."""
    return text.replace("\\$", "$").replace("$", "\\$")


def require_png(path: str | os.PathLike) -> None:
    """Checks that the path of a picture ends in .png, which can be done long before the picture is drawn."""
    if Path(path).suffix.lower() != ".png":
        raise InputError(f"A picture's path must end in .png. Received: {path}. Name the file {Path(path).stem}.png.")


def require_free_picture(path: str | os.PathLike) -> None:
    """Checks that a path is free or holds a picture that :func:`save_figure` has written."""
    from PIL import Image

    if not os.path.lexists(path):
        return
    try:
        with Image.open(path) as image:
            is_ours = image.info.get("Software") == _MADE_BY
    except (OSError, ValueError, SyntaxError):
        is_ours = False
    if not is_ours:
        raise InputError(
            f"Only a picture that keras-lnn drew is replaced. Received: {path}, which is another file."
            " Choose another path, or move it away."
        )


def save_figure(figure: Figure, path: str | os.PathLike) -> None:
    """Writes a figure as a PNG file atomically.

    Args:
        figure: A figure that a function of this package returned.
        path: Path of the file, ending in ``.png``. Missing folders are created.

    Raises:
        InputError: If the path does not end in ``.png``.
    """
    require_png(path)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DOTS_PER_INCH, format="png", metadata={"Software": _MADE_BY})
