"""The graphs of validation and prediction share the compiled program of a liquid layer."""

import gc
import weakref

import keras
import numpy as np
import pytest
from ncps.wirings import AutoNCP

from keras_lnn.backend.programs import filling_batches
from keras_lnn.layers import CfC
from keras_lnn.layers.recurrence import _programs

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX compiles whole steps")
INPUTS = np.random.default_rng(0).normal(size=(3, 4, 2)).astype("float32")


def trace(function):
    import tensorflow as tf

    return tf.function(function, autograph=False)


def count_programs(layer):
    return sum(len(programs) for programs in _programs.get(layer, {}).values())


@pytest.fixture
def layer():
    layer = CfC(AutoNCP(6, 2))
    layer.build((None, 4, 2))
    return layer


def test_graphs_share_a_program_whatever_the_size_of_their_batches(layer):
    expected = keras.ops.convert_to_numpy(layer(INPUTS))
    with filling_batches(4):
        for rows in (3, 2):
            found = trace(lambda inputs: layer(inputs) + 0.0)(INPUTS[:rows])
            np.testing.assert_allclose(found, expected[:rows], rtol=1e-5, atol=1e-6)
    assert count_programs(layer) == 1


def test_a_program_is_compiled_once_for_all_graphs(layer):
    import tensorflow as tf

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
    assert tf.executing_eagerly()


def test_another_setting_has_another_program(layer):
    call = lambda: trace(lambda inputs: layer(inputs))(INPUTS)  # noqa: E731
    assert call().shape == (3, 2)
    layer.return_sequences = True
    assert call().shape == (3, 4, 2)
    layer.return_state = True
    outputs, states = call()
    assert outputs.shape == (3, 4, 2)
    assert states.shape == (3, 6)
    assert count_programs(layer) == 3


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
    layer = CfC(AutoNCP(6, 2))
    layer.build((None, 4, 2))
    trace(lambda inputs, layer=layer: layer(inputs))(INPUTS)
    assert count_programs(layer) == 1
    reference, others = weakref.ref(layer), len(_programs) - 1
    del layer
    keras.backend.clear_session()
    gc.collect()
    assert reference() is None
    assert len(_programs) <= others
