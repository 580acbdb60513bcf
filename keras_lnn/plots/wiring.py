"""A plot of the synapses between the neurons of a neural circuit policy."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_lnn.errors import InputError
from keras_lnn.plots.style import (
    BLUE,
    DARK_GREY,
    GREEN,
    GREY,
    LABEL_SIZE,
    ORANGE,
    PURPLE,
    SMALL_SIZE,
    VERMILLION,
    blank_axes,
    new_figure,
    set_heading,
    wrap_name,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LAYERS = ("sensory", "inter", "command", "motor")
NEURON_COLOURS = {"sensory": GREY, "inter": GREEN, "command": PURPLE, "motor": ORANGE}
MOST_SENSORY_SHOWN = 32
SENSORY_SYNAPSES_AIMED_AT = 300
DIRECTIONS = (
    "Synapses run to the right; curved: within a layer (down on its right, up on its left) or back to an earlier one."
)
HEIGHT = 100.0
WIDTH = 100.0


@dataclasses.dataclass(frozen=True)
class Plan:
    """The layout of a wiring.

    Args:
        sensory_shown: Indices of the sensory inputs that are drawn.
        layers: The neurons of each layer that has any, from top to bottom.
        places: Centre of each drawn neuron, by ("sensory", index) or ("neuron", index).
        columns: Horizontal position of each layer.
    """

    sensory_shown: np.ndarray
    layers: dict[str, list[int]]
    places: dict[tuple[str, int], np.ndarray]
    columns: dict[str, float]


def plot_wiring(wiring: Any, title: str, outputs: Sequence[str] = ()) -> Figure:
    """Draws a wiring in columns: sensory inputs, inter, command and motor neurons, and each synapse by its polarity.

    Synapses run from left to right; those within a layer or back to an earlier one are bent. If there are more than 32
    sensory inputs, an evenly spaced sample is drawn, which is smaller where each input drives many neurons; the figure
    says so.

    Args:
        wiring: A built wiring of ``ncps.wirings``, or any object with its ``units``, ``adjacency_matrix``,
            ``sensory_adjacency_matrix`` and ``get_type_of_neuron``.
        title: The heading.
        outputs: Names of the motor neurons' outputs, such as classes; numbers if not given.

    Returns:
        The figure.

    Raises:
        InputError: If the wiring is not built.
    """
    if getattr(wiring, "sensory_adjacency_matrix", None) is None or wiring.output_dim is None:
        raise InputError(
            "A wiring must be built and know its outputs before it is drawn. "
            f"Received: {type(wiring).__name__}. Call wiring.build(features) first."
        )
    plan = _make_plan(wiring)
    tallest = max([len(plan.sensory_shown), *(len(neurons) for neurons in plan.layers.values())])
    figure = new_figure(7.2, float(np.clip(0.17 * tallest + 1.6, 4.0, 9.5)))
    axes = figure.subplots()
    inner = np.asarray(wiring.adjacency_matrix)
    sensory = np.asarray(wiring.sensory_adjacency_matrix)
    rightmost = _draw_synapses(axes, plan, inner, sensory)
    _draw_neurons(axes, plan, tallest)
    _write_names(axes, plan, len(sensory), rightmost, outputs)
    _draw_legend(figure, inner, sensory)
    axes.set_xlim(-12, rightmost + (34 if outputs else 18))
    axes.set_ylim(HEIGHT + 2, -2)
    blank_axes(axes)
    if inner.any():
        axes.set_xlabel(DIRECTIONS, fontsize=SMALL_SIZE, color=DARK_GREY, loc="left")
    set_heading(figure, title)
    return figure


def _make_plan(wiring: Any) -> Plan:
    layers = {kind: [] for kind in LAYERS[1:]}
    for neuron in range(wiring.units):
        layers[wiring.get_type_of_neuron(neuron)].append(neuron)
    layers = {kind: neurons for kind, neurons in layers.items() if neurons}
    sensory = np.asarray(wiring.sensory_adjacency_matrix)
    shown = _choose_sensory(sensory)
    columns = dict(zip(["sensory", *layers], np.linspace(0, WIDTH, len(layers) + 1), strict=True))
    places = {
        ("sensory", int(i)): np.array([columns["sensory"], y]) for i, y in zip(shown, _spread(len(shown)), strict=True)
    }
    drives = np.concatenate([sensory[shown], np.asarray(wiring.adjacency_matrix)]) != 0
    heights = {row: place[1] for row, place in enumerate(places.values())}
    for kind, neurons in layers.items():
        if kind != "motor":
            neurons.sort(key=lambda neuron: _mean_height(drives[:, neuron], heights))
        for neuron, y in zip(neurons, _spread(len(neurons)), strict=True):
            places["neuron", neuron] = np.array([columns[kind], y])
            heights[len(shown) + neuron] = y
    return Plan(shown, layers, places, columns)


def _choose_sensory(sensory: np.ndarray) -> np.ndarray:
    """Returns the sensory inputs to draw: all if they are few, otherwise an even sample with few enough synapses."""
    count = len(sensory)
    if count > MOST_SENSORY_SHOWN:
        synapses_each = max(np.count_nonzero(sensory) / count, 1.0)
        count = int(np.clip(SENSORY_SYNAPSES_AIMED_AT / synapses_each, 12, MOST_SENSORY_SHOWN))
    return np.unique(np.linspace(0, len(sensory) - 1, count).round().astype(int))


def _spread(count: int) -> np.ndarray:
    """Returns evenly spaced heights; a small layer is centred and does not take the whole height."""
    gap = min(HEIGHT / count, 14.0)
    return HEIGHT / 2 + gap * (np.arange(count) - (count - 1) / 2)


def _mean_height(driven_by: np.ndarray, heights: dict[int, float]) -> float:
    """Returns the mean height of a neuron's sources; neurons near their sources have fewer crossing synapses."""
    sources = [heights[row] for row in np.flatnonzero(driven_by) if row in heights]
    return float(np.mean(sources)) if sources else HEIGHT / 2


