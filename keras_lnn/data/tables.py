"""Images that a table names, with their labels: ``table:FILE``."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from keras_lnn.data import medical_files
from keras_lnn.data.arrays import ImageData, Split
from keras_lnn.data.checking import DataCheck, check_splits, name_some
from keras_lnn.data.decoded_cache import CachedImages, open_or_decode
from keras_lnn.data.grouping import complete_grouped_splits, require_each_class, require_whole_groups
from keras_lnn.data.images import Progress, describe_faults, guess_channels, image_shape
from keras_lnn.data.options import OwnImages
from keras_lnn.data.splitting import SelectedRows, complete_splits
from keras_lnn.data.table_columns import TableContent, read_columns
from keras_lnn.data.table_file import read_table
from keras_lnn.data.table_files import find_table_files, join_doubled_rows
from keras_lnn.errors import InputError
from keras_lnn.files import file_digest


def load_table(
    path: str | os.PathLike,
    options: OwnImages = OwnImages(),  # noqa: B008, it is frozen
    *,
    side: int = 64,
    channels: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> ImageData:
    """Loads the images that a CSV or TSV file names.

    A column names the files, relative to a folder or with their whole path; a name alone is looked for in the folders
    below, with any suffix. Labels are one class column, one column of names joined by ``|`` or several columns of
    0 and 1. Splits are those of a column ``split``, and what is missing there is split off train; without the column
    they are made by seed (70 % train, 10 % val, 20 % test), stratified by labels. Images of one ``group`` or patient
    are always in one split.

    Decoded images are kept in a file of the cache, which is found again by the content of the image files, so that a
    second call reads the files once, for their hashes, and decodes nothing.

    The checksum is the SHA-256 of one line a row, sorted: the file's cell, the SHA-256 of its content, the labels,
    the split and the group, with a zero byte between them.

    Args:
        path: The table.
        options: What its columns are, and how files become pixels.
        side: Height and width, and depth of volumes.
        channels: 1 (grey), 3 (colour) or None for what the files have.
        seed: Of the splits.
        progress: Called with the fraction of the images that is decoded.

    Returns:
        The images with a report on them; the names of the samples are the cells of the file column.
    """
    table_path = Path(path)
    table = read_table(table_path)
    content = read_columns(table, options)
    root = table_path.parent if options.image_dir is None else Path(options.image_dir)
    found = find_table_files(content.files, root, table)
    first_rows, doubled = join_doubled_rows(found.files, content, table)
    content, files = content.take(first_rows), [found.files[row] for row in first_rows]
    if content.splits is not None and content.groups is not None:
        require_whole_groups(content.groups, content.splits, content.group_column)
    _make_splits(content, seed)  # what is wrong with the splits is told before thousands of files are decoded
    digests, faults = _digest(files, options.skip_bad)
    cached, places = _decode(files, digests, options, side, channels, faults, progress)
    bad = _bad_rows(content, files, faults, options.skip_bad)
    kept = [row for row in range(len(files)) if row not in bad]
    content, digests = content.take(kept), [digests[row] for row in kept]
    rows = _make_splits(content, seed)
    stored = np.array([places[row] for row in kept])
    warnings = [f"left out {len(bad)} of {len(files)} files: {name_some([*bad.values()])}"] if bad else []
    return ImageData(
        name=f"table:{os.fspath(path)}",
        task=content.task,
        class_names=content.class_names,
        splits={
            split: Split(
                SelectedRows(cached.images, stored[part]), content.labels[part], [content.files[row] for row in part]
            )
            for split, part in rows.items()
        },
        checksum=_checksum(content, digests),
        check=_check(content, rows, digests, cached, options, [*doubled, *warnings], found.unnamed),
    )


def _make_splits(content: TableContent, seed: int) -> dict[str, np.ndarray]:
    """The rows of each split."""
    simple = content.labels.ndim == 1 and content.groups is None
    indicators = content.indicators()
    if not simple:
        rows = complete_grouped_splits(indicators, content.splits, seed, groups=content.groups)
    elif content.splits is None:
        rows = complete_splits({"train": content.labels}, seed, class_names=content.class_names)
    else:
        # In the order of the splits, as complete_splits counts its samples.
        given = {name: np.flatnonzero(np.array(content.splits) == name) for name in dict.fromkeys(content.splits)}
        order = np.concatenate(list(given.values()))
        labels = {name: content.labels[part] for name, part in given.items()}
        parts = complete_splits(labels, seed, class_names=content.class_names)
        rows = {name: order[part] for name, part in parts.items()}
    if content.labels.ndim == 1:
        require_each_class(indicators, rows, content.class_names)
    return rows


def _digest(files: Sequence[Path], skip_bad: bool) -> tuple[list[str], dict[int, str]]:
    """The hash of each file's content, and what is wrong with those that have none."""
    faults: dict[int, str] = {}

    def digest(row: int) -> str:
        try:
            return file_digest(files[row])
        except FileNotFoundError:
            faults[row] = "missing"
        except OSError as error:
            faults[row] = (error.strerror or "unreadable").lower()
        return ""

    with ThreadPoolExecutor(min(32, os.cpu_count() or 1)) as pool:
        digests = list(pool.map(digest, range(len(files)), chunksize=64))
    if len(faults) == len(files):
        raise InputError(describe_faults(faults, files, "Check --image-dir and the column of files."))
    return digests, faults


