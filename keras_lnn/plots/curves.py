"""Plots of the receiver operating characteristic (ROC) and of precision against recall."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_lnn.plots.arguments import Predictions, check_predictions
from keras_lnn.plots.style import (
    BLUE,
    DARK_GREY,
    GREY,
    LABEL_SIZE,
    LIGHT_GREY,
    LINE_STYLES,
    PALETTE,
    SMALL_SIZE,
    figure_of,
    literal,
    new_figure,
    set_heading,
    shorten_name,
    style_axes,
    wrap_name,
    write_note,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CURVES_IN_A_PANEL = 12
MOST_PANELS = 30
NEW_LINE = "\n"


@dataclasses.dataclass(frozen=True)
class Curve:
    """One curve and the values that its legend shows.

    Args:
        name: The class or label.
        x: Coordinates along the horizontal axis.
        y: Coordinates along the vertical axis.
        area: The area under the curve: AUC or average precision.
        prevalence: The share of images with the class or label.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    area: float
    prevalence: float


@dataclasses.dataclass(frozen=True)
class Kind:
    """The properties in which the two kinds of curve differ.

    Args:
        title: Title of the figure.
        x_label: Label of the horizontal axis.
        y_label: Label of the vertical axis.
        area_name: Name of the area under the curve.
        baseline_name: Name of the baseline, which is what guessing reaches.
        steps: Matplotlib's ``drawstyle``, which joins the points.
        draw_baseline: Draws the baseline of one curve.
    """

    title: str
    x_label: str
    y_label: str
    area_name: str
    baseline_name: str
    steps: str
    draw_baseline: Callable[[Axes, Curve, str], None]


