"""The term paper's networks: published counts, and that they read slices as they say."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from forward import outputs_before_and_after, outputs_of, without_values

from keras_lnn.config import TrainConfig
from keras_lnn.errors import InputError
from keras_lnn.registry import build_model, count_parameters, list_models
from keras_lnn.studies.declaration import load_study
from keras_lnn.tasks.kinds import make_task
from keras_lnn.training.compiling import compile_model

STUDY = load_study("term-paper")
NAMES = sorted(STUDY.parameters)
# One of each kind of layer, of which two run by default; the other combinations run with the slow tests.
KINDS = ["CNNExp3N6", "LiqExp2N2", "LSTMExp5N3", "RNNExp5N6"]
BY_DEFAULT = KINDS[:2]
SMALL = (20, 20, 20, 1)
VOLUMES = np.random.default_rng(0).integers(0, 256, (3, *SMALL)).astype(np.float32)


def second_biases(model: keras.Model) -> int:
    """Returns the parameters that only the PyTorch layer has: a second bias of equal length."""
    recurrent = [layer for layer in model.layers if isinstance(layer, keras.layers.LSTM | keras.layers.SimpleRNN)]
    return sum(int(layer.cell.bias.shape[0]) for layer in recurrent)


@pytest.mark.parametrize("name", NAMES)
def test_parameter_counts_equal_the_published_ones(name):
    with without_values():
        model = build_model(name, (28, 28, 28, 1), 2)
    assert count_parameters(model) + second_biases(model) == STUDY.parameters[name]
    assert (second_biases(model) > 0) == name.startswith(("LSTM", "RNN"))
    assert model.output_shape == (None, 2)


def test_there_are_thirty_term_paper_models():
    assert len(NAMES) == 30
    assert {entry.name for entry in list_models() if entry.family == "term paper"} == set(NAMES)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in BY_DEFAULT else pytest.mark.slow) for name in NAMES]
)
def test_models_train_save_and_reload(name, tmp_path):
    model = build_model(name, SMALL, 2)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(VOLUMES, training=True) - 3.0))
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(gradient is not None and np.isfinite(gradient).all() for gradient in gradients)
    # The other combinations have a graph of each kind of layer.
    outputs_before_and_after(model, VOLUMES, tmp_path / "model.keras", compiled=name not in KINDS)


@pytest.mark.parametrize(
    ("axis", "place"),
    [("width", 3), *(pytest.param(*case, marks=pytest.mark.slow) for case in (("depth", 1), ("height", 2)))],
)
def test_slices_are_read_along_any_axis(axis, place):
    keras.utils.set_random_seed(0)
    depth = build_model("LSTMExp5N2", SMALL, 2)  # whatever reads the slices
    keras.utils.set_random_seed(0)
    other = build_model("LSTMExp5N2", SMALL, 2, axis=axis)
    turned = np.ascontiguousarray(np.swapaxes(VOLUMES, 1, place))
    np.testing.assert_allclose(outputs_of(other, VOLUMES), outputs_of(depth, turned), atol=1e-5)


@pytest.mark.parametrize("name", [pytest.param("LiqExp1N2", marks=pytest.mark.slow), "LSTMExp5N2"])
def test_predictions_depend_on_the_batch_only_by_the_published_mistake(name):
    for recur_over, apart in (("slices", True), ("batch", False)):
        model = build_model(name, SMALL, 2, recur_over=recur_over)
        together = outputs_of(model, VOLUMES[:2])
        alone = np.concatenate([outputs_of(model, VOLUMES[index : index + 1]) for index in range(2)])
        np.testing.assert_allclose(together[:1], alone[:1], atol=1e-5)
        assert np.allclose(together, alone, atol=1e-5) == apart


def test_the_recurrence_runs_over_the_slices():
    model = build_model("LSTMExp5N2", (12, 28, 28, 1), 2)
    (recurrence,) = (layer for layer in model.layers if isinstance(layer, keras.layers.LSTM))
    assert recurrence.input.shape == (None, 12, 400)
    order = np.random.default_rng(1).permutation(12)
    volumes = np.random.default_rng(0).integers(0, 256, (3, 12, 28, 28, 1)).astype(np.float32)
    assert not np.allclose(outputs_of(model, volumes), outputs_of(model, volumes[:, order]))


def test_more_classes_and_larger_volumes():
    model = build_model("LiqExp4N2", (10, 64, 64, 3), 11)
    assert outputs_of(model, np.zeros((2, 10, 64, 64, 3), np.float32)).shape == (2, 11)
    two = build_model("LiqExp4N2", (28, 28, 28, 1), 2, single_logit=False)
    assert count_parameters(two) == count_parameters(build_model("LiqExp4N2", (28, 28, 28, 1), 2)) + 2


@pytest.mark.parametrize(
    ("name", "shape", "outputs", "message"),
    [
        ("LiqExp4N2", (28, 28, 1), 2, r"reads volumes .* Received: shape \(28, 28, 1\)"),
        ("LiqExp4N2", (28, 16, 16, 1), 2, "at least 20 pixels"),
        ("LiqExp5N1", (28, 28, 28, 1), 3, "AutoNCP of 5 neurons has at most 2 outputs. Received: 3"),
    ],
)
def test_unsuitable_inputs_are_refused_in_one_line(name, shape, outputs, message):
    with pytest.raises(InputError, match=message):
        build_model(name, shape, outputs)


def test_two_labels_need_two_logits():
    model = build_model("CNNExp2N4", (28, 28, 28, 1), 2)
    config = TrainConfig(model="CNNExp2N4", data="x", learning_rate=1e-3, schedule="constant", optimizer="adam")
    with pytest.raises(InputError, match="Give --model-args single_logit=no"):
        compile_model(model, make_task("multi-label", ("a", "b")), config, 10, np.zeros((4, 2)))
