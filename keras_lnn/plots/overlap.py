"""Plots of the Dice of each class: over the epochs, and its distribution over the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_lnn.errors import InputError
from keras_lnn.plots.style import (
    BLACK,
    DARK_GREY,
    GREY,
    LABEL_SIZE,
    PALETTE,
    SMALL_SIZE,
    literal,
    new_figure,
    style_axes,
    wrap_name,
    write_note,
)

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# More dots than this would hide the boxes.
_MOST_DOTS = 400


def plot_dice_history(history: pandas.DataFrame, class_names: Sequence[str], best_epoch: int | None) -> Figure:
    """Draws the validation Dice of each class over the epochs, and that of all classes together.

    Args:
        history: One row per epoch: ``epoch`` and, where they were measured, ``val_dice`` and ``val_dice_NAME``.
        class_names: Names of the classes without the background.
        best_epoch: The epoch whose weights were kept; None if there is no such epoch.

    Returns:
        The figure; it shows a note where nothing was measured.
    """
    from keras_lnn.plots.history import curve_values

    if "epoch" not in history.columns or len(history) == 0:
        raise InputError(
            f"A history must have a column 'epoch' and at least one row. Received: {len(history)} rows. Train for at"
            " least one epoch."
        )
    figure = new_figure(6.4, 3.6)
    axes = figure.subplots()
    epochs = history["epoch"].to_numpy(dtype=np.float64)
    curves = {name: (f"val_dice_{name}", PALETTE[index % len(PALETTE)]) for index, name in enumerate(class_names)}
    if len(class_names) > 1 or f"val_dice_{class_names[0]}" not in history.columns:
        curves = {"all classes": ("val_dice", BLACK), **curves}
    markers: dict[str, Any] = {"marker": "o", "markersize": 3.5} if len(epochs) <= 30 else {}
    drawn = False
    for label, (column, colour) in curves.items():
        values = curve_values(history, column)
        if values is None:
            continue
        last = f"{literal(label)}: {values[np.flatnonzero(epochs == best_epoch)[-1]]:.3f}" if best_epoch else label
        style: dict[str, Any] = {"linestyle": "--", "linewidth": 1.4} if column == "val_dice" else {"linewidth": 1.7}
        axes.plot(epochs, values, color=colour, label=last, **style, **markers)
        drawn = True
    title = "Validation Dice of each class" + (f" (values: epoch {best_epoch}, kept)" if best_epoch else "")
    style_axes(axes, title, "epoch", "Dice")
    if not drawn:
        write_note(axes, "Dice was not measured while training")
        return figure
    if best_epoch is not None:
        axes.axvline(best_epoch, color=GREY, linewidth=1.0, linestyle=":", zorder=1)
    axes.set_ylim(-0.02, 1.02)
    axes.locator_params(axis="x", integer=True)
    axes.legend(fontsize=LABEL_SIZE - 1, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def plot_dice_spread(dice: np.ndarray, class_names: Sequence[str], seed: int = 0) -> Figure:
    """Draws one box per class over the Dice of the images, with a dot for each image.

    Args:
        dice: Dice of each image and class without the background, (samples, classes); nan where it is not defined.
        class_names: One name per column.
        seed: Seed for the random offsets that keep the dots apart.

    Returns:
        The figure.
    """
    if dice.ndim != 2 or dice.shape[1] != len(class_names):
        raise InputError(
            f"dice must be (samples, {len(class_names)}), one column per class. Received: {dice.shape}. Give matching"
            " ones."
        )
    figure = new_figure(6.4, 0.62 * len(class_names) + 1.3)
    axes = figure.subplots()
    generator = np.random.default_rng(seed)
    labels = []
    for place, name in enumerate(class_names):
        values = dice[:, place][~np.isnan(dice[:, place])]
        colour = PALETTE[place % len(PALETTE)]
        labels.append(_label_of(str(name), values, len(dice)))
        _draw_box(axes, place, values, colour, generator)
    style_axes(axes, "Dice of each image, by class", "Dice (images in which the class is present or predicted)")
    _name_boxes(axes, labels)
    return figure


def plot_dice_by_model(dice: Mapping[str, np.ndarray], class_names: Sequence[str], seed: int = 0) -> Figure:
    """Draws the distribution of the Dice of the same images for several models: one panel per class, one box per model.

    Args:
        dice: For each model, the Dice of each image and class without the background, (samples, classes); nan where it
            is not defined.
        class_names: One name per column.
        seed: Seed for the random offsets that keep the dots apart.

    Returns:
        The figure.
    """
    if not dice or any(values.ndim != 2 or values.shape[1] != len(class_names) for values in dice.values()):
        shapes = ", ".join(str(values.shape) for values in dice.values()) or "no model"
        raise InputError(
            f"dice must be (samples, {len(class_names)}) for each model, one column per class. Received: {shapes}."
            " Give the same classes for all."
        )
    figure = new_figure(6.4, (0.5 * len(dice) + 0.8) * len(class_names) + 0.4)
    panels = figure.subplots(len(class_names), squeeze=False, sharex=True)[:, 0]
    generator = np.random.default_rng(seed)
    for column, (axes, name) in enumerate(zip(panels, class_names, strict=True)):
        labels = []
        for place, (model, values) in enumerate(dice.items()):
            known = values[:, column][~np.isnan(values[:, column])]
            labels.append(_label_of(model, known, len(values)))
            _draw_box(axes, place, known, PALETTE[place % len(PALETTE)], generator)
        below = "Dice (images in which the class is present or predicted)" if axes is panels[-1] else ""
        style_axes(axes, literal(str(name)), below)
        _name_boxes(axes, labels)
    return figure


def _label_of(name: str, values: np.ndarray, images: int) -> str:
    median = f"median {np.median(values):.3f}, " if len(values) else ""
    return f"{wrap_name(name)}\n{median}{len(values)} of {images} images"


def _draw_box(axes: Axes, place: int, values: np.ndarray, colour: str, generator: np.random.Generator) -> None:
    """Draws a horizontal box over the values, with a dot for each value where there are not too many."""
    if not len(values):
        return
    line = {"color": DARK_GREY, "linewidth": 1.1}
    axes.boxplot(
        [values],
        positions=[place],
        orientation="horizontal",
        widths=0.5,
        showfliers=len(values) > _MOST_DOTS,
        flierprops={"marker": ".", "markersize": 3, "markeredgecolor": colour},
        medianprops={"color": BLACK, "linewidth": 1.8},
        boxprops=line,
        whiskerprops=line,
        capprops=line,
        zorder=3,
    )
    if len(values) <= _MOST_DOTS:
        beside = place + generator.uniform(-0.19, 0.19, len(values))
        axes.plot(values, beside, "o", color=colour, markersize=3.4, markeredgewidth=0, alpha=0.55, zorder=2)


def _name_boxes(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), labels, fontsize=SMALL_SIZE + 0.5)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(-0.03, 1.03)
