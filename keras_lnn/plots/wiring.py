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
    LIGHT_GREY,
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


# Synapses as (neurons, neurons), then those from the inputs as (inputs, neurons).
Flows = tuple[np.ndarray, np.ndarray]


def plot_wiring(wiring: Any, title: str, outputs: Sequence[str] = (), *, flows: Flows | None = None) -> Figure:
    """Draws a wiring in columns: sensory inputs, inter, command and motor neurons, and each synapse by its polarity.

    Synapses run from left to right; those within a layer or back to an earlier one are bent. If there are more than 32
    sensory inputs, an evenly spaced sample is drawn, which is smaller where each input drives many neurons; the figure
    says so. With flows, it is the inputs from which most flowed.

    Args:
        wiring: A built wiring of ``ncps.wirings``, or any object with its ``units``, ``adjacency_matrix``,
            ``sensory_adjacency_matrix`` and ``get_type_of_neuron``.
        title: The heading.
        outputs: Names of the motor neurons' outputs, such as classes; numbers if not given.
        flows: What each synapse carried, such as :meth:`keras_lnn.layers.traces.Trace.mean_flows` gives; the more, the
            wider and darker it is drawn. All synapses look alike if not given.

    Returns:
        The figure.

    Raises:
        InputError: If the wiring is not built.
    """
    _require_built(wiring)
    plan = _make_plan(wiring, flows)
    tallest = _count_tallest(plan)
    figure = new_figure(7.2, float(np.clip(0.17 * tallest + 1.6, 4.0, 9.5)))
    axes = figure.subplots()
    inner, sensory = np.asarray(wiring.adjacency_matrix), np.asarray(wiring.sensory_adjacency_matrix)
    rightmost = _draw_synapses(axes, plan, inner, sensory, flows)
    _draw_neurons(axes, plan, tallest)
    _write_names(axes, plan, len(sensory), rightmost, outputs)
    _draw_legend(figure, inner, sensory)
    _finish(axes, rightmost, bool(outputs), bool(inner.any()))
    if flows is not None:
        axes.set_xlabel(f"The wider and darker, the more a synapse carried.\n{axes.get_xlabel()}")
    set_heading(figure, title)
    return figure


def plot_pruned_wiring(whole: Any, pruned: Any, title: str, outputs: Sequence[str] = ()) -> Figure:
    """Draws a wiring and, beside it in the same places, what is left of it; neurons without a synapse are hollow.

    Args:
        whole: A built wiring.
        pruned: The same wiring with fewer synapses.
        title: The heading.
        outputs: Names of the motor neurons' outputs, such as classes; numbers if not given.
    """
    for wiring in (whole, pruned):
        _require_built(wiring)
    # The inputs that are left are drawn, rather than a sample of all.
    kept = np.abs(np.asarray(pruned.sensory_adjacency_matrix))
    plan = _make_plan(whole, (np.asarray(pruned.adjacency_matrix), kept))
    tallest = _count_tallest(plan)
    figure = new_figure(11.5, float(np.clip(0.17 * tallest + 1.8, 4.2, 9.5)))
    panels = figure.subplots(1, 2)
    for axes, wiring, name in zip(panels, (whole, pruned), ("whole", "pruned"), strict=True):
        inner, sensory = np.asarray(wiring.adjacency_matrix), np.asarray(wiring.sensory_adjacency_matrix)
        rightmost = _draw_synapses(axes, plan, inner, sensory)
        used = _find_used(inner, sensory)
        _draw_neurons(axes, plan, tallest, used)
        _write_names(axes, plan, len(sensory), rightmost, outputs, used)
        _finish(axes, rightmost, bool(outputs), bool(inner.any()) and wiring is whole)
        count = int(np.count_nonzero(inner) + np.count_nonzero(sensory))
        neurons = sum(("neuron", neuron) in used for neuron in range(whole.units))
        axes.set_title(f"{name}: {count} synapses, {neurons} neurons", loc="left", fontsize=LABEL_SIZE, pad=30)
    _draw_legend(figure, np.asarray(whole.adjacency_matrix), np.asarray(whole.sensory_adjacency_matrix), counted=False)
    set_heading(figure, title)
    return figure


