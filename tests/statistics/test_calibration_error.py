"""The interval of the expected calibration error holds the true one, which the measured one exceeds by chance."""

import numpy as np
import pytest

from keras_lnn.statistics.calibration import measure_calibration_error
from keras_lnn.statistics.deviations import Units

BINS = 15


def draw(generator, samples, sharpness, patients=None):
    """Returns what each sample adds to the gaps, measured and in truth, and their variances if it were calibrated."""
    shared = generator.normal(size=(2, samples if patients is None else patients))
    if patients is not None:
        shared = np.repeat(shared, samples // patients, axis=1) * np.sqrt(0.5)
        shared = shared + np.sqrt(0.5) * generator.normal(size=shared.shape)
    odds, chance = 1.5 * shared[0], shared[1]
    confidence = 1 / (1 + np.exp(-sharpness * np.abs(odds)))
    true_share = 1 / (1 + np.exp(-np.abs(odds)))
    # A standard normal number below the quantile of the share is right; patients share a part of it.
    right = chance < _normal_quantile(true_share)
    by_chance = _by_bin(confidence, confidence * (1 - confidence)).sum(axis=0) / samples**2
    return [_by_bin(confidence, confidence - share) / samples for share in (right, true_share)] + [by_chance]


def _normal_quantile(share):
    from scipy.stats import norm

    return norm.ppf(share)


def _by_bin(confidence, values):
    found = np.zeros((len(confidence), BINS))
    found[np.arange(len(confidence)), np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)] = values
    return found


def cover(samples, sharpness, patients=None, experiments=400, seed=0):
    """Returns how often the interval holds the true error, and how often it reaches zero."""
    true_error = np.abs(draw(np.random.default_rng(99), 100_000, sharpness)[1].sum(axis=0)).sum()
    generator = np.random.default_rng(seed)
    groups = None if patients is None else [str(row // (samples // patients)) for row in range(samples)]
    drawn = (draw(generator, samples, sharpness, patients) for _ in range(experiments))
    found = [measure_calibration_error(gaps, least, Units(samples, groups), 0.95) for gaps, _, least in drawn]
    held = [one.estimate.low <= true_error <= one.estimate.high for one in found]
    print(samples, sharpness, patients, np.mean(held), true_error, np.mean([one.value for one in found]))
    return np.mean(held), np.mean([one.estimate.low == 0 for one in found])


@pytest.mark.slow
@pytest.mark.parametrize("sharpness", [1.0, 1.3, 2.0, 3.5])
@pytest.mark.parametrize(("samples", "patients"), [(100, None), (300, None), (1000, None), (400, 100)])
def test_the_interval_holds_the_true_error(samples, sharpness, patients):
    held, _ = cover(samples, sharpness, patients)
    assert 0.905 <= held <= 0.985


def test_a_calibrated_model_may_have_no_error_and_an_overconfident_one_may_not():
    held, reaches_zero = cover(300, 1.0, experiments=60)
    assert held == reaches_zero >= 0.86
    held, reaches_zero = cover(300, 3.5, experiments=60)
    assert held >= 0.86
    assert reaches_zero == 0


def test_copies_of_samples_are_known_by_their_patients_and_order_does_not_matter():
    gaps, _, least = draw(np.random.default_rng(3), 200, 2.0)
    alone = measure_calibration_error(gaps, least, Units(200), 0.95)
    copies, patients = np.repeat(gaps, 4, axis=0) / 4, [str(row // 4) for row in range(800)]
    for order in (np.arange(800), np.random.default_rng(0).permutation(800)):
        known = measure_calibration_error(copies[order], least, Units(800, [patients[row] for row in order]), 0.95)
        assert known.estimate.to_json() == pytest.approx(alone.estimate.to_json(), abs=1e-9)
    unknown = measure_calibration_error(copies, least / 4, Units(800), 0.95).estimate
    assert unknown.high - unknown.low < 0.7 * (alone.estimate.high - alone.estimate.low)
    assert np.isnan(measure_calibration_error(gaps[:1], least, Units(1), 0.95).estimate.low)
