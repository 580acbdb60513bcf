"""The smallest circuit that decides as the whole layer does."""

import keras
import numpy as np
import pytest
from liquid_samples import TASK, draw_split, make_model

from keras_lnn.errors import InputError
from keras_lnn.explaining.circuits import Circuit, Synapse
from keras_lnn.explaining.liquid_layers import choose_liquid_layer, find_liquid_layers
from keras_lnn.explaining.pruning import _longest_allowed, compare_on, find_smallest_circuit, prune_model
from keras_lnn.explaining.silencing import SilencedModel


@pytest.fixture(scope="module")
def model():
    """A model whose decisions need few synapses: those from inputs 2 and 3 have no weight."""
    model = make_model("dense")
    circuit = Circuit(choose_liquid_layer(model))
    useless = [synapse for synapse in circuit.list_synapses(from_inputs=True) if synapse.source > 1]
    for variable, value in circuit.without(useless):
        variable.assign(value)
    return model


@pytest.fixture(scope="module")
def silenced(model):
    return SilencedModel(model, draw_split(), TASK)


@pytest.fixture(scope="module")
def circuit(model, silenced):
    return find_smallest_circuit(model, silenced, least_agreement=0.9, largest_loss=0.05)


@pytest.mark.slow
def test_the_circuit_keeps_its_limits_and_no_synapse_of_it_can_go(silenced, circuit):
    def is_allowed(removed):
        found = silenced.predict(removed)
        loss = silenced.scale.measured.value - silenced.scale.measure(found, "auc").value
        return np.mean(found.argmax(axis=1) == silenced.scale.whole.argmax(axis=1)) >= 0.9 and loss <= 0.05

    assert is_allowed(circuit.removed)
    assert not any(is_allowed([*circuit.removed, synapse]) for synapse in circuit.kept)
    every = silenced.circuit.list_synapses() + silenced.circuit.list_synapses(from_inputs=True)
    assert sorted([*circuit.kept, *circuit.removed]) == sorted(every)
    assert all(synapse in circuit.removed for synapse in every if synapse.from_input and synapse.source > 1)
    assert circuit.validation.agreement.value >= 0.9
    assert circuit.wiring is None  # a dense layer has none


@pytest.mark.slow
def test_a_pruned_model_is_saved_and_decides_like_the_circuit(silenced, circuit, tmp_path):
    circuit.model.save(tmp_path / "pruned.keras")
    loaded = keras.saving.load_model(tmp_path / "pruned.keras", safe_mode=True)
    logits = loaded(np.float32(draw_split().images[:]))
    found = keras.ops.convert_to_numpy(keras.ops.softmax(logits, axis=-1))
    np.testing.assert_allclose(found, silenced.predict(circuit.removed), atol=1e-6)


@pytest.mark.slow
def test_other_samples_are_measured_beside_the_whole_model(silenced, circuit):
    beside = compare_on(silenced, circuit)
    assert beside == circuit.validation  # as it is the same split
    assert set(beside.whole) == {"auc", "accuracy"}
    for name, difference in beside.differences.items():
        assert difference.value == pytest.approx(beside.pruned[name].value - beside.whole[name].value)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cfc", "ltc"])
def test_a_pruned_wiring_goes_with_the_model(kind, tmp_path):
    model = make_model(kind)
    layer = choose_liquid_layer(model)
    circuit = Circuit(layer)
    removed = [circuit.list_synapses()[0], circuit.list_synapses(from_inputs=True)[0]]
    removed = [
        part for part in removed if layer.built_wiring.adjacency_matrix[part.source, part.target] or part.from_input
    ]
    pruned = prune_model(model, "liquid", removed)
    pruned.save(tmp_path / "pruned.keras")
    loaded = keras.saving.load_model(tmp_path / "pruned.keras", safe_mode=True)
    images = np.float32(draw_split(3).images[:])
    with circuit.silenced(removed):
        expected = keras.ops.convert_to_numpy(model(images))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(loaded(images)), expected, atol=1e-6)
    wiring = find_liquid_layers(loaded)[0].built_wiring
    for before, after, from_input in (
        (layer.built_wiring.adjacency_matrix, wiring.adjacency_matrix, False),
        (layer.built_wiring.sensory_adjacency_matrix, wiring.sensory_adjacency_matrix, True),
    ):
        gone = [(part.source, part.target) for part in removed if part.from_input == from_input]
        assert {tuple(pair) for pair in np.argwhere(before != after).tolist()} == set(gone)


@pytest.mark.slow
def test_a_wrong_limit_is_refused(model, silenced):
    with pytest.raises(InputError, match="least_agreement must be"):
        find_smallest_circuit(model, silenced, least_agreement=95)


@pytest.mark.parametrize(("limit", "expected"), [(1, 1), (3, 3), (9, 5)])
def test_as_many_synapses_as_allowed_go_together_but_at_most_half(limit, expected):
    candidates = [Synapse(place, 0) for place in range(8)]
    assert _longest_allowed(candidates, lambda some: len(some) <= limit, remaining=10) == expected
    assert _longest_allowed([], lambda some: True, remaining=10) == 0
