"""Seeded stratified splits, and images arranged split by split, in memory or in a file of the cache."""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_lnn.data.arrays import SPLITS, ImageArray, Split
from keras_lnn.errors import FullDiskError, InputError
from keras_lnn.files.atomic import atomic_path, remove_partial_files

FRACTIONS = (0.7, 0.1, 0.2)
LIMIT_BYTES = 2**30


def split_indices(
    labels: Sequence[Any] | np.ndarray,
    fractions: Sequence[float] = FRACTIONS,
    seed: int = 0,
    *,
    class_names: Sequence[str] | None = None,
) -> dict[str, np.ndarray]:
    """Splits samples at random into train, val and test, class by class, with every class in every split.

    Each split gets its fraction of each class to within one sample (a class of 3 has one sample in each), and close to
    its fraction of all samples. Samples are treated as independent: if several images show one patient, make the splits
    by patient yourself, or the test split contains patients of the training.

    Args:
        labels: The class of each sample, (samples,).
        fractions: The parts of train, val and test; they sum to 1.
        seed: The same seed gives the same splits.
        class_names: Names of the classes for messages, by class index; None for the labels themselves.

    Returns:
        The sample indices of each of ``train``, ``val`` and ``test``, ascending.
    """
    if len(fractions) != len(SPLITS) or not math.isclose(sum(fractions), 1.0, abs_tol=1e-6):
        raise InputError(
            f"The fractions of train, val and test must be three numbers that sum to 1. Received: {tuple(fractions)}."
            " Choose for example 0.7, 0.1, 0.2."
        )
    return dict(zip(SPLITS, _stratified(labels, fractions, seed, class_names), strict=True))


