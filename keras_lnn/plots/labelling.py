"""Placement of names beside points, so that they cover neither each other nor the points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_lnn.plots.style import DARK_GREY, DOTS_PER_INCH, GREY, SMALL_SIZE, figure_of, literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The distances from the point, in pixels, that are tried; from _LINE_FROM on, a line connects the name to its point.
_DISTANCES = (10, 18, 28, 40, 54, 70, 90, 112, 140, 170)
_LINE_FROM = 20
_DIRECTIONS = 24
# Half the side of the square that a point occupies, and the margin around a name, in pixels.
_POINT, _BLANK = 7.0, 2.0


def label_points(axes: Axes, points: np.ndarray, names: Sequence[str], spreads: np.ndarray | None = None) -> None:
    """Writes a name beside each point, at the nearest free place; a line connects distant names to their points.

    This fixes the layout of the figure, so everything else must have been drawn before.

    Args:
        axes: The panel, with its final limits and scales.
        points: (points, 2), in data coordinates.
        names: One name per point.
        spreads: Half the length of the vertical error bar at each point, which is kept free too; None for no bars.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = figure_of(axes)
    figure.set_dpi(DOTS_PER_INCH)  # text does not scale exactly with the resolution, so it is measured at the final one
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    inside = axes.get_window_extent()
    places = axes.transData.transform(points)
    taken = [np.concatenate([place - _POINT, place + _POINT]) for place in places]
    for (x, y), spread in zip(points, np.zeros(len(points)) if spreads is None else spreads, strict=True):
        (left, low), (_, high) = axes.transData.transform([(x, y - spread), (x, y + spread)])
        taken.append(np.array([left - 1, low, left + 1, high]))
    # Crowded points come last, when the places around them are known.
    distance = np.sqrt(((places[:, None] - places[None]) ** 2).sum(axis=-1)) + 1e9 * np.eye(len(places))
    for row in np.argsort(-distance.min(axis=1), kind="stable") if len(places) > 1 else range(len(places)):
        x, y = points[row]
        text = axes.text(x, y, literal(names[row]), fontsize=SMALL_SIZE, color=DARK_GREY)
        box = text.get_window_extent(renderer)
        text.remove()
        size = (box.width + 2 * _BLANK, box.height + 2 * _BLANK)
        place, offset = _find_place(places[row], size, taken, np.array(inside.extents))
        taken.append(place)
        style = {"arrowstyle": "-", "color": GREY, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 2}
        axes.annotate(
            literal(names[row]),
            points[row],
            xytext=place[:2] + _BLANK - places[row],
            textcoords="offset pixels",
            fontsize=SMALL_SIZE,
            color=DARK_GREY,
            arrowprops=style if offset >= _LINE_FROM else None,
            zorder=5,
        ).set_in_layout(False)


def _find_place(
    point: np.ndarray, size: tuple[float, float], taken: Sequence[np.ndarray], inside: np.ndarray
) -> tuple[np.ndarray, float]:
    """Returns the box of a name (left, low, right, high) that covers least, preferring near ones, and its distance."""
    boxes = np.array(taken)
    best: tuple[float, np.ndarray, float] = np.inf, np.zeros(4), 0.0
    for distance in _DISTANCES:
        for turn in range(_DIRECTIONS):
            angle = 2 * np.pi * turn / _DIRECTIONS
            x, y = point + distance * np.array([np.cos(angle), np.sin(angle)])
            # The side of the name that faces the point lies at this place.
            left = x - size[0] * (1 - np.cos(angle)) / 2
            low = y - size[1] * (1 - np.sin(angle)) / 2
            box = np.array([left, low, left + size[0], low + size[1]])
            covered = _overlap(box, boxes).sum() + size[0] * size[1] - _overlap(box, inside[None])[0]
            if covered <= 0:
                return box, distance
            if covered < best[0]:
                best = covered, box, distance
    return best[1], best[2]


def _overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    return np.clip(sides, 0, None).prod(axis=1)
