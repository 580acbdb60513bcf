"""The interval of the expected calibration error, a sum of absolute gaps that chance alone makes larger than zero."""

from __future__ import annotations

import math

import numpy as np

from keras_lnn.statistics.deviations import Units
from keras_lnn.statistics.intervals import Estimate, quantile
from keras_lnn.statistics.measurements import Measurement

_DRAWS = 2000


def measure_calibration_error(
    gaps: np.ndarray, by_chance: np.ndarray, units: Units, confidence: float, *, seed: int = 0
) -> Measurement:
    """Measures the sum over the bins of the absolute mean gaps.

    In small samples the error is too large, because a gap that is due to chance counts whatever its sign, and an
    ordinary bootstrap adds that bias once more. So the lower end is that of the error without its bias, and zero where
    a test does not reject perfect calibration; the upper end is that of the error as it is. Test, bias and spread come
    from gaps that are drawn from the normal distribution with the covariance of the measured ones over the units.

    Args:
        gaps: What each sample adds to the mean gap of each bin, (samples, bins).
        by_chance: The variance of the mean gap of each bin if the model is calibrated and samples are independent,
            (bins,). Few samples of high confidence have often no error at all and seem to vary less.
        units: The independently drawn units.
        confidence: Coverage of the interval.
        seed: Seed of the draws.
    """
    each = np.column_stack([units.gather(gaps[:, place]) for place in range(gaps.shape[1])])
    total, count = each.sum(axis=0), units.count
    error = float(np.abs(total).sum())
    if count < 2:
        return Measurement(Estimate(error), np.zeros(count))
    deviations = (each - total / count) * math.sqrt(count / (count - 1))
    normal = np.random.default_rng(seed).normal(size=(_DRAWS, len(total)))
    # What a unit adds has the mean zero if the model is calibrated, else that of all units.
    measured = each.T @ each
    calibrated = measured + np.diag((by_chance - measured.diagonal()).clip(0))
    of_calibrated = np.abs(normal @ _root(calibrated)).sum(axis=1)
    drawn = np.abs(total + normal @ _root(deviations.T @ deviations)).sum(axis=1)
    reach = quantile(confidence, count - 1) * float(drawn.std(ddof=1))
    may_be_calibrated = float((of_calibrated >= error).mean()) > 1 - confidence
    low = 0.0 if may_be_calibrated else max(2 * error - float(drawn.mean()) - reach, 0.0)
    return Measurement(Estimate(error, min(low, error), min(error + reach, 1.0)), deviations @ np.sign(total))


def _root(covariance: np.ndarray) -> np.ndarray:
    """Returns the symmetric square root, which, unlike other ones, hardly changes with the rounding of the sums."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T
