"""Tests of two models on the same samples, with one trained run or several seeds each.

Whatever the metric, a run is represented by its value and its deviations (see
:mod:`keras_lnn.statistics.deviations`), so one function compares the means over seeds for every metric.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from keras_lnn.errors import InputError
from keras_lnn.statistics.deviations import NO_VARIANCE, Units, auc_degrees, auc_deviations
from keras_lnn.statistics.intervals import Estimate, quantile
from keras_lnn.statistics.measurements import Measurement

# Name of the test of models over several splits of the same samples.
RESAMPLED = "corrected resampled t"
# Log odds beyond which a number equals its limit to all digits.
_FAR_OUT = 300.0


@dataclasses.dataclass(frozen=True)
class Measured:
    """One metric of all runs of one model, on the same samples.

    Args:
        estimates: The value of each run with its interval.
        deviations: Contribution of each patient or sample to the uncertainty of each run, (runs, units).
        degrees: Degrees of freedom of the variance that the deviations give.
    """

    estimates: Sequence[Estimate]
    deviations: np.ndarray
    degrees: float = math.inf

    @classmethod
    def of(cls, runs: Sequence[Measurement], degrees: float = math.inf) -> Measured:
        """Returns one metric of several runs."""
        return cls([run.estimate for run in runs], np.stack([run.deviations for run in runs]), degrees)

    @property
    def values(self) -> np.ndarray:
        """Returns the value of each run, (runs,)."""
        return np.array([estimate.value for estimate in self.estimates])

    @property
    def runs(self) -> int:
        """Returns the number of runs."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """Returns the mean over the runs."""
        return float(np.mean(self.values))

    @property
    def seed_variance(self) -> float:
        """Returns the variance of the mean due to the choice of seeds, with the joint effect of seeds and samples."""
        return float(np.var(self.values, ddof=1) / self.runs) if self.runs > 1 else 0.0

    @property
    def joint_variance(self) -> float:
        """Returns the joint effect of seeds and samples in the mean deviations' squares, which must count only once."""
        if self.runs == 1:
            return 0.0
        return float(np.var(self.deviations, axis=0, ddof=1).sum() / self.runs)


@dataclasses.dataclass(frozen=True)
class Difference:
    """A difference with its uncertainty; values that cannot be determined are nan.

    Args:
        value: The first number minus the second.
        low: Lower end of its interval.
        high: Upper end of its interval.
        standard_error: Square root of its variance.
        degrees: Degrees of freedom of that variance.
        p: Two-sided probability of a difference at least as large if there is none in truth.
    """

    value: float
    low: float
    high: float
    standard_error: float
    degrees: float
    p: float


def mean_over_runs(measured: Measured, *, highest: float = 1.0, confidence: float = 0.95) -> Estimate:
    """Returns the mean of a metric over the runs of one model, with the uncertainty of samples and of seeds.

    A single run keeps the interval that it reports itself. For several, the distance to each end combines that of the
    samples and that of the seeds by their squares, each with its own quantile of Student's t. Welch and Satterthwaite's
    single quantile is too small here, because the spread of a few seeds is often estimated as zero. An end that would
    pass a limit is computed on the scale of the log odds instead.

    Args:
        measured: All runs of the model.
        highest: The upper limit of the metric; the lower is 0.
        confidence: Coverage of the interval.

    Returns:
        The mean; the ends are nan where no run has an interval.
    """
    if measured.runs == 1:
        return measured.estimates[0]
    value = measured.mean
    lows, highs = (np.array([getattr(run, end) for run in measured.estimates]) for end in ("low", "high"))
    given = ~np.isnan(lows)
    if not given.any():
        return Estimate(value)
    # The mean of several runs depends less on the choice of the samples than one run does.
    alone = float((measured.deviations**2).sum(axis=1).mean())
    (sample_part, _), *_ = _parts([measured], measured.deviations.mean(axis=0), measured.degrees)
    share = math.sqrt(sample_part / alone) if alone > NO_VARIANCE else 1.0
    seed_reach = quantile(confidence, measured.runs - 1) * math.sqrt(measured.seed_variance)
    down, up = (share * float(np.mean(part[given])) for part in (measured.values - lows, highs - measured.values))
    if not 0 < value < highest:
        return Estimate(value, max(value - down, 0.0), min(value + up, highest))
    low, high = value - math.hypot(down, seed_reach), value + math.hypot(up, seed_reach)
    if low < 0:
        low = highest - _end_within(highest - value, min(down / value, 1.0), seed_reach, highest)
    if high > highest:
        high = _end_within(value, min(up / (highest - value), 1.0), seed_reach, highest)
    return Estimate(value, low, high)


