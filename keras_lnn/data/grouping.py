"""Splits of samples with several labels, and of samples that belong together, such as the images of one patient."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from keras_lnn.data.arrays import SPLITS
from keras_lnn.data.splitting import FRACTIONS
from keras_lnn.errors import InputError


def iterative_split(
    labels: np.ndarray, fractions: Sequence[float], seed: int = 0, *, groups: Sequence[Hashable] | None = None
) -> list[np.ndarray]:
    """Splits samples so that each part gets its share of each label, the rarest first, and no group is divided.

    Iterative stratification of Sechidis, Tsoumakas and Vlahavas (2011), https://doi.org/10.1007/978-3-642-23808-6_10,
    with two additions. A group counts as one unit with the sum of its labels, and of two units with the label in
    question the larger goes first, while there is still room everywhere. And while a part has no sample of a label,
    the last units that have it go there, so that a label of three units is seen in all three parts.

    Args:
        labels: 0 or 1, (samples, labels).
        fractions: The parts; they sum to 1.
        seed: The same seed gives the same parts.
        groups: What each sample belongs to; None where each stands alone.

    Returns:
        For each part its sample indices, ascending.
    """
    labels = np.asarray(labels, np.int64)
    names = list(range(len(labels))) if groups is None else list(groups)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    units = np.array([numbers[name] for name in names], np.int64)
    # One column more counts the samples themselves.
    sums = np.zeros((len(numbers), labels.shape[1] + 1), np.int64)
    np.add.at(sums, units, np.column_stack([labels, np.ones(len(labels), np.int64)]))
    parts = _deal(sums, np.asarray(fractions, float), np.random.default_rng(seed))
    return [np.flatnonzero(parts[units] == part) for part in range(len(fractions))]


def _deal(sums: np.ndarray, fractions: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The part of each unit."""
    parts = np.full(len(sums), -1)
    desired = np.outer(fractions, sums.sum(axis=0))
    given = np.zeros_like(desired, dtype=np.int64)
    while (parts < 0).any():
        free = parts < 0
        left = (sums[free, :-1] > 0).sum(axis=0)
        # The last column, the number of samples, deals what has no label left.
        column = int(np.argmin(np.where(left > 0, left, len(sums) + 1))) if (left > 0).any() else sums.shape[1] - 1
        waiting = generator.permutation(np.flatnonzero(free & (sums[:, column] > 0)))
        waiting = waiting[np.argsort(-sums[waiting, column], kind="stable")]
        for place, unit in enumerate(waiting):
            empty = given[:, column] == 0
            choices = empty if 0 < empty.sum() >= len(waiting) - place else np.ones(len(fractions), bool)
            order = np.lexsort((generator.random(len(fractions)), -desired[:, -1], -desired[:, column], ~choices))
            part = order[0]
            parts[unit] = part
            desired[part] -= sums[unit]
            given[part] += sums[unit]
    return parts


def complete_grouped_splits(
    labels: np.ndarray,
    given: Sequence[str] | None,
    seed: int = 0,
    *,
    groups: Sequence[str] | None = None,
) -> dict[str, np.ndarray]:
    """Makes train, val and test; what is missing is split off train, never through a group.

    Args:
        labels: 0 or 1, (samples, labels); one column a class where each sample has one.
        given: The split of each sample as far as it is decided, or None.
        seed: The same seed gives the same splits.
        groups: What each sample belongs to, or None.

    Returns:
        For each of ``train``, ``val`` and ``test`` its sample indices, ascending.
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
        parts = iterative_split(labels[train], fractions / fractions.sum(), seed, groups=own_groups)
        rows.update({name: train[part] for name, part in zip(wanted, parts, strict=True)})
    return {name: rows[name] for name in SPLITS}


def require_whole_groups(groups: Sequence[str], splits: Sequence[str], column: str) -> None:
    """Checks that no group stands in two splits."""
    seen: dict[str, set[str]] = {}
    for group, split in zip(groups, splits, strict=True):
        seen.setdefault(group, set()).add(split)
    torn = [f"{group} ({' and '.join(sorted(found))})" for group, found in seen.items() if len(found) > 1]
    if torn:
        more = f" and {len(torn) - 5} more" if len(torn) > 5 else ""
        raise InputError(
            f"A group must stand in one split. Received: {column} {', '.join(torn[:5])}{more}."
            " Mend the column of splits, or remove it so that the splits are made by group."
        )


def require_each_class(labels: np.ndarray, rows: Mapping[str, np.ndarray], class_names: Sequence[str]) -> None:
    """Checks that each class, one column each, is in every split."""
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
