"""Pieces of Markdown that the generated pages are made of."""

import re
from collections.abc import Iterable, Sequence

# What Markdown would take for its own syntax in a description.
_SYNTAX = re.compile(r"([\\`*_<>\[\]|])")
_OPTION = re.compile(r"(?<![\w`-])(--[a-z][a-z0-9-]*(?:=\S+)?)")
_CODE = re.compile(r"``?([^`]+)``?")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table of cells that are Markdown already.

    Args:
        head: The heading of each column.
        rows: The cells of each row.
    """
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def code(text: object) -> str:
    """Returns text as code, or nothing for an empty text."""
    return f"`{text}`".replace("|", "\\|") if str(text) else ""


def prose(text: str) -> str:
    """Returns a plain description as Markdown: its characters stay, and the options in it become code.

    Args:
        text: Such as the description of a field, or a line of a docstring.
    """
    parts = _CODE.split(re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text))
    shown = []
    for place, part in enumerate(parts):
        if place % 2:
            shown.append(code(part))
            continue
        pieces = _OPTION.split(part)
        shown += [code(piece) if index % 2 else _SYNTAX.sub(r"\\\1", piece) for index, piece in enumerate(pieces)]
    return "".join(shown)
