"""A learned scale of bounded logits: ten classes can be answered with confidence, and it shows in calibration."""

import keras
import numpy as np
import pytest

from keras_lnn.evaluation.predictions import evaluate_predictions
from keras_lnn.layers import LearnedScale
from keras_lnn.registry import build_model, count_parameters


@pytest.mark.parametrize(("classes", "before"), [(2, 0.881), (10, 0.451), (100, 0.069)])
def test_a_learned_scale_allows_confident_probabilities(classes, before):
    surest = np.where(np.arange(classes) == 1, 1.0, -1.0).astype(np.float32)[None]
    layer = LearnedScale()
    scaled = keras.ops.convert_to_numpy(layer(surest))
    softmax = [np.exp(logits[0, 1]) / np.exp(logits[0]).sum() for logits in (surest, scaled)]
    assert softmax == pytest.approx([before, 0.99], abs=5e-4)
    assert layer.scale == pytest.approx(scaled[0, 1])
    assert layer.compute_output_shape((None, classes)) == (None, classes)


def test_the_learned_scale_is_saved_and_loaded(tmp_path):
    inputs = keras.Input((3,))
    model = keras.Model(inputs, LearnedScale()(inputs))
    model.layers[1].log_scale.assign(np.log(7.5))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert again.layers[1].scale == pytest.approx(7.5)


def has_scale(model):
    return any(isinstance(layer, LearnedScale) for layer in model.layers)


def test_lnn_has_a_learned_scale_unless_published():
    published = build_model("lnn", (28, 28, 1), 2)
    assert not has_scale(published)
    assert count_parameters(published) == 263_048
    assert count_parameters(build_model("lnn", (28, 28, 1), 2, logit_scale="yes")) == 263_049
    ten = build_model("lnn", (28, 28, 1), 10)
    assert has_scale(ten)
    assert not has_scale(build_model("lnn", (28, 28, 1), 10, logit_scale="no"))
    images = np.random.default_rng(0).integers(0, 256, (2, 28, 28, 1)).astype(np.float32)
    bounded = keras.ops.convert_to_numpy(keras.Model(ten.input, ten.get_layer("cfc").output)(images))
    scale = ten.get_layer("logit_scale").scale
    np.testing.assert_allclose(keras.ops.convert_to_numpy(ten(images)), scale * bounded, rtol=1e-5)


def bars(seed, count):
    """Images of a bright bar at one of ten angles."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 10
    images = generator.integers(0, 90, (count, 28, 28, 1)).astype(np.float32)
    rows, columns = np.mgrid[:28, :28]
    for image, label in zip(images, labels, strict=True):
        angle = np.pi * label / 10 + generator.normal(0, 0.06)
        x, y = generator.uniform(10, 18, 2)
        distance = np.abs((columns - x) * np.sin(angle) - (rows - y) * np.cos(angle))
        image[distance < 2] += 110
    return images, labels


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_ten_classes_are_calibrated_only_with_a_learned_scale(seed):
    (images, labels), (unseen, truth) = bars(0, 1500), bars(1, 1000)
    errors = {}
    for scaled in (True, False):
        keras.utils.set_random_seed(seed)
        model = build_model("lnn", (28, 28, 1), 10, logit_scale=scaled)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(1e-3), loss)
        model.fit(images, labels, epochs=8, batch_size=50, verbose=0)
        probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(model.predict(unseen, batch_size=250, verbose=0)))
        about = {"task": "multi-class", "class_names": [str(index) for index in range(10)]}
        found = evaluate_predictions(truth, probabilities.astype(np.float64), **about).metrics
        assert found["accuracy"].value > 0.9
        # A row of docs/results/tables/logit-scale.csv.
        values = [f"{found[name].value:.3f}" for name in ("expected_calibration_error", "accuracy")]
        print(f'"{"with it" if scaled else "without"}, seed {seed}",{",".join(values)}')
        errors[scaled] = found["expected_calibration_error"].value, found["brier"].value
    assert errors[True][0] < 0.15 < 0.45 < errors[False][0]
    assert errors[True][1] < 0.1 < 0.35 < errors[False][1]
