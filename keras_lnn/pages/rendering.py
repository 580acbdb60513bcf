"""Filling the templates of pages: every text is escaped, and a name that a template does not know is an error."""

from __future__ import annotations

import base64
import dataclasses
import functools
import html
import io
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from keras_lnn.files.atomic import as_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Pixels of a page for an inch of a figure.
_PIXELS_PER_INCH = 96
# A figure that is shown smaller than this share of its size cannot be read: it scrolls instead.
_SMALLEST_SHARE = 0.8


@dataclasses.dataclass(frozen=True)
class Link:
    """A text that leads to another file, whose place is relative to the page.

    Args:
        text: What is shown.
        href: The address, from :func:`relative_link`.
    """

    text: str
    href: str


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of a page, which scrolls in its own box where the page is narrow.

    Args:
        caption: What it shows.
        head: The names of the columns.
        rows: The cells of each row, the first of which names it; text after a line break in a cell is small.
        texts: How many of the first columns hold words, which stand at the left and break into lines.
        folded: What a fold that hides the table is called; empty to show it.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str | Link]]
    texts: int = 1
    folded: str = ""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture within a page.

    Args:
        source: Its content as a ``data:`` address.
        width: Its full width on the page in pixels.
        text: What it shows and how to read it.
        title: Its heading; empty for none.
    """

    source: str
    width: int
    text: str
    title: str = ""

    @property
    def smallest_width(self) -> int:
        """Returns the width below which the picture scrolls in its box, because its text could not be read."""
        return round(_SMALLEST_SHARE * self.width)

    @classmethod
    def of_figure(cls, figure: Figure, text: str) -> Picture:
        """Returns a figure as an SVG image of its own, so that names in one do not collide with those in another."""
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
        width = round(float(figure.get_size_inches()[0]) * _PIXELS_PER_INCH)
        return cls(_data_address(buffer.getvalue(), "image/svg+xml"), width, text)

    @classmethod
    def of_file(cls, path: Path, text: str, title: str = "") -> Picture:
        """Returns a figure that was saved as a PNG file."""
        from PIL import Image

        with Image.open(path) as image:
            pixels = image.width
            dots_per_inch = image.info.get("dpi", (_PIXELS_PER_INCH,))[0]
        width = round(pixels / float(dots_per_inch) * _PIXELS_PER_INCH)
        return cls(_data_address(path.read_bytes(), "image/png"), width, text, title)


def render(template: str, **content: Any) -> str:
    """Returns a page.

    Args:
        template: File name of the template.
        content: What the template shows, by the names that it has for it.
    """
    return _environment().get_template(template).render(content)


def relative_link(target: str | os.PathLike, folder: str | os.PathLike) -> str:
    """Returns the address of a file as a page in a folder names it, so that both can be moved together."""
    path = os.path.relpath(os.path.abspath(target), os.path.abspath(folder))
    return quote(os.fsencode(path.replace(os.sep, "/")))


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: as_text(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
    )
    environment.filters["prose"] = _prose
    return environment


def _prose(text: str) -> Markup:
    """Returns a sentence as HTML in which no line breaks within a p-value."""
    # What it is joined with is escaped, so that the result holds no markup but its own.
    return Markup(re.sub(r"\bp (=|&lt;) (?=[\d.])", r"p&nbsp;\1&nbsp;", html.escape(as_text(text))))


def _data_address(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
