"""Tables as CSV text that a spreadsheet shows and does not compute."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

# What a spreadsheet takes for a formula begins so. Quotes before it are counted, so that plain_cell undoes safe_cell.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def safe_cell(text: str) -> str:
    """Returns a cell that no spreadsheet takes for a formula: with a quote before ``=``, ``+``, ``-`` and ``@``."""
    return f"'{text}" if _FORMULA.match(text) else text


def plain_cell(text: str) -> str:
    """Returns the text of which :func:`safe_cell` has made a cell."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def to_csv(table: pd.DataFrame, index: bool = False) -> str:
    """Returns a table as CSV text in which texts and names of columns are no formulas; numbers are as they are.

    Args:
        table: The table.
        index: Whether its index is the first column.
    """
    safe = table.rename(columns=_safe, index=_safe if index else None)
    for place, dtype in enumerate(table.dtypes):
        if dtype.kind == "O":
            safe.isetitem(place, [_safe(value) for value in table.iloc[:, place]])
    return safe.to_csv(index=index)


def _safe(value: object) -> object:
    # pandas puts no quotes around a carriage return, which readers take for the end of a row.
    return safe_cell(value).replace("\r", "\\r") if isinstance(value, str) else value
