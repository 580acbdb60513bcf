"""Plots of what the neurons of a liquid layer do."""

from typing import Any

import numpy as np
import pytest
from ncps.wirings import AutoNCP

from keras_lnn import plots
from keras_lnn.errors import InputError
from keras_lnn.layers.traces import Trace
from keras_lnn.layers.wiring import BuiltWiring
from keras_lnn.statistics import Estimate
from keras_lnn.statistics.paired_tests import Difference


def make_trace(steps=4):
    """Two motor neurons, a command and an inter neuron; the second step is masked."""
    generator = np.random.default_rng(0)
    states = generator.normal(size=(2, steps, 4))
    constants = np.exp(generator.normal(size=(2, steps, 4)))
    constants[:, 1] = np.nan
    return Trace(
        states=states,
        outputs=states[..., :2],
        time_constants=constants,
        synapses=np.array([[3, 2], [2, 0]]),
        currents=np.ones((2, steps, 2)),
        sensory_synapses=np.array([[0, 3]]),
        sensory_currents=np.ones((2, steps, 1)),
        inputs=1,
        types=("motor", "motor", "command", "inter"),
    )


def test_neurons_are_grouped_by_type_and_masked_steps_are_blank():
    trace = make_trace()
    figure = plots.plot_neurons(trace, "Neurons", ["benign", "malignant"], sample=1)
    heat, beside, _ = figure.axes
    assert [label.get_text() for label in heat.get_yticklabels()] == ["inter 3", "command 2", "benign", "malignant"]
    drawn = np.ma.filled(heat.images[0].get_array(), np.nan)
    expected = trace.states[1].T[[3, 2, 0, 1]]
    expected[:, 1] = np.nan
    np.testing.assert_array_equal(drawn, expected)
    dots = beside.collections[-1].get_offsets()
    np.testing.assert_allclose(dots[:, 0], np.nanmedian(trace.time_constants[1], axis=0)[[3, 2, 0, 1]])


def test_strongest_parts_are_drawn_at_the_top_with_their_intervals():
    changes = [Estimate(0.1, 0.05, 0.15), Estimate(0.3, 0.2, 0.4), Estimate(0.0)]
    differences = [Difference(value, value - 0.1, value + 0.1, 0.05, 9, 0.5) for value in (-0.05, -0.2, 0.0)]
    figure = plots.plot_silencing(["neuron 0", "neuron 1", "0 to 1"], changes, differences, "AUC", "Silencing")
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["neuron 1", "neuron 0", "0 to 1"]
    assert left.get_ylim()[0] > left.get_ylim()[1]  # the first is at the top
    ends = [list(np.asarray(line.get_xdata())) for line in right.lines]
    assert any(np.allclose(end, [-0.3, -0.1]) for end in ends if len(end) == 2)
    with pytest.raises(InputError, match="a part whose silencing"):
        plots.plot_silencing([], [], [], "AUC", "Silencing")


def test_only_the_strongest_of_many_parts_are_drawn():
    changes = [Estimate(0.01 * place, 0.0, 1.0) for place in range(50)]
    differences = [Difference(0.0, -0.1, 0.1, 0.05, 9, 0.5)] * 50
    figure = plots.plot_silencing([f"neuron {place}" for place in range(50)], changes, differences, "AUC", "Silencing")
    assert len(figure.axes[0].get_yticklabels()) == 40
    assert "40 strongest of 50" in figure.get_suptitle().replace("\n", " ")


def test_each_output_has_a_bar_for_each_step():
    contributions = np.array([[1.0, -1.0], [0.5, -0.5], [-2.0, 2.0]])
    figure = plots.plot_steps(contributions, ["benign", "malignant"], "Steps")
    for axes, values in zip(figure.axes, contributions.T, strict=True):
        bars: Any = axes.patches
        assert [bar.get_height() for bar in bars] == values.tolist()


def collections_of(axes, part):
    return [lines for lines in axes.collections if part in (lines.get_gid() or "")]


def make_wiring():
    wiring = AutoNCP(12, 2, seed=1)
    wiring.build(40)
    return wiring


def test_synapses_are_as_wide_as_what_they_carried():
    wiring = make_wiring()
    inner, sensory = (np.zeros(matrix.shape) for matrix in (wiring.adjacency_matrix, wiring.sensory_adjacency_matrix))
    strong = tuple(np.argwhere(wiring.adjacency_matrix > 0)[0])
    inner[strong] = 5.0
    sensory[3] = 1.0
    figure = plots.plot_wiring(wiring, "Flows", flows=(inner, sensory))
    lines: dict[Any, Any] = {lines.get_gid(): lines for lines in figure.axes[0].collections if lines.get_gid()}
    widths = np.sort(lines["neuron excitatory"].get_linewidths())
    assert widths[-1] == pytest.approx(3.0)
    assert widths[:-1] == pytest.approx(0.3)
    drawn = np.concatenate([lines[f"sensory {kind}"].get_linewidths() for kind in ("excitatory", "inhibitory")])
    assert (drawn > 2.9).sum() == np.count_nonzero(wiring.sensory_adjacency_matrix[3])  # input 3 is among those drawn


def test_a_pruned_wiring_stands_beside_the_whole_in_the_same_places():
    whole = make_wiring()
    pruned = BuiltWiring.of(whole)
    pruned.adjacency_matrix = np.where(np.arange(12) == 0, whole.adjacency_matrix, 0)
    figure = plots.plot_pruned_wiring(whole, pruned, "Pruned", ["a", "b"])
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    left = np.count_nonzero(pruned.adjacency_matrix) + np.count_nonzero(pruned.sensory_adjacency_matrix)
    assert titles[0].startswith(f"whole: {whole.synapse_count + whole.sensory_synapse_count} synapses, 12 neurons")
    assert titles[1].startswith(f"pruned: {left} synapses, ")
    counts = [sum(len(lines.get_paths()) for lines in collections_of(axes, "itory")) for axes in figure.axes]
    assert counts[1] < counts[0]
