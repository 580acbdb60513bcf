"""Folds for cross-validation: each sample is in the test part of one of several runs, and no patient is divided."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence

import numpy as np

from keras_lnn.data.arrays import ImageData
from keras_lnn.data.balancing import balanced_split
from keras_lnn.data.grouping import indicate_classes
from keras_lnn.data.joining import join_splits
from keras_lnn.data.splitting import take_samples
from keras_lnn.errors import InputError
from keras_lnn.fields.values import parse_fold

_CLASSES_NAMED = 5


def partition_folds(
    labels: np.ndarray,
    count: int,
    seed: int = 0,
    *,
    groups: Sequence[Hashable] | None = None,
    class_names: Sequence[str] | None = None,
) -> np.ndarray:
    """Deals samples to folds of equal size with equal shares of each label; no group is divided.

    Args:
        labels: 0 or 1, (samples, labels); one column per class if each sample has one class.
        count: Number of folds.
        seed: The same seed gives the same folds.
        groups: The group of each sample, such as its patient; None if each sample is independent.
        class_names: One name per class if each class must be in every fold; None where folds may lack a label.

    Returns:
        The fold of each sample, from 0, (samples,).
    """
    units = np.arange(len(labels)) if groups is None else np.unique(np.array(groups, str), return_inverse=True)[1]
    noun = "samples" if groups is None else "patients"
    if len(np.unique(units)) < count:
        raise InputError(
            f"{count} folds need at least {count} {noun}. Received: {len(np.unique(units))}. Use fewer folds."
        )
    if class_names is not None:
        _require_units_of_classes(labels, units, count, class_names, noun)
    folds = np.empty(len(labels), np.int64)
    for number, rows in enumerate(balanced_split(labels, [1 / count] * count, seed, groups=groups)):
        folds[rows] = number
    if class_names is not None:
        _require_classes_in_folds(labels, folds, count, class_names)
    return folds


def choose_fold(folds: np.ndarray, fold: str) -> dict[str, np.ndarray]:
    """Returns the samples of each split of one run of a cross-validation.

    The run's own fold is its test split, the next fold (after the last one the first) its validation, and it is trained
    on the others. So its test samples have influenced neither its weights nor its epoch, thresholds and calibration.

    Args:
        folds: The fold of each sample, from 0.
        fold: The run's fold and their number, such as ``2/5``.

    Returns:
        The sample indices of each of ``train``, ``val`` and ``test``, ascending.
    """
    number, count = parse_fold(fold)
    test, validation = folds == number - 1, folds == number % count
    parts = {"train": ~test & ~validation, "val": validation, "test": test}
    return {name: np.flatnonzero(part) for name, part in parts.items()}


def take_fold(data: ImageData, fold: str, seed: int) -> ImageData:
    """Returns data in the splits of one run of a cross-validation.

    A test split that the data came with is left out of all folds, so that it stays for a final test; the samples of the
    other splits are pooled. Samples without names are named after their place in the data's splits, such as
    ``train 17``, since their place in the fold says nothing.

    Args:
        data: The data in splits of their own, or in splits that do not depend on the seed.
        fold: The run's fold and their number, such as ``2/5``.
        seed: Seed of the partition.
    """
    pooled = [name for name in data.splits if name != "test" or "test" not in data.given_splits]
    parts = [data.splits[name] for name in pooled]
    if any(part.names is None for part in parts):
        parts = [
            dataclasses.replace(part, names=[f"{name} {place}" for place in range(len(part))])
            for name, part in zip(pooled, parts, strict=True)
        ]
    pool = join_splits(parts)
    indicators = indicate_classes(pool.labels, len(data.class_names))
    required = data.class_names if pool.labels.ndim == 1 else None
    _, count = parse_fold(fold)
    folds = partition_folds(indicators, count, seed, groups=pool.groups, class_names=required)
    splits = {name: take_samples(pool, rows) for name, rows in choose_fold(folds, fold).items()}
    return dataclasses.replace(data, splits=splits)


def count_pooled(data: ImageData) -> tuple[int, int | None]:
    """Returns how many samples are dealt to folds, and of how many patients, None where they are not known.

    Args:
        data: The data in the splits of one of the folds.
    """
    parts = list(data.splits.values())
    groups = [part.groups for part in parts if part.groups is not None]
    return sum(map(len, parts)), len(set().union(*groups)) if groups else None


def _require_units_of_classes(
    labels: np.ndarray, units: np.ndarray, count: int, class_names: Sequence[str], noun: str
) -> None:
    """Checks that there are at least as many samples or patients of each class as folds."""
    known = [len(np.unique(units[labels[:, place] > 0])) for place in range(len(class_names))]
    few = [f"{name} ({found})" for name, found in zip(class_names, known, strict=True) if found < count]
    if few:
        more = f" and {len(few) - _CLASSES_NAMED} more" if len(few) > _CLASSES_NAMED else ""
        raise InputError(
            f"{count} folds need at least {count} {noun} of each class. Received: too few of"
            f" {', '.join(few[:_CLASSES_NAMED])}{more}. Use fewer folds, add {noun} or leave the class out."
        )


def _require_classes_in_folds(labels: np.ndarray, folds: np.ndarray, count: int, class_names: Sequence[str]) -> None:
    """Checks that each class is in every fold, which patients with several classes can prevent."""
    for number in range(count):
        absent = [name for name, held in zip(class_names, labels[folds == number].any(axis=0), strict=True) if not held]
        if absent:
            raise InputError(
                f"Every class must be in each of the {count} folds. Received: patients who cannot be dealt so that fold"
                f" {number + 1} has {', '.join(absent[:_CLASSES_NAMED])}. Use fewer folds or another --split-seed."
            )
