"""Metrics of predictions with their intervals and deviations, one function for each kind of metric."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from keras_lnn.statistics.deviations import (
    NO_VARIANCE,
    Units,
    auc_degrees,
    auc_deviations,
    average_precision_deviations,
    correlations,
    tailed_degrees,
)
from keras_lnn.statistics.intervals import (
    Estimate,
    auc_interval,
    interval_of_mean,
    mean_interval,
    proportion_interval,
    quantile,
)

# Student's quantile for one degree of freedom, 12.7, is uselessly wide; where a class has only one or two samples,
# the other parts of an interval already make it wide.
_FEWEST_DEGREES = 2.0


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One metric of one set of predictions.

    Args:
        estimate: The number with its interval.
        deviations: Contribution of each unit to its uncertainty, (units,).
    """

    estimate: Estimate
    deviations: np.ndarray

    @property
    def value(self) -> float:
        """Returns the value of the metric."""
        return self.estimate.value


def measure_proportion(hits: np.ndarray, counted: np.ndarray, units: Units, confidence: float) -> Measurement:
    """Measures the share of some samples that are hits, such as the share of the positives that are found.

    Args:
        hits: Whether each sample is a hit, (samples,); samples that are not counted are never hits.
        counted: Whether each sample is counted, (samples,).
        units: The independently drawn units.
        confidence: Coverage of the interval.

    Returns:
        The share; 0 without an interval where no sample is counted, as in scikit-learn.
    """
    count = int(counted.sum())
    if not count:
        return Measurement(Estimate(0.0), np.zeros(units.count))
    value = float((hits & counted).sum() / count)
    own_units = units.count_with(counted)
    deviations = units.gather(np.where(counted, hits - value, 0.0) / count, own_units)
    samples, reach = float(count), quantile(confidence)
    if units.grouped:
        # The number of independent samples that would have this variance; without any variance, one per patient.
        variance = float((deviations**2).sum())
        samples = min(value * (1 - value) / variance, count) if variance > NO_VARIANCE else float(own_units)
        reach = _reach(confidence, own_units - 1)
    return Measurement(Estimate(value, *proportion_interval(value, samples, reach)), deviations)


def measure_f1(positive: np.ndarray, predicted: np.ndarray, units: Units, confidence: float) -> Measurement:
    """Measures F1, the harmonic mean of precision and sensitivity.

    F1 is 2 J / (1 + J), where J is the share of hits among all samples that are positive or predicted positive. Its
    interval therefore follows from that of a share.

    Args:
        positive: Whether each sample is positive, (samples,).
        predicted: Whether each sample is predicted positive, (samples,).
        units: The independently drawn units.
        confidence: Coverage of the interval.

    Returns:
        F1; 0 without an interval where no sample is positive or predicted positive, as in scikit-learn.
    """
    share = measure_proportion(positive & predicted, positive | predicted, units, confidence)
    value, low, high = (2 * end / (1 + end) for end in dataclasses.astuple(share.estimate))
    return Measurement(Estimate(value, low, high), share.deviations * 2 / (1 + share.value) ** 2)


def measure_auc(positive: np.ndarray, scores: np.ndarray, units: Units, confidence: float) -> Measurement:
    """Measures the area under the ROC curve of one class.

    Args:
        positive: Whether each sample is positive, (samples,).
        scores: Higher means more likely positive, (samples,).
        units: The independently drawn units.
        confidence: Coverage of the interval.

    Returns:
        The area; nan where there are no positives or no negatives.
    """
    value, deviations = auc_deviations(positive, scores)
    if not units.grouped:
        variance = float((deviations**2).sum())
        if math.isnan(value):
            return Measurement(Estimate(value), deviations)
        ends = auc_interval(value, positive.sum(), (~positive).sum(), variance, quantile(confidence))
        return Measurement(Estimate(value, *ends), deviations)
    deviations = units.gather_sides(deviations, positive)
    if math.isnan(value):
        return Measurement(Estimate(value), deviations)
    variance = float((deviations**2).sum())
    sides = [(int(side.sum()), units.count_with(side)) for side in (positive, ~positive)]
    # Without any variance, the number of patients and not that of images limits the certainty.
    positives, negatives = (images if variance > NO_VARIANCE else patients for images, patients in sides)
    degrees = auc_degrees(deviations, positive.astype(np.int64), units)
    degrees = min(degrees, sum(patients for _, patients in sides) - 1)
    if units.strata(positive.astype(np.int64)) is not None:
        # All images of a patient pull the area to the same side, so that few patients with many images decide.
        degrees = min(degrees, units.even_count - 1)
    ends = auc_interval(value, positives, negatives, variance, _reach(confidence, degrees))
    return Measurement(Estimate(value, *ends), deviations)


