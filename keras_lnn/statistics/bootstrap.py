"""Resampling of patients or images, for metrics that are neither a share nor a mean, such as Dice over all pixels.

A resample is a row of counts: how often each unit was drawn. A metric is a function of such weights, so that counting
and sorting happen once and 2,000 resamples cost a few matrix products. With all weights equal to one it is the metric
of the original sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from keras_lnn.errors import InputError
from keras_lnn.statistics.intervals import Estimate, mean_interval, proportion_interval, quantile

# Larger chunks run slower, because cumulative sums down a column then miss the cache at each step.
_RESAMPLES_PER_CHUNK = 32
_WEIGHTS_PER_CHUNK = 2_000_000


def resample_weights(units: int, resamples: int, *, seed: int) -> Iterator[np.ndarray]:
    """Draws units with replacement and counts how often each was drawn.

    The draws depend on ``units`` and ``seed`` alone: a smaller number of resamples is a prefix of a larger one.

    Args:
        units: Number of units.
        resamples: Number of resamples in total.
        seed: Seed of the random generator.

    Yields:
        Counts as float64 (resamples of this chunk, units); each row sums to ``units``.
    """
    generator = np.random.default_rng(seed)
    chunk = max(1, min(_RESAMPLES_PER_CHUNK, _WEIGHTS_PER_CHUNK // units))
    for start in range(0, resamples, chunk):
        rows = range(min(chunk, resamples - start))
        counts = np.stack([np.bincount(generator.integers(units, size=units), minlength=units) for _ in rows])
        # The counts of one unit are contiguous in memory, in the order in which the matrix products read them.
        yield np.ascontiguousarray(counts.T, dtype=np.float64).T


def bounded_interval(
    value: float, resampled: np.ndarray, confidence: float, highest: float, units: int
) -> tuple[float, float]:
    """Returns the interval of a number between 0 and a limit, from the spread of its resampled values.

    It is symmetric on the scale of log(value / (highest - value)), so it stays within the limits and is longer towards
    their middle. Resamples of few units vary less than new samples would, and give an uncertain estimate of the spread:
    the variance is therefore corrected by n / (n - 1), and the quantile is Student's.

    Args:
        value: The number, computed from all units.
        resampled: One value per resample; nan where it is not defined.
        confidence: Coverage of the interval.
        highest: The upper limit.
        units: Number of patients or images that were drawn from.

    Returns:
        The lower and the upper end. A share of exactly 0 or 1 has a bound that rests on the number of units; any other
        number that does not vary has no interval, so both ends are nan.
    """
    reach = quantile(confidence, units - 1)
    if highest == 1 and value in (0, 1):
        return proportion_interval(value, units, reach)
    defined = resampled[~np.isnan(resampled)]
    if defined.size < 2 or units < 2:
        return math.nan, math.nan
    variance = float(defined.var(ddof=1)) * units / (units - 1)
    return mean_interval(value, variance, highest, reach)


def bootstrap(
    statistics: Callable[[np.ndarray], np.ndarray],
    units: int,
    *,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    highest: Sequence[float] | np.ndarray | float = 1.0,
    progress: Callable[[float], None] | None = None,
) -> list[Estimate]:
    """Returns bootstrap estimates of several statistics between 0 and a limit, all from the same resamples.

    Args:
        statistics: Maps weights (resamples, units) to values (statistics, resamples).
        units: Number of patients or images that are drawn.
        resamples: Number of resamples.
        seed: Seed of the random generator.
        confidence: Coverage of each interval.
        highest: Upper limit of all statistics, or one for each.
        progress: Called with the fraction done after each chunk of resamples.

    Returns:
        One estimate for each statistic; its value is the statistic with all weights equal to one.
    """
    if units < 1:
        raise InputError(f"There must be at least one sample. Received: {units}.")
    if resamples < 1:
        raise InputError(f"resamples must be at least 1. Received: {resamples}. 2000 suits 95% intervals.")
    quantile(confidence)
    values = statistics(np.ones((1, units)))[:, 0]
    resampled, done = [], 0
    for weights in resample_weights(units, resamples, seed=seed):
        resampled.append(statistics(weights))
        done += len(weights)
        if progress is not None:
            progress(done / resamples)
    rows, limits = np.concatenate(resampled, axis=1), np.broadcast_to(highest, values.shape)
    return [
        Estimate(float(value), *bounded_interval(float(value), row, confidence, float(limit), units))
        for value, row, limit in zip(values, rows, limits, strict=True)
    ]


def defined_mean(values: np.ndarray) -> np.ndarray:
    """Returns the mean over the first axis of the values that are not nan; nan without a warning if there are none."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=0)
    total = np.where(defined, values, 0).sum(axis=0)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
