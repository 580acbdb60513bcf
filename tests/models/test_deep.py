"""The deep networks of the liver study: published counts, any size, images and volumes, weights from PyTorch."""

import functools
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch_deep
from forward import outputs_before_and_after, outputs_of, without_values

from keras_lnn.errors import InputError
from keras_lnn.models.deep import flatten_at_most
from keras_lnn.models.residual import residual_network
from keras_lnn.registry import build_model, count_parameters, get_model, list_models
from keras_lnn.saved.export import export_model
from keras_lnn.saved.predictor import load_predictor
from keras_lnn.saved.signature import Signature, save_keras
from keras_lnn.saved.torch_weights import load_torch_weights

PUBLISHED = {
    "alexnet": 46_736_067,
    "vgg19": 139_581_379,
    "resnet18": 11_176_579,
    "resnet34": 21_279_939,
    "resnet50": 23_507_971,
    "resnet152": 58_143_683,
}
# Without the 1x1 convolutions 64 to 128 to 256 to 512 and the two numbers a channel of their normalisation.
PLAIN = PUBLISHED["resnet34"] - (64 * 128 + 128 * 256 + 256 * 512) - 2 * (128 + 256 + 512)
NAMES = [*PUBLISHED, "resnet34-plain"]
SMALL, LARGE = (28, 28, 1), (64, 64, 3)
VOLUME = (28, 28, 28, 1)


# As the registered ones, in a size that a test can train.
TINY = residual_network("tiny", {"block": "basic", "repeats": [1, 2], "biases": "first"}, widths=(8, 16))
TINY_BOTTLENECK = residual_network("tiny", {"block": "bottleneck", "repeats": [2, 1], "biases": "none"}, widths=(8, 16))
# Two convolutions as wide as some of resnet18.
WIDE = residual_network("wide", {"block": "basic", "repeats": [1, 1], "biases": "all"}, widths=(128, 256))


def pixels_of(shape: tuple[int, ...], count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *shape)).astype(np.float32)


def require_gradients(model: keras.Model, images: np.ndarray) -> None:
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(images, training=True) - 1.0))
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(gradient is not None and np.isfinite(gradient).all() for gradient in gradients)
    assert np.mean([np.abs(gradient).max() > 0 for gradient in gradients]) > 0.9


def randomise_statistics(model: keras.Model) -> None:
    """Sets statistics with which batch normalisation changes its inputs."""
    generator = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([generator.uniform(0.5, 1.0, part.shape) for part in layer.get_weights()])


def test_the_tests_cover_the_whole_family():
    assert {entry.name for entry in list_models() if entry.family == "deep"} == set(NAMES)
    for name in NAMES:
        protocol = get_model(name).protocol
        assert protocol["batch_size"] == 32
        assert (protocol["optimizer"], protocol["learning_rate"], protocol["weight_decay"]) == ("adam", 1e-4, 1e-5)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name in ("resnet34", "resnet152") else name for name in NAMES],
)
def test_parameter_counts_equal_the_published_ones(name):
    with without_values():
        model = build_model(name, (224, 224, 1), 3)
        assert count_parameters(model) == (PUBLISHED | {"resnet34-plain": PLAIN})[name]
        assert model.output_shape == (None, 3)


@pytest.mark.parametrize("build", [TINY, TINY_BOTTLENECK], ids=["basic", "bottleneck"])
def test_small_models_train_save_and_reload(build, tmp_path):
    model = build(SMALL, 3)
    require_gradients(model, pixels_of(SMALL))
    compiled = build is TINY_BOTTLENECK  # the other has a graph with volumes
    assert outputs_before_and_after(model, pixels_of(SMALL), tmp_path / "model.keras", compiled=compiled).shape[1] == 3


@pytest.mark.parametrize(
    ("name", "shape"),
    [pytest.param(name, shape, marks=pytest.mark.slow) for name in NAMES for shape in (SMALL, LARGE, (224, 224, 1))],
)
def test_models_train_save_export_and_reload(name, shape, tmp_path):
    model = build_model(name, shape, 3)
    images = pixels_of(shape)
    assert model.name == name
    require_gradients(model, images)
    before = outputs_of(model, images)
    signature = Signature(
        model=name,
        model_args={},
        task="multi-class",
        class_names=("a", "b", "c"),
        image_shape=shape,
        data="none",
        size=None,
        checksum="none",
        licence="none",
        parameters=count_parameters(model),
        seed=None,
        best_epoch=None,
        trained_by="test",
    )
    save_keras(model, signature, tmp_path / "model.keras")
    del model
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(outputs_of(again, images), before)
    del again
    export_model(tmp_path / "model.keras", tmp_path / "exported")
    found = load_predictor(tmp_path / "exported").predict(images.astype(np.uint8))
    np.testing.assert_allclose(found, keras.ops.convert_to_numpy(keras.ops.softmax(before)), atol=1e-5)