def _end_within(value: float, share: float, seed_reach: float, highest: float) -> float:
    """Returns the upper end on the log-odds scale, given the samples' share of the way to the limit, and the seeds."""
    odds = value / (highest - value)
    above = value + share * (highest - value)
    if above >= highest:
        return highest
    moved = math.log(above / (highest - above) / odds)
    reach = math.hypot(moved, seed_reach * highest / (value * (highest - value)))
    return highest * (1 - 1 / (1 + odds * math.exp(min(reach, _FAR_OUT))))


def compare_means(
    first: Measured, second: Measured, *, degrees: float = math.inf, confidence: float = 0.95
) -> Difference:
    r"""Returns the difference of the means over the runs of two models, with the uncertainty of samples and of seeds.

    Its variance is

    .. math:: \frac{s_1^2}{n_1} + \frac{s_2^2}{n_2} + \max\Big(0, \sum_i (\bar d_{1i} - \bar d_{2i})^2
        - \frac{w_1}{n_1} - \frac{w_2}{n_2}\Big)

    with the variance :math:`s^2` of the values over the :math:`n` seeds of a model, the mean deviations
    :math:`\bar d_i` over its seeds, which hold the effect of the choice of test samples on both models, and the
    variance :math:`w` of the deviations over seeds: the joint effect of seeds and samples is in :math:`s^2` and in
    :math:`\bar d_i`, and must count once. Each part has its own degrees of freedom, n - 1 for the seeds, and Welch and
    Satterthwaite's formula gives those of the sum: with five seeds and a large spread between them a normal interval
    would be far too narrow. With one run each only the test samples are uncertain, and the result applies to those two
    trained models. Runs of different models are independent of each other, given the samples.

    Args:
        first: Runs of one model.
        second: Runs of the other model on the same samples.
        degrees: Degrees of freedom of the part of the variance that is due to the samples.
        confidence: Coverage of the interval.

    Returns:
        The first mean minus the second. The p-value and the interval agree: the interval contains zero exactly where p
        is above 1 - confidence.
    """
    from scipy.stats import t

    value = first.mean - second.mean
    parts = _parts([first, second], first.deviations.mean(axis=0) - second.deviations.mean(axis=0), degrees)
    variance = sum(part for part, _ in parts)
    if math.isnan(value):
        return Difference(value, math.nan, math.nan, math.nan, math.nan, math.nan)
    if variance <= NO_VARIANCE:
        # Equal values without any spread are equal for certain; unequal ones without spread have no measure of chance.
        same = abs(value) < 1e-12
        ends = (value, value) if same else (math.nan, math.nan)
        return Difference(value, *ends, 0.0, math.inf, 1.0 if same else math.nan)
    below = sum(part**2 / freedom for part, freedom in parts)
    freedom = variance**2 / below if below > 0 else math.inf
    error = math.sqrt(variance)
    reach = float(t.ppf((1 + confidence) / 2, freedom)) * error
    p = float(2 * t.sf(abs(value) / error, freedom))
    return Difference(value, value - reach, value + reach, error, float(freedom), p)


def compare_auc(
    positive: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    confidence: float = 0.95,
    *,
    groups: Sequence[str] | None = None,
) -> Difference:
    """Returns DeLong's test of two models' scores for the same samples, with Welch's degrees of freedom.

    Where patients are known it is the test of Obuchowski (1997), in which the images of a patient count together. For
    two equally good models and 20 to 100 patients of five images DeLong's finds a difference in 11 to 32% of cases, and
    this one in 3 to 6%. With one image per patient both are the same.

    Args:
        positive: Whether each sample is positive, (samples,).
        first: Scores of one model, (samples,).
        second: Scores of the other, (samples,).
        confidence: Coverage of the interval.
        groups: The patient of each sample; None where they are unknown.

    Returns:
        The first AUC minus the second.
    """
    positive = np.asarray(positive, dtype=bool)
    units = Units(len(positive), groups)
    measured = [auc_deviations(positive, scores) for scores in (first, second)]
    gathered = [units.gather_sides(deviations, positive) for _, deviations in measured]
    runs = [Measured([Estimate(area)], own[None]) for (area, _), own in zip(measured, gathered, strict=True)]
    degrees = auc_degrees(gathered[0] - gathered[1], positive.astype(np.int64), units)
    return compare_means(*runs, degrees=degrees, confidence=confidence)


