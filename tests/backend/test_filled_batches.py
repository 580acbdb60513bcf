"""Smaller batches are filled up for compiled recurrences, and nothing else changes."""

import keras
import numpy as np
import pytest

from keras_lnn.backend.programs import call_filled, filling_batches

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX compiles whole steps")


def trace(function):
    import tensorflow as tf

    return tf.function(function, autograph=False)


@pytest.fixture(scope="module")
def sizes_of_programs():
    """Returns the sizes of the batches that a program receives for given batches, and what it computes for them."""
    import tensorflow as tf

    def double(part, states):
        size = tf.fill([tf.shape(part)[0]], tf.shape(part)[0])
        return part * 2.0, [states[0] + 1.0, size]

    @trace
    def call(part):
        with filling_batches(4, 6):
            return call_filled(double, part, [part])

    specified = call.get_concrete_function(tf.TensorSpec((None, 3), tf.float32))
    return lambda rows: [
        found.numpy()
        for found in keras.tree.flatten(specified(tf.constant(np.arange(3.0 * rows).reshape(-1, 3), "float32")))
    ]


@pytest.mark.parametrize(("rows", "filled"), [(1, 4), (3, 4), (4, 4), (5, 6), (6, 6), (7, 7)])
def test_a_batch_is_filled_up_to_the_next_size(sizes_of_programs, rows, filled):
    doubled, added, sizes = sizes_of_programs(rows)
    given = np.arange(3.0 * rows).reshape(-1, 3)
    np.testing.assert_array_equal(doubled, 2 * given)
    np.testing.assert_array_equal(added, given + 1)
    assert sizes.tolist() == [filled] * rows


def test_filled_batches_have_the_same_gradient():
    import tensorflow as tf

    weight, inputs = tf.Variable([1.0, -2.0]), tf.constant(np.random.default_rng(0).normal(size=(3, 2)), "float32")

    @trace
    def gradient(part):
        with tf.GradientTape() as tape:
            tape.watch(part)
            loss = tf.reduce_mean(call_filled(lambda each: tf.tanh(each * weight), part) ** 2)
        return tape.gradient(loss, [weight, part])

    @trace
    def filled(part):
        with filling_batches(8):
            return gradient.python_function(part)

    for found, expected in zip(filled(inputs), gradient(inputs), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)
