"""Networks that are compiled as a whole by XLA, liquid layers and convolutions in one program; TensorFlow only."""

import functools
import re

import keras
import numpy as np
import pytest
from keras import ops
from ncps.wirings import AutoNCP

from keras_lnn.layers import LTC, CfC, Channels, Columns, Patches, Rows, apply_to_slices

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX compiles everything as a whole")

SMALL = {"return_sequences": True, "ode_unfolds": 2}


def read_series(layer):
    """Gives a layer the time of each slice, too."""
    return lambda steps, times: layer((steps, times))


# What reads the features of each slice, or one image's maps in one of the orders of the networks that read sequences.
HEADS = {
    "dense": lambda: keras.layers.Dense(1),
    "ltc": lambda: LTC(3, **SMALL),
    "ltc-wired": lambda: LTC(AutoNCP(5, 1), **SMALL),
    "ltc-memory": lambda: LTC(3, mixed_memory=True, **SMALL),
    "ltc-both-ways": lambda: keras.layers.Bidirectional(LTC(3, **SMALL)),
    "ltc-times": lambda: read_series(LTC(3, **SMALL)),
    "cfc": lambda: CfC(3, backbone_units=4, return_sequences=True),
    "cfc-wired": lambda: CfC(AutoNCP(5, 1), return_sequences=True),
    "cfc-memory": lambda: CfC(3, backbone_layers=0, mixed_memory=True, return_sequences=True),
    "cfc-times": lambda: read_series(CfC(3, backbone_layers=0, return_sequences=True)),
}
LAYOUTS = {"rows": Rows, "columns": Columns, "channels": Channels, "patches": lambda: Patches(2)}


def make_network(head):
    """Two convolutions on each of two slices, or on an image, then a head over the slices or the parts of the maps."""
    layout, _, recurrence = head.rpartition("/")
    inputs = keras.Input((2, 8, 8, 1))
    stem = [keras.layers.Conv2D(2, 3, activation="relu"), keras.layers.Conv2D(3, 3)]
    layer = HEADS[recurrence]()
    if layout:
        maps = keras.Sequential(stem)(inputs[:, 0])
        return keras.Model(inputs, layer(LAYOUTS[layout]()(maps)))
    steps = apply_to_slices(keras.Sequential([*stem, keras.layers.Flatten()]), inputs)
    given = (steps, ops.mean(inputs, axis=(2, 3, 4))) if recurrence.endswith("times") else (steps,)
    return keras.Model(inputs, layer(*given))


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


SLOW = [name for name in HEADS if name not in ("dense", "ltc")] + [f"{layout}/ltc" for layout in LAYOUTS]


@pytest.mark.parametrize("head", ["ltc", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_convolutions_before_a_liquid_layer_are_compiled_as_before_a_dense_one(head):
    expected, _ = convolutions_in(compiled_step(f"{head.rpartition('/')[0]}/dense" if "/" in head else "dense"))
    found, sources = convolutions_in(compiled_step(head))
    assert len(expected) == 5  # two, their kernels' gradients, and the gradient that goes from one to the other
    assert found == expected
    # Where images or weights are constants, convolutions are computed as the program is compiled, again for each batch.
    assert not [names for names in sources if "constant" in names]
