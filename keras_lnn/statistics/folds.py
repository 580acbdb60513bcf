"""What a metric is on average over the folds of a cross-validation, and how uncertain that mean is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from keras_lnn.statistics.intervals import Estimate
from keras_lnn.statistics.paired_tests import compare_resampled


def mean_over_folds(
    values: Sequence[float] | np.ndarray, test_over_train: float, *, highest: float = 1.0, confidence: float = 0.95
) -> Estimate:
    """Returns the mean of a metric over folds with the interval of the corrected resampled t.

    The models of the folds share most of their training samples, so their metrics are not independent, and s^2 / k is
    too small for the variance of their mean over k folds: no unbiased estimate of it exists (Bengio and Grandvalet
    2004, Journal of Machine Learning Research 5, 1089). Nadeau and Bengio (2003) put s^2 (1 / k + test / train) in its
    place, with Student's quantile of k - 1 degrees of freedom; Bouckaert and Frank (2004), "Evaluating the
    replicability of significance tests for comparing learning algorithms", use the same for repeated folds, where k
    counts the folds of all repeats.

    Args:
        values: The metric of each fold of each repeat; those that are not defined are left out.
        test_over_train: Ratio of the test samples of a fold to its training samples.
        highest: The upper limit of the metric; the lower is 0.
        confidence: Coverage of the interval.

    Returns:
        The mean; its ends are nan where fewer than two folds have the metric, or where it is the same in all.
    """
    numbers = np.asarray(values, dtype=np.float64)
    found = compare_resampled(numbers[~np.isnan(numbers)], test_over_train, confidence=confidence)
    if math.isnan(found.low) or found.standard_error == 0:
        return Estimate(found.value)
    return Estimate(found.value, max(found.low, 0.0), min(found.high, highest))
