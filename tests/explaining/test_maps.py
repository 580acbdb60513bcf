"""Maps of where a model looks, against cases whose answer is known."""

import keras
import numpy as np
import pytest
from explained_models import draw_images, make_convolutions, make_linear, make_predictor
from scipy.ndimage import gaussian_filter

from keras_lnn.data.arrays import SeriesArray
from keras_lnn.errors import InputError
from keras_lnn.explaining import pixels
from keras_lnn.explaining.feature_maps import FeatureMaps
from keras_lnn.explaining.maps import METHODS, explain, make_subject
from keras_lnn.layers import LTC, CfC, FlippedViews, MeanOfViews, Rows, apply_to_slices
from keras_lnn.registry import build_model, get_model, list_models

IMAGES = draw_images(4, 6, 6, 1)
LARGER = draw_images(3, 8, 8, 1)


@pytest.fixture(scope="module")
def linear():
    model, weights = make_linear()
    return make_predictor(model), weights


@pytest.fixture(scope="module")
def convolutions():
    return make_predictor(make_convolutions())


def maps_of(model, *names):
    """Returns the outputs of some layers for ``LARGER``."""
    inner = keras.Model(model.input, [model.get_layer(name).output for name in names])
    found = inner(LARGER.astype("float32"))
    return [keras.ops.convert_to_numpy(maps) for maps in keras.tree.flatten(found)]


def test_integrated_gradients_of_a_linear_network_are_weight_times_pixel(linear):
    predictor, weights = linear
    margin = weights[..., 1] - weights[..., 0]
    maps = explain(predictor, IMAGES, "integrated-gradients", target=1)
    np.testing.assert_allclose(maps, IMAGES[..., 0] * margin, rtol=1e-4, atol=1e-3)
    assert maps.dtype == np.float32


def test_integrated_gradients_sum_to_the_difference_of_the_logits(convolutions):
    maps = explain(convolutions, LARGER, "integrated-gradients", target="b")
    logits = make_subject(convolutions).logits
    both = logits([LARGER.astype("float32")]) - logits([np.zeros((1, 8, 8, 1), np.float32)])
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), both[:, 1] - both[:, 0], rtol=0.02)


def test_the_predicted_side_of_two_classes_is_explained(linear):
    predictor, _ = linear
    logits = make_subject(predictor).logits([IMAGES.astype("float32")])
    assert len(set(logits.argmax(axis=1))) == 2  # or this test shows nothing
    chosen = explain(predictor, IMAGES, "integrated-gradients")
    sides = [explain(predictor, IMAGES, "integrated-gradients", target=side) for side in (0, 1)]
    np.testing.assert_array_equal(chosen, np.stack([sides[side][row] for row, side in enumerate(logits.argmax(1))]))
    np.testing.assert_array_equal(sides[0], -sides[1])


@pytest.mark.parametrize("target", [2, -1, "z"])
def test_an_unknown_target_or_method_is_one_line(linear, target):
    with pytest.raises(InputError, match=r"target must be a class or an index from 0 to 1\. Received"):
        explain(linear[0], IMAGES, "occlusion", target=target)
    with pytest.raises(InputError, match=r"There is no method 'gradcam'. Did you mean grad-cam"):
        explain(linear[0], IMAGES, "gradcam")


def test_occlusion_of_a_network_that_reads_one_pixel_shows_the_windows_around_it():
    inputs = keras.Input((9, 9, 1))
    logit = inputs[:, 4, 4] / 255.0
    predictor = make_predictor(keras.Model(inputs, keras.ops.concatenate([-logit, logit], axis=-1)))
    images = np.zeros((1, 9, 9, 1), np.uint8)
    images[0, 4, 4] = 255
    (found,) = explain(predictor, images, "occlusion", target="b")
    # So few pixels have a window each. A window takes away as much as it weighs at the pixel.
    fall = 2 * (1 - gaussian_filter(images[0, ..., 0] / 255.0, 9 / 6, mode="nearest")[4, 4])
    weights = np.exp(-(np.subtract.outer(np.arange(9), np.arange(9)) ** 2) / (2 * 0.625**2))
    along = weights @ weights[4] / weights.sum(axis=0)
    np.testing.assert_allclose(found, fall * np.outer(along, along), rtol=1e-4, atol=1e-6)


def test_occlusion_is_the_same_with_one_window_at_a_time(linear, monkeypatch):
    together = explain(linear[0], IMAGES, "occlusion", target=1)
    monkeypatch.setattr(pixels, "batch_size_for", lambda _: 1)
    np.testing.assert_allclose(explain(linear[0], IMAGES, "occlusion", target=1), together, rtol=1e-3, atol=1e-3)
    assert pixels.count_windows((28, 28, 1), is_series=False) == 14 * 14
    assert pixels.count_windows((28, 28, 28, 1), is_series=False) == 7**3
    assert pixels.count_windows((3, 28, 28, 1), is_series=True) == 3 * 14 * 14


