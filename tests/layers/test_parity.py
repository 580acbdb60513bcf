"""LTC and CfC equal those of ncps.keras: the same arguments, weights, outputs and gradients."""

import inspect

import keras
import numpy as np
import pytest
from keras import ops
from liquid_cases import (
    BATCH,
    CASES,
    FEATURES,
    STEPS,
    draw_inputs,
    gradients,
    make_pair,
    ncps,
    pair_of,
    with_variants_slow,
)

from keras_lnn.layers import LTC, CfC

# What their mixed memory cannot do: it builds its cell for its own state and feeds it what is as large.
cases = pytest.mark.parametrize("case", CASES)
fewer_cases = pytest.mark.parametrize("case", with_variants_slow(CASES))
# Gradients take longest: of both layers one in each way of wiring, and one with a memory.
FEWEST = ("ltc-auto", "ltc-integer", "ltc-memory", "cfc-ncp", "cfc-dense-pure", "cfc-memory")
fewest_cases = pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[] if case in FEWEST else pytest.mark.slow) for case in CASES]
)


def assert_close(ours, theirs, tolerance):
    """Asserts equality within a tolerance relative to the largest value."""
    ours, theirs = ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= tolerance * max(1.0, np.abs(theirs).max())


@pytest.mark.parametrize("kind", [LTC, CfC])
def test_arguments_and_defaults_equal_those_of_ncps(kind):
    theirs = inspect.signature(getattr(ncps.keras, kind.__name__).__init__).parameters
    ours = inspect.signature(kind.__init__).parameters
    assert [name for name in ours if name != "version"] == list(theirs)
    assert all(ours[name].default == theirs[name].default for name in theirs)


@cases
def test_weights_equal_those_of_ncps(case):
    ours, theirs = pair_of(case)
    assert [weight.name for weight in ours.weights] == [weight.name for weight in theirs.weights]
    assert [weight.shape for weight in ours.weights] == [weight.shape for weight in theirs.weights]
    assert [weight.trainable for weight in ours.weights] == [weight.trainable for weight in theirs.weights]


@fewer_cases
@pytest.mark.parametrize("return_sequences", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_outputs_equal_those_of_ncps(case, return_sequences):
    ours, theirs = pair_of(case) if return_sequences else make_pair(case)
    inputs = draw_inputs()
    assert_close(ours(inputs), theirs(inputs), 1e-6)


@fewest_cases
def test_gradients_equal_those_of_ncps(case):
    ours, theirs = pair_of(case)
    inputs = draw_inputs()
    names = ["inputs", *(weight.path for weight in ours.trainable_weights)]
    for name, own, their in zip(names, gradients(ours, inputs), gradients(theirs, inputs), strict=True):
        scale = np.abs(their).max()
        assert np.abs(own - their).max() <= 1e-5 * scale + 1e-7, name


@pytest.mark.parametrize(
    "case",
    ["ltc-auto", "cfc-backbone", *(pytest.param(case, marks=pytest.mark.slow) for case in ("ltc-memory", "cfc-auto"))],
)
@pytest.mark.parametrize("arguments", [{"go_backwards": True}, {"unroll": True}, {"return_state": True}])
def test_recurrent_layer_options_act_as_in_ncps(case, arguments):
    if keras.backend.backend() == "jax" and "memory" in case and "return_state" in arguments:
        pytest.skip("their memory gives nested states on JAX")
    ours, theirs = make_pair(case, return_sequences=True, **arguments)
    inputs = draw_inputs()
    ours, theirs = ours(inputs), theirs(inputs)
    if arguments == {"return_state": True}:
        assert len(ours) == len(theirs)
        for own, their in zip(ours, theirs, strict=True):
            assert_close(own, their, 1e-6)
    else:
        assert_close(ours, theirs, 1e-6)


def test_initial_weights_have_the_ranges_of_ncps():
    ours, theirs = LTC(40), ncps.keras.LTC(40)
    for layer in (ours, theirs):
        layer.build((BATCH, STEPS, FEATURES))
    for own, their in zip(ours.weights, theirs.weights, strict=True):
        own, their = ops.convert_to_numpy(own), ops.convert_to_numpy(their)
        if own.ndim == 2 and "erev" not in own.__class__.__name__:
            assert abs(own.mean() - their.mean()) < 0.4 * (their.std() + 0.05)
            assert abs(own.std() - their.std()) < 0.3 * (their.std() + 0.05)
