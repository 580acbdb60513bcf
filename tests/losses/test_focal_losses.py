"""Slopes of the losses with an exponent where answers are certain, right or wrong; on every backend."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy.special import expit

from keras_lnn.losses import FocalCrossentropy, FocalTversky, MultiLabelCrossentropy

LOGITS = np.array([-1e4, -50.0, -17.0, 0.3, 17.0, 50.0, 1e4])
exponents = pytest.mark.parametrize("exponent", [0.0, 0.25, 0.5, 1.0, 2.0])


def value_and_slopes(loss, truth, logits):
    """The loss and its gradient for float32 logits."""
    logits = np.asarray(logits, "float32")
    if keras.backend.backend() == "jax":
        import jax

        value, slopes = jax.value_and_grad(lambda given: loss(truth, given))(logits)
        return float(value), np.array(slopes)
    import tensorflow as tf

    with tf.GradientTape() as tape:
        given = tf.constant(logits)
        tape.watch(given)
        value = loss(truth, given)
    return float(value), ops.convert_to_numpy(tape.gradient(value, given))


def softplus(values):
    return np.logaddexp(0.0, values)


def slopes_of_positives(x, exponent):
    """Of (1 - p)^a log(1 / p), in double precision from logarithms alone."""
    return -np.exp(-exponent * softplus(x)) * (exponent * expit(x) * softplus(-x) + expit(-x))


def slopes_of_negatives(x, exponent, margin):
    if not margin:
        return -slopes_of_positives(-x, exponent)
    wrong = np.maximum(expit(x) - margin, 0.0)
    counts = wrong > 0
    safe = np.where(counts, wrong, 0.5)
    by_wrong = -exponent * safe ** (exponent - 1) * np.log1p(-safe) + safe**exponent / (1 - safe)
    return np.where(counts, by_wrong * expit(x) * expit(-x), 0.0)


@exponents
@pytest.mark.parametrize("margin", [0.0, 0.05])
def test_multi_label_focal_loss_has_the_expected_gradients(exponent, margin):
    loss = MultiLabelCrossentropy(exponent, exponent, margin)
    logits = LOGITS[:, None]
    for truth, expected in (
        (np.ones_like(logits), slopes_of_positives(logits, exponent)),
        (np.zeros_like(logits), slopes_of_negatives(logits, exponent, margin)),
    ):
        value, slopes = value_and_slopes(loss, truth, logits)
        assert np.isfinite(value)
        np.testing.assert_allclose(slopes * len(LOGITS), expected, rtol=1e-4, atol=1e-6)


@exponents
def test_focal_crossentropy_has_the_expected_gradients(exponent):
    loss = FocalCrossentropy(exponent)
    logits = np.stack([LOGITS, np.zeros_like(LOGITS)], axis=1)
    for truth, sign in ((0, 1.0), (1, -1.0)):
        value, slopes = value_and_slopes(loss, np.full(len(LOGITS), truth), logits)
        assert np.isfinite(value)
        expected = sign * slopes_of_positives(sign * LOGITS, exponent)
        np.testing.assert_allclose(slopes[:, 0] * len(LOGITS), expected, rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(slopes[:, 1], -slopes[:, 0], atol=1e-7)


@pytest.mark.parametrize("exponent", [0.25, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_focal_tversky_is_finite_at_extreme_logits(exponent, kind):
    loss = FocalTversky(kind, gamma=1 / exponent)
    for scale in (50.0, 1e4):
        for truth in (np.eye(2)[[0, 1, 0]], np.eye(2)[[1, 1, 1]]):
            for answer in (truth, 1.0 - truth, np.eye(2)[[0, 0, 0]]):
                value, slopes = value_and_slopes(loss, truth, scale * (2 * answer - 1))
                assert np.isfinite(value)
                assert np.isfinite(slopes).all()


@pytest.mark.parametrize("make", [FocalCrossentropy, MultiLabelCrossentropy])
def test_a_negative_exponent_is_refused(make):
    with pytest.raises(ValueError, match=r"exponent must be finite and at least 0\. Received: -0.5\."):
        make(-0.5)
