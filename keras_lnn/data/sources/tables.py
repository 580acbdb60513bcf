"""Images listed in a table with their labels: ``table:FILE``."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_lnn.data.arrays import ImageData
from keras_lnn.data.checking import name_some
from keras_lnn.data.decode.image_finding import find_images
from keras_lnn.data.reading import Reading
from keras_lnn.data.sources.own_images import FoundImages, LabelledFiles, load_own_images
from keras_lnn.data.sources.table_columns import read_columns, require_inside
from keras_lnn.data.sources.table_file import TextTable, read_table
from keras_lnn.errors import InputError


def load_table(path: str | os.PathLike, reading: Reading = Reading()) -> ImageData:  # noqa: B008, it is frozen
    """Loads the images that a CSV or TSV file lists.

    A column names the files, relative to a folder or with their whole path; a name alone is searched for in the folders
    below, with any suffix. Labels are one class column, one column of names joined by ``|`` or several columns of
    0 and 1. Splits are those of a column ``split``, and missing splits are split off train; without the column they are
    made by seed (70 % train, 10 % val, 20 % test), stratified by labels. Images of one ``group`` or patient are always
    in one split.

    Decoded images are kept in a file of the cache, which is found again by the content of the image files, so that a
    second call reads the files once, for their hashes, and decodes nothing.

    The checksum is the SHA-256 of one line per row, sorted: the file's cell, the SHA-256 of its content, the labels,
    the split and the group, with a zero byte between them.

    Args:
        path: The table.
        reading: Roles of its columns, and how the files become pixels and splits.

    Returns:
        The images with a report on them; the names of the samples are the cells of the file column.
    """
    table_path = Path(path)
    table = read_table(table_path)
    labelled = read_columns(table, reading.own, guess_groups=reading.plan != "as listed")
    root = table_path.parent if reading.own.image_dir is None else Path(reading.own.image_dir)
    listed = find_table_files(labelled.names, root, table)
    if listed.unnamed:
        notes = (*labelled.notes, f"{listed.unnamed:,} image files in the folder are not in the table")
        labelled = dataclasses.replace(labelled, notes=notes)
    rows, doubled = _join_doubled_rows(listed.files, labelled, table)
    found = FoundImages(
        name=f"table:{os.fspath(path)}",
        files=[listed.files[row] for row in rows],
        labelled=labelled.take(rows),
        checksum=checksum_rows,
        warnings=(*doubled, *describe_unreadable(listed.unreadable)),
    )
    return load_own_images(found, reading)


def describe_unreadable(folders: Sequence[str]) -> list[str]:
    """Returns a warning of folders that could not be searched."""
    return [f"folders in which no files could be looked for: {name_some(folders)}"] if folders else []


def checksum_rows(labelled: LabelledFiles, digests: Sequence[str]) -> str:
    """Returns the checksum of samples with their names, digests, labels, splits and groups, in any order."""
    indicators = labelled.indicators()
    splits = labelled.splits or [""] * len(digests)
    groups = labelled.groups or [""] * len(digests)
    lines = []
    for row, (file, digest) in enumerate(zip(labelled.names, digests, strict=True)):
        labels = "|".join(labelled.class_names[place] for place in np.flatnonzero(indicators[row]))
        lines.append("\0".join((file, digest, labels, splits[row], groups[row])) + "\n")
    return f"sha256:{hashlib.sha256(''.join(sorted(lines)).encode('utf-8', 'surrogateescape')).hexdigest()}"


@dataclasses.dataclass(frozen=True)
class TableFiles:
    """The files of a table.

    Args:
        files: One path per row; it need not exist.
        unnamed: Number of image files of the folder that are in no row.
        unreadable: Folders that could not be searched, with the reasons.
    """

    files: list[Path]
    unnamed: int
    unreadable: list[str] = dataclasses.field(default_factory=list)


def find_table_files(cells: Sequence[str], root: Path, table: TextTable) -> TableFiles:
    """Finds the files that the cells of a table name.

    Args:
        cells: Names as they are in the table.
        root: The folder of images.
        table: The table, to state the line of a mistake.
    """
    if not root.is_dir():
        raise InputError(
            f"--image-dir must be the folder of images. Received: {root}, which is"
            f" {'a file' if root.exists() else 'not there'}. Check the path."
        )
    unreadable: list[str] = []
    images = find_images(root, unreadable)
    files = match_files(cells, images, root, table)
    named = set(files)
    series = {file for file in named if file.is_dir()}
    return TableFiles(files, sum(image not in named and image.parent not in series for image in images), unreadable)


def match_files(cells: Sequence[str], images: Sequence[Path], root: Path, table: TextTable) -> list[Path]:
    """Returns the file that each cell of a table names; it need not exist.

    A cell names a file by its path below the folder of images, or by its name alone, with or without its suffix.

    Args:
        cells: Names as they are in the table.
        images: The image files in the folder and below it.
        root: The folder of images.
        table: The table, to state the line of a mistake.
    """
    require_inside(cells, table, "Choose an --image-dir above, or write whole paths.")
    by_path = {os.path.relpath(image, root): image for image in images}
    by_name: dict[str, list[Path]] = {}
    for image in images:
        for name in {image.name, image.name.partition(".")[0], image.stem}:
            by_name.setdefault(name, []).append(image)
    return [_find_file(cell, root, by_path, by_name, table.place(row)) for row, cell in enumerate(cells)]


def _find_file(cell: str, root: Path, by_path: dict[str, Path], by_name: dict[str, list[Path]], place: str) -> Path:
    path = os.path.normpath(cell.replace("\\", "/") if os.sep == "/" else cell)
    if path in by_path:
        return by_path[path]
    file = root / path  # an absolute path replaces the root
    if os.path.dirname(path) or os.path.exists(file):
        return file
    candidates = by_name.get(path, [])
    if len(candidates) > 1:
        shown = [candidate.relative_to(root).as_posix() for candidate in candidates]
        raise InputError(
            f"A name without a folder must match one file below {root}. Received: {cell} ({place}), which matches"
            f" {name_some(shown)}. Write the folder before the name."
        )
    return candidates[0] if candidates else file


def _join_doubled_rows(files: Sequence[Path], labelled: LabelledFiles, table: TextTable) -> tuple[list[int], list[str]]:
    """Keeps one row of each file, and checks that all its rows agree.

    Returns:
        The rows that are kept, whatever their order in the table, and a warning if some were left out.
    """
    first: dict[Path, int] = {}
    kept: dict[Path, int] = {}
    conflicts = []
    for row, file in enumerate(files):
        other = first.setdefault(file, row)
        kept[file] = min(
            kept.get(file, row), row, key=lambda place: (len(labelled.names[place]), labelled.names[place])
        )
        if other == row:
            continue
        if not np.array_equal(labelled.labels[row], labelled.labels[other]):
            conflicts.append(
                f"{labelled.names[row]} with two labels (lines {table.lines[other]} and {table.lines[row]})"
            )
        for kind, cells in (("splits", labelled.splits), ("groups", labelled.groups)):
            if cells is not None and cells[row] != cells[other]:
                conflicts.append(
                    f"{labelled.names[row]} with two {kind} (lines {table.lines[other]} and {table.lines[row]})"
                )
    if conflicts:
        raise InputError(
            f"All rows of a file must agree. Received: {name_some(conflicts)} in {table.path}."
            " Correct or remove one of each."
        )
    left_out = sorted(set(range(len(files))) - set(kept.values()))
    doubled = [f"{labelled.names[row]} ({table.place(row)})" for row in left_out]
    warnings = [f"rows that name a file again were left out: {name_some(doubled)}"] if doubled else []
    return list(kept.values()), warnings
