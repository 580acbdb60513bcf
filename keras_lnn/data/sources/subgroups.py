"""Subgroups of samples, such as women and men or bands of age, from the columns of a table."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_lnn.data.checking import name_some
from keras_lnn.data.sources.folders import natural_order
from keras_lnn.data.sources.table_file import MISSING, TextTable, read_table
from keras_lnn.errors import InputError, suggest

# More groups are no categories but numbers or names.
MOST_GROUPS = 20
# Names the samples of data without files, as predictions.csv does.
INDEX = "index"
# Follows the name of a series where each of its images is a sample.
_NUMBER = "#"


@dataclasses.dataclass(frozen=True)
class SubgroupColumn:
    """A column that was asked for.

    Args:
        name: Its name.
        edges: Where a band of numbers ends and the next one begins; empty for categories.
    """

    name: str
    edges: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True)
class Subgroups:
    """The groups of one column.

    Args:
        column: Name of the column.
        names: Name of each group, in their order.
        places: The group of each sample, (samples,); -1 where the cell is empty.
    """

    column: str
    names: tuple[str, ...]
    places: np.ndarray


def parse_subgroups(text: str | None) -> tuple[SubgroupColumn, ...]:
    """Returns the columns in ``sex,age:40:60``, each with the edges of its bands."""
    if text is None:
        return ()
    try:
        cells = [cell.strip() for row in csv.reader([text], skipinitialspace=True) for cell in row]
    except csv.Error:
        cells = []
    found = []
    for cell in cells:
        name, *edges = cell.split(":")
        try:
            numbers = tuple(map(float, edges))
        except ValueError:
            name, numbers = cell, ()
        if not all(map(math.isfinite, numbers)) or any(b <= a for a, b in itertools.pairwise(numbers)):
            raise ValueError(f"must have rising edges, such as age:40:60, not {cell}")
        found.append(SubgroupColumn(name.strip(), numbers))
    names = [column.name for column in found]
    if not names or not all(names) or len(set(names)) < len(names):
        raise ValueError("must name different columns, with edges for numbers, such as sex,age:40:60")
    return tuple(found)


def open_subgroup_table(data: str, path: Path | None, columns: Sequence[SubgroupColumn]) -> TextTable:
    """Returns the table that holds the columns, which it must have.

    Args:
        data: Name of the data; a table that they are read from is used where no other one is given.
        path: The table that is given.
        columns: The columns.
    """
    kind, _, own = data.partition(":")
    if path is None and (kind not in ("table", "series") or not Path(own).is_file()):
        raise InputError(
            f"--subgroups needs a table with one row per sample. Received: {data}, which is not read from one. Name a"
            " CSV file with --subgroup-table, whose columns hold the names of the samples and the groups."
        )
    table = read_table(Path(own) if path is None else path)
    for column in columns:
        if column.name not in table.columns:
            raise InputError(
                f"--subgroups must name columns of {table.path}. Received: {column.name}."
                f" {suggest(column.name, table.columns)}"
            )
    return table


def read_subgroups(
    table: TextTable, columns: Sequence[SubgroupColumn], names: Sequence[str] | None, samples: int
) -> list[Subgroups]:
    """Returns the groups of each column.

    Args:
        table: The table, in any order; it may have rows of other samples.
        columns: The columns.
        names: Name of each sample; None where samples have none, and the table names them by their ``index``.
        samples: Number of samples.
    """
    rows = _find_rows(table, names, samples)
    return [_group(table, column, rows, names) for column in columns]


def _find_rows(table: TextTable, names: Sequence[str] | None, samples: int) -> list[list[int]]:
    """Returns the rows of each sample, found by the column that names most of the samples."""
    if names is None:
        if INDEX not in table.columns:
            raise InputError(
                f"Samples without files are named by their place in the split, from 0 on. Received: {table.path}"
                f" without a column {INDEX}. Add it, as in predictions.csv."
            )
        wanted, keys = [str(place) for place in range(samples)], [INDEX]
    else:
        wanted, keys = list(names), [name for name in table.columns if name]
    found: dict[str, dict[str, list[int]]] = {}
    for key in keys:
        rows: dict[str, list[int]] = {}
        for row, cell in enumerate(table.column(key)):
            rows.setdefault(cell, []).append(row)
        found[key] = rows

    def rows_of(key: str, name: str) -> list[int]:
        return found[key].get(name) or found[key].get(name.rpartition(_NUMBER)[0]) or []

    best = max(keys, key=lambda key: sum(bool(rows_of(key, name)) for name in wanted))
    missing = [name for name in wanted if not rows_of(best, name)]
    if missing:
        raise InputError(
            f"The table of subgroups must name every sample that is measured. Received: {table.path}, whose column"
            f" {best} lacks {len(missing):,} of {samples:,}: {name_some(missing)}. Add their rows, or write the names"
            " as the column file of predictions.csv has them."
        )
    return [rows_of(best, name) for name in wanted]


def _group(
    table: TextTable, column: SubgroupColumn, rows: Sequence[list[int]], names: Sequence[str] | None
) -> Subgroups:
    """Returns the groups of one column; all rows of a sample must agree."""
    cells, values = table.column(column.name), []
    for place, of_sample in enumerate(rows):
        found = list(dict.fromkeys(cells[row] for row in of_sample if cells[row].lower() not in MISSING))
        if len(found) > 1:
            sample = place if names is None else names[place]
            raise InputError(
                f"All rows of a sample must have the same {column.name}. Received: {found[0]} and {found[1]} for"
                f" {sample} in {table.path}. Write the value that counts to a table for --subgroup-table."
            )
        values.append((found[0], of_sample[0]) if found else None)
    if column.edges:
        numbers = [None if value is None else _read_number(table, column.name, *value) for value in values]
        placed = [-1 if number is None else int(np.searchsorted(column.edges, number, "right")) for number in numbers]
        return Subgroups(column.name, _name_bands(column.edges), np.array(placed))
    groups = sorted({value for value, _ in filter(None, values)}, key=natural_order)
    if not groups or len(groups) > MOST_GROUPS:
        remedy = f"Give edges of bands, such as {column.name}:40:60" if groups else "Fill it"
        raise InputError(
            f"A column of subgroups must have 1 to {MOST_GROUPS} different values. Received: {column.name} of"
            f" {table.path} with {len(groups)}. {remedy}, or leave it out."
        )
    return Subgroups(
        column.name, tuple(groups), np.array([-1 if value is None else groups.index(value[0]) for value in values])
    )


def _read_number(table: TextTable, column: str, cell: str, row: int) -> float:
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(
            f"A column with edges must hold numbers. Received: {cell} in {column} of {table.path} ({table.place(row)})."
            f" Correct the cell, or leave out the edges."
        )
    return number


def _name_bands(edges: Sequence[float]) -> tuple[str, ...]:
    between = [f"{low:g} to below {high:g}" for low, high in itertools.pairwise(edges)]
    return (f"below {edges[0]:g}", *between, f"{edges[-1]:g} or more")
