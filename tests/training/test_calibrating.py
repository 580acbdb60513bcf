"""Calibrated predictions of a run: one calibration for what is measured, loaded and drawn."""

import keras
import numpy as np
import pytest
from quick_predictors import make_signature
from scipy.special import expit, softmax
from sklearn.metrics import log_loss, roc_auc_score

from keras_lnn.data.arrays import Split
from keras_lnn.saved.predictor import KerasPredictor
from keras_lnn.saved.results import describe_calibration
from keras_lnn.training.calibrating import predict_calibrated

SIDE = 4


@pytest.fixture(scope="module")
def grey():
    """Two models, of images and of masks, whose second logit is the grey value from -0.5 to 0.5."""
    inputs = keras.Input((SIDE, SIDE, 1))
    logits = keras.layers.Conv2D(2, 1, name="logits")(inputs)
    masks = keras.Model(inputs, logits)
    masks.get_layer("logits").set_weights([np.array([[[[0.0, 1 / 255]]]]), np.array([0.0, -0.5])])
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(logits)), masks


def draw_images(samples, seed):
    """Images whose class is drawn with eight times the model's logit."""
    generator = np.random.default_rng(seed)
    values = generator.integers(0, 256, samples)
    images = np.repeat(values, SIDE * SIDE).reshape(samples, SIDE, SIDE, 1).astype(np.uint8)
    return Split(images, (generator.random(samples) < expit(8 * (values / 255 - 0.5))).astype(np.int64))


def test_classes_are_calibrated_for_every_use(grey):
    model, _ = grey
    about = {"model": "tiny", "task": "binary", "class_names": ("no", "yes"), "image_shape": (SIDE, SIDE, 1)}
    splits = {"val": draw_images(500, 0), "test": draw_images(300, 1)}
    plain = make_signature(**about)
    found = predict_calibrated(model, splits, plain, "temperature")
    assert found.signature.calibration.scales[0] == pytest.approx(8, rel=0.25)
    assert (found.samples, found.note) == (500, "")
    for name, split in splits.items():
        before, after = found.uncalibrated[name], found.predicted[name]
        np.testing.assert_allclose(KerasPredictor(model, found.signature).predict(split.images), after, atol=1e-6)
        np.testing.assert_allclose(KerasPredictor(model, plain).predict(split.images), before, atol=1e-6)
        assert roc_auc_score(split.labels, after[:, 1]) == roc_auc_score(split.labels, before[:, 1])
        assert log_loss(split.labels, after[:, 1]) < log_loss(split.labels, before[:, 1]) - 0.05
    again = predict_calibrated(model, splits, plain, "none")
    assert (again.signature, again.uncalibrated) == (plain, {})
    np.testing.assert_allclose(again.predicted["test"], found.uncalibrated["test"], atol=1e-6)


def test_few_images_are_left_as_they_are_with_a_sentence(grey):
    model, _ = grey
    about = {"model": "tiny", "task": "binary", "class_names": ("no", "yes"), "image_shape": (SIDE, SIDE, 1)}
    found = predict_calibrated(model, {"val": draw_images(5, 0)}, make_signature(**about), "temperature")
    assert (found.signature.calibration, found.uncalibrated) == (None, {})
    assert "the validation split has 5 samples" in found.note


def test_masks_have_one_temperature_of_pixels_and_stay_the_same(grey, monkeypatch):
    _, model = grey
    monkeypatch.setattr("keras_lnn.training.calibrating._IMAGES", 300)
    monkeypatch.setattr("keras_lnn.training.calibrating._PIXELS", 3000)
    generator = np.random.default_rng(4)
    images = generator.integers(0, 256, (400, SIDE, SIDE, 1), dtype=np.uint8)
    logits = images[..., 0] / 255 - 0.5
    masks = Split(images, (generator.random(logits.shape) < expit(8 * logits)).astype(np.uint8))
    signature = make_signature(image_shape=(SIDE, SIDE, 1))
    found = predict_calibrated(model, {"val": masks}, signature, "temperature")
    assert found.samples == 3000
    (scale,) = found.signature.calibration.scales
    assert scale == pytest.approx(8, rel=0.2)
    np.testing.assert_array_equal(found.predicted["val"], logits > 0)
    expected = softmax(scale * np.stack([np.zeros_like(logits), logits], axis=-1), axis=-1)
    np.testing.assert_allclose(KerasPredictor(model, found.signature).predict(images), expected, atol=1e-5)


def test_a_sentence_says_what_calibration_changed():
    before = {"test": {"brier": {"value": 0.21, "low": 0.18, "high": 0.24}}}
    calibration = {"method": "temperature", "scales": [2.0], "offsets": [], "fitted_on": 78, "before": before}
    metrics = {
        "task": "binary",
        "classes": ["no", "yes"],
        "calibration": calibration,
        "test": {"brier": {"value": 0.15, "low": 0.1, "high": 0.2}},
    }
    assert describe_calibration(metrics, "test") == (
        "Probabilities are calibrated on 78 validation images (temperature 0.5): Brier score .210 (.180 to .240)"
        " before, .150 (.100 to .200) after."
    )
    assert describe_calibration(metrics | {"calibration": None}, "test") == ""
    assert describe_calibration({name: metrics[name] for name in ("task", "test")}, "test") == ""
