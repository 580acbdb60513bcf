"""The inner values of liquid layers, against the cells step by step and against the equations written out."""

import numpy as np
import pytest
from keras import ops
from liquid_cases import randomise
from ncps.wirings import AutoNCP

from keras_lnn.layers import LTC, CfC
from keras_lnn.layers.traces import Trace

BATCH, STEPS, FEATURES = 2, 3, 2
MASK = np.array([[1, 0, 1], [1, 1, 0]], bool)
KINDS = {
    "ltc": lambda **given: LTC(AutoNCP(5, 1), ode_unfolds=2, **given),
    "ltc-memory": lambda **given: LTC(3, mixed_memory=True, ode_unfolds=2, **given),
    "ltc-memory-ncps": lambda **given: LTC(3, mixed_memory=True, ode_unfolds=2, version="ncps.keras", **given),
    "cfc-wired": lambda **given: CfC(AutoNCP(6, 1), **given),
    "cfc-wired-ncps": lambda **given: CfC(AutoNCP(6, 1), fully_recurrent=False, version="ncps.keras", **given),
    "cfc-backbone": lambda **given: CfC(3, backbone_units=4, backbone_layers=2, **given),
    "cfc-dense": lambda **given: CfC(3, backbone_layers=0, **given),
    "cfc-pure": lambda **given: CfC(AutoNCP(6, 1), mode="pure", **given),
    "cfc-memory": lambda **given: CfC(AutoNCP(6, 1), mixed_memory=True, **given),
}


def make(kind, **given):
    layer = KINDS[kind](return_sequences=True, **given)
    layer.build((BATCH, STEPS, FEATURES))
    randomise(layer)
    return layer


def draw():
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(BATCH, STEPS, FEATURES)).astype("float32")
    return inputs, generator.uniform(0.5, 2.0, (BATCH, STEPS, 1)).astype("float32")


def run_cell(layer, inputs, times, mask):
    """The outputs and the states of all steps, from the cell alone."""
    states = [ops.zeros((BATCH, size)) for size in np.atleast_1d(layer.cell.state_size)]
    history, outputs = [], []
    for step in range(inputs.shape[1]):
        given = inputs[:, step] if times is None else (inputs[:, step], times[:, step])
        output, after = layer.cell(given, states)
        keep = mask[:, step, None]
        states = [ops.where(keep, new, old) for new, old in zip(after, states, strict=True)]
        history.append([ops.convert_to_numpy(state) for state in states])
        outputs.append(ops.convert_to_numpy(output))
    return [np.stack(values, axis=1) for values in zip(*history, strict=True)], np.stack(outputs, axis=1)


def in_wiring_order(layer, states):
    """A wired CfC keeps its states by layer; the wiring numbers the motor neurons first."""
    wiring = layer.built_wiring
    if wiring is None or isinstance(layer, LTC):
        return states
    order = np.concatenate([wiring.get_neurons_of_layer(index) for index in range(wiring.num_layers)])
    found = np.empty_like(states)
    found[..., order] = states
    return found


# One kind for each way to trace; the others differ in an argument.
DEFAULT = ("ltc", "cfc-wired", "ltc-memory")


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind in DEFAULT else pytest.mark.slow) for kind in KINDS]
)
def test_states_are_those_of_the_cell_step_by_step(kind):
    layer = make(kind)
    inputs, times = draw()
    trace = layer.trace((inputs, times), mask=MASK)
    states, outputs = run_cell(layer, inputs, times, MASK)
    np.testing.assert_allclose(trace.states, in_wiring_order(layer, states[-1]), atol=1e-6)
    np.testing.assert_allclose(trace.outputs[MASK], outputs[MASK], atol=1e-6)
    assert trace.states.shape == (BATCH, STEPS, len(trace.types))
    if layer.mixed_memory:
        np.testing.assert_allclose(trace.memory, states[0], atol=1e-6)
    for values in (trace.time_constants, trace.currents, trace.sensory_currents):
        assert np.isfinite(values[MASK]).all()
        assert np.isnan(values[~MASK]).all()


@pytest.mark.parametrize("kind", ["cfc-wired-ncps", "cfc-backbone"])
def test_the_gate_mixes_the_heads_into_the_state(kind):
    trace = make(kind).trace(draw())
    mixed = trace.first * (1 - trace.gate) + trace.second * trace.gate
    np.testing.assert_allclose(trace.states, mixed, atol=1e-6)


def logistic(value):
    return 1 / (1 + np.exp(-value))


