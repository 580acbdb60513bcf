"""Maxima of windows have the gradient of Keras's layers, without the instruction that XLA runs slowly."""

import keras
import numpy as np
import pytest

from keras_lnn.backend.tensors import gradients_of
from keras_lnn.layers.pooling import give_fast_gradients, take_maxima
from keras_lnn.registry import build_model


def gradient_of(function, maps, weights):
    found, result = gradients_of(
        lambda values: (keras.ops.sum(function(values[0]) * weights), function(values[0])), [maps]
    )
    return keras.ops.convert_to_numpy(found[0]), keras.ops.convert_to_numpy(result)


@pytest.mark.parametrize("rounded", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize(
    ("sides", "size", "stride"),
    [((9,), 2, 2), ((9, 8), 2, 2), ((9, 8), 3, 2), ((7, 7), 3, 1), ((8, 11), 2, 3), ((5, 6, 7), 2, 2), ((3, 3), 3, 3)],
)
def test_values_and_gradients_are_those_of_keras(sides, size, stride, rounded):
    if rounded and len(sides) == 3 and keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow's kernel for volumes gives the gradient to each of several equal values")
    generator = np.random.default_rng(0)
    maps = generator.normal(size=(2, *sides, 3)).astype("float32")
    maps = np.round(maps) if rounded else maps
    layer = {1: keras.layers.MaxPooling1D, 2: keras.layers.MaxPooling2D, 3: keras.layers.MaxPooling3D}[len(sides)]
    plain = layer(size, stride)
    weights = generator.normal(size=plain(maps).shape).astype("float32")
    sizes, strides = (size,) * len(sides), (stride,) * len(sides)
    gradient, values = gradient_of(lambda maps: take_maxima(maps, sizes, strides), maps, weights)
    expected, expected_values = gradient_of(plain, maps, weights)
    np.testing.assert_array_equal(values, expected_values)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-6)


def test_sides_of_windows_may_differ():
    maps = np.random.default_rng(0).normal(size=(2, 9, 8, 3)).astype("float32")
    plain = keras.layers.MaxPooling2D((3, 2), (2, 1))
    weights = np.random.default_rng(1).normal(size=plain(maps).shape).astype("float32")
    found, expected = (
        gradient_of(lambda maps: take_maxima(maps, (3, 2), (2, 1)), maps, weights),
        gradient_of(plain, maps, weights),
    )
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6, atol=1e-6)


def test_half_precision_stays_half_precision():
    maps = keras.ops.cast(np.random.default_rng(0).normal(size=(2, 4, 4, 3)), "bfloat16")
    gradients, _ = gradients_of(lambda values: (keras.ops.sum(take_maxima(values[0], (2, 2), (2, 2))), ()), [maps])
    assert keras.backend.standardize_dtype(gradients[0].dtype) == "bfloat16"
    assert float(keras.ops.sum(keras.ops.cast(gradients[0], "float32"))) == 2 * 2 * 2 * 3


def make_network(padding="valid"):
    inputs = keras.Input((9, 9, 2))
    maps = keras.layers.MaxPooling2D(2)(keras.layers.Conv2D(3, 2)(inputs))
    maps = keras.layers.TimeDistributed(keras.layers.MaxPooling1D(2))(maps)
    maps = keras.layers.MaxPooling2D(2, padding=padding)(maps)
    return keras.Model(inputs, keras.layers.Flatten()(maps))


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_layers_are_saved_as_those_of_keras(tmp_path, padding):
    model = make_network(padding)
    give_fast_gradients(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.layers[2]) is keras.layers.MaxPooling2D
    assert [type(layer) for layer in loaded.layers] == [type(layer) for layer in model.layers]
    maps = np.random.default_rng(0).normal(size=(2, 9, 9, 2)).astype("float32")
    np.testing.assert_allclose(loaded(maps), model(maps), rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the instructions are those of TensorFlow's XLA")
def test_a_step_that_is_compiled_as_a_whole_scatters_nothing():
    import tensorflow as tf

    maps = tf.constant(np.random.default_rng(0).normal(size=(2, 9, 9, 2)), "float32")

    def gradient(model, maps):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(maps) ** 2)
        return tape.gradient(loss, model.trainable_variables)

    model = make_network()
    expected = gradient(model, maps)
    give_fast_gradients(model)
    compiled = tf.function(lambda maps: gradient(model, maps), jit_compile=True, autograph=False)
    for found, wanted in zip(compiled(maps), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    assert "select-and-scatter" not in compiled.experimental_get_compiler_ir(maps)(stage="hlo")


def test_registered_models_have_fast_gradients():
    layers = build_model("cnn", (28, 28, 1), 2)._flatten_layers(include_self=False)
    pooling = [layer for layer in layers if isinstance(layer, keras.layers.MaxPooling2D)]
    assert pooling
    assert all("call" in vars(layer) for layer in pooling)
