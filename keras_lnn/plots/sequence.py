"""Plots of the order in which a layer reads an image, its feature maps or a volume as a sequence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_lnn.plots.style import (
    BLACK,
    DARK_GREY,
    LABEL_SIZE,
    SMALL_SIZE,
    blank_axes,
    literal,
    new_figure,
    set_heading,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = "viridis"
_MOST_TILES = 16
_MOST_NUMBERED = 100


def plot_sequence(positions: np.ndarray, maps: np.ndarray, image: np.ndarray | None, title: str) -> Figure:
    """Draws the path of a sequence over the image where each step has its own place, otherwise each step by itself.

    Args:
        positions: The result of :meth:`keras_lnn.layers.SequenceLayer.positions`, (steps, features).
        maps: Input of the layer for one image, (height, width, channels) or (depth, height, width, channels).
        image: The image (height, width, 1 or 3) that the maps were computed from, over which the path is drawn; the
            mean over the channels of the maps if not given. Not used for volumes.
        title: The heading.
    """
    places = np.stack(np.unravel_index(positions, maps.shape)[:-1], axis=-1)
    centres = places.mean(axis=1)
    count, values = positions.shape
    heading = f"{title}: {count} step{'s' if count > 1 else ''} of {values} value{'s' if values > 1 else ''}"
    if len(positions) > 1 and np.ptp(centres, axis=0).max() < 1e-9:
        return _draw_channels(positions, maps, heading)
    if maps.ndim == 4:
        return _draw_volume(places, maps.shape, heading)
    return _draw_way(places, centres, maps, image, heading)


def _draw_way(
    places: np.ndarray, centres: np.ndarray, maps: np.ndarray, image: np.ndarray | None, heading: str
) -> Figure:
    """Draws the centres of the steps, joined in order, and the cells of the map by the step that reads them first."""
    height, width = maps.shape[:2]
    figure = new_figure(8.6, 4.6 if len(places) > 1 else 5.0)
    over, cells = figure.subplots(1, 2)
    background = maps.mean(axis=-1) if image is None else image
    shown = background[..., 0] if background.ndim == 3 and background.shape[-1] == 1 else background
    over.imshow(shown, cmap="gray", extent=(-0.5, width - 0.5, height - 0.5, -0.5), alpha=0.75)
    _outline(over, places)
    _join(over, centres)
    number = np.full((height, width), np.nan)
    for step in reversed(range(len(places))):
        number[places[step][:, 0], places[step][:, 1]] = step + 1
    drawn = cells.imshow(number, cmap=_COLOURS)
    if len(places) <= _MOST_NUMBERED:
        for step, (row, column) in enumerate(centres, start=1):
            bright = step > max(0.6 * len(places), 1)
            cells.text(
                column,
                row,
                str(step),
                ha="center",
                va="center",
                fontsize=SMALL_SIZE,
                color=BLACK if bright else "white",
            )
    _add_bar(figure, drawn, cells, len(places))
    for axes, name in ((over, "path over the image"), (cells, "cells of the map")):
        axes.set_title(name, loc="left", fontsize=LABEL_SIZE)
        axes.set_xticks(range(0, width, max(1, width // 8)))
        axes.set_yticks(range(0, height, max(1, height // 8)))
        axes.tick_params(labelsize=SMALL_SIZE)
    set_heading(figure, heading)
    return figure


def _add_bar(figure: Figure, drawn: Any, panels: Any, steps: int) -> None:
    """Adds a colour bar for the steps, where there are several."""
    if steps > 1:
        bar = figure.colorbar(drawn, ax=panels, shrink=0.8, label="first step that reads it")
        bar.ax.locator_params(axis="y", integer=True)


def _outline(axes: Axes, places: np.ndarray) -> None:
    from matplotlib.patches import Rectangle

    for step in places:
        low, high = step.min(axis=0), step.max(axis=0)
        size = high - low + 1
        axes.add_patch(
            Rectangle((low[1] - 0.5, low[0] - 0.5), size[1], size[0], fill=False, linewidth=0.4, edgecolor="white")
        )


def _join(axes: Axes, centres: np.ndarray) -> None:
    from matplotlib.collections import LineCollection

    points = centres[:, ::-1]
    lines = LineCollection(list(np.stack([points[:-1], points[1:]], axis=1)), cmap=_COLOURS, linewidths=2.2)
    lines.set_array(np.arange(1, len(points)))
    axes.add_collection(lines)
    axes.scatter(*points.T, c=np.arange(len(points)), cmap=_COLOURS, s=14, zorder=3, edgecolor="white", linewidth=0.4)
    for place, name in ((0, "first"), (-1, "last")) if len(points) > 1 else ((0, "the only one"),):
        axes.annotate(
            name,
            points[place],
            xytext=(5, 6),
            textcoords="offset points",
            fontsize=SMALL_SIZE,
            color=BLACK,
            bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
        )


def _draw_volume(places: np.ndarray, shape: Sequence[int], heading: str) -> Figure:
    """Draws up to eight slices, with each cell in the colour of the first step that reads it."""
    number = np.full(shape[:3], np.nan)
    for step in reversed(range(len(places))):
        number[tuple(places[step].T)] = step + 1
    chosen = np.unique(np.linspace(0, shape[0] - 1, min(8, shape[0])).round().astype(int))
    columns = min(4, len(chosen))
    rows = -(-len(chosen) // columns)
    figure = new_figure(2.1 * columns + 1.0, 2.2 * rows + 0.6)
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat:
        blank_axes(axes)
    for axes, depth in zip(panels.flat, chosen, strict=False):
        drawn = axes.imshow(number[depth], cmap=_COLOURS, vmin=1, vmax=len(places))
        axes.set_title(f"slice {depth + 1}", fontsize=SMALL_SIZE + 1)
    _add_bar(figure, drawn, panels, len(places))
    set_heading(figure, heading)
    return figure


def _draw_channels(positions: np.ndarray, maps: np.ndarray, heading: str) -> Figure:
    """Draws the values of the first steps, where every step is spread over the whole map."""
    shown = min(_MOST_TILES, len(positions))
    columns = min(8, shown)
    rows = -(-shown // columns)
    figure = new_figure(1.25 * columns + 0.3, 1.45 * rows + 0.6)
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat:
        blank_axes(axes)
    plane = maps[maps.shape[0] // 2] if maps.ndim == 4 else maps
    # A single value has a meaning only in comparison with the others.
    scale = maps if positions.shape[1] == 1 else None
    for step, axes in zip(range(shown), panels.flat, strict=False):
        channels = np.unique(np.unravel_index(positions[step], maps.shape)[-1])
        axes.imshow(_join_channels(plane[..., channels], scale), cmap="gray", vmin=0, vmax=1)
        name = f"{channels[0] + 1}" if len(channels) == 1 else f"{channels[0] + 1} to {channels[-1] + 1}"
        axes.set_title(literal(f"step {step + 1}: {name}"), fontsize=SMALL_SIZE, color=DARK_GREY)
    more = "" if shown == len(positions) else f", the first {shown} of them"
    own = " on a scale of its own" if scale is None else ""
    set_heading(figure, f"{heading}, each step whole channels{own}{more}")
    return figure


def _join_channels(channels: np.ndarray, scale: np.ndarray | None) -> np.ndarray:
    """Tiles the channels into a picture that is nearly square, scaled to 0..1; empty tiles are nan.

    ``scale`` holds the values that set a common scale. Without it the step has a scale of its own, because a strong
    channel elsewhere would make it black. Values that are the same everywhere become grey.
    """
    scale = channels if scale is None else scale
    spread = float(np.ptp(scale))
    scaled = (channels - scale.min()) / spread if spread else np.full(channels.shape, 0.5)
    height, width, count = channels.shape
    columns = min(count, max(1, round(math.sqrt(count * height / width))))
    rows = -(-count // columns)
    cells = np.full((rows * columns, height, width), np.nan)
    cells[:count] = np.moveaxis(scaled, -1, 0)
    return cells.reshape(rows, columns, height, width).transpose(0, 2, 1, 3).reshape(rows * height, columns * width)