def test_time_constants_and_currents_of_an_ltc_are_those_of_its_equation():
    layer = make("ltc")
    inputs, times = draw()
    trace = layer.trace((inputs, times))
    cell = {weight.name: ops.convert_to_numpy(weight) for weight in layer.weights}
    wiring = layer.built_wiring
    mapped = inputs * cell["input_w"] + cell["input_b"]
    batch, step = 1, 2
    potential = trace.states[batch, step]
    expected = {}
    for neuron in range(5):
        conductance = cell["gleak"][neuron]
        for source in np.flatnonzero(wiring.adjacency_matrix[:, neuron]):
            opened = cell["w"][source, neuron] * logistic(
                cell["sigma"][source, neuron] * (potential[source] - cell["mu"][source, neuron])
            )
            conductance += opened
            expected[source, neuron] = opened * (cell["erev"][source, neuron] - potential[neuron])
        for source in np.flatnonzero(wiring.sensory_adjacency_matrix[:, neuron]):
            conductance += cell["sensory_w"][source, neuron] * logistic(
                cell["sensory_sigma"][source, neuron]
                * (mapped[batch, step, source] - cell["sensory_mu"][source, neuron])
            )
        assert trace.time_constants[batch, step, neuron] == pytest.approx(cell["cm"][neuron] / conductance, abs=1e-6)
    found = {
        tuple(pair): value for pair, value in zip(trace.synapses.tolist(), trace.currents[batch, step], strict=True)
    }
    assert found == pytest.approx(expected, abs=1e-6)


def test_currents_of_an_ltc_at_rest_cancel_the_leak():
    layer = make("ltc")
    inputs = np.repeat(draw()[0][:, :1], 3, axis=1)
    trace = layer.trace((inputs, np.full((BATCH, 3), 1e6, "float32")))
    cell = {weight.name: ops.convert_to_numpy(weight) for weight in layer.weights}
    total = cell["gleak"] * (cell["vleak"] - trace.states[:, -1])
    for synapses, currents in ((trace.synapses, trace.currents), (trace.sensory_synapses, trace.sensory_currents)):
        for (_, target), current in zip(synapses, np.moveaxis(currents[:, -1], -1, 0), strict=True):
            total[:, target] += current
    np.testing.assert_allclose(total, 0, atol=1e-2)


def test_currents_of_a_cfc_and_its_biases_sum_to_its_weighted_heads():
    layer = make("cfc-wired")
    trace = layer.trace(draw())
    total = np.zeros_like(trace.states)
    for synapses, currents in ((trace.synapses, trace.currents), (trace.sensory_synapses, trace.sensory_currents)):
        for (_, target), current in zip(synapses, np.moveaxis(currents, -1, 0), strict=True):
            total[..., target] += current
    wiring = layer.built_wiring
    for index, cell in enumerate(layer.cell.layer_cells):
        chosen = wiring.get_neurons_of_layer(index)
        gate = trace.gate[..., chosen]
        biases = ops.convert_to_numpy(cell.ff1_bias) * (1 - gate) + ops.convert_to_numpy(cell.ff2_bias) * gate
        heads = np.arctanh(trace.first[..., chosen]) * (1 - gate) + np.arctanh(trace.second[..., chosen]) * gate
        np.testing.assert_allclose(total[..., chosen] + biases, heads, atol=1e-5)


def test_steps_of_a_layer_that_goes_backwards_are_those_of_the_inputs():
    forwards, backwards = make("ltc"), make("ltc", go_backwards=True)
    inputs, times = draw()
    one = forwards.trace((inputs[:, ::-1], times[:, ::-1]), mask=MASK[:, ::-1])
    other = backwards.trace((inputs, times), mask=MASK)
    for name in ("states", "outputs", "time_constants", "currents"):
        np.testing.assert_array_equal(getattr(other, name), getattr(one, name)[:, ::-1])


def test_mean_flows_are_laid_out_like_the_matrices_of_the_wiring():
    layer = make("cfc-wired-ncps")
    trace = layer.trace(draw(), mask=MASK)
    inner, sensory = trace.mean_flows(1)
    assert inner.shape == layer.built_wiring.adjacency_matrix.shape
    assert ((inner != 0) <= (layer.built_wiring.adjacency_matrix != 0)).all()
    assert ((sensory != 0) == (layer.built_wiring.sensory_adjacency_matrix != 0)).all()
    source, target = trace.sensory_synapses[0]
    assert sensory[source, target] == pytest.approx(np.abs(trace.sensory_currents[1, :2, 0]).mean())
    assert isinstance(trace, Trace)


def test_a_layer_without_weights_cannot_be_traced():
    with pytest.raises(ValueError, match="must be built"):
        LTC(2).trace(draw()[0])
