"""Series of a user's own images in time: ``series:FILE``, a table with their times, or ``series:DIR``, folders."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_lnn.data.arrays import ImageData
from keras_lnn.data.checking import name_some
from keras_lnn.data.decode.file_frames import FileFrame
from keras_lnn.data.decode.medical_files import is_medical
from keras_lnn.data.options import OwnImages
from keras_lnn.data.reading import Reading
from keras_lnn.data.sources.folders import label_folder, split_folders
from keras_lnn.data.sources.own_frames import SeriesFiles
from keras_lnn.data.sources.own_images import FoundImages, LabelledFiles, load_own_images
from keras_lnn.data.sources.series_files import has_frames, map_files, read_file_times
from keras_lnn.data.sources.series_sorting import describe_series, sort_series
from keras_lnn.data.sources.series_times import SECONDS, TIME_NAMES, ReadTimes, choose_unit, read_times
from keras_lnn.data.sources.table_columns import GROUP_NAMES, find_column, list_columns, read_columns, require_filled
from keras_lnn.data.sources.table_file import MISSING, TextTable, list_table_columns, read_table
from keras_lnn.data.sources.tables import checksum_rows, describe_unreadable, find_table_files
from keras_lnn.errors import InputError

SERIES_NAMES = frozenset(
    [
        *("series", "seriesid", "seriesname", "seriesnumber", "seriesuid", "seriesinstanceuid", "seriesdescription"),
        *("sequence", "sequenceid", "cine", "cineid", "clip", "clipid", "video", "videoid"),
    ]
)


@dataclasses.dataclass(frozen=True)
class _Listed:
    """Series as they were found, one entry per series.

    Args:
        labelled: Labels and metadata.
        frames: The images of each series, in the order in which they were listed.
        seconds: The time of each image; NaN where it is missing.
        unit: The unit in which times were written; None if it is to be chosen.
        warnings: Warnings, one sentence each.
    """

    labelled: LabelledFiles
    frames: list[list[FileFrame]]
    seconds: list[np.ndarray]
    unit: str | None = None
    warnings: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class _Rows:
    """Files with their labels, and which of them belong to each series.

    Args:
        members: The files of each series, by its name.
        files: The files.
        labelled: The labels of the files.
        warnings: Warnings, one sentence each.
    """

    members: dict[str, list[int]]
    files: Sequence[Path]
    labelled: LabelledFiles
    warnings: tuple[str, ...] = ()

    def join(
        self, names: Sequence[str], frames: list[list[FileFrame]], seconds: list[np.ndarray], unit: str | None
    ) -> _Listed:
        """Returns some of the series with their images and times, and the label of the last image of each."""
        last, changed, early = [], [], []
        for name, times in zip(names, seconds, strict=True):
            part = self.members[name]
            # A file of several frames has one label; images of one time have the order of the table.
            keys = {row: -np.inf if np.isnan(time) else time for row, time in zip(part, times, strict=False)}
            ordered = sorted(part, key=lambda row: (keys[row], row))
            labelled = [row for row in ordered if self.labelled.is_labelled(row)]
            last.append(labelled[-1])
            changed += [name] if len(np.unique(self.labelled.labels[labelled], axis=0)) > 1 else []
            early += [name] if labelled[-1] != ordered[-1] else []
        warnings = [
            *describe_series(
                changed, "has several labels, of which the last counts", "have several labels, of which the last counts"
            ),
            *describe_series(
                early,
                "has no label on its last image, and that of an earlier one counts",
                "have no label on their last image, and that of an earlier one counts",
            ),
        ]
        chosen = dataclasses.replace(self.labelled.take(last), names=list(names), has_label=None)
        return _Listed(chosen, frames, seconds, unit, (*self.warnings, *warnings))


def load_series(path: str | os.PathLike, reading: Reading = Reading()) -> ImageData:  # noqa: B008, it is frozen
    """Loads series of images in time.

    A table has one row per image, with columns of files, series and times, and those of labels, splits and patients as
    :func:`~keras_lnn.data.sources.tables.load_table` reads them; if no column names series, one of patients does. Times
    are numbers with a unit, dates or timestamps. A folder has one folder per class, and in it one folder per series;
    or the classes lie in ``train``, ``val`` and ``test``. There, and in tables without a column of times, the files
    must know their times: DICOM files, single or of several frames, and NIfTI files of four dimensions. A file of
    several frames is a series of its own.

    Images are sorted by time, and series of more than ``max_steps`` images are thinned evenly in time before they are
    decoded. The label of a series is that of its last image that has one. What is odd is in the report on the data.

    Args:
        path: The table or the folder.
        reading: Roles of the columns, the unit of the times, and how the files become pixels and splits.

    Returns:
        The series with a report on them; the names of the samples are the cells of the column of series, or the paths
        of the folders.
    """
    place, options = Path(path), reading.own
    listed = _list_folder(place, options) if place.is_dir() else _list_table(place, reading)
    unit = options.time_unit or listed.unit or choose_unit(np.array([_span(each) for each in listed.seconds]))
    sorted_series = sort_series(
        listed.labelled.names,
        listed.frames,
        [_since_first(each) / SECONDS[unit] for each in listed.seconds],
        unit,
        options.max_steps,
    )
    if reading.plan != "whole" and all(len(frames) == 1 for frames, _ in sorted_series.series):
        raise InputError(
            f"Series must have several images. Received: one in each of {len(sorted_series.series):,} series in {path}."
            " Name the column that joins images to series with --series-column, or read them as table:FILE."
        )
    notes = [f"times are in {unit}", *sorted_series.notes]
    if listed.unit not in (None, unit):
        notes[0] += f", converted from {listed.unit}"
    labelled = listed.labelled.take(sorted_series.rows)
    found = FoundImages(
        name=f"series:{os.fspath(path)}",
        files=[SeriesFiles(tuple(frames), times) for frames, times in sorted_series.series],
        labelled=dataclasses.replace(labelled, notes=(*labelled.notes, *notes)),
        checksum=checksum_rows,
        warnings=(*listed.warnings, *sorted_series.warnings),
        time_unit=unit,
    )
    return load_own_images(found, reading)


def list_series_columns(path: Path) -> tuple[str, ...]:
    """Returns the names of the columns of a table of series; empty for a folder."""
    return () if path.is_dir() else list_table_columns(path)


def _span(seconds: np.ndarray) -> float:
    known = seconds[np.isfinite(seconds)]
    return float(np.ptp(known)) if len(known) else 0.0


def _since_first(seconds: np.ndarray) -> np.ndarray:
    return seconds - np.min(seconds, where=np.isfinite(seconds), initial=np.inf)


def _list_folder(root: Path, options: OwnImages) -> _Listed:
    unreadable: list[str] = []
    # The slices of a DICOM series are separate images here.
    files, labelled = label_folder(root, dataclasses.replace(options, frame="each"), unreadable)
    depth = 2 if split_folders(root)["train"] == root else 3
    alone = map_files(has_frames, files)
    rows: dict[Path, list[int]] = {}
    for row, file in enumerate(files):
        rows.setdefault(file if alone[row] else file.parent, []).append(row)
    loose = [name for name, each in zip(labelled.names, alone, strict=True) if not each and name.count("/") < depth]
    if loose:
        raise InputError(
            "Every image must lie in the folder of its series, and that in the folder of its class. Received:"
            f" {name_some(loose)} in {root}. Move the images of each series into a folder, or write a table."
        )
    members = {place.relative_to(root).as_posix(): part for place, part in rows.items()}
    warnings = (f"left out folders that cannot be read: {name_some(unreadable)}",) if unreadable else ()
    return _with_file_times(_Rows(members, files, labelled, warnings), options)


def _list_table(path: Path, reading: Reading) -> _Listed:
    options = reading.own
    table = read_table(path)
    time_column = find_column(table, "time", options.time_column, TIME_NAMES)
    group_column = find_column(table, "group", options.group_column, GROUP_NAMES)
    series_column = find_column(table, "series", options.series_column, SERIES_NAMES)
    if series_column is None and time_column is not None:
        series_column = group_column
    if series_column is None and time_column is not None:
        raise InputError(
            "A table of series must have a column that names the series of each image, such as series, or one of"
            f" patients. Received: columns {list_columns(table.columns)} in {path}. Name yours with --series-column"
            " NAME."
        )
    table = _fill_groups(table, group_column, series_column)
    others = {role: name for role, name in (("series", series_column), ("time", time_column)) if name is not None}
    labelled = read_columns(
        table, options, guess_groups=reading.plan != "as listed", others=others, may_lack_labels=True
    )
    root = path.parent if options.image_dir is None else Path(options.image_dir)
    listed = find_table_files(labelled.names, root, table)
    # Without a column of series each row is one, such as a file of several frames.
    cells = labelled.names if series_column is None else require_filled(table, series_column, "a series")
    rows: dict[str, list[int]] = {}
    for row, cell in enumerate(cells):
        rows.setdefault(cell, []).append(row)
    _require_labels(rows, labelled, table)
    _require_agreement(rows, labelled, table)
    _require_one_series(rows, listed.files, table)
    if listed.unnamed:
        notes = (*labelled.notes, f"{listed.unnamed:,} image files in the folder are not in the table")
        labelled = dataclasses.replace(labelled, notes=notes)
    found = _Rows(rows, listed.files, labelled, tuple(describe_unreadable(listed.unreadable)))
    if time_column is None:
        _require_times_in_files(listed.files, table)
        return _with_file_times(found, options)
    places = [table.place(row) for row in range(len(table.rows))]
    return _with_column_times(found, read_times(table.column(time_column), places, time_column, options.time_unit))


def _with_column_times(found: _Rows, times: ReadTimes) -> _Listed:
    """Returns series with the times of a column; a file of several frames that is a whole series has its own."""
    frames, seconds = [], []
    for part in found.members.values():
        own = read_file_times([found.files[part[0]]]) if len(part) == 1 and has_frames(found.files[part[0]]) else None
        listed = [FileFrame(found.files[row]) for row in part], times.seconds[part]
        series = own if isinstance(own, tuple) else listed
        frames.append(series[0])
        seconds.append(series[1])
    return found.join(list(found.members), frames, seconds, times.unit)


def _with_file_times(found: _Rows, options: OwnImages) -> _Listed:
    """Returns series with the times that their files know; one error names all series without."""
    per_unit = None if options.time_unit is None else SECONDS[options.time_unit]
    groups = [[found.files[row] for row in part] for part in found.members.values()]
    series = dict(zip(found.members, map_files(lambda files: read_file_times(files, per_unit), groups), strict=True))
    read = {name: each for name, each in series.items() if not isinstance(each, str)}
    without: dict[str, list[str]] = {}
    for name, reason in series.items():
        if isinstance(reason, str):
            without.setdefault(reason, []).append(name)
    faults = "; ".join(f"{reason}: {name_some(names)}" for reason, names in without.items())
    if faults and (not options.skip_bad or not read):
        raise InputError(
            f"The files of a series must say when each image was taken. Received: {faults}. Write a table"
            " with columns series, file, time and label, and read it as series:FILE."
        )
    if faults:
        warning = f"left out {len(series) - len(read)} of {len(series)} series: {faults}"
        found = dataclasses.replace(found, warnings=(*found.warnings, warning))
    return found.join(list(read), [each[0] for each in read.values()], [each[1] for each in read.values()], None)


def _fill_groups(table: TextTable, group_column: str | None, series_column: str | None) -> TextTable:
    """Returns a table in which a series without a patient is a group of its own."""
    if group_column is None or series_column in (None, group_column):
        return table
    place, series = table.columns.index(group_column), table.column(series_column)
    filled = [list(row) for row in table.rows]
    for row, name in zip(filled, series, strict=True):
        if row[place].lower() in MISSING:
            row[place] = f"series {name}"
    return dataclasses.replace(table, rows=filled)


def _require_labels(rows: dict[str, list[int]], labelled: LabelledFiles, table: TextTable) -> None:
    """Checks that some image of each series has a label."""
    without = [
        f"{name} ({table.place(part[-1])})" for name, part in rows.items() if not any(map(labelled.is_labelled, part))
    ]
    if without:
        raise InputError(
            f"Every series must have a label. Received: none in the rows of {name_some(without)} of {table.path}."
            " Fill the label of the last image of each, or remove its rows."
        )


def _require_agreement(rows: dict[str, list[int]], labelled: LabelledFiles, table: TextTable) -> None:
    """Checks that all images of a series are of one split and of one patient."""
    for what, cells in (("split", labelled.splits), ("patient", labelled.groups)):
        found = {name: dict.fromkeys(cells[row] for row in part) for name, part in rows.items()} if cells else {}
        torn = [f"{name} ({', '.join(values)})" for name, values in found.items() if len(values) > 1]
        if torn:
            raise InputError(
                f"All images of a series must be of one {what}. Received: series {name_some(torn)} in {table.path}."
                f" Correct the column of {what}s, or that of series."
            )


def _require_one_series(rows: dict[str, list[int]], files: Sequence[Path], table: TextTable) -> None:
    """Checks that no file is named twice."""
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


def _require_times_in_files(files: Sequence[Path], table: TextTable) -> None:
    if not all(is_medical(file) for file in files):
        raise InputError(
            "A table of series must have a column of times, named such as time, date or time_minutes. Received: columns"
            f" {list_columns(table.columns)} in {table.path}. Name yours with --time-column NAME; only DICOM and NIfTI"
            " files say themselves when they were taken."
        )
