"""Pictures of wirings."""

import types

import keras
import numpy as np
import pandas
import pytest
from ncps.wirings import AutoNCP, FullyConnected, Random
from plot_cases import built, texts

from keras_lnn import plots
from keras_lnn.errors import InputError
from keras_lnn.explaining.output_names import name_outputs
from keras_lnn.layers import CfC, SingleLogit

POLARITIES = ("excitatory", "inhibitory")


def segments(figure):
    collections = {lines.get_gid(): lines for lines in figure.axes[0].collections}
    return {name: lines.get_segments() for name, lines in collections.items() if name.endswith(POLARITIES)}


def neurons(figure):
    dots = {dots.get_gid(): dots.get_offsets() for dots in figure.axes[0].collections}
    return {kind: np.asarray(dots[kind]) for kind in ("sensory", "inter", "command", "motor") if kind in dots}


@pytest.mark.parametrize(
    "wiring",
    [built(AutoNCP(19, 2), 16), built(FullyConnected(12, 2), 9), built(Random(20, 3, 0.7), 28)],
    ids=["AutoNCP", "FullyConnected", "Random"],
)
def test_wiring_draws_a_line_for_each_synapse_from_its_neuron_to_its_neuron(wiring):
    figure = plots.plot_wiring(wiring, "A wiring")
    lines = segments(figure)
    for source, matrix in (("sensory", wiring.sensory_adjacency_matrix), ("neuron", wiring.adjacency_matrix)):
        assert len(lines[f"{source} excitatory"]) == (matrix == 1).sum()
        assert len(lines[f"{source} inhibitory"]) == (matrix == -1).sum()
    counts = {kind: len(points) for kind, points in neurons(figure).items()}
    expected = pandas.Series([wiring.get_type_of_neuron(index) for index in range(wiring.units)]).value_counts()
    assert counts == {"sensory": wiring.input_dim, **expected}
    # Motor neurons stand in their own order, so that what arrives at each can be counted.
    arrivals = np.array([line[-1] for group in lines.values() for line in group])
    for index, place in enumerate(neurons(figure)["motor"]):
        driven_by = np.count_nonzero(wiring.adjacency_matrix[:, index])
        driven_by += np.count_nonzero(wiring.sensory_adjacency_matrix[:, index])
        assert np.isclose(arrivals, place).all(axis=1).sum() == driven_by
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    total = (wiring.adjacency_matrix == 1).sum() + (wiring.sensory_adjacency_matrix == 1).sum()
    assert legend[0].startswith(f"{total} excitatory synapses")


def test_motor_neurons_are_called_by_their_classes():
    wiring = built(AutoNCP(19, 2), 16)
    assert {"output 0", "output 1"} <= set(texts(plots.plot_wiring(wiring, "A wiring").axes[0]))
    named = texts(plots.plot_wiring(wiring, "A wiring", ["malignant", "normal, benign"]).axes[0])
    assert {"malignant", "normal, benign"} <= set(named)
    assert not any(text.startswith("output") for text in named)


@pytest.mark.parametrize(
    ("tail", "count", "expected"),
    [
        ([], 2, ("no", "yes")),
        ([keras.layers.Rescaling(2.0), keras.layers.Normalization()], 2, ("no", "yes")),
        ([keras.layers.Dense(2)], 2, ()),
        ([], 3, ()),
        ([SingleLogit()], 1, ("yes",)),
    ],
    ids=["at the end", "scaled", "mixed", "other number", "one of two"],
)
def test_outputs_are_classes_unless_a_later_layer_mixes_them(tail, count, expected):
    layer = CfC(AutoNCP(count + 6, count))
    inputs = keras.Input((5, 4))
    outputs = layer(inputs)
    for part in tail:
        outputs = part(outputs)
    model = keras.Model(inputs, outputs)
    assert tuple(name_outputs(model, layer, layer.built_wiring.output_dim, ("no", "yes"))) == expected


def test_wiring_with_very_many_inputs_shows_some_and_reports_it():
    wiring = built(AutoNCP(60, 5), 512)
    figure = plots.plot_wiring(wiring, "Large")
    shown = len(neurons(figure)["sensory"])
    assert 12 <= shown <= 32
    assert f"512 sensory\n({shown} shown)" in texts(figure.axes[0])
    lines = segments(figure)
    rows = np.unique(np.linspace(0, 511, shown).round().astype(int))
    drawn_synapses = len(lines["sensory excitatory"]) + len(lines["sensory inhibitory"])
    assert drawn_synapses == np.count_nonzero(wiring.sensory_adjacency_matrix[rows])
    legend = figure.legends[0].get_texts()[1].get_text()
    assert f"{(wiring.sensory_adjacency_matrix == -1).sum()} from inputs" in legend


def test_wiring_keeps_a_synapse_to_itself_and_both_of_a_pair_apart():
    wiring = types.SimpleNamespace(
        units=2,
        output_dim=2,
        adjacency_matrix=np.array([[1, 1], [-1, 0]]),
        sensory_adjacency_matrix=np.array([[1, 0]]),
        get_type_of_neuron=lambda neuron: "motor",
    )
    lines = segments(plots.plot_wiring(wiring, "Two"))
    ring, down = lines["neuron excitatory"]
    (up,) = lines["neuron inhibitory"]
    np.testing.assert_allclose(ring[0], ring[-1], atol=1e-9)
    np.testing.assert_allclose([down[0], down[-1]], [up[-1], up[0]])
    assert down[:, 0].max() > down[0, 0] > up[:, 0].min()


def test_wiring_that_is_not_built_is_refused():
    with pytest.raises(InputError, match=r"Call wiring.build\(features\) first"):
        plots.plot_wiring(AutoNCP(19, 2), "Not built")