def split_off(
    labels: Sequence[Any] | np.ndarray, fraction: float, seed: int = 0, *, class_names: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Splits a part off a set of samples, stratified as in ``split_indices``, such as a validation part off train.

    Args:
        labels: The class of each sample, (samples,).
        fraction: The part to split off, between 0 and 1.
        seed: The same seed gives the same parts.
        class_names: Names of the classes for messages, by class index.

    Returns:
        The sample indices that stay and those that are split off, each ascending.
    """
    kept, taken = _stratified(labels, (1 - fraction, fraction), seed, class_names)
    return kept, taken


def complete_splits(
    labels: Mapping[str, np.ndarray], seed: int = 0, *, class_names: Sequence[str] | None = None
) -> dict[str, np.ndarray]:
    """Completes train, val and test from the given splits; missing splits are split off train.

    Args:
        labels: The labels of the given splits, which include ``train``.
        seed: The same seed gives the same splits.
        class_names: Names of the classes for messages, by class index.

    Returns:
        For each of ``train``, ``val`` and ``test`` its indices into all samples, one given split after the other.
    """
    offsets = np.cumsum([0, *(len(part) for part in labels.values())])
    rows = {name: np.arange(offsets[k], offsets[k + 1]) for k, name in enumerate(labels)}
    missing = [name for name in SPLITS if name not in labels]
    train = rows["train"]
    if len(missing) == 2:
        parts = split_indices(labels["train"], FRACTIONS, seed, class_names=class_names)
        rows.update({name: train[part] for name, part in parts.items()})
    elif missing:
        fractions = dict(zip(SPLITS, FRACTIONS, strict=True))
        share = fractions[missing[0]] / (fractions[missing[0]] + fractions["train"])
        kept, taken = split_off(labels["train"], share, seed, class_names=class_names)
        rows.update({"train": train[kept], missing[0]: train[taken]})
    return {name: rows[name] for name in SPLITS}


class SelectedRows:
    """Some rows of an array of images on disk, read when they are accessed.

    Args:
        images: The array, which returns rows by their indices.
        rows: The indices of the rows, in the order of this view.
    """

    def __init__(self, images: ImageArray, rows: np.ndarray) -> None:
        self.images = images
        self.rows = rows
        self.shape = (len(rows), *images.shape[1:])
        self.dtype = images.dtype

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Any) -> np.ndarray:
        selected = self.rows[rows]
        return self.images[selected[None]][0] if selected.ndim == 0 else self.images[selected]


def take_samples(split: Split, rows: np.ndarray) -> Split:
    """Returns some samples of a split, in the order of the rows; their images are read when they are accessed."""
    lists = {name: getattr(split, name) for name in ("names", "groups", "digests")}
    chosen = {name: None if values is None else [values[row] for row in rows] for name, values in lists.items()}
    spacing = None if split.spacing is None else split.spacing[rows]
    rows = np.asarray(rows, int)
    images = SelectedRows(split.images, rows) if split.series is None else split.series.take(rows)
    return dataclasses.replace(split, images=images, labels=split.labels[rows], spacing=spacing, **chosen)


def place_images(
    image_shape: tuple[int, ...],
    splits: Mapping[str, np.ndarray],
    fill: Callable[[np.ndarray, np.ndarray], None],
    *,
    cache_file: Path,
    limit_bytes: int = LIMIT_BYTES,
) -> dict[str, ImageArray]:
    """Decodes images into arrays by split: in memory, or above a limit in a file that later calls reuse.

    In memory the images of a split are contiguous, so that each split is a view of one array. The file does not depend
    on the splits, so that one file serves all seeds.

    Args:
        image_shape: The shape of one image.
        splits: The source indices of each split; together they contain each source once.
        fill: Called with a uint8 array and, for each source, its row in the array.
        cache_file: The ``.npy`` file for arrays above the limit; its name must reflect all that the images depend on.
        limit_bytes: The size of the largest array that is kept in memory.

    Returns:
        The images of each split.
    """
    rows = np.concatenate(list(splits.values()))
    shape = (len(rows), *image_shape)
    if math.prod(shape) > limit_bytes:
        on_disk = _open_or_write(cache_file, shape, fill)
        return {name: SelectedRows(on_disk, np.asarray(part)) for name, part in splits.items()}
    images = np.empty(shape, np.uint8)
    fill(images, np.argsort(rows))
    stops = np.cumsum([len(part) for part in splits.values()])
    return dict(zip(splits, np.split(images, stops[:-1]), strict=True))


def _open_or_write(cache_file: Path, shape: tuple[int, ...], fill: Callable[..., None]) -> ImageArray:
    from keras_lnn.data.disk import DiskArray, has_stamped, write_stamp

    if not has_stamped(cache_file.parent, [cache_file.name]):
        cache_file.parent.mkdir(parents=True, exist_ok=True)
        remove_partial_files(cache_file.parent)
        # A disk that fills up under a memory map kills the process, so the free space is checked first.
        if shutil.disk_usage(cache_file.parent).free < math.prod(shape) + 2**20:
            raise FullDiskError(
                f"The decoded images need {math.prod(shape) / 2**30:.1f} GiB on the cache's disk. Received:"
                f" {cache_file.parent} with less room. Point KERAS_LNN_CACHE to a larger disk or choose a smaller side."
            )
        with atomic_path(cache_file) as temporary:
            images = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
            fill(images, np.arange(len(images)))
            images.flush()
            del images
        write_stamp(cache_file.parent, [cache_file.name])
    return DiskArray(os.fspath(cache_file))


def _stratified(
    labels: Sequence[Any] | np.ndarray,
    fractions: Sequence[float],
    seed: int,
    class_names: Sequence[str] | None,
) -> list[np.ndarray]:
    """Deals the samples of each class to the parts.

    scikit-learn's ``train_test_split`` is not used: its stratification leaves small classes out of small parts.
    """
    if min(fractions) <= 0:
        raise InputError(
            f"Each fraction of a split must lie between 0 and 1. Received: {tuple(fractions)}. Choose for example 0.2."
        )
    labels = np.asarray(labels)
    classes, members = np.unique(labels, return_inverse=True)
    sizes = np.bincount(members, minlength=len(classes))
    if len(sizes) == 0 or sizes.min() < len(fractions):
        raise InputError(_too_few(classes, sizes, len(fractions), class_names))
    generator = np.random.default_rng(seed)
    parts: list[list[np.ndarray]] = [[] for _ in fractions]
    for index, counts in enumerate(_counts(sizes, np.asarray(fractions, float))):
        shuffled = generator.permutation(np.flatnonzero(members == index))
        for part, piece in zip(parts, np.split(shuffled, np.cumsum(counts)[:-1]), strict=True):
            part.append(piece)
    return [np.sort(np.concatenate(part)) for part in parts]


def _counts(sizes: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """Returns how many samples of each class go to each part, (classes, parts).

    Each number is the exact one rounded down or up, and at least 1. Which ones are rounded up depends on how much each
    part still lacks over all classes, so that the roundings of many small classes do not add up.
    """
    counts = np.zeros((len(sizes), len(fractions)), int)
    lacking = np.zeros(len(fractions))
    for row, size in enumerate(sizes):
        exact = size * fractions
        lower = np.maximum(np.floor(exact + 1e-9).astype(int), 1)
        while lower.sum() > size:
            lower[np.argmax(lower)] -= 1
        lacking += exact - lower
        can_round_up = lower < exact - 1e-9
        for part in np.argsort(-np.where(can_round_up, lacking, -np.inf), kind="stable")[: size - lower.sum()]:
            lower[part] += 1
            lacking[part] -= 1
        counts[row] = lower
    return counts


def _too_few(classes: np.ndarray, sizes: np.ndarray, needed: int, class_names: Sequence[str] | None) -> str:
    small = [
        f"{classes[k] if class_names is None else class_names[classes[k]]} ({sizes[k]})"
        for k in np.flatnonzero(sizes < needed)
    ]
    more = f" and {len(small) - 5} more" if len(small) > 5 else ""
    received = f"too few of {', '.join(small[:5])}{more}" if small else "no samples"
    return (
        f"Each class must have at least {needed} samples to be split into {needed} parts. Received: {received}."
        " Add images or leave the class out."
    )
