"""The image files that a table lists, and rows that list one file twice."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_lnn.data.checking import name_some
from keras_lnn.data.decode.image_finding import find_images
from keras_lnn.data.sources.own_images import LabelledFiles
from keras_lnn.data.sources.table_file import TextTable
from keras_lnn.errors import InputError


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
    require_inside(cells, table, "Choose an --image-dir above, or write whole paths.")
    unreadable: list[str] = []
    images = find_images(root, unreadable)
    by_path = {os.path.relpath(image, root): image for image in images}
    by_name: dict[str, list[Path]] = {}
    for image in images:
        for name in {image.name, image.name.partition(".")[0], image.stem}:
            by_name.setdefault(name, []).append(image)
    files = [_find_file(cell, root, by_path, by_name, table.place(row)) for row, cell in enumerate(cells)]
    named = set(files)
    series = {file for file in named if file.is_dir()}
    return TableFiles(files, sum(image not in named and image.parent not in series for image in images), unreadable)


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


def join_doubled_rows(files: Sequence[Path], labelled: LabelledFiles, table: TextTable) -> tuple[list[int], list[str]]:
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