def plot_roc(
    truth: Any, probabilities: Any, task: str, class_names: Sequence[str], positive_class: str | None = None
) -> Figure:
    """Draws the ROC curve of the positive class of a binary task, otherwise one for each class or label.

    More than 12 curves get one panel each, with all other curves in grey in the background.

    Args:
        truth: Class indices (samples,), or 0/1 (samples, labels).
        probabilities: (samples, classes or labels); for two classes also (samples,) of class 1.
        task: ``binary``, ``multi-class``, ``ordinal`` or ``multi-label``.
        class_names: One name per class or label.
        positive_class: For a binary task, the class whose curve is drawn; the second one if not given.

    Returns:
        The figure; the legend gives each area under the curve (AUC).

    Raises:
        InputError: If the arguments do not fit together.
    """
    from sklearn.metrics import auc, roc_curve

    def measure(present: np.ndarray, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        false_positive_rate, true_positive_rate, _ = roc_curve(present, probability)
        return false_positive_rate, true_positive_rate, float(auc(false_positive_rate, true_positive_rate))

    kind = Kind(
        "Receiver operating characteristic",
        "false positive rate (1 − specificity)",
        "true positive rate (sensitivity)",
        "AUC",
        "chance",
        "default",
        _draw_chance,
    )
    return _plot_curves(
        check_predictions(truth, probabilities, task, class_names, positive_class=positive_class), kind, measure
    )


def plot_precision_recall(
    truth: Any, probabilities: Any, task: str, class_names: Sequence[str], positive_class: str | None = None
) -> Figure:
    """Draws precision against recall with the prevalence as baseline; the panels are those of :func:`plot_roc`.

    Args:
        truth: Class indices (samples,), or 0/1 (samples, labels).
        probabilities: (samples, classes or labels); for two classes also (samples,) of class 1.
        task: ``binary``, ``multi-class``, ``ordinal`` or ``multi-label``.
        class_names: One name per class or label.
        positive_class: For a binary task, the class whose curve is drawn; the second one if not given.

    Returns:
        The figure; the legend gives each average precision (AP).

    Raises:
        InputError: If the arguments do not fit together.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve

    def measure(present: np.ndarray, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        recall, precision = _steps_of_recall(*precision_recall_curve(present, probability)[:2])
        return recall, precision, float(average_precision_score(present, probability))

    kind = Kind(
        "Precision-recall curve",
        "recall (sensitivity)",
        "precision",
        "AP",
        "prevalence",
        "steps-post",
        _draw_prevalence,
    )
    return _plot_curves(
        check_predictions(truth, probabilities, task, class_names, positive_class=positive_class), kind, measure
    )


def _steps_of_recall(precision: np.ndarray, recall: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns recall and precision at each change of the recall, from the highest recall down to 0.

    Between two changes the precision is that of the next higher recall, so that the area is the average precision. The
    thresholds beyond which no more positives are found, and the point (0, 1) that scikit-learn adds, are left out: they
    would be vertical lines without meaning.
    """
    found = recall > 0
    # Among thresholds with the same recall the highest one, which comes last, has the highest precision.
    last = np.append(np.diff(recall[found]) != 0, True)
    recall, precision = recall[found][last], precision[found][last]
    return np.append(recall, 0.0), np.append(precision, precision[-1])


def _plot_curves(predictions: Predictions, kind: Kind, measure: Callable) -> Figure:
    curves, left_out = [], []
    for name, present, probability in predictions.one_against_rest():
        if present.any() and not present.all():
            curves.append(Curve(name, *measure(present, probability), float(present.mean())))
        else:
            left_out.append(f"{shorten_name(name)} ({'everywhere' if present.all() else 'nowhere'} in the truth)")
    note = f"Not defined, left out: {'; '.join(left_out)}" if left_out else ""
    if len(curves) > MOST_CURVES_IN_A_PANEL:
        return _plot_panels(curves, kind, note)
    return _plot_together(curves, kind, note, predictions.task)


def _plot_together(curves: list[Curve], kind: Kind, note: str, task: str) -> Figure:
    from matplotlib.lines import Line2D

    beside = len(curves) > 3
    names = [wrap_name(curve.name, 34) for curve in curves]
    longest = max((len(line) for name in names for line in name.split("\n")), default=0)
    # The text of the legend needs about 0.07 inches per character; the rest of the figure is square.
    figure = new_figure(4.2 + max(0.07 * longest + 1.0, 2.0) if beside else 4.2, 4.2 if beside else 4.7)
    axes = figure.subplots()
    _style_square(axes, kind)
    handles = []
    for index, (curve, name) in enumerate(zip(curves, names, strict=True)):
        look: dict[str, Any] = {"color": PALETTE[index % len(PALETTE)], "linestyle": LINE_STYLES[index // len(PALETTE)]}
        kind.draw_baseline(axes, curve, look["color"])
        # Ten spaces are as wide as the number, so that the lines of a name are aligned.
        label = f"{curve.area:.3f}  {name.replace(NEW_LINE, NEW_LINE + ' ' * 10)}"
        axes.plot(curve.x, curve.y, drawstyle=kind.steps, linewidth=1.3 if beside else 1.8, label=label, **look)
        handles.append(Line2D([], [], label=label, linewidth=1.6, **look))
    size = LABEL_SIZE - 0.5
    style: dict[str, Any] = {"fontsize": size, "title_fontsize": size, "alignment": "left", "frameon": False}
    against = (
        " of the positive class" if task == "binary" else ", each against the rest" if task != "multi-label" else ""
    )
    if not curves:
        write_note(axes, "no curve is defined")
    elif beside:
        figure.legend(handles=handles, loc="outside right center", title=f"{kind.area_name}{against}", **style)
    else:
        figure.legend(handles=handles, loc="outside lower left", title=f"{kind.area_name}{against}", **style)
    set_heading(figure, kind.title)
    _write_note(axes, kind, curves, note)
    return figure


def _plot_panels(curves: list[Curve], kind: Kind, note: str) -> Figure:
    shown = sorted(curves, key=lambda curve: curve.area)[:MOST_PANELS] if len(curves) > MOST_PANELS else curves
    columns = 5
    rows = -(-len(shown) // columns)
    figure = new_figure(1.75 * columns, 1.95 * rows + 0.7)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, curve in zip(panels, shown, strict=False):
        _style_square(axes, kind)
        axes.set_xlabel("")
        axes.set_ylabel("")
        for other in shown:
            axes.plot(other.x, other.y, drawstyle=kind.steps, linewidth=0.6, color=LIGHT_GREY, zorder=1)
        kind.draw_baseline(axes, curve, DARK_GREY)
        prevalence = f" (prev. {curve.prevalence:.3f})" if kind.area_name == "AP" else ""
        label = f"{kind.area_name} {curve.area:.3f}{prevalence}"
        axes.plot(curve.x, curve.y, drawstyle=kind.steps, linewidth=1.8, color=BLUE, label=label)
        axes.set_title(f"{wrap_name(curve.name, 21, 2)}\n{label}", loc="left", fontsize=SMALL_SIZE + 0.5)
    for axes in panels[len(shown) :]:
        axes.remove()
    for axes in panels[max(len(shown) - columns, 0) : len(shown)]:
        axes.tick_params(labelbottom=True)
    figure.supxlabel(kind.x_label, fontsize=LABEL_SIZE)
    figure.supylabel(kind.y_label, fontsize=LABEL_SIZE)
    number = f"the {len(shown)} lowest of {len(curves)}" if len(shown) < len(curves) else f"{len(curves)} curves"
    meaning = f"in each panel the others in grey; dotted: {kind.baseline_name}"
    set_heading(figure, f"{kind.title}: {number}, {meaning}{'. ' + note if note else ''}")
    return figure


def _style_square(axes: Axes, kind: Kind) -> None:
    style_axes(axes, "", kind.x_label, kind.y_label)
    axes.set_xlim(-0.015, 1.015)
    axes.set_ylim(-0.015, 1.015)
    axes.set_xticks([0.0, 0.5, 1.0])
    axes.set_yticks([0.0, 0.5, 1.0])


def _draw_chance(axes: Axes, curve: Curve, colour: str) -> None:
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":", zorder=1)


def _draw_prevalence(axes: Axes, curve: Curve, colour: str) -> None:
    axes.axhline(curve.prevalence, color=colour, linewidth=0.8, linestyle=":", zorder=1)


def _write_note(axes: Axes, kind: Kind, curves: list[Curve], note: str) -> None:
    meaning = f"Dotted: {kind.baseline_name}"
    if kind.area_name == "AP" and len(curves) == 1:
        meaning += f" {curves[0].prevalence:.3f}"
    width = int(figure_of(axes).get_size_inches()[0] * 15)
    text = "\n".join(textwrap.wrap(f"{meaning}. {note}" if note else meaning, width))
    axes.set_title(literal(text), loc="left", fontsize=SMALL_SIZE, color=DARK_GREY)
