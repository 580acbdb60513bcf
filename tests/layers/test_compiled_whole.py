"""Networks that are compiled as a whole by XLA, liquid layers and convolutions in one program; TensorFlow only."""

import functools
import re

import keras
import numpy as np
import pytest
from keras import ops

from keras_lnn.layers import LTC, CfC, apply_to_slices

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX compiles everything as a whole")

HEADS = {
    "dense": lambda: keras.layers.Dense(1),
    "ltc": lambda: LTC(3, return_sequences=True, ode_unfolds=2),
    "cfc": lambda: CfC(3, backbone_units=4, return_sequences=True),
}


def make_network(head):
    """Two convolutions on each of two slices, then a head over the slices."""
    inputs = keras.Input((2, 8, 8, 1))
    stem = [keras.layers.Conv2D(2, 3, activation="relu"), keras.layers.Conv2D(3, 3), keras.layers.Flatten()]
    return keras.Model(inputs, HEADS[head]()(apply_to_slices(keras.Sequential(stem), inputs)))


@functools.cache
def compiled_step(head):
    """The text of the compiled program that gives the gradients of all weights."""
    import tensorflow as tf

    model = make_network(head)

    @tf.function(jit_compile=True, autograph=False)
    def step(volumes):
        with tf.GradientTape() as tape:
            loss = ops.mean(ops.square(model(volumes)))
        return tape.gradient(loss, [weight.value for weight in model.trainable_weights])

    volumes = tf.constant(np.random.default_rng(0).uniform(size=(2, 2, 8, 8, 1)).astype("float32"))
    return step.experimental_get_compiler_ir(volumes)(stage="optimized_hlo")


def convolutions_in(program):
    """Shape, memory layout, window and order of axes of each convolution, and what it reads."""
    lines = re.findall(r"= (\S+) convolution\((.*?)\), (window=\{.*?\}, dim_labels=[\w>-]+)", program)
    return sorted((shape, how) for shape, _, how in lines), [sources for _, sources, _ in lines]


@pytest.mark.parametrize("head", ["ltc", pytest.param("cfc", marks=pytest.mark.slow)])
def test_convolutions_before_a_liquid_layer_are_compiled_as_before_a_dense_one(head):
    expected, _ = convolutions_in(compiled_step("dense"))
    found, sources = convolutions_in(compiled_step(head))
    assert len(expected) == 5  # two, their kernels' gradients, and the gradient that goes from one to the other
    assert found == expected
    # Where images or weights are constants, convolutions are computed as the program is compiled, again for each batch.
    assert not [names for names in sources if "constant" in names]
