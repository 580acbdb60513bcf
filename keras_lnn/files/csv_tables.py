"""Tables as CSV text that spreadsheets display without evaluating formulas."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

# The beginning of a formula in spreadsheets. Leading quotes are included, so that plain_cell undoes safe_cell.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def safe_cell(text: str) -> str:
    """Returns a cell that no spreadsheet reads as a formula: with a quote before ``=``, ``+``, ``-`` and ``@``."""
    return f"'{text}" if _FORMULA.match(text) else text


def plain_cell(text: str) -> str:
    """Returns the text from which :func:`safe_cell` made a cell."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def to_csv(table: pd.DataFrame, index: bool = False) -> str:
    """Returns a table as CSV text in which texts and column names are not formulas; numbers are unchanged.

    Args:
        table: The table.
        index: Whether its index becomes the first column.
    """
    safe = table.rename(columns=_safe, index=_safe if index else None)
    for place, dtype in enumerate(table.dtypes):
        if dtype.kind == "O":
            safe.isetitem(place, [_safe(value) for value in table.iloc[:, place]])
    return safe.to_csv(index=index)


def _safe(value: object) -> object:
    # pandas does not quote a carriage return, which readers take for the end of a row.
    return safe_cell(value).replace("\r", "\\r") if isinstance(value, str) else value
