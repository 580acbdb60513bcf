"""U-Nets: parameter counts, image sizes, slices and volumes, context from neighbouring slices, saving and loading."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from forward import outputs_before_and_after, outputs_of, without_values

from keras_lnn.errors import InputError
from keras_lnn.registry import build_model, count_parameters, get_model, list_models

SMALL = {"width": 4, "depth": 2}
VOLUME = (5, 12, 12, 1)


def pixels_of(shape, count=2, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape)).astype(np.float32)


def build(name, shape, outputs=3, **arguments):
    keras.utils.set_random_seed(0)
    return build_model(name, shape, outputs, **SMALL | arguments)


def test_the_published_unet_has_the_expected_parameter_count():
    down = (9 * 1 * 64 + 64) + (9 * 64 * 64 + 64)
    down += (9 * 64 * 128 + 128) + (9 * 128 * 128 + 128)
    down += (9 * 128 * 256 + 256) + (9 * 256 * 256 + 256)
    bottom = (9 * 256 * 512 + 512) + (9 * 512 * 512 + 512)
    back = (4 * 512 * 256 + 256) + (9 * 512 * 256 + 256) + (9 * 256 * 256 + 256)
    back += (4 * 256 * 128 + 128) + (9 * 256 * 128 + 128) + (9 * 128 * 128 + 128)
    back += (4 * 128 * 64 + 64) + (9 * 128 * 64 + 64) + (9 * 64 * 64 + 64)
    logits = 64 * 3 + 3
    with without_values():
        model = build_model("unet", (224, 224, 1), 3, width=64, norm="none")
    assert count_parameters(model) == down + bottom + back + logits == 7_696_323
    assert model.output_shape == (None, 224, 224, 3)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert [kinds.count(kind) for kind in ("Conv2D", "MaxPooling2D", "Conv2DTranspose", "Concatenate")] == [15, 3, 3, 3]


def test_segmentation_models_declare_that_they_predict_masks():
    assert {entry.name for entry in list_models() if entry.predicts == "masks"} == {"unet", "unet-lnn"}
    assert get_model("unet").protocol["monitor"] == "val_dice"
    assert get_model("cnn").predicts == "classes"


@pytest.mark.parametrize(
    ("name", "shape", "arguments"),
    [
        ("unet", (13, 18, 3), {"norm": "group", "dropout": 0.3}),
        ("unet-lnn", VOLUME, {"recurrence": "cfc", "units": 6}),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("unet", (5, 13, 16, 1), {"volumes": "3d"}),
                ("unet", (16, 16, 1), {}),
                ("unet", (16, 12, 1), {"norm": "none", "initialisation": "framework-uniform"}),
                ("unet", (3, 13, 16, 3), {}),
                ("unet-lnn", VOLUME, {"recurrence": "ltc", "units": 6}),
                ("unet-lnn", (5, 13, 16, 3), {"recurrence": "cfc", "levels": 2}),
                ("unet-lnn", VOLUME, {"recurrence": "lstm"}),
                ("unet-lnn", VOLUME, {"recurrence": "dense", "norm": "group"}),
                ("unet-lnn", VOLUME, {"recurrence": "none", "norm": "none"}),
            )
        ),
    ],
)
def test_models_train_save_and_reload(name, shape, arguments, tmp_path):
    model = build(name, shape, **arguments)
    images = pixels_of(shape)
    truth = np.random.default_rng(1).integers(0, 3, (2, *shape[:-1]))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with tf.GradientTape() as tape:
        value = loss(truth, model(images, training=True))
    gradients = tape.gradient(value, model.trainable_variables)
    assert all(gradient is not None and np.isfinite(gradient).all() for gradient in gradients)
    assert np.mean([np.abs(gradient).max() > 0 for gradient in gradients]) > 0.9
    compiled = arguments.get("recurrence") not in ("ltc", "cfc")  # of which the slow tests have a graph
    before = outputs_before_and_after(model, images, tmp_path / "model.keras", compiled=compiled)
    assert before.shape == (2, *shape[:-1], 3)
    alone = np.concatenate([outputs_of(model, images[index : index + 1]) for index in range(2)])
    np.testing.assert_allclose(alone, before, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("recurrence", ["ltc", "cfc"])
def test_a_graph_with_a_liquid_layer_agrees_with_eager_calls(recurrence):
    model, volumes = build("unet-lnn", VOLUME, recurrence=recurrence, units=6), pixels_of(VOLUME)
    np.testing.assert_allclose(model.predict_on_batch(volumes), outputs_of(model, volumes), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "larger", "inside", "arguments"),
    [
        ((13, 10, 1), (16, 12, 1), np.s_[:, 1:14, 1:11], {}),
        pytest.param((3, 13, 16, 1), (3, 16, 16, 1), np.s_[:, :, 1:14], {}, marks=pytest.mark.slow),
        ((5, 13, 16, 1), (8, 16, 16, 1), np.s_[:, 1:6, 1:14], {"volumes": "3d"}),
    ],
)
def test_other_image_sizes_are_padded_and_cropped(shape, larger, inside, arguments):
    model, whole = build("unet", shape, **arguments), build("unet", larger, **arguments)
    whole.set_weights(model.get_weights())
    images = pixels_of(shape)
    framed = np.zeros((2, *larger), np.float32)
    framed[inside] = images
    np.testing.assert_allclose(outputs_of(model, images), outputs_of(whole, framed)[inside], atol=1e-5)


def slices_that_change(model, *places):
    """Returns the slices whose outputs change with a slice of the input, for each of several, in one call."""
    volumes = np.stack([pixels_of(VOLUME)] * (len(places) + 1))
    for other, place in zip(volumes[1:], places, strict=True):
        other[:, place] = 255 - other[:, place]
    first, *others = np.split(outputs_of(model, volumes.reshape(-1, *VOLUME)), len(volumes))
    return [set(np.flatnonzero(np.abs(first - other).max(axis=(0, 2, 3, 4)) > 1e-6)) for other in others]


@pytest.mark.parametrize("recurrence", ["cfc", pytest.param("ltc", marks=pytest.mark.slow), "lstm"])
def test_each_slice_depends_on_all_slices(recurrence):
    model = build("unet-lnn", VOLUME, recurrence=recurrence)
    assert slices_that_change(model, 0, 4) == [{0, 1, 2, 3, 4}] * 2


def test_recurrences_can_be_placed_at_several_levels():
    with without_values():
        layers = build("unet-lnn", VOLUME, levels=2).layers
    names = {layer.name for layer in layers if layer.name.startswith("slices")}
    assert names == {f"slices{level}_{way}" for level in (1, 2) for way in ("forwards", "backwards")}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("unet-lnn", {"recurrence": "dense"}),
        ("unet-lnn", {"recurrence": "none"}),
        pytest.param("unet", {}, marks=pytest.mark.slow),  # the same as without recurrence
    ],
)
def test_controls_predict_each_slice_independently(name, arguments):
    assert slices_that_change(build(name, VOLUME, **arguments), 2) == [{2}]


def test_3d_convolutions_depend_on_neighbouring_slices():
    (changed,) = slices_that_change(build("unet", VOLUME, volumes="3d"), 2)
    assert changed > {2}


def test_recurrences_do_not_mix_distant_positions():
    """The sequence runs along the slices, so that distant positions in the plane are other sequences."""
    model = build("unet-lnn", (3, 64, 64, 1), levels=1)
    volumes = pixels_of((3, 64, 64, 1), 1)
    others = volumes.copy()
    others[:, 0, :4, :4] = 255 - others[:, 0, :4, :4]
    difference = np.abs(outputs_of(model, volumes) - outputs_of(model, others)).max(axis=(0, 4))
    assert difference[2, :16, :16].max() > 1e-6
    assert difference[2, 48:, 48:].max() == 0


def test_controls_have_similar_parameter_counts():
    with without_values():
        cfc, lstm, dense, none = (
            count_parameters(build_model("unet-lnn", (8, 64, 64, 1), 3, recurrence=kind))
            for kind in ("cfc", "lstm", "dense", "none")
        )
        plain, slices = (count_parameters(build_model("unet", shape, 3)) for shape in ((8, 64, 64, 1), (64, 64, 1)))
    assert cfc == lstm
    assert 0.99 < (dense - none) / (cfc - none) < 1.01
    assert none == plain == slices


def test_unet_lnn_without_recurrence_equals_unet():
    model, plain = build("unet-lnn", VOLUME, recurrence="none"), build("unet", VOLUME)
    plain.set_weights(model.get_weights())
    volumes = pixels_of(VOLUME)
    np.testing.assert_array_equal(outputs_of(plain, volumes), outputs_of(model, volumes))


@pytest.mark.parametrize(
    ("name", "shape", "arguments", "message"),
    [
        ("unet-lnn", (64, 64, 1), {}, r"unet-lnn reads volumes .* Received: shape \(64, 64, 1\)\. .*model unet"),
        ("unet-lnn", VOLUME, {"levels": 5}, r"levels must be at most depth \+ 1, which is 3. Received: 5"),
        ("unet", (64, 64), {}, r"unet reads images .* Received: shape \(64, 64\)"),
        ("unet", (4, 64, 1), {}, "at least 8 pixels per side"),
        ("unet", (16, 16, 1), {"depth": 0}, "depth of model unet must be greater than or equal to 1"),
        ("unet", (16, 16, 1), {"norm": "layer"}, "norm of model unet must be 'none', 'batch' or 'group'"),
        ("unet-lnn", VOLUME, {"recurrence": "transformer"}, "recurrence of model unet-lnn must be 'ltc', 'cfc'"),
    ],
)
def test_unsuitable_inputs_are_refused_in_one_line(name, shape, arguments, message):
    with pytest.raises(InputError, match=message):
        build(name, shape, **arguments)
