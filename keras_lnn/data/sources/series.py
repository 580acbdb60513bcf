"""Series of own images in time or by position: ``series:FILE``, a table with times or positions, or ``series:DIR``."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np

from keras_lnn.data.arrays import ImageData
from keras_lnn.data.checking import name_some
from keras_lnn.data.decode.medical_files import is_medical, is_volume
from keras_lnn.data.options import STEPS_ALONG, OwnImages
from keras_lnn.data.reading import Reading
from keras_lnn.data.sources.folders import label_folder, split_folders
from keras_lnn.data.sources.own_images import FoundImages, LabelledFiles, load_own_images
from keras_lnn.data.sources.series_finding import FoundSeries, SeriesTable, TimedSeries, join_files, read_times_of_files
from keras_lnn.data.sources.series_sorting import SortedSeries, describe_series
from keras_lnn.data.sources.series_times import choose_unit
from keras_lnn.data.sources.table_columns import GROUP_NAMES, find_column, read_columns
from keras_lnn.data.sources.table_file import MISSING, TextTable, list_table_columns
from keras_lnn.data.sources.tables import checksum_rows
from keras_lnn.errors import InputError
from keras_lnn.fields.values import POSITION_UNIT

_REMEDIES = {
    along: f"Write a table with columns series, file, {along} and label, and read it as series:FILE."
    for along in STEPS_ALONG
}


def load_series(path: str | os.PathLike, reading: Reading = Reading()) -> ImageData:  # noqa: B008, it is frozen
    """Loads series of images in time.

    A table has one row per image, with columns of files, series and times, and those of labels, splits and patients as
    :func:`~keras_lnn.data.sources.tables.load_table` reads them; if no column names series, one of patients does. Times
    are numbers with a unit, dates or timestamps. A folder has one folder per class, and in it one folder per series;
    or the classes lie in ``train``, ``val`` and ``test``. There, and in tables without a column of times, the files
    must know their times: DICOM files, single or of several frames, and NIfTI files of four dimensions. A file of
    several frames is a series of its own.

    With ``steps_along="position"``, positions of slices in millimetres take the place of times: those of a column, of
    DICOM series, or of NIfTI files of three dimensions, each of which is a series of its own.

    Images are sorted by time, and series of more than ``max_steps`` images are thinned evenly in time before they are
    decoded. The label of a series is that of its last image that has one. With ``label_of="image"`` each image that has
    a label gives a sample: the series up to that image, with its label. All samples of a series are in one split. What
    is odd is in the report on the data.

    Args:
        path: The table or the folder.
        reading: Roles of the columns, the unit of the times, and how the files become pixels and splits.

    Returns:
        The series with a report on them; the names of the samples are the cells of the column of series, or the paths
        of the folders; where each image has a label, with its number in the series, such as ``SERIES#2``.
    """
    place, options, of_images = Path(path), reading.own, reading.own.label_of == "image"
    _require_fitting_options(options)
    listed, members, labelled = _list_folder(place, options) if place.is_dir() else _list_table(place, reading)
    # All images of a file of several frames have its label.
    rows = [np.resize(members[name], len(each)) for name, each in zip(listed.names, listed.seconds, strict=True)]
    has_label = [np.array([labelled.is_labelled(row) for row in part.tolist()]) for part in rows]
    unit = options.model_unit or options.time_unit or listed.unit or choose_unit(listed.spans())
    unit = POSITION_UNIT if options.steps_along == "position" else unit
    sorted_series = listed.sort(unit, options.max_steps, has_label if of_images else None)
    if reading.plan != "whole" and all(len(sample.frames) == 1 for sample in sorted_series.samples):
        raise InputError(
            f"Series must have several images. Received: one in each of {len(set(sorted_series.rows)):,} series in"
            f" {path}."
            " Name the column that joins images to series with --series-column, or read them as table:FILE."
        )
    notes = [f"{options.steps_along}s are in {unit}"]
    if sorted_series.long:
        notes.append(f"{sorted_series.describe_thinned()}; change this with --max-steps")
    if listed.unit not in (None, unit):
        notes[0] += f", converted from {listed.unit}"
    labelled, warnings = (_label_images if of_images else _label_series)(listed, rows, labelled, sorted_series)
    if of_images and options.window is None and any(is_medical(frames[0].path) for frames in listed.frames):
        warnings.append(
            "the images of a series share a window, on which later images have an influence, too; --window fixes one"
        )
    found = FoundImages(
        name=f"series:{os.fspath(path)}",
        files=sorted_series.samples,
        labelled=dataclasses.replace(labelled, notes=(*labelled.notes, *notes)),
        checksum=checksum_rows,
        warnings=(*listed.warnings, *warnings, *sorted_series.warnings),
        time_unit=unit,
    )
    return load_own_images(found, reading)


def list_series_columns(path: Path) -> tuple[str, ...]:
    """Returns the names of the columns of a table of series; empty for a folder."""
    return () if path.is_dir() else list_table_columns(path)


def _list_folder(root: Path, options: OwnImages) -> tuple[TimedSeries, dict[str, list[int]], LabelledFiles]:
    """Returns the series in the folders of their classes, the files of each, and the labels of the files."""
    unreadable: list[str] = []
    # The slices of a DICOM series are separate images here.
    files, labelled = label_folder(root, dataclasses.replace(options, frame="each"), unreadable)
    depth = 2 if split_folders(root)["train"] == root else 3
    members, alone = join_files(files, options.steps_along)
    loose = [name for name, each in zip(labelled.names, alone, strict=True) if not each and name.count("/") < depth]
    if loose:
        slices = ", or read the slices of volumes with --steps-along position" if any(map(is_volume, files[:1])) else ""
        raise InputError(
            "Every image must lie in the folder of its series, and that in the folder of its class. Received:"
            f" {name_some(loose)} in {root}. Move the images of each series into a folder, or write a table{slices}."
        )
    warnings = (f"left out folders that cannot be read: {name_some(unreadable)}",) if unreadable else ()
    named = {place.relative_to(root).as_posix(): part for place, part in members.items()}
    found = FoundSeries(named, files, warnings=warnings)
    return read_times_of_files(found, options, _REMEDIES[options.steps_along]), found.members, labelled


def _list_table(path: Path, reading: Reading) -> tuple[TimedSeries, dict[str, list[int]], LabelledFiles]:
    """Returns the series of a table, the rows of each, and the labels of the rows."""
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
    return opened.add_times(found, options, _REMEDIES[options.steps_along]), found.members, labelled


def _label_series(
    timed: TimedSeries, rows: list[np.ndarray], labelled: LabelledFiles, found: SortedSeries
) -> tuple[LabelledFiles, list[str]]:
    """Returns the last label of each series, with what is odd about it.

    Args:
        timed: The series.
        rows: The row of the labels that each image of a series belongs to.
        labelled: The labels.
        found: The samples.
    """
    last, changed, early = [], [], []
    for row in found.rows:
        name, seconds = timed.names[row], timed.seconds[row]
        # Images of one time have the order of the table; those without a time come first.
        ordered = rows[row][np.lexsort((rows[row], np.where(np.isnan(seconds), -np.inf, seconds)))].tolist()
        with_label = [each for each in ordered if labelled.is_labelled(each)]
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
    names = [timed.names[row] for row in found.rows]
    return dataclasses.replace(labelled.take(last), names=names, has_label=None), warnings


def _label_images(
    timed: TimedSeries, rows: list[np.ndarray], labelled: LabelledFiles, found: SortedSeries
) -> tuple[LabelledFiles, list[str]]:
    """Returns the label of the image that each sample ends with; the arguments are those of :func:`_label_series`."""
    last = [int(rows[row][end]) for row, end in zip(found.rows, found.ends, strict=True)]
    names = [f"{timed.names[row]}#{number}" for row, number in zip(found.rows, found.numbers, strict=True)]
    note = f"{len(names):,} images of {len(set(found.rows)):,} series, each with its label"
    chosen = dataclasses.replace(labelled.take(last), names=names, has_label=None, notes=(*labelled.notes, note))
    return chosen, []


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


def _require_fitting_options(options: OwnImages) -> None:
    """Checks that no option of times is given with positions, nor one of positions with times."""
    by_position = options.steps_along == "position"
    unit = options.time_unit if by_position != (options.time_unit == POSITION_UNIT) else None
    others = {"--time-column": options.time_column} if by_position else {"--position-column": options.position_column}
    odd = [f"{name} {value}" for name, value in {"times in": unit, **others}.items() if value is not None]
    if odd:
        remedy = "name the positions with --position-column" if by_position else "add --steps-along position"
        raise InputError(
            f"The steps of series must be along time or along position, not both. Received: {' and '.join(odd)} with"
            f" --steps-along {options.steps_along}. Leave one of them out, or {remedy}."
        )
