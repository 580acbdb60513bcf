"""What is worth knowing of people's own images before they are trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

# Values of 12 bits in files of 16 show as nearly black where nobody says which range they have.
_DARK_BELOW = 4096
_NAMED_AT_MOST = 5


@dataclasses.dataclass(frozen=True)
class DataCheck:
    """A short report on a data set.

    Args:
        counts: For each split and class (or label) its number of images.
        samples: For each split its number of images.
        notes: What was decided, one sentence each.
        warnings: What may spoil the results, one sentence each.
    """

    counts: Mapping[str, Mapping[str, int]]
    samples: Mapping[str, int]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def check_splits(
    indicators: np.ndarray,
    rows: Mapping[str, np.ndarray],
    class_names: Sequence[str],
    *,
    names: Sequence[str],
    digests: Sequence[str],
    brightest: int | None = None,
    notes: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> DataCheck:
    """Counts and compares the images of the splits.

    Args:
        indicators: 0 or 1, (samples, classes).
        rows: The samples of each split.
        class_names: One name a class.
        names: What the samples are called.
        digests: A hash of the content of each sample's file.
        brightest: The highest value in files of 16 bits that were shown without a window.
        notes: Sentences to go with the report.
        warnings: Warnings to go with the report.
    """
    counts = {
        split: dict(zip(class_names, map(int, indicators[part].sum(axis=0)), strict=True))
        for split, part in rows.items()
    }
    found = [*warnings, *_copies(rows, names, digests), *_absent(counts)]
    if brightest is not None and brightest < _DARK_BELOW:
        found.append(
            f"the brightest value of all 16-bit files is {brightest}, so the images are nearly black; with"
            f" --window {brightest / 2:g},{max(brightest, 1)} they fill the range"
        )
    return DataCheck(counts, {split: len(part) for split, part in rows.items()}, tuple(notes), tuple(found))


def name_some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
    return f"{', '.join(names[:_NAMED_AT_MOST])}{more}"


def _copies(rows: Mapping[str, np.ndarray], names: Sequence[str], digests: Sequence[str]) -> list[str]:
    """A model that has seen a test image in training answers it from memory."""
    first: dict[str, tuple[str, str]] = {}
    pairs = []
    for split, part in rows.items():
        for row in part:
            other_split, other = first.setdefault(digests[row], (split, names[row]))
            if other_split != split:
                pairs.append(f"{other} ({other_split}) = {names[row]} ({split})")
    if not pairs:
        return []
    kind = "pair of the same image stands" if len(pairs) == 1 else "pairs of the same image stand"
    return [f"{len(pairs)} {kind} in two splits, so the results are too good: {name_some(pairs)}"]


def _absent(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    found = []
    for split, by_class in counts.items():
        absent = [name for name, count in by_class.items() if count == 0]
        if absent:
            found.append(f"no image of {split} has {name_some(absent)}: nothing can be said of it there")
    return found
