"""The contribution of each sample, or of each patient, to the uncertainty of a metric.

A metric of a set of samples comes with *deviations*: numbers whose squares sum to the variance of the metric due to the
choice of the samples, and whose products with those of another model on the same samples sum to the covariance. Samples
of one patient depend on each other, so their deviations are added up before they are squared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

# Rounding leaves sums of squares of about this size where there is no variance at all.
NO_VARIANCE = 1e-24


class Units:
    """The independently drawn units: the samples themselves, or patients with all of their samples.

    Args:
        samples: Number of samples.
        groups: The patient of each sample; None means that each sample is a unit of its own.
    """

    def __init__(self, samples: int, groups: Sequence[str] | None = None) -> None:
        self.grouped = groups is not None
        names, place = (
            (np.arange(samples), np.arange(samples))
            if groups is None
            else np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
        )
        self.count = len(names)
        self._place = place

    @property
    def even_count(self) -> float:
        """Returns how many units with equally many samples are as certain a basis of a variance as these.

        Where samples of one unit are alike, the variance that a unit adds grows with the square of their number, so
        that a few large units decide (Carter, Schnepel and Steigerwald 2017, Review of Economics and
        Statistics 99, 698).
        """
        if not self.grouped:
            return float(self.count)
        squares = np.bincount(self._place).astype(np.float64) ** 2
        return float(squares.sum() ** 2 / (squares**2).sum())

    def count_with(self, chosen: np.ndarray) -> int:
        """Returns the number of units with at least one chosen sample; ``chosen`` has the shape (samples,)."""
        return len(np.unique(self._place[chosen])) if self.grouped else int(chosen.sum())

    def gather(self, deviations: np.ndarray, units: int | None = None) -> np.ndarray:
        """Returns the deviation of each unit, which is the sum of the deviations of its samples.

        Args:
            deviations: Deviations of the samples, (samples,), not yet corrected for the number of samples.
            units: Number of units that the metric rests on, which corrects the variance by n / (n - 1); None for no
                correction.
        """
        sums = np.bincount(self._place, weights=deviations, minlength=self.count) if self.grouped else deviations
        return sums if units is None else sums * math.sqrt(units / max(units - 1, 1))

    def gather_mean(self, values: np.ndarray) -> np.ndarray:
        """Returns the jackknife deviations of a mean over the samples: what leaving out each unit does to it.

        They are larger than sums of the samples' deviations where units with many samples pull the mean to themselves.

        Args:
            values: One number per sample, (samples,).
        """
        if self.count < 2:
            return np.zeros(self.count)
        sums, counts = self.gather(values), self.gather(np.ones(len(values)))
        without = (sums.sum() - sums) / (len(values) - counts)
        return (without.mean() - without) * math.sqrt((self.count - 1) / self.count)

    def gather_sides(self, deviations: np.ndarray, positive: np.ndarray) -> np.ndarray:
        """Returns the deviation of each unit for an area under the ROC curve.

        The variance of each side is corrected for the number of its units, as Obuchowski (1997) does; with one sample
        per unit the deviations stay those of DeLong.

        Args:
            deviations: Deviations of the samples, corrected for the number of samples of each side, (samples,).
            positive: Whether each sample is positive, (samples,).
        """
        if not self.grouped:
            return deviations
        factors = np.ones(len(deviations))
        for side in (positive, ~positive):
            samples, units = int(side.sum()), self.count_with(side)
            factors[side] = math.sqrt(max(samples - 1, 1) / max(samples, 1) * units / max(units - 1, 1))
        return self.gather(deviations * factors)

    def strata(self, classes: np.ndarray) -> np.ndarray | None:
        """Returns the class of each unit, or None if any unit has samples of several classes.

        Args:
            classes: Class index of each sample, (samples,).
        """
        if not self.grouped:
            return classes
        lowest, highest = np.full(self.count, np.iinfo(np.int64).max), np.full(self.count, -1)
        np.minimum.at(lowest, self._place, classes)
        np.maximum.at(highest, self._place, classes)
        return lowest if np.array_equal(lowest, highest) else None


def auc_deviations(positive: np.ndarray, scores: np.ndarray) -> tuple[float, np.ndarray]:
    """Returns the area under the ROC curve of one class, and DeLong's placement values as deviations.

    The squares of the deviations sum to the variance of DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44, 837.
    The placement values are computed from ranks, without comparing every pair: Sun and Xu (2014), IEEE Signal
    Processing Letters 21. Their sums over the samples of each patient give the variance of Obuchowski (1997),
    Biometrics 53, 567.

    Args:
        positive: Whether each sample is positive, (samples,).
        scores: Higher means more likely positive, (samples,); equal scores count as half a correct pair.

    Returns:
        The area, nan where there are no positives or no negatives, and the deviations (samples,).
    """
    from scipy.stats import rankdata

    positive = np.asarray(positive, dtype=bool)
    scores = np.asarray(scores, dtype=np.float64)
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return math.nan, np.zeros(len(positive))
    rank = rankdata(scores)
    placement = np.empty(len(scores))
    placement[positive] = (rank[positive] - rankdata(scores[positive])) / negatives
    placement[~positive] = 1 - (rank[~positive] - rankdata(scores[~positive])) / positives
    area = float(placement[positive].mean())
    scale = np.where(positive, positives * max(positives - 1, 1), negatives * max(negatives - 1, 1))
    return area, (placement - area) / np.sqrt(scale)


def average_precision_deviations(positive: np.ndarray, scores: np.ndarray) -> tuple[float, np.ndarray]:
    """Returns the average precision of one class (the step-wise sum), and its jackknife deviations.

    Each deviation is the effect of leaving out that sample, in closed form; the squares sum to the jackknife variance.

    Args:
        positive: Whether each sample is positive, (samples,).
        scores: Higher means more likely positive, (samples,); equal scores share a step.

    Returns:
        The average precision, 0 where no sample is positive, and the deviations (samples,).
    """
    positive = np.asarray(positive, dtype=bool)
    samples, positives = len(positive), int(positive.sum())
    if not positives:
        return 0.0, np.zeros(samples)
    _, step = np.unique(-np.asarray(scores, dtype=np.float64), return_inverse=True)
    hits = np.bincount(step, weights=positive)
    found, taken = np.cumsum(hits), np.cumsum(np.bincount(step))
    precision = found / taken
    terms = hits * precision
    value = float(terms.sum() / positives)
    if positives == 1 or samples == 1:
        return value, np.zeros(samples)
    # With one sample less at this step or above, each step below has other counts. A step that holds only the left-out
    # sample has no positives left, so that its precision does not matter.
    fewer = np.maximum(taken - 1, 1)
    above = np.cumsum(terms) - terms
    without_negative = hits * found / fewer
    without_positive = hits * (found - 1) / fewer
    below = [np.cumsum(part[::-1])[::-1] for part in (without_negative, without_positive)]
    left_out_negative = (above + below[0]) / positives
    own = np.maximum(hits - 1, 0) * (found - 1) / fewer
    left_out_positive = (above + own + below[1] - without_positive) / (positives - 1)
    left_out = np.where(positive, left_out_positive[step], left_out_negative[step])
    return value, (left_out.mean() - left_out) * math.sqrt((samples - 1) / samples)


def jackknife_deviations(left_out: np.ndarray) -> np.ndarray:
    """Returns the deviations of a metric from its values without each unit, (..., units); nan counts as the mean.

    The squares of the deviations sum to the jackknife variance.

    Args:
        left_out: The metric of all units but one, for each of the units.
    """
    defined = ~np.isnan(left_out)
    units = left_out.shape[-1]
    count = np.maximum(defined.sum(axis=-1, keepdims=True), 1)
    centre = np.where(defined, left_out, 0).sum(axis=-1, keepdims=True) / count
    return np.where(defined, centre - left_out, 0) * math.sqrt((units - 1) / units)


def resampled_deviations(resampled: np.ndarray) -> np.ndarray:
    """Returns the deviations of a metric from its values over resamples, (..., resamples); nan counts as the mean.

    Runs whose deviations are multiplied with each other must share their resamples.
    """
    defined = ~np.isnan(resampled)
    count = np.maximum(defined.sum(axis=-1, keepdims=True), 1)
    centre = np.where(defined, resampled, 0).sum(axis=-1, keepdims=True) / count
    return np.where(defined, resampled - centre, 0) / np.sqrt(np.maximum(count - 1, 1))


def auc_degrees(deviations: np.ndarray, classes: np.ndarray, units: Units) -> float:
    """Returns the degrees of freedom of the variance of an AUC, or of a difference of two.

    Args:
        deviations: (units,).
        classes: Class index of each sample, (samples,).
        units: The independently drawn units.
    """
    strata = units.strata(classes)
    return float(max(units.count - 1, 1)) if strata is None else welch_degrees(deviations, strata)


def welch_degrees(deviations: np.ndarray, strata: np.ndarray) -> float:
    """Returns Welch and Satterthwaite's degrees of freedom of a variance summed over independent groups of units.

    For a single AUC these are the degrees of freedom of Brunner and Munzel's test.

    Args:
        deviations: (units,).
        strata: The group of each unit, (units,), such as its true class.
    """
    sums = np.bincount(strata, weights=deviations**2)
    freedom = np.bincount(strata) - 1
    usable = freedom > 0
    below = (sums[usable] ** 2 / freedom[usable]).sum()
    return float(sums[usable].sum() ** 2 / below) if below > NO_VARIANCE**2 else math.inf


def tailed_degrees(deviations: np.ndarray, *, unbiased: bool = False) -> float:
    """Returns the degrees of freedom of a variance whose terms have long tails, Satterthwaite's 2 V^2 / Var(V).

    A few large deviations make a variance uncertain, however many small ones there are besides.

    Args:
        deviations: (units,).
        unbiased: Whether to correct the kurtosis for the number of units: among few the largest deviations are missing.
    """
    squares, count = deviations**2, len(deviations)
    total = float(squares.sum())
    if total <= NO_VARIANCE or count < 2:
        return math.inf
    kurtosis = count * float((squares**2).sum()) / total**2
    if unbiased and count > 3:
        excess = (count - 1) / ((count - 2) * (count - 3)) * ((count + 1) * (kurtosis - 3) + 6)
        return min(2 / max(excess / count + 2 / (count - 1), 1e-9), count - 1)
    return min(2 * count / max(kurtosis - 1, 1e-9), count - 1)


def correlations(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the correlations of several metrics, computed from their deviations; 1 where one of a pair does not vary.

    Args:
        rows: The deviations of each metric, (units,) each.
    """
    stacked = np.stack(rows)
    sizes = np.sqrt((stacked**2).sum(axis=1))
    varies = sizes > math.sqrt(NO_VARIANCE)
    scaled = stacked / np.where(varies, sizes, 1.0)[:, None]
    known = np.outer(varies, varies)
    return np.where(known, (scaled @ scaled.T).clip(-1, 1), 1.0)
