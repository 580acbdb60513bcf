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
from keras_lnn.data.reading import Reading
from keras_lnn.data.sources.own_images import FoundImages, LabelledFiles, load_own_images
from keras_lnn.data.sources.table_columns import read_columns
from keras_lnn.data.sources.table_file import read_table
from keras_lnn.data.sources.table_files import find_table_files, join_doubled_rows


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
    rows, doubled = join_doubled_rows(listed.files, labelled, table)
    found = FoundImages(
        name=f"table:{os.fspath(path)}",
        files=[listed.files[row] for row in rows],
        labelled=labelled.take(rows),
        checksum=_checksum,
        warnings=(*doubled, *_describe_unreadable(listed.unreadable)),
    )
    return load_own_images(found, reading)


def _describe_unreadable(folders: Sequence[str]) -> list[str]:
    return [f"folders in which no files could be looked for: {name_some(folders)}"] if folders else []


def _checksum(labelled: LabelledFiles, digests: Sequence[str]) -> str:
    indicators = labelled.indicators()
    splits = labelled.splits or [""] * len(digests)
    groups = labelled.groups or [""] * len(digests)
    lines = []
    for row, (file, digest) in enumerate(zip(labelled.names, digests, strict=True)):
        labels = "|".join(labelled.class_names[place] for place in np.flatnonzero(indicators[row]))
        lines.append("\0".join((file, digest, labels, splits[row], groups[row])) + "\n")
    return f"sha256:{hashlib.sha256(''.join(sorted(lines)).encode('utf-8', 'surrogateescape')).hexdigest()}"
