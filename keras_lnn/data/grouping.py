"""Train, val and test splits of samples with several labels or in groups, such as the images of one patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from keras_lnn.data.arrays import SPLITS
from keras_lnn.data.balancing import balanced_split
from keras_lnn.data.checking import name_some
from keras_lnn.data.splitting import FRACTIONS
from keras_lnn.errors import InputError


def complete_grouped_splits(
    labels: np.ndarray,
    given: Sequence[str] | None,
    seed: int = 0,
    *,
    groups: Sequence[str] | None = None,
) -> dict[str, np.ndarray]:
    """Completes train, val and test; missing splits are split off train without dividing a group.

    Args:
        labels: 0 or 1, (samples, labels); one column per class if each sample has one class.
        given: The given split of each sample, or None.
        seed: The same seed gives the same splits.
        groups: The group of each sample, or None.

    Returns:
        The sample indices of each of ``train``, ``val`` and ``test``, ascending.
    """
    named = np.array(["train"] * len(labels) if given is None else list(given))
    rows = {name: np.flatnonzero(named == name) for name in SPLITS}
    missing = [name for name in SPLITS if len(rows[name]) == 0]
    if missing:
        shares = dict(zip(SPLITS, FRACTIONS, strict=True))
        wanted = ["train", *(name for name in missing if name != "train")]
        fractions = np.array([shares[name] for name in wanted])
        train = rows["train"]
        own_groups = None if groups is None else [groups[row] for row in train]
        _require_units(len(train) if own_groups is None else len(set(own_groups)), wanted, own_groups is not None)
        parts = balanced_split(labels[train], fractions / fractions.sum(), seed, groups=own_groups)
        rows.update({name: train[part] for name, part in zip(wanted, parts, strict=True)})
    return {name: rows[name] for name in SPLITS}


def indicate_classes(labels: np.ndarray, classes: int) -> np.ndarray:
    """Returns whether each class or label is in each sample as 0 or 1, (samples, classes).

    Args:
        labels: As in :class:`~keras_lnn.data.arrays.Split`.
        classes: Number of classes or labels.
    """
    if labels.ndim == 2:
        return labels
    pixels = labels.reshape(len(labels), -1)
    return np.column_stack([(pixels == place).any(axis=1) for place in range(classes)]).astype(np.uint8)


def require_whole_groups(groups: Sequence[str], splits: Sequence[str], column: str) -> None:
    """Checks that no group is in two splits."""
    seen: dict[str, set[str]] = {}
    for group, split in zip(groups, splits, strict=True):
        seen.setdefault(group, set()).add(split)
    torn = [f"{group} ({' and '.join(sorted(found))})" for group, found in seen.items() if len(found) > 1]
    if torn:
        more = f" and {len(torn) - 5} more" if len(torn) > 5 else ""
        raise InputError(
            f"All images of a group must be in one split. Received: {column} {', '.join(torn[:5])}{more}."
            " Correct the column of splits, or remove it so that the splits are made by group."
        )


def describe_torn(groups: Sequence[str] | None, splits: Sequence[str] | None, *, named: bool = True) -> tuple[str, ...]:
    """Returns a warning if the user's own splits, which are kept, divide patients.

    Args:
        groups: The patients; None if they are not known.
        splits: The split of each sample; None if none is given.
        named: Whether the warning may name patients.
    """
    if groups is None or splits is None:
        return ()
    found: dict[str, set[str]] = {}
    for group, split in zip(groups, splits, strict=True):
        found.setdefault(group, set()).add(split)
    torn = [f"{group} ({' and '.join(sorted(parts))})" for group, parts in found.items() if len(parts) > 1]
    if not torn:
        return ()
    kind = "patient is" if len(torn) == 1 else "patients are"
    shown = f": {name_some(torn)}" if named else ""
    return (
        f"{len(torn)} {kind} in two splits, so the results are too good{shown}. Correct the splits, or remove them so"
        " that they are made by patient",
    )


def require_each_class(labels: np.ndarray, rows: Mapping[str, np.ndarray], class_names: Sequence[str]) -> None:
    """Checks that each class (a column of the labels) is in every split."""
    for split, part in rows.items():
        absent = [class_names[k] for k in np.flatnonzero(labels[part].sum(axis=0) == 0)]
        if absent:
            raise InputError(
                f"Every class must have images in {split}. Received: none of {', '.join(absent[:5])}."
                " Add images or groups of this class, or leave the class out."
            )


def _require_units(count: int, wanted: Sequence[str], grouped: bool) -> None:
    if count < len(wanted):
        kind = "groups" if grouped else "images"
        raise InputError(
            f"There must be at least {len(wanted)} {kind} to be split into {', '.join(wanted)}. Received: {count}."
            f" Add {kind}."
        )