def test_grad_cam_by_hand(convolutions):
    (maps,) = maps_of(convolutions.model, "second_relu")
    dense = convolutions.model.get_layer("logits").get_weights()[0]
    # The gradient of the mean over 16 cells is the dense weight by 16, in each cell; the second logit counts 1.
    weights = (dense[:, 1] - dense[:, 0]) / 16
    coarse = np.maximum((maps * weights).sum(axis=-1), 0)
    centres, wanted = 0.5 + 2 * np.arange(4), np.arange(8)
    rows = np.stack([[np.interp(wanted, centres, row) for row in sample] for sample in coarse])
    expected = np.stack([[np.interp(wanted, centres, column) for column in sample.T] for sample in rows])
    found = explain(convolutions, LARGER, "grad-cam", target=1)
    np.testing.assert_allclose(found, expected.swapaxes(1, 2), rtol=1e-4, atol=1e-5)


def test_visual_backprop_by_hand(convolutions):
    first, second = maps_of(convolutions.model, "first", "second_relu")
    means = second.mean(axis=-1)
    centres, wanted = 0.5 + 2 * np.arange(4), np.arange(8)
    rows = np.stack([[np.interp(wanted, centres, row) for row in sample] for sample in means])
    larger = np.stack([[np.interp(wanted, centres, column) for column in sample.T] for sample in rows])
    expected = larger.swapaxes(1, 2) * first.mean(axis=-1)
    expected /= expected.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(explain(convolutions, LARGER, "visual-backprop"), expected, rtol=1e-4, atol=1e-5)


def test_the_last_convolution_of_a_residual_block_is_that_after_the_sum():
    inputs = keras.Input((8, 8, 1))
    start = keras.layers.ReLU()(keras.layers.Conv2D(2, 3, padding="same", name="start")(inputs))
    inside = keras.layers.BatchNormalization()(keras.layers.Conv2D(2, 3, padding="same", name="inside")(start))
    end = keras.layers.ReLU()(keras.layers.Add()([inside, start]))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(end)))
    maps = FeatureMaps(model)
    assert [block.name for block in maps.blocks] == ["start", "inside"]
    (found,) = maps.values([LARGER.astype("float32")], maps.blocks[-1:])
    expected = keras.Model(inputs, end)(LARGER.astype("float32"))
    np.testing.assert_allclose(found, keras.ops.convert_to_numpy(expected), rtol=1e-5, atol=1e-4)


def test_a_network_is_not_changed_by_looking_at_it(convolutions):
    layer = convolutions.model.get_layer("second")
    before = convolutions.model.get_weights()
    explain(convolutions, LARGER, "layer-cam")
    assert layer.output is not None  # a layer that had been called again would have two outputs
    for weight, after in zip(before, convolutions.model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, after)


def test_compiled_functions_return_what_eager_ones_return(convolutions):
    compiled = FeatureMaps(convolutions.model, compiled=True)
    plain = make_subject(convolutions).maps
    weights = np.tile([[-1.0, 1.0]], (3, 1)).astype("float32")
    images = [LARGER.astype("float32")]
    for found, expected in zip(
        compiled.values_and_gradients(images, compiled.blocks, weights),
        plain.values_and_gradients(images, plain.blocks, weights),
        strict=True,
    ):
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    # Another number of images is traced again.
    fewer = [images[0][:1]]
    (first, _), (same, _) = compiled.values(fewer, compiled.blocks), plain.values(fewer, plain.blocks)
    np.testing.assert_allclose(first, same, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [pytest.param("ltc", marks=pytest.mark.slow), "cfc"])
def test_gradients_flow_through_liquid_layers(kind):
    layer = LTC(4, ode_unfolds=2) if kind == "ltc" else CfC(4, backbone_units=4)
    inputs = keras.Input((5, 3, 1))
    steps = Rows()(keras.layers.Rescaling(1 / 255)(inputs))
    subject = make_subject(make_predictor(keras.Model(inputs, keras.layers.Dense(2)(layer(steps)))))
    images = draw_images(1, 5, 3, 1).astype("float32")
    weights = np.array([[-1.0, 1.0]], np.float32)
    found = subject.pixel_gradients([images], weights)
    moved = np.eye(15, dtype=np.float32).reshape(15, 5, 3, 1) * 4
    scores = [subject.scores([images + way * moved], np.repeat(weights, 15, axis=0)) for way in (1, -1)]
    assert np.abs(found).max() > 1e-6
    np.testing.assert_allclose(found.reshape(15), (scores[0] - scores[1]) / 8, atol=0.05 * np.abs(found).max())


