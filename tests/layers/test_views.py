"""Answers over flipped views, and two classes by one number."""

import itertools

import keras
import numpy as np

from keras_lnn.layers import FlippedViews, MeanOfViews, SingleLogit

IMAGES = np.random.default_rng(0).normal(size=(3, 4, 5, 6, 1)).astype(np.float32)


def viewing_model():
    inputs = keras.Input(IMAGES.shape[1:])
    views = FlippedViews((1, 2, 3))(inputs)
    hidden = keras.layers.Dense(4, "tanh", kernel_initializer="random_normal")(keras.layers.Flatten()(views))
    return keras.Model(inputs, MeanOfViews(8)(hidden))


def test_inference_averages_over_all_mirror_images():
    model = viewing_model()
    dense = keras.Model(model.layers[2].output, model.layers[3].output)
    answers = []
    for size in range(4):
        for axes in itertools.combinations((1, 2, 3), size):
            view = np.flip(IMAGES, axes) if axes else IMAGES
            answers.append(keras.ops.convert_to_numpy(dense(view.reshape(3, -1))))
    np.testing.assert_allclose(model.predict_on_batch(IMAGES), np.mean(answers, axis=0), atol=1e-6)
    for axis in (1, 2, 3):
        np.testing.assert_allclose(
            model.predict_on_batch(np.flip(IMAGES, axis).copy()), model.predict_on_batch(IMAGES), atol=1e-6
        )
    in_training = keras.ops.convert_to_numpy(model(IMAGES, training=True))
    np.testing.assert_allclose(in_training, answers[0], atol=1e-6)
    assert in_training.shape == (3, 4)


def test_a_model_with_views_is_saved_and_loaded(tmp_path):
    model = viewing_model()
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(again.predict_on_batch(IMAGES), model.predict_on_batch(IMAGES))


def test_a_single_logit_is_a_sigmoid():
    logits = np.array([[-3.0], [0.0], [2.5]], np.float32)
    both = SingleLogit()(logits)
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(both))
    np.testing.assert_allclose(probabilities[:, 1], 1 / (1 + np.exp(-logits[:, 0])), atol=1e-6)
    assert SingleLogit().compute_output_shape((None, 1)) == (None, 2)
