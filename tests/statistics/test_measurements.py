"""Each kind of metric against scikit-learn, the jackknife, and simulations of known truth."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.coverage import Setting, measure_coverage, settings_of_images, settings_of_patients
from keras_lnn.errors import InputError
from keras_lnn.statistics import Estimate
from keras_lnn.statistics.deviations import (
    Units,
    auc_deviations,
    average_precision_deviations,
    correlations,
    tailed_degrees,
)
from keras_lnn.statistics.intervals import (
    auc_interval,
    interval_of_mean,
    mean_interval,
    proportion_interval,
    quantile,
)
from keras_lnn.statistics.measurements import measure_auc, measure_f1, measure_proportion
from keras_lnn.statistics.paired_tests import Measured, compare_accuracy, compare_auc, compare_means

NORMAL = 1.959964


@st.composite
def scored_samples(draw):
    samples = draw(st.integers(3, 30))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    positive = generator.random(samples) < draw(st.sampled_from([0.1, 0.5, 0.9]))
    positive[0] = True
    return positive, generator.integers(0, draw(st.sampled_from([1, 3, 10**6])), size=samples, endpoint=True) / 7


@settings(deadline=None, max_examples=100)
@given(scored_samples())
def test_average_precision_equals_scikit_learn_and_its_jackknife(drawn):
    positive, scores = drawn
    value, deviations = average_precision_deviations(positive, scores)
    assert value == pytest.approx(average_precision_score(positive, scores), abs=1e-12)
    samples = len(positive)
    if positive.sum() < 2:
        np.testing.assert_array_equal(deviations, 0)
        return
    rest = [np.delete(np.arange(samples), place) for place in range(samples)]
    left_out = np.array([average_precision_score(positive[rows], scores[rows]) for rows in rest])
    jackknife = (samples - 1) / samples * ((left_out - left_out.mean()) ** 2).sum()
    assert (deviations**2).sum() == pytest.approx(jackknife, abs=1e-12)


def test_average_precision_without_positives_is_zero():
    assert average_precision_deviations(np.zeros(3, bool), np.arange(3.0))[0] == 0


def test_auc_with_a_tie_equals_a_hand_computed_value():
    # Pairs (positive, negative): .8>.5, .8>.2, .5=.5 (half), .5>.2, so 3.5 of 4.
    found = measure_auc(np.array([1, 1, 0, 0], bool), np.array([0.8, 0.5, 0.5, 0.2]), Units(4), 0.95)
    assert found.value == 3.5 / 4
    assert found.estimate.low < found.value < found.estimate.high == pytest.approx(1, abs=0.02)


def test_proportions_equal_hand_computed_values():
    # Agresti and Coull: two successes and two failures more, at 1.96.
    low, high = proportion_interval(0.7, 40, NORMAL)
    share = (28 + NORMAL**2 / 2) / (40 + NORMAL**2)
    reach = NORMAL * math.sqrt(share * (1 - share) / (40 + NORMAL**2))
    assert (low, high) == (pytest.approx(share - reach), pytest.approx(share + reach))
    assert proportion_interval(1.0, 12, NORMAL) == (pytest.approx(0.718, abs=1e-3), 1.0)
    assert proportion_interval(0.0, 12, NORMAL) == (0.0, pytest.approx(0.282, abs=1e-3))


@pytest.mark.parametrize("samples", [30, 60, 156])
def test_proportion_intervals_have_their_coverage_for_every_share(samples):
    from scipy.stats import binom

    shares = np.linspace(0.5, 0.995, 100)
    ends = np.array([proportion_interval(count / samples, samples, NORMAL) for count in range(samples + 1)])
    chances = binom.pmf(np.arange(samples + 1), samples, shares[:, None])
    held = (chances * ((ends[:, 0] <= shares[:, None]) & (shares[:, None] <= ends[:, 1]))).sum(axis=1)
    assert held.min() > 0.93
    assert held.mean() < 0.97


def test_f1_is_a_share_of_the_samples_that_either_side_names():
    counts = [8, 2, 3, 20]
    positive, predicted = np.repeat([1, 1, 0, 0], counts) > 0, np.repeat([1, 0, 1, 0], counts) > 0
    found = measure_f1(positive, predicted, Units(33), 0.95)
    assert found.value == pytest.approx(16 / 21)
    share = proportion_interval(8 / 13, 13, quantile(0.95))
    assert (found.estimate.low, found.estimate.high) == tuple(pytest.approx(2 * end / (1 + end)) for end in share)
    # By the delta method: F1 changes by 2 / (1 + J)^2 times as much as J, whose variance is J (1 - J) / 12.
    slope = 2 / (1 + 8 / 13) ** 2
    assert (found.deviations**2).sum() == pytest.approx(slope**2 * (8 / 13) * (5 / 13) / 12)


def test_auc_intervals_hold_values_within_their_own_errors():
    low, high = auc_interval(0.8, 20, 50, 0.0, NORMAL)
    assert 0.65 < low < 0.8 < high < 0.92
    assert auc_interval(0.2, 20, 50, 0.0, NORMAL) == (pytest.approx(1 - high), pytest.approx(1 - low))
    # The same area with a larger variance than two equal normal distributions have.
    wide = auc_interval(0.8, 20, 50, 0.02, NORMAL)
    assert wide[0] < low
    assert wide[1] > high
    bound = auc_interval(1.0, 12, 30, 0.0, NORMAL)
    assert 0.8 < bound[0] < bound[1] == 1
    assert auc_interval(1.0, 120, 300, 0.0, NORMAL)[0] > bound[0]


def test_mean_losses_equal_hand_computed_values():
    # On the logit scale .8 is ln 4, and the standard error .04 is .04 / .16 = .25.
    ends = [1 / (1 + math.exp(-(math.log(4) + sign * NORMAL * 0.25))) for sign in (-1, 1)]
    assert mean_interval(0.8, 0.04**2, 1.0, NORMAL) == (pytest.approx(ends[0]), pytest.approx(ends[1]))
    doubled = mean_interval(1.6, 0.08**2, 2.0, NORMAL)
    assert doubled == (pytest.approx(2 * ends[0]), pytest.approx(2 * ends[1]))
    for value, variance in ((0.0, 1.0), (1.0, 1.0), (0.5, 0.0)):
        assert np.isnan(mean_interval(value, variance, 1.0, NORMAL)).all()
    assert 0 <= mean_interval(1e-9, 1.0, 1.0, NORMAL)[0] <= mean_interval(1e-9, 1.0, 1.0, NORMAL)[1] <= 1


def test_the_mean_of_several_estimates_has_an_interval():
    parts = [Estimate(0.8, 0.7, 0.85), Estimate(0.6, 0.4, 0.7)]
    alone = interval_of_mean(parts, np.eye(2))
    assert alone == (
        pytest.approx(0.7 - math.hypot(0.1, 0.2) / 2),
        pytest.approx(0.7 + math.hypot(0.05, 0.1) / 2),
    )
    together = interval_of_mean(parts, np.ones((2, 2)))
    assert together == (pytest.approx(0.7 - 0.3 / 2), pytest.approx(0.7 + 0.15 / 2))
    assert interval_of_mean([parts[0], Estimate(0.2)], np.eye(2)) == (pytest.approx(0.45), pytest.approx(0.525))
    assert np.isnan(interval_of_mean([Estimate(0.2)], np.eye(1))).all()


def test_constant_estimates_count_as_fully_correlated():
    rows = [np.array([1.0, -1.0, 0.0]), np.array([-2.0, 2.0, 0.0]), np.zeros(3)]
    np.testing.assert_allclose(correlations(rows), [[1, -1, 1], [-1, 1, 1], [1, 1, 1]])


def test_heavy_tails_leave_few_degrees_of_freedom():
    generator = np.random.default_rng(0)
    # Kurtosis 3 gives the degrees of the normal theory, and one value alone hardly any.
    assert tailed_degrees(generator.normal(size=100_000)) == pytest.approx(100_000, rel=0.05)
    assert tailed_degrees(np.r_[10.0, np.full(99, 0.01)]) == pytest.approx(2, rel=0.05)
    assert tailed_degrees(np.zeros(5)) == math.inf


def test_deviations_are_summed_within_patients():
    groups = ["a", "b", "a", "c"]
    units = Units(4, groups)
    assert (units.count, units.count_with(np.array([True, False, True, False]))) == (3, 1)
    np.testing.assert_allclose(units.gather(np.array([1.0, 2.0, 3.0, 4.0])), [4, 2, 4])
    np.testing.assert_allclose(units.gather(np.ones(4), 3), np.array([2, 1, 1]) * math.sqrt(3 / 2))
    np.testing.assert_array_equal(units.strata(np.array([0, 1, 0, 1])), [0, 1, 1])
    assert units.strata(np.array([0, 1, 1, 1])) is None


def test_one_image_per_patient_equals_no_patients():
    generator = np.random.default_rng(1)
    positive = np.arange(40) < 15
    scores = generator.normal(size=40) + positive
    alone, named = (measure_auc(positive, scores, Units(40, groups), 0.95) for groups in (None, np.arange(40)))
    assert named.value == alone.value
    np.testing.assert_allclose(np.sort(named.deviations), np.sort(alone.deviations))


def test_obuchowskis_variance_equals_a_bootstrap_of_patients():
    generator = np.random.default_rng(2)
    truth, probabilities, groups = Setting(480, 0.4, 1.2, False, 80, 0.5).draw(generator)
    places = np.array(groups, int)
    found = measure_auc(truth == 1, probabilities[:, 1], Units(480, groups), 0.95)
    areas = []
    for _ in range(300):
        rows = np.concatenate([np.flatnonzero(places == patient) for patient in generator.integers(80, size=80)])
        areas.append(roc_auc_score(truth[rows], probabilities[rows, 1]))
    assert math.sqrt(np.sum(found.deviations**2)) == pytest.approx(np.std(areas), rel=0.15)
    assert np.sum(found.deviations**2) > 2 * np.sum(auc_deviations(truth == 1, probabilities[:, 1])[1] ** 2)


@pytest.mark.parametrize("by_patient", [True, False])
def test_only_intervals_over_patients_have_their_coverage(by_patient):
    held = measure_coverage(Setting(240, 0.4, 1.2, False, 40, 0.5, by_patient), 300, world=200_000)
    # 300 experiments give a share of .95 to within .0126; this is two of its errors beyond .93 and .98.
    assert {name: share for name, (share, _) in held.items() if not 0.905 <= share <= 0.99} == {}


def test_only_tests_over_patients_have_their_nominal_error_rate():
    world = Setting(240, 0.4, 1.2, False, 40, 0.5)
    generator, rejected = np.random.default_rng(3), {"DeLong": [], "McNemar": [], "AUC": [], "accuracy": []}
    for _ in range(300):
        truth, _, groups = world.draw(generator)
        positive, units = truth == 1, Units(240, groups)
        of_patient = generator.standard_normal((2, 40))[:, np.array(groups, int)]
        noise = generator.standard_normal((2, 240))
        scores = 1.2 * positive + math.sqrt(0.5) * of_patient + math.sqrt(0.5) * noise
        right = (scores > 0.6) == positive
        rejected["DeLong"].append(compare_auc(positive, *scores).p < 0.05)
        rejected["McNemar"].append(compare_accuracy(*right).p < 0.05)
        everything = np.ones(240, bool)
        for name, pair in (
            ("AUC", [measure_auc(positive, row, units, 0.95) for row in scores]),
            ("accuracy", [measure_proportion(row, everything, units, 0.95) for row in right]),
        ):
            runs = [Measured([found.estimate], found.deviations[None]) for found in pair]
            rejected[name].append(compare_means(*runs, degrees=39).p < 0.05)
    shares = {name: float(np.mean(found)) for name, found in rejected.items()}
    assert shares["DeLong"] > 0.15
    assert shares["McNemar"] > 0.12
    assert 0.02 <= shares["AUC"] <= 0.09
    assert 0.02 <= shares["accuracy"] <= 0.09


@pytest.mark.parametrize("setting", [Setting(60, 0.05, 2.0), Setting(156, 0.2, 1.4, True)], ids=["60-rare", "156"])
def test_intervals_have_their_coverage_for_few_images_and_rare_classes(setting):
    held = measure_coverage(setting, 300, world=200_000)
    # Where a class has three samples, shares take four values, and no interval can hold them in 95% of cases.
    assert {name: share for name, (share, _) in held.items() if not 0.9 <= share <= 0.997} == {}


@pytest.mark.slow
@pytest.mark.parametrize("setting", [*settings_of_images(), *settings_of_patients()], ids=str)
def test_intervals_have_their_coverage_in_every_setting(setting):
    held = measure_coverage(setting, 500)
    few = setting.images * setting.positives < 10
    # Two errors of 500 experiments beyond .93 and .98; with less than ten samples of a class shares jump.
    low, high = (0.88, 1.0) if few or setting.patients == 12 else (0.91, 0.995)
    given = {name: share for name, (share, printed) in held.items() if printed > 0.2}
    assert {name: share for name, share in given.items() if not low <= share <= high} == {}


@pytest.mark.parametrize("confidence", [0, 1, 95])
def test_an_invalid_confidence_is_refused(confidence):
    with pytest.raises(InputError, match="confidence must lie between 0 and 1"):
        quantile(confidence)
