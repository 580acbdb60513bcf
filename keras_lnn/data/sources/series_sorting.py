"""Series sorted by time and thinned, with sentences on all that is odd about them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_lnn.data.checking import name_some
from keras_lnn.data.decode.file_frames import FileFrame
from keras_lnn.data.sources.own_frames import SeriesFiles
from keras_lnn.data.thinning import thin_evenly
from keras_lnn.errors import InputError
from keras_lnn.fields.values import name_steps

# A gap of more than this many median intervals is more likely a mistake than a pause.
_LONG_GAP = 100


@dataclasses.dataclass(frozen=True)
class SortedSeries:
    """Samples of series in the order of their times.

    Args:
        samples: The samples, whose times never fall.
        rows: Which of the listed series each sample is of; those without any time are left out.
        ends: Which of the listed images of its series each sample ends with.
        numbers: The number of that image in the order of times, from 1.
        warnings: What is odd, one sentence each.
        long: The series that were thinned, with the number of images that they had.
        max_steps: The number of images to which they were thinned.
        steps: What they are sorted by, ``time`` or ``position``.
    """

    samples: list[SeriesFiles]
    rows: list[int]
    ends: list[int]
    numbers: list[int]
    warnings: list[str]
    long: list[str]
    max_steps: int
    steps: str = "time"

    def describe_thinned(self) -> str:
        """Returns a sentence on the series that were thinned, without its end."""
        return (
            f"{len(self.long):,} of {len(set(self.rows)):,} series have more than {self.max_steps} images and are"
            f" thinned to as many, evenly in {self.steps}: {name_some(self.long)}"
        )


def sort_series(
    names: Sequence[str],
    frames: Sequence[Sequence[FileFrame]],
    times: Sequence[np.ndarray],
    unit: str,
    max_steps: int,
    has_label: Sequence[np.ndarray] | None = None,
) -> SortedSeries:
    """Sorts the images of series by time or position, leaves out those without one and thins long series.

    A sample that ends with an image consists of that image and those before it. It is thinned as if the series ended
    there, so that no later image has an influence on it.

    Args:
        names: Name of each series.
        frames: The images of each series as they are listed.
        times: The time or position of each image; NaN where it is missing.
        unit: Their unit, for the report.
        max_steps: The greatest number of images that a sample keeps.
        has_label: Which images of each series have a label, so that a sample ends with them; None if each series is
            one sample.
    """
    kinds = ("missing", "lost", "unlabelled", "unsorted", "same", "single", "long")
    odd: dict[str, list[str]] = {kind: [] for kind in kinds}
    steps = name_steps(unit)
    samples, rows, ends, numbers, moments_of = [], [], [], [], {}
    for row, (name, images, listed) in enumerate(zip(names, frames, times, strict=True)):
        known = np.flatnonzero(np.isfinite(listed))
        if len(known) < len(listed):
            odd["missing" if len(known) else "lost"].append(name)
        if not len(known):
            continue
        order = known[np.argsort(listed[known], kind="stable")]
        moments = moments_of[name] = listed[order]
        labelled = [len(order) - 1] if has_label is None else np.flatnonzero(has_label[row][order]).tolist()
        for kind in _find_odd(order, moments, labelled, steps):
            odd[kind].append(name)
        if not labelled:
            continue
        odd["long"] += [f"{name} ({len(order):,})"] if labelled[-1] >= max_steps else []
        seen = [thin_evenly(moments[: last + 1], max_steps) for last in labelled]
        used = np.array(sorted(set(np.concatenate(seen).tolist())))
        series = SeriesFiles(name, tuple(images[place] for place in order[used].tolist()), moments[used])
        samples += [
            series if has_label is None else dataclasses.replace(series, seen=np.searchsorted(used, part))
            for part in seen
        ]
        rows += [row] * len(labelled)
        ends += order[labelled].tolist()
        numbers += [last + 1 for last in labelled]
    if not samples:
        raise InputError(f"Series must have {steps}s. Received: none of any image. Fill the column of {steps}s.")
    warnings = [*_describe_odd(odd, steps), *_describe_gaps(list(moments_of), list(moments_of.values()), unit)]
    return SortedSeries(samples, rows, ends, numbers, warnings, odd["long"], max_steps, steps)


def _find_odd(order: np.ndarray, moments: np.ndarray, labelled: Sequence[int], steps: str) -> list[str]:
    """Returns what is odd about one series.

    Args:
        order: Which of the listed images have a time, in its order.
        moments: Their times.
        labelled: Which of them have a label.
        steps: What they are sorted by.
    """
    facts = {
        "unlabelled": not labelled,
        # Slices are as well listed from the last one to the first.
        "unsorted": (np.diff(order) < 0).any() and (steps == "time" or (np.diff(order) > 0).any()),
        "same": len(np.unique(moments)) < len(moments),
        "single": len(order) == 1,
    }
    return [kind for kind, is_so in facts.items() if is_so]


def describe_series(names: Sequence[str], one: str, many: str) -> list[str]:
    """Returns a sentence on some of the series; none if there are no such series.

    Args:
        names: Names of the series.
        one: What is so of a single one, such as ``has one image only``.
        many: The same of several.
    """
    return [f"{len(names):,} series {one if len(names) == 1 else many}: {name_some(names)}"] if names else []


def _describe_odd(odd: dict[str, list[str]], steps: str) -> list[str]:
    """Returns a sentence for each kind of what is odd."""

    def describe(kind: str, one: str, many: str) -> list[str]:
        return describe_series(odd[kind], one, many)

    return [
        *describe("lost", f"has no {steps}s and is left out", f"have no {steps}s and are left out"),
        *describe(
            "missing",
            f"has images without a {steps}, which are left out",
            f"have images without a {steps}, which are left out",
        ),
        *describe(
            "unlabelled",
            f"has no label on an image with a {steps} and is left out",
            f"have no label on an image with a {steps} and are left out",
        ),
        *describe(
            "unsorted",
            f"is not listed in the order of {steps}, and is sorted",
            f"are not listed in the order of {steps}, and are sorted",
        ),
        *describe("same", f"has several images at one {steps}", f"have several images at one {steps}"),
        *describe("single", "has one image only", "have one image only"),
    ]


def _describe_gaps(names: Sequence[str], times: Sequence[np.ndarray], unit: str) -> list[str]:
    intervals = [np.diff(each) for each in times]
    every = np.concatenate(intervals)
    positive = every[every > 0]
    if not len(positive):
        return []
    median = float(np.median(positive))
    widest = [float(each.max(initial=0)) for each in intervals]
    far = [(name, gap) for name, gap in zip(names, widest, strict=True) if gap > _LONG_GAP * median]
    found = [f"{name} ({_describe_length(gap)} {unit})" for name, gap in far]
    if not found:
        return []
    kind = "series has" if len(found) == 1 else "series have"
    return [
        f"{len(found):,} {kind} a gap of more than {_LONG_GAP} times the median interval, {_describe_length(median)}"
        f" {unit}:"
        f" {name_some(found)}"
    ]


def _describe_length(length: float) -> str:
    return f"{length:.3g}" if length < 1000 else f"{length:,.0f}"
