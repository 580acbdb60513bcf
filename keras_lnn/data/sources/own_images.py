"""A user's own image files, loaded from names and labels into splits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_lnn.data.arrays import ALL, SPLITS, ImageArray, ImageData, Split
from keras_lnn.data.checking import DataCheck, check_splits
from keras_lnn.data.decode.copies import find_near_copies
from keras_lnn.data.folds import choose_fold, partition_folds
from keras_lnn.data.grouping import complete_grouped_splits, describe_torn, require_each_class
from keras_lnn.data.options import OwnImages
from keras_lnn.data.reading import Reading
from keras_lnn.data.samples import SampleRecord, SplitPlan
from keras_lnn.data.sources.decoded_samples import DecodedSamples, decode_samples
from keras_lnn.data.sources.own_frames import FileRows, SeriesFiles
from keras_lnn.data.sources.patients import find_patients
from keras_lnn.data.sources.series_files import is_series_file
from keras_lnn.data.splitting import SelectedRows, complete_splits
from keras_lnn.errors import InputError
from keras_lnn.fields.values import parse_fold
from keras_lnn.files.atomic import as_text

# How users name patients in each kind of own images.
_HOW_TO_NAME_PATIENTS = {
    "folder": "Write a table with a column patient, or make the splits yourself",
    "table": "Add a column patient, or name yours with --group-column",
    "series": "Write a table with a column patient, or name yours with --group-column",
    "masks": "Name the patients in a column of manifest.csv",
    "mask-classes": "Name the patients in a column of manifest.csv",
}
# Sources whose data can also be read as series:PATH.
_SOURCES_OF_IMAGES = ("folder", "table")


@dataclasses.dataclass(frozen=True)
class LabelledFiles:
    """Image files with their labels and metadata, one entry per file.

    Args:
        names: The names of the files in all messages and reports.
        task: ``binary``, ``multi-class``, ``multi-label`` or ``segmentation``.
        class_names: One name per class or label.
        labels: As in :class:`~keras_lnn.data.arrays.Split`; for segmentation each file has one mask.
        splits: ``train``, ``val`` or ``test``; None if not given.
        groups: The group of each file; None if not given.
        groups_guessed: Whether the groups were guessed; then the checksum of the data does not include them.
        groups_are_series: Whether the groups are the series of images in time, since no patients are known.
        has_label: Whether each file has a label; None if all have.
        notes: Decisions that were taken, one sentence each.
        present: Whether each class is in each mask, 0 or 1; None if labels are not masks.
        spacing: As in :class:`~keras_lnn.data.arrays.Split`.
    """

    names: list[str]
    task: str
    class_names: tuple[str, ...]
    labels: np.ndarray
    splits: list[str] | None = None
    groups: list[str] | None = None
    notes: tuple[str, ...] = ()
    present: np.ndarray | None = None
    spacing: np.ndarray | None = None
    groups_guessed: bool = False
    groups_are_series: bool = False
    has_label: np.ndarray | None = None

    def indicators(self) -> np.ndarray:
        """Returns the labels as 0 or 1, one column per class."""
        if self.present is not None:
            return self.present
        if self.labels.ndim == 2:
            return self.labels
        return (self.labels[:, None] == np.arange(len(self.class_names))).astype(np.uint8)

    def is_labelled(self, row: int) -> bool:
        """Returns whether a file has a label."""
        return self.has_label is None or bool(self.has_label[row])

    def take(self, rows: Sequence[int] | np.ndarray) -> LabelledFiles:
        """Returns some of the files."""
        chosen: dict[str, Any] = {
            name: None if getattr(self, name) is None else [getattr(self, name)[row] for row in rows]
            for name in ("names", "splits", "groups")
        }
        places = np.asarray(rows, int)
        for name in ("present", "spacing", "has_label"):
            part = getattr(self, name)
            chosen[name] = None if part is None else part[places]
        return dataclasses.replace(self, labels=self.labels[places], **chosen)

    def to_split(self, images: ImageArray, digests: Sequence[str], rows: np.ndarray) -> Split:
        """Returns a split of some of the files with the given images."""
        part = self.take(rows)
        names = [as_text(name) for name in part.names]
        return Split(images, part.labels, names, part.groups, part.spacing, [digests[row] for row in rows])


@dataclasses.dataclass(frozen=True)
class FoundImages:
    """What a source of own images finds, with one entry per sample; :func:`load_own_images` reads it.

    Args:
        name: Name of the data set.
        files: One path per entry, which need not exist; or the images of a series per entry.
        labelled: Labels and metadata of each file.
        checksum: Computes the data set's checksum from the files that stay and the SHA-256 of the content of each.
        warnings: Warnings found before, one sentence each.
        time_unit: For series, the unit of their times.
    """

    name: str
    files: Sequence[Path] | Sequence[SeriesFiles]
    labelled: LabelledFiles
    checksum: Callable[[LabelledFiles, Sequence[str]], str]
    warnings: tuple[str, ...] = ()
    time_unit: str | None = None


def load_own_images(found: FoundImages, reading: Reading) -> ImageData:
    """Reads the files, splits them and checks them.

    Args:
        found: The files with their labels.
        reading: How the files become pixels and splits, and whether bad ones are left out.

    Returns:
        The images with a report on them.
    """
    samples, labelled = _prepare(found, reading)
    decoded = decode_samples(samples, labelled.names, reading)
    labelled = labelled.take(decoded.rows)
    rows = _choose_splits(found.name, labelled, decoded.digests, reading)
    # Series that a model is measured on are padded to its own number of images, to which they were thinned.
    steps = reading.own.max_steps if reading.plan == "whole" else None
    images = {split: decoded.arrange(part, found.time_unit, steps) for split, part in rows.items()}
    # Data that were not split cannot have copies in two splits, and need not contain every class.
    checked = {} if reading.plan == "whole" else rows
    warnings = [*found.warnings, *decoded.left_out, *_describe_patients(found, labelled, reading.plan)]
    # Guessed groups, and those that follow from the names, are not part of what identifies the data.
    derived = labelled.groups_guessed or labelled.groups_are_series
    identified = dataclasses.replace(labelled, groups=None) if derived else labelled
    given = labelled.splits if reading.fold is None else found.labelled.splits
    return ImageData(
        name=found.name,
        task=labelled.task,
        class_names=labelled.class_names,
        splits={split: labelled.to_split(images[split], decoded.digests, part) for split, part in rows.items()},
        checksum=found.checksum(identified, decoded.digests),
        given_splits=tuple(split for split in SPLITS if given is not None and split in given),
        check=_look_over(found.name, labelled, decoded, checked, reading.own, warnings),
    )


def _prepare(found: FoundImages, reading: Reading) -> tuple[Sequence[Path | SeriesFiles], LabelledFiles]:
    """Returns the files of all samples in the order in which they are split, with their patients, if that is possible.

    What is wrong with the splits is reported before thousands of files are decoded.
    """
    files, labelled = found.files, found.labelled
    if reading.plan == "as listed":
        _require_known_splits(found.name, labelled)
    else:
        files, labelled = _sort_by_name(files, labelled)
        labelled = _with_patients(files, labelled)
    labelled = _with_series(files, labelled)
    if reading.fold is not None:
        files, labelled = _pool_splits(files, labelled)
    if reading.plan in ("seeded", "as listed"):
        _make_splits(labelled, reading)
    return files, labelled


def _pool_splits(
    files: Sequence[Path | SeriesFiles], labelled: LabelledFiles
) -> tuple[Sequence[Path | SeriesFiles], LabelledFiles]:
    """Returns what is dealt to folds: all files without those of a given test split, which stay for a final test."""
    rows = [row for row, split in enumerate(labelled.splits or [""] * len(files)) if split != "test"]
    left_out = len(files) - len(rows)
    pooled = dataclasses.replace(labelled.take(rows), splits=None)
    if left_out:
        notes = (*labelled.notes, f"the {left_out:,} samples of the test split are left out of the folds")
        pooled = dataclasses.replace(pooled, notes=notes)
    return [files[row] for row in rows], pooled


def _look_over(
    name: str,
    labelled: LabelledFiles,
    samples: DecodedSamples,
    rows: Mapping[str, np.ndarray],
    options: OwnImages,
    warnings: Sequence[str],
) -> DataCheck:
    """Returns a report on the splits."""
    cached, files, stored = samples.cached, samples.files, samples.stored
    if cached.prints is None:
        raise ValueError("Images must be cached with their fingerprints. Received: none. Decode them without classes.")
    prints, near = cached.prints[stored], []
    if rows:
        parts = np.empty(len(stored), np.int64)
        for number, part in enumerate(rows.values()):
            parts[files.of_samples(part)] = number
        near = find_near_copies(prints, SelectedRows(cached.images, stored), parts)
        near = files.pair_samples([*files.find_shared(prints, parts), *near])
    several = [row for row, place in enumerate(stored.tolist()) if place in cached.decoded.frames]
    counts = {row: cached.decoded.frames[int(stored[row])] for row in several}
    return check_splits(
        labelled.indicators(),
        rows,
        labelled.class_names,
        names=labelled.names,
        digests=files.digest_pixels(prints),
        near=near,
        groups=labelled.groups,
        brightest=cached.decoded.brightest if options.window is None else None,
        noun=_name_samples(files),
        notes=[*labelled.notes, *_describe_several(name, files, counts, options.frame)],
        warnings=warnings,
    )


def _describe_several(name: str, files: FileRows, counts: Mapping[int, int], frame: str | None) -> list[str]:
    """Returns a sentence on which frame is read from files with several frames, and on what reads others.

    Args:
        name: Name of the data.
        files: All files.
        counts: Number of frames of each file that has several.
        frame: As in :class:`~keras_lnn.data.options.Rendering`.
    """
    if not counts:
        return []
    said = describe_frames(list(counts.values()), len(files.files), frame)
    choose = "" if frame else "; choose with --frame first, middle, mean or a number"
    source, _, path = name.partition(":")
    of_times = source in _SOURCES_OF_IMAGES and any(is_series_file(Path(files.files[row])) for row in counts)
    offer = f"; --data series:{path} reads all frames of a file as a series in time" if of_times else ""
    return [said + choose + offer]


def describe_frames(frames: Sequence[int], files: int, frame: str | None) -> str:
    """Returns a sentence on which frame is read from files with several frames, without its end.

    Args:
        frames: Number of frames of each of these files.
        files: Number of all files.
        frame: As in :class:`~keras_lnn.data.options.Rendering`.
    """
    which = {"mean": "the mean of all", "middle": "the middle one", "first": "the first one"}
    read = which.get(frame or "first", f"number {frame}")
    lengths = f"{min(frames):,} to {max(frames):,}" if min(frames) < max(frames) else f"{frames[0]:,}"
    have = "file has" if files == 1 else "files have"
    return f"{len(frames):,} of {files:,} {have} several frames ({lengths}), of which {read} is read"


def _sort_by_name(
    files: Sequence[Path | SeriesFiles], labelled: LabelledFiles
) -> tuple[Sequence[Path | SeriesFiles], LabelledFiles]:
    """Sorts files by name, so that sorting a table by another column does not move samples between splits.

    The samples of one series stay in the order of time.
    """
    pairs = zip(files, labelled.names, strict=True)
    names = [file.series if isinstance(file, SeriesFiles) else name for file, name in pairs]
    order = sorted(range(len(files)), key=names.__getitem__)
    if order == list(range(len(files))):
        return files, labelled
    return [files[row] for row in order], labelled.take(order)


def _with_patients(files: Sequence[Path | SeriesFiles], labelled: LabelledFiles) -> LabelledFiles:
    """Adds the patients named in the files themselves if no groups are given."""
    if labelled.groups is not None:
        return labelled
    # One file stands for all samples of a series.
    keys = [file.series if isinstance(file, SeriesFiles) else row for row, file in enumerate(files)]
    firsts = dict(zip(keys, files, strict=True))
    found = find_patients([file.frames[0].path if isinstance(file, SeriesFiles) else file for file in firsts.values()])
    notes = (*labelled.notes, found.note) if found.note else labelled.notes
    if found.names is None:
        return dataclasses.replace(labelled, notes=notes)
    patients = dict(zip(firsts, found.names, strict=True))
    groups = [patients[key] for key in keys]
    return dataclasses.replace(labelled, notes=notes, groups=groups, groups_guessed=True)


def _with_series(files: Sequence[Path | SeriesFiles], labelled: LabelledFiles) -> LabelledFiles:
    """Makes each series a group where it is several samples and no patients are known."""
    of_images = [file.series for file in files if isinstance(file, SeriesFiles) and file.seen is not None]
    if labelled.groups is not None or not of_images:
        return labelled
    return dataclasses.replace(labelled, groups=of_images, groups_are_series=True)


def _name_samples(files: FileRows) -> str:
    return "images" if files.times is None else "series"


def _describe_patients(found: FoundImages, labelled: LabelledFiles, plan: SplitPlan) -> tuple[str, ...]:
    """Returns a warning if samples of one patient are in two splits, or may be."""
    if labelled.groups_guessed:
        return describe_torn(labelled.groups, labelled.splits, named=False)
    are_known = labelled.groups is not None and not labelled.groups_are_series
    if are_known or plan == "whole" or set(SPLITS) <= set(labelled.splits or ()):
        return ()
    remedy = _HOW_TO_NAME_PATIENTS[found.name.partition(":")[0]]
    noun = "images" if found.time_unit is None else "series"
    return (
        f"it is not known which {noun} show the same patient: if {noun} of one patient are in two splits, the results"
        f" are too good. {remedy}",
    )


def _choose_splits(
    name: str, labelled: LabelledFiles, digests: Sequence[str], reading: Reading
) -> dict[str, np.ndarray]:
    """Returns the rows of each split according to a plan."""
    plan = reading.plan
    if isinstance(plan, SampleRecord):
        found = plan.find(digests, labelled.names, labelled.labels, labelled.class_names)
        found.require_the_same(name)
        return {split: found.rows(split) for split in SPLITS}
    if plan == "whole":
        given = np.array(labelled.splits or [""] * len(labelled.names))
        rows = {split: np.flatnonzero(given == split) for split in SPLITS}
        return {ALL: np.arange(len(given)), **{split: part for split, part in rows.items() if len(part)}}
    return _make_splits(labelled, reading)


def _is_simple(labelled: LabelledFiles) -> bool:
    """Returns whether the files have no groups and one class each."""
    return labelled.labels.ndim == 1 and labelled.groups is None


def _require_known_splits(name: str, labelled: LabelledFiles) -> None:
    """Checks that unrecorded splits can be reproduced, which is impossible by patient or with several labels."""
    if not _is_simple(labelled) and not set(SPLITS) <= set(labelled.splits or ()):
        raise InputError(
            "Splits by patient, and splits of data with several labels, must be recorded in the run, since the version"
            f" that recorded none made them differently. Received: a run on {name} without samples.csv. Begin a new"
            " run."
        )


def _make_splits(labelled: LabelledFiles, reading: Reading) -> dict[str, np.ndarray]:
    """Returns the rows of each split: those of a fold, or those given by the data, completed by seed."""
    simple, seed = _is_simple(labelled), reading.seed
    indicators = labelled.indicators()
    if reading.fold is not None:
        required = labelled.class_names if labelled.labels.ndim == 1 else None
        _, count = parse_fold(reading.fold)
        folds = partition_folds(indicators, count, seed, groups=labelled.groups, class_names=required)
        return choose_fold(folds, reading.fold)
    if not simple:
        rows = complete_grouped_splits(indicators, labelled.splits, seed, groups=labelled.groups)
    elif labelled.splits is None:
        rows = complete_splits({"train": labelled.labels}, seed, class_names=labelled.class_names)
    else:
        # In the order of the splits, as complete_splits counts its samples.
        given = {name: np.flatnonzero(np.array(labelled.splits) == name) for name in dict.fromkeys(labelled.splits)}
        order = np.concatenate(list(given.values()))
        labels = {name: labelled.labels[part] for name, part in given.items()}
        parts = complete_splits(labels, seed, class_names=labelled.class_names)
        rows = {name: order[part] for name, part in parts.items()}
    if labelled.labels.ndim == 1:
        require_each_class(indicators, rows, labelled.class_names)
    return rows
