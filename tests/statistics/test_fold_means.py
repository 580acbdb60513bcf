"""The mean of a metric over the folds of a cross-validation."""

import math

import numpy as np
import pytest
from scipy import stats

from keras_lnn.statistics.folds import mean_over_folds


def test_the_interval_is_that_of_the_corrected_resampled_t():
    values = np.array([0.81, 0.86, 0.79, 0.84, 0.88])
    found = mean_over_folds(values, 1 / 3)
    reach = stats.t.ppf(0.975, 4) * math.sqrt(values.var(ddof=1) * (1 / 5 + 1 / 3))
    assert found.value == pytest.approx(0.836)
    assert (found.low, found.high) == pytest.approx((0.836 - reach, 0.836 + reach))


def test_it_stays_within_the_limits_of_the_metric_and_leaves_out_what_is_not_defined():
    found = mean_over_folds([0.99, 0.6, math.nan, 1.0], 1.0)
    assert found.value == pytest.approx(np.mean([0.99, 0.6, 1.0]))
    assert found.high == 1.0
    assert mean_over_folds([1.9, 1.2, 0.4], 1.0, highest=2.0).high == 2.0
    assert mean_over_folds([0.1, 0.9, 0.0], 1.0).low == 0.0


@pytest.mark.parametrize("values", [[0.9], [1.0, 1.0, 1.0], [math.nan, 0.8]])
def test_without_any_spread_there_is_no_interval(values):
    found = mean_over_folds(values, 0.5)
    assert found.value == pytest.approx(np.nanmean(values))
    assert math.isnan(found.low)
    assert math.isnan(found.high)


@pytest.mark.slow
def test_it_contains_the_expected_accuracy_of_the_folds_of_a_simple_learner():
    """The nearest mean of two classes; s^2 / k alone covers far less."""
    generator, folds, size, covered, naive = np.random.default_rng(0), 5, 60, 0, 0
    expected = []
    for _ in range(600):
        truth = np.arange(size) % 2
        points = generator.normal(size=(size, 4)) + 0.6 * truth[:, None]
        order = generator.permutation(size)
        values = []
        for number in range(folds):
            test = order[number::folds]
            train = np.setdiff1d(order, [*test, *order[(number + 1) % folds :: folds]])
            centres = [points[train][truth[train] == name].mean(axis=0) for name in (0, 1)]
            distance = [((points[test] - centre) ** 2).sum(axis=1) for centre in centres]
            values.append(float(((distance[1] < distance[0]) == truth[test]).mean()))
        expected.append(values)
    mean = np.mean(expected)
    for values in expected:
        found = mean_over_folds(values, 1 / 3)
        covered += found.low <= mean <= found.high or math.isnan(found.low)
        naive += abs(np.mean(values) - mean) <= stats.t.ppf(0.975, 4) * np.std(values, ddof=1) / math.sqrt(5)
    assert covered / 600 > 0.93
    assert covered > naive
