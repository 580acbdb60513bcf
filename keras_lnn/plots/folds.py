"""The pictures of cross-validations: ROC curves of the folds, several models on the same folds, doubtful labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_lnn.plots.arguments import check_predictions
from keras_lnn.plots.samples import CAPTION_WIDTH, EXAMPLE_INCHES, name_file
from keras_lnn.plots.sheet import Block, draw_sheet
from keras_lnn.plots.style import (
    BLUE,
    DARK_GREY,
    GREY,
    LABEL_SIZE,
    LIGHT_GREY,
    SMALL_SIZE,
    VERMILLION,
    keep_within_unit,
    literal,
    new_figure,
    set_heading,
    shorten_name,
    style_axes,
    wrap_name,
    write_note,
)
from keras_lnn.plots.views import SampleView

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from keras_lnn.statistics import Estimate

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


def plot_fold_values(
    values: Mapping[str, Mapping[str, np.ndarray]], means: Mapping[str, Mapping[str, Estimate]]
) -> Figure:
    """Draws metrics of several models on the same folds, one grey line per fold, and the means with their intervals.

    Args:
        values: For each metric and model its value on each fold, nan where it is not defined, (folds,).
        means: For each metric and model the mean over the folds.
    """
    names = list(next(iter(values.values())))
    longest = max(len(shorten_name(name, 30)) for name in names)
    figure = new_figure(len(values) * max(1.8, 0.5 * len(names) + 0.8), 2.9 + 0.07 * longest)
    panels = figure.subplots(1, len(values), squeeze=False)[0]
    for axes, (metric, by_model) in zip(panels, values.items(), strict=True):
        style_axes(axes, metric)
        lines = np.stack([by_model[name] for name in names])
        axes.plot(lines, "-o", color=GREY, linewidth=0.7, markersize=2, zorder=1)
        for place, name in enumerate(names):
            mean = means[metric][name]
            axes.plot([place, place], [mean.low, mean.high], color=BLUE, linewidth=1.6, zorder=2)
            axes.plot([place], [mean.value], "o", color=BLUE, markersize=5, zorder=3, clip_on=False)
        axes.set_xlim(-0.4, len(names) - 0.6)
        axes.set_xticks(range(len(names)), [shorten_name(name, 30) for name in names], rotation=90)
        keep_within_unit(axes, "y")
    set_heading(figure, "Each fold (grey) and the mean over the folds with its 95% interval")
    return figure


def plot_doubtful_labels(table: pd.DataFrame, samples: Sequence[tuple[SampleView, int]], heading: str) -> Figure:
    """Draws samples whose labels are doubtful, with what is given and what the predictions suggest.

    Args:
        table: One row per label with ``file``, ``given``, ``suggested`` and their probabilities, for several labels
            also ``label``.
        samples: For each row how the samples of its split are drawn, and the place of its sample among them.
        heading: Heading of the sheet.
    """
    cells = []
    for row, (view, place) in zip(table.to_dict("records"), samples, strict=True):
        lines = [f"given: {row['given']}", f"predicted: {row['suggested']}"]
        lines = [row["label"], *lines] if "label" in row else lines
        numbers = f"p = {row['given_probability']:.3f} and {row['suggested_probability']:.3f}"
        below = "\n".join([*(wrap_name(line, CAPTION_WIDTH, 4) for line in lines), numbers])
        cells += view.cells(np.array([place]), [(name_file(row["file"]), below, VERMILLION)])
    title = "p: of the given, and of the predicted label"
    inches = samples[0][0].inches(EXAMPLE_INCHES) if samples else EXAMPLE_INCHES
    return draw_sheet(heading, [Block(title, cells, "no label is doubtful")], inches)


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