def _require_built(wiring: Any) -> None:
    if getattr(wiring, "sensory_adjacency_matrix", None) is None or wiring.output_dim is None:
        raise InputError(
            "A wiring must be built and know its outputs before it is drawn. "
            f"Received: {type(wiring).__name__}. Call wiring.build(features) first."
        )


def _count_tallest(plan: Plan) -> int:
    return max([len(plan.sensory_shown), *(len(neurons) for neurons in plan.layers.values())])


def _find_used(inner: np.ndarray, sensory: np.ndarray) -> set[tuple[str, int]]:
    """Returns the keys of the inputs and neurons that have a synapse."""
    neurons = (inner != 0).any(axis=0) | (inner != 0).any(axis=1) | (sensory != 0).any(axis=0)
    used = {("neuron", int(neuron)) for neuron in np.flatnonzero(neurons)}
    return used | {("sensory", int(index)) for index in np.flatnonzero((sensory != 0).any(axis=1))}


def _finish(axes: Axes, rightmost: float, has_names: bool, has_directions: bool) -> None:
    axes.set_xlim(-12, rightmost + (34 if has_names else 18))
    axes.set_ylim(HEIGHT + 2, -2)
    blank_axes(axes)
    if has_directions:
        axes.set_xlabel(DIRECTIONS, fontsize=SMALL_SIZE, color=DARK_GREY, loc="left")


def _make_plan(wiring: Any, flows: Flows | None = None) -> Plan:
    layers = {kind: [] for kind in LAYERS[1:]}
    for neuron in range(wiring.units):
        layers[wiring.get_type_of_neuron(neuron)].append(neuron)
    layers = {kind: neurons for kind, neurons in layers.items() if neurons}
    sensory = np.asarray(wiring.sensory_adjacency_matrix)
    shown = _choose_sensory(sensory, None if flows is None else flows[1].sum(axis=1))
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


def _choose_sensory(sensory: np.ndarray, flows: np.ndarray | None = None) -> np.ndarray:
    """Returns the sensory inputs to draw: all if they are few, otherwise few enough to have few synapses.

    Args:
        sensory: Synapses from the inputs, (inputs, neurons).
        flows: What flowed from each input, the largest of which are chosen; None for an even sample.
    """
    count = len(sensory)
    if count > MOST_SENSORY_SHOWN:
        synapses_each = max(np.count_nonzero(sensory) / count, 1.0)
        count = int(np.clip(SENSORY_SYNAPSES_AIMED_AT / synapses_each, 12, MOST_SENSORY_SHOWN))
        if flows is not None:
            return np.sort(np.argsort(-flows, kind="stable")[:count])
    return np.unique(np.linspace(0, len(sensory) - 1, count).round().astype(int))


def _spread(count: int) -> np.ndarray:
    """Returns evenly spaced heights; a small layer is centred and does not take the whole height."""
    gap = min(HEIGHT / count, 14.0)
    return HEIGHT / 2 + gap * (np.arange(count) - (count - 1) / 2)


def _mean_height(driven_by: np.ndarray, heights: dict[int, float]) -> float:
    """Returns the mean height of a neuron's sources; neurons near their sources have fewer crossing synapses."""
    sources = [heights[row] for row in np.flatnonzero(driven_by) if row in heights]
    return float(np.mean(sources)) if sources else HEIGHT / 2


