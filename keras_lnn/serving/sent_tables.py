"""Tables of series among uploaded files, read as ``keras-lnn predict`` reads them.

A table names files as they are called where they come from. It is written again with the places where they lie.
"""

from __future__ import annotations

import csv
import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path

from keras_lnn.data.checking import name_some
from keras_lnn.data.options import OwnImages
from keras_lnn.data.sources.table_columns import find_file_column, require_filled
from keras_lnn.data.sources.table_file import TextTable
from keras_lnn.data.sources.tables import match_files
from keras_lnn.saved.own_series import open_series_table
from keras_lnn.saved.signature import Signature
from keras_lnn.serving.limits import Refused

_SUFFIXES = (".csv", ".tsv")
# Uploaded files are matched as if they lay in this folder, which is never read.
_SENT = Path("/sent")


def is_table(label: str) -> bool:
    """Returns whether an uploaded file is a table, by what it is called."""
    return label.lower().endswith(_SUFFIXES)


def write_tables(
    folder: Path, tables: Mapping[Path, str], images: Mapping[Path, str], signature: Signature, *, skip_bad: bool
) -> tuple[dict[Path, str], list[str]]:
    """Writes uploaded tables again, so that they name the places of the uploaded images.

    Args:
        folder: The folder of the request.
        tables: What each table is called, by its path.
        images: What each image is called, by its path.
        signature: Of the model, which reads series.
        skip_bad: Whether rows whose file cannot be read are left out; else they are an error.

    Returns:
        What each written table is called, by its path, and warnings.
    """
    by_place = {_place(label): path for path, label in images.items()}
    written, warnings, named = {}, [], set()
    for number, (path, label) in enumerate(tables.items()):
        opened, options = open_series_table(path, signature, OwnImages())
        table = opened.table
        column = find_file_column(table, options.file_column)
        cells = require_filled(table, column, "a file")
        beside = _place(label).parent
        root = beside if any(place.is_relative_to(beside) for place in by_place) else _SENT
        files = [by_place.get(place) for place in match_files(cells, list(by_place), root, table)]
        missing = [f"{cells[row]} ({table.place(row)})" for row, file in enumerate(files) if file is None]
        if missing and (not skip_bad or len(missing) == len(files)):
            raise Refused(
                422,
                f"Every file that a table names must be sent and readable. Received: {label} with {name_some(missing)}"
                " that are not. Send them with the table, under the names that it has.",
            )
        if missing:
            warnings.append(f"left out rows of {label} whose files were not sent or not readable: {name_some(missing)}")
        named |= {file for file in files if file is not None}
        place = folder / f"table-{number:04d}.csv"
        _write(place, table, column, [None if file is None else str(file.relative_to(folder)) for file in files])
        written[place] = label
    unnamed = [label for path, label in images.items() if path not in named]
    if unnamed:
        warnings.append(f"left out files that no table names: {name_some(unnamed)}")
    return written, warnings


def _place(label: str) -> Path:
    """Returns where a file would lie; never above the folder of all."""
    return Path(f"{_SENT}{posixpath.normpath(f'/{label}')}")


def _write(path: Path, table: TextTable, column: str, files: Sequence[str | None]) -> None:
    """Writes a table with other files, without the rows of None, and with each row at its line for messages."""
    where, line = table.columns.index(column), 1
    with open(path, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, quoting=csv.QUOTE_ALL)
        writer.writerow(table.columns)
        for row, file in enumerate(files):
            if file is None:
                continue
            stream.write("\r\n" * (table.lines[row] - line - 1))
            line = table.lines[row]
            writer.writerow([*table.rows[row][:where], file, *table.rows[row][where + 1 :]])
