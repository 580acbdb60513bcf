"""The figures of a search: its progress, good values, the importance of hyperparameters, and learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_lnn.plots.style import (
    BLUE,
    DARK_GREY,
    GREY,
    LABEL_SIZE,
    PALETTE,
    SMALL_SIZE,
    VERMILLION,
    literal,
    new_figure,
    set_heading,
    shorten_name,
    style_axes,
)

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tuning.space import Space

_FEWEST_FOR_IMPORTANCE = 8
_LIGHT = "#C6DBEF"


def plot_progress(table: pandas.DataFrame, objective: str, direction: str) -> Figure:
    """Draws the objective over the trials and over their time, with the best so far.

    Args:
        table: The content of ``trials.csv``.
        objective: Name of its column.
        direction: ``max`` or ``min``.
    """
    table = table[table["status"].isin(["completed", "failed", "pruned"])]
    figure = new_figure(9.0, 3.6)
    best_of = np.fmax.accumulate if direction == "max" else np.fmin.accumulate
    values = table[objective].to_numpy(float)
    seconds = table["process_seconds"].fillna(0.0).to_numpy(float).cumsum()
    left, right = figure.subplots(1, 2, sharey=True)
    units = {"hours": 3600.0, "minutes": 60.0, "seconds": 1.0}
    unit = next((name for name, length in units.items() if seconds[-1] > 2.0 * length), "seconds")
    for axes, places, label in (
        (left, np.arange(1, len(values) + 1), "trial"),
        (right, seconds / units[unit], f"{unit} of all trials"),
    ):
        style_axes(axes, "", label, objective if axes is left else "")
        axes.plot(places, values, "o", color=BLUE, markersize=4, alpha=0.75, label="trial")
        axes.step(places, best_of(values), where="post", color=VERMILLION, linewidth=1.6, label="best so far")
        for status, marker in (("failed", "x"), ("pruned", "v")):
            without = (table["status"] == status).to_numpy()
            if without.any():
                bottom = np.full(without.sum(), 0.02)
                axes.plot(
                    places[without], bottom, marker, color=DARK_GREY, markersize=5, label=status, clip_on=False,
                    transform=axes.get_xaxis_transform(),
                )  # fmt: skip
    left.locator_params(axis="x", integer=True)
    left.legend(fontsize=SMALL_SIZE, frameon=False, loc="best")
    good = int(np.isfinite(values).sum())
    best = np.nanmax(values) if direction == "max" else np.nanmin(values)
    set_heading(figure, f"{len(values)} trials, {good} of them successful, best {objective} {best:.4f}")
    return figure


def plot_parallel(
    table: pandas.DataFrame, names: Sequence[str], objective: str, direction: str, space: Space
) -> Figure | None:
    """Draws each completed trial as a line through its values; better trials are darker.

    Args:
        table: The content of ``trials.csv``.
        names: Names of the hyperparameters that differ.
        objective: Name of its column.
        direction: ``max`` or ``min``.
        space: The search space, which says which ranges are logarithmic.
    """
    whole = table[table[objective].notna()]
    if not names or len(whole) < 2:
        return None
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    columns = [*names, objective]
    figure = new_figure(max(6.0, 1.25 * len(columns) + 1.0), 4.4)
    axes = figure.subplots()
    style_axes(axes, grid=False)
    places = np.stack([_place(axes, number, whole[name], space) for number, name in enumerate(columns)], axis=1)
    score = whole[objective].to_numpy(float)
    rank = (score if direction == "max" else -score).argsort().argsort()
    colours = LinearSegmentedColormap.from_list("trials", [_LIGHT, BLUE])
    norm = Normalize(0, max(1, len(whole) - 1))
    for row in rank.argsort():
        is_best = rank[row] == len(whole) - 1
        axes.plot(
            range(len(columns)),
            places[row],
            color=VERMILLION if is_best else colours(norm(rank[row])),
            linewidth=2.2 if is_best else 1.1,
            zorder=3 if is_best else 1,
        )
    axes.set_xticks(
        range(len(columns)), [literal(name.replace("_", "\n")) for name in columns], fontsize=LABEL_SIZE - 1
    )
    axes.set_yticks([])
    axes.set_ylim(-0.04, 1.04)
    axes.set_xlim(-0.2, len(columns) - 0.2)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for number in range(len(columns)):
        axes.axvline(number, color=GREY, linewidth=0.8, zorder=0)
    set_heading(figure, "Hyperparameters of the successful trials (darker: better; orange: the best)")
    return figure


def plot_importance(table: pandas.DataFrame, names: Sequence[str], objective: str) -> Figure | None:
    """Draws the loss of accuracy of a random forest that predicts the objective when one hyperparameter is shuffled.

    Args:
        table: The content of ``trials.csv``.
        names: Names of the hyperparameters that differ.
        objective: Name of its column.

    Returns:
        The figure; None for fewer than eight completed trials or for equal objectives, from which nothing follows.
    """
    whole = table[table[objective].notna()]
    if not names or len(whole) < _FEWEST_FOR_IMPORTANCE or whole[objective].nunique() < 2:
        return None
    figure = new_figure(6.5, 0.32 * len(names) + 1.5)
    axes = figure.subplots()
    style_axes(axes, "", f"decrease of R² for {objective} when shuffled", "")
    means, spreads, share = measure_importance(whole, names, objective)
    order = means.argsort()
    axes.barh(range(len(names)), means[order], xerr=spreads[order], color=BLUE, ecolor=DARK_GREY, height=0.62)
    axes.set_yticks(range(len(names)), [shorten_name(names[place], 26) for place in order])
    axes.set_xlim(left=min(0.0, float((means - spreads).min())))
    note = f"The random forest explains {max(0.0, share):.0%} of the variance of held-out trials"
    if share < 0.2:
        note += ": the bars are unreliable"
    axes.set_title(literal(note), loc="left", fontsize=SMALL_SIZE, color=DARK_GREY)
    set_heading(figure, "Importance of the hyperparameters")
    return figure


def measure_importance(
    whole: pandas.DataFrame, names: Sequence[str], objective: str
) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns the permutation importance of each name in a random forest.

    Args:
        whole: Trials with an objective.
        names: Names of the hyperparameters.
        objective: Name of the objective's column.

    Returns:
        Means, standard deviations over the shuffles, and the share of the variance that the forest explains for trials
        that it was not fitted to.
    """
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    values = np.stack([_numbers(whole[name]) for name in names], axis=1)
    target = whole[objective].to_numpy(float)
    forest = RandomForestRegressor(300, oob_score=True, random_state=0, min_samples_leaf=2).fit(values, target)
    found = permutation_importance(forest, values, target, n_repeats=20, random_state=0)
    return found.importances_mean, found.importances_std, float(forest.oob_score_)


