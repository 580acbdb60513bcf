"""Bootstrap intervals, and the metrics of weighted samples that make them fast.

A resample is a row of counts: how often each sample was drawn. Every metric is a function of such weights, so that
sorting and comparing happen once and 2,000 resamples cost a few sparse matrix products. With weights of one it is the
metric itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_lnn.errors import InputError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

# Larger chunks run slower: cumulative sums down a column then miss the cache at each step.
_RESAMPLES_A_CHUNK = 32
_WEIGHTS_A_CHUNK = 2_000_000


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number with its confidence interval; all three are nan where the number is not defined.

    Args:
        value: The number from all samples.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"

    def to_json(self) -> dict[str, float]:
        """The three numbers by name."""
        return dataclasses.asdict(self)


def resample_weights(samples: int, resamples: int, *, seed: int) -> Iterator[np.ndarray]:
    """Draws samples with replacement and counts them.

    Which samples are drawn depends on ``samples`` and ``seed`` alone: fewer resamples are the first of more.

    Args:
        samples: Number of samples.
        resamples: Number of resamples in total.
        seed: Seed of the random generator.

    Yields:
        Counts as float64 (resamples of this chunk, samples); each row sums to ``samples``.
    """
    generator = np.random.default_rng(seed)
    chunk = max(1, min(_RESAMPLES_A_CHUNK, _WEIGHTS_A_CHUNK // samples))
    for start in range(0, resamples, chunk):
        rows = range(min(chunk, resamples - start))
        counts = np.stack([np.bincount(generator.integers(samples, size=samples), minlength=samples) for _ in rows])
        # One sample's counts lie side by side in memory, as the products in weighted_sums read them.
        yield np.ascontiguousarray(counts.T, dtype=np.float64).T


def percentile_interval(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """The middle part of the resampled values; resamples in which the statistic is not defined (nan) are left out.

    Args:
        values: One value a resample.
        confidence: Share of the values inside the interval, such as 0.95.

    Returns:
        The lower and the upper end; nan where no value is defined.
    """
    defined = values[~np.isnan(values)]
    if not defined.size:
        return float("nan"), float("nan")
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


def bounded_interval(value: float, resampled: np.ndarray, confidence: float, highest: float) -> tuple[float, float]:
    """An interval of a number between 0 and a limit, from the spread of its resampled values.

    It is symmetric on the scale of log(value / (highest - value)), so it stays within the limits and leans to their
    middle. In 1,000 simulated sets of 156 samples it holds an AUC of .80, .87 and .96 in 94 to 96% of cases, where the
    percentiles of the same resamples hold it in 93, 93 and 90%.

    Args:
        value: From all samples.
        resampled: One value a resample; nan where it is not defined.
        confidence: Share of experiments in which the interval holds the true number.
        highest: The limit.

    Returns:
        The lower and the upper end. At a limit there is no such scale, and the resampled values' percentiles are given.
    """
    from scipy.special import expit, logit
    from scipy.stats import norm

    defined = resampled[~np.isnan(resampled)]
    error = float(defined.std(ddof=1)) if defined.size > 1 else 0.0
    if not 0 < value < highest or error == 0.0:
        return percentile_interval(resampled, confidence)
    share = value / highest
    reach = float(norm.ppf((1 + confidence) / 2)) * error / highest / (share * (1 - share))
    low, high = highest * expit(logit(share) + np.array([-reach, reach]))
    return float(low), float(high)


def bootstrap(
    statistics: Callable[[np.ndarray], np.ndarray],
    samples: int,
    *,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    highest: Sequence[float] | float = 1.0,
    progress: Callable[[float], None] | None = None,
) -> list[Estimate]:
    """Bootstrap of several statistics between 0 and a limit over the same resamples.

    Args:
        statistics: From weights (resamples, samples) to values (statistics, resamples).
        samples: Number of samples.
        resamples: Number of resamples.
        seed: Seed of the random generator.
        confidence: Share of experiments in which each interval holds the true number.
        highest: Limit of the statistics, or of each.
        progress: Called with the fraction done, after each chunk of resamples.

    Returns:
        One estimate a statistic; its value is the statistic at weights of one.
    """
    if samples < 1:
        raise InputError(f"There must be at least one sample. Received: {samples}.")
    if resamples < 1:
        raise InputError(f"resamples must be at least 1. Received: {resamples}. 2000 suits 95% intervals.")
    if not 0 < confidence < 1:
        raise InputError(f"confidence must lie between 0 and 1. Received: {confidence}. Give 0.95 for 95%.")
    values = statistics(np.ones((1, samples)))[:, 0]
    resampled, done = [], 0
    for weights in resample_weights(samples, resamples, seed=seed):
        resampled.append(statistics(weights))
        done += len(weights)
        if progress is not None:
            progress(done / resamples)
    rows, limits = np.concatenate(resampled, axis=1), np.broadcast_to(highest, values.shape)
    return [
        Estimate(float(value), *bounded_interval(float(value), row, confidence, float(limit)))
        for value, row, limit in zip(values, rows, limits, strict=True)
    ]


def weighted_sums(terms: csr_array, weights: np.ndarray) -> np.ndarray:
    """Sums terms over the samples of each resample.

    Args:
        terms: What each sample adds to each sum, (sums, samples).
        weights: (resamples, samples).

    Returns:
        The sums, (sums, resamples).
    """
    return terms @ weights.T


def divide_or_zero(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divides; 0 where the denominator is 0, which is scikit-learn's ``zero_division=0``."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator != 0)


def defined_mean(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis of what is not nan; nan where nothing is left, without a warning."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=0)
    total = np.where(defined, values, 0).sum(axis=0)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


class Ranking:
    """Samples of two classes ranked by a score, ready for any number of weightings.

    Only ranks that hold a positive matter to either metric, so negatives between two of them are added up in one go.
    Equal scores share a rank: a positive and a negative there count as half a correct pair.

    Args:
        positive: Whether each sample is positive, (samples,).
        scores: Higher means more likely positive, (samples,).
    """

    def __init__(self, positive: np.ndarray, scores: np.ndarray):
        from scipy.sparse import csr_array

        positive = np.asarray(positive, dtype=bool)
        _, rank = np.unique(-np.asarray(scores, dtype=np.float64), return_inverse=True)
        holds_positive = np.zeros(rank.max() + 1, dtype=bool)
        holds_positive[rank[positive]] = True
        # A rank without positives joins the next lower one that has some; below the last of them a rest remains.
        group = (np.cumsum(holds_positive) - holds_positive)[rank]
        self._groups = int(holds_positive.sum())
        tied = ~positive & holds_positive[rank]
        self._tied_groups, tied_row = np.unique(group[tied], return_inverse=True)
        rows = np.concatenate([group + np.where(positive, 0, self._groups), 2 * self._groups + 1 + tied_row])
        columns = np.concatenate([np.arange(len(positive)), np.flatnonzero(tied)])
        shape = (2 * self._groups + 1 + len(self._tied_groups), len(positive))
        self._terms = csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)

    def auc_and_average_precision(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Area under the ROC curve, and average precision (the step-wise sum, without interpolation).

        Args:
            weights: (resamples, samples).

        Returns:
            Both (resamples,). The area is nan where one of the two classes has no weight; the average precision is 0
            where no positive has any, as in scikit-learn.
        """
        sums = weighted_sums(self._terms, weights)
        positives = sums[: self._groups]
        negatives = sums[self._groups : 2 * self._groups + 1]
        tied = sums[2 * self._groups + 1 :]
        positives_down_to = np.cumsum(positives, axis=0)
        negatives_down_to = np.cumsum(negatives, axis=0)
        total_positives, total_negatives = positives.sum(axis=0), negatives_down_to[-1]
        negatives_below = total_negatives - negatives_down_to[:-1]
        ordered = np.einsum("gr,gr->r", positives, negatives_below)
        ordered += 0.5 * np.einsum("gr,gr->r", positives[self._tied_groups], tied)
        pairs = total_positives * total_negatives
        auc = np.divide(ordered, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)
        precision = divide_or_zero(positives_down_to, positives_down_to + negatives_down_to[:-1])
        return auc, divide_or_zero(np.einsum("gr,gr->r", positives, precision), total_positives)


