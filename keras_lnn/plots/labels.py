"""A plot of the metrics of each label or class with their intervals, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from keras_lnn.errors import InputError
from keras_lnn.plots.style import (
    BLUE,
    DARK_GREY,
    GREY,
    SMALL_SIZE,
    VERMILLION,
    new_figure,
    set_heading,
    shorten_name,
    style_axes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS = (("auc", "AUC"), ("average_precision", "average precision"), ("f1", "F1"))


def plot_labels(per_class: Mapping[str, Mapping[str, Any]], samples: int) -> Figure:
    """Draws AUC, average precision and F1 of each label or class with their intervals, the best AUC on top.

    A mark in each row shows the value of random predictions: 0.5 for AUC, the share of positives for average precision.
    F1 is drawn at a threshold of 0.5 and, where a threshold was chosen on validation, at that one too.

    Args:
        per_class: The entry ``per_class`` of one split in metrics.json.
        samples: Number of samples of that split.

    Returns:
        The figure.

    Raises:
        InputError: If there is no label.
    """
    if not per_class:
        raise InputError("There must be at least one label to draw. Received: none.")

    def rank(name: str) -> float:
        value = per_class[name]["auc"]["value"]
        return -1.0 if value is None else value

    names = sorted(per_class, key=rank)
    figure = new_figure(9.5, 1.6 + 0.3 * len(names))
    panels = figure.subplots(1, len(_PANELS), sharey=True)
    for axes, (metric, title) in zip(panels, _PANELS, strict=True):
        tuned = metric == "f1" and any("f1_tuned" in entry for entry in per_class.values())
        style_axes(axes, title)
        axes.set_xlim(-0.02, 1.02)
        for place, name in enumerate(names):
            entry = per_class[name]
            _draw_estimate(axes, place + 0.14 * tuned, entry[metric], BLUE)
            if tuned:
                _draw_estimate(axes, place - 0.14, entry["f1_tuned"], VERMILLION)
            chance = {"auc": 0.5, "average_precision": entry["support"] / samples}.get(metric)
            if chance is not None:
                axes.plot([chance], [place], marker="|", color=GREY, markersize=9)
        if tuned:
            for label, colour in (("above 0.5", BLUE), ("above its threshold", VERMILLION)):
                axes.plot([], [], "o", color=colour, label=label, markersize=4)
            axes.legend(fontsize=SMALL_SIZE, frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)
    panels[0].set_yticks(
        range(len(names)), [f"{shorten_name(name, 28)} ({per_class[name]['support']})" for name in names]
    )
    panels[0].tick_params(axis="y", labelcolor=DARK_GREY)
    set_heading(
        figure, f"Metrics of each label on {samples:,} samples with 95% intervals (in parentheses: number of positives)"
    )
    return figure


def _draw_estimate(axes: Axes, place: float, estimate: Mapping[str, float | None], colour: str) -> None:
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    if value is None:
        return
    if low is not None and high is not None:
        axes.plot([low, high], [place, place], color=colour, linewidth=1.4, solid_capstyle="butt")
    axes.plot([value], [place], "o", color=colour, markersize=4)