def plot_learning_curves(
    histories: Mapping[str, pandas.DataFrame], table: pandas.DataFrame, objective: str, direction: str
) -> Figure | None:
    """Draws the objective over the epochs of each trial; Hyperband has one panel per bracket, coloured by round.

    Args:
        histories: The history of each trial.
        table: The content of ``trials.csv``.
        objective: Name of its column.
        direction: ``max`` or ``min``.
    """
    rows = table[table["trial"].isin(histories.keys())]
    if rows.empty:
        return None
    brackets = sorted(rows["bracket"].dropna().unique(), reverse=True) if "bracket" in rows else []
    panels: list[tuple[str, Any]] = [(f"bracket {int(one)}", rows[rows["bracket"] == one]) for one in brackets]
    panels = panels or [("", rows)]
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    figure = new_figure(max(5.5, 3.4 * columns), 2.7 * lines + 0.7)
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
    best = rows.loc[rows[objective].idxmax() if direction == "max" else rows[objective].idxmin(), "trial"]
    for axes, (title, trials) in zip(grid, panels, strict=False):
        style_axes(axes, title, "epoch", objective if axes in grid[::columns] else "")
        _draw_curves(axes, trials, histories, objective, best)
    for axes in grid[len(panels) :]:
        axes.remove()
    rounds = "; colours show the rounds" if brackets else ""
    pruned = "; dotted ones were pruned" if (rows["status"] == "pruned").any() else ""
    set_heading(figure, f"{objective} of each trial over the epochs, the best trial in bold{rounds}{pruned}")
    return figure


def _draw_curves(
    axes: Axes, trials: pandas.DataFrame, histories: Mapping[str, pandas.DataFrame], objective: str, best: str
) -> None:
    longest = 1
    for _, row in trials.iterrows():
        history = histories[row["trial"]]
        if objective not in history:
            continue
        epochs, values = history["epoch"].to_numpy(), history[objective].to_numpy(float)
        round_number = int(row["round"]) if "round" in row and row["round"] == row["round"] else 0
        own = epochs >= 1
        if isinstance(row.get("goes_on_from"), str) and row["goes_on_from"] in histories:
            own = epochs >= len(histories[row["goes_on_from"]])  # the epochs that it took over are drawn there
        is_best = row["trial"] == best
        axes.plot(
            epochs[own],
            values[own],
            color=PALETTE[round_number % len(PALETTE)],
            linewidth=2.4 if is_best else 1.0,
            linestyle=":" if row["status"] == "pruned" else "-",
            alpha=1.0 if is_best else 0.55,
            marker="o" if own.sum() == 1 else None,
            markersize=3,
        )
        longest = max(longest, int(epochs[-1]))
    axes.set_xlim(0.5, longest + 0.5)
    axes.locator_params(axis="x", integer=True, nbins=6)


def _place(axes: Axes, number: int, column: pandas.Series, space: Space) -> np.ndarray:
    """Returns the heights of a column's values between 0 and 1, and writes the ends beside its axis."""
    from keras_lnn.models.ranges import Range

    values = _numbers(column)
    entry = space.ranges.get(str(column.name))
    if isinstance(entry, Range) and entry.log:
        values = np.log(values)
    low, high = values.min(), values.max()
    heights = (values - low) / (high - low) if high > low else np.full(len(values), 0.5)
    shown = {}
    for height, value in zip(heights, column, strict=True):
        if not _is_number(column) or height in (0.0, 1.0):
            shown[float(height)] = f"{value:.3g}" if isinstance(value, float) else str(value)
    for height, text in shown.items():
        axes.text(number + 0.04, height, literal(text), fontsize=SMALL_SIZE, color=DARK_GREY, va="center", zorder=4,
                  bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.5})  # fmt: skip
    return heights


def _numbers(column: pandas.Series) -> np.ndarray:
    """Returns numbers unchanged, and other values as their positions among the sorted values."""
    if _is_number(column):
        return column.to_numpy(float)
    known = sorted(column.astype(str).unique())
    return column.astype(str).map(known.index).to_numpy(float)


def _is_number(column: pandas.Series) -> bool:
    return column.dtype.kind in "if" or str(column.dtype) == "Int64"
