"""Elapsed times that are missing at masked steps, or negative: LTC and CfC act alike, eagerly and compiled."""

import keras
import numpy as np
import pytest
from keras import ops
from liquid_cases import gradients_of_time, randomise
from ncps.wirings import AutoNCP

from keras_lnn.layers import LTC, CfC, CfCCell, LTCCell, WiredCfCCell

BATCH, STEPS, FEATURES = 2, 3, 2
MASK = np.array([[1, 0, 1], [1, 1, 0]], bool)
KINDS = {
    "ltc": lambda **arguments: LTC(AutoNCP(5, 1), ode_unfolds=2, **arguments),
    "cfc": lambda **arguments: CfC(AutoNCP(5, 1), **arguments),
    "cfc-dense": lambda **arguments: CfC(1, backbone_units=3, **arguments),
    "ltc-memory": lambda **arguments: LTC(1, mixed_memory=True, ode_unfolds=2, **arguments),
}
# An own solver for all steps, another for neurons in layers, and a loop; of compiled ones the first is a default test.
COMPILED = ("ltc", "cfc", "cfc-dense")
kinds = pytest.mark.parametrize("kind", KINDS)


def draw_sequences():
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(BATCH, STEPS, FEATURES)).astype("float32")
    return inputs, generator.uniform(0.5, 2.0, (BATCH, STEPS)).astype("float32")


def make(kind, **arguments):
    layer = KINDS[kind](return_sequences=True, **arguments)
    layer.build((BATCH, STEPS, FEATURES))
    randomise(layer)
    return layer


def make_model(kinds, **arguments):
    """One model of several kinds, whose outputs stand side by side."""
    sequences = keras.Input((STEPS, FEATURES)), keras.Input((STEPS,))
    mask = keras.Input((STEPS,), dtype="bool")
    layers = [KINDS[kind](return_sequences=True, **arguments) for kind in kinds]
    outputs = keras.layers.Concatenate()([layer(sequences, mask=mask) for layer in layers])
    for layer in layers:
        randomise(layer)
    return keras.Model([*sequences, mask], outputs)


@pytest.fixture(scope="module", params=[("ltc",), pytest.param(COMPILED, marks=pytest.mark.slow)], ids=len)
def model(request):
    """A model that is compiled once for all tests."""
    return make_model(request.param)


@pytest.mark.parametrize("run_eagerly", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_training_works_with_a_missing_time_at_a_masked_step(model, run_eagerly):
    if run_eagerly and keras.backend.backend() == "jax":
        pytest.skip("JAX compiles every operation of its own, which takes minutes")
    model = make_model(COMPILED, go_backwards=True) if run_eagerly else model
    model.compile("sgd", "mse", run_eagerly=run_eagerly)
    inputs, times = draw_sequences()
    start, trained = model.get_weights(), []
    for at_masked in (1.0, np.nan, -np.inf):
        model.set_weights(start)
        given = [inputs, np.where(MASK, times, np.float32(at_masked)), MASK]
        model.train_on_batch(given, np.ones((BATCH, *model.output_shape[1:]), "float32"))
        trained.append(model.get_weights())
    for changed in trained:
        for weight, expected in zip(changed, trained[0], strict=True):
            assert np.isfinite(weight).all()
            np.testing.assert_array_equal(weight, expected)
    assert any((weight != before).any() for weight, before in zip(trained[0], start, strict=True))


@kinds
def test_a_missing_time_at_a_masked_step_has_no_gradient(kind):
    inputs, times = draw_sequences()
    layer = make(kind)
    times = np.where(MASK, times, np.float32(np.nan))
    found = gradients_of_time(lambda values: layer((inputs, values), mask=MASK), times)
    assert np.isfinite(found).all()
    assert (found[MASK] != 0).any()
    assert not found[~MASK].any()


@kinds
def test_a_negative_time_is_an_error_where_its_value_is_known(kind):
    inputs, times = draw_sequences()
    layer = make(kind)
    times[1, 1] = -0.25
    with pytest.raises(ValueError, match=r"elapsed_time must not be negative. Received: -0.25."):
        layer((inputs, times))
    times[1, 1] = 0.0
    assert np.isfinite(ops.convert_to_numpy(layer((inputs, times)))).all()


@pytest.mark.parametrize("cell", [LTCCell(AutoNCP(5, 1)), CfCCell(5), WiredCfCCell(AutoNCP(5, 1))])
def test_a_cell_takes_times_and_refuses_negative_ones(cell):
    inputs, times = draw_sequences()
    states = [np.zeros((BATCH, 5), "int32")]
    after, _ = cell((inputs[:, 0], times[:, 0]), states)
    assert np.isfinite(ops.convert_to_numpy(after)).all()
    with pytest.raises(ValueError, match=r"elapsed_time must not be negative. Received: -3.0."):
        cell((inputs[:, 0], np.full(BATCH, -3.0)), states)


def test_a_sequence_with_a_negative_time_is_nan_in_a_compiled_model(model):
    inputs, times = draw_sequences()
    times[1, 1] = -0.25
    outputs = model.predict_on_batch([inputs, times, np.ones_like(MASK)])
    assert np.isfinite(outputs[0]).all()
    assert np.isnan(outputs[1]).all()
