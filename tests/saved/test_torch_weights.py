"""Weights from PyTorch: the published network and layers of ncps.torch give their outputs; misfits are reported."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from ncps.wirings import AutoNCP

from keras_lnn.config import TrainConfig
from keras_lnn.data import load_data
from keras_lnn.errors import InputError
from keras_lnn.layers import LTC, CfC, LearnedScale
from keras_lnn.registry import build_model
from keras_lnn.saved.predictor import load_model, load_predictor
from keras_lnn.saved.torch_weights import import_weights, load_torch_weights, read_state_dict
from keras_lnn.trained.evaluate import evaluate_model
from keras_lnn.training.protocol import complete_config


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


def test_imported_weights_give_the_published_outputs(model):
    """The same weights through an independent account of the published network give the same outputs."""
    arrays = published_layout(model)
    load_torch_weights(model, arrays)
    images = np.random.default_rng(1).integers(0, 256, (3, 28, 28, 1), dtype=np.uint8)
    outputs = keras.ops.convert_to_numpy(model(images.astype("float32")))  # without compiling the network
    np.testing.assert_allclose(outputs, reference_lnn(arrays, images), atol=1e-4)


def test_dense_layers_after_feature_maps_are_reordered():
    inputs = keras.Input((4, 5, 3))
    flat = keras.layers.Dropout(0.5)(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2, use_bias=False)(flat))
    weight = np.random.default_rng(0).normal(size=(2, 60)).astype(np.float32)
    load_torch_weights(model, {"fc.weight": weight})
    images = np.random.default_rng(1).normal(size=(3, 4, 5, 3)).astype(np.float32)
    expected = images.transpose(0, 3, 1, 2).reshape(3, 60) @ weight.T
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(images)), expected, atol=1e-5)


def test_a_learned_scale_missing_in_pytorch_becomes_one():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, LearnedScale()(keras.layers.Dense(4)(inputs)))
    weight, bias = np.arange(12.0, dtype=np.float32).reshape(4, 3), np.ones(4, np.float32)
    load_torch_weights(model, {"fc.weight": weight, "fc.bias": bias})
    values = np.array([[1.0, -1.0, 2.0]], np.float32)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(values)), values @ weight.T + bias, rtol=1e-6)


@pytest.mark.parametrize("mode", ["default", "pure", "no_gate"])
def test_a_dense_cfc_is_imported(mode):
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
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(values)), state, atol=1e-4)


@pytest.fixture(scope="module")
def expected():
    """Returns the arrays that make_torch_expected.py stored."""
    with np.load(Path(__file__).with_name("torch_expected.npz")) as stored:
        return {name: stored[name] for name in stored.files}


def state_dict_of(expected, case: str, prefix: str = "") -> dict[str, np.ndarray]:
    """A case's state_dict, of the layer itself or, with a prefix, of a network that has it."""
    shapes = json.loads(str(expected["layout"]))[case]
    parts = np.split(expected[f"{case}/weights"], np.cumsum([int(np.prod(shape)) for shape in shapes.values()])[:-1])
    return {prefix + name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


BACKBONE = {"backbone_units": 6, "backbone_layers": 2}
TORCH_LAYERS = {
    "ltc-wired": lambda: LTC(AutoNCP(12, 2), return_sequences=True),
    "ltc-dense": lambda: LTC(5, return_sequences=True),
    "ltc-wired-mixed": lambda: LTC(AutoNCP(12, 2), mixed_memory=True, return_sequences=True),
    "ltc-dense-mixed": lambda: LTC(5, mixed_memory=True, return_sequences=True),
    "ltc-explicit": lambda: LTC(5, return_sequences=True),
    "ltc-unmapped": lambda: LTC(5, input_mapping="linear", output_mapping=None, return_sequences=True),
    "cfc-default": lambda: CfC(5, return_sequences=True, **BACKBONE),
    "cfc-pure": lambda: CfC(5, mode="pure", return_sequences=True, **BACKBONE),
    "cfc-no_gate": lambda: CfC(5, mode="no_gate", return_sequences=True, **BACKBONE),
    "cfc-wired": lambda: CfC(AutoNCP(12, 2), return_sequences=True),
    "cfc-wired-mixed": lambda: CfC(AutoNCP(12, 2), mixed_memory=True, return_sequences=True),
    "cfc-dense-mixed": lambda: CfC(5, mixed_memory=True, backbone_units=6, return_sequences=True),
}


def model_around(layer, projected_to: int | None = None, is_irregular: bool = False) -> keras.Model:
    inputs = keras.Input((5, 4))
    given = (inputs, keras.Input((5,))) if is_irregular else inputs
    outputs = layer(given)
    return keras.Model(given, keras.layers.Dense(projected_to)(outputs) if projected_to else outputs)


# Each way of weights and each mode once, wired or dense.
BY_DEFAULT = ("ltc-wired", "ltc-explicit", "ltc-unmapped", "cfc-default", "cfc-pure", "cfc-wired-mixed")


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[] if case in BY_DEFAULT else pytest.mark.slow) for case in TORCH_LAYERS]
)
def test_an_ncps_layer_is_imported(case, expected):
    """The same weights give the outputs that ncps.torch gave, at every step, at regular and at irregular times."""
    timed = [("outputs", False), ("irregular_outputs", True)]
    for kind, is_irregular in timed if f"{case}/irregular_outputs" in expected else timed[:1]:
        model = model_around(TORCH_LAYERS[case](), 3 if case == "cfc-wired" else None, is_irregular)
        load_torch_weights(
            model,
            state_dict_of(expected, case),
            **({"implicit_param_constraints": False} if "explicit" in case else {}),
        )
        inputs, timespans = expected["inputs"], expected["timespans"]
        found = keras.ops.convert_to_numpy(model((inputs, timespans) if is_irregular else inputs))
        np.testing.assert_allclose(found, expected[f"{case}/{kind}"], rtol=0, atol=1e-5, err_msg=kind)


