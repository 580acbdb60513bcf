"""Plots of the validation accuracy of each class over the epochs, and of the correlations between classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from keras_lnn.errors import InputError
from keras_lnn.plots.style import (
    BLUE,
    DARK_GREY,
    GREY,
    LABEL_SIZE,
    LIGHT_GREY,
    PALETTE,
    SMALL_SIZE,
    new_figure,
    set_heading,
    shorten_name,
    style_axes,
    wrap_name,
    write_note,
)

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

MOST_EPOCHS_WITH_MARKERS = 30
MOST_CLASSES_WITH_NUMBERS = 12


def plot_class_accuracy(accuracy: pandas.DataFrame, best_epoch: int | None, multi_label: bool = False) -> Figure:
    """Draws the validation accuracy of each class over the epochs.

    Args:
        accuracy: One row per epoch, indexed by its number, and one column per class or label.
        best_epoch: The epoch whose weights were kept, which is marked; None if there is no such epoch.
        multi_label: Whether the columns are labels, of which an image can carry several.

    Returns:
        The figure, with one line per class. More than seven lines would hide each other, so that many classes are drawn
        as one row of colours each.

    Raises:
        InputError: If there is no epoch or no class.
    """
    _require_some(accuracy)
    figure = new_figure(7.0, max(3.2, 0.2 * accuracy.shape[1] + 1.6))
    axes = figure.subplots()
    meaning = "share of samples classified correctly" if multi_label else "share of its samples that are found (recall)"
    if draw_class_accuracy(axes, accuracy, best_epoch, meaning):
        figure.legend(loc="outside right center", frameon=False, fontsize=LABEL_SIZE - 1)
    best = "" if best_epoch is None else f", best epoch {best_epoch}"
    set_heading(figure, f"Validation accuracy of each {'label' if multi_label else 'class'}{best}")
    return figure


def draw_class_accuracy(
    axes: Axes, accuracy: pandas.DataFrame, best_epoch: int | None = None, meaning: str = "validation accuracy"
) -> bool:
    """Draws the accuracy of each class into one panel.

    Args:
        axes: The panel.
        accuracy: As in :func:`plot_class_accuracy`.
        best_epoch: The epoch to mark; None marks none.
        meaning: Description of the accuracy, written at the axis or at the colour bar.

    Returns:
        Whether lines were drawn, which need a legend. If there are more classes than colours, each class is a row that
        carries its name.
    """
    if accuracy.shape[1] > len(PALETTE) and np.isfinite(accuracy.to_numpy(dtype=np.float64)).any():
        _draw_rows(axes, accuracy, best_epoch, meaning)
        return False
    style_axes(axes, "", "epoch", meaning)
    epochs = accuracy.index.to_numpy(dtype=np.float64)
    markers: dict[str, Any] = {"marker": "o", "markersize": 3.0} if len(epochs) <= MOST_EPOCHS_WITH_MARKERS else {}
    for name, colour in zip(accuracy.columns, PALETTE, strict=False):
        values = accuracy[name].to_numpy(dtype=np.float64)
        axes.plot(epochs, values, color=colour, linewidth=1.5, label=shorten_name(str(name), 24), **markers)
    if best_epoch is not None:
        axes.axvline(best_epoch, color=GREY, linewidth=1.0, linestyle=":", zorder=1)
    axes.set_ylim(-0.04, 1.04)
    if len(epochs) == 1:
        axes.set_xticks(epochs, [f"{epochs[0]:.0f}"])
    else:
        axes.locator_params(axis="x", integer=True, nbins=6)
    if not np.isfinite(accuracy.to_numpy(dtype=np.float64)).any():
        write_note(axes, "no sample of any class")
    return True


def _draw_rows(axes: Axes, accuracy: pandas.DataFrame, best_epoch: int | None, meaning: str) -> None:
    """Draws one row per class, coloured by its accuracy and followed by its value at the best or the last epoch."""
    from matplotlib.colors import LinearSegmentedColormap

    values = accuracy.to_numpy(dtype=np.float64).T
    first, last = float(accuracy.index[0]), float(accuracy.index[-1])
    colours = LinearSegmentedColormap.from_list("accuracy", ["#F4A582", "#F7F7F7", BLUE]).with_extremes(bad=LIGHT_GREY)
    image = axes.imshow(
        np.ma.masked_invalid(values),
        cmap=colours,
        aspect="auto",
        interpolation="nearest",
        extent=(first - 0.5, last + 0.5, len(values) - 0.5, -0.5),
    )
    style_axes(axes, "", "epoch", "", grid=False)
    for line in np.arange(0.5, len(values) - 1):
        axes.axhline(line, color="white", linewidth=1.5)
    axes.set_yticks(range(len(values)), [shorten_name(str(name), 24) for name in accuracy.columns])
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", integer=True, nbins=6)
    shown_epoch = last if best_epoch is None else best_epoch
    if best_epoch is not None:
        axes.axvline(best_epoch, color=DARK_GREY, linewidth=1.2, linestyle=":")
    for row, value in enumerate(accuracy.loc[shown_epoch].to_numpy(dtype=np.float64)):
        text = f"{value:.2f}" if np.isfinite(value) else "–"
        axes.text(1.01, row, text, transform=axes.get_yaxis_transform(), va="center", fontsize=SMALL_SIZE)
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.8, pad=0.08)
    bar.set_label(f"{meaning} (numbers: epoch {shown_epoch:g})", fontsize=LABEL_SIZE - 1)
    bar.ax.tick_params(labelsize=LABEL_SIZE - 1)
    bar.outline.set_visible(False)


def plot_class_correlation(correlation: pandas.DataFrame, epochs: int) -> Figure:
    """Draws the correlation matrix of the classes' accuracies over the epochs.

    Args:
        correlation: Square matrix of values from -1 to 1; nan where the correlation is not defined.
        epochs: Number of epochs that the correlations rest on.

    Returns:
        The figure. A negative value means that one class gains where the other loses.

    Raises:
        InputError: If there is no class.
    """
    _require_some(correlation)
    count = len(correlation)
    cell = 0.9 if count <= 4 else 0.55 if count <= MOST_CLASSES_WITH_NUMBERS else 0.32
    figure = new_figure(max(cell * count + 2.6, 4.6), cell * count + 1.9)
    axes = figure.subplots()
    image = draw_class_correlation(axes, correlation)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02, ticks=[-1, -0.5, 0, 0.5, 1])
    bar.ax.tick_params(labelsize=LABEL_SIZE - 1)
    bar.outline.set_visible(False)
    set_heading(figure, f"Correlation of the classes' accuracies over {epochs} epoch{'' if epochs == 1 else 's'}")
    return figure


def draw_class_correlation(axes: Axes, correlation: pandas.DataFrame) -> AxesImage:
    """Draws the correlation matrix into one panel, with numbers where there is room, and returns its image."""
    values = correlation.to_numpy(dtype=np.float64)
    image = axes.imshow(np.ma.masked_invalid(values), cmap="RdBu", vmin=-1, vmax=1)
    names = [wrap_name(str(name), 16, 2) for name in correlation.columns]
    style_axes(axes, grid=False)
    axes.set_xticks(range(len(names)), names, fontsize=LABEL_SIZE - 1, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names, fontsize=LABEL_SIZE - 1)
    if len(names) <= MOST_CLASSES_WITH_NUMBERS:
        for (row, column), value in np.ndenumerate(values):
            text = f"{value:.2f}" if np.isfinite(value) else "–"
            colour = "white" if abs(value) > 0.5 else DARK_GREY
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=SMALL_SIZE + 0.5)
    return image


def _require_some(table: pandas.DataFrame) -> None:
    if table.empty:
        rows, columns = table.shape
        raise InputError(
            f"A picture of classes needs an epoch and a class. Received: {rows} rows of {columns} classes. Train first."
        )
