"""The tests against brute force, scipy, scikit-learn and numbers worked out by hand."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, brunnermunzel, ttest_1samp, ttest_ind, ttest_rel
from sklearn.metrics import roc_auc_score

from keras_lnn.errors import InputError
from keras_lnn.statistics import Estimate
from keras_lnn.statistics.deviations import (
    Units,
    auc_deviations,
    resampled_deviations,
    welch_degrees,
)
from keras_lnn.statistics.measurements import mean_of, measure_auc, measure_loss
from keras_lnn.statistics.paired_tests import (
    Measured,
    compare_accuracy,
    compare_auc,
    compare_means,
    holm,
    mcnemar,
    mean_over_runs,
)


def measured(values, deviations, degrees=math.inf, reach=math.nan):
    """Returns runs with symmetric intervals."""
    return Measured([Estimate(value, value - reach, value + reach) for value in values], deviations, degrees)


def macro_auc(positive, scores):
    units = Units(len(positive))
    return mean_of([measure_auc(*columns, units, 0.95) for columns in zip(positive.T, scores.T, strict=True)])


def brute_force_placements(positive, scores):
    """Each positive against each negative, one by one: 1 in the right order, a half for equal scores."""
    above, below = scores[positive], scores[~positive]
    pairs = np.array([[1.0 if a > b else 0.5 if a == b else 0.0 for b in below] for a in above])
    return pairs.mean(axis=1), pairs.mean(axis=0)


def brute_force_covariance(positive, first, second):
    """DeLong's covariance of two areas."""
    one, other = (brute_force_placements(positive, scores) for scores in (first, second))
    of_sides = [np.cov(a, b, ddof=1)[0, 1] / len(a) for a, b in zip(one, other, strict=True)]
    return sum(of_sides)


@st.composite
def scored_samples(draw):
    samples = draw(st.integers(4, 40))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    positive = generator.random(samples) < draw(st.sampled_from([0.2, 0.5, 0.8]))
    positive[:4] = [True, True, False, False]
    steps = draw(st.sampled_from([2, 5, 10**6]))
    return positive, generator.integers(0, steps, (2, samples)) / 7


@settings(deadline=None, max_examples=80)
@given(scored_samples())
def test_delong_equals_brute_force_over_all_pairs(drawn):
    positive, scores = drawn
    (first_area, first), (second_area, second) = (auc_deviations(positive, row) for row in scores)
    assert first_area == pytest.approx(roc_auc_score(positive, scores[0]), abs=1e-12)
    assert second_area == pytest.approx(roc_auc_score(positive, scores[1]), abs=1e-12)
    assert (first**2).sum() == pytest.approx(brute_force_covariance(positive, scores[0], scores[0]), abs=1e-12)
    assert first @ second == pytest.approx(brute_force_covariance(positive, *scores), abs=1e-12)


def test_delong_with_a_tie_equals_a_hand_computed_value():
    # Positives .8 and .5, negatives .5 and .2: placements 1 and .75 on either side, variances 1/32 each.
    area, deviations = auc_deviations(np.array([True, True, False, False]), np.array([0.8, 0.5, 0.5, 0.2]))
    assert area == 0.875
    np.testing.assert_allclose(np.abs(deviations), 0.125 / math.sqrt(2))
    assert (deviations**2).sum() == pytest.approx(1 / 32 / 2 + 1 / 32 / 2)


def test_delong_of_one_area_equals_brunner_and_munzel():
    generator = np.random.default_rng(3)
    positive = np.arange(30) < 12
    scores = np.round(generator.normal(size=30) + 0.7 * positive, 1)
    expected = brunnermunzel(scores[~positive], scores[positive])
    area, deviations = auc_deviations(positive, scores)
    statistic = (area - 0.5) / math.sqrt((deviations**2).sum())
    assert statistic == pytest.approx(expected.statistic)
    # A model that answers the same for all samples has an area of one half and no variance.
    found = compare_auc(positive, scores, np.zeros(30))
    assert found.value == pytest.approx(area - 0.5)
    assert found.p == pytest.approx(expected.pvalue)