def _draw_synapses(axes: Axes, plan: Plan, inner: np.ndarray, sensory: np.ndarray) -> float:
    """Draws every synapse between drawn neurons and returns the largest horizontal coordinate they reach."""
    from matplotlib.collections import LineCollection

    lines: dict[tuple[str, str], list[np.ndarray]] = {}
    for source_kind, matrix in (("sensory", sensory), ("neuron", inner)):
        for source, target in np.argwhere(matrix != 0):
            start = plan.places.get((source_kind, int(source)))
            if start is not None:
                polarity = "excitatory" if matrix[source, target] > 0 else "inhibitory"
                line = _synapse_line(start, plan.places["neuron", int(target)])
                lines.setdefault((source_kind, polarity), []).append(line)
    drawn = sum(len(group) for group in lines.values())
    # A few synapses can be followed one by one; for thousands only the density can be seen.
    density = 1 / np.sqrt(max(drawn, 1))
    alpha, width = float(np.clip(14 * density, 0.12, 0.75)), float(np.clip(20 * density, 0.5, 1.2))
    for (source_kind, polarity), group in lines.items():
        colour = BLUE if polarity == "excitatory" else VERMILLION
        collection = LineCollection(group, colors=colour, linewidths=width, alpha=alpha, zorder=1)
        collection.set_gid(f"{source_kind} {polarity}")
        axes.add_collection(collection)
    return max((float(line[:, 0].max()) for group in lines.values() for line in group), default=WIDTH)


def _synapse_line(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Returns the points of a synapse: straight forwards, bent within a layer or backwards, a ring to itself."""
    if start is end:
        angle = np.linspace(0, 2 * np.pi, 17)
        return start + np.stack([1.6 - 1.6 * np.cos(angle), 1.6 * np.sin(angle)], axis=1)
    if end[0] > start[0]:
        return np.stack([start, end])
    step = np.linspace(0, 1, 17)[:, None]
    difference = end - start
    if end[0] == start[0]:
        # Downwards on the right and upwards on the left, so that the direction can be seen without arrows.
        bend = np.array([np.sign(difference[1]) * (1.5 + 0.14 * abs(difference[1])), 0.0])
    else:
        bend = np.array([0.0, 0.12 * abs(difference[0])])
    return start + step * difference + 4 * step * (1 - step) * bend


def _draw_neurons(axes: Axes, plan: Plan, tallest: int) -> None:
    size = float(np.clip(2600 / tallest, 14, 110))
    for kind in plan.columns:
        key = "sensory" if kind == "sensory" else "neuron"
        neurons = plan.sensory_shown if kind == "sensory" else plan.layers[kind]
        points = np.array([plan.places[key, int(neuron)] for neuron in neurons])
        dots = axes.scatter(*points.T, s=size, color=NEURON_COLOURS[kind], edgecolors="white", linewidths=0.8, zorder=3)
        dots.set_gid(kind)


def _write_names(axes: Axes, plan: Plan, sensory_count: int, rightmost: float, outputs: Sequence[str]) -> None:
    for kind, x in plan.columns.items():
        count = sensory_count if kind == "sensory" else len(plan.layers[kind])
        text = f"{count} {kind}"
        if kind == "sensory" and len(plan.sensory_shown) < count:
            text += f"\n({len(plan.sensory_shown)} shown)"
        style: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": LABEL_SIZE, "color": DARK_GREY}
        axes.annotate(text, (x, 0), xytext=(0, 8), textcoords="offset points", annotation_clip=False, **style)
    if len(plan.layers.get("motor", [])) <= 20:
        for index, neuron in enumerate(plan.layers.get("motor", [])):
            y = plan.places["neuron", neuron][1]
            name = wrap_name(outputs[index], 20, 2) if index < len(outputs) else f"output {index}"
            axes.text(rightmost + 3.5, y, name, va="center", fontsize=SMALL_SIZE, color=DARK_GREY)


def _draw_legend(figure: Figure, inner: np.ndarray, sensory: np.ndarray) -> None:
    from matplotlib.lines import Line2D

    handles = []
    for polarity, colour, sign in (("excitatory", BLUE, 1), ("inhibitory", VERMILLION, -1)):
        from_inputs, within = int((np.sign(sensory) == sign).sum()), int((np.sign(inner) == sign).sum())
        label = f"{from_inputs + within} {polarity} synapses ({from_inputs} from inputs, {within} between neurons)"
        handles.append(Line2D([], [], color=colour, linewidth=1.8, label=label))
    figure.legend(handles=handles, loc="outside lower left", frameon=False, fontsize=LABEL_SIZE)
