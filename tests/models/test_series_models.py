"""Networks of series: every head learns, stops where a series ends, and depends on elapsed times as it says."""

import re
import typing

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import tiny_stripes
from forward import outputs_before_and_after, outputs_of, without_values
from quick_predictors import make_signature
from tiny_series import make_series_data

from keras_lnn.data.arrays import network_inputs
from keras_lnn.errors import InputError
from keras_lnn.models.series import Head
from keras_lnn.registry import build_model, count_parameters, get_model, register_model
from keras_lnn.saved.predictor import KerasPredictor
from keras_lnn.training.requirements import require_reads

HEADS = typing.get_args(Head)
DATA = make_series_data(samples=8, frames=4)
IMAGES, TIMES = network_inputs(DATA.splits["train"].images, slice(0, 4))
IMAGES = IMAGES.astype(np.float32)
IS_FRAME = np.isfinite(TIMES)
USES_TIMES = {head: "feature" if head in ("lstm", "gru", "mean", "last") else "elapsed" for head in HEADS}


def heads(*by_default):
    """Parametrises a test by every head: by these in each run of the tests, by the others among the slow tests."""
    marks = {head: () if head in by_default else pytest.mark.slow for head in HEADS}
    return pytest.mark.parametrize("head", [pytest.param(head, marks=marks[head]) for head in HEADS])


def build(**arguments):
    keras.utils.set_random_seed(3)
    model = build_model("lnn-series", DATA.image_shape, 2, **{"features": 8, "units": 6, **arguments})
    model.get_layer("elapsed_time").adapt(TIMES)
    return model


def outputs(model, images=IMAGES, times=TIMES):
    return outputs_of(model, [images, times])


@heads("cfc", "ltc")
def test_it_learns_all_its_weights_and_comes_back_from_a_file(head, tmp_path):
    model = build(head=head)
    assert [tensor.shape for tensor in model.inputs] == [(None, *DATA.image_shape), (None, DATA.image_shape[0])]
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model([IMAGES, TIMES], training=True) - 1.0))
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert np.mean([np.abs(gradient).max() > 0 for gradient in gradients]) > 0.9
    before = outputs_before_and_after(model, [IMAGES, TIMES], tmp_path / "model.keras", compiled=False)
    keras.optimizers.SGD(0.1).apply(gradients, model.trainable_variables)
    assert before.shape == (4, 2)
    assert (outputs(model) != before).any(axis=1).all()


@heads("cfc", "transformer", "last")
@pytest.mark.parametrize("arguments", [{}, {"times": "feature"}], ids=["as it is", "time as a feature"])
def test_what_comes_after_the_end_of_a_series_changes_no_bit(head, arguments):
    model = build(head=head, **arguments)
    assert not IS_FRAME.all()
    changed = np.where(IS_FRAME[..., None, None, None], IMAGES, np.float32(255.0) - IMAGES)
    np.testing.assert_array_equal(outputs(model, changed), outputs(model))


@heads("cfc", "gru-d", "lstm")
def test_times_count_from_any_origin(head):
    model = build(head=head, times=USES_TIMES[head])
    np.testing.assert_allclose(outputs(model, times=TIMES + 64), outputs(model), rtol=1e-3, atol=1e-4)


@heads("cfc", "transformer", "gru")
def test_intervals_change_the_prediction_where_they_are_read_and_nowhere_else(head):
    model = build(head=head, times=USES_TIMES[head])
    difference = np.abs(outputs(model, times=2 * TIMES) - outputs(model)).max(axis=1)
    assert (difference[IS_FRAME.sum(axis=1) > 1] > 1e-5).all()
    blind = build(head=head, times="none")
    np.testing.assert_array_equal(outputs(blind, times=2 * TIMES), outputs(blind))


@pytest.mark.parametrize("features", [16, pytest.param(32, marks=pytest.mark.slow), 64])
@pytest.mark.parametrize("size", ["heads", "other memories"])
def test_heads_are_of_the_same_size(features, size):
    arguments: dict[str, dict] = {head: {} for head in HEADS}
    if size == "other memories":
        arguments = {"lstm": {}, "cfc": {"mixed_memory": False}, "ltc": {"mixed_memory": False}}
    convolutions = 80 + 1_168 + 3_480 + 25 * features
    with without_values():
        models = {
            head: build_model("lnn-series", (4, 28, 28, 1), 2, head=head, features=features, **given)
            for head, given in arguments.items()
        }
        sizes = {head: count_parameters(model) - convolutions for head, model in models.items()}
    assert 8_000 < min(sizes.values()) < max(sizes.values()) < 9_600
    assert max(sizes.values()) < 1.15 * min(sizes.values()), sizes


