"""Series of images found in tables, folders and files, with the time or position of each; no labels are needed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from keras_lnn.data.checking import name_some
from keras_lnn.data.decode.file_frames import FileFrame
from keras_lnn.data.decode.images import map_files
from keras_lnn.data.decode.medical_files import is_medical
from keras_lnn.data.options import OwnImages
from keras_lnn.data.sources.series_files import has_frames, read_file_times
from keras_lnn.data.sources.series_positions import POSITION_NAMES, read_positions
from keras_lnn.data.sources.series_sorting import SortedSeries, sort_series
from keras_lnn.data.sources.series_times import LENGTHS, SECONDS, TIME_NAMES, read_times
from keras_lnn.data.sources.table_columns import GROUP_NAMES, SERIES_NAMES, find_column, list_columns, require_filled
from keras_lnn.data.sources.table_file import TextTable, read_table
from keras_lnn.data.sources.tables import describe_unreadable, find_table_files
from keras_lnn.errors import InputError

_Key = TypeVar("_Key")
# What the files of a series must say, by what its steps are along.
_QUESTIONS = {"time": "when each image was taken", "position": "where each image lies"}


@dataclasses.dataclass(frozen=True)
class FoundSeries:
    """Files, and which of them belong to each series.

    Args:
        members: The files of each series, by its name.
        files: The files; of a table one per row.
        unnamed: Number of image files in the folder of a table that are in none of its rows.
        warnings: Warnings, one sentence each.
    """

    members: dict[str, list[int]]
    files: Sequence[Path]
    unnamed: int = 0
    warnings: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class TimedSeries:
    """Series with the times of their images, in the order in which they were listed.

    Args:
        names: Name of each series.
        frames: The images of each series.
        seconds: The time of each image, or its position in millimetres; NaN where it is missing.
        unit: The unit in which these were written; None if it is to be chosen.
        are_numbers: Whether times are the numbers of a column, from a start that is known to the user only.
        warnings: Warnings, one sentence each.
    """

    names: list[str]
    frames: list[list[FileFrame]]
    seconds: list[np.ndarray]
    unit: str | None = None
    are_numbers: bool = False
    warnings: tuple[str, ...] = ()

    def starts(self) -> np.ndarray:
        """Returns the first time of each series in seconds; infinite where none of its images has a time."""
        return np.array([np.min(each, where=np.isfinite(each), initial=np.inf) for each in self.seconds])

    def spans(self) -> np.ndarray:
        """Returns the seconds from the first to the last image of each series."""
        known = [each[np.isfinite(each)] for each in self.seconds]
        return np.array([float(np.ptp(each)) if len(each) else 0.0 for each in known])

    def sort(self, unit: str, max_steps: int, has_label: Sequence[np.ndarray] | None = None) -> SortedSeries:
        """Returns the series sorted by their times since the first image, and thinned.

        Args:
            unit: The unit of the sorted times.
            max_steps: The greatest number of images that a sample keeps.
            has_label: As in :func:`~keras_lnn.data.sources.series_sorting.sort_series`.
        """
        times = [(each - start) / LENGTHS[unit] for each, start in zip(self.seconds, self.starts(), strict=True)]
        return sort_series(self.names, self.frames, times, unit, max_steps, has_label)


@dataclasses.dataclass(frozen=True)
class SeriesTable:
    """A table with one row per image of a series.

    Args:
        table: Its cells.
        series_column: The column of series; None if each row is one, such as a file of several frames.
        time_column: The column of times or positions; None if the files know theirs.
        steps_along: ``time`` or ``position``.
    """

    table: TextTable
    series_column: str | None
    time_column: str | None
    steps_along: str = "time"

    @classmethod
    def open(cls, path: Path, options: OwnImages) -> SeriesTable:
        """Reads a table and finds its columns of series and times.

        Args:
            path: The table.
            options: Roles of its columns.
        """
        table = read_table(path)
        if options.steps_along == "position":
            time_column = find_column(table, "position", options.position_column, POSITION_NAMES)
        else:
            time_column = find_column(table, "time", options.time_column, TIME_NAMES)
        series_column = find_column(table, "series", options.series_column, SERIES_NAMES)
        if series_column is None and time_column is not None:
            named = options.group_column
            series_column = find_column(table, "series" if named is None else "group", named, GROUP_NAMES)
        if series_column is None and time_column is not None:
            raise InputError(
                "A table of series must have a column that names the series of each image, such as series, or one of"
                f" patients. Received: columns {list_columns(table.columns)} in {path}. Name yours with --series-column"
                " NAME."
            )
        return cls(table, series_column, time_column, options.steps_along)

    @property
    def roles(self) -> dict[str, str]:
        """Returns the columns by their role."""
        roles = {"series": self.series_column, self.steps_along: self.time_column}
        return {role: name for role, name in roles.items() if name is not None}

    def find(self, cells: Sequence[str], options: OwnImages) -> FoundSeries:
        """Finds the files of the rows, and joins them to series.

        Args:
            cells: The cells of the column of files.
            options: The folder of the files.
        """
        table = self.table
        listed = find_table_files(
            cells, table.path.parent if options.image_dir is None else Path(options.image_dir), table
        )
        names = cells if self.series_column is None else require_filled(table, self.series_column, "a series")
        self._require_one_series(listed.files)
        warnings = tuple(describe_unreadable(listed.unreadable))
        return FoundSeries(_join_equal(names), listed.files, listed.unnamed, warnings)

    def add_times(self, found: FoundSeries, options: OwnImages, remedy: str) -> TimedSeries:
        """Returns the series with the times of the column, or without one with those of the files.

        Args:
            found: What :meth:`find` returned.
            options: The unit of numbers in a column whose name has none.
            remedy: What the user can do if files do not know their times.
        """
        table, column = self.table, self.time_column
        if column is None:
            self._require_times_in_files(found.files)
            return read_times_of_files(found, options, remedy)
        places = [table.place(row) for row in range(len(table.rows))]
        along, cells = self.steps_along, table.column(column)
        if along == "position":
            times = read_positions(cells, places, column)
        else:
            times = read_times(cells, places, column, options.time_unit)
        frames, seconds = [], []
        for part in found.members.values():
            # A file of several frames that is a whole series has its own times.
            alone = len(part) == 1 and has_frames(found.files[part[0]], along)
            own = read_file_times([found.files[part[0]]], None, along) if alone else None
            listed = [FileFrame(found.files[row]) for row in part], times.seconds[part]
            series = own if isinstance(own, tuple) else listed
            frames.append(series[0])
            seconds.append(series[1])
        return TimedSeries(
            list(found.members), frames, seconds, times.unit, not times.are_dates, warnings=found.warnings
        )

    def _require_one_series(self, files: Sequence[Path]) -> None:
        """Checks that no file is named twice."""
        table = self.table
        first: dict[Path, int] = {}
        twice = []
        for row, file in enumerate(files):
            if first.setdefault(file, row) != row:
                twice.append(f"{file} (lines {table.lines[first[file]]} and {table.lines[row]})")
        if twice:
            raise InputError(
                f"A file must be named once, in one series. Received: {name_some(twice)} of {table.path}. Remove one of"
                " the rows."
            )

    def _require_times_in_files(self, files: Sequence[Path]) -> None:
        along = self.steps_along
        if not all(is_medical(file) for file in files):
            names = "position, slice_position or z_mm" if along == "position" else "time, date or time_minutes"
            raise InputError(
                f"A table of series must have a column of {along}s, named such as {names}. Received: columns"
                f" {list_columns(self.table.columns)} in {self.table.path}. Name yours with --{along}-column NAME; only"
                f" DICOM and NIfTI files say themselves {_QUESTIONS[along]}."
            )


def join_files(files: Sequence[Path], steps_along: str = "time") -> tuple[dict[Path, list[int]], list[bool]]:
    """Joins files to series: a file of several frames is one, and so are the other files of a folder.

    Args:
        files: The files.
        steps_along: ``position`` if a file of several slices is a series, too.

    Returns:
        The files of each series by its file or folder, and whether each file is a series of its own.
    """
    alone = map_files(lambda file: has_frames(file, steps_along), files)
    return _join_equal([file if own else file.parent for file, own in zip(files, alone, strict=True)]), alone


def read_times_of_files(found: FoundSeries, options: OwnImages, remedy: str) -> TimedSeries:
    """Returns series with the times that their files know; one error names all series without.

    Args:
        found: The series.
        options: The unit of NIfTI files that state none, and whether series without times are left out.
        remedy: What the user can do, for the message.
    """
    along, per_unit = options.steps_along, SECONDS.get(options.time_unit or "")
    groups = [[found.files[row] for row in part] for part in found.members.values()]
    results = map_files(lambda files: read_file_times(files, per_unit, along), groups)
    series = dict(zip(found.members, results, strict=True))
    read = {name: each for name, each in series.items() if not isinstance(each, str)}
    without: dict[str, list[str]] = {}
    for name, reason in series.items():
        if isinstance(reason, str):
            without.setdefault(reason, []).append(name)
    faults = "; ".join(f"{reason}: {name_some(names)}" for reason, names in without.items())
    if faults and (not options.skip_bad or not read):
        raise InputError(f"The files of a series must say {_QUESTIONS[along]}. Received: {faults}. {remedy}")
    warnings = found.warnings
    if faults:
        warnings = (*warnings, f"left out {len(series) - len(read)} of {len(series)} series: {faults}")
    frames, seconds = [each[0] for each in read.values()], [each[1] for each in read.values()]
    return TimedSeries(list(read), frames, seconds, warnings=warnings)


def _join_equal(keys: Sequence[_Key]) -> dict[_Key, list[int]]:
    """Returns the places of each key, in the order in which the keys come first."""
    rows: dict[_Key, list[int]] = {}
    for row, key in enumerate(keys):
        rows.setdefault(key, []).append(row)
    return rows
