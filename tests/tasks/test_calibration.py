"""Calibration of logits: known temperatures, likelihoods of an independent optimiser, and cases without an answer."""

import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from keras_lnn.tasks.calibration import FEWEST_SAMPLES, Calibration, fit_calibration


def draw_classes(classes, samples=4000, temperature=1.0, seed=0):
    """Logits of samples whose classes are drawn by the softmax of the logits, which are then multiplied."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 1.5, (samples, classes))
    truth = (softmax(logits, axis=1).cumsum(axis=1) < generator.random((samples, 1))).sum(axis=1)
    return logits * temperature, truth


def draw_labels(labels, samples=4000, temperatures=1.0, seed=0):
    generator = np.random.default_rng(seed)
    logits = generator.normal(-1, 1.5, (samples, labels))
    return logits * temperatures, (generator.random(logits.shape) < expit(logits)).astype(np.uint8)


@pytest.mark.parametrize("temperature", [0.2, 1.0, 4.0])
@pytest.mark.parametrize("classes", [2, 5])
def test_a_known_temperature_is_recovered(classes, temperature):
    logits, truth = draw_classes(classes, temperature=temperature)
    found, note = fit_calibration(logits, truth, "temperature")
    assert note == ""
    # Four thousand samples give a scale with a standard error of about 3%.
    assert 1 / found.scales[0] == pytest.approx(temperature, rel=0.1)


def test_each_label_has_a_temperature_of_its_own():
    known = np.array([0.5, 1.0, 3.0])
    found, _ = fit_calibration(*draw_labels(3, temperatures=known), "temperature")
    np.testing.assert_allclose(1 / np.array(found.scales), known, rtol=0.15)
    assert found.offsets == ()


def smoothed(truth, classes):
    """Each sample once for each class, and the weights under which one sample in sum has a wrong class."""
    wrong = 1 / (len(truth) + 2)
    labels = np.tile(np.arange(classes), len(truth))
    rows = np.repeat(np.arange(len(truth)), classes)
    return rows, labels, np.where(labels == truth[rows], 1 - wrong, wrong / (classes - 1)) / len(truth)


@pytest.mark.parametrize("classes", [2, 4])
def test_the_temperature_has_the_likelihood_of_an_independent_optimiser(classes):
    logits, truth = draw_classes(classes, samples=150, temperature=2.5, seed=3)
    (scale,) = fit_calibration(logits, truth, "temperature")[0].scales
    rows, labels, weights = smoothed(truth, classes)

    def loss(factor):
        return log_loss(labels, softmax(factor * logits[rows], axis=1), sample_weight=weights)

    by_scipy = minimize_scalar(loss, bounds=(0.01, 20), method="bounded")
    assert loss(scale) <= by_scipy.fun + 1e-9
    assert scale == pytest.approx(by_scipy.x, rel=1e-3)


def test_two_classes_and_each_label_are_scaled_as_by_a_logistic_regression():
    logits, truth = draw_classes(2, samples=300, temperature=0.4, seed=5)
    truth[:40] = 1  # more positives than the logits say
    found, _ = fit_calibration(logits, truth, "vector")
    rows, labels, weights = smoothed(truth, 2)
    scores = (logits[:, 1] - logits[:, 0])[:, None]
    platt = LogisticRegression(C=np.inf, tol=1e-10).fit(scores[rows], labels, sample_weight=weights * 300)
    slope, intercept = platt.coef_[0, 0], platt.intercept_[0]
    assert (*found.scales, found.offsets[1]) == pytest.approx((slope, intercept), rel=1e-3)
    by_label, _ = fit_calibration(scores * [1, -1], np.stack([truth, 1 - truth], axis=1), "vector")
    assert by_label.scales == pytest.approx([slope] * 2, rel=1e-3)
    assert by_label.offsets == pytest.approx([intercept, -intercept], rel=1e-3)


def test_vector_scaling_has_the_likelihood_of_an_independent_optimiser():
    logits, truth = draw_classes(3, samples=400, seed=7)
    skewed = logits * [0.5, 1.0, 2.0] + [0.0, 1.0, -1.0]
    found, _ = fit_calibration(skewed, truth, "vector")
    rows, labels, weights = smoothed(truth, 3)

    def loss(numbers):
        return log_loss(labels, softmax(skewed[rows] * numbers[:3] + numbers[3:], axis=1), sample_weight=weights)

    by_scipy = minimize(loss, [1.0] * 3 + [0.0] * 3, method="Nelder-Mead", options={"maxfev": 400})
    assert loss(np.array([*found.scales, *found.offsets])) <= by_scipy.fun + 1e-7
    temperature, _ = fit_calibration(skewed, truth, "temperature")
    assert by_scipy.fun < loss(np.array([*temperature.scales * 3, 0, 0, 0])) - 0.01


@pytest.mark.parametrize("method", ["temperature", "vector"])
def test_a_model_that_is_always_right_on_validation_is_not_made_sure_of_everything(method):
    truth = np.arange(100) % 2
    logits = np.where(truth[:, None] == [0, 1], 0.9, -0.9)
    found, note = fit_calibration(logits, truth, method)
    # As if one of 102 were wrong.
    assert softmax(found.apply(logits), axis=1).max() == pytest.approx(101 / 102, abs=1e-4)
    assert note == ""
    labels, _ = fit_calibration(logits, (logits > 0).astype(np.uint8), method)
    assert expit(labels.apply(logits)).max() == pytest.approx(101 / 102, abs=1e-4)


def test_a_temperature_changes_no_area_and_no_decision():
    logits, truth = draw_classes(2, samples=400, temperature=0.2)
    found, _ = fit_calibration(logits, truth, "temperature")
    before, after = (softmax(part, axis=1)[:, 1] for part in (logits, found.apply(logits)))
    assert roc_auc_score(truth, after) == roc_auc_score(truth, before)
    np.testing.assert_array_equal(after > 0.5, before > 0.5)
    assert log_loss(truth, after) < log_loss(truth, before) - 0.05


def test_bounded_probabilities_become_what_they_say():
    # As of a network that ends in tanh neurons: between .12 and .88, though 99 of 100 are right.
    generator = np.random.default_rng(2)
    truth = generator.integers(0, 2, 1000)
    right = np.where(generator.random(1000) < 0.99, truth, 1 - truth)
    logits = np.where(right[:, None] == [0, 1], 0.98, -0.98)
    found, _ = fit_calibration(logits, truth, "temperature")
    sure = softmax(found.apply(logits), axis=1).max()
    assert softmax(logits, axis=1).max() < 0.88
    assert sure == pytest.approx((right == truth).mean(), abs=2e-3)


@pytest.mark.parametrize("method", ["temperature", "vector"])
def test_what_cannot_be_fitted_is_left_with_a_sentence(method):
    logits, truth = draw_classes(2, samples=FEWEST_SAMPLES)
    broken = np.where(np.arange(2) == 0, np.nan, logits)
    for reason, scores, labels in (
        ("has 5 samples", logits[:5], truth[:5]),
        ("a single class", logits, np.zeros_like(truth)),
        ("not finite", broken, truth),
        ("one side only of each label", logits, np.zeros((len(truth), 2), np.uint8)),
    ):
        found, note = fit_calibration(scores, labels, method)
        assert found is None
        assert reason in note
        assert note.startswith("Probabilities are not calibrated: ")
        assert note.count(".") == 1
    assert fit_calibration(logits, truth, "none") == (None, "")


def test_a_label_without_positives_is_left_beside_others():
    logits, truth = draw_labels(2, samples=200, temperatures=3.0)
    truth[:, 1] = 0
    for method in ("temperature", "vector"):
        found, note = fit_calibration(logits, truth, method)
        assert found.scales[0] < 0.6
        assert found.scales[1] == 1.0
        assert "1 of 2 labels" in note


def test_vector_scaling_without_a_class_is_temperature_scaling():
    logits, truth = draw_classes(2, samples=200)
    three = np.concatenate([logits, np.full((200, 1), -3.0)], axis=1)
    found, note = fit_calibration(three, truth, "vector")
    assert (found.method, len(found.scales), found.offsets) == ("temperature", 1, ())
    assert "lacks a class" in note


@pytest.mark.parametrize("seed", range(5))
def test_scales_are_bounded_where_scores_say_nothing_or_the_opposite(seed):
    generator = np.random.default_rng(seed)
    logits, truth = generator.normal(0, 5, (40, 2)), generator.integers(0, 2, 40)
    logits[np.arange(40), truth] -= 3 * (seed % 2)
    for method in ("temperature", "vector"):
        found, _ = fit_calibration(logits, truth, method)
        assert found.fits(2)
        assert 0.01 <= found.scales[0] <= 100


@pytest.mark.parametrize(
    "wrong",
    [
        Calibration("none", (1.0,)),
        Calibration("temperature", ()),
        Calibration("temperature", (0.0,)),
        Calibration("temperature", (float("nan"),)),
        Calibration("vector", (1.0, 1.0)),
        Calibration("vector", (1.0,), (0.0, 0.0)),
    ],
)
def test_numbers_that_do_not_fit_a_model_are_found(wrong):
    assert Calibration("vector", (1.0, 2.0, 3.0), (0.0, 0.0, 1.0)).fits(3)
    assert not wrong.fits(3)


@pytest.mark.parametrize("exclusive", [True, False])
def test_probabilities_without_calibration_follow_from_those_with_it(exclusive):
    logits = np.random.default_rng(0).normal(0, 3, (200, 3))
    turn = (lambda values: softmax(values, axis=1)) if exclusive else expit
    scales = (0.5, 0.5, 0.5) if exclusive else (0.5, 2.0, 1.0)
    for calibration in (Calibration("temperature", (0.4,)), Calibration("vector", scales, (0.3, 0.0, -1.0))):
        plain = calibration.undo(turn(calibration.apply(logits)).astype(np.float32), exclusive)
        np.testing.assert_allclose(plain, turn(logits), atol=1e-4)
    sure = np.array([[1.0, 0.0, 0.0]], np.float32)
    assert np.isfinite(Calibration("temperature", (2.0,)).undo(sure, exclusive)).all()


def test_a_softmax_of_logits_of_different_scale_is_not_undone():
    assert Calibration("vector", (0.5, 2.0, 1.0)).undo(np.array([[0.5, 0.25, 0.25]]), exclusive=True) is None
