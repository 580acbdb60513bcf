"""The figures of a study, drawn from its own runs: ROC curves, AUC against size, and the spread over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from keras_lnn.data.thinning import SAMPLING_KINDS
from keras_lnn.evaluation.metrics import metric_label
from keras_lnn.files.atomic import atomic_path
from keras_lnn.plots.labelling import label_points
from keras_lnn.plots.sampling import plot_sampling
from keras_lnn.plots.style import (
    BLUE,
    DARK_GREY,
    GREY,
    LABEL_SIZE,
    PALETTE,
    SMALL_SIZE,
    VERMILLION,
    keep_within_unit,
    literal,
    new_figure,
    save_figure,
    set_heading,
    shorten_name,
    style_axes,
)
from keras_lnn.studies.declaration import CLASSES, Study, path_name
from keras_lnn.studies.figures import plot_along, plot_class_accuracy_by_network
from keras_lnn.studies.fold_results import name_draws
from keras_lnn.studies.results import measured_metrics
from keras_lnn.studies.sampling import SampledNetworks
from keras_lnn.tasks.kinds import make_task

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS_OF_ROC = 4
# With more networks than this, the points carry numbers, and a key lists the names in columns of _KEY_ROWS rows.
_MOST_NAMED = 12
_KEY_ROWS = 26
_GRID = np.linspace(0.0, 1.0, 201)


def describe_picture(name: str, draws: str = "seeds") -> str:
    """Returns what a picture of a study shows and how it is read.

    Args:
        name: Its name without that of the data.
        draws: What the runs of a network differ by, ``seeds`` or ``folds``.
    """
    readings = {
        "size": "Each network by its number of parameters: the higher and the further to the left the better; the bars "
        f"are the spread over the {draws}.",
        "seeds": f"Each run is a dot: networks whose boxes overlap may differ by their {draws} alone.",
        "folds": "Each run is a dot. The folds differ in their test samples too, so that overlapping boxes say little: "
        "read the differences on the same folds.",
        "roc": "Sensitivity against the false positive rate of each network: the nearer to the upper left corner the "
        "better, the diagonal is guessing; thin lines are single "
        f"{draws}.",
        "sampling": "The same test series sampled otherwise: means over the seeds; at the left of "
        "each panel all frames are kept. The table has the intervals.",
        path_name(CLASSES): f"How well each network predicts each class over the epochs, as means over the {draws}.",
    }
    return readings.get(name, "The networks along the values of the grid that the protocol declares.")


def write_pictures(
    folder: Path,
    study: Study,
    results: pd.DataFrame,
    summary: pd.DataFrame,
    *,
    figures: Sequence[str] = (),
    fields: Sequence[str] = (),
    sampled: SampledNetworks | None = None,
) -> None:
    """Draws every figure of every data set.

    Args:
        folder: The folder for the figures; its previous content is replaced.
        study: The declaration.
        results: Rows of ``results.csv``.
        summary: The result of :func:`~keras_lnn.studies.results.summary_table`.
        figures: Further figures that the protocol asks for.
        fields: Fields of the protocol's grid.
        sampled: The networks under other samplings, where they were measured.
    """
    done = results[results["status"] == "done"]
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        for data, rows in done.groupby("data", sort=False):
            means = summary[summary["data"] == data]
            draws = name_draws(rows)
            drawn = {"size": plot_size(means, study, str(data), draws), draws: plot_seeds(rows, study, str(data))}
            if "auc" in _metrics_of(rows):
                drawn["roc"] = plot_roc_by_network(rows, str(data))
            if sampled is not None and str(data) in sampled.data:
                drawn["sampling"] = plot_sampled_networks(sampled, str(data))
            rows = rows.dropna(subset=list(fields))
            for name in figures if len(rows) else ():
                classes = name == CLASSES
                drawn[path_name(name)] = (
                    plot_class_accuracy_by_network(rows, str(data))
                    if classes
                    else plot_along(rows, name, fields, study, str(data))
                )
            for name, figure in drawn.items():
                if figure is not None:
                    save_figure(figure, temporary / f"{path_name(str(data))}-{name}.png")


def plot_roc_by_network(results: pd.DataFrame, data: str) -> Figure:
    """Draws one panel per network, with the ROC curve of each seed or fold and their mean.

    With more than two classes, the curve is the average over each class against the rest.

    Args:
        results: Rows of ``results.csv`` of the completed runs of one data set.
        data: The data set's name.
    """
    networks = list(dict.fromkeys(results["network"]))
    columns = min(_COLUMNS_OF_ROC, len(networks))
    rows = -(-len(networks) // columns)
    figure = new_figure(2.3 * columns + 0.4, 2.4 * rows + 0.6)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for index, axes in enumerate(panels.flat):
        if index >= len(networks):
            axes.set_visible(False)
            continue
        group = results[results["network"] == networks[index]]
        curves = [_read_curve(Path(run)) for run in group["run"]]
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
        for curve in curves:
            axes.plot(_GRID, curve, color=BLUE, linewidth=0.7, alpha=0.45)
        axes.plot(_GRID, np.mean(curves, axis=0), color=BLUE, linewidth=1.8)
        style_axes(axes, networks[index])
        axes.title.set_fontsize(LABEL_SIZE)
        axes.text(
            0.97,
            0.05,
            f"AUC {group['auc'].mean():.3f}",
            transform=axes.transAxes,
            ha="right",
            fontsize=SMALL_SIZE + 1,
            color=DARK_GREY,
        )
        axes.set_aspect("equal")
        axes.tick_params(labelbottom=index >= len(networks) - columns)
    figure.supxlabel("1 - specificity", fontsize=LABEL_SIZE)
    figure.supylabel("sensitivity", fontsize=LABEL_SIZE)
    set_heading(figure, f"{data}: ROC curve of each {name_draws(results, 1)} (thin) and their mean")
    return figure


def plot_sampled_networks(sampled: SampledNetworks, data: str) -> Figure:
    """Draws the leading metric of each network against the sampling, one panel per kind of sampling.

    Args:
        sampled: The networks under other samplings.
        data: The data set's name.
    """
    labels = {kind: known.label for kind, known in SAMPLING_KINDS.items()}
    rows = sampled.table[sampled.table["data"] == data]
    return plot_sampling(rows, sampled.metric, metric_label(sampled.metric), labels, data)


def plot_size(summary: pd.DataFrame, study: Study, data: str, draws: str = "seeds") -> Figure:
    """Draws AUC (Dice for segmentation) against the number of parameters, with the spread over seeds.

    The published figures are drawn beside them.

    Args:
        summary: Rows of ``summary.csv`` of one data set.
        study: The declaration with the published figures.
        data: The data set's name.
        draws: What the runs of a network differ by, ``seeds`` or ``folds``.
    """
    metric = measured_metrics(summary.dropna(axis="columns", how="all"), "_mean")[0]
    names = [str(name) for name in summary["network"]]
    numbered = len(names) > _MOST_NAMED
    figure = new_figure(7.5 + (2.6 * -(-len(names) // _KEY_ROWS) if numbered else 0.0), 4.9)
    axes = figure.subplots()
    _draw_measured_sizes(axes, summary, metric, draws)
    _draw_published_sizes(axes, summary, metric, study.benchmarks.get(data, {}))
    _scale_to_parameters(axes, summary["parameters"])
    label = metric_label(metric)
    style_axes(axes, f"{data}: {label} against number of parameters", "parameters", f"{label}, test split")
    keep_within_unit(axes, "y")
    figure.legend(loc="outside lower left", ncols=3, fontsize=SMALL_SIZE + 0.5, frameon=False)
    points = summary[["parameters", f"{metric}_mean"]].to_numpy(float)
    spread = summary[f"{metric}_sd"].fillna(0.0).to_numpy(float)
    if numbered:
        # The key is sorted by size, in the order in which one reads along the axis.
        order = np.argsort(points[:, 0], kind="stable")
        points, spread = points[order], spread[order]
        _write_key(figure, [names[row] for row in order])
        names = [str(number) for number in range(1, len(order) + 1)]
    label_points(axes, points, names, spread)
    return figure


def _draw_measured_sizes(axes: Axes, summary: pd.DataFrame, metric: str, draws: str) -> None:
    """Draws the mean of each network with its standard deviation over the seeds or folds."""
    axes.errorbar(
        summary["parameters"],
        summary[f"{metric}_mean"],
        yerr=summary[f"{metric}_sd"].fillna(0.0),
        fmt="o",
        color=BLUE,
        markersize=5,
        linewidth=1.0,
        capsize=2,
        label=f"measured here, mean and SD over {draws}",
        zorder=3,
    )


def _draw_published_sizes(
    axes: Axes, summary: pd.DataFrame, metric: str, benchmarks: Mapping[str, Mapping[str, float]]
) -> None:
    """Draws the published figure of each network, and a line at the best published figure of others."""
    published = summary.dropna(subset=[f"{metric}_published"])
    if len(published):
        axes.scatter(
            published["parameters"],
            published[f"{metric}_published"].astype(float),
            marker="x",
            color=VERMILLION,
            s=28,
            label="published",
            zorder=2,
        )
    known = {name: figures[metric] for name, figures in benchmarks.items() if metric in figures}
    best = max(known.items(), key=lambda item: item[1], default=None)
    if best is not None:
        axes.axhline(best[1], color=GREY, linestyle="--", linewidth=1.0, label=f"{best[0]}, published")


def _scale_to_parameters(axes: Axes, parameters: pd.Series) -> None:
    """Makes the horizontal axis logarithmic, with readable ticks and room for the names at the right."""
    axes.set_xscale("log")
    low, high = parameters.min() / 1.4, parameters.max() * 2.0
    axes.set_xlim(low, high)
    decades = [digit * 10**power for power in range(2, 12) for digit in (1, 2, 5)]
    ticks = [value for value in decades if low <= value <= high]
    axes.set_xticks(ticks, [_short_count(value) for value in ticks])
    axes.minorticks_off()


def _write_key(figure: Figure, names: Sequence[str]) -> None:
    """Writes the key of the numbered points at the right."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], linestyle="", label=f"{row}  {shorten_name(name, 30)}") for row, name in enumerate(names, 1)
    ]
    style = {"handlelength": 0, "handletextpad": 0, "labelspacing": 0.25, "fontsize": SMALL_SIZE, "frameon": False}
    figure.legend(handles=handles, loc="outside right upper", ncols=-(-len(names) // _KEY_ROWS), **style)


def _short_count(value: int) -> str:
    return f"{value // 10**6:,} M" if value >= 10**6 else f"{value:,}"


def plot_seeds(results: pd.DataFrame, study: Study, data: str) -> Figure:
    """Draws one box per network and metric over the seeds or folds, with every run as a dot, and the published figure.

    Args:
        results: Rows of ``results.csv`` of the completed runs of one data set.
        study: The declaration with the published figures.
        data: The data set's name.
    """
    metrics = _metrics_of(results)
    networks = list(results.groupby("network")[metrics[0]].mean().sort_values().index)
    figure = new_figure(9.0, 0.34 * len(networks) + 1.6)
    panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    places = np.arange(len(networks))
    for axes, metric in zip(panels, metrics, strict=True):
        values = [results.loc[results["network"] == name, metric].dropna().to_numpy() for name in networks]
        axes.boxplot(
            values,
            positions=places,
            orientation="horizontal",
            widths=0.55,
            showfliers=False,
            medianprops={"color": PALETTE[0], "linewidth": 1.6},
            boxprops={"color": GREY},
            whiskerprops={"color": GREY},
            capprops={"color": GREY},
        )
        for place, numbers in zip(places, values, strict=True):
            axes.plot(numbers, np.full(len(numbers), place), "o", color=BLUE, markersize=3, alpha=0.7)
        _mark_published(axes, study, data, networks, metric)
        axes.set_yticks(places, [literal(name) for name in networks])
        axes.set_ylim(-0.7, len(networks) - 0.3)
        style_axes(axes, metric_label(metric), f"{metric_label(metric)}, test split")
    published = ", x: published figure" if study.published_for(data)[0] else ""
    set_heading(figure, f"{data}: test metrics of each {name_draws(results, 1)} (dots; boxes: quartiles{published})")
    return figure


def _metrics_of(results: pd.DataFrame) -> tuple[str, ...]:
    return measured_metrics(results.dropna(axis="columns", how="all"))


def _mark_published(axes: Axes, study: Study, data: str, networks: Sequence[str], metric: str) -> None:
    known, _ = study.published_for(data)
    marked = [(known[name][metric], place) for place, name in enumerate(networks) if metric in known.get(name, {})]
    if marked:
        values, places = zip(*marked, strict=True)
        axes.plot(values, places, "x", color=VERMILLION, markersize=6, zorder=4)


def _read_curve(run: Path) -> np.ndarray:
    """Returns the sensitivity at fixed false positive rates, averaged over the classes if there are more than two."""
    from sklearn.metrics import roc_curve

    from keras_lnn.comparing.runs import read_run

    measured = read_run(run)
    columns = make_task(measured.task, measured.class_names).described_classes(measured.positive_class)
    curves = []
    for column in columns:
        positive = measured.positive[:, column]
        if positive.any() and not positive.all():
            false, true, _ = roc_curve(positive, measured.probabilities[:, column])
            curves.append(np.interp(_GRID, false, true))
    return np.mean(curves, axis=0) if curves else np.full(len(_GRID), np.nan)
