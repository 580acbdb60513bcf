"""Checks of a user's own images before training, and the report on them."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_lnn.errors import InputError

# 12-bit values in 16-bit files look nearly black unless a window is given.
_DARK_BELOW = 4096
_NAMED_AT_MOST = 5
# A split is unlike the others if more than this share of it would have to be of another class, or if the frequency of a
# class, or the number of images per patient, differs by more than this factor; but a few images prove nothing.
_UNLIKE_SHARE, _UNLIKE_TIMES = 0.1, 2
_FEW_IMAGES, _FEW_EXPECTED = 2, 5


@dataclasses.dataclass(frozen=True)
class Copies:
    """Two samples in different splits that are the same, or look the same.

    Args:
        names: Names of the two.
        splits: Their splits.
        places: The position of each in its split.
        identical: Whether all their pixels are equal.
    """

    names: tuple[str, str]
    splits: tuple[str, str]
    places: tuple[int, int]
    identical: bool

    def describe(self) -> str:
        """Returns both names with their splits."""
        sign = " = " if self.identical else " ~ "
        return sign.join(f"{name} ({split})" for name, split in zip(self.names, self.splits, strict=True))


@dataclasses.dataclass(frozen=True)
class DataCheck:
    """A short report on a data set.

    Args:
        counts: Number of images of each class (or label) in each split.
        samples: Number of images in each split.
        notes: Decisions that were taken, one sentence each.
        warnings: Faults that may spoil the results, one sentence each.
        patients: Number of patients (or other groups) in each split; None if they are not known.
        noun: What the samples are, in the plural: ``images`` or ``series``.
        copies: The pairs of samples in two splits that are the same, or look the same.
    """

    counts: Mapping[str, Mapping[str, int]]
    samples: Mapping[str, int]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    patients: Mapping[str, int] | None = None
    noun: str = "images"
    copies: tuple[Copies, ...] = ()

    def describe_splits(self) -> dict[str, dict[str, Any]]:
        """Returns the images, the patients (None if unknown) and the images of each class for each split."""
        return {
            split: {
                "images": count,
                "patients": None if self.patients is None else self.patients[split],
                "classes": dict(self.counts[split]),
            }
            for split, count in self.samples.items()
        }


def check_splits(
    indicators: np.ndarray,
    rows: Mapping[str, np.ndarray],
    class_names: Sequence[str],
    *,
    names: Sequence[str],
    digests: Sequence[str],
    near: Sequence[tuple[int, int]] = (),
    groups: Sequence[str] | None = None,
    brightest: int | None = None,
    notes: Sequence[str] = (),
    warnings: Sequence[str] = (),
    noun: str = "images",
) -> DataCheck:
    """Counts and compares the images of the splits.

    Args:
        indicators: 0 or 1, (samples, classes).
        rows: The samples of each split.
        class_names: One name per class.
        names: The names of the samples.
        digests: A hash of each sample's pixels.
        near: Pairs of samples in two splits that look the same though their pixels differ.
        groups: The patients of the samples; None if they are not known.
        brightest: The highest value in 16-bit files that were shown without a window.
        notes: Sentences to add to the report.
        warnings: Warnings to add to the report.
        noun: What the samples are, in the plural.
    """
    counts = {
        split: dict(zip(class_names, map(int, indicators[part].sum(axis=0)), strict=True))
        for split, part in rows.items()
    }
    samples = {split: len(part) for split, part in rows.items()}
    patients = None if groups is None else {split: len({groups[row] for row in rows[split]}) for split in rows}
    copies = _find_copies(rows, names, digests, near)
    found = [
        *warnings,
        *_warn_of_copies([pair for pair in copies if pair.identical], noun),
        *_warn_of_near_copies([pair for pair in copies if not pair.identical], noun),
        *_contradictions(indicators, class_names, names, digests, noun),
        *_absent(counts, noun),
        *_unlike(counts, samples, patients, noun),
    ]
    if brightest is not None and is_dark(brightest):
        found.append(
            f"the brightest value of all 16-bit files is {brightest}, so the images are nearly black; use"
            f" --window {brightest / 2:g},{max(brightest, 1)} to fill the range"
        )
    return DataCheck(counts, samples, tuple(notes), tuple(found), patients, noun, tuple(copies))


def is_dark(brightest: int) -> bool:
    """Returns whether 16-bit files with this highest value are nearly black without a window."""
    return brightest < _DARK_BELOW


def require_different_names(names: Sequence[str], where: str) -> None:
    """Checks that no two classes are one class in two spellings, such as 1 and 1.0, or benign and Benign.

    Single letters may differ in case.

    Args:
        names: Names of the classes.
        where: Where they were found, for the message.
    """
    first: dict[str, str] = {}
    pairs = []
    for name in names:
        other = first.setdefault(_plain_spelling(name), name)
        if other != name:
            pairs.append(f"{other} and {name}")
    if pairs:
        raise InputError(
            f"Each class must have one spelling. Received: {name_some(pairs)} in {where}. Use one spelling for"
            " each class, or give different classes clearly different names."
        )


def _plain_spelling(name: str) -> str:
    """Returns a name in the form used for comparison: a number as its value, a word without case and extra blanks."""
    with contextlib.suppress(ValueError):
        value = float(name)
        return repr(value) if math.isfinite(value) else name
    return " ".join(name.casefold().split()) if len(name) > 1 else name


def name_some(names: Sequence[str]) -> str:
    """Returns the first names, and how many more there are."""
    more = f" and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
    return f"{', '.join(names[:_NAMED_AT_MOST])}{more}"


def _find_copies(
    rows: Mapping[str, np.ndarray], names: Sequence[str], digests: Sequence[str], near: Sequence[tuple[int, int]]
) -> list[Copies]:
    """Returns the pairs of samples in two splits: those with equal pixels, then those that look the same."""
    where = {row: (split, place) for split, part in rows.items() for place, row in enumerate(part.tolist())}

    def pair(one: int, other: int, identical: bool) -> Copies:
        (split, place), (other_split, other_place) = where[one], where[other]
        return Copies((names[one], names[other]), (split, other_split), (place, other_place), identical)

    first: dict[str, int] = {}
    found = []
    for row, (split, _) in where.items():
        other = first.setdefault(digests[row], row)
        if where[other][0] != split:
            found.append(pair(other, row, True))
    return [*found, *(pair(one, other, False) for one, other in near)]


def _warn_of_copies(pairs: Sequence[Copies], noun: str) -> list[str]:
    """Returns a warning of images in two splits: a model predicts a test image seen in training from memory."""
    if not pairs:
        return []
    kind = f"pair of identical {noun} is" if len(pairs) == 1 else f"pairs of identical {noun} are"
    some = name_some([pair.describe() for pair in pairs])
    return [f"{len(pairs)} {kind} in two splits, so the results are too good: {some}"]


def _warn_of_near_copies(pairs: Sequence[Copies], noun: str) -> list[str]:
    """Returns a warning of images that were perhaps saved again, or taken just after each other."""
    if not pairs:
        return []
    # Two series are alike if they share one image.
    which = "nearly identical images" if noun == "images" else f"{noun} with nearly identical images"
    kind = f"pair of {which} is" if len(pairs) == 1 else f"pairs of {which} are"
    some = name_some([pair.describe() for pair in pairs])
    return [f"{len(pairs)} {kind} in two splits, so the results may be too good: {some}"]


def _contradictions(
    indicators: np.ndarray, class_names: Sequence[str], names: Sequence[str], digests: Sequence[str], noun: str
) -> list[str]:
    """Returns a warning of identical images with different labels."""

    def describe(row: int) -> str:
        return f"{names[row]} ({'|'.join(class_names[k] for k in np.flatnonzero(indicators[row])) or 'no label'})"

    first: dict[str, int] = {}
    pairs = []
    for row, digest in enumerate(digests):
        other = first.setdefault(digest, row)
        if not np.array_equal(indicators[row], indicators[other]):
            pairs.append(f"{describe(other)} = {describe(row)}")
    if not pairs:
        return []
    kind = f"pair of identical {noun} has" if len(pairs) == 1 else f"pairs of identical {noun} have"
    return [f"{len(pairs)} {kind} different labels: {name_some(pairs)}"]


def _absent(counts: Mapping[str, Mapping[str, int]], noun: str) -> list[str]:
    found = []
    for split, by_class in counts.items():
        absent = [name for name, count in by_class.items() if count == 0]
        if absent:
            whose = "its" if len(absent) == 1 else "their"
            sample = "image" if noun == "images" else noun
            found.append(f"no {sample} of {split} has {name_some(absent)}: {whose} metrics are not defined there")
    return found


def _unlike(
    counts: Mapping[str, Mapping[str, int]], samples: Mapping[str, int], patients: Mapping[str, int] | None, noun: str
) -> list[str]:
    """Returns a warning for each split that does not represent the whole."""
    whole, found = sum(samples.values()), []
    for split, size in samples.items():
        odd = []
        for name, count in counts[split].items():
            total = sum(by_class[name] for by_class in counts.values())
            expected = total * size / whole
            is_far = abs(count - expected) > max(_FEW_IMAGES, _UNLIKE_SHARE * size)
            is_frequent = not expected / _UNLIKE_TIMES <= count <= expected * _UNLIKE_TIMES
            if count and (is_far or (is_frequent and expected >= _FEW_EXPECTED)):
                odd.append(f"{name} is in {count / size:.1%} of its {noun}, but in {total / whole:.1%} of all {noun}")
        if patients is not None and min(patients.values()):
            each, mean = size / patients[split], whole / sum(patients.values())
            if not mean / _UNLIKE_TIMES <= each <= mean * _UNLIKE_TIMES:
                odd.append(f"it has {each:.1f} {noun} per patient, but all splits together have {mean:.1f}")
        if odd:
            found.append(f"{split} is unlike the other splits: {name_some(odd)}")
    return found
