"""A CSV or TSV file as columns of text, with its encoding, separator and completeness checked."""

from __future__ import annotations

import collections
import csv
import dataclasses
import functools
import io
from pathlib import Path

from keras_lnn.errors import InputError
from keras_lnn.files.atomic import require_file

MOST_COLUMNS = 10_000
# Cells that hold nothing, in lower case.
MISSING = frozenset({"", "nan", "na", "n/a", "nat"})
SEPARATORS = (",", ";", "\t")
_ENCODING_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"PK\x03\x04": "a spreadsheet or an archive"}


@dataclasses.dataclass(frozen=True)
class TextTable:
    """The cells of a table, without surrounding blanks.

    Args:
        path: The file.
        columns: Names of the columns.
        rows: The cells of each row, one per column.
        lines: The line of the file at which each row ends.
    """

    path: Path
    columns: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]

    def column(self, name: str) -> list[str]:
        """Returns the cells of a column."""
        place = self._places[name]
        return [row[place] for row in self.rows]

    @functools.cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in reversed(list(enumerate(self.columns)))}

    def place(self, row: int) -> str:
        """Returns the place of a row for messages."""
        return f"line {self.lines[row]}"


def read_table(path: Path) -> TextTable:
    """Reads a table with a header; commas, semicolons or tabs are detected as separators.

    Args:
        path: The file, UTF-8 with or without a byte order mark.

    Returns:
        Its cells as text.

    Raises:
        InputError: The file is missing, empty or not text, or its rows differ in length.
    """
    text = _read_text(path)
    if not text.strip(" \t\r\n,;"):
        raise InputError(f"A table must have a header and rows. Received: {path}, which is empty. Fill it.")
    header = text.lstrip().partition("\n")[0]
    separator = max(SEPARATORS, key=lambda candidate: _count_outside_quotes(header, candidate))
    rows, lines = [], []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                rows.append(cells)
                lines.append(reader.line_num)
    except csv.Error as error:
        raise InputError(
            f"A table must be rows of cells. Received: {path}, line {reader.line_num} ({error}). Correct its quotes."
        ) from None
    columns, rows, lines = tuple(rows[0]), rows[1:], lines[1:]
    _check_columns(path, columns)
    if not rows:
        raise InputError(f"A table must have rows below its header. Received: {path} with none. Add one row per image.")
    ragged = [k for k, row in enumerate(rows) if len(row) != len(columns)]
    if ragged:
        row = ragged[0]
        raise InputError(
            f"Every row must have as many cells as the header, {len(columns)}. Received: {path}, line {lines[row]} with"
            f" {len(rows[row])}{_more(len(ragged) - 1, 'row')}. Correct the row, or quote cells that hold"
            f" {separator!r}."
        )
    return TextTable(path, columns, rows, lines)


def list_table_columns(path: Path) -> tuple[str, ...]:
    """Returns the names of the columns of a table."""
    return read_table(path).columns


def _read_text(path: Path) -> str:
    if path.is_dir():
        raise InputError(
            f"table:FILE must name a CSV or TSV file. Received: {path}, which is a folder."
            " Name the table, or use folder:PATH for one folder per class."
        )
    require_file(path, "The table")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"The table must exist. Received: {path}. Check the path.") from None
    except OSError as error:
        raise InputError(f"The table must be readable. Received: {path} ({error.strerror}). Check it.") from None
    kind = next((kind for mark, kind in _ENCODING_MARKS.items() if content.startswith(mark)), None)
    if kind is None and b"\0" not in content:
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            kind = f"another encoding in line {line}"
    raise InputError(
        f"A table must be a text file in UTF-8. Received: {path}, {kind or 'with bytes that are no text'}."
        " Save it as CSV in UTF-8."
    )


def _check_columns(path: Path, columns: tuple[str, ...]) -> None:
    # A column without a name, such as the row numbers that pandas writes, is never used.
    if len(columns) > MOST_COLUMNS:
        raise InputError(
            f"A table must have at most {MOST_COLUMNS:,} columns. Received: {path} with {len(columns):,}. Remove those"
            " that say nothing of the images."
        )
    doubled = sorted(name for name, count in collections.Counter(columns).items() if name and count > 1)
    if doubled:
        raise InputError(
            f"Each column must have its own name. Received: {path} with {', '.join(doubled)} more than once."
            " Rename or remove one."
        )


def _count_outside_quotes(line: str, character: str) -> int:
    return sum(part.count(character) for part in line.split('"')[::2])


def _more(count: int, what: str) -> str:
    return f" and {count} more {what}{'s' if count > 1 else ''}" if count else ""
