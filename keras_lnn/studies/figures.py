"""The figures that a protocol asks for: accuracy or Dice along a field of its grid, and each class over the epochs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from keras_lnn.evaluation.metrics import metric_label
from keras_lnn.fields.values import parse_duration
from keras_lnn.files.csv_tables import plain_cell
from keras_lnn.plots.classes import draw_class_accuracy, draw_class_correlation
from keras_lnn.plots.style import (
    BLACK,
    LABEL_SIZE,
    PALETTE,
    SMALL_SIZE,
    TITLE_SIZE,
    literal,
    new_figure,
    set_heading,
    shorten_name,
    style_axes,
)
from keras_lnn.runs.folder import RunFolder
from keras_lnn.studies.declaration import Study
from keras_lnn.studies.fold_results import FOLD, REPEAT, has_folds, name_draws
from keras_lnn.studies.grid import label_of
from keras_lnn.studies.results import measured_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STYLES = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def plot_along(results: pd.DataFrame, field: str, fields: Sequence[str], study: Study, data: str) -> Figure:
    """Draws test accuracy (Dice for segmentation) along one field of the grid, one line per network.

    Args:
        results: Rows of ``results.csv`` of the completed runs of one data set.
        field: The field on the horizontal axis.
        fields: All fields of the grid. The first other one with several values has one panel per value, and the legend
            names the values of the rest.
        study: The declaration with the published figures.
        data: The data set's name.
    """
    others = [name for name in fields if name != field and results[name].nunique() > 1]
    panel_field = others[0] if others else None
    panels = [None] if panel_field is None else list(dict.fromkeys(results[panel_field]))
    figure = new_figure(max(3.1 * len(panels) + 1.6, 5.6), 3.9)
    row = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    published, _ = study.published_for(data)
    metric = "accuracy" if "accuracy" in measured_metrics(results.dropna(axis="columns", how="all")) else "dice"
    handles: dict[str, Any] = {}
    for axes, value in zip(row, panels, strict=True):
        rows = results if value is None else results[results[panel_field] == value]
        _draw_lines(axes, rows, metric, field, others[1:], list(dict.fromkeys(results["base"])), published)
        handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        title = "" if value is None or panel_field is None else f"{_words(panel_field)} {label_of(panel_field, value)}"
        style_axes(axes, title, _words(field), f"test {metric_label(metric)}" if axes is row[0] else "")
        _scale(axes, field, results[field])
    figure.legend(
        handles.values(), handles, loc="outside lower center", ncols=min(5, len(handles)), frameon=False,
        fontsize=LABEL_SIZE - 1,
    )  # fmt: skip
    runs = len(results[[REPEAT, FOLD] if has_folds(results) else ["seed"]].drop_duplicates())
    draws = name_draws(results, runs)
    seeds_shown = f"mean of {runs} {draws}, each a small dot" if runs > 1 else f"one {draws}"
    set_heading(figure, f"{data}: {metric_label(metric)} by {_words(field)} ({seeds_shown})")
    return figure


def plot_class_accuracy_by_network(results: pd.DataFrame, data: str) -> Figure | None:
    """Draws each class's validation accuracy over the epochs, and their correlations, in one row per network.

    Args:
        results: Rows of ``results.csv`` of the completed runs of one data set.
        data: The data set's name.

    Returns:
        The figure; None if no run recorded the accuracy of its classes.
    """
    found = {}
    for network, rows in results.groupby("network", sort=False):
        files = [RunFolder(Path(run)).class_accuracy for run in rows["run"]]
        curves = [pd.read_csv(file, index_col="epoch") for file in files if file.is_file()]
        curves = [curve.rename(columns=plain_cell) for curve in curves]
        if curves:
            found[str(network)] = curves
    if not found:
        return None
    figure = new_figure(9.0, 3.1 * len(found) + 0.6)
    panels = figure.subplots(len(found), 2, squeeze=False, width_ratios=(1.7, 1))
    for (left, right), (network, curves) in zip(panels, found.items(), strict=True):
        if draw_class_accuracy(left, _mean(curves)):
            left.legend(loc="best", fontsize=SMALL_SIZE, frameon=True, framealpha=0.8, edgecolor="none")
        left.set_title(literal(network), loc="left", fontsize=TITLE_SIZE)
        draw_class_correlation(right, _mean([curve.corr() for curve in curves]))
        style_axes(right, f"correlation over {max(map(len, curves))} epochs", grid=False)
        right.title.set_fontsize(LABEL_SIZE)
    seeds = max(map(len, found.values()))
    seeds_shown = f" (means of {seeds} {name_draws(results)})" if seeds > 1 else ""
    set_heading(
        figure, f"{data}: accuracy of each class over the epochs, and correlations between the classes{seeds_shown}"
    )
    return figure


def _mean(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Returns the mean over the seeds for each cell, ignoring missing values."""
    together = pd.concat(tables)
    return together.groupby(level=0, sort=False).mean().reindex(index=max(tables, key=len).index)