def test_the_difference_of_areas_equals_a_hand_computed_value():
    positive = np.array([True, True, True, False, False, False])
    first, second = np.array([0.9, 0.8, 0.4, 0.5, 0.2, 0.1]), np.array([0.6, 0.9, 0.1, 0.7, 0.3, 0.2])
    # Placements of the first: 1, 1, 2/3 and 2/3, 1, 1; of the second: 2/3, 1, 0 and 1/3, 2/3, 2/3.
    apart = (np.array([1 / 3, 0, 2 / 3]), np.array([1 / 3, 1 / 3, 1 / 3]))
    found = compare_auc(positive, first, second)
    assert found.value == pytest.approx(8 / 9 - 5 / 9)
    assert found.standard_error == pytest.approx(math.sqrt(sum(np.var(side, ddof=1) / 3 for side in apart)))
    assert found.degrees == pytest.approx(2)


def test_the_auc_of_one_class_is_undefined():
    area, deviations = auc_deviations(np.ones(3, dtype=bool), np.array([0.1, 0.2, 0.3]))
    assert math.isnan(area)
    np.testing.assert_array_equal(deviations, 0)


def test_macro_area_is_the_mean_and_has_the_covariances_between_classes():
    generator = np.random.default_rng(5)
    positive = generator.random((60, 3)) < 0.4
    scores = generator.normal(size=(60, 3)) + positive
    found = macro_auc(positive, scores)
    assert found.value == pytest.approx(roc_auc_score(positive, scores, average="macro"))
    each = [auc_deviations(positive[:, index], scores[:, index])[1] for index in range(3)]
    covariances = [one @ other for one, other in itertools.product(each, repeat=2)]
    assert (found.deviations**2).sum() == pytest.approx(sum(covariances) / 9)
    with_empty = np.concatenate([positive, np.zeros((60, 1), bool)], axis=1)
    left_out = macro_auc(with_empty, np.concatenate([scores, scores[:, :1]], axis=1))
    assert left_out.estimate == found.estimate
    np.testing.assert_allclose(left_out.deviations, found.deviations)
    assert math.isnan(macro_auc(np.zeros((4, 2), bool), np.ones((4, 2))).value)


def test_the_macro_variance_equals_a_bootstrap():
    generator = np.random.default_rng(2)
    truth = np.arange(300) % 3
    scores = generator.normal(size=(300, 3)) + 1.2 * np.eye(3)[truth]
    deviations = macro_auc(truth[:, None] == np.arange(3), scores).deviations
    areas = []
    for _ in range(300):
        drawn = generator.integers(300, size=300)
        areas.append(np.mean([roc_auc_score(truth[drawn] == label, scores[drawn, label]) for label in range(3)]))
    assert math.sqrt((deviations**2).sum()) == pytest.approx(np.std(areas), rel=0.13)


def test_deviations_of_means_give_the_paired_t_test():
    generator = np.random.default_rng(0)
    first, second = generator.random((2, 25))
    losses = [measure_loss(values, 1.0, True, Units(25), 0.95) for values in (first, second)]
    runs = [measured([one.value], one.deviations[None]) for one in losses]
    found = compare_means(*runs, degrees=24)
    expected = ttest_rel(first, second)
    interval = expected.confidence_interval(0.95)
    assert (found.value, found.p) == (pytest.approx(first.mean() - second.mean()), pytest.approx(expected.pvalue))
    assert (found.low, found.high) == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_seeds_alone_give_welchs_test():
    # Nothing depends on the samples, so only the spread of the seeds is left.
    first, second = np.array([0.81, 0.83, 0.79, 0.85]), np.array([0.7, 0.9, 0.8])
    found = compare_means(measured(first, np.zeros((4, 9))), measured(second, np.zeros((3, 9))), degrees=8)
    expected = ttest_ind(first, second, equal_var=False)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.degrees == pytest.approx(expected.df)
    assert found.low == pytest.approx(expected.confidence_interval(0.95).low)


