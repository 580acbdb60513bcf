"""Plots of the confusion matrix of a classification, and of the outcomes of each label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_lnn.plots.arguments import Predictions, check_predictions
from keras_lnn.plots.style import (
    DARK_GREY,
    LABEL_SIZE,
    SMALL_SIZE,
    new_figure,
    set_heading,
    style_axes,
    wrap_name,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

MOST_CLASSES_WITH_NUMBERS = 20


def plot_confusion(
    truth: Any,
    probabilities: Any,
    task: str,
    class_names: Sequence[str],
    thresholds: Sequence[float] | None = None,
) -> Figure:
    """Draws the confusion matrix with counts and row percentages; a multi-label task has one row per label.

    Args:
        truth: Class indices (samples,), or 0/1 (samples, labels).
        probabilities: (samples, classes or labels); for two classes also (samples,) of class 1.
        task: ``binary``, ``multi-class``, ``ordinal`` or ``multi-label``.
        class_names: One name per class or label.
        thresholds: Decision thresholds of two classes or of several labels; 0.5 if not given.

    Returns:
        The figure. Rows are the truth, columns the prediction (the likeliest class). In a multi-label task each row
        shows how the images with the label and those without it were predicted, a label being predicted above its
        threshold.

    Raises:
        InputError: If the arguments do not fit together.
    """
    predictions = check_predictions(truth, probabilities, task, class_names, thresholds)
    return _plot_labels(predictions) if predictions.is_multi_label else _plot_classes(predictions)


def _plot_classes(predictions: Predictions) -> Figure:
    names = predictions.class_names
    counts = _count(predictions.truth, predictions.predicted, len(names))
    many = len(names) > MOST_CLASSES_WITH_NUMBERS
    cell = 0.18 if many else 1.2 if len(names) <= 3 else 0.85 if len(names) <= 5 else 0.62
    figure = new_figure(max(cell * len(names) + 2.0, 4.2), cell * len(names) + 1.6)
    axes = figure.subplots()
    image = _draw_matrix(axes, counts, 0 if many else LABEL_SIZE if len(names) <= 5 else SMALL_SIZE)
    style_axes(axes, "", "predicted", "truth", grid=False)
    axes.xaxis.labelpad = axes.yaxis.labelpad = 8
    _name_classes(axes, names, cell)
    if many:
        bar = figure.colorbar(image, ax=axes, shrink=0.7, pad=0.02, ticks=[0, 0.5, 1], format="{x:.0%}")
        bar.set_label("share of the true class", fontsize=LABEL_SIZE - 1)
        bar.ax.tick_params(labelsize=LABEL_SIZE - 1)
        bar.outline.set_visible(False)
    else:
        axes.set_title("percent: of the true class", loc="left", fontsize=SMALL_SIZE, color=DARK_GREY)
    right, total = int(np.trace(counts)), int(counts.sum())
    by = "" if predictions.thresholds is None else " at the model's threshold"
    set_heading(figure, f"Confusion matrix: {right} of {total} right ({right / total:.1%}){by}")
    return figure


def _name_classes(axes: Axes, names: tuple[str, ...], cell: float) -> None:
    """Names the rows and columns; a name that is wider than its column of ``cell`` inches is rotated."""
    tight = cell < 0.3
    size = SMALL_SIZE - 2 if tight else LABEL_SIZE - 1
    rows = [wrap_name(name, 24, 1) if tight else wrap_name(name, 22, 4) for name in names]
    axes.set_yticks(range(len(names)), rows, fontsize=size)
    # Lettering of this size needs about 0.075 inches a character.
    width = int(cell / 0.075)
    if max(len(word) for name in names for word in name.split() or [""]) <= width and not tight:
        axes.set_xticks(range(len(names)), [wrap_name(name, width, 4) for name in names], fontsize=size)
        return
    # Rotated names of more than two lines would run into their neighbours.
    turned = rows if tight else [wrap_name(name, 26, 2) for name in names]
    axes.set_xticks(range(len(names)), turned, fontsize=size, rotation=90 if tight else 45)
    for label in axes.get_xticklabels():
        label.set(ha="center" if tight else "right", va="top", rotation_mode="default" if tight else "anchor")


def _plot_labels(predictions: Predictions) -> Figure:
    """Draws one row per label: the predictions for the images with the label and for those without it."""
    names = predictions.class_names
    pairs = zip(predictions.truth.T, predictions.predicted.T, strict=True)
    (not_predicted, false_alarm), (missed, found) = np.stack([_count(*pair, 2) for pair in pairs], axis=-1)
    counts = np.array([[found, missed], [not_predicted, false_alarm]])
    figure = new_figure(6.4, max(0.34 * len(names), 0.7) + 1.5)
    panels = figure.subplots(1, 2, sharey=True)
    kinds = (("with", ("found", "missed")), ("without", ("not predicted", "false alarm")))
    for axes, (kind, columns), outcomes in zip(panels, kinds, counts, strict=True):
        _draw_outcomes(axes, outcomes.T)
        axes.set_xticks([0, 1], columns, fontsize=LABEL_SIZE - 0.5)
        axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
        axes.set_title(f"of the samples {kind} the label", loc="left", fontsize=LABEL_SIZE)
        for spine in axes.spines.values():
            spine.set_visible(False)
    labels = [f"{wrap_name(name, 26, 1)} ({there})" for name, there in zip(names, found + missed, strict=True)]
    panels[0].set_yticks(range(len(names)), labels, fontsize=LABEL_SIZE - 0.5)
    above = "0.5" if predictions.thresholds is None else "its threshold"
    count = len(predictions.truth)
    set_heading(figure, f"Labels of {count} samples, predicted above {above} (blue: right, orange: wrong)")
    return figure


def _draw_outcomes(axes: Axes, counts: np.ndarray) -> None:
    """Colours correct cells blue and wrong ones orange by their share of the row, and writes counts and shares."""
    from matplotlib import colormaps

    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    # The colours are light enough for black text on each of them.
    right, wrong = (colormaps[name](0.65 * shares[:, column]) for column, name in ((0, "Blues"), (1, "Oranges")))
    axes.imshow(np.stack([right, wrong], axis=1), aspect="auto")
    for line in np.arange(0.5, len(counts) - 1):
        axes.axhline(line, color="white", linewidth=1)
    axes.axvline(0.5, color="white", linewidth=1)
    for (row, column), count in np.ndenumerate(counts):
        share = f"  {_percent(shares[row, column])}" if totals[row, 0] and count else "" if totals[row, 0] else "  –"
        colour = "black" if count else DARK_GREY
        axes.text(column, row, f"{count}{share}", ha="center", va="center", fontsize=LABEL_SIZE - 0.5, color=colour)


def _count(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def _draw_matrix(axes: Axes, counts: np.ndarray, text_size: float) -> AxesImage:
    """Colours each cell by its share of the row, and writes count and share unless ``text_size`` is 0."""
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    # White lines between the cells keep neighbours of equal colour apart.
    for line in np.arange(0.5, len(counts) - 1):
        axes.axhline(line, color="white", linewidth=1)
        axes.axvline(line, color="white", linewidth=1)
    if not text_size:
        return image
    for (row, column), count in np.ndenumerate(counts):
        share = _percent(shares[row, column]) if totals[row, 0] else "–"
        colour = "white" if shares[row, column] > 0.55 else DARK_GREY if count == 0 else "black"
        text = f"{count}\n{share}" if count or not totals[row, 0] else "0"
        axes.text(column, row, text, ha="center", va="center", fontsize=text_size, color=colour, linespacing=1.15)
    return image


def _percent(share: float) -> str:
    """Formats a share as a percentage that reads 0% or 100% only where it is exactly that."""
    if 0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 <= share < 1 else f"{share:.0%}"
