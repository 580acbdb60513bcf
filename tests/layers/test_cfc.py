"""CfC: worked out by hand, against a plain reference, saved and read back."""

import keras
import numpy as np
import pytest
from ncps.wirings import AutoNCP, FullyConnected, Random

from keras_lnn.layers import CfC, CfCCell, WiredCfCCell, lecun_tanh
from keras_lnn.layers.wiring import build_wiring, deserialize_wiring, layer_masks, serialize_wiring

MODES = ("default", "pure", "no_gate")


def sigmoid(value):
    return 1 / (1 + np.exp(-value))


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        # f1 = f2 = 0.5 * (1 + 2) + 0.25 = 1.75, t_a + t_b = 2 * 1.75 - 0.25 * 2 + 0.1 = 3.1
        ("default", np.tanh(1.75) * (1 - sigmoid(3.1)) + np.tanh(1.75) * sigmoid(3.1)),
        ("no_gate", np.tanh(1.75) + np.tanh(1.75) * sigmoid(3.1)),
        ("pure", 1.0 - np.exp(-1.75) * 1.75),
    ],
)
def test_one_step_worked_out_by_hand(mode, expected):
    cell = CfCCell(1, mode, backbone_layers=0)
    cell.build((None, 1))
    values = {"ff1_weight": 0.5, "ff2_weight": 0.5, "ff1_bias": 0.25, "ff2_bias": 0.25, "w_tau": 0.0, "A": 1.0}
    for weight in cell.weights:
        if weight.name == "kernel":
            weight.assign(np.full(weight.shape, 0.5))
        elif weight.name == "bias":
            weight.assign([0.05])
        else:
            weight.assign(np.full(weight.shape, values[weight.name]))
    output, (state,) = cell(np.array([[1.0]], np.float32), [np.array([[2.0]], np.float32)])
    np.testing.assert_allclose(output, [[expected]], rtol=1e-6)
    np.testing.assert_array_equal(output, state)


def test_lecun_tanh_equals_its_formula():
    np.testing.assert_allclose(
        lecun_tanh(np.array([0.0, 1.0, -2.0], np.float32)), 1.7159 * np.tanh([0, 0.666, -1.332]), rtol=1e-6
    )


def reference_step(cell: CfCCell, features: np.ndarray, state: np.ndarray) -> np.ndarray:
    """The paper's step in numpy, every product written on its own."""
    values = {weight.path.split("/", 1)[-1]: np.asarray(weight, np.float64) for weight in cell.weights}
    by_name = {
        path.split("/")[-1] if "time" not in path else "/".join(path.split("/")[-2:]): v for path, v in values.items()
    }
    joined = np.concatenate([features, state], axis=1)
    for index in range(cell.backbone_layers):
        kernel, bias = (
            next(v for p, v in values.items() if f"backbone{index}/{kind}" in p) for kind in ("kernel", "bias")
        )
        joined = 1.7159 * np.tanh(0.666 * (joined @ kernel + bias))
    mask = 1.0 if cell.sparsity_mask is None else np.asarray(cell.sparsity_mask)
    first = joined @ (by_name["ff1_weight"] * mask) + by_name["ff1_bias"]
    if cell.mode == "pure":
        return -by_name["A"] * np.exp(-(np.abs(by_name["w_tau"]) + np.abs(first))) * first + by_name["A"]
    second = np.tanh(joined @ (by_name["ff2_weight"] * mask) + by_name["ff2_bias"])
    gate = sigmoid(
        joined @ by_name["time_a/kernel"]
        + by_name["time_a/bias"]
        + joined @ by_name["time_b/kernel"]
        + by_name["time_b/bias"]
    )
    if cell.mode == "no_gate":
        return np.tanh(first) + gate * second
    return np.tanh(first) * (1 - gate) + gate * second


def randomise(layer: keras.Layer, seed: int = 0) -> None:
    generator = np.random.default_rng(seed)
    for weight in layer.weights:
        weight.assign(generator.normal(0, 0.5, weight.shape))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("backbone_layers", [0, 2])
def test_a_dense_layer_equals_its_cell_step_by_step(mode, backbone_layers):
    layer = CfC(5, mode=mode, backbone_units=7, backbone_layers=backbone_layers, return_sequences=True)
    inputs = np.random.default_rng(1).normal(size=(3, 6, 4)).astype(np.float32)
    layer.build(inputs.shape)
    randomise(layer)
    state = np.zeros((3, 5))
    expected = []
    for step in range(6):
        state = reference_step(layer.cell, inputs[:, step], state)
        expected.append(state)
    np.testing.assert_allclose(layer(inputs), np.stack(expected, axis=1), atol=2e-5)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fully_recurrent", [True, False])