def _draw_lines(
    axes: Axes,
    rows: pd.DataFrame,
    metric: str,
    field: str,
    rest: list[str],
    bases: list[str],
    published: dict[str, dict],
) -> None:
    """Draws one line per network and combination of the other fields, and the published figures as crosses.

    A hollow marker means that all runs have collapsed to one class.
    """
    variants = list(dict.fromkeys(map(tuple, rows[rest].itertuples(index=False)))) if rest else [()]
    order = _positions(field, rows[field])
    marked = collapsed = False
    for (base, variant), group in _groups(rows, rest):
        place = bases.index(base)
        colour, style = PALETTE[place % len(PALETTE)], _STYLES[variants.index(variant) % len(_STYLES)]
        means = group.assign(position=group[field].map(order)).groupby("position")[metric].mean().sort_index()
        # Later markers are smaller, so that those below remain visible where all have the same position.
        size = max(9.0 - 1.5 * place, 4.0)
        label = " ".join([base, *(label_of(name, value) for name, value in zip(rest, variant, strict=True))])
        axes.plot(
            means.index, means, style, marker=_MARKERS[place % len(_MARKERS)], markersize=size, linewidth=size / 3.5,
            color=colour, label=shorten_name(label, 34),
        )  # fmt: skip
        axes.plot(group[field].map(order), group[metric], ".", color=colour, markersize=4, alpha=0.5)
        if "collapsed" in group:
            fallen = group["collapsed"].astype(bool).groupby(group[field].map(order)).all()
            fallen = means[fallen.reindex(means.index)]
            hollow: dict[str, Any] = {"markerfacecolor": "white", "markeredgewidth": 0, "zorder": 5}
            axes.plot(fallen.index, fallen, _MARKERS[place % len(_MARKERS)], markersize=size * 0.55, **hollow)
            collapsed = collapsed or len(fallen) > 0
        known = group[group["network"].isin(published)].drop_duplicates("network")
        known = known[[(metric in published[network]) for network in known["network"]]]
        if len(known):
            marked = True
            figures = [published[network][metric] for network in known["network"]]
            axes.plot(known[field].map(order), figures, "x", color=colour, markersize=7, markeredgewidth=1.8)
    if marked:
        axes.plot([], [], "x", color=BLACK, markersize=7, markeredgewidth=1.8, label="published")
    if collapsed:
        style: dict[str, Any] = {"color": BLACK, "markerfacecolor": "white", "markersize": 6.5, "markeredgewidth": 1.8}
        axes.plot([], [], "o", label="collapsed to one class", **style)


def _groups(rows: pd.DataFrame, rest: list[str]) -> list[tuple[tuple[str, tuple], pd.DataFrame]]:
    grouped = cast("Iterable[tuple[tuple[Any, ...], pd.DataFrame]]", rows.groupby(["base", *rest], sort=False))
    return [((key[0], tuple(key[1:])), group) for key, group in grouped]


def _positions(field: str, values: pd.Series) -> dict[Any, float]:
    """Returns the position of each value: times and numbers to scale, words at equal distances."""
    distinct = list(dict.fromkeys(values))
    if field == "time_budget":
        return {value: parse_duration(value) for value in distinct}
    if all(isinstance(value, int | float | np.number) and not isinstance(value, bool) for value in distinct):
        return {value: float(value) for value in distinct}
    return {value: float(index) for index, value in enumerate(distinct)}


def _scale(axes: Axes, field: str, values: pd.Series) -> None:
    """Places one tick per value, on a logarithmic axis where they span more than a factor of eight."""
    positions = _positions(field, values)
    low, high = min(positions.values()), max(positions.values())
    if low > 0 and high / low > 8:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.5, high * 1.5)
    else:
        margin = 0.12 * (high - low) or 0.5
        axes.set_xlim(low - margin, high + margin)
    axes.set_xticks(list(positions.values()), [literal(_tick(field, value)) for value in positions])
    axes.minorticks_off()


def _tick(field: str, value: Any) -> str:
    return f"{value:g}" if field != "learning_rate" and isinstance(value, int | float) else label_of(field, value)


def _words(field: str) -> str:
    return field.removeprefix("model_args.").replace("_", " ")
