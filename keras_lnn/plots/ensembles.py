"""The picture of an ensemble: its ROC curve over those of its members."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keras_lnn.plots.folds import RATES, curve_of_classes
from keras_lnn.plots.style import (
    BLUE,
    DARK_GREY,
    GREY,
    LABEL_SIZE,
    SMALL_SIZE,
    literal,
    new_figure,
    set_heading,
    style_axes,
    write_note,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_ensemble_roc(
    truth: Any,
    ensemble: Any,
    members: Sequence[Any],
    task: str,
    class_names: Sequence[str],
    positive_class: str | None = None,
) -> Figure:
    """Draws the ROC curve of an ensemble in colour over those of its members in grey, all of the same samples.

    For more than two classes and for several labels each curve is the mean of the curves of all classes or labels.

    Args:
        truth: As in :func:`~keras_lnn.plots.curves.plot_roc`.
        ensemble: The probabilities of the ensemble.
        members: Those of each member.
        task: ``binary``, ``multi-class``, ``ordinal`` or ``multi-label``.
        class_names: One name per class or label.
        positive_class: For a binary task, the class whose curve is drawn; the second one if not given.
    """
    about = (task, class_names, positive_class)
    figure = new_figure(4.2, 4.7)
    axes = figure.subplots()
    style_axes(axes, "", "false positive rate (1 − specificity)", "true positive rate (sensitivity)")
    axes.set_xlim(-0.015, 1.015)
    axes.set_ylim(-0.015, 1.015)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":", zorder=1)
    set_heading(figure, "Receiver operating characteristic")
    # All have the same samples, so that either each has a curve or none has.
    curves = [curve_of_classes(truth, one, *about) for one in (*members, ensemble)]
    known = [curve for curve in curves if curve is not None]
    if not known:
        write_note(axes, "no curve is defined")
        return figure
    for number, curve in enumerate(known[:-1]):
        label = f"each of {len(members)} members" if number == 0 else None
        axes.plot(RATES, curve, color=GREY, linewidth=0.7, label=label, zorder=2)
    axes.plot(RATES, known[-1], color=BLUE, linewidth=2.0, label="ensemble", zorder=3)
    axes.legend(loc="lower right", fontsize=LABEL_SIZE - 0.5, frameon=False)
    of = "" if task == "binary" else "Mean over classes or labels. "
    axes.set_title(literal(f"{of}{len(truth):,} samples"), loc="left", fontsize=SMALL_SIZE, color=DARK_GREY)
    return figure
