"""The picture of a cross-validation: the ROC curve of each fold, and their mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_lnn.plots.arguments import check_predictions
from keras_lnn.plots.style import (
    BLUE,
    DARK_GREY,
    GREY,
    LABEL_SIZE,
    LIGHT_GREY,
    SMALL_SIZE,
    literal,
    new_figure,
    set_heading,
    style_axes,
    write_note,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RATES = np.linspace(0, 1, 201)


def plot_fold_roc(
    folds: Sequence[tuple[Any, Any]], task: str, class_names: Sequence[str], positive_class: str | None = None
) -> Figure:
    """Draws the ROC curve of each fold in grey, their mean in colour and one standard deviation around it.

    Sensitivities are averaged at each false positive rate (Fawcett 2006, Pattern Recognition Letters 27, 861), so that
    scores of different models are never compared. For more than two classes and for several labels the curve of a fold
    is the mean of the curves of all that it has.

    Args:
        folds: Truth and probabilities of each fold, as in :func:`~keras_lnn.plots.curves.plot_roc`.
        task: ``binary``, ``multi-class``, ``ordinal`` or ``multi-label``.
        class_names: One name per class or label.
        positive_class: For a binary task, the class whose curve is drawn; the second one if not given.
    """
    curves = [
        curve
        for truth, probabilities in folds
        if (curve := curve_of_classes(truth, probabilities, task, class_names, positive_class)) is not None
    ]
    figure = new_figure(4.2, 4.7)
    axes = figure.subplots()
    style_axes(axes, "", "false positive rate (1 − specificity)", "true positive rate (sensitivity)")
    axes.set_xlim(-0.015, 1.015)
    axes.set_ylim(-0.015, 1.015)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":", zorder=1)
    set_heading(figure, "Receiver operating characteristic of each fold")
    if not curves:
        write_note(axes, "no curve is defined")
        return figure
    stacked = np.stack(curves)
    mean, spread = stacked.mean(axis=0), stacked.std(axis=0)
    axes.fill_between(RATES, np.clip(mean - spread, 0, 1), np.clip(mean + spread, 0, 1), color=LIGHT_GREY, zorder=1)
    for number, curve in enumerate(curves):
        label = f"each of {len(curves)} folds" if number == 0 else None
        axes.plot(RATES, curve, color=GREY, linewidth=0.7, label=label, zorder=2)
    axes.plot(RATES, mean, color=BLUE, linewidth=2.0, label="mean over the folds", zorder=3)
    axes.legend(loc="lower right", fontsize=LABEL_SIZE - 0.5, frameon=False)
    of = "" if task == "binary" else "Mean over classes or labels. "
    axes.set_title(literal(f"{of}Grey band: one standard deviation"), loc="left", fontsize=SMALL_SIZE, color=DARK_GREY)
    return figure


def curve_of_classes(
    truth: Any, probabilities: Any, task: str, class_names: Sequence[str], positive_class: str | None
) -> np.ndarray | None:
    """Returns the sensitivity at each of ``RATES``, as the mean over all classes or labels; None without a curve."""
    from sklearn.metrics import roc_curve

    checked = check_predictions(truth, probabilities, task, class_names, positive_class=positive_class)
    found = []
    for _, present, probability in checked.one_against_rest():
        if present.any() and not present.all():
            false_positives, true_positives, _ = roc_curve(present, probability)
            found.append(np.interp(RATES, false_positives, true_positives))
    if not found:
        return None
    mean = np.mean(found, axis=0)
    mean[0] = 0.0
    return mean