def measure_average_precision(positive: np.ndarray, scores: np.ndarray, units: Units, confidence: float) -> Measurement:
    """Measures the average precision of one class, with the interval of a share of as many samples as vary like it.

    Args:
        positive: Whether each sample is positive, (samples,).
        scores: Higher means more likely positive, (samples,).
        units: The independently drawn units.
        confidence: Coverage of the interval.

    Returns:
        The average precision; 0 without an interval where no sample is positive, as in scikit-learn.
    """
    value, deviations = average_precision_deviations(positive, scores)
    deviations = units.gather(deviations, units.count if units.grouped else None)
    own_units = units.count_with(positive)
    if not own_units:
        return Measurement(Estimate(value), deviations)
    variance = float((deviations**2).sum())
    samples = float(own_units)
    if variance > NO_VARIANCE and 0 < value < 1:
        samples = min(value * (1 - value) / variance, len(positive))
    ends = proportion_interval(value, samples, _reach(confidence, own_units - 1))
    return Measurement(Estimate(value, *ends), deviations)


def measure_loss(losses: np.ndarray, highest: float, has_error: bool, units: Units, confidence: float) -> Measurement:
    """Measures the mean of a loss between 0 and a limit, such as the Brier score.

    Where no prediction is wrong there is no interval, because the loss of a wrong prediction was never observed.

    Of few patients the largest losses are rarely among those seen, and patients with many images decide. The deviations
    are then those of leaving out each patient, and the degrees of freedom allow for both: intervals of 20 to 200
    patients with 5 images on average hold the true Brier score and log loss in 94 to 96% of cases, where sums of the
    deviations gave 93 to 95%. Resampling does worse: percentiles hold them in 90%, also where they are expanded
    (Hesterberg 2015) in 92%, and bootstrap-t in 93 to 95% at 20 patients.

    Args:
        losses: Loss of each sample, (samples,).
        highest: The upper limit.
        has_error: Whether any prediction is wrong.
        units: The independently drawn units.
        confidence: Coverage of the interval.
    """
    value = float(losses.mean())
    deviations = units.gather_mean(losses)
    if not has_error:
        return Measurement(Estimate(value), deviations)
    degrees = min(tailed_degrees(deviations, unbiased=units.grouped), units.even_count - 1)
    reach = _reach(confidence, degrees)
    return Measurement(Estimate(value, *mean_interval(value, float((deviations**2).sum()), highest, reach)), deviations)


def mean_of(parts: Sequence[Measurement], highest: float = 1.0) -> Measurement:
    """Returns the mean of the metrics of several classes or labels, leaving out those that are not defined.

    Args:
        parts: One measurement per class or label, or several of one metric over the same units.
        highest: The upper limit of the metrics.
    """
    defined = [part for part in parts if not math.isnan(part.value)]
    if not defined:
        return Measurement(Estimate(math.nan), np.zeros_like(parts[0].deviations))
    deviations = [part.deviations for part in defined]
    value = float(np.mean([part.value for part in defined]))
    low, high = interval_of_mean([part.estimate for part in defined], correlations(deviations))
    return Measurement(Estimate(value, max(low, 0.0), min(high, highest)), np.mean(deviations, axis=0))


def _reach(confidence: float, degrees: float) -> float:
    return quantile(confidence, max(degrees, _FEWEST_DEGREES))
