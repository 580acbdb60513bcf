"""Coverage of prediction sets and risk of what is not referred, by simulation and in known cases."""

import numpy as np
import pytest
from scipy.special import softmax

from keras_lnn.errors import InputError
from keras_lnn.statistics.prediction_sets import choose_referral, conformal_thresholds, risk_by_coverage

SHARES = np.array([0.6, 0.3, 0.1])
# The rare class is the hard one.
STRENGTHS = np.array([2.0, 1.5, 1.0])


def draw(generator, samples, mean_images=None):
    """Truth and probabilities of a model that is far too sure, and the patient of each image."""
    patient = np.arange(samples)
    if mean_images is not None:
        patient = np.repeat(np.arange(samples // mean_images), mean_images)
    truth = generator.choice(3, patient.max() + 1, p=SHARES)[patient]
    noise = generator.standard_normal((patient.max() + 1, 3))[patient]
    noise = noise if mean_images is None else 0.9 * noise + 0.44 * generator.standard_normal((len(patient), 3))
    return truth, softmax(4 * (noise + (STRENGTHS * np.eye(3))[truth]), axis=1), patient


def find_coverage(experiments, samples, by_class, seed=0, mean_images=None, known=False):
    """The share of new samples whose set contains the true class, over all and by class."""
    generator, found = np.random.default_rng(seed), []
    new_truth, new, _ = draw(generator, 20_000)
    for _ in range(experiments):
        truth, probabilities, patient = draw(generator, samples, mean_images)
        groups = patient if known else None
        thresholds = conformal_thresholds(probabilities, truth, by_class=by_class, groups=groups)
        inside = (new >= thresholds)[np.arange(len(new)), new_truth]
        found.append([inside.mean(), *(inside[new_truth == place].mean() for place in range(3))])
    return np.mean(found, axis=0)


def test_sets_contain_the_true_class_as_often_as_promised():
    assert find_coverage(150, 100, by_class=False)[0] == pytest.approx(0.9, abs=0.015)


@pytest.mark.slow
@pytest.mark.parametrize("samples", [50, 200, 1000])
def test_sets_have_their_coverage_at_every_number_of_samples(samples):
    overall = find_coverage(2000, samples, by_class=False)
    print(samples, overall)
    assert overall[0] == pytest.approx(0.9, abs=0.015)
    # The rare class pays for the frequent one.
    assert overall.min() < 0.885


@pytest.mark.parametrize("experiments", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_sets_by_class_hold_for_each_class(experiments):
    coverage = find_coverage(experiments, 1000, by_class=True)
    np.testing.assert_allclose(coverage[1:], 0.9, atol=0.015)


@pytest.mark.parametrize("experiments", [250, pytest.param(2000, marks=pytest.mark.slow)])
def test_one_image_of_each_patient_gives_sets_for_new_patients(experiments):
    assert find_coverage(experiments, 300, by_class=False, mean_images=10, known=True)[0] == pytest.approx(
        0.9, abs=0.015
    )


def test_thresholds_of_a_hand_computed_case():
    # Of nine samples and a new one, the new one is the lowest in a tenth of cases.
    of_truth = np.linspace(0.1, 0.9, 9)
    probabilities, truth = np.stack([of_truth, 1 - of_truth], axis=1), np.zeros(9, int)
    np.testing.assert_allclose(conformal_thresholds(probabilities, truth, 0.9), 0.1)
    np.testing.assert_allclose(conformal_thresholds(probabilities, truth, 0.8), 0.2)
    # Eight samples cannot promise so much, and neither can none.
    assert list(conformal_thresholds(probabilities[1:], truth[1:], 0.9)) == [0, 0]
    np.testing.assert_allclose(conformal_thresholds(probabilities, truth, 0.9, by_class=True), [0.1, 0])


def test_each_patient_counts_once():
    truth, probabilities, _ = draw(np.random.default_rng(0), 60)
    patients = [f"P{index // 3}" for index in range(60)]
    first = conformal_thresholds(probabilities, truth, groups=patients, seed=1)
    again = np.repeat(probabilities, 4, axis=0), np.repeat(truth, 4)
    alone = conformal_thresholds(*again, groups=np.repeat(np.arange(60), 4))
    np.testing.assert_array_equal(alone, conformal_thresholds(probabilities, truth))
    np.testing.assert_array_equal(first, conformal_thresholds(probabilities, truth, groups=patients, seed=1))


def test_risk_by_coverage_of_a_hand_computed_case():
    curve = risk_by_coverage(np.array([0.5, 0.9, 0.7, 0.7]), np.array([False, True, True, False]))
    np.testing.assert_allclose(curve.confidence, [0.9, 0.7, 0.5])
    np.testing.assert_allclose(curve.coverage, [0.25, 0.75, 1.0])
    np.testing.assert_allclose(curve.risk, [0, 1 / 3, 1 / 2])


@pytest.mark.parametrize("experiments", [40, pytest.param(2000, marks=pytest.mark.slow)])
def test_what_is_not_referred_is_rarely_wrong_more_often_than_allowed(experiments):
    generator = np.random.default_rng(1)
    broken, shares = 0, []
    for _ in range(experiments):
        confidence = generator.uniform(0.5, 1, 300)
        least = choose_referral(confidence, generator.random(300) < confidence, 0.1)
        if least is not None:
            # The model is right as often as it says: between the least confidence and one, half way on average.
            broken += 1 - (1 + max(least, 0.5)) / 2 > 0.1
            shares.append(2 * (1 - max(least, 0.5)))
    assert broken / experiments <= 0.05 + 0.015 * (experiments > 100) + 0.1 * (experiments <= 100)
    assert np.mean(shares) > 0.15


def test_a_referral_that_cannot_be_promised_is_none():
    assert choose_referral(np.full(10, 0.9), np.ones(10, bool), 0.05) is None
    assert choose_referral(np.full(100, 0.9), np.zeros(100, bool), 0.05) is None
    assert choose_referral(np.full(100, 0.9), np.ones(100, bool), 0.05) == 0.0


def test_wrong_arguments_are_refused():
    truth, probabilities, _ = draw(np.random.default_rng(0), 30)
    for message, call in (
        ("coverage must lie between 0 and 1", lambda: conformal_thresholds(probabilities, truth, 90)),
        ("one class index per sample", lambda: conformal_thresholds(probabilities, truth[1:])),
        ("the patient of each of 30 samples", lambda: conformal_thresholds(probabilities, truth, groups=["a"])),
        ("risk and error must lie between 0 and 1", lambda: choose_referral(probabilities[:, 0], truth == 0, 5)),
    ):
        with pytest.raises(InputError, match=message):
            call()
