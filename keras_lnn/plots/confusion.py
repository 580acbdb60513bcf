"""Which class is taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_lnn.plots.arguments import Predictions, check_predictions
from keras_lnn.plots.style import (
    DARK_GREY,
    LABEL_SIZE,
    SMALL_SIZE,
    blank_axes,
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
    """Draws the confusion matrix: counts and the share of each row; several labels get a small matrix each.

    Args:
        truth: Class indices (samples,), or 0/1 (samples, labels).
        probabilities: (samples, classes or labels); for two classes also (samples,) of class 1.
        task: ``binary``, ``multi-class``, ``ordinal`` or ``multi-label``.
        class_names: One name a class or label.
        thresholds: By which two classes or several labels are predicted; one half if not given.

    Returns:
        The figure; rows are the truth, columns the prediction (the likeliest class; a label above its threshold).

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
    by = "" if predictions.thresholds is None else " by the model's threshold"
    set_heading(figure, f"Confusion matrix: {right} of {total} right ({right / total:.1%}){by}")
    return figure


def _name_classes(axes: Axes, names: tuple[str, ...], cell: float) -> None:
    """Names rows and columns; a name that is wider than its column of ``cell`` inches is turned."""
    tight = cell < 0.3
    size = SMALL_SIZE - 2 if tight else LABEL_SIZE - 1
    rows = [wrap_name(name, 24, 1) if tight else wrap_name(name, 22, 4) for name in names]
    axes.set_yticks(range(len(names)), rows, fontsize=size)
    # Lettering of this size needs about 0.075 inches a character.
    width = int(cell / 0.075)
    if max(len(word) for name in names for word in name.split() or [""]) <= width and not tight:
        axes.set_xticks(range(len(names)), [wrap_name(name, width, 4) for name in names], fontsize=size)
        return
    # Turned names of more than two lines would run into their neighbours.
    turned = rows if tight else [wrap_name(name, 26, 2) for name in names]
    axes.set_xticks(range(len(names)), turned, fontsize=size, rotation=90 if tight else 45)
    for label in axes.get_xticklabels():
        label.set(ha="center" if tight else "right", va="top", rotation_mode="default" if tight else "anchor")


def _plot_labels(predictions: Predictions) -> Figure:
    names = predictions.class_names
    columns = min(len(names), 5)
    rows = -(-len(names) // columns)
    figure = new_figure(max(1.75 * columns + 0.5, 4.2), 1.95 * rows + 0.9)
    figure.get_layout_engine().set(h_pad=0.09)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for index, (axes, name) in enumerate(zip(panels, names, strict=False)):
        counts = _count(predictions.truth[:, index], predictions.predicted[:, index], 2)
        _draw_matrix(axes, counts, LABEL_SIZE - 0.5)
        axes.set_title(wrap_name(name, 22, 2), fontsize=LABEL_SIZE)
        blank_axes(axes)
        if index % columns == 0:
            axes.set_yticks([0, 1], ["absent", "present"], fontsize=LABEL_SIZE - 1, rotation=90, va="center")
            axes.set_ylabel("truth", fontsize=LABEL_SIZE - 1)
        if index + columns >= len(names):
            axes.set_xticks([0, 1], ["absent", "present"], fontsize=LABEL_SIZE - 1)
            axes.set_xlabel("predicted", fontsize=LABEL_SIZE - 1)
        axes.tick_params(length=0)
    for axes in panels[len(names) :]:
        axes.remove()
    above = "0.5" if predictions.thresholds is None else "its threshold"
    set_heading(figure, f"Confusion of each label, predicted above {above} ({len(predictions.truth)} images)")
    return figure


def _count(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def _draw_matrix(axes: Axes, counts: np.ndarray, text_size: float) -> AxesImage:
    """Colours each cell by its share of the row; writes count and share unless ``text_size`` is 0."""
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
    """A share as a percentage that is 0 or 100 only where it is exactly that."""
    if 0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 <= share < 1 else f"{share:.0%}"
