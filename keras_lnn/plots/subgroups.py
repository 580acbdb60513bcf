"""A forest plot: metrics of groups of samples with their intervals, one below the other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keras_lnn.errors import InputError
from keras_lnn.plots.style import (
    BLACK,
    BLUE,
    DARK_GREY,
    GREY,
    VERMILLION,
    new_figure,
    set_heading,
    shorten_name,
    style_axes,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIGNIFICANT = 0.05
_LONGEST_NAME = 34


def plot_subgroups(rows: Sequence[Mapping[str, Any]], metrics: Mapping[str, str], title: str) -> Figure:
    """Draws metrics of subgroups with their intervals, with a line at the value of all samples.

    Args:
        rows: One row per group and metric, with ``column``, ``group``, ``samples``, ``metric``, ``value``, ``low``,
            ``high`` and ``corrected_p``; those of all samples first. Rows without a metric are left out.
        metrics: What each metric is called, one panel each.
        title: Beginning of the heading.

    Returns:
        The figure. Groups that differ from the others after correction are orange.

    Raises:
        InputError: If no row has one of the metrics.
    """
    found = [row for row in rows if row["metric"] in metrics]
    groups = list(dict.fromkeys((row["column"], row["group"], row["samples"]) for row in found))
    if not groups:
        raise InputError(f"There must be groups with one of {', '.join(metrics)} to draw. Received: none.")
    figure = new_figure(3.0 + 2.6 * len(metrics), 1.3 + 0.3 * len(groups))
    panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    for axes, (metric, label) in zip(panels, metrics.items(), strict=True):
        style_axes(axes, label)
        of_metric = {(row["column"], row["group"]): row for row in found if row["metric"] == metric}
        for place, (column, group, _) in enumerate(groups):
            row = of_metric.get((column, group))
            if row is None or not _is_number(row["value"]):
                continue
            differs = _is_number(row["corrected_p"]) and row["corrected_p"] < _SIGNIFICANT
            colour = VERMILLION if differs else BLUE if column else BLACK
            if _is_number(row["low"]):
                axes.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=1.5)
            axes.plot([row["value"]], [place], "o" if column else "D", color=colour, markersize=5)
            if not column:
                axes.axvline(row["value"], color=GREY, linewidth=0.8, linestyle=":", zorder=0)
    names = [f"{column} {group}".strip() for column, group, _ in groups]
    labels = [
        f"{shorten_name(name, _LONGEST_NAME)} ({count:,})" for name, (*_, count) in zip(names, groups, strict=True)
    ]
    panels[0].set_yticks(range(len(groups)), labels)
    panels[0].set_ylim(len(groups) - 0.4, -0.6)
    panels[0].tick_params(axis="y", labelcolor=DARK_GREY)
    set_heading(figure, f"{title}: subgroups with 95% intervals (in parentheses: samples)")
    return figure


def _is_number(value: Any) -> bool:
    return value is not None and not math.isnan(value)