@pytest.mark.parametrize(
    "method", ["visual-backprop", *(pytest.param(name, marks=pytest.mark.slow) for name in ("occlusion", "layer-cam"))]
)
def test_maps_of_frames_are_their_own_and_padded_frames_are_zero(method):
    images, times = keras.Input((4, 8, 8, 1)), keras.Input((4,))
    features = apply_to_slices(make_convolutions(classes=3), images)
    summed = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling1D()(features))
    model = keras.Model([images, times], summed + 0 * keras.ops.sum(keras.ops.nan_to_num(times)))
    series = SeriesArray.join(list(draw_images(2, 4, 8, 8, 1)), [np.arange(4.0)] * 2, "days")
    short = SeriesArray.join([series[0], series[1][:2]], [np.arange(4.0), np.arange(2.0)], "days")
    predictor = make_predictor(model, image_shape=(4, 8, 8, 1), time_unit="days")
    maps = explain(predictor, short, method)
    assert maps.shape == (2, 4, 8, 8)
    assert (maps[1, 2:] == 0).all()
    assert (maps[:, :2] != 0).any(axis=(2, 3)).all()


@pytest.mark.slow
def test_maps_of_a_network_that_averages_over_views_turn_with_the_image():
    inputs = keras.Input((8, 8, 1))
    logits = make_convolutions()(FlippedViews((1, 2))(inputs))
    predictor = make_predictor(keras.Model(inputs, MeanOfViews(4)(logits)))
    turned = np.ascontiguousarray(LARGER[:, ::-1])
    maps, found = (explain(predictor, images, "grad-cam", target=1) for images in (LARGER, turned))
    np.testing.assert_allclose(found, maps[:, ::-1], rtol=1e-3, atol=1e-4)


def test_segmentation_is_explained_by_the_pixels_of_the_class():
    inputs = keras.Input((4, 4, 1))
    logits = keras.layers.Conv2D(3, 1, use_bias=False)
    model = keras.Model(inputs, logits(inputs))
    logits.set_weights([np.array([[[[0.0, 1.0, -1.0]]]], np.float32)])
    images = np.zeros((1, 4, 4, 1), np.uint8)
    images[0, 1:3, 2, 0] = 200, 100  # black pixels are background: the first of three equal logits
    predictor = make_predictor(model, "segmentation")
    np.testing.assert_allclose(explain(predictor, images, "integrated-gradients")[0], images[0, ..., 0], rtol=1e-4)
    nowhere = explain(predictor, images, "integrated-gradients", target="c")
    np.testing.assert_allclose(nowhere[0], -1.0 * images[0, ..., 0], rtol=1e-4)


def test_the_most_probable_label_is_explained_and_a_single_one_by_its_side():
    model, weights = make_linear(classes=3)
    predictor = make_predictor(model, "multi-label")
    chosen = make_subject(predictor).logits([IMAGES.astype("float32")]).argmax(axis=1)
    maps = explain(predictor, IMAGES, "integrated-gradients")
    np.testing.assert_allclose(maps, IMAGES[..., 0] * weights[..., chosen].transpose(2, 0, 1), rtol=1e-4, atol=1e-3)
    model, weights = make_linear(classes=1)
    single = make_predictor(model, "multi-label", classes=1)
    signs = np.sign(make_subject(single).logits([IMAGES.astype("float32")]))
    maps = explain(single, IMAGES, "integrated-gradients")
    np.testing.assert_allclose(maps, IMAGES[..., 0] * weights[..., 0] * signs[:, :, None], rtol=1e-4, atol=1e-3)


def test_a_network_without_convolutions_says_so(linear):
    for method in [name for name, entry in METHODS.items() if entry.looks_at == "feature maps"]:
        with pytest.raises(InputError, match=r"needs convolutions .* Choose integrated-gradients or occlusion"):
            explain(linear[0], IMAGES, method)


def explain_registered(name, methods):
    entry = get_model(name)
    shape = {"series": (3, 28, 28, 1)}.get(entry.reads, (28, 28, 1))
    outputs = 3 if entry.predicts == "masks" else 2
    try:
        model = build_model(name, shape, outputs)
    except InputError:
        shape = (28, 28, 28, 1)
        model = build_model(name, shape, outputs)
    task = "segmentation" if entry.predicts == "masks" else "binary"
    series = entry.reads == "series"
    predictor = make_predictor(model, task, image_shape=shape, time_unit="days" if series else None)
    images = draw_images(2, *shape)
    given = SeriesArray.join(list(images), [np.arange(3.0)] * 2, "days") if series else images
    for method in methods:
        if name in {"dnn", "multilabel-rnn"}:  # without convolutions
            with pytest.raises(InputError, match="needs convolutions"):
                explain(predictor, given, method)
            continue
        maps = explain(predictor, given, method)
        assert maps.shape == (2, *shape[:-1])
        assert np.isfinite(maps).all()
        assert method != "visual-backprop" or maps.any()


@pytest.mark.slow
@pytest.mark.parametrize("name", [entry.name for entry in list_models()])
def test_each_registered_network_has_maps_or_says_why_not(name):
    explain_registered(name, ["grad-cam", "visual-backprop"])