def test_the_joint_effect_of_seeds_and_samples_counts_once():
    generator = np.random.default_rng(1)
    common, own = generator.normal(size=50), generator.normal(size=(40, 50))
    first = measured(generator.normal(size=40), common + own)
    second = measured(np.zeros(1), np.zeros((1, 50)))
    found = compare_means(first, second)
    # The common part has 50 squares of about one; the seeds' own parts are in the spread of the values alone.
    of_samples = (first.deviations.mean(axis=0) ** 2).sum() - np.var(first.deviations, axis=0, ddof=1).sum() / 40
    assert found.standard_error**2 == pytest.approx(of_samples + np.var(first.values, ddof=1) / 40)
    assert of_samples == pytest.approx((common**2).sum(), rel=0.2)


def test_equal_constant_and_undefined_predictions_are_compared():
    same = compare_auc(np.array([1, 1, 0, 0], bool), np.array([0.9, 0.4, 0.5, 0.1]), np.array([0.9, 0.4, 0.5, 0.1]))
    assert (same.value, same.low, same.high, same.p) == (0, 0, 0, 1)
    perfect = compare_auc(np.array([1, 1, 0, 0], bool), np.array([0.9, 0.8, 0.2, 0.1]), np.zeros(4))
    assert perfect.value == 0.5
    assert math.isnan(perfect.p)
    assert math.isnan(perfect.low)
    undefined = compare_auc(np.ones(4, bool), np.arange(4.0), np.arange(4.0))
    assert math.isnan(undefined.value)
    assert math.isnan(undefined.p)


def test_degrees_of_freedom_equal_those_of_welchs_test():
    generator = np.random.default_rng(4)
    groups = np.repeat([0, 1], [6, 11])
    values = generator.normal(size=17) * np.where(groups, 3.0, 1.0)
    centred = values - np.where(groups, values[groups == 1].mean(), values[groups == 0].mean())
    sizes = np.where(groups, 11, 6)
    expected = ttest_ind(values[groups == 0], values[groups == 1], equal_var=False).df
    assert welch_degrees(centred / np.sqrt(sizes * (sizes - 1)), groups) == pytest.approx(expected)


def test_resampled_deviations_are_a_covariance():
    values = np.array([[1.0, 2.0, 4.0, 5.0], [0.0, 1.0, 1.0, 2.0]])
    deviations = resampled_deviations(values)
    np.testing.assert_allclose(deviations @ deviations.T, np.cov(values))
    with_gap = resampled_deviations(np.array([1.0, math.nan, 3.0]))
    np.testing.assert_allclose(with_gap, [-1, 0, 1])
    np.testing.assert_array_equal(resampled_deviations(np.full(3, math.nan)), 0)


def test_a_single_run_keeps_its_reported_interval():
    estimate = Estimate(0.8, 0.71, 0.86)
    assert mean_over_runs(Measured([estimate], np.array([[0.04]]))) == estimate


def test_mean_over_seeds_alone_is_a_t_interval():
    values = np.array([0.80, 0.84, 0.82])
    found = mean_over_runs(measured(values, np.zeros((3, 5)), 4, reach=0.0))
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_variances_of_samples_and_seeds_add_up():
    # All seeds do the same with each sample, so that their mean depends on the samples as one run does.
    found = mean_over_runs(measured(np.array([0.80, 0.82, 0.84]), np.full((3, 4), 0.01), 3, reach=0.05))
    # Student's quantile of two degrees of freedom is 4.303; the standard error is .02 / sqrt 3.
    reach = math.hypot(0.05, 4.302653 * 0.02 / math.sqrt(3))
    assert (found.low, found.high) == (pytest.approx(0.82 - reach), pytest.approx(0.82 + reach))


def test_interval_ends_past_a_limit_use_the_logit_scale():
    values = np.array([0.95, 0.99, 0.97])
    found = mean_over_runs(measured(values, np.zeros((3, 5)), 4, reach=0.0))
    reach = ttest_1samp(values, 0).confidence_interval(0.95).high - values.mean()
    assert found.low == pytest.approx(0.97 - reach)
    assert found.high == pytest.approx(1 / (1 + math.exp(-(math.log(0.97 / 0.03) + reach / (0.97 * 0.03)))))
    mirrored = mean_over_runs(measured(2 - 2 * values, np.zeros((3, 5)), 4, reach=0.0), highest=2.0)
    assert (mirrored.low, mirrored.high) == (pytest.approx(2 - 2 * found.high), pytest.approx(2 - 2 * found.low))


