"""Times of images in columns of tables: numbers with a unit, dates or timestamps; all become seconds."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Sequence

import numpy as np

from keras_lnn.data.checking import name_some
from keras_lnn.data.sources.table_file import MISSING
from keras_lnn.errors import InputError
from keras_lnn.fields.values import POSITION_UNIT, TIME_UNITS

# A month is the twelfth of a year of 365.25 days.
SECONDS = {
    "microseconds": 1e-6,
    "milliseconds": 0.001,
    "seconds": 1.0,
    "minutes": 60.0,
    "hours": 3600.0,
    "days": 86400.0,
    "weeks": 604800.0,
    "months": 2629800.0,
    "years": 31557600.0,
}
# Positions stand in the place of times, in millimetres in place of seconds.
LENGTHS = SECONDS | {POSITION_UNIT: 1.0}
_BEFORE_UNITS = (
    "",
    "time",
    "times",
    "timein",
    "timestamp",
    "elapsed",
    "elapsedtime",
    "delay",
    "offset",
    "t",
    "age",
    "agein",
)
_PLAIN_NAMES = (
    *("time", "times", "timepoint", "timestamp", "elapsed", "elapsedtime", "datetime", "date", "dates"),
    *("acquisitiontime", "acquisitiondate", "acquisitiondatetime", "contenttime", "contentdate"),
    *("scandate", "scantime", "studydate", "examdate", "examinationdate", "imagedate", "imagetime", "visitdate"),
)
_SPELLINGS = tuple((unit, word) for unit, spellings in TIME_UNITS.items() for word in (unit, *spellings))
# Compared without case, blanks, underscores and hyphens; a letter alone, as in "s", is no usual name of a column.
TIME_NAMES = frozenset(
    [*_PLAIN_NAMES]
    + [before + word for before, (_, word) in itertools.product(_BEFORE_UNITS, _SPELLINGS) if len(before + word) > 2]
)
# Read by pandas, in this order, where the cells are not of ISO 8601.
_FORMATS = (
    *("%Y/%m/%d", "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S", "%d.%m.%Y", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S"),
    *("%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%H:%M", "%H:%M:%S", "%H:%M:%S.%f"),
)
# A time of day with an offset from UTC, or with the Z that stands for UTC.
_ZONE = re.compile(r":\d\d(\.\d+)?\s*(Z|[+-]\d\d(:?\d\d)?)$", re.IGNORECASE)
# A number with a decimal comma, or with a unit.
_LIKE_NUMBER = re.compile(r"[-+]?\d+([.,]\d+)*\s*[a-zµμ]*", re.IGNORECASE)
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
# Beyond this, whole numbers are rounded.
_LARGEST = 2.0**53
# Days since 1900 from 1954 to 2119, as spreadsheets count them.
_SERIAL_NUMBERS = (20_000, 80_000)
_HOW_TO_WRITE = "Write dates as 2024-05-17 or 2024-05-17 10:31:05"


@dataclasses.dataclass(frozen=True)
class ReadTimes:
    """Times of images, or their positions.

    Args:
        seconds: One per image, millimetres for positions; NaN where the cell is empty.
        unit: The unit in which they were written; None for dates.
        are_dates: Whether they were dates or timestamps.
    """

    seconds: np.ndarray
    unit: str | None
    are_dates: bool = False


def read_times(cells: Sequence[str], places: Sequence[str], column: str, unit: str | None) -> ReadTimes:
    """Reads a column of times.

    Args:
        cells: Its cells.
        places: The place of each cell for messages, such as ``line 3``.
        column: Its name, which may hold the unit of numbers.
        unit: The unit of numbers if the name holds none.

    Raises:
        InputError: A cell cannot be read, numbers and dates are mixed, or the unit of numbers is not known.
    """
    filled = list_filled(cells, column, "times")
    numbers = find_numbers(cells, places, column, filled, "time")
    seconds = np.full(len(cells), np.nan)
    named = guess_unit(column)
    if len(numbers) < len(filled) or (named is None and _are_dates_in_digits(column, [cells[row] for row in filled])):
        if 0 < len(numbers) < len(filled):
            _require_no_mixture(cells, places, column, filled, numbers)
        seconds[filled] = _read_dates([cells[row] for row in filled], [places[row] for row in filled], column)
        return ReadTimes(seconds, None, are_dates=True)
    known = named or unit
    if known is None:
        raise InputError(
            f"The unit of times must be known. Received: numbers in column {column}, whose name holds no unit. Name it"
            f" with --time-unit, one of {', '.join(TIME_UNITS)}, or rename the column, such as time_minutes."
            f"{_describe_serial_numbers(list(numbers.values()))}"
        )
    seconds[filled] = np.array([numbers[row] for row in filled]) * SECONDS[known]
    return ReadTimes(seconds, known)


def list_filled(cells: Sequence[str], column: str, what: str) -> list[int]:
    """Returns the rows of a column whose cells are not empty; there must be one.

    Args:
        cells: The cells.
        column: Its name.
        what: What it holds, in the plural.
    """
    filled = [row for row, cell in enumerate(cells) if cell.lower() not in MISSING]
    if not filled:
        raise InputError(
            f"A column of {what} must hold some. Received: {column}, all of whose cells are empty. Fill it."
        )
    return filled


def find_numbers(
    cells: Sequence[str], places: Sequence[str], column: str, rows: Sequence[int], what: str
) -> dict[int, float]:
    """Returns the numbers among some cells of a column by their rows; each must be finite.

    Args:
        cells: The cells.
        places: The place of each cell for messages.
        column: Its name.
        rows: Which of them are read.
        what: What a cell holds, for the message.
    """
    numbers = {row: number for row in rows if (number := _read_number(cells[row])) is not None}
    endless = [f"{cells[row]} ({places[row]})" for row, number in numbers.items() if not math.isfinite(number)]
    if endless:
        raise InputError(
            f"A {what} must be finite. Received: {name_some(endless)} in column {column}. Correct the cells."
        )
    rounded = [f"{cells[row]} ({places[row]})" for row, number in numbers.items() if abs(number) > _LARGEST]
    if rounded:
        raise InputError(
            f"A {what} must be at most 2^53, beyond which numbers are rounded. Received: {name_some(rounded)} in column"
            f" {column}. Subtract the first {what}, or write it in a larger unit."
        )
    return numbers


def guess_unit(column: str) -> str | None:
    """Returns the unit at the end of a column's name, such as minutes of ``time_minutes`` or ``Time (min)``."""
    words = re.findall(r"[a-zµμ]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column).lower())
    last = words[-1] if words else ""
    found = next((unit for unit, spellings in TIME_UNITS.items() if last in (unit, *spellings)), None)
    if found is None and len(words) == 1:
        joined = ((unit, before + word) for before in _BEFORE_UNITS[1:] for unit, word in _SPELLINGS)
        found = next((unit for unit, name in joined if name == last), None)
    return found


def choose_unit(spans: np.ndarray) -> str:
    """Returns the unit that suits series of these spans in seconds: the largest of which the median one has two."""
    positive = spans[spans > 0]
    span = float(np.median(positive)) if len(positive) else 1.0
    units = ("months", "days", "hours", "minutes", "seconds")
    return next((unit for unit in units if span >= 2 * SECONDS[unit]), "milliseconds")


def _read_number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _describe_serial_numbers(numbers: Sequence[float]) -> str:
    """Returns a hint if all numbers may be the dates of a spreadsheet; else nothing."""
    if not all(_SERIAL_NUMBERS[0] <= number <= _SERIAL_NUMBERS[1] for number in numbers):
        return ""
    return f" Numbers such as {numbers[0]:g} may be a spreadsheet's dates, which are in days."


def _are_dates_in_digits(column: str, cells: Sequence[str]) -> bool:
    """Returns whether cells are dates as DICOM writes them, such as 20240517."""
    dated = "date" in column.lower()
    return dated and all(re.fullmatch(r"(19|20)\d{2}(0[1-9]|1[0-2])([0-2]\d|3[01])", cell) for cell in cells)


def _require_no_mixture(
    cells: Sequence[str], places: Sequence[str], column: str, filled: Sequence[int], numbers: dict[int, float]
) -> None:
    others = [row for row in filled if row not in numbers]
    number, other = next(iter(numbers)), others[0]
    if len(others) > len(numbers) or _parse([cells[other]]) is not None:
        raise InputError(
            f"A column of times must hold numbers or dates, not both. Received: {cells[number]} ({places[number]}) and"
            f" {cells[other]} ({places[other]}) in column {column}. Write all of them in one way."
        )
    odd = [f"{cells[row]} ({places[row]})" for row in others]
    raise InputError(
        f"Every time must be a number, as most are. Received: {name_some(odd)} in column {column}. Correct the cells."
    )


def _read_dates(cells: Sequence[str], places: Sequence[str], column: str) -> np.ndarray:
    _require_alike_zones(cells, places, column)
    seconds = _parse(cells)
    for mark in "/-" if seconds is None else "":
        day_first, month_first = (_parse_clocked(cells, form.replace("/", mark)) for form in ("%d/%m/%Y", "%m/%d/%Y"))
        both = day_first is not None and month_first is not None
        if both and not np.array_equal(day_first, month_first):
            raise InputError(
                f"A date must have one meaning. Received: {cells[0]} ({places[0]}) in column {column}, where every date"
                f" can be read with the day or with the month first. {_HOW_TO_WRITE}."
            )
        seconds = next((found for found in (seconds, day_first, month_first) if found is not None), None)
    if seconds is None:
        readable = np.isfinite([_read_as(cells, form) for form in ("ISO8601", *_FORMATS)]).any(axis=0)
        odd = np.flatnonzero(~np.asarray(readable)).tolist()
        wrong = [f"{cells[row]} ({places[row]})" for row in (odd if len(odd) < len(cells) else odd[:1])]
        if odd and _LIKE_NUMBER.fullmatch(cells[odd[0]]):
            raise InputError(
                f"Every time must be a number or a date. Received: {name_some(wrong)} in column {column}. Write numbers"
                " with a decimal point, and their unit in the name of the column, such as time_minutes."
            )
        raise InputError(
            "Every date of a column must be readable, and written as the others. Received:"
            f" {name_some(wrong) if wrong else f'dates written in several ways, such as {cells[0]}'} in column"
            f" {column}. {_HOW_TO_WRITE}, or leave the cell empty."
        )
    return seconds


def _require_alike_zones(cells: Sequence[str], places: Sequence[str], column: str) -> None:
    """Checks that all dates have a time zone, or none; those without would be hours off."""
    zoned = [bool(_ZONE.search(cell)) for cell in cells]
    if any(zoned) and not all(zoned):
        shown = " and ".join(f"{cells[row]} ({places[row]})" for row in (zoned.index(True), zoned.index(False)))
        raise InputError(
            f"All dates of a column must have a time zone, or none of them. Received: {shown} in column {column}. Write"
            " all of them in one way."
        )


def _parse(cells: Sequence[str]) -> np.ndarray | None:
    """Returns the seconds of dates that are all written in one way of which there is no doubt; None if they are not."""
    return next((found for form in ("ISO8601", *_FORMATS) if (found := _parse_as(cells, form)) is not None), None)


def _parse_clocked(cells: Sequence[str], form: str) -> np.ndarray | None:
    return next((found for clock in _CLOCKS if (found := _parse_as(cells, form + clock)) is not None), None)


def _parse_as(cells: Sequence[str], form: str) -> np.ndarray | None:
    seconds = _read_as(cells, form)
    return seconds if np.isfinite(seconds).all() else None


def _read_as(cells: Sequence[str], form: str) -> np.ndarray:
    """Returns the seconds from 1970 to each date; NaN for those that are not written in a form."""
    import pandas

    dates = pandas.to_datetime(pandas.Series(list(cells), dtype="object"), format=form, utc=True, errors="coerce")
    # In microseconds, which reach from the year 1 to the year 9999.
    moments = dates.dt.tz_convert(None).to_numpy("datetime64[us]")
    return np.where(np.isnat(moments), np.nan, moments.astype(np.int64) / 1e6)
