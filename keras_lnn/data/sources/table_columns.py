"""The roles of a table's columns: files, labels, splits, groups; detected by their names, or given."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

import numpy as np

from keras_lnn.data.arrays import SPLITS
from keras_lnn.data.checking import name_some, require_different_names
from keras_lnn.data.grouping import require_whole_groups
from keras_lnn.data.options import OwnImages
from keras_lnn.data.sources.folders import SPLIT_SPELLINGS, natural_order
from keras_lnn.data.sources.own_images import LabelledFiles
from keras_lnn.data.sources.series_times import TIME_NAMES
from keras_lnn.data.sources.table_file import MISSING, TextTable
from keras_lnn.errors import InputError, suggest

# Compared without case, blanks, underscores and hyphens, so that "Image Index" becomes imageindex.
FILE_NAMES = frozenset(
    [
        "file",
        "filename",
        "filepath",
        "files",
        "image",
        "imagefile",
        "imagefilename",
        "imageid",
        "imageindex",
        "imagename",
        "imagepath",
        "img",
        "imgname",
        "imgpath",
        "path",
        "dicom",
        "dicompath",
        "scan",
    ]
)
_CLASS_NAMES = frozenset(
    [
        "label",
        "labels",
        "class",
        "classname",
        "diagnosis",
        "dx",
        "finding",
        "findings",
        "findinglabel",
        "findinglabels",
        "category",
        "target",
    ]
)
SPLIT_NAMES = frozenset(["split", "splits", "subset", "partition"])
GROUP_NAMES = frozenset(["group", "groupid", "patient", "patientid", "patients", "subject", "subjectid"])
SERIES_NAMES = frozenset(
    [
        *("series", "seriesid", "seriesname", "seriesnumber", "seriesuid", "seriesinstanceuid", "seriesdescription"),
        *("sequence", "sequenceid", "cine", "cineid", "clip", "clipid", "video", "videoid"),
    ]
)
# Less usual names of columns of patients; such a column is used if it is the only one with such a name.
_LIKE_GROUPS = re.compile(
    r"(patient|pat|subject|participant|person|case)s?(id|no|nr|num|number|key|uid|code|name)?|pid|mrn|medicalrecordnumber"
)

_BETWEEN_NAMES = "|"
_NO_LABEL = "nofinding"
_BITS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}
_NAMED_AT_MOST = 5


def read_columns(
    table: TextTable,
    options: OwnImages,
    *,
    guess_groups: bool = True,
    others: Mapping[str, str] | None = None,
    may_lack_labels: bool = False,
) -> LabelledFiles:
    """Finds the columns and reads their cells; each mistake is reported in one sentence with its line.

    Args:
        table: The table.
        options: Roles of its columns.
        guess_groups: Whether a column that looks like one of patients is used as such.
        others: Columns of further roles by their role, which are no labels: those of series and times.
        may_lack_labels: Whether the label cells of rows may be empty.
    """
    file_column = find_file_column(table, options.file_column)
    split_column = find_column(table, "split", options.split_column, SPLIT_NAMES)
    group_column = find_column(table, "group", options.group_column, GROUP_NAMES)
    taken = [name for name in (file_column, split_column, group_column) if name is not None]
    taken += (others or {}).values()
    guessed = [] if group_column is not None or not guess_groups else _guess_groups(table, taken)
    guessed = [name for name in guessed if name not in (options.label_columns or ())]
    if len(guessed) == 1:
        (group_column,) = guessed
        taken.append(group_column)
    label_columns = _find_labels(table, options.label_columns, taken, may_lack_labels)
    has_label = _find_labelled(table, label_columns) if may_lack_labels else np.ones(len(table.rows), bool)
    task, class_names, labels = _read_labels(_take_rows(table, has_label), label_columns)
    every_label = np.zeros((len(table.rows), *labels.shape[1:]), labels.dtype)
    every_label[has_label] = labels
    labelled = LabelledFiles(
        names=require_filled(table, file_column, "a file"),
        task=task,
        class_names=class_names,
        labels=every_label,
        has_label=None if has_label.all() else has_label,
        splits=None if split_column is None else read_splits(table, split_column),
        groups=None if group_column is None else require_filled(table, group_column, "a group"),
        notes=_describe_use(table, file_column, label_columns, split_column, group_column, guessed, others),
        groups_guessed=len(guessed) == 1,
    )
    if labelled.splits is not None and labelled.groups is not None and group_column is not None and not guessed:
        require_whole_groups(labelled.groups, labelled.splits, group_column)
    return labelled


def _guess_groups(table: TextTable, taken: Sequence[str]) -> list[str]:
    """Returns the columns whose names look like patients, and whose cells could be numbers or names of patients."""

    def is_filled(cells: Sequence[str]) -> bool:
        found = {cell.lower() for cell in cells}
        return len(found) >= max(3, min(10, len(cells) // 3)) and not found & MISSING

    free = [name for name in table.columns if name and name not in taken]
    return [name for name in free if _LIKE_GROUPS.fullmatch(plain_name(name)) and is_filled(table.column(name))]


def _describe_use(
    table: TextTable,
    file: str,
    labels: tuple[str, ...],
    split: str | None,
    group: str | None,
    guessed_groups: Sequence[str],
    others: Mapping[str, str] | None,
) -> tuple[str, ...]:
    roles: dict[str, tuple[str | None, ...]] = {role: (name,) for role, name in (others or {}).items()}
    roles |= {"file": (file,), "labels": labels, "split": (split,), "group": (group,)}
    used = {role: [name for name in names if name is not None] for role, names in roles.items() if names != (None,)}
    notes = [f"columns used: {'; '.join(f'{role}: {name_some(names)}' for role, names in used.items())}"]
    every = {name for names in used.values() for name in names}
    ignored = [name or "(no name)" for name in table.columns if name not in every]
    if others is None:
        notes += _offer_series(table, group, ignored)
    if len(guessed_groups) > 1:
        notes.append(f"columns that may name patients: {name_some(guessed_groups)}; choose one with --group-column")
    return tuple(notes + ([f"columns ignored: {name_some(ignored)}"] if ignored else []))


def _offer_series(table: TextTable, group: str | None, ignored: Sequence[str]) -> list[str]:
    """Returns a sentence on how to read the images of a series or a patient as one, if they seem to have times.

    Args:
        table: The table.
        group: Its column of patients.
        ignored: Its columns that have no role.
    """
    times = [name for name in ignored if plain_name(name) in TIME_NAMES]
    joined = next((name for name in ignored if plain_name(name) in SERIES_NAMES), group)
    if not times or joined is None or len(set(table.column(joined))) == len(table.rows):
        return []
    return [
        f"the images seem to have times (column {name_some(times)}): --data series:{table.path} reads those of each"
        f" {joined} as a series in time"
    ]


def find_file_column(table: TextTable, named: str | None) -> str:
    """Returns the column of files given by an option, else the one with a usual name; raises an error if none is."""
    found = find_column(table, "file", named, FILE_NAMES)
    if found is None:
        raise InputError(
            "A table must have a file column, named such as file, filename, image or path. Received: columns"
            f" {list_columns(table.columns)} in {table.path}. Rename one, or name yours with --file-column NAME."
        )
    return found


def find_column(table: TextTable, role: str, named: str | None, names: frozenset[str]) -> str | None:
    """Returns the column of a role: the one given by an option, else the one with a usual name."""
    if named is not None:
        return require_column(table, named, f"--{role}-column")
    found = [name for name in table.columns if plain_name(name) in names]
    if len(found) > 1:
        raise InputError(
            f"There must be one {role} column. Received: {', '.join(found)} in {table.path}."
            f" Choose one with --{role}-column NAME."
        )
    return found[0] if found else None


def require_column(table: TextTable, named: str, option: str) -> str:
    """Returns the column given by an option, in letters of any case."""
    found = [name for name in table.columns if name and name == named] or [
        name for name in table.columns if name and name.lower() == named.lower()
    ]
    if len(found) != 1:
        names = [name for name in table.columns if name]
        raise InputError(
            f"{option} must name a column of {table.path}. Received: {named}."
            f" {suggest(named, names) if len(names) <= 30 else suggest(named, names).partition(' from ')[0]}"
        )
    return found[0]


def _find_labelled(table: TextTable, columns: Sequence[str]) -> np.ndarray:
    """Returns whether each row has a label; where cells hold joined names, an empty cell is one: none of the names."""
    cells = [table.column(name) for name in columns]
    if len(cells) == 1 and any(_BETWEEN_NAMES in cell for cell in cells[0]):
        return np.ones(len(table.rows), bool)
    return np.array([any(cell.lower() not in MISSING for cell in row) for row in zip(*cells, strict=True)], bool)


def _take_rows(table: TextTable, chosen: np.ndarray) -> TextTable:
    """Returns a table with some of the rows; with all of them if none is chosen, so that they are reported."""
    if chosen.all() or not chosen.any():
        return table
    rows = np.flatnonzero(chosen)
    return TextTable(table.path, table.columns, [table.rows[k] for k in rows], [table.lines[k] for k in rows])


def _find_labels(
    table: TextTable, named: Sequence[str] | None, taken: Sequence[str], may_lack_labels: bool
) -> tuple[str, ...]:
    if named is not None:
        chosen = tuple(require_column(table, name, "--label-columns") for name in named)
        doubled = [name for name in chosen if chosen.count(name) > 1 or name in taken]
        if doubled or not chosen:
            raise InputError(
                f"--label-columns must name each column of labels once, and no column that has another role."
                f" Received: {', '.join(doubled) or 'no names'}. Correct the names."
            )
        return chosen
    free = [name for name in table.columns if name and name not in taken]
    classes = [name for name in free if plain_name(name) in _CLASS_NAMES]
    if len(classes) > 1:
        raise InputError(
            f"There must be one class column. Received: {', '.join(classes)} in {table.path}."
            " Choose one with --label-columns NAME."
        )
    if classes:
        return tuple(classes)
    bits = {name: [_bit(cell) is not None for cell in table.column(name)] for name in free}
    # A column of bits with a few other cells is more likely a mistake than a column to be ignored.
    nearly = [name for name in free if sum(bits[name]) * 2 > len(bits[name])]
    if not nearly and may_lack_labels:
        filled = {name: sum(cell.lower() not in MISSING for cell in table.column(name)) for name in free}
        nearly = [name for name in free if sum(bits[name]) * 2 > filled[name]]
    labelled = _take_rows(table, _find_labelled(table, nearly)) if may_lack_labels and nearly else table
    for name in nearly:
        _read_bits(labelled, name)
    if not nearly:
        raise InputError(
            f"A table must have a class column, named such as label, class or diagnosis, or columns of 0 and 1."
            f" Received: columns {list_columns(table.columns)} in {table.path}."
            " Name yours with --label-columns NAME,NAME."
        )
    return tuple(nearly)


def _read_labels(table: TextTable, columns: tuple[str, ...]) -> tuple[str, tuple[str, ...], np.ndarray]:
    """Returns the task, the names of classes or labels, and the labels."""
    if len(columns) > 1:
        return "multi-label", columns, np.column_stack([_read_bits(table, name) for name in columns])
    (column,) = columns
    cells = table.column(column)
    if any(_BETWEEN_NAMES in cell for cell in cells):
        return _read_joined_names(table, column)
    cells = require_filled(table, column, "a label")
    if plain_name(column) not in _CLASS_NAMES and sum(_bit(cell) is not None for cell in cells) * 2 > len(cells):
        labels = _read_bits(table, column).astype(np.int64)
        names = (f"no {column}", column)
    else:
        names = tuple(sorted(set(cells), key=natural_order))
        places = {name: place for place, name in enumerate(names)}
        labels = np.array([places[cell] for cell in cells], np.int64)
    present = sorted({names[label] for label in labels})
    if len(present) < 2:
        raise InputError(
            f"There must be at least 2 classes. Received: only {present[0]} in column {column} of {table.path}."
            " Add images of another class."
        )
    _require_classes(table, column, names)
    require_different_names(names, f"column {column} of {table.path}")
    return ("binary" if len(names) == 2 else "multi-class"), names, labels


def _require_classes(table: TextTable, column: str, names: tuple[str, ...]) -> None:
    """Checks that cells are classes, not measurements or names of patients, which differ for nearly every image."""
    if len(names) > max(20, len(table.rows) // 2):
        raise InputError(
            f"A class column must hold a few classes. Received: {len(names)} different cells in column {column} of"
            f" {table.path}, such as {', '.join(names[:3])}. Say which columns are labels with --label-columns."
        )


def _read_joined_names(table: TextTable, column: str) -> tuple[str, tuple[str, ...], np.ndarray]:
    found: list[set[str]] = []
    for row, cell in enumerate(table.column(column)):
        names = {part.strip() for part in cell.split(_BETWEEN_NAMES)} - {""}
        labels = {name for name in names if plain_name(name) != _NO_LABEL}
        if any(name.lower() in MISSING for name in labels) or (labels and labels != names):
            raise InputError(
                f"A cell must hold names joined by |, or nothing, or No Finding alone. Received: {cell!r} in column"
                f" {column}, {table.place(row)} of {table.path}. Correct the cell."
            )
        found.append(labels)
    names = tuple(sorted(set().union(*found), key=natural_order))
    require_different_names(names, f"column {column} of {table.path}")
    places = {name: place for place, name in enumerate(names)}
    labels = np.zeros((len(found), len(names)), np.uint8)
    for row, labelled in enumerate(found):
        labels[row, [places[name] for name in labelled]] = 1
    return "multi-label", names, labels


def _read_bits(table: TextTable, column: str) -> np.ndarray:
    cells = table.column(column)
    bits = [_bit(cell) for cell in cells]
    _require_all(table, column, [bit is not None for bit in bits], "A column of labels must hold 0 and 1 only")
    return np.array(bits, np.uint8)


def read_splits(table: TextTable, column: str) -> list[str]:
    """Returns the cells of a column of splits as train, val and test."""
    spelled = {spelling: split for split, spellings in SPLIT_SPELLINGS.items() for spelling in spellings}
    splits = [spelled.get(cell.lower()) for cell in table.column(column)]
    _require_all(table, column, [split is not None for split in splits], "A split must be train, val or test")
    if "train" not in splits:
        others = ", ".join(name for name in SPLITS if name in splits)
        raise InputError(
            f"Some rows must be of the split train. Received: only {others} in column {column} of {table.path}."
            " Add images to train with, or remove the column."
        )
    return [split for split in splits if split is not None]


def require_filled(table: TextTable, column: str, what: str) -> list[str]:
    """Returns the cells of a column, and checks that none is empty."""
    cells = table.column(column)
    _require_all(table, column, [cell.lower() not in MISSING for cell in cells], f"Every row must name {what}")
    return cells


def _require_all(table: TextTable, column: str, right: Sequence[bool], rule: str) -> None:
    wrong = [row for row, is_right in enumerate(right) if not is_right]
    if wrong:
        cells = table.column(column)
        named = [f"{cells[row] or 'an empty cell'} (line {table.lines[row]})" for row in wrong[:_NAMED_AT_MOST]]
        more = f" and {len(wrong) - len(named)} more" if len(wrong) > len(named) else ""
        raise InputError(
            f"{rule}. Received: {', '.join(named)}{more} in column {column} of {table.path}."
            " Correct these cells or remove the rows."
        )


def require_inside(cells: Sequence[str], table: TextTable, remedy: str) -> None:
    """Checks that no file of a table lies above its folder, since ``..`` in a table from elsewhere could name any file.

    Args:
        cells: Names as they are in the table.
        table: The table, to state the line of a mistake.
        remedy: What the user can do, for the message.
    """
    outside = [
        f"{cell} ({table.place(row)})"
        for row, cell in enumerate(cells)
        if os.path.normpath(cell.replace("\\", "/")).split("/")[0] == ".."
    ]
    if outside:
        raise InputError(
            f"A file must lie in the folder of images or be named by its whole path. Received: {name_some(outside)}."
            f" {remedy}"
        )


def _bit(cell: str) -> int | None:
    return _BITS.get(cell.lower())


def plain_name(name: str) -> str:
    """Returns a column's name without case, blanks, underscores, hyphens and brackets."""
    return re.sub(r"[\s_()\[\]-]", "", name.lower())


def list_columns(columns: Sequence[str]) -> str:
    """Returns the names of a table's columns as text."""
    shown = [name or "(no name)" for name in columns[:20]]
    return ", ".join(shown) + (f" and {len(columns) - 20} more" if len(columns) > 20 else "")
