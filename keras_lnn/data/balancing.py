"""Splits of samples into parts with balanced samples, labels and groups, such as patients, which are never divided."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence

import numpy as np

# The best of several random starts is taken; sets of many units come close to their shares from any start.
_MOST_TRIES = 8
_UNITS_OF_ALL_TRIES = 4000
_FEWEST_STEPS, _MOST_STEPS = 20, 2000
_NUMBERS_OF_ALL_STEPS = 500_000_000
_MOST_CANDIDATES = 200
_NEARER = 1e-9


def balanced_split(
    labels: np.ndarray, fractions: Sequence[float], seed: int = 0, *, groups: Sequence[Hashable] | None = None
) -> list[np.ndarray]:
    """Splits samples so that each part gets its share of samples, of each label and of groups; no group is divided.

    Units (groups, or samples without groups) are first dealt label by label, the rarest first, in random order, as in
    the iterative stratification of Sechidis, Tsoumakas and Vlahavas (2011),
    https://doi.org/10.1007/978-3-642-23808-6_10. Then one unit is moved, or two of different parts are exchanged, as
    long as that brings the parts closer to their shares: of samples, of samples with each label, of groups, and of
    groups with each label. The distance is the sum of (count - share)^2 / share. A label with at least as many units as
    there are parts is present in all parts, as far as other such labels allow it.

    Args:
        labels: 0 or 1, (samples, labels).
        fractions: The sizes of the parts; they sum to 1.
        seed: The same seed gives the same parts.
        groups: The group of each sample; None if each sample is independent.

    Returns:
        The sample indices of each part, ascending.
    """
    labels = np.asarray(labels, np.int64)
    names = list(range(len(labels))) if groups is None else list(groups)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    units = np.array([numbers[name] for name in names], np.int64)
    # An additional column counts the samples themselves.
    sums = np.zeros((len(numbers), labels.shape[1] + 1), np.int64)
    np.add.at(sums, units, np.column_stack([labels, np.ones(len(labels), np.int64)]))
    shares, generator = np.asarray(fractions, float), np.random.default_rng(seed)
    tries = max(1, min(_MOST_TRIES, _UNITS_OF_ALL_TRIES // len(sums)))
    found = [_Parts.deal(sums, shares, generator) for _ in range(tries)]
    for parts in found:
        parts.improve(max(_FEWEST_STEPS, min(_MOST_STEPS, _NUMBERS_OF_ALL_STEPS // parts.wanted.size // len(sums))))
    best = min(found, key=lambda parts: parts.distance())
    return [np.flatnonzero(best.parts[units] == part) for part in range(len(fractions))]


class _Parts:
    """The part of each unit, and the distance of the parts from their shares."""

    def __init__(self, sums: np.ndarray, shares: np.ndarray, parts: np.ndarray) -> None:
        self.parts = parts
        self._has = sums > 0
        # Without groups a unit is a sample, and its labels need not be counted twice.
        counts = sums if sums.max(initial=0) <= 1 else np.column_stack([sums, self._has])
        self._counts = counts[:, counts.any(axis=0)].astype(float)
        self.wanted = np.outer(shares, self._counts.sum(axis=0))
        self._off = -self.wanted
        self._holders = np.zeros((len(shares), sums.shape[1]), np.int64)
        np.add.at(self._off, parts, self._counts)
        np.add.at(self._holders, parts, self._has)

    @classmethod
    def deal(cls, sums: np.ndarray, shares: np.ndarray, generator: np.random.Generator) -> _Parts:
        """Deals the units, and fills parts that are empty or lack a label which enough units have."""
        dealt = cls(sums, shares, _deal(sums, shares, generator))
        everything = sums.shape[1] - 1
        for column in (everything, *np.argsort(dealt._has[:, :-1].sum(axis=0), kind="stable")):
            for part in np.flatnonzero(dealt._holders[:, column] == 0):
                # An empty part is worse than one that lacks a label.
                is_free = dealt._holders[dealt.parts, column] > 1 if column == everything else ~dealt._is_last()
                free = np.flatnonzero(dealt._has[:, column] & is_free)
                if len(free):
                    dealt._move(int(generator.choice(free)), int(part))
        return dealt

    def distance(self) -> tuple[int, float]:
        """Returns how many labels are missing in parts, and how far the parts are from their shares."""
        return int((self._holders == 0).sum()), float((self._off**2 / self.wanted).sum())

    def improve(self, steps: int) -> None:
        """Moves or exchanges units as long as the parts come closer to their shares."""
        squares = self._counts**2 @ (1 / self.wanted).T
        for _ in range(steps):
            free = np.flatnonzero(~self._is_last())
            nearer, moves = min(
                [self._find_move(free, squares), *self._find_exchanges(free, squares)], key=lambda found: found[0]
            )
            if nearer > -_NEARER:
                return
            for unit, part in moves:
                self._move(unit, part)

    def _find_move(self, free: np.ndarray, squares: np.ndarray) -> tuple[float, list[tuple[int, int]]]:
        if not len(free):
            return 0.0, []
        changes = self._changes(free, squares)
        changes[np.arange(len(free)), self.parts[free]] = np.inf
        place, part = np.unravel_index(np.argmin(changes), changes.shape)
        return float(changes[place, part]), [(int(free[place]), int(part))]

    def _find_exchanges(self, free: np.ndarray, squares: np.ndarray) -> list[tuple[float, list[tuple[int, int]]]]:
        """Returns the best exchange between each pair of parts, among the units that are best moved alone."""
        changes, found = self._changes(free, squares), []
        for one, other in itertools.combinations(range(len(self.wanted)), 2):
            sides = []
            for part, goal in ((one, other), (other, one)):
                places = np.flatnonzero(self.parts[free] == part)
                if len(places) > _MOST_CANDIDATES:
                    places = places[np.argpartition(changes[places, goal], _MOST_CANDIDATES)[:_MOST_CANDIDATES]]
                sides.append(places)
            left, right = sides
            if not len(left) or not len(right):
                continue
            weights = 1 / self.wanted[one] + 1 / self.wanted[other]
            common = (self._counts[free[left]] * weights) @ self._counts[free[right]].T
            both = changes[left, other][:, None] + changes[right, one] - 2 * common
            row, column = np.unravel_index(np.argmin(both), both.shape)
            moves = [(int(free[left[row]]), other), (int(free[right[column]]), one)]
            found.append((float(both[row, column]), moves))
        return found

    def _changes(self, units: np.ndarray, squares: np.ndarray) -> np.ndarray:
        """Returns the change of distance if each unit moves to each part."""
        linear = 2 * self._counts[units] @ (self._off / self.wanted).T
        leaving = (squares[units] - linear)[np.arange(len(units)), self.parts[units]]
        return squares[units] + linear + leaving[:, None]

    def _is_last(self) -> np.ndarray:
        """Returns whether each unit is the only one with some label in its part, so that it must stay."""
        return (self._has & (self._holders[self.parts] <= 1)).any(axis=1)

    def _move(self, unit: int, part: int) -> None:
        for place, sign in ((self.parts[unit], -1), (part, 1)):
            self._off[place] += sign * self._counts[unit]
            self._holders[place] += sign * self._has[unit]
        self.parts[unit] = part


def _deal(sums: np.ndarray, fractions: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Returns the part of each unit by iterative stratification."""
    parts = np.full(len(sums), -1)
    desired = np.outer(fractions, sums.sum(axis=0))
    given = np.zeros_like(desired, dtype=np.int64)
    while (parts < 0).any():
        free = parts < 0
        left = (sums[free, :-1] > 0).sum(axis=0)
        # The last column, the number of samples, deals the units without remaining labels.
        column = int(np.argmin(np.where(left > 0, left, len(sums) + 1))) if (left > 0).any() else sums.shape[1] - 1
        waiting = generator.permutation(np.flatnonzero(free & (sums[:, column] > 0)))
        for place, unit in enumerate(waiting):
            empty = given[:, column] == 0
            choices = empty if 0 < empty.sum() >= len(waiting) - place else np.ones(len(fractions), bool)
            order = np.lexsort((generator.random(len(fractions)), -desired[:, -1], -desired[:, column], ~choices))
            part = order[0]
            parts[unit] = part
            desired[part] -= sums[unit]
            given[part] += sums[unit]
    return parts
