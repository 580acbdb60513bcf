"""Positions of slices in columns of tables, which take the place of times: numbers in millimetres or centimetres."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import numpy as np

from keras_lnn.data.checking import name_some
from keras_lnn.data.sources.series_times import ReadTimes, find_numbers, list_filled
from keras_lnn.errors import InputError
from keras_lnn.fields.values import POSITION_UNIT

_MILLIMETRES = {"mm": 1.0, "cm": 10.0}
_SPELLINGS = {
    "mm": ("mm", "millimetre", "millimetres", "millimeter", "millimeters"),
    "cm": ("cm", "centimetre", "centimetres", "centimeter", "centimeters"),
}
_WORDS = tuple(itertools.chain.from_iterable(_SPELLINGS.values()))
_BEFORE_UNITS = (
    *("position", "pos", "sliceposition", "imageposition", "slicelocation", "location", "tableposition"),
    *("z", "zposition", "zpos", "positionz", "posz", "slicez", "depth"),
)
# Compared without case, blanks, underscores and hyphens.
POSITION_NAMES = frozenset(before + word for before, word in itertools.product(_BEFORE_UNITS, ("", *_WORDS)))


def read_positions(cells: Sequence[str], places: Sequence[str], column: str) -> ReadTimes:
    """Reads a column of positions, in millimetres if its name holds no unit.

    Args:
        cells: Its cells.
        places: The place of each cell for messages, such as ``line 3``.
        column: Its name.

    Returns:
        The positions in millimetres, NaN where the cell is empty, and the unit in which they were written.

    Raises:
        InputError: No cell is filled, or one is no finite number.
    """
    filled = list_filled(cells, column, "positions")
    numbers = find_numbers(cells, places, column, filled, "position")
    odd = [f"{cells[row]} ({places[row]})" for row in filled if row not in numbers]
    if odd:
        raise InputError(
            f"Every position must be a number. Received: {name_some(odd)} in column {column}. Correct the cells, or"
            " name another column with --position-column."
        )
    unit = guess_unit(column)
    positions = np.full(len(cells), np.nan)
    positions[filled] = np.array([numbers[row] for row in filled]) * _MILLIMETRES[unit]
    return ReadTimes(positions, unit)


def guess_unit(column: str) -> str:
    """Returns the unit at the end of a column's name, such as cm of ``z_cm`` or ``Position (cm)``; else millimetres."""
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column).lower())
    last = words[-1] if words else ""
    centimetres = last in _SPELLINGS["cm"] or any(
        last == before + word for before in _BEFORE_UNITS for word in _SPELLINGS["cm"]
    )
    return "cm" if centimetres else POSITION_UNIT