def test_cells_and_memories_are_matched_by_layer(expected):
    """Two layers of one kind, their names as those of ncps' own parts, each get their own liquid cell and memory."""
    inputs = keras.Input((5, 4))
    cases = {"lstm.": "ltc-dense-mixed", "net.rnn_cell.": "ltc-wired-mixed"}
    model = keras.Model(inputs, [TORCH_LAYERS[case]()(inputs) for case in cases.values()])
    # A state_dict that was put together by hand can have all memories after all cells.
    arrays = {
        name: value for prefix, case in cases.items() for name, value in state_dict_of(expected, case, prefix).items()
    }
    load_torch_weights(model, dict(sorted(arrays.items(), key=lambda item: "_map." in item[0])))
    for found, case in zip(model(expected["inputs"]), cases.values(), strict=True):
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(found), expected[f"{case}/outputs"], rtol=0, atol=1e-5, err_msg=case
        )


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
def test_weights_that_do_not_fit_leave_the_model_unchanged(model, damage, message):
    before = model.get_weights()
    arrays = published_layout(model, seed=5)
    damage(arrays)
    with pytest.raises(InputError, match=message):
        load_torch_weights(model, arrays)
    assert all(np.array_equal(left, right) for left, right in zip(model.get_weights(), before, strict=True))


MIXED = {"mixed_memory": True}


