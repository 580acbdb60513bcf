"""Our layers and their counterparts of ncps.keras, for the tests of parity; every backend."""

import functools
import warnings
from collections.abc import Iterable

import keras
import numpy as np
import pytest
from keras import ops
from ncps.wirings import NCP, AutoNCP, FullyConnected, Random

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import ncps.keras

from keras_lnn.layers import LTC, CfC

FEATURES, STEPS, BATCH = 7, 5, 3

# Wirings are made anew for each layer, since ncps changes those that it builds.
WIRINGS = {
    "auto": lambda: AutoNCP(12, 2),
    "ncp": lambda: NCP(6, 4, 2, 3, 2, 3, 2, seed=5),
    "full": lambda: FullyConnected(6, 2),
    "random": lambda: Random(8, 3, 0.5, 11),
    "integer": lambda: 5,
}

LTC_CASES = {
    **{f"ltc-{name}": (LTC, name, {}) for name in WIRINGS},
    "ltc-linear": (LTC, "auto", {"input_mapping": "linear", "output_mapping": "linear"}),
    "ltc-unmapped": (LTC, "auto", {"input_mapping": None, "output_mapping": None}),
    "ltc-unfolds": (LTC, "auto", {"ode_unfolds": 3, "epsilon": 1e-3}),
    "ltc-memory": (LTC, "integer", {"mixed_memory": True}),
}
CFC_CASES = {
    **{f"cfc-{name}": (CfC, name, {}) for name in WIRINGS},
    **{f"cfc-wired-{mode}": (CfC, "auto", {"mode": mode}) for mode in ("pure", "no_gate")},
    **{f"cfc-dense-{mode}": (CfC, "integer", {"mode": mode, "backbone_units": 9}) for mode in ("pure", "no_gate")},
    "cfc-backbone": (CfC, "integer", {"backbone_units": 6, "backbone_layers": 2, "activation": "relu"}),
    "cfc-no-backbone": (CfC, "integer", {"backbone_layers": 0}),
    "cfc-memory": (CfC, "integer", {"mixed_memory": True}),
    "cfc-memory-wired": (CfC, "auto", {"mixed_memory": True}),
}
CASES = {**LTC_CASES, **CFC_CASES}
# What differs from another case in one argument only is compared in the slow tests where that takes long.
VARIANTS = ("ltc-linear", "ltc-unfolds", "cfc-wired-no_gate", "cfc-dense-no_gate", "cfc-backbone", "cfc-memory-wired")
VARIANTS += ("ltc-random", "ltc-full")  # wirings whose weights are compared by default


def with_variants_slow(names: Iterable[str]) -> list:
    """Returns parameters of a test: these cases, with the variants among the slow tests."""
    return [pytest.param(name, marks=pytest.mark.slow) if name in VARIANTS else name for name in names]


@functools.cache
def pair_of(case: str) -> tuple[keras.layers.RNN, keras.layers.RNN]:
    """Returns both layers with sequence outputs, for tests that do not change them."""
    return make_pair(case, return_sequences=True)


def make_pair(case: str, **arguments) -> tuple[keras.layers.RNN, keras.layers.RNN]:
    """Returns our layer in the version of ncps.keras, and its counterpart, with the same random weights."""
    kind, wiring, own = CASES[case]
    ours = kind(WIRINGS[wiring](), **own, **arguments, version="ncps.keras")
    if "memory" in case and keras.backend.backend() == "jax":
        arguments["unroll"] = True  # Their states change structure from step to step, which a loop of JAX refuses.
    theirs = getattr(ncps.keras, kind.__name__)(WIRINGS[wiring](), **own, **arguments)
    for layer in (ours, theirs):
        layer.build((BATCH, STEPS, FEATURES))
    randomise(theirs)
    ours.set_weights(theirs.get_weights())
    return ours, theirs


def randomise(layer: keras.layers.Layer, seed: int = 0) -> None:
    """Returns random weights that a trained layer could have; those with a non-negativity constraint obey it."""
    generator = np.random.default_rng(seed)
    for weight in layer.weights:
        # As large as fresh kernels are, so that rounding is not amplified from step to step.
        value = generator.normal(0.0, np.sqrt(2 / (sum(weight.shape) + 1)), weight.shape)
        if weight.name in ("gleak", "cm", "w", "sensory_w"):
            value = np.abs(value) + 0.1
        elif weight.name.endswith("sigma"):
            value = np.abs(value) + 2.0
        elif "erev" in weight.name:
            # Where a wiring has no synapse, its reversal potential is zero.
            value = ops.convert_to_numpy(weight) * np.abs(1.0 + value)
        weight.assign(value)


def draw_inputs(seed: int = 1, steps: int = STEPS, features: int = FEATURES) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(BATCH, steps, features)).astype("float32")


def gradients(layer: keras.layers.Layer, inputs: np.ndarray, function=None) -> list[np.ndarray]:
    """Returns gradients of a weighted sum of a layer's outputs by inputs and weights, on any backend."""
    weighted = function or (
        lambda outputs: ops.sum(outputs * ops.cos(ops.cast(ops.arange(outputs.shape[-1]), "float32")))
    )
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tensor = tf.constant(inputs)
            tape.watch(tensor)
            loss = weighted(layer(tensor))
        found = tape.gradient(loss, [tensor, *(weight.value for weight in layer.trainable_weights)])
        found = [None if gradient is None else tf.convert_to_tensor(gradient) for gradient in found]
    else:
        import jax

        def loss(tensor, weights):
            outputs, _ = layer.stateless_call(weights, [v.value for v in layer.non_trainable_variables], tensor)
            return weighted(outputs)

        found = jax.grad(loss, argnums=(0, 1))(inputs, [weight.value for weight in layer.trainable_weights])
        found = [found[0], *found[1]]
    values = [inputs, *layer.trainable_weights]
    return [
        np.zeros(value.shape) if gradient is None else ops.convert_to_numpy(gradient)
        for gradient, value in zip(found, values, strict=True)
    ]


def gradients_of_time(function, times: np.ndarray) -> np.ndarray:
    """The gradient of the sum of what a function gives for elapsed times, on any backend."""
    if keras.backend.backend() == "jax":
        import jax

        return np.array(jax.grad(lambda values: ops.sum(function(values)))(times))
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tensor = tf.constant(times)
        tape.watch(tensor)
        loss = tf.reduce_sum(function(tensor))
    return tape.gradient(loss, tensor).numpy()
