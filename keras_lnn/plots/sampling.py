"""A picture of a metric under different samplings of the same series."""

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

_COLUMNS = 2
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
    kinds, models = list(dict.fromkeys(table["sampling"])), list(dict.fromkeys(table["model"]))
    if not kinds or not set(kinds) <= set(labels):
        raise InputError(
            f"A table of samplings must have rows of {', '.join(labels)}. Received: {', '.join(kinds) or 'none'}."
        )
    rows = -(-len(kinds) // _COLUMNS)
    has_bands, is_full = len(models) <= _MOST_WITH_BANDS, len(kinds) % _COLUMNS == 0
    figure = new_figure(7.2, 2.4 * rows + 0.6 + (0.19 * -(-len(models) // _KEY_COLUMNS) if is_full else 0))
    panels = figure.subplots(rows, _COLUMNS, squeeze=False, sharey=True).ravel()
    for number, (axes, kind) in enumerate(zip(panels, kinds, strict=False)):
        of_kind = table[table["sampling"] == kind]
        for place, model in enumerate(models):
            found = of_kind[of_kind["model"] == model]
            colour, line = PALETTE[place % len(PALETTE)], LINE_STYLES[place // len(PALETTE) % len(LINE_STYLES)]
            ends = found[f"{metric}_low"].to_numpy(), found[f"{metric}_high"].to_numpy()
            if has_bands:
                axes.fill_between(found["amount"], *ends, color=colour, alpha=0.12, linewidth=0)
            name = shorten_name(model) if number == 0 else "_"
            style = {"color": colour, "linestyle": line, "marker": "o", "markersize": 3.5, "linewidth": 1.5}
            axes.plot(found["amount"], found[metric], label=name, **style)
        amounts = list(dict.fromkeys(of_kind["amount"]))
        style_axes(axes, "", labels[kind], metric_name if number % _COLUMNS == 0 else "")
        axes.set_xticks(amounts, [f"{amount:g}" for amount in amounts])
        if amounts[0] > amounts[-1]:
            axes.invert_xaxis()
    key = {"fontsize": LABEL_SIZE - 0.5, "frameon": False}
    if is_full:
        figure.legend(loc="outside lower left", ncols=_KEY_COLUMNS, **key)
    else:  # the key fits into the panel that is left
        panels[-1].set_axis_off()
        panels[-1].legend(*panels[0].get_legend_handles_labels(), loc="center left", **key)
    set_heading(figure, f"{title}: {metric_name} by sampling{', with 95% intervals' if has_bands else ''}")
    return figure
