"""Series of a user's own images in time: ``series:FILE``, a table with their times, or ``series:DIR``, folders."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np

from keras_lnn.data.arrays import ImageData
from keras_lnn.data.checking import name_some
from keras_lnn.data.options import OwnImages
from keras_lnn.data.reading import Reading
from keras_lnn.data.sources.folders import label_folder, split_folders
from keras_lnn.data.sources.own_frames import SeriesFiles
from keras_lnn.data.sources.own_images import FoundImages, LabelledFiles, load_own_images
from keras_lnn.data.sources.series_finding import FoundSeries, SeriesTable, TimedSeries, join_files, read_times_of_files
from keras_lnn.data.sources.series_sorting import describe_series
from keras_lnn.data.sources.series_times import choose_unit
from keras_lnn.data.sources.table_columns import GROUP_NAMES, find_column, read_columns
from keras_lnn.data.sources.table_file import MISSING, TextTable, list_table_columns
from keras_lnn.data.sources.tables import checksum_rows
from keras_lnn.errors import InputError

_REMEDY = "Write a table with columns series, file, time and label, and read it as series:FILE."


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
    listed, labelled = _list_folder(place, options) if place.is_dir() else _list_table(place, reading)
    unit = options.model_unit or options.time_unit or listed.unit or choose_unit(listed.spans())
    sorted_series = listed.sort(unit, options.max_steps)
    if reading.plan != "whole" and all(len(frames) == 1 for frames, _ in sorted_series.series):
        raise InputError(
            f"Series must have several images. Received: one in each of {len(sorted_series.series):,} series in {path}."
            " Name the column that joins images to series with --series-column, or read them as table:FILE."
        )
    notes = [f"times are in {unit}"]
    if sorted_series.long:
        notes.append(f"{sorted_series.describe_thinned()}; change this with --max-steps")
    if listed.unit not in (None, unit):
        notes[0] += f", converted from {listed.unit}"
    labelled = labelled.take(sorted_series.rows)
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


def _list_folder(root: Path, options: OwnImages) -> tuple[TimedSeries, LabelledFiles]:
    """Returns the series in the folders of their classes, with their labels."""
    unreadable: list[str] = []
    # The slices of a DICOM series are separate images here.
    files, labelled = label_folder(root, dataclasses.replace(options, frame="each"), unreadable)
    depth = 2 if split_folders(root)["train"] == root else 3
    members, alone = join_files(files)
    loose = [name for name, each in zip(labelled.names, alone, strict=True) if not each and name.count("/") < depth]
    if loose:
        raise InputError(
            "Every image must lie in the folder of its series, and that in the folder of its class. Received:"
            f" {name_some(loose)} in {root}. Move the images of each series into a folder, or write a table."
        )
    warnings = (f"left out folders that cannot be read: {name_some(unreadable)}",) if unreadable else ()
    named = {place.relative_to(root).as_posix(): part for place, part in members.items()}
    found = FoundSeries(named, files, warnings=warnings)
    return _add_labels(read_times_of_files(found, options, _REMEDY), found, labelled)


def _list_table(path: Path, reading: Reading) -> tuple[TimedSeries, LabelledFiles]:
    """Returns the series of a table, with their labels."""
    options = reading.own
    opened = SeriesTable.open(path, options)
    table = _fill_groups(opened.table, options, opened.series_column)
    labelled = read_columns(
        table, options, guess_groups=reading.plan != "as listed", others=opened.roles, may_lack_labels=True
    )
    found = opened.find(labelled.names, options)
    _require_labels(found.members, labelled, table)
    _require_agreement(found.members, labelled, table)
    if found.unnamed:
        notes = (*labelled.notes, f"{found.unnamed:,} image files in the folder are not in the table")
        labelled = dataclasses.replace(labelled, notes=notes)
    return _add_labels(opened.add_times(found, options, _REMEDY), found, labelled)


def _add_labels(timed: TimedSeries, found: FoundSeries, labelled: LabelledFiles) -> tuple[TimedSeries, LabelledFiles]:
    """Returns the series, and as labels those of the last image of each that has one.

    Args:
        timed: Those of the series whose times are known.
        found: The series.
        labelled: The labels of the files.
    """
    last, changed, early = [], [], []
    for name, times in zip(timed.names, timed.seconds, strict=True):
        part = found.members[name]
        # A file of several frames has one label; images of one time have the order of the table.
        keys = {row: -np.inf if np.isnan(time) else time for row, time in zip(part, times, strict=False)}
        ordered = sorted(part, key=lambda row: (keys[row], row))
        with_label = [row for row in ordered if labelled.is_labelled(row)]
        last.append(with_label[-1])
        changed += [name] if len(np.unique(labelled.labels[with_label], axis=0)) > 1 else []
        early += [name] if with_label[-1] != ordered[-1] else []
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
    chosen = dataclasses.replace(labelled.take(last), names=list(timed.names), has_label=None)
    return dataclasses.replace(timed, warnings=(*timed.warnings, *warnings)), chosen


def _fill_groups(table: TextTable, options: OwnImages, series_column: str | None) -> TextTable:
    """Returns a table in which a series without a patient is a group of its own."""
    group_column = find_column(table, "group", options.group_column, GROUP_NAMES)
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