@pytest.mark.parametrize(
    ("case", "layer", "damage", "message"),
    [
        ("ltc-wired", lambda: LTC(AutoNCP(12, 2, seed=1)), None, "wiring of net must be that of the model"),
        (
            "ltc-wired",
            lambda: LTC(AutoNCP(12, 2)),
            lambda arrays: arrays["net.rnn_cell.sparsity_mask"].fill(1),
            "wiring of net must be that of the model",
        ),
        (
            "ltc-wired",
            lambda: LTC(AutoNCP(12, 2)),
            lambda arrays: arrays["net.rnn_cell.sensory_sparsity_mask"].fill(1),
            "wiring of net must be that of the model",
        ),
        (
            "ltc-wired",
            lambda: LTC(AutoNCP(12, 2)),
            drop("net.rnn_cell.sparsity_mask"),
            r"must hold net\.rnn_cell\.sparsity_mask",
        ),
        ("ltc-wired", lambda: LTC(12), None, r"output_w must fit .*\(12,\)\. Received: \(2,\)"),
        ("ltc-dense", lambda: LTC(5, **MIXED), None, r"must hold net\.lstm\.input_map\.weight\. Received: net without"),
        ("cfc-wired", lambda: CfC(AutoNCP(12, 2), **MIXED), None, r"must hold net\.lstm\.input_map\.weight"),
        (
            "ltc-dense-mixed",
            lambda: LTC(5, **MIXED),
            drop("net.lstm.recurrent_map.weight"),
            r"must hold net\.lstm\.recurrent_map\.weight",
        ),
        ("ltc-dense-mixed", lambda: LTC(5), None, r"net\.lstm\.input_map\.weight without one\. Build the layer"),
        ("cfc-wired-mixed", lambda: CfC(AutoNCP(12, 2)), None, r"net\.lstm\.input_map\.weight without one"),
        ("ltc-dense", lambda: LTC(5, output_mapping=None), None, r"net\.rnn_cell\.output_w without one"),
        ("ltc-unmapped", lambda: LTC(5), None, r"must hold net\.rnn_cell\.input_b"),
        ("cfc-default", lambda: CfC(5, version="ncps.keras", **BACKBONE), None, "for version='paper'"),
        ("ltc-dense-mixed", lambda: LTC(5, version="ncps.keras", **MIXED), None, "for version='paper'"),
        ("cfc-default", lambda: CfC(5, backbone_units=6), None, "backbone of net must have 1 layers. Received: 2"),
        ("cfc-default", lambda: LTC(5), None, r"a module for layer ltc\S* \(LTC\)\. Received: none is left"),
        (
            "ltc-dense-mixed",
            lambda: LTC(5, **MIXED),
            lambda arrays: [arrays.pop(name) for name in list(arrays) if ".rnn_cell." in name],
            r"LTC or CfC of ncps\.torch\. Received: net\.lstm\.input_map\.weight",
        ),
    ],
)
def test_a_layer_of_another_kind_is_reported(case, layer, damage, message, expected):
    model = model_around(layer())
    before = model.get_weights()
    arrays = state_dict_of({name: value.copy() for name, value in expected.items()}, case, "net.")
    if damage:
        damage(arrays)
    with pytest.raises(InputError, match=message):
        load_torch_weights(model, arrays)
    assert all(np.array_equal(left, right) for left, right in zip(model.get_weights(), before, strict=True))


def test_negative_weights_without_softplus_are_refused(expected):
    """Only weights before a softplus may be negative: a wrong statement of the constraints is reported."""
    arrays = state_dict_of(expected, "ltc-dense")
    with pytest.raises(InputError, match=r"^rnn_cell\.gleak must not be negative .*implicit_param_constraints=True"):
        load_torch_weights(model_around(LTC(5)), arrays, implicit_param_constraints=False)


def test_weights_without_a_matching_layer_are_reported():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(2, use_bias=False)(inputs))
    with pytest.raises(InputError, match=r"fc\.bias without one"):
        load_torch_weights(model, {"fc.weight": np.ones((2, 4)), "fc.bias": np.ones(2)})


@pytest.mark.usefixtures("eager_models")
def test_imported_weights_can_be_used_like_a_run(model, tmp_path):
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
def test_invalid_weight_files_are_reported(tmp_path, content):
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
    logits = load_model(folder.path).predict_on_batch(np.asarray(images, "float32"))
    with np.load(weights) as stored:
        np.testing.assert_allclose(logits, stored["test_logits"], atol=1e-4)
    found = evaluate_model(folder.path, positive_class="normal, benign")["test"]
    assert [round(found[name]["value"], 4) for name in ("auc", "accuracy", "f1")] == [0.8897, 0.8462, 0.8974]
