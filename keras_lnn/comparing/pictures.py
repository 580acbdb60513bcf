"""The figures of a comparison: overlaid ROC curves, every metric with intervals, and maps of the differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_lnn.comparing.comparison import SIGNIFICANT, Comparison, Model, is_better
from keras_lnn.comparing.mask_runs import MaskRun, mean_dice
from keras_lnn.comparing.pairs import Pair
from keras_lnn.comparing.runs import Run
from keras_lnn.data.thinning import SAMPLING_KINDS
from keras_lnn.errors import InputError
from keras_lnn.evaluation.metrics import is_lower_better, metric_label
from keras_lnn.plots import plot_dice_by_model
from keras_lnn.plots.folds import plot_fold_values
from keras_lnn.plots.sampling import plot_sampling
from keras_lnn.plots.style import (
    BLACK,
    BLUE,
    DARK_GREY,
    GREY,
    LABEL_SIZE,
    LIGHT_GREY,
    PALETTE,
    SMALL_SIZE,
    VERMILLION,
    keep_within_unit,
    new_figure,
    set_heading,
    shorten_name,
    style_axes,
)
from keras_lnn.statistics.texts import number, signed
from keras_lnn.tasks.kinds import find_kind, make_task
from keras_lnn.tasks.thresholds import TUNED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

# Metrics with a panel of their own; precision and the mean F1 are in the tables only. For multi-label tasks they are
# drawn at the thresholds of the models, without accuracy over all labels.
_PANELS = (
    "auc",
    "accuracy",
    "f1",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "average_precision",
    "brier",
    "dice",
    "iou",
    "dice_per_image",
)
# Two columns fit on a phone; with more models than this they would be too long.
_COLUMNS, _MOST_IN_TWO_COLUMNS = 4, 12
_FALSE_POSITIVE_RATES = np.linspace(0, 1, 401)
# With more models the numbers in a map would be too small to read.
_MOST_WITH_NUMBERS = 12


def draw_all(comparison: Comparison) -> dict[str, Figure]:
    """Returns every figure by the name of its file, with maps of differences if there are at least three models."""
    figures = {name: _PICTURES[name](comparison) for name in comparison.example.pictures}
    if len(comparison.models) > 2:
        reported = comparison.reported_metrics
        figures |= {f"differences_{metric}": plot_differences(comparison, metric) for metric in reported}
    if comparison.over_folds is not None:
        figures["folds"] = plot_folds(comparison)
    if comparison.sampling is not None:
        labels = {kind: known.label for kind, known in SAMPLING_KINDS.items()}
        leading, data = comparison.example.leading, comparison.example.config.data
        figures["sampling"] = plot_sampling(comparison.sampling, leading, metric_label(leading), labels, data)
    return figures


def plot_roc_curves(comparison: Comparison) -> Figure:
    """Draws the ROC curve of each model, as the mean over seeds.

    It is the curve of the positive class of a binary task, otherwise the mean over classes. With more than seven models
    those with the highest AUC and the reference have colours, the others are grey.
    """
    models, positive = comparison.models, comparison.positive_class
    coloured = _coloured(comparison)
    names = [shorten_name(model.name, 34) for model in coloured]
    longest = max(len(name) for name in names)
    # With the legend below, the figure is narrow enough for a phone.
    figure = new_figure(max(4.4, 0.078 * longest + 1.2), 4.6 + 0.19 * (len(coloured) + 1))
    axes = figure.subplots()
    style_axes(axes, "", "false positive rate (1 − specificity)", "true positive rate (sensitivity)")
    axes.set(xlim=(-0.015, 1.015), ylim=(-0.015, 1.015), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1], aspect="equal")
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":", zorder=1)
    for model in models:
        if model not in coloured:
            axes.plot(*_mean_curve(model, positive), color=LIGHT_GREY, linewidth=0.9, zorder=1.5)
    for model, name, colour in zip(coloured, names, PALETTE, strict=False):
        curves = _list_curves(model, positive)
        if len(curves) > 1:
            for curve in curves:
                axes.plot(*curve, color=colour, linewidth=0.6, alpha=0.3, zorder=2)
        line = _average(curves) if len(curves) > 1 else curves[0]
        label = f"{number(model.metrics['auc'].value)}  {name}"
        axes.plot(*line, color=colour, linewidth=1.7, zorder=3, label=label)
    grey = len(models) - len(coloured)
    if grey:
        axes.plot([], [], color=LIGHT_GREY, linewidth=1.7, label=f"{grey} other models")
    style = {"fontsize": LABEL_SIZE - 0.5, "title_fontsize": LABEL_SIZE - 0.5, "alignment": "left", "frameon": False}
    figure.legend(loc="outside lower left", title="AUC", **style)
    set_heading(figure, f"ROC curves: {_describe_curves(comparison)}")
    return figure


def plot_metrics(comparison: Comparison) -> Figure:
    """Draws each metric of each model with its 95% interval, and each seed as a small dot in the background."""
    models = list(reversed(comparison.models))
    reference = f"; orange: the reference, {comparison.reference}" if len(models) > 2 else ""
    names = _PANELS
    if not find_kind(comparison.example.task).exclusive:
        names = tuple(comparison.as_decided(name) for name in _PANELS if name != "accuracy")
    shown = [name for name in names if name in comparison.metrics]
    columns = min(_COLUMNS if len(models) > _MOST_IN_TWO_COLUMNS else 2, len(shown))
    rows = -(-len(shown) // columns)
    names = [shorten_name(model.name, 30) for model in models]
    width = 2.05 * columns + 0.075 * max(map(len, names)) + 0.2
    figure = new_figure(width, rows * (0.75 + 0.21 * max(len(models), 2)) + 0.5)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes, metric in zip(panels.ravel(), shown, strict=False):
        label = metric_label(metric.removesuffix(TUNED))
        label += ", lower is better" if is_lower_better(metric) else ""
        style_axes(axes, label)
        axes.title.set_fontsize(LABEL_SIZE)
        axes.locator_params(axis="x", nbins=4)
        for place, model in enumerate(models):
            _draw_estimate(
                axes, place, model, metric, VERMILLION if reference and model.name == comparison.reference else BLUE
            )
        axes.set_ylim(-0.6, len(models) - 0.4)
        keep_within_unit(axes, "x")
    for axes in panels.ravel()[len(shown) :]:
        axes.remove()
    for axes in panels[:, 0]:
        axes.set_yticks(range(len(models)), names)
        axes.tick_params(axis="y", labelcolor=BLACK)
    seeds = "; small dots: single seeds" if any(model.seeds > 1 for model in models) else ""
    decided = "; decisions at the models' thresholds" if any(name.endswith(TUNED) for name in shown) else ""
    set_heading(figure, f"Metrics with 95% intervals{decided}{seeds}{reference}")
    return figure


def plot_differences(comparison: Comparison, metric: str) -> Figure:
    """Draws the difference of each pair of models as a coloured cell: the row's model minus the column's.

    A dot or bold numbers mark the differences that remain significant after Holm's correction for all pairs.

    Raises:
        InputError: If there are no pairs.
    """
    names = [model.name for model in comparison.models]
    pairs = [pair for pair in comparison.pairs if pair.metric == metric]
    if not pairs:
        raise InputError(f"A map of differences needs at least two models. Received: {len(names)}. Add runs.")
    values, certain = _matrices(names, pairs)
    cell = 0.52 if len(names) <= _MOST_WITH_NUMBERS else 0.24
    labels = [shorten_name(name, 30) for name in names]
    beside = 0.078 * max(map(len, labels)) + 0.3
    side = cell * len(names)
    figure = new_figure(max(side + beside + 1.1, 4.8), side + beside + 0.9)
    axes = figure.subplots()
    limit = max(float(np.nanmax(np.abs(values), initial=0)), 0.01)
    image = axes.imshow(np.ma.masked_invalid(values), cmap=_colour_map(metric), vmin=-limit, vmax=limit)
    for row in range(len(names)):
        for column in range(len(names)):
            if row != column:
                _mark_cell(axes, row, column, values[row, column], certain[row, column], len(names))
    size = LABEL_SIZE - 1 if len(names) <= _MOST_WITH_NUMBERS else SMALL_SIZE
    axes.set_xticks(range(len(names)), labels, rotation=90, fontsize=size)
    axes.set_yticks(range(len(names)), labels, fontsize=size)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    ticks = np.linspace(-limit, limit, 5)
    bar = figure.colorbar(image, ax=axes, shrink=min(1.0, 2.6 / side + 0.3), aspect=18, pad=0.02, ticks=ticks)
    bar.ax.tick_params(labelsize=SMALL_SIZE, color=GREY)
    bar.outline.set_visible(False)
    bar.ax.set_yticklabels([signed(value) if value else "0" for value in ticks])
    mark = "bold" if len(names) <= _MOST_WITH_NUMBERS else "dot"
    meaning = f"{mark}: p < .05 after correction for {len(pairs)} pairs"
    set_heading(figure, f"Difference of {metric_label(metric)}: row minus column; {meaning}")
    return figure


def plot_dice(comparison: Comparison) -> Figure:
    """Draws how Dice of each class spreads over the images, the mean over the seeds of each model."""
    return plot_dice_by_model(
        {model.name: mean_dice([run for run in model.runs if isinstance(run, MaskRun)]) for model in comparison.models},
        comparison.example.class_names,
    )


def plot_folds(comparison: Comparison) -> Figure:
    """Draws the metrics that are described in words on each fold, and their means over the folds."""
    found = comparison.over_folds
    if found is None:
        raise ValueError("Only cross-validations have folds. Received: runs. Draw their metrics.")
    by_model = dict(list(found.values.groupby("model", sort=False)))
    values = {
        metric_label(metric): {name: by_model[name][metric].to_numpy() for name in found.means}
        for metric in comparison.reported_metrics
    }
    means = {
        metric_label(metric): {name: found.means[name][metric] for name in found.means}
        for metric in comparison.reported_metrics
    }
    return plot_fold_values(values, means)


def _coloured(comparison: Comparison) -> list[Model]:
    models = list(comparison.models)
    chosen = models[: len(PALETTE)]
    if comparison.reference not in {model.name for model in chosen}:
        chosen[-1] = next(model for model in models if model.name == comparison.reference)
    return chosen


def roc_points(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the corners of one ROC curve: false and true positive rates at each threshold, from the highest down.

    Args:
        positive: Whether each sample is positive, some but not all, (samples,).
        scores: Higher means more likely positive, (samples,).
    """
    order = np.argsort(-scores, kind="stable")
    # Samples with equal scores pass a threshold together.
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    true = np.cumsum(positive[order])[last]
    false = last + 1 - true
    return np.append(0, false / false[-1]), np.append(0, true / true[-1])


