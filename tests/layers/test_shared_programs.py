"""The graphs of validation and prediction share the compiled program of a liquid layer."""

import gc
import weakref

import keras
import numpy as np
import pytest

from keras_lnn.backend.programs import filling_batches
from keras_lnn.layers import CfC, CfCCell
from keras_lnn.layers.cfc_solver import ClosedForm
from keras_lnn.layers.recurrence import LiquidRNN, _programs

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX compiles whole steps")
INPUTS = np.random.default_rng(0).normal(size=(3, 4, 2)).astype("float32")


def trace(function):
    import tensorflow as tf

    return tf.function(function, autograph=False)


def count_programs(layer):
    return sum(len(programs) for _, programs in _programs.get(layer, {}).values())


def make_layer():
    layer = CfC(3, backbone_layers=0)
    layer.build((None, 4, 2))
    return layer


@pytest.fixture
def layer():
    return make_layer()


def test_graphs_share_a_program_whatever_the_size_of_their_batches(layer):
    expected = keras.ops.convert_to_numpy(layer(INPUTS))
    with filling_batches(4):
        for rows in (3, 2):
            found = trace(lambda inputs: layer(inputs) + 0.0)(INPUTS[:rows])
            np.testing.assert_allclose(found, expected[:rows], rtol=1e-5, atol=1e-6)
    assert count_programs(layer) == 1


def test_a_program_is_compiled_once_for_all_graphs(layer):
    names = set()
    with filling_batches(4):
        for rows in (3, 2):
            graph = trace(lambda inputs: layer(inputs)).get_concrete_function(INPUTS[:rows]).graph
            calls = [operation for operation in graph.get_operations() if "PartitionedCall" in operation.type]
            # A constant argument or an unused result would make TensorFlow compile a copy for this graph.
            assert all(tensor.op.type != "Const" for call in calls for tensor in call.inputs)
            assert all(tensor.consumers() for call in calls for tensor in call.outputs)
            names |= {call.get_attr("f").name for call in calls}
    assert len(names) == 1


def test_another_setting_has_another_program(layer):
    call = lambda: trace(lambda inputs: layer(inputs))(INPUTS)  # noqa: E731
    assert call().shape == (3, 3)
    layer.return_sequences = True
    assert call().shape == (3, 4, 3)
    layer.return_state = True
    outputs, states = call()
    assert outputs.shape == (3, 4, 3)
    assert states.shape == (3, 3)
    assert count_programs(layer) == 3


def test_a_setting_of_the_cell_that_changes_has_another_program(layer):
    outputs = [trace(lambda inputs: layer(inputs))(INPUTS)]
    layer.cell.closed_form = ClosedForm("no_gate")
    layer.cell.mode = "no_gate"
    outputs.append(trace(lambda inputs: layer(inputs))(INPUTS))
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-4


@pytest.mark.parametrize("first", ["layer", "stateless"])
def test_weights_that_are_given_in_a_stateless_call_are_used(layer, first):
    import tensorflow as tf

    weights = [0.5 * variable.numpy() for variable in layer.trainable_variables]

    @trace
    def gradients(weights):
        with tf.GradientTape() as tape:
            tape.watch(weights)
            outputs, _ = layer.stateless_call(weights, [], INPUTS)
        return outputs, tape.gradient(outputs, weights)

    def plain():
        return trace(lambda inputs: layer(inputs))(INPUTS)

    if first == "layer":
        plain()
    outputs, found = gradients([tf.constant(weight) for weight in weights])
    before = plain()
    layer.set_weights(weights)
    np.testing.assert_allclose(outputs, plain(), rtol=1e-5, atol=1e-6)
    assert np.abs(before - plain()).max() > 1e-4
    assert any(np.abs(gradient).max() > 0 for gradient in found)


def test_masks_times_and_first_states_reach_the_program(layer):
    others = {
        "mask": np.array([[True, True, False, False]] * 3),
        "initial_state": [np.full((3, 3), 0.5, "float32")],
    }
    plain = trace(lambda inputs: layer(inputs))(INPUTS)
    for name, value in others.items():
        found = trace(lambda inputs, name=name, value=value: layer(inputs, **{name: value}))(INPUTS)
        np.testing.assert_allclose(found, layer(INPUTS, **{name: value}), rtol=1e-5, atol=1e-6)
        assert np.abs(found - plain).max() > 1e-4
    times = np.full((3, 4, 1), 2.0, "float32")
    found = trace(lambda inputs: layer((inputs, times)))(INPUTS)
    np.testing.assert_allclose(found, layer((INPUTS, times)), rtol=1e-5, atol=1e-6)
    assert np.abs(found - plain).max() > 1e-4


def test_the_gradient_of_a_program_that_another_graph_has_made_is_that_of_an_own_one(layer):
    import tensorflow as tf

    trace(lambda inputs: layer(inputs))(INPUTS)

    def gradient():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(INPUTS) ** 2)
        return tape.gradient(loss, layer.trainable_variables)

    for found, expected in zip(trace(gradient)(), gradient(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_a_cell_that_draws_noise_of_its_own_keeps_training_and_prediction_apart():
    class NoisyCell(CfCCell):
        def draw_noise(self, batch, steps, training):
            return (keras.ops.ones(()),) if training else ()

        def prepare(self, inputs, elapsed_time, noise, folded):
            inputs = inputs + 1.0 if noise else inputs
            return super().prepare(inputs, elapsed_time, (), folded)

    layer = LiquidRNN(NoisyCell(3, backbone_layers=0))
    layer.build((None, 4, 2))
    call = lambda training: trace(lambda inputs: layer(inputs, training=training))(INPUTS)  # noqa: E731
    trained, predicted = call(True), call(False)
    np.testing.assert_allclose(predicted, layer(INPUTS, training=False), rtol=1e-5, atol=1e-6)
    assert np.abs(trained - predicted).max() > 1e-4


def test_weights_that_change_later_are_read(layer):
    call = trace(lambda inputs: layer(inputs))
    call(INPUTS)
    layer.set_weights([0.5 * weight for weight in layer.get_weights()])
    np.testing.assert_allclose(call(INPUTS), layer(INPUTS), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(trace(lambda inputs: layer(inputs))(INPUTS), layer(INPUTS), rtol=1e-5, atol=1e-6)


def test_training_and_prediction_differ_where_a_cell_draws_noise():
    layer = CfC(4, backbone_units=8, backbone_dropout=0.5)
    layer.build((None, 4, 2))
    kept = [trace(lambda inputs, training=training: layer(inputs, training=training))(INPUTS) for training in (0, 1)]
    np.testing.assert_allclose(kept[0], layer(INPUTS), rtol=1e-5, atol=1e-6)
    assert np.abs(kept[1] - kept[0]).max() > 1e-3


def test_programs_are_removed_with_their_layer():
    layer = make_layer()
    trace(lambda inputs, layer=layer: layer(inputs))(INPUTS)
    assert count_programs(layer) == 1
    reference, others = weakref.ref(layer), len(_programs) - 1
    del layer
    keras.backend.clear_session()
    gc.collect()
    assert reference() is None
    assert len(_programs) <= others
