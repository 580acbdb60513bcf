"""Every image model predicts, trains and gives the same outputs after saving and loading; parameter counts."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from forward import outputs_before_and_after, outputs_of, without_values

from keras_lnn.data.catalog import get_entry
from keras_lnn.models.blocks import extra_halvings
from keras_lnn.registry import build_model, list_models

# CRNet's heads are one network with other arguments, the deep networks take longer than all of these together, and
# segmentation models have another task, those of series read times as well: all have tests of their own.
NAMES = [
    entry.name
    for entry in list_models()
    if get_entry(entry.reference_data).dimensions == 2
    and not entry.name.startswith("crnet-")
    and entry.family not in ("deep", "test")
    and entry.predicts == "classes"
    and entry.reads == "images"
]


# Models as wide as published ones, where they are only trained for a step.
NARROW = {"multilabel-rnn": {"recurrent_units": 512, "units": 256}}
# Of each way to read an image one: a wired liquid layer, dense layers alone, and rows as a sequence.
BY_DEFAULT = ("lnn", "dnn", "rnn", "multilabel-rnn")
SMALL, LARGE = ((28, 28, 1), 2), ((64, 64, 3), 9)


def trainable(model: keras.Model) -> int:
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def count_trainable(*arguments, **options) -> int:
    """Returns the number of trainable parameters of a model that is built without values."""
    with without_values():
        return trainable(build_model(*arguments, **options))


def images_of(shape: tuple[int, ...], count: int = 4) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *shape)).astype(np.float32)


@pytest.mark.parametrize(("name", "parameters"), [("lnn", 263_048), ("dnn", 935_298)])
def test_parameter_counts_equal_the_published_ones(name, parameters):
    assert count_trainable(name, (28, 28, 1), 2) == parameters


def test_cnn_is_about_the_size_of_lnn():
    assert 0.9 < count_trainable("cnn", (28, 28, 1), 2) / 263_048 < 1.1


@pytest.mark.parametrize(
    ("name", "shape", "outputs"),
    [
        *((name, *SMALL) for name in BY_DEFAULT),
        *(pytest.param(name, *SMALL, marks=pytest.mark.slow) for name in NAMES if name not in BY_DEFAULT),
        *(pytest.param(name, *LARGE, marks=pytest.mark.slow) for name in NAMES),
    ],
)
def test_models_train_save_and_reload(name, shape, outputs, tmp_path):
    is_first = shape == SMALL[0]
    model = build_model(name, shape, outputs, **NARROW.get(name, {}) if is_first else {})
    images = images_of(shape)
    assert model.name == name
    assert not model.compiled
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(images, training=True)))
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(gradient is not None and np.isfinite(gradient).all() for gradient in gradients)
    assert np.mean([np.abs(gradient).max() > 0 for gradient in gradients]) > 0.9
    compiled = name == "lnn" or not is_first  # the slow tests have a graph of each
    found = outputs_before_and_after(model, images, tmp_path / "model.keras", compiled=compiled)
    assert found.shape == (4, outputs)


@pytest.mark.parametrize("over_slices", ["max", pytest.param("mean", marks=pytest.mark.slow)])
def test_lnn_reads_volumes_slice_by_slice(over_slices):
    model = build_model("lnn", (12, 28, 28, 1), 3, over_slices=over_slices, logit_scale=False)
    volumes = images_of((12, 28, 28, 1), 2)
    found = outputs_of(model, volumes)
    assert found.shape == (2, 3)
    assert model.get_layer("cfc").input.shape == (None, 12, 512)
    steps = outputs_of(keras.Model(model.input, model.get_layer("cfc").output), volumes)
    assert steps.shape == (2, 12, 3)
    np.testing.assert_allclose(found, getattr(steps, over_slices)(axis=1), atol=1e-6)
    assert not np.allclose(outputs_of(model, np.ascontiguousarray(volumes[:, ::-1])), found)


@pytest.mark.parametrize("name", [pytest.param("rnn", marks=pytest.mark.slow), "lstm"])
def test_recurrent_heads_read_rows_or_slices(name):
    layer = {"rnn": keras.layers.SimpleRNN, "lstm": keras.layers.LSTM}[name]
    for shape, steps, features in (((28, 28, 1), 7, 7 * 32), ((12, 28, 28, 1), 12, 7 * 7 * 32), ((64, 64, 3), 8, 256)):
        model = build_model(name, shape, 5, units=9)
        (recurrence,) = (part for part in model.layers if isinstance(part, layer))
        assert recurrence.input.shape == (None, steps, features)
        assert outputs_of(model, images_of(shape, 2)).shape == (2, 5)


def test_multi_label_networks_are_as_published():
    with without_values():
        plain, recurrent = (build_model(f"multilabel-{kind}", (28, 28, 1), 3) for kind in ("cnn", "rnn"))
    names = [type(part).__name__ for part in plain.layers]
    expected = ["Conv2D", "Dropout", "MaxPooling2D"] * 2 + ["Conv2D", "Dropout"] * 2 + ["Flatten"]
    expected += ["Dense", "Dropout"] * 2 + ["Dense"]
    assert names == ["InputLayer", "Rescaling", *expected]
    assert recurrent.get_layer("recurrence").input.shape == (None, 28, 28)
    assert trainable(recurrent) == 2048 * (28 + 2048 + 1) + 2049 * 1024 + 1025 * 1024 + 1025 * 3


def test_predictions_do_not_depend_on_the_rest_of_the_batch():
    """The recurrence runs over the sequence, not over the batch."""
    model = build_model("lnn", (28, 28, 1), 2)
    images = images_of((28, 28, 1), 3)
    # One alone, and two together: the first of three, and those after it.
    apart = np.concatenate([outputs_of(model, images[:1]), outputs_of(model, images[1:])])
    np.testing.assert_allclose(outputs_of(model, images), apart, atol=1e-5)


@pytest.mark.parametrize(("side", "steps"), [(28, 16), (64, 16), (128, 16), (224, 16)])
def test_the_sequence_length_does_not_grow_with_the_image(side, steps):
    with without_values():
        model = build_model("lnn", (side, side, 1), 2)
    assert model.get_layer("cfc").input.shape == (None, 32, steps)
    assert trainable(model) == 263_048


@pytest.mark.parametrize(("side", "halvings"), [(12, 0), (28, 0), (55, 0), (56, 1), (64, 1), (128, 2), (224, 3)])
def test_larger_images_are_halved_more_often(side, halvings):
    assert extra_halvings((side, 20, 1)) == halvings


def test_arguments_change_the_documented_layers():
    with without_values():
        model = build_model("lnn", (28, 28, 1), 2, units=30, sequence_length=16, dropout=0.5)
        sparse, dense = (build_model("lnn", (28, 28, 1), 2, sparsity=value).get_layer("cfc") for value in (0.8, 0.2))
    assert model.get_layer("cfc").input.shape == (None, 16, 32)
    assert model.get_layer("cfc").cell.state_size == 30
    assert any(isinstance(layer, keras.layers.Dropout) for layer in model.layers)
    assert sparse.built_wiring.synapse_count < dense.built_wiring.synapse_count
    assert count_trainable("dnn", (28, 28, 1), 2, units=10, second_units=5) == 7850 + 55 + 12
    assert count_trainable("cnn", (28, 28, 1), 2, filters=8) < 40_000