def test_seeds_that_err_on_different_samples_depend_less_on_the_samples():
    generator = np.random.default_rng(0)
    apart, alike = generator.normal(0, 0.004, (8, 60)), np.tile(generator.normal(0, 0.004, 60), (8, 1))
    wide, narrow = (mean_over_runs(measured(np.full(8, 0.8), rows, 7, reach=0.06)) for rows in (alike, apart))
    assert wide.high - wide.low == pytest.approx(0.12)
    assert narrow.high - narrow.low < 0.05


def test_partly_perfect_seeds_have_an_interval():
    runs = Measured([Estimate(1.0, 0.9, 1.0), Estimate(0.98, 0.88, 1.0)], np.zeros((2, 4)))
    found = mean_over_runs(runs)
    assert 0.8 < found.low < 0.9
    assert found.high == 1
    perfect = mean_over_runs(Measured([Estimate(1.0, 0.9, 1.0)] * 3, np.zeros((3, 4))))
    assert (perfect.low, perfect.high) == (pytest.approx(0.9), 1)


def test_mean_of_runs_without_intervals_has_none():
    found = mean_over_runs(measured(np.ones(2), np.zeros((2, 4))))
    assert found.value == 1
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_mean_with_a_huge_uncertainty_stays_within_the_limits():
    found = mean_over_runs(measured(np.array([0.999999, 0.1]), np.zeros((2, 3)), 2, reach=0.1))
    assert 0 <= found.low < found.value < found.high <= 1


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_equals_a_binomial_test(gained, lost):
    expected = binomtest(gained, gained + lost).pvalue if gained + lost else 1
    assert mcnemar(gained, lost, exact=True) == pytest.approx(expected)
    # Half of what is as likely as the observed table, on both sides.
    chances = np.array([math.comb(gained + lost, count) for count in range(gained + lost + 1)]) / 2.0 ** (gained + lost)
    rarer = chances[: min(gained, lost)].sum() + chances[min(gained, lost)] / 2
    assert mcnemar(gained, lost) == pytest.approx(min(2 * rarer, 1))
    assert mcnemar(lost, gained) == pytest.approx(mcnemar(gained, lost))


def test_accuracy_differences_equal_hand_computed_values():
    # Of 100 samples 10 are answered right by the first alone, 2 by the second alone.
    first = np.repeat([True, False, True, False], [10, 2, 70, 18])
    second = np.repeat([False, True, True, False], [10, 2, 70, 18])
    found = compare_accuracy(first, second)
    assert found.value == pytest.approx(0.08)
    # Twice the ways to have at most 2 of 12, of 4096; of those to have 2 half counts.
    assert mcnemar(10, 2, exact=True) == pytest.approx(2 * (1 + 12 + 66) / 4096)
    assert found.p == pytest.approx(2 * (1 + 12 + 33) / 4096)
    # One more sample each way: 11 and 3 of 102.
    assert found.low == pytest.approx(0.00816, abs=5e-6)
    assert found.high == pytest.approx(0.14870, abs=5e-6)


def test_equal_predictions_have_an_accuracy_interval_of_some_width():
    found = compare_accuracy(np.ones(50, bool), np.ones(50, bool))
    assert (found.value, found.p) == (0, 1)
    assert found.low < 0 < found.high


def test_holm_equals_hand_computed_values():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.5, math.nan, 0.04, 0.9]), [1, math.nan, 0.12, 1])
    assert holm([]).size == 0
    with pytest.raises(InputError, match="between 0 and 1"):
        holm([0.1, 1.2])


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_no_correction_and_bonferronis(values):
    corrected = holm(values)
    assert (corrected >= np.array(values) - 1e-15).all()
    assert (corrected <= np.minimum(np.array(values) * len(values), 1) + 1e-15).all()
    assert corrected.min() == pytest.approx(min(min(values) * len(values), 1))