def compare_resampled(differences: np.ndarray, test_over_train: float, *, confidence: float = 0.95) -> Difference:
    """Returns the mean difference of two models over several random splits of the same samples.

    The splits share most of their training samples, so their differences are not independent, and the plain paired
    t-test finds differences where there are none. Nadeau and Bengio (2003), "Inference for the generalization error",
    Machine Learning 52, 239, add the ratio of test to training samples to the variance of the mean.

    Args:
        differences: The first model minus the second, one value per split.
        test_over_train: Ratio of the test samples of a split to its training samples.
        confidence: Coverage of the interval.

    Returns:
        The mean; for a single split its uncertainty is nan.
    """
    from scipy.stats import t

    count = len(differences)
    if count < 2:
        return Difference(float(np.mean(differences)) if count else math.nan, *[math.nan] * 5)
    value = float(np.mean(differences))
    error = math.sqrt(float(np.var(differences, ddof=1)) * (1 / count + test_over_train))
    if error**2 <= NO_VARIANCE:
        return Difference(value, value, value, 0.0, count - 1, 1.0 if value == 0 else 0.0)
    reach = float(t.ppf((1 + confidence) / 2, count - 1)) * error
    p = 2 * float(t.sf(abs(value) / error, count - 1))
    return Difference(value, value - reach, value + reach, error, count - 1, p)


def compare_accuracy(first: np.ndarray, second: np.ndarray, confidence: float = 0.95) -> Difference:
    """Returns McNemar's test of the difference of two models' accuracies on the same samples, with its interval.

    p is exact minus half of the probability of the observed table on either side (the mid-p of Fagerland, Lydersen and
    Laake 2013, BMC Medical Research Methodology 13, 91): the number of discordant samples is small and whole, so that
    the exact test on 156 samples errs in 2% of cases where 5% are allowed, and finds fewer differences than it could.

    The interval is that of Bonett and Price (2012), Journal of Educational and Behavioral Statistics 37, 479: Wald's
    with one more discordant sample each way, which has the right coverage for few samples too, and a width even if no
    sample is discordant.

    Args:
        first: Whether one model is right, (samples,).
        second: Whether the other is, (samples,).
        confidence: Coverage of the interval.

    Returns:
        The first accuracy minus the second.
    """
    from scipy.stats import norm

    first, second = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    gained, lost = int((first & ~second).sum()), int((~first & second).sum())
    samples = len(first)
    shares = (gained + 1) / (samples + 2), (lost + 1) / (samples + 2)
    centre = shares[0] - shares[1]
    error = math.sqrt((sum(shares) - centre**2) / (samples + 2))
    reach = float(norm.ppf((1 + confidence) / 2)) * error
    return Difference(
        value=(gained - lost) / samples,
        low=max(centre - reach, -1.0),
        high=min(centre + reach, 1.0),
        standard_error=error,
        degrees=math.inf,
        p=mcnemar(gained, lost),
    )


def mcnemar(gained: int, lost: int, *, exact: bool = False) -> float:
    """Returns McNemar's two-sided p-value, from the binomial distribution of the discordant samples.

    Args:
        gained: Number of samples that only the first model predicts correctly.
        lost: Number of samples that only the second model predicts correctly.
        exact: Whether to count the whole probability of the observed table; otherwise half of it counts (mid-p).
    """
    from scipy.stats import binom, binomtest

    if gained == lost:
        return 1.0
    p = float(binomtest(gained, gained + lost, 0.5).pvalue)
    return p if exact else p - float(binom.pmf(gained, gained + lost, 0.5))


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Returns p-values after Holm's correction, which limits the probability of any false positive among all of them.

    Args:
        p_values: One per comparison; nan where there is none, which does not count as a comparison.

    Returns:
        The corrected values, in the same order.
    """
    values = np.asarray(p_values, dtype=np.float64)
    if ((values < 0) | (values > 1)).any():
        raise InputError(f"p-values must lie between 0 and 1. Received: {values.tolist()}.")
    corrected = np.full(values.shape, np.nan)
    order = np.argsort(values)[: np.count_nonzero(~np.isnan(values))]
    steps = values[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected


def _parts(models: list[Measured], mean: np.ndarray, degrees: float) -> list[tuple[float, float]]:
    """Returns the parts of a variance with their degrees of freedom: of the samples, then of each model's seeds."""
    sample_part = float((mean**2).sum()) - sum(model.joint_variance for model in models)
    seed_parts = [(model.seed_variance, float(model.runs - 1)) for model in models if model.runs > 1]
    return [(max(sample_part, 0.0), degrees), *seed_parts]