@heads("cfc")
def test_the_same_weights_read_more_frames(head):
    model, arguments = build(head=head), {"features": 8, "units": 6, "head": head}
    about = {"class_names": ("a", "b"), "image_shape": DATA.image_shape, "time_unit": "minutes"}
    predictor = KerasPredictor(model, make_signature(model="lnn-series", model_args=arguments, **about))
    longer = predictor.with_steps(7)
    assert longer.signature.image_shape == (7, *DATA.image_shape[1:])
    images = np.concatenate([IMAGES, IMAGES[:, :3]], axis=1)
    padded = np.pad(TIMES, ((0, 0), (0, 3)), constant_values=np.nan)
    np.testing.assert_allclose(outputs(longer.model, images, padded), outputs(model), rtol=1e-5, atol=1e-6)
    # The frames that were left out before are read.
    continued = np.concatenate([TIMES, np.nanmax(TIMES, axis=1, keepdims=True) + np.arange(1, 4)], axis=1)
    whole = np.isfinite(TIMES).all(axis=1)
    more = outputs(longer.model, images, continued.astype(np.float32))
    assert np.abs(more - outputs(model))[whole].max() > 1e-4


def test_any_network_of_images_reads_the_frames():
    model = build(backbone="cnn")
    changed = np.where(IS_FRAME[..., None, None, None], IMAGES, np.float32(0))
    assert outputs(model).shape == (4, 2)
    np.testing.assert_array_equal(outputs(model, changed), outputs(model))


@pytest.mark.slow
def test_a_deep_network_reads_the_frames():
    shape = (3, 32, 32, 1)
    model = build_model("lnn-series", shape, 2, backbone="resnet18", features=16)
    assert outputs(model, np.zeros((2, *shape), np.float32), TIMES[:2, :3]).shape == (2, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"head": "lstm", "wired": True}, "wired is an option of liquid heads. Received: head=lstm."),
        ({"head": "mean", "mixed_memory": True}, "mixed_memory is an option of liquid heads. Received: head=mean."),
        ({"head": "gru", "times": "elapsed"}, "times=elapsed needs a head that takes times by its equations"),
        ({"backbone": "unet"}, "backbone must be a network of images that predicts classes. Received: unet."),
        (
            {"backbone": "lnn-series"},
            "backbone must be a network of images that predicts classes. Received: lnn-series",
        ),
    ],
)
def test_what_cannot_be_is_one_clear_line(arguments, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}[^\n]*$"):
        build(**arguments)


def test_an_image_is_no_series():
    with pytest.raises(InputError, match=r"^Model lnn-series reads series \(frames, height, width, channels\)[^\n]*$"):
        build_model("lnn-series", (28, 28, 1), 2)


@pytest.mark.parametrize(
    ("head", "wired"),
    [
        ("cfc", True),
        ("ltc", False),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (("cfc", False), ("ltc", True))),
    ],
)
def test_liquid_heads_are_wired_or_dense_and_have_a_memory(head, wired):
    model = build(head=head, wired=wired, mixed_memory=True, units=8)
    assert (model.get_layer(head).built_wiring is not None) == (wired or head == "ltc")
    assert model.get_layer(head).mixed_memory
    assert np.isfinite(outputs(model)).all()


def test_liquid_heads_read_times_in_both_ways_and_have_a_memory_unless_told():
    cfc, ltc = build().get_layer("cfc"), build(head="ltc").get_layer("ltc")
    assert cfc.mixed_memory
    assert ltc.mixed_memory
    assert not build(head="ltc", mixed_memory=False).get_layer("ltc").mixed_memory
    for layer in (cfc, ltc):
        frames, elapsed, *_ = layer.input
        assert (frames.shape[-1], elapsed.shape[-1]) == (8 + 1, 1)


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        ("cnn", make_series_data(samples=4), "cnn reads images. Received: tiny-series, whose samples are series."),
        ("lnn-series", tiny_stripes(), "lnn-series reads series. Received: tiny-stripes, whose samples are images."),
    ],
)
def test_models_of_images_and_data_of_series_do_not_fit(model, data, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}[^\n]*$"):
        require_reads(model, data)


def test_a_model_reads_images_or_series_and_nothing_else():
    assert get_model("cnn").reads == "images"
    assert get_model("lnn-series").reads == "series"
    with pytest.raises(ValueError, match=r"^What a model reads must be one of images, series. Received: 'films'.$"):
        register_model(family="test", reference_data="phantom-growth", reads="films")(make_films)


def make_films(image_shape: tuple[int, ...], outputs: int) -> keras.Model:
    """Returns nothing, since it is never registered."""
    raise NotImplementedError
