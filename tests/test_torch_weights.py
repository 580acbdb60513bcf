"""Weights from PyTorch: the published network to its published outputs, and every misfit told."""

import keras
import numpy as np
import pytest

from keras_lnn.config import TrainConfig
from keras_lnn.data import load_data
from keras_lnn.errors import InputError
from keras_lnn.evaluating import evaluate_model
from keras_lnn.inference import load_model, load_predictor
from keras_lnn.layers import CfC
from keras_lnn.registry import build_model
from keras_lnn.torch_weights import import_weights, load_torch_weights, read_state_dict
from keras_lnn.training import complete_config


def published_layout(model: keras.Model, seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights in PyTorch's layout for an lnn, as somebody would save them."""
    generator = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return generator.normal(0, 0.1, shape).astype(np.float32)

    arrays = {}
    channels = [1, 16, 32, 64, 128]
    for index, kernel in enumerate((3, 3, 5, 5), start=1):
        arrays[f"conv{index}.weight"] = draw(channels[index], channels[index - 1], kernel, kernel)
        arrays[f"conv{index}.bias"] = draw(channels[index])
        if index in (2, 4):
            arrays |= {f"bn{index}.{name}": draw(channels[index]) for name in ("weight", "bias", "running_mean")}
            arrays[f"bn{index}.running_var"] = np.abs(draw(channels[index])) + 0.5
            arrays[f"bn{index}.num_batches_tracked"] = np.array(7)
    for index, cell in enumerate(model.get_layer("cfc").cell.layer_cells):
        prefix = f"rnn.rnn_cell.layer_{index}"
        inputs = cell.sparsity_mask.shape[0]
        arrays[f"{prefix}.sparsity_mask"] = cell.sparsity_mask.T
        for name in ("ff1", "ff2", "time_a", "time_b"):
            arrays[f"{prefix}.{name}.weight"] = draw(cell.units, inputs)
            arrays[f"{prefix}.{name}.bias"] = draw(cell.units)
    return arrays


@pytest.fixture(scope="module")
def model():
    return build_model("lnn", (28, 28, 1), 2)


def reference_convolution(images, weight, bias, stride, padding):
    """A PyTorch convolution in numpy: channels first, zero padding on all sides."""
    images = np.pad(images, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(images, weight.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
    return np.einsum("nchwij,ocij->nohw", windows, weight) + bias[:, None, None]


def reference_lnn(arrays, images):
    """The published network from PyTorch's weights, in plain numpy."""
    maps = ((images.astype(float) / 255 - 0.5) / 0.5).transpose(0, 3, 1, 2)
    for index, (stride, padding) in enumerate(((1, 0), (2, 2), (2, 2), (2, 2)), start=1):
        maps = reference_convolution(maps, arrays[f"conv{index}.weight"], arrays[f"conv{index}.bias"], stride, padding)
        if index in (2, 4):
            mean, var, scale, shift = (
                arrays[f"bn{index}.{name}"][:, None, None] for name in ("running_mean", "running_var", "weight", "bias")
            )
            maps = (maps - mean) / np.sqrt(var + 1e-5) * scale + shift
        maps = np.maximum(maps, 0)
    maps = maps.reshape(len(maps), 128, 2, 2, 2, 2).max(axis=(3, 5))
    sequence = maps.reshape(len(maps), 32, 16)
    states = [np.zeros((len(maps), len(arrays[f"rnn.rnn_cell.layer_{i}.ff1.bias"]))) for i in range(3)]
    for step in range(32):
        features = sequence[:, step]
        for i in range(3):
            part = {k.split(f"layer_{i}.")[1]: v for k, v in arrays.items() if f"layer_{i}." in k}
            joined = np.concatenate([features, states[i]], axis=1)
            first, second = (
                np.tanh(joined @ (part[f"{n}.weight"] * part["sparsity_mask"]).T + part[f"{n}.bias"])
                for n in ("ff1", "ff2")
            )
            times = sum(joined @ part[f"{n}.weight"].T + part[f"{n}.bias"] for n in ("time_a", "time_b"))
            gate = 1 / (1 + np.exp(-times))
            features = states[i] = first * (1 - gate) + gate * second
    return features


def test_the_network_is_the_published_one(model):
    """The same weights through an independent account of the published network give the same outputs."""
    arrays = published_layout(model)
    load_torch_weights(model, arrays)
    images = np.random.default_rng(1).integers(0, 256, (3, 28, 28, 1), dtype=np.uint8)
    np.testing.assert_allclose(
        model.predict_on_batch(images.astype("float32")), reference_lnn(arrays, images), atol=1e-4
    )


def test_dense_layers_behind_maps_are_reordered():
    inputs = keras.Input((4, 5, 3))
    flat = keras.layers.Dropout(0.5)(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2, use_bias=False)(flat))
    weight = np.random.default_rng(0).normal(size=(2, 60)).astype(np.float32)
    load_torch_weights(model, {"fc.weight": weight})
    images = np.random.default_rng(1).normal(size=(3, 4, 5, 3)).astype(np.float32)
    expected = images.transpose(0, 3, 1, 2).reshape(3, 60) @ weight.T
    np.testing.assert_allclose(model.predict_on_batch(images), expected, atol=1e-5)


@pytest.mark.parametrize("mode", ["default", "pure", "no_gate"])
def test_a_dense_cfc_comes_over(mode):
    inputs = keras.Input((6, 4))
    model = keras.Model(inputs, CfC(5, mode=mode, backbone_units=7, backbone_layers=2)(inputs))
    generator = np.random.default_rng(0)
    shapes = {"backbone.0": (7, 9), "backbone.2": (7, 7), "ff1": (5, 7)}
    if mode != "pure":
        shapes |= {"ff2": (5, 7), "time_a": (5, 7), "time_b": (5, 7)}
    arrays = {f"rnn.rnn_cell.{name}.weight": generator.normal(size=shape) for name, shape in shapes.items()}
    arrays |= {f"rnn.rnn_cell.{name}.bias": generator.normal(size=shape[0]) for name, shape in shapes.items()}
    if mode == "pure":
        arrays |= {f"rnn.rnn_cell.{name}": generator.normal(size=(1, 5)) for name in ("w_tau", "A")}
    load_torch_weights(model, arrays)
    values = np.random.default_rng(1).normal(size=(2, 6, 4)).astype(np.float32)
    state = np.zeros((2, 5))
    part = {name.removeprefix("rnn.rnn_cell."): value for name, value in arrays.items()}
    for step in range(6):
        joined = np.concatenate([values[:, step], state], axis=1)
        for name in ("backbone.0", "backbone.2"):
            joined = 1.7159 * np.tanh(0.666 * (joined @ part[f"{name}.weight"].T + part[f"{name}.bias"]))
        first = joined @ part["ff1.weight"].T + part["ff1.bias"]
        if mode == "pure":
            state = part["A"] - part["A"] * np.exp(-(np.abs(part["w_tau"]) + np.abs(first))) * first
            continue
        second, times = (joined @ part[f"{n}.weight"].T + part[f"{n}.bias"] for n in ("ff2", "time_a"))
        gate = 1 / (1 + np.exp(-(times + joined @ part["time_b.weight"].T + part["time_b.bias"])))
        state = np.tanh(first) * (1.0 if mode == "no_gate" else 1 - gate) + gate * np.tanh(second)
    np.testing.assert_allclose(model.predict_on_batch(values), state, atol=1e-4)


def drop(name):
    return lambda arrays: arrays.pop(name)


def put(name, value):
    return lambda arrays: arrays.update({name: value})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop("conv1.bias"), r"must hold conv1\.bias"),
        (
            put("conv3.weight", np.zeros((64, 32, 3, 3))),
            r"conv3\.weight must fit .*\(5, 5, 32, 64\)\. Received: \(3, 3",
        ),
        (put("extra.weight", np.zeros((3, 4))), "Received: extra without one"),
        (put("odd.weight", np.zeros(3)), "Received: odd"),
        (put("conv2.bias", np.full(32, np.nan)), r"finite numbers\. Received: conv2\.bias"),
        (put("conv2.bias", np.array(["a"] * 32)), "finite numbers"),
        (put("rnn.rnn_cell.layer_1.sparsity_mask", np.ones((6, 17))), "wiring of rnn must be that of the model"),
        (lambda arrays: [arrays.pop(name) for name in list(arrays) if name.startswith("conv4")], "none is left"),
    ],
)
def test_a_misfit_changes_nothing(model, damage, message):
    before = model.get_weights()
    arrays = published_layout(model, seed=5)
    damage(arrays)
    with pytest.raises(InputError, match=message):
        load_torch_weights(model, arrays)
    assert all(np.array_equal(left, right) for left, right in zip(model.get_weights(), before, strict=True))


