"""Weighted metrics against scikit-learn's sample weights, and the bootstrap against theory."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from keras_lnn.errors import InputError
from keras_lnn.statistics import (
    Confusion,
    Estimate,
    Ranking,
    bootstrap,
    bounded_interval,
    defined_mean,
    divide_or_zero,
    percentile_interval,
    resample_weights,
    weighted_sums,
)


@st.composite
def weighted_scores(draw):
    """Labels of both kinds, scores of few values (many ties) and whole weights with some positive of each kind."""
    samples = draw(st.integers(2, 40))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    positive = generator.random(samples) < draw(st.sampled_from([0.1, 0.5, 0.9]))
    positive[:2] = [True, False]
    scores = generator.integers(0, draw(st.sampled_from([1, 3, 10, 10**6])), size=samples, endpoint=True) / 7
    weights = generator.integers(0, 4, size=(3, samples)).astype(float)
    weights[:, :2] += 1
    return positive, scores, weights


@settings(deadline=None, max_examples=100)
@given(weighted_scores())
def test_ranking_is_scikit_learn_with_sample_weights(drawn):
    positive, scores, weights = drawn
    auc, average_precision = Ranking(positive, scores).auc_and_average_precision(weights)
    expected_auc = [roc_auc_score(positive, scores, sample_weight=row) for row in weights]
    expected_precision = [average_precision_score(positive, scores, sample_weight=row) for row in weights]
    np.testing.assert_allclose(auc, expected_auc, rtol=0, atol=1e-12)
    np.testing.assert_allclose(average_precision, expected_precision, rtol=0, atol=1e-12)


def test_ranking_by_hand():
    # Pairs (positive, negative): .8>.5, .8>.2, .5=.5 (half), .5>.2, so 3.5 of 4.
    auc, average_precision = Ranking(np.array([1, 1, 0, 0]), np.array([0.8, 0.5, 0.5, 0.2])).auc_and_average_precision(
        np.ones((1, 4))
    )
    assert auc[0] == pytest.approx(3.5 / 4)
    assert average_precision[0] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


@pytest.mark.parametrize(("positive", "average_precision"), [([0, 0, 0], 0.0), ([1, 1, 1], 1.0)])
def test_ranking_of_one_class_has_no_auc(positive, average_precision):
    auc, precision = Ranking(np.array(positive), np.array([0.1, 0.2, 0.2])).auc_and_average_precision(np.ones((2, 3)))
    assert np.isnan(auc).all()
    np.testing.assert_array_equal(precision, average_precision)


def test_ranking_where_the_weights_leave_one_class():
    weights = np.array([[2.0, 0.0, 1.0], [0.0, 3.0, 0.0], [1.0, 1.0, 1.0]])
    auc, average_precision = Ranking(np.array([1, 0, 1]), np.array([0.9, 0.5, 0.1])).auc_and_average_precision(weights)
    np.testing.assert_array_equal(auc, [np.nan, np.nan, 0.5])
    np.testing.assert_allclose(average_precision, [1.0, 0.0, 0.5 + 0.5 * 2 / 3])


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
def test_confusion_is_scikit_learn_with_sample_weights(seed, classes):
    generator = np.random.default_rng(seed)
    truth, answer = generator.integers(classes, size=(2, 12))
    weights = generator.integers(0, 3, size=(2, 12)).astype(float)
    weights[:, 0] += 1
    positive, predicted = truth[:, None] == np.arange(classes), answer[:, None] == np.arange(classes)
    confusion = Confusion.from_sums(weighted_sums(Confusion.terms(positive, predicted), weights))
    for index, row in enumerate(weights):
        options = {"labels": range(classes), "average": None, "sample_weight": row, "zero_division": 0}
        specificity = [
            recall_score(truth != label, answer != label, sample_weight=row, zero_division=0)
            for label in range(classes)
        ]
        for ours, expected in [
            (confusion.f1(), f1_score(truth, answer, **options)),
            (confusion.precision(), precision_score(truth, answer, **options)),
            (confusion.sensitivity(), recall_score(truth, answer, **options)),
            (confusion.specificity(), specificity),
        ]:
            np.testing.assert_allclose(ours[:, index], expected, rtol=0, atol=1e-12)


def test_sums_do_not_depend_on_how_the_weights_lie_in_memory():
    generator = np.random.default_rng(0)
    terms, weights = generator.normal(size=(4, 9)), generator.random((5, 9))
    for order in "CF":
        sums = weighted_sums(csr_array(terms), np.asarray(weights, order=order))
        np.testing.assert_allclose(sums, np.einsum("gs,rs->gr", terms, weights), rtol=1e-13)


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


def test_resamples_follow_the_seed_and_not_the_number_or_the_chunks(monkeypatch):
    many = np.concatenate(list(resample_weights(20, 70, seed=1)))
    few = np.concatenate(list(resample_weights(20, 33, seed=1)))
    np.testing.assert_array_equal(many[:33], few)
    assert not np.array_equal(many, np.concatenate(list(resample_weights(20, 70, seed=2))))
    monkeypatch.setattr("keras_lnn.statistics._WEIGHTS_A_CHUNK", 60)
    chunks = list(resample_weights(20, 70, seed=1))
    assert {len(chunk) for chunk in chunks} == {1, 3}
    np.testing.assert_array_equal(np.concatenate(chunks), many)


@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_intervals_of_an_accuracy_cover_it_as_often_as_they_say(confidence):
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
    low, high = bounded_interval(0.97, resampled, 0.95, 1.0)
    assert 0.88 < low < 0.97 < high < 1.0
    assert 0.97 - low > high - 0.97
    mirrored = bounded_interval(0.03, 1 - resampled, 0.95, 1.0)
    assert mirrored == (pytest.approx(1 - high), pytest.approx(1 - low))
    assert bounded_interval(1.94, 2 * resampled, 0.95, 2.0) == (pytest.approx(2 * low), pytest.approx(2 * high))
    narrow = generator.normal(0.5, 1e-3, 4000)
    assert bounded_interval(0.5, narrow, 0.95, 1.0) == pytest.approx(np.percentile(narrow, [2.5, 97.5]), abs=2e-4)
    assert bounded_interval(1.0, resampled, 0.9, 1.0) == percentile_interval(resampled, 0.9)
    assert bounded_interval(0.5, np.full(9, 0.5), 0.9, 1.0) == (0.5, 0.5)


def test_percentile_interval_leaves_out_what_is_not_defined():
    values = np.arange(101.0)
    assert percentile_interval(values, 0.9) == (pytest.approx(5), pytest.approx(95))
    assert percentile_interval(np.concatenate([values, [np.nan] * 50]), 0.9) == (pytest.approx(5), pytest.approx(95))
    assert np.isnan(percentile_interval(np.full(3, np.nan), 0.9)).all()


def test_ratios_and_means_of_nothing():
    np.testing.assert_array_equal(divide_or_zero(np.array([1.0, 0.0, 3.0]), np.array([2.0, 0.0, 0.0])), [0.5, 0, 0])
    np.testing.assert_array_equal(
        defined_mean(np.array([[1.0, np.nan, np.nan], [3.0, 5.0, np.nan]])), [2.0, 5.0, np.nan]
    )


def test_progress_ends_at_one():
    heard = []
    bootstrap(lambda weights: weights[:, :1].T, 4, resamples=100, progress=heard.append)
    assert len(heard) > 1
    assert heard == sorted(heard)
    assert heard[-1] == 1.0


def test_estimate_to_json():
    assert Estimate(0.5, 0.25, 0.75).to_json() == {"value": 0.5, "low": 0.25, "high": 0.75}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"samples": 0}, "at least one sample. Received: 0"),
        ({"resamples": 0}, "resamples must be at least 1. Received: 0"),
        ({"confidence": 95}, "confidence must lie between 0 and 1. Received: 95"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(InputError, match=message):
        bootstrap(lambda weights: weights[:, :1].T, **{"samples": 4, **arguments})
