"""Pictures of a metric under different samplings of the same series, and under corruptions of the same images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from keras_lnn.errors import InputError
from keras_lnn.plots.style import (
    LABEL_SIZE,
    LINE_STYLES,
    PALETTE,
    new_figure,
    set_heading,
    shorten_name,
    style_axes,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_COLUMNS, _MORE_COLUMNS = 2, 4
_WIDTHS = {_COLUMNS: 7.2, _MORE_COLUMNS: 9.6}
# The bands of more models hide each other and the lines.
_MOST_WITH_BANDS = 6
_KEY_COLUMNS = 2


def plot_sampling(table: pd.DataFrame, metric: str, metric_name: str, labels: Mapping[str, str], title: str) -> Figure:
    """Draws a metric against the sampling: one panel per kind of sampling, one line per model.

    Up to six models have their intervals as bands.

    Args:
        table: One row per model and sampling, with the columns ``model``, ``sampling``, ``amount``, and the metric with
            its ends, such as ``auc``, ``auc_low`` and ``auc_high``.
        metric: Name of the metric's column.
        metric_name: What the metric is called.
        labels: For each kind of sampling a label of its amounts.
        title: Beginning of the heading.

    Returns:
        The figure. In each panel all frames are kept at the left end.

    Raises:
        InputError: If the table has no rows or a kind has no label.
    """
    heading = f"{title}: {metric_name} by sampling"
    return _plot_by_kind(table, "sampling", "amount", metric, metric_name, labels, heading, _COLUMNS)


def plot_corruptions(
    table: pd.DataFrame, metric: str, metric_name: str, labels: Mapping[str, str], title: str
) -> Figure:
    """Draws a metric against the strength of corruptions: one panel per kind, one line per model.

    Up to six models have their intervals as bands.

    Args:
        table: One row per model, corruption and strength, with the columns ``model``, ``corruption``, ``strength``, and
            the metric with its ends, such as ``auc``, ``auc_low`` and ``auc_high``.
        metric: Name of the metric's column.
        metric_name: What the metric is called.
        labels: For each kind of corruption what it is called.
        title: Beginning of the heading.

    Returns:
        The figure. Images are as they are at the left end of each panel.

    Raises:
        InputError: If the table has no rows or a kind has no label.
    """
    heading = f"{title}: {metric_name} by strength of corruption"
    return _plot_by_kind(table, "corruption", "strength", metric, metric_name, labels, heading, _MORE_COLUMNS)


def _plot_by_kind(
    table: pd.DataFrame,
    kind_column: str,
    amount_column: str,
    metric: str,
    metric_name: str,
    labels: Mapping[str, str],
    heading: str,
    columns: int,
) -> Figure:
    """Draws a metric against an amount in one panel per kind; the arguments are those of :func:`plot_sampling`."""
    kinds, models = list(dict.fromkeys(table[kind_column])), list(dict.fromkeys(table["model"]))
    if not kinds or not set(kinds) <= set(labels):
        raise InputError(
            f"A table of {kind_column}s must have rows of {', '.join(labels)}. Received: {', '.join(kinds) or 'none'}."
        )
    rows = -(-len(kinds) // columns)
    has_bands, is_full = len(models) <= _MOST_WITH_BANDS, len(kinds) % columns == 0
    key_height = 0.19 * -(-len(models) // _KEY_COLUMNS) if is_full else 0
    figure = new_figure(_WIDTHS[columns], 2.4 * rows + 0.6 + key_height)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for number, (axes, kind) in enumerate(zip(panels, kinds, strict=False)):
        of_kind = table[table[kind_column] == kind]
        for place, model in enumerate(models):
            found = of_kind[of_kind["model"] == model]
            colour, line = PALETTE[place % len(PALETTE)], LINE_STYLES[place // len(PALETTE) % len(LINE_STYLES)]
            ends = found[f"{metric}_low"].to_numpy(), found[f"{metric}_high"].to_numpy()
            if has_bands:
                axes.fill_between(found[amount_column], *ends, color=colour, alpha=0.12, linewidth=0)
            name = shorten_name(model) if number == 0 else "_"
            style = {"color": colour, "linestyle": line, "marker": "o", "markersize": 3.5, "linewidth": 1.5}
            axes.plot(found[amount_column], found[metric], label=name, **style)
        amounts = list(dict.fromkeys(of_kind[amount_column]))
        style_axes(axes, "", labels[kind], metric_name if number % columns == 0 else "")
        axes.set_xticks(amounts, [f"{amount:g}" for amount in amounts])
        if amounts[0] > amounts[-1]:
            axes.invert_xaxis()
    key = {"fontsize": LABEL_SIZE - 0.5, "frameon": False}
    for axes in panels[len(kinds) :]:
        axes.set_axis_off()
    if is_full:
        figure.legend(loc="outside lower left", ncols=_KEY_COLUMNS, **key)
    else:  # the key fits into the panel that is left
        panels[-1].legend(*panels[0].get_legend_handles_labels(), loc="center left", **key)
    set_heading(figure, f"{heading}{', with 95% intervals' if has_bands else ''}")
    return figure