def _list_curves(model: Model, positive: str | None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns the curve of each run, or of each repeat of each cross-validation."""
    for run in model.runs:
        if not isinstance(run, Run):
            raise ValueError(
                f"Only classification runs have ROC curves. Received: {run.path}. Draw the Dice of segmentation runs."
            )
    return [_run_curve(part, positive) for run in model.runs if isinstance(run, Run) for part in run.parts]


def _run_curve(run: Run, positive: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Returns the curve of one run: exact for one class, else the mean over classes at fixed false positive rates."""
    columns = make_task(run.task, run.class_names).described_classes(positive)
    sides = [(run.positive[:, column], run.probabilities[:, column]) for column in columns]
    found = [roc_points(present, score) for present, score in sides if present.any() and not present.all()]
    if len(found) == 1:
        return found[0]
    return _average(found)


def _mean_curve(model: Model, positive: str | None) -> tuple[np.ndarray, np.ndarray]:
    return _average(_list_curves(model, positive))


def _average(curves: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    curves = [curve for curve in curves if len(curve[0])]
    if not curves:
        return np.array([]), np.array([])
    # Where a curve rises vertically, interp takes the upper end at that rate and the lower one just below it.
    heights = np.mean([np.interp(_FALSE_POSITIVE_RATES, *curve) for curve in curves], axis=0)
    # Every curve begins in the corner, though some jump at once.
    return np.concatenate([[0], _FALSE_POSITIVE_RATES]), np.concatenate([[0], heights])


def _describe_curves(comparison: Comparison) -> str:
    example = comparison.example
    what = {
        "binary": f"class {comparison.positive_class or example.class_names[-1]}",
        "multi-label": "mean over the labels",
    }
    several = any(model.seeds > 1 for model in comparison.models)
    seeds = "; thick: mean over the seeds" if several else ""
    return what.get(example.task, "mean over the classes, each against the rest") + seeds


def _draw_estimate(axes: Axes, place: int, model: Model, metric: str, colour: str) -> None:
    estimate = model.metrics[metric]
    if model.seeds > 1:
        values = model.measured[metric].values
        axes.plot(values, np.full(len(values), place), "o", color=GREY, markersize=2, zorder=2)
    axes.plot([estimate.low, estimate.high], [place, place], color=colour, linewidth=1.4, solid_capstyle="butt")
    axes.plot([estimate.value], [place], "o", color=colour, markersize=4, zorder=3, clip_on=False)


def _matrices(names: list[str], pairs: list[Pair]) -> tuple[np.ndarray, np.ndarray]:
    values, certain = np.full((2, len(names), len(names)), np.nan)
    for pair in pairs:
        row, column = names.index(pair.first), names.index(pair.second)
        values[row, column], values[column, row] = pair.difference.value, -pair.difference.value
        certain[row, column] = certain[column, row] = pair.corrected < SIGNIFICANT
    return values, certain


def _mark_cell(axes: Axes, row: int, column: int, value: float, certain: float, models: int) -> None:
    if models > _MOST_WITH_NUMBERS:
        if certain:
            axes.plot([column], [row], "o", color=BLACK, markersize=2)
        return
    weight = "bold" if certain else "normal"
    colour = BLACK if certain else DARK_GREY
    axes.text(column, row, signed(value), ha="center", va="center", fontsize=SMALL_SIZE, weight=weight, color=colour)


def _colour_map(metric: str) -> Colormap:
    """Returns colours from orange (the row is worse) to blue (better), light enough for black text."""
    from matplotlib.colors import LinearSegmentedColormap

    colours = ["#E99E62", "#F7F7F7", "#6BAED6"]
    better_is_more = is_better(metric, 1.0, 0.0)
    found = LinearSegmentedColormap.from_list("differences", colours if better_is_more else colours[::-1])
    return found.with_extremes(bad="white")


# By the names that runs give for what is drawn of them.
_PICTURES = {"roc": plot_roc_curves, "metrics": plot_metrics, "dice": plot_dice}
