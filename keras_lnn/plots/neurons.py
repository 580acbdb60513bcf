"""Plots of what the neurons of a liquid layer do: their courses, what silencing them changes, what steps contribute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_lnn.errors import InputError
from keras_lnn.plots.style import (
    BLUE,
    DARK_GREY,
    GREY,
    LABEL_SIZE,
    SMALL_SIZE,
    VERMILLION,
    literal,
    new_figure,
    set_heading,
    style_axes,
    wrap_name,
)
from keras_lnn.plots.wiring import LAYERS, NEURON_COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from keras_lnn.layers.traces import Trace
    from keras_lnn.statistics import Estimate
    from keras_lnn.statistics.paired_tests import Difference

_MOST_NAMED = 40
_MOST_PARTS = 40
_MOST_OUTPUTS = 4


def plot_neurons(trace: Trace, title: str, outputs: Sequence[str] = (), sample: int = 0) -> Figure:
    """Draws the state of each neuron after each step as a heat map, with its time constants beside.

    Neurons are grouped by type. Their time constants are drawn from the smallest to the largest over the steps, with
    the median as a dot. Steps that are masked are blank.

    Args:
        trace: Result of ``LTC.trace`` or ``CfC.trace``.
        title: The heading.
        outputs: Names of the motor neurons' outputs; numbers of neurons if not given.
        sample: Position of the sequence in the batch.
    """
    order = sorted(range(len(trace.types)), key=lambda neuron: (LAYERS.index(trace.types[neuron]), neuron))
    constants = trace.time_constants[sample][:, order]
    is_read = ~np.isnan(constants).any(axis=1)
    states = np.where(is_read[:, None], trace.states[sample][:, order], np.nan)
    figure = new_figure(8.6, float(np.clip(0.17 * len(order) + 1.5, 3.2, 10)))
    heat, beside = figure.subplots(1, 2, sharey=True, width_ratios=(2.6, 1))
    largest = float(np.nanmax(np.abs(states))) if is_read.any() else 1.0
    extent = (0.5, len(states) + 0.5, len(order) - 0.5, -0.5)
    drawn = heat.imshow(states.T, cmap="RdBu_r", vmin=-largest, vmax=largest, aspect="auto", extent=extent)
    heat.set_facecolor("white")
    bar = figure.colorbar(drawn, ax=heat, shrink=0.8, pad=0.02, label="state")
    bar.ax.tick_params(labelsize=SMALL_SIZE)
    style_axes(heat, x_label="step", grid=False)
    heat.locator_params(axis="x", integer=True)
    _name_neurons(heat, trace.types, order, outputs)
    if is_read.any():
        _draw_constants(beside, constants[is_read], [NEURON_COLOURS[trace.types[neuron]] for neuron in order])
    style_axes(beside, x_label="time constant\n(in units of the elapsed time)")
    beside.tick_params(labelleft=False, length=0)
    set_heading(figure, title)
    return figure


def _name_neurons(axes: Axes, types: Sequence[str], order: Sequence[int], outputs: Sequence[str]) -> None:
    motors = [neuron for neuron in order if types[neuron] == "motor"]
    names = [f"{types[neuron]} {neuron}" for neuron in order]
    if len(outputs) == len(motors):
        places = {neuron: place for place, neuron in enumerate(motors)}
        names = [
            wrap_name(outputs[places[neuron]], 20, 1) if neuron in places else name
            for neuron, name in zip(order, names, strict=True)
        ]
    every = -(-len(order) // _MOST_NAMED)
    axes.set_yticks(range(0, len(order), every), names[::every], fontsize=SMALL_SIZE)
    for label, neuron in zip(axes.get_yticklabels(), order[::every], strict=True):
        label.set_color(DARK_GREY if types[neuron] == "motor" else NEURON_COLOURS[types[neuron]])
    kinds = [types[neuron] for neuron in order]
    for place in range(1, len(kinds)):
        if kinds[place] != kinds[place - 1]:
            axes.axhline(place - 0.5, color=GREY, linewidth=0.8)


def _draw_constants(axes: Axes, constants: np.ndarray, colours: Sequence[str]) -> None:
    """Draws the time constants (steps, neurons) of each neuron: a line over its range and a dot at its median."""
    rows = np.arange(constants.shape[1])
    axes.hlines(rows, constants.min(axis=0), constants.max(axis=0), colors=list(colours), linewidth=1.6)
    axes.scatter(np.median(constants, axis=0), rows, s=14, color=list(colours), zorder=3)
    axes.set_xscale("log")


def plot_silencing(
    names: Sequence[str], changes: Sequence[Estimate], differences: Sequence[Difference], metric: str, title: str
) -> Figure:
    """Draws what silencing each of several parts does, with intervals: to the probabilities and to a metric.

    The 40 parts that change the probabilities most are drawn, the strongest at the top.

    Args:
        names: Names of the parts, such as ``neuron 3``.
        changes: The mean absolute change of the probabilities for each part.
        differences: The metric without the part minus that of the whole model.
        metric: What people call the metric.
        title: The heading.
    """
    if not names:
        raise InputError("There must be a part whose silencing is drawn. Received: none. Measure neurons or synapses.")
    order = sorted(range(len(names)), key=lambda place: -changes[place].value)[:_MOST_PARTS]
    figure = new_figure(8.6, 0.18 * len(order) + 1.6)
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, values in ((left, [changes[place] for place in order]), (right, [differences[place] for place in order])):
        for row, found in enumerate(values):
            _draw_interval(axes, row, found)
    left.set_yticks(range(len(order)), [literal(names[place]) for place in order])
    left.set_ylim(len(order) - 0.4, -0.6)
    left.set_xlim(left=0)
    right.axvline(0, color=GREY, linewidth=0.9)
    style_axes(left, x_label="mean absolute change of the probabilities")
    style_axes(right, x_label=f"change of {metric}\n(blue: the interval leaves out 0, for each part alone)")
    right.locator_params(axis="x", nbins=5)
    left.tick_params(axis="y", labelsize=SMALL_SIZE)
    right.tick_params(axis="y", length=0)
    shown = "" if len(order) == len(names) else f" (the {len(order)} strongest of {len(names)})"
    set_heading(figure, f"{title}{shown}")
    return figure


def _draw_interval(axes: Axes, row: int, found: Any) -> None:
    is_sure = not (found.low <= 0 <= found.high)
    colour = BLUE if is_sure else GREY
    if np.isfinite([found.low, found.high]).all():
        axes.plot([found.low, found.high], [row, row], color=colour, linewidth=1.3)
    axes.plot([found.value], [row], "o", color=colour, markersize=3.5)


def plot_steps(contributions: np.ndarray, outputs: Sequence[str], title: str) -> Figure:
    """Draws what each step contributes to the logits of one sample, one panel for each output.

    Args:
        contributions: (steps, outputs), such as :func:`keras_lnn.explaining.steps.measure_steps` gives for a sample.
        outputs: Names of the outputs; the first four are drawn.
        title: The heading.
    """
    shown = list(outputs)[:_MOST_OUTPUTS]
    figure = new_figure(8.6, 1.3 * len(shown) + 1.3)
    panels = figure.subplots(len(shown), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    steps = np.arange(1, len(contributions) + 1)
    for axes, name, values in zip(panels, shown, contributions.T, strict=False):
        axes.bar(steps, values, width=0.8, color=[BLUE if value > 0 else VERMILLION for value in values])
        axes.axhline(0, color=GREY, linewidth=0.8)
        style_axes(axes, y_label="change of the logit")
        axes.set_title(
            literal(f"{name}: blue steps speak for it, orange ones against it"), loc="left", fontsize=LABEL_SIZE
        )
    panels[-1].set_xlabel("step, compared with the average step", fontsize=LABEL_SIZE)
    panels[-1].set_xlim(0.4, len(contributions) + 0.6)
    panels[-1].locator_params(axis="x", integer=True)
    set_heading(figure, title)
    return figure