def test_a_wired_layer_has_one_cell_per_layer_of_neurons(mode, fully_recurrent):
    layer = CfC(AutoNCP(19, 2), mode=mode, fully_recurrent=fully_recurrent)
    inputs = np.random.default_rng(1).normal(size=(3, 6, 16)).astype(np.float32)
    layer.build(inputs.shape)
    randomise(layer)
    cells = layer.cell.layer_cells
    assert [cell.units for cell in cells] == [11, 6, 2]
    states = [np.zeros((3, cell.units)) for cell in cells]
    for step in range(6):
        features = inputs[:, step]
        for index, cell in enumerate(cells):
            features = states[index] = reference_step(cell, features, states[index])
    assert layer(inputs).shape == (3, 2)
    np.testing.assert_allclose(layer(inputs), states[-1], atol=2e-5)


def test_weight_masks_follow_the_wiring():
    wiring = build_wiring(AutoNCP(19, 2), 16)
    masks = layer_masks(wiring)
    assert [mask.shape for mask in masks] == [(27, 11), (17, 6), (8, 2)]
    assert masks[0][:16].sum() == np.abs(wiring.sensory_adjacency_matrix).sum()
    inner = sum(mask[: mask.shape[0] - mask.shape[1]].sum() for mask in masks[1:])
    recurrent = sum(mask[mask.shape[0] - mask.shape[1] :].sum() for mask in layer_masks(wiring, fully_recurrent=False))
    assert inner + recurrent == np.abs(wiring.adjacency_matrix).sum()


def test_one_wiring_serves_layers_of_different_input_sizes():
    wiring = AutoNCP(12, 2)
    for features in (4, 9):
        assert CfC(wiring)(np.ones((2, 3, features), np.float32)).shape == (2, 2)
    assert not wiring.is_built()


@pytest.mark.parametrize("wiring", [AutoNCP(12, 2, 0.4, 3), FullyConnected(6, 2), Random(8, 2, 0.5, 7)])
def test_a_wiring_is_restored_from_its_configuration(wiring):
    again = build_wiring(deserialize_wiring(serialize_wiring(wiring)), 5)
    built = build_wiring(wiring, 5)
    np.testing.assert_array_equal(again.adjacency_matrix, built.adjacency_matrix)
    np.testing.assert_array_equal(again.sensory_adjacency_matrix, built.sensory_adjacency_matrix)
    rebuilt = build_wiring(built, 7)
    assert (rebuilt.input_dim, built.input_dim) == (7, 5)


def test_unknown_wirings_are_refused():
    with pytest.raises(ValueError, match=r"one of AutoNCP.*Received: dict"):
        serialize_wiring({})
    with pytest.raises(ValueError, match=r"Received: system"):
        deserialize_wiring({"class_name": "system", "config": {}})


@pytest.mark.parametrize(
    "layer",
    [
        CfC(AutoNCP(12, 2), mode="no_gate", fully_recurrent=False, return_sequences=True, go_backwards=True),
        CfC(5, False, "pure", "relu", 7, 2, 0.5, return_state=True, unroll=True),
        CfC(5),
    ],
)
def test_a_configuration_is_restored_with_every_field(layer):
    config = layer.get_config()
    again = CfC.from_config(config)
    assert again.get_config() == config
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert copy.get_config() == config


@pytest.mark.parametrize("units", [AutoNCP(12, 2), 5])
def test_a_model_is_restored_from_its_file(units, tmp_path):
    inputs = keras.Input((6, 4))
    model = keras.Model(inputs, CfC(units)(inputs))
    randomise(model)
    model.save(tmp_path / "model.keras")
    values = np.random.default_rng(1).normal(size=(3, 6, 4)).astype(np.float32)
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(again(values), model(values))
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(clone(values), model(values))


def test_dropout_acts_in_training_only():
    layer = CfC(5, backbone_dropout=0.9)
    inputs = np.ones((3, 6, 4), np.float32)
    np.testing.assert_array_equal(layer(inputs), layer(inputs))
    assert not np.array_equal(layer(inputs, training=True), layer(inputs, training=True))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CfCCell(3, "fast"), "mode must be"),
        (lambda: CfCCell(0), "units must be at least 1"),
        (lambda: CfCCell(3, sparsity_mask=np.ones((4, 3))), "cannot be combined with a backbone"),
        (lambda: CfC(AutoNCP(12, 2), backbone_units=3), "no backbone and no mask. Received: backbone_units"),
    ],
)
def test_invalid_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_cells_declare_their_state_and_output_sizes():
    cell = WiredCfCCell(AutoNCP(12, 2))
    assert (cell.state_size, cell.output_size) == (12, 2)
    assert (CfCCell(5).state_size, CfCCell(5).output_size) == (5, 5)
