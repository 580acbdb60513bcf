"""The samplings of series: which frames are kept where they are thinned, and denser series where there are some."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from keras_lnn.data.arrays import SeriesArray
from keras_lnn.data.catalog import find_denser
from keras_lnn.data.splitting import SelectedRows

# A thinned series keeps as many, since the times of a single frame say nothing.
FEWEST_FRAMES = 2


def thin_evenly(times: np.ndarray, steps: int) -> np.ndarray:
    """Returns the indices of ``steps`` frames of one series that are spread as evenly in time as its frames allow.

    The first and the last frame are kept; of a single step, the last one, which the label is of.

    Args:
        times: Times of the frames of one series, (frames,), never falling.
        steps: Number of frames to keep, at least 1; a series without more frames keeps all of them.

    Returns:
        Rising indices, int64 (steps,) or (frames,).
    """
    times = np.asarray(times, np.float64)
    if steps < 1:
        raise ValueError(f"At least 1 frame of a series must be kept. Received: {steps}.")
    if steps >= len(times):
        return np.arange(len(times))
    if steps == 1:
        return np.array([len(times) - 1])
    kept = np.zeros(steps, np.int64)
    kept[-1] = len(times) - 1
    for number, wanted in enumerate(np.linspace(times[0], times[-1], steps)[1:-1], start=1):
        # Enough frames are left for the steps to come, however unevenly the frames lie.
        first, last = kept[number - 1] + 1, len(times) - (steps - number)
        after = int(np.clip(np.searchsorted(times, wanted), first, last))
        before = max(after - 1, first)
        kept[number] = before if wanted - times[before] <= times[after] - wanted else after
    return kept


def keep_share(series: SeriesArray, share: float, seed: int | None = None) -> SeriesArray:
    """Returns series with a share of their frames, at least two of each and the last one always.

    Args:
        series: The series; they are not changed.
        share: Share of the frames of each series, above 0 and up to 1.
        seed: Seed by which the frames are drawn at random; None for frames that are even in time.
    """
    if not 0 < share <= 1:
        raise ValueError(f"The share of frames that is kept must be above 0 and up to 1. Received: {share}.")

    def choose(row: int, times: np.ndarray) -> np.ndarray:
        count = min(max(int(share * len(times) + 0.5), FEWEST_FRAMES), len(times))
        if seed is None:
            return thin_evenly(times, count)
        drawn = np.random.default_rng([seed, row]).permutation(len(times) - 1)[: count - 1]
        return np.append(np.sort(drawn), len(times) - 1)

    return _select_frames(series, choose)


def keep_at_most(series: SeriesArray, steps: int) -> SeriesArray:
    """Returns series that are read as so many steps: longer ones are thinned evenly in time, shorter ones padded."""
    if series.lengths.max(initial=0) > steps:
        series = _select_frames(series, lambda row, times: thin_evenly(times, steps))
    return dataclasses.replace(series, steps=steps)


def every_nth(series: SeriesArray, step: int) -> SeriesArray:
    """Returns series with every ``step``-th frame, counted back from the last one; at least two of each are kept."""
    if step < 1:
        raise ValueError(f"Every first, second, third ... frame can be kept. Received: {step}.")

    def choose(row: int, times: np.ndarray) -> np.ndarray:
        last = len(times) - 1
        return np.arange(last, -1, -min(step, max(last, 1)))[::-1]

    return _select_frames(series, choose)


def start_later(series: SeriesArray, share: float) -> SeriesArray:
    """Returns series without the share of frames that come first; at least two of each are kept."""
    if not 0 <= share < 1:
        raise ValueError(f"The share of frames that is left out must be at least 0 and below 1. Received: {share}.")

    def choose(row: int, times: np.ndarray) -> np.ndarray:
        return np.arange(max(min(int(share * len(times)), len(times) - FEWEST_FRAMES), 0), len(times))

    return _select_frames(series, choose)


def _select_frames(series: SeriesArray, choose: Callable[[int, np.ndarray], np.ndarray]) -> SeriesArray:
    """Returns series of some of the frames, which are read when they are accessed.

    Args:
        series: The series.
        choose: Returns which frames of a series are kept, by its number and the times of its frames.
    """
    kept = []
    for row, (start, length) in enumerate(zip(series.starts, series.lengths, strict=True)):
        kept.append(start + choose(row, series.frame_times[start : start + length]))
    lengths = np.array([len(places) for places in kept], np.int64)
    places = np.concatenate(kept)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    times = series.frame_times[places] - np.repeat(series.frame_times[places[starts]], lengths)
    frames = SelectedRows(series.frames, places)
    return dataclasses.replace(series, frames=frames, starts=starts, lengths=lengths, frame_times=times)


@dataclasses.dataclass(frozen=True)
class Sampling:
    """One way in which series could have been sampled.

    Args:
        kind: A name in ``SAMPLING_KINDS``.
        amount: How much: a share of the frames, or one of how many frames.
    """

    kind: str
    amount: float

    @property
    def keeps_all(self) -> bool:
        """Returns whether all frames are kept."""
        return self.amount == SAMPLING_KINDS[self.kind].amounts[0]

    @property
    def needs_denser(self) -> bool:
        """Returns whether the frames must come from denser data of the same series."""
        return not self.keeps_all and SAMPLING_KINDS[self.kind].thin is None

    def apply(self, series: SeriesArray) -> SeriesArray:
        """Returns the series as they would be with this sampling, which must not need denser series."""
        thin = SAMPLING_KINDS[self.kind].thin
        if self.keeps_all:
            return series
        if thin is None:
            raise ValueError(f"Series can be thinned, but not made denser. Received: {self.kind} {self.amount:g}.")
        return thin(series, self.amount)


class SamplingKind(NamedTuple):
    """How series are thinned, and by how much.

    Args:
        label: What the amount is, in words.
        amounts: The amounts, that of all frames first.
        thin: Returns thinned series; None where the frames must come from denser data of the same series.
    """

    label: str
    amounts: tuple[float, ...]
    thin: Callable[[SeriesArray, Any], SeriesArray] | None


SAMPLING_KINDS = {
    "evenly": SamplingKind("share of frames kept, evenly in time", (1, 0.75, 0.5, 0.25), keep_share),
    "at random": SamplingKind(
        "share of frames kept, at random", (1, 0.75, 0.5, 0.25), functools.partial(keep_share, seed=0)
    ),
    "every nth": SamplingKind("one of how many frames is kept", (1, 2, 3), every_nth),
    "start later": SamplingKind("share of frames left out at the start", (0, 0.25, 0.5), start_later),
    "frame rate": SamplingKind("frame rate, as a multiple of that of training", (1, 2), None),
}


def list_samplings(*, denser: bool = False) -> list[Sampling]:
    """Returns the samplings by which the robustness of models is measured.

    Args:
        denser: Whether there are data with the same series at twice the frame rate.
    """
    kinds = {kind: known for kind, known in SAMPLING_KINDS.items() if denser or known.thin is not None}
    return [Sampling(kind, amount) for kind, known in kinds.items() for amount in known.amounts]


def samplings_of(data: str) -> list[Sampling]:
    """Returns the samplings under which models of a data set are measured, by its name."""
    return list_samplings(denser=find_denser(data) is not None)