def _decode(
    files: Sequence[Path],
    digests: Sequence[str],
    options: OwnImages,
    side: int,
    channels: int | None,
    faults: dict[int, str],
    progress: Progress | None,
) -> tuple[CachedImages, list[int]]:
    """The decoded images, and the place of each file among them; files of the same content have one place."""
    # In the order of the hashes, so that neither the order of the table nor its labels make another file.
    by_content = {digests[row] + files[row].suffix.lower(): row for row in range(len(files)) if row not in faults}
    order = sorted(by_content)
    unique = [files[by_content[key]] for key in order]
    volumes = medical_files.is_volume(unique[0])
    shape = image_shape(side, (1 if volumes else guess_channels(unique)) if channels is None else channels)
    shape = (shape[0], *shape) if volumes else shape
    cached = open_or_decode(
        unique, [digests[by_content[key]] for key in order], shape, options.rendering, progress=progress
    )
    numbers = {key: place for place, key in enumerate(order)}
    places = [numbers.get(digest + file.suffix.lower(), -1) for file, digest in zip(files, digests, strict=True)]
    faults |= {row: cached.decoded.faults[place] for row, place in enumerate(places) if place in cached.decoded.faults}
    return cached, places


def _bad_rows(content: TableContent, files: Sequence[Path], faults: dict[int, str], skip_bad: bool) -> dict[int, str]:
    if faults and (not skip_bad or len(faults) == len(files)):
        remedy = "" if skip_bad else "Replace or remove them, or go on without them by --skip-bad."
        raise InputError(describe_faults(faults, files, remedy))
    return {row: f"{content.files[row]} ({faults[row]})" for row in sorted(faults)}


def _check(
    content: TableContent,
    rows: dict[str, np.ndarray],
    digests: Sequence[str],
    cached: CachedImages,
    options: OwnImages,
    warnings: Sequence[str],
    unnamed: int,
) -> DataCheck:
    used = [f"{role}: {name_some(names)}" for role, names in content.used.items() if names]
    notes = [f"columns used: {'; '.join(used)}"]
    if content.ignored:
        notes.append(f"columns ignored: {name_some(content.ignored)}")
    if unnamed:
        notes.append(f"{unnamed:,} image files in the folder are not in the table")
    return check_splits(
        content.indicators(),
        rows,
        content.class_names,
        names=content.files,
        digests=digests,
        brightest=cached.decoded.brightest if options.window is None else None,
        notes=notes,
        warnings=warnings,
    )


def _checksum(content: TableContent, digests: Sequence[str]) -> str:
    indicators = content.indicators()
    splits = content.splits or [""] * len(digests)
    groups = content.groups or [""] * len(digests)
    lines = []
    for row, (file, digest) in enumerate(zip(content.files, digests, strict=True)):
        labels = "|".join(content.class_names[place] for place in np.flatnonzero(indicators[row]))
        lines.append("\0".join((file, digest, labels, splits[row], groups[row])) + "\n")
    return f"sha256:{hashlib.sha256(''.join(sorted(lines)).encode('utf-8', 'surrogateescape')).hexdigest()}"
