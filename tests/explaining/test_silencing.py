"""Silencing neurons and synapses, against networks whose weights were set to zero by hand."""

import keras
import numpy as np
import pytest
from liquid_samples import TASK, draw_split, make_model

from keras_lnn.data.arrays import Split
from keras_lnn.errors import InputError
from keras_lnn.explaining.circuits import Circuit, Neuron
from keras_lnn.explaining.liquid_layers import choose_liquid_layer
from keras_lnn.explaining.silencing import Scale, SilencedModel, measure_silencing
from keras_lnn.statistics.paired_tests import compare_auc
from keras_lnn.tasks.kinds import make_task


@pytest.fixture(scope="module")
def model():
    return make_model("dense")


@pytest.fixture(scope="module")
def split():
    return draw_split()


def probabilities_of(model, images):
    return keras.ops.convert_to_numpy(keras.ops.softmax(model(images.astype("float32")), axis=-1))


@pytest.fixture(scope="module")
def silenced(model, split):
    return SilencedModel(model, split, TASK)


def test_a_silenced_synapse_acts_as_one_whose_weight_is_zero(model, split, silenced):
    before = [weight.copy() for weight in model.get_weights()]
    np.testing.assert_allclose(silenced.predict(), probabilities_of(model, split.images), atol=1e-6)
    synapse = silenced.circuit.list_synapses()[0]
    found = silenced.predict([synapse])
    for weight, value in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, value)
    by_hand = keras.models.clone_model(model)
    by_hand.set_weights(before)
    cell = by_hand.get_layer("liquid").cell
    for strength in (cell.ff1_kernel, cell.ff2_kernel, cell.time_a.kernel, cell.time_b.kernel):
        value = keras.ops.convert_to_numpy(strength).copy()
        value[4 + synapse.source, synapse.target] = 0  # the first four rows belong to the inputs
        strength.assign(value)
    np.testing.assert_allclose(found, probabilities_of(by_hand, split.images), atol=1e-6)
    np.testing.assert_allclose(silenced.predict(), probabilities_of(model, split.images), atol=1e-6)


@pytest.mark.parametrize(
    "kind", ["dense", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("ltc", "cfc", "backbone"))]
)
def test_a_silenced_neuron_has_the_same_course_for_all_inputs_and_reaches_no_other(kind):
    layer = choose_liquid_layer(make_model(kind))
    generator = np.random.default_rng(1)
    inputs = generator.normal(size=(2, 3, 4)).astype("float32")
    circuit = Circuit(layer)
    target = circuit.list_synapses()[0].target if kind != "backbone" else 0
    whole = layer.trace(inputs)
    with circuit.silenced([Neuron(target)]):
        rest = layer.trace(inputs)
    assert np.ptp(whole.states[..., target], axis=0).max() > 1e-4
    np.testing.assert_allclose(np.ptp(rest.states[..., target], axis=0), 0, atol=1e-7)
    np.testing.assert_array_equal(layer.trace(inputs).states, whole.states)
    # Whatever state it starts from, the others do not notice.
    others = [neuron for neuron in range(circuit.neurons) if neuron != target]
    starts = np.zeros((2, circuit.neurons), "float32")
    starts[:, list(circuit._order).index(target)] = 5.0
    with circuit.silenced([Neuron(target)]):
        moved = layer.trace(inputs, initial_state=starts)
    np.testing.assert_allclose(moved.states[..., others], rest.states[..., others], atol=1e-6)


@pytest.mark.slow
def test_a_silenced_neuron_with_memory_keeps_its_cell_empty():
    layer = choose_liquid_layer(make_model("memory"))
    inputs = np.random.default_rng(1).normal(size=(2, 3, 4)).astype("float32")
    with Circuit(layer).silenced([Neuron(1)]):
        trace = layer.trace(inputs)
    np.testing.assert_array_equal(trace.memory[..., 1], 0)
    assert np.ptp(trace.states[..., 1], axis=0).max() < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ltc", "cfc"])
def test_a_silenced_synapse_carries_nothing(kind):
    layer = choose_liquid_layer(make_model(kind))
    inputs = np.random.default_rng(1).normal(size=(2, 3, 4)).astype("float32")
    circuit = Circuit(layer)
    for synapses, name in ((circuit.list_synapses(), ""), (circuit.list_synapses(from_inputs=True), "sensory_")):
        with circuit.silenced([synapses[0]]):
            trace = layer.trace(inputs)
        pairs = getattr(trace, f"{name}synapses").tolist()
        assert sorted(pairs) == [[synapse.source, synapse.target] for synapse in synapses]
        silent = np.array([pair == [synapses[0].source, synapses[0].target] for pair in pairs])
        currents = getattr(trace, f"{name}currents")
        assert (currents[..., silent] == 0).all()
        assert (currents[..., ~silent] != 0).any()


def test_effects_are_paired_with_the_whole_model(split, silenced):
    parts = [Neuron(0), *silenced.circuit.list_synapses()[:2]]
    found = measure_silencing(silenced, parts)
    assert [effect.part for effect in found.effects] == parts
    whole, without = silenced.predict(), silenced.predict([Neuron(0)])
    effect, positive = found.effects[0], split.labels == 1
    expected = compare_auc(positive, without[:, 1], whole[:, 1])
    assert (effect.metric.value, effect.metric.low, effect.metric.high) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )
    assert effect.p >= effect.metric.p
    assert effect.change.value == pytest.approx(np.abs(without - whole).mean())
    assert effect.change.low < effect.change.value < effect.change.high
    assert effect.agreement == np.mean(without.argmax(axis=1) == whole.argmax(axis=1))
    assert found.strongest(1)[0].change.value == max(effect.change.value for effect in found.effects)


def test_models_that_predict_masks_are_refused(model, split):
    with pytest.raises(InputError, match="for classes and labels"):
        SilencedModel(model, split, make_task("segmentation", ["background", "liver"]))


def test_decisions_and_accuracy_are_at_the_thresholds_of_the_model():
    split = Split(np.zeros((4, 1, 1, 1), np.uint8), np.array([0, 0, 1, 1]))
    whole = np.array([[0.9, 0.1], [0.8, 0.2], [0.65, 0.35], [0.6, 0.4]])
    at_half, at_own = Scale(split, TASK, whole), Scale(split, TASK, whole, thresholds=(0.7, 0.3))
    assert (at_half.measure(whole, "accuracy").value, at_own.measure(whole, "accuracy").value) == (0.5, 1.0)
    alike = np.full((4, 2), [0.6, 0.4])
    assert at_half.agrees(alike).all()
    assert at_own.agrees(alike).tolist() == [False, False, True, True]