def _draw_synapses(axes: Axes, plan: Plan, inner: np.ndarray, sensory: np.ndarray, flows: Flows | None = None) -> float:
    """Draws every synapse between drawn neurons and returns the largest horizontal coordinate they reach."""
    from matplotlib.collections import LineCollection

    lines: dict[tuple[str, str], list[np.ndarray]] = {}
    carried: dict[tuple[str, str], list[float]] = {}
    strengths = (None, None) if flows is None else (flows[1], flows[0])
    for (source_kind, matrix), flow in zip((("sensory", sensory), ("neuron", inner)), strengths, strict=True):
        # Inputs and neurons have units of their own, so each kind has its own scale.
        largest = 1.0 if flow is None else max(float(np.abs(flow).max(initial=0)), 1e-12)
        for source, target in np.argwhere(matrix != 0):
            start = plan.places.get((source_kind, int(source)))
            if start is not None:
                group = (source_kind, "excitatory" if matrix[source, target] > 0 else "inhibitory")
                lines.setdefault(group, []).append(_synapse_line(start, plan.places["neuron", int(target)]))
                carried.setdefault(group, []).append(1.0 if flow is None else abs(flow[source, target]) / largest)
    drawn = sum(len(group) for group in lines.values())
    # A few synapses can be followed one by one; for thousands only the density can be seen.
    density = 1 / np.sqrt(max(drawn, 1))
    alpha, width = float(np.clip(14 * density, 0.12, 0.75)), float(np.clip(20 * density, 0.5, 1.2))
    for (source_kind, polarity), group in lines.items():
        colour = BLUE if polarity == "excitatory" else VERMILLION
        shares = np.array(carried[source_kind, polarity])
        style: dict[str, Any] = {"linewidths": width, "alpha": alpha}
        if flows is not None:
            style = {"linewidths": 0.3 + 2.7 * shares, "alpha": 0.08 + 0.82 * shares}
        collection = LineCollection(group, colors=colour, zorder=1, **style)
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


def _draw_neurons(axes: Axes, plan: Plan, tallest: int, used: set[tuple[str, int]] | None = None) -> None:
    """Draws inputs and neurons; those that are not used are hollow, and all are used if nothing is said."""
    size = float(np.clip(2600 / tallest, 14, 110))
    for kind in plan.columns:
        key = "sensory" if kind == "sensory" else "neuron"
        neurons = plan.sensory_shown if kind == "sensory" else plan.layers[kind]
        points = np.array([plan.places[key, int(neuron)] for neuron in neurons])
        is_used = np.array([used is None or (key, int(neuron)) in used for neuron in neurons])
        colour = NEURON_COLOURS[kind]
        dots = axes.scatter(*points[is_used].T, s=size, color=colour, edgecolors="white", linewidths=0.8, zorder=3)
        dots.set_gid(kind)
        if not is_used.all():
            axes.scatter(*points[~is_used].T, s=0.5 * size, facecolors="white", edgecolors=LIGHT_GREY, zorder=2)


def _write_names(
    axes: Axes,
    plan: Plan,
    sensory_count: int,
    rightmost: float,
    outputs: Sequence[str],
    used: set[tuple[str, int]] | None = None,
) -> None:
    for kind, x in plan.columns.items():
        key, neurons = ("sensory", range(sensory_count)) if kind == "sensory" else ("neuron", plan.layers[kind])
        count = sum(used is None or (key, int(neuron)) in used for neuron in neurons)
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


def _draw_legend(figure: Figure, inner: np.ndarray, sensory: np.ndarray, counted: bool = True) -> None:
    from matplotlib.lines import Line2D

    handles = []
    for polarity, colour, sign in (("excitatory", BLUE, 1), ("inhibitory", VERMILLION, -1)):
        from_inputs, within = int((np.sign(sensory) == sign).sum()), int((np.sign(inner) == sign).sum())
        label = f"{from_inputs + within} {polarity} synapses ({from_inputs} from inputs, {within} between neurons)"
        label = label if counted else f"{polarity} synapses"
        handles.append(Line2D([], [], color=colour, linewidth=1.8, label=label))
    figure.legend(handles=handles, loc="outside lower left", frameon=False, fontsize=LABEL_SIZE)