@dataclasses.dataclass(frozen=True)
class Confusion:
    """Weighted counts of each class or label against the rest; ratios with nothing below the line are 0.

    Args:
        total: Weight of all samples, (resamples,).
        actual: Weight of the samples of the class, (classes, resamples).
        predicted: Weight of the samples predicted as the class, (classes, resamples).
        hits: Weight of the samples of the class predicted as the class, (classes, resamples).
    """

    total: np.ndarray
    actual: np.ndarray
    predicted: np.ndarray
    hits: np.ndarray

    @staticmethod
    def terms(positive: np.ndarray, predicted: np.ndarray) -> csr_array:
        """What ``from_sums`` needs summed.

        Args:
            positive: Whether each sample is of each class, (samples, classes).
            predicted: Whether it was predicted as that class, (samples, classes).

        Returns:
            (1 + 3 classes, samples) for ``weighted_sums``.
        """
        from scipy.sparse import csr_array, vstack

        blocks = [np.ones((1, len(positive))), positive.T, predicted.T, (positive & predicted).T]
        return vstack([csr_array(block, dtype=np.float64) for block in blocks], format="csr")

    @classmethod
    def from_sums(cls, sums: np.ndarray) -> Confusion:
        """Reads the counts from the weighted sums of ``terms``."""
        return cls(sums[0], *np.split(sums[1:], 3))

    def precision(self) -> np.ndarray:
        """Share of the predictions of a class that are right, (classes, resamples)."""
        return divide_or_zero(self.hits, self.predicted)

    def sensitivity(self) -> np.ndarray:
        """Share of the samples of a class that are found (recall), (classes, resamples)."""
        return divide_or_zero(self.hits, self.actual)

    def specificity(self) -> np.ndarray:
        """Share of the other samples that are predicted as others, (classes, resamples)."""
        return divide_or_zero(self._right_rejections(), self.total - self.actual)

    def f1(self) -> np.ndarray:
        """Harmonic mean of precision and sensitivity, (classes, resamples)."""
        return divide_or_zero(2 * self.hits, self.actual + self.predicted)

    def accuracy(self) -> np.ndarray:
        """Share of the samples on the right side of each class against the rest, (classes, resamples)."""
        return (self.hits + self._right_rejections()) / self.total

    def balanced_accuracy(self) -> np.ndarray:
        """Mean of sensitivity and specificity, or the one that is defined, (classes, resamples)."""
        sensitivity = np.where(self.actual > 0, self.sensitivity(), np.nan)
        specificity = np.where(self.total > self.actual, self.specificity(), np.nan)
        return defined_mean(np.stack([sensitivity, specificity]))

    def _right_rejections(self) -> np.ndarray:
        return self.total - self.actual - self.predicted + self.hits
