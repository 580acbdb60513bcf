"""The bootstrap against theory."""

import math

import numpy as np
import pytest

from keras_lnn.errors import InputError
from keras_lnn.statistics import Estimate
from keras_lnn.statistics.bootstrap import bootstrap, bounded_interval, defined_mean, resample_weights
from keras_lnn.statistics.intervals import proportion_interval, quantile


def test_resamples_are_draws_with_replacement():
    samples, resamples = 50, 1500
    weights = np.concatenate(list(resample_weights(samples, resamples, seed=3)))
    assert weights.shape == (resamples, samples)
    np.testing.assert_array_equal(weights.sum(axis=1), samples)
    # A count is binomial(n, 1/n): mean 1, variance 1 - 1/n, and two counts of a row correlate by -1/(n - 1).
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=5 / np.sqrt(resamples))
    assert weights.var() == pytest.approx(1 - 1 / samples, abs=0.02)
    assert (weights == 0).mean() == pytest.approx((1 - 1 / samples) ** samples, abs=0.01)
    assert np.corrcoef(weights[:-1].ravel(), weights[1:].ravel())[0, 1] == pytest.approx(0, abs=0.02)


def test_resamples_depend_only_on_the_seed(monkeypatch):
    many = np.concatenate(list(resample_weights(20, 70, seed=1)))
    few = np.concatenate(list(resample_weights(20, 33, seed=1)))
    np.testing.assert_array_equal(many[:33], few)
    assert not np.array_equal(many, np.concatenate(list(resample_weights(20, 70, seed=2))))
    monkeypatch.setattr("keras_lnn.statistics.bootstrap._WEIGHTS_PER_CHUNK", 60)
    chunks = list(resample_weights(20, 70, seed=1))
    assert {len(chunk) for chunk in chunks} == {1, 3}
    np.testing.assert_array_equal(np.concatenate(chunks), many)


@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_accuracy_intervals_have_their_nominal_coverage(confidence):
    generator = np.random.default_rng(5)
    # Between two of the steps of 1/200 that an accuracy takes, so that hitting an end of the interval is no question.
    true_accuracy, samples, experiments = 0.7025, 200, 300
    covered = 0
    for seed in range(experiments):
        correct = generator.random(samples) < true_accuracy
        (estimate,) = bootstrap(
            lambda weights, correct=correct: (weights @ correct)[None] / samples,
            samples,
            resamples=300,
            seed=seed,
            confidence=confidence,
        )
        assert estimate.value == pytest.approx(correct.mean())
        covered += estimate.low <= true_accuracy <= estimate.high
    three_standard_errors = 3 * np.sqrt(confidence * (1 - confidence) / experiments)
    assert covered / experiments == pytest.approx(confidence, abs=three_standard_errors)


def test_bounded_intervals_stay_within_their_limits():
    generator = np.random.default_rng(0)
    resampled = np.concatenate([generator.normal(0.97, 0.02, 4000), [np.nan] * 7])
    low, high = bounded_interval(0.97, resampled, 0.95, 1.0, 1000)
    assert 0.88 < low < 0.97 < high < 1.0
    assert 0.97 - low > high - 0.97
    mirrored = bounded_interval(0.03, 1 - resampled, 0.95, 1.0, 1000)
    assert mirrored == (pytest.approx(1 - high), pytest.approx(1 - low))
    assert bounded_interval(1.94, 2 * resampled, 0.95, 2.0, 1000) == (pytest.approx(2 * low), pytest.approx(2 * high))
    narrow = generator.normal(0.5, 1e-3, 4000)
    expected = np.percentile(narrow, [2.5, 97.5])
    assert bounded_interval(0.5, narrow, 0.95, 1.0, 1000) == pytest.approx(expected, abs=2e-4)


def test_few_units_use_students_quantile_and_a_corrected_variance():
    resampled = np.random.default_rng(0).normal(0.5, 1e-4, 4000)
    low, high = bounded_interval(0.5, resampled, 0.95, 1.0, 5)
    # 2.776 is Student's quantile of four degrees of freedom; the variance of five grows by 5 / 4.
    reach = 2.776 * resampled.std(ddof=1) * math.sqrt(5 / 4)
    assert (low, high) == (pytest.approx(0.5 - reach, rel=1e-4), pytest.approx(0.5 + reach, rel=1e-4))


def test_constant_values_have_a_proportion_bound_or_nan():
    perfect = np.ones(9)
    assert bounded_interval(1.0, perfect, 0.9, 1.0, 12) == proportion_interval(1.0, 12, quantile(0.9, 11))
    assert bounded_interval(1.0, perfect, 0.95, 1.0, 12)[0] < 0.8
    assert np.isnan(bounded_interval(0.0, np.zeros(9), 0.9, 40.0, 12)).all()
    assert np.isnan(bounded_interval(0.5, np.full(9, 0.5), 0.9, 1.0, 12)).all()
    assert np.isnan(bounded_interval(0.5, np.full(9, np.nan), 0.9, 1.0, 12)).all()


@pytest.mark.parametrize("patients", [5, 12])
def test_intervals_over_few_patients_hold_the_true_dice(patients):
    generator = np.random.default_rng(patients)
    # Pixels in common, and of both masks together, of each patient; Dice is a ratio of their sums.
    true_dice, experiments, held = 0.8, 300, 0
    for seed in range(experiments):
        sizes = generator.gamma(4.0, 100.0, patients)
        common = sizes * generator.beta(8.0, 2.0, patients)
        (estimate,) = bootstrap(
            lambda weights, common=common, sizes=sizes: (weights @ common / (weights @ sizes))[None],
            patients,
            resamples=200,
            seed=seed,
        )
        held += estimate.low <= true_dice <= estimate.high
    assert 0.92 <= held / experiments <= 0.985


def test_means_over_no_values_are_nan():
    np.testing.assert_array_equal(
        defined_mean(np.array([[1.0, np.nan, np.nan], [3.0, 5.0, np.nan]])), [2.0, 5.0, np.nan]
    )


def test_progress_reaches_one():
    heard = []
    bootstrap(lambda weights: weights[:, :1].T, 4, resamples=100, progress=heard.append)
    assert len(heard) > 1
    assert heard == sorted(heard)
    assert heard[-1] == 1.0


def test_an_estimate_is_converted_to_json():
    assert Estimate(0.5, 0.25, 0.75).to_json() == {"value": 0.5, "low": 0.25, "high": 0.75}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"units": 0}, "at least one sample. Received: 0"),
        ({"resamples": 0}, "resamples must be at least 1. Received: 0"),
        ({"confidence": 95}, "confidence must lie between 0 and 1. Received: 95"),
    ],
)
def test_invalid_arguments_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        bootstrap(lambda weights: weights[:, :1].T, **{"units": 4, **arguments})
