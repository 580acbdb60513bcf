"""Plots of the loss and the metrics of a training run over its epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from keras_lnn.errors import InputError
from keras_lnn.plots.style import (
    BLUE,
    DARK_GREY,
    GREY,
    LABEL_SIZE,
    VERMILLION,
    new_figure,
    set_heading,
    style_axes,
    write_note,
)
from keras_lnn.runs.epoch_shares import describe_epochs, is_cut_short

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ABBREVIATIONS = {"auc": "AUC", "mcc": "MCC", "f1": "F1", "pr": "PR", "roc": "ROC", "mse": "MSE", "mae": "MAE"}
ABBREVIATIONS |= {"dice": "Dice", "iou": "IoU"}
MOST_PANELS_IN_A_ROW = 3
MOST_EPOCHS_WITH_MARKERS = 30
_NO_METRICS = ("weights_lost", "epoch", "seconds", "fraction")


def plot_history(history: pandas.DataFrame, best_epoch: int | None) -> Figure:
    """Draws the loss and every metric over the epochs, for training and validation.

    Args:
        history: One row per epoch: ``epoch`` (from 1), pairs such as ``loss`` and ``val_loss``, and optionally
            ``learning_rate`` (drawn where it changes), ``seconds`` and ``fraction`` (not drawn; the heading reports an
            epoch that was cut short).
        best_epoch: The epoch whose weights were kept, marked in each panel; None if there is no such epoch.

    Returns:
        The figure, with one panel per metric.

    Raises:
        InputError: If there is no epoch or no metric, or the best epoch is not among the epochs.
    """
    if "epoch" not in history.columns or len(history) == 0:
        raise InputError(
            f"A history must have a column 'epoch' and at least one row. Received: {len(history)} rows of "
            f"{', '.join(map(str, history.columns))}. Train for at least one epoch."
        )
    epochs = history["epoch"].to_numpy(dtype=np.float64)
    if best_epoch is not None and best_epoch not in epochs:
        raise InputError(f"best_epoch must be an epoch of the history. Received: {best_epoch}. Give one of its epochs.")
    metrics = _metric_names(history)
    if not metrics:
        raise InputError(
            f"A history must have a metric. Received: {', '.join(history.columns)}. Add at least the loss."
        )
    columns = 2 if len(metrics) == 4 else min(len(metrics), MOST_PANELS_IN_A_ROW)
    rows = -(-len(metrics) // columns)
    figure = new_figure(max(3.2 * columns, 4.2), 2.5 * rows + 0.7)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, metric in zip(panels, metrics, strict=False):
        _draw_metric(axes, history, epochs, metric, best_epoch)
    for axes in panels[len(metrics) :]:
        axes.remove()
    for axes in panels[max(len(metrics) - columns, 0) : len(metrics)]:
        axes.set_xlabel("epoch", fontsize=LABEL_SIZE)
    _draw_legend(figure, [str(name) for name in history.columns], best_epoch)
    noun = "epoch" if len(epochs) == 1 else "epochs"
    rows = history.to_dict("records")
    trained = describe_epochs(rows) if is_cut_short(rows[-1]) else f"{len(epochs)} {noun}"
    best = "" if best_epoch is None else f", best epoch {best_epoch}"
    set_heading(figure, f"Training over {trained}{best}")
    return figure


def _metric_names(history: pandas.DataFrame) -> list[str]:
    names = [str(name).removeprefix("val_") for name in history.columns]
    metrics = [name for name in dict.fromkeys(names) if name not in (*_NO_METRICS, "learning_rate")]
    if "learning_rate" in names:
        rates = _numbers(history, "learning_rate")
        rates = rates[np.isfinite(rates)]
        if rates.size and rates.max() - rates.min() > 1e-6 * abs(rates.max()):
            metrics.append("learning_rate")
    return metrics


def _draw_metric(
    axes: Axes, history: pandas.DataFrame, epochs: np.ndarray, metric: str, best_epoch: int | None
) -> None:
    style_axes(axes, " ".join(ABBREVIATIONS.get(word, word) for word in metric.split("_")))
    drawn = False
    for column, colour in ((metric, BLUE), (f"val_{metric}", VERMILLION)):
        if column not in history.columns:
            continue
        values = _numbers(history, column)
        values = np.where(np.isfinite(values), values, np.nan)
        if metric == "learning_rate":
            colour = DARK_GREY
        axes.plot(epochs, values, color=colour, linewidth=1.6, label=column, **_markers(values))
        drawn = drawn or bool(np.isfinite(values).any())
        if best_epoch is not None and metric != "learning_rate":
            _mark_best(axes, epochs, values, best_epoch, colour, write_value=column != metric)
    if best_epoch is not None:
        axes.axvline(best_epoch, color=GREY, linewidth=1.0, linestyle=":", zorder=1)
    margin = max(0.03 * (epochs.max() - epochs.min()), 0.5 if len(epochs) == 1 else 0.0)
    axes.set_xlim(epochs.min() - margin, epochs.max() + margin)
    if len(epochs) == 1:
        axes.set_xticks(epochs, [f"{epochs[0]:.0f}"])
    else:
        axes.locator_params(axis="x", integer=True, nbins=6)
    if not drawn:
        write_note(axes, "no finite value")
    elif metric == "learning_rate":
        _scale_learning_rate(axes, _numbers(history, metric))


def _markers(values: np.ndarray) -> dict:
    """Returns the style of the dots: on each value of a short curve, on isolated values of a long one, or none."""
    finite = np.concatenate([[False], np.isfinite(values), [False]])
    alone = finite[1:-1] & ~finite[:-2] & ~finite[2:]
    if len(values) <= MOST_EPOCHS_WITH_MARKERS:
        return {"marker": "o", "markersize": 3.5}
    return {"marker": "o", "markersize": 3.0, "markevery": np.flatnonzero(alone).tolist()} if alone.any() else {}


def _mark_best(
    axes: Axes, epochs: np.ndarray, values: np.ndarray, best_epoch: int, colour: str, write_value: bool
) -> None:
    value = values[np.flatnonzero(epochs == best_epoch)[-1]]
    if not np.isfinite(value):
        return
    axes.plot(
        [best_epoch], [value], "o", markersize=7, markerfacecolor="white", markeredgecolor=colour, markeredgewidth=1.8
    )
    if write_value:
        text = f"validation {value:.3f}" if abs(value) < 1000 else f"validation {value:.3g}"
        axes.set_title(text, loc="right", fontsize=LABEL_SIZE, color=colour)


def _scale_learning_rate(axes: Axes, rates: np.ndarray) -> None:
    rates = rates[np.isfinite(rates)]
    if rates.min() > 0 and rates.max() / rates.min() >= 10:
        axes.set_yscale("log")
    else:
        axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
        axes.yaxis.get_offset_text().set_fontsize(LABEL_SIZE - 1)


def _draw_legend(figure: Figure, columns: list[str], best_epoch: int | None) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=BLUE, linewidth=1.6, label="training")]
    if any(column.startswith("val_") for column in columns):
        handles.append(Line2D([], [], color=VERMILLION, linewidth=1.6, label="validation"))
    if best_epoch is not None:
        best: dict[str, Any] = {
            "marker": "o",
            "markersize": 7,
            "markerfacecolor": "white",
            "markeredgecolor": DARK_GREY,
        }
        handles.append(Line2D([], [], color=GREY, linestyle=":", label="best epoch", **best))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=LABEL_SIZE)


def curve_values(history: pandas.DataFrame, column: str) -> np.ndarray | None:
    """Returns the values of a column, nan where they are not finite; None without the column or any finite value."""
    if column not in history.columns:
        return None
    values = _numbers(history, column)
    values = np.where(np.isfinite(values), values, np.nan)
    return None if np.isnan(values).all() else values


def _numbers(history: pandas.DataFrame, column: str) -> np.ndarray:
    import pandas

    return pandas.to_numeric(history[column], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
