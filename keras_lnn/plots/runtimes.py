"""The picture of a benchmark: the quality of each export against the time of one prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keras_lnn.plots.style import DARK_GREY, PALETTE, SMALL_SIZE, new_figure, set_heading, style_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The marker of each precision; float32 is the first.
_MARKERS = {"float32": "o", "float16": "s", "int8": "D"}


def plot_quality_latency(rows: Sequence[dict[str, Any]], metric: str, label: str, noun: str) -> Figure:
    """Draws the metric of each export with its interval against the median time of one prediction.

    Args:
        rows: The rows of benchmark.csv.
        metric: The name of the metric in them.
        label: Its name for people.
        noun: What one sample is, such as ``image``.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure = new_figure(6.4, 4.2)
    axes = figure.subplots()
    style_axes(axes, "", f"median time for one {noun} (ms)", label)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda time, _: f"{time:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    colours = dict(zip(dict.fromkeys(row["format"] for row in rows), PALETTE * 2, strict=False))
    for row in rows:
        time, value = row["latency_ms"], row[metric]
        colour = colours[row["format"]]
        ends = [[max(value - row[f"{metric}_low"], 0.0)], [max(row[f"{metric}_high"] - value, 0.0)]]
        axes.errorbar([time], [value], yerr=ends, color=colour, linewidth=0.8, alpha=0.5, zorder=2)
        precision = row["precision"]
        name = row["format"] if precision == "float32" else f"{row['format']} {precision}"
        marker = _MARKERS.get(precision, "^")
        axes.plot([time], [value], marker, color=colour, markersize=6, label=name, linestyle="", zorder=3)
    axes.legend(fontsize=SMALL_SIZE, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.set_title("left is faster, up is better", loc="left", fontsize=SMALL_SIZE, color=DARK_GREY)
    set_heading(figure, "Quality against time")
    return figure