def test_an_import_serves_like_a_run(model, tmp_path):
    arrays = published_layout(model, seed=2)
    np.savez(tmp_path / "weights.npz", **arrays, notes=np.zeros(3))
    config = TrainConfig(model="lnn", data="phantom-breast", run_dir=tmp_path / "imported")
    folder = import_weights(tmp_path / "weights.npz", complete_config(config))
    images = load_data("phantom-breast").splits["val"].images[:4]
    logits = reference_lnn(arrays, images)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(load_predictor(folder.path).predict(images), expected, atol=1e-5)
    assert evaluate_model(folder.path, split="val")["data"] == "phantom-breast"


@pytest.mark.parametrize("content", [b"no zip", None])
def test_what_is_no_weights_file_is_told(tmp_path, content):
    path = tmp_path / "weights.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"numpy\.savez") as caught:
        read_state_dict(path)
    assert "\n" not in str(caught.value)


def test_the_published_weights_give_the_published_results(real_data_dir, tmp_path):
    weights = real_data_dir.parent / "reference" / "lnn_breastmnist_published.npz"
    if not weights.is_file():
        pytest.skip("the published weights are not beside the data")
    config = TrainConfig(model="lnn", data="breastmnist", data_dir=real_data_dir, run_dir=tmp_path / "published")
    folder = import_weights(weights, complete_config(config))
    images = load_data("breastmnist", data_dir=real_data_dir).splits["test"].images
    logits = load_model(folder.path).predict_on_batch(images.astype("float32"))
    with np.load(weights) as stored:
        np.testing.assert_allclose(logits, stored["test_logits"], atol=1e-4)
    found = evaluate_model(folder.path)["test"]
    assert [round(found[name]["value"], 4) for name in ("auc", "accuracy", "f1")] == [0.8897, 0.8462, 0.8974]