@pytest.mark.parametrize("volumes", ["2.5d", "3d"])
@pytest.mark.parametrize("name", [None, *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES)])
def test_deep_networks_read_volumes(name, volumes, tmp_path):
    build = functools.partial(build_model, name) if name else TINY
    model = build(VOLUME, 2, volumes=volumes)
    assert any(isinstance(layer, keras.layers.Conv3D) for layer in model.layers) == (volumes == "3d")
    pixels = pixels_of(VOLUME, 1 if name == "alexnet" else 2)
    require_gradients(model, pixels)
    outputs_before_and_after(model, pixels, tmp_path / "model.keras", compiled=bool(name) or volumes == "3d")


def test_slices_are_images_whose_features_are_averaged():
    model, of_images = TINY((5, 28, 28, 1), 3), TINY(SMALL, 3)
    randomise_statistics(model)
    of_images.set_weights(model.get_weights())
    volumes = pixels_of((5, 28, 28, 1))
    # Behind the features all is linear: the mean of the slices' logits is the logits of their mean features.
    each = outputs_of(of_images, volumes.reshape(10, 28, 28, 1)).reshape(2, 5, 3)
    np.testing.assert_allclose(outputs_of(model, volumes), each.mean(axis=1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("stem", ["small", "large"])
def test_inflated_2d_kernels_give_equal_features_on_constant_volumes(stem):
    """One-slice kernels give the same features for a volume of equal slices as for one image."""
    model, of_images = TINY((20, 28, 28, 1), 3, volumes="3d", stem=stem), TINY(SMALL, 3, stem=stem)
    randomise_statistics(of_images)
    for layer, flat in zip(model.layers, of_images.layers, strict=True):
        weights = flat.get_weights()
        if isinstance(layer, keras.layers.Conv3D):
            inflated = np.zeros(layer.kernel.shape)
            inflated[layer.kernel_size[0] // 2] = weights[0]
            weights = [inflated, *weights[1:]]
        layer.set_weights(weights)
    images = pixels_of(SMALL)
    volumes = np.repeat(images[:, None], 20, axis=1)
    expected = outputs_of(of_images, images)
    np.testing.assert_allclose(outputs_of(model, volumes), expected, rtol=1e-4, atol=1e-4)


def test_the_stem_is_chosen_by_the_size():
    for side, stem, kernel, maps in (
        (28, "auto", 3, 28),
        (63, "auto", 3, 63),
        (64, "auto", 7, 32),
        (28, "large", 7, 14),
        (64, "small", 3, 64),
    ):
        with without_values():
            first = TINY((side, side, 1), 2, stem=stem).get_layer("conv1")
        assert first.kernel.shape == (kernel, kernel, 1, 8)
        assert first.output.shape[1:3] == (maps, maps)


@pytest.mark.parametrize(
    ("name", "shape", "maps"),
    [
        ("alexnet", SMALL, (5, 5, 256)),
        ("alexnet", LARGE, (2, 2, 256)),
        ("vgg19", (28, 63, 1), (1, 3, 512)),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("alexnet", (300, 260, 2), (5, 5, 256)),
                ("vgg19", SMALL, (1, 1, 512)),
                ("vgg19", LARGE, (2, 2, 512)),
                ("vgg19", (320, 224, 1), (7, 7, 512)),
            )
        ),
    ],
)
def test_dense_layers_adapt_to_other_image_sizes(name, shape, maps):
    with without_values():
        model = build_model(name, shape, 2)
        (flat,) = (layer for layer in model.layers if isinstance(layer, keras.layers.Flatten))
        assert flat.input.shape[1:] == maps


def test_images_need_not_be_square():
    assert outputs_of(TINY((28, 90, 3), 5), pixels_of((28, 90, 3), 1)).shape == (1, 5)


def test_plain_has_no_shortcuts():
    with without_values():
        plain, residual = build_model("resnet34-plain", SMALL, 2), build_model("resnet34", SMALL, 2)
    assert not any(isinstance(layer, keras.layers.Add) for layer in plain.layers)
    assert all(isinstance(layer.input, keras.KerasTensor) for layer in plain.layers[1:])
    assert sum(isinstance(layer, keras.layers.Add) for layer in residual.layers) == 16
    assert sum("downsample_0" in layer.name for layer in residual.layers) == 3


def test_blocks_do_not_share_weights():
    model = TINY(SMALL, 2)
    kernels = [layer.get_weights()[0] for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(kernels) == 1 + 2 * 3 + 1
    alike = [kernel for kernel in kernels if kernel.shape == (3, 3, 16, 16)]
    assert len(alike) == 3
    assert not any(np.array_equal(one, other) for one, other in itertools.pairwise(alike))


@pytest.mark.parametrize(
    ("name", "deviation", "most"),
    [
        # Fan-in 9 * 128 of a convolution from 128 to 256 channels, fan-out 9 * 256.
        ("he-normal", (2 / 1152) ** 0.5, None),
        ("he-uniform", (2 / 1152) ** 0.5, (6 / 1152) ** 0.5),
        ("glorot-normal", (2 / (1152 + 2304)) ** 0.5, None),
        ("glorot-uniform", (2 / (1152 + 2304)) ** 0.5, (6 / (1152 + 2304)) ** 0.5),
        ("framework-uniform", (1 / (3 * 1152)) ** 0.5, (1 / 1152) ** 0.5),
    ],
)
def test_the_named_initializer_is_used(name, deviation, most):
    model = WIDE(SMALL, 2, initialisation=name)
    kernel, bias = model.get_layer("layer2_0_conv1").get_weights()
    assert kernel.shape == (3, 3, 128, 256)
    assert abs(kernel.std() / deviation - 1) < 0.01
    assert abs(kernel.mean()) < 0.01 * deviation
    if most is not None:
        assert 0.99 * most < np.abs(kernel).max() <= most
    if name == "framework-uniform":
        assert abs(bias.std() / deviation - 1) < 0.15
        assert np.abs(bias).max() <= most
    else:
        assert not bias.any()


def test_dropout_is_at_the_documented_layers():
    def places(model):
        return [index for index, layer in enumerate(model.layers) if isinstance(layer, keras.layers.Dropout)]

    assert places(TINY(SMALL, 2)) == []
    residual = TINY(SMALL, 2, dropout=0.3)
    assert places(residual) == [len(residual.layers) - 2]
    for name, rate, count in (("vgg19", 0.5, 2), ("vgg19", 0.0, 0), ("alexnet", 0.1, 2)):
        with without_values():
            model = build_model(name, SMALL, 2, dropout=rate)
        assert [model.layers[index].rate for index in places(model)] == [rate] * count
        assert [model.layers[index - 1].units for index in places(model)] == [4096] * count


@pytest.mark.parametrize(
    ("shape", "arguments", "message"),
    [
        ((27, 40, 1), {}, r"at least 28 pixels per side\. Received: shape \(27, 40, 1\)"),
        ((28, 28), {}, r"reads images .* Received: shape \(28, 28\)"),
        ((5, 28, 28, 1), {"volumes": "3d"}, r"at least 12 slices\. Received: .* Give --model-args volumes=2\.5d"),
        (SMALL, {"initialisation": "uniform"}, "initialisation of model resnet18 must be 'he-normal'"),
        (SMALL, {"volumes": "2d"}, r"must be '2\.5d' or '3d'\. Received: '2d'"),
    ],
)
def test_unsuitable_inputs_are_refused_in_one_line(shape, arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        build_model("resnet18", shape, 2, **arguments)
    assert "\n" not in str(caught.value)


def compare_with_pytorch(model: keras.Model, repeats: tuple, bottleneck: bool, has_biases: bool, width: int) -> None:
    """Weights by torchvision's names in torchvision's order: shortcuts after the convolutions that they bypass."""
    first = model.get_layer("conv1")
    arrays = torch_deep.residual_state_dict(repeats, bottleneck, has_biases, first.kernel_size[0], width)
    images = pixels_of(SMALL)
    expected = torch_deep.run_residual(arrays, repeats, bottleneck, (images / 127.5 - 1).transpose(0, 3, 1, 2))
    load_torch_weights(model, arrays)
    np.testing.assert_allclose(outputs_of(model, images), expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("build", "repeats", "stem", "biases"),
    [
        (TINY, (1, 2), "small", "all"),
        (TINY_BOTTLENECK, (2, 1), "large", "none"),
        *(
            pytest.param(*kind, stem, biases, marks=pytest.mark.slow)
            for kind in ((TINY, (1, 2)), (TINY_BOTTLENECK, (2, 1)))
            for stem, biases in (("small", "none"), ("large", "all"))
        ),
        pytest.param(TINY, (1, 2), "large", "none", marks=pytest.mark.slow),
        pytest.param(TINY_BOTTLENECK, (2, 1), "small", "all", marks=pytest.mark.slow),
    ],
)
def test_residual_weights_are_imported_from_pytorch(build, repeats, stem, biases, tmp_path):
    model = build(SMALL, 3, stem=stem, biases=biases)
    compare_with_pytorch(model, repeats, build is TINY_BOTTLENECK, biases == "all", 8)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    compare_with_pytorch(again, repeats, build is TINY_BOTTLENECK, biases == "all", 8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "repeats", "stem"),
    [
        ("resnet18", (2, 2, 2, 2), "small"),
        ("resnet34", (3, 4, 6, 3), "large"),
        ("resnet50", (3, 4, 6, 3), "small"),
        ("resnet152", (3, 8, 36, 3), "large"),
    ],
)
def test_weights_of_large_networks_are_imported_from_pytorch(name, repeats, stem):
    has_biases = name == "resnet18"
    model = build_model(name, SMALL, 3, stem=stem, biases="all" if has_biases else "none")
    compare_with_pytorch(model, repeats, name in ("resnet50", "resnet152"), has_biases, 64)


def test_residual_weights_of_images_read_volumes_by_slices():
    arrays = torch_deep.residual_state_dict((1, 2), False, False, 3, 8)
    model = TINY((3, 28, 28, 1), 3, biases="none")
    load_torch_weights(model, arrays)
    volumes = pixels_of((3, 28, 28, 1), 1)
    each = torch_deep.run_residual(arrays, (1, 2), False, (volumes[0] / 127.5 - 1).transpose(0, 3, 1, 2))
    np.testing.assert_allclose(outputs_of(model, volumes)[0], each.mean(axis=0), rtol=1e-3, atol=1e-4)


def test_weights_without_biases_need_layers_without_them():
    arrays = torch_deep.residual_state_dict((1, 2), False, False, 3, 8)
    with pytest.raises(InputError, match=r"must hold conv1\.bias.* Build the layer as it was in PyTorch"):
        load_torch_weights(TINY(SMALL, 3), arrays)


def test_maps_are_averaged_and_flattened_as_in_pytorch():
    maps = np.random.default_rng(0).normal(size=(2, 6, 8, 3)).astype(np.float32)
    inputs = keras.Input((6, 8, 3))
    found = keras.Model(inputs, flatten_at_most(inputs, 5))(maps)
    assert found.shape == (2, 75)
    expected = torch_deep.average_to(maps.transpose(0, 3, 1, 2), 5).transpose(0, 2, 3, 1).reshape(2, 75)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(found), expected, atol=1e-6)
    assert flatten_at_most(keras.Input((4, 9, 3)), 5).shape == (None, 4 * 5 * 3)
    assert len(keras.Model(inputs, flatten_at_most(inputs, 8)).layers) == 2


@pytest.mark.slow
def test_alexnet_weights_are_imported_from_pytorch():
    """The dense layer after the maps is reordered from channels first to channels last."""
    generator = np.random.default_rng(0)
    arrays, before = {}, 1
    for index, (filters, kernel) in enumerate(((96, 3), (256, 5), (384, 3), (384, 3), (256, 3))):
        arrays |= torch_deep.draw_convolution(generator, f"features.{index}", filters, before, kernel, True)
        before = filters
    for index, (units, features) in enumerate(((4096, 6400), (4096, 4096), (3, 4096))):
        arrays |= torch_deep.draw_dense(generator, f"classifier.{index}", units, features)
    images = pixels_of(SMALL)
    maps = (images / 127.5 - 1).transpose(0, 3, 1, 2)
    for index in range(5):
        maps = np.maximum(torch_deep.convolve(arrays, f"features.{index}", maps), 0)
        maps = torch_deep.pool(maps, 3, 2, np.max) if index in (1, 4) else maps
    assert maps.shape == (2, 256, 6, 6)
    features = torch_deep.average_to(maps, 5).reshape(2, -1)
    for index in range(2):
        features = np.maximum(torch_deep.apply_dense(arrays, f"classifier.{index}", features), 0)
    expected = torch_deep.apply_dense(arrays, "classifier.2", features)
    model = build_model("alexnet", SMALL, 3)
    load_torch_weights(model, arrays)
    np.testing.assert_allclose(outputs_of(model, images), expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
