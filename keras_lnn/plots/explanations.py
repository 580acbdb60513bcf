"""Pictures of what counted for a prediction: maps on the images that they are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_lnn.fields.values import name_steps
from keras_lnn.plots.samples import CAPTION_WIDTH, EXAMPLE_INCHES, name_file
from keras_lnn.plots.sheet import Block, Cell, draw_sheet
from keras_lnn.plots.style import (
    BLUE,
    DARK_GREY,
    GREY,
    LABEL_SIZE,
    SMALL_SIZE,
    VERMILLION,
    blank_axes,
    literal,
    new_figure,
    set_heading,
    style_axes,
    wrap_name,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Even steps of it look even, for any colour vision.
_COLOURS = "viridis"
# How much of the image the strongest point hides.
_COVER = 0.75
# A map is drawn at full strength from this share of its points on, so that one bright pixel does not hide the rest.
_FULL_FROM = 0.995
_MOST_FRAMES = 8
_PANEL_INCHES = 2.2


def scale_map(values: np.ndarray) -> np.ndarray:
    """Returns a map from 0 to 1 for drawing: what speaks against the target is 0, the strongest points are 1.

    Args:
        values: A map of any shape.
    """
    positive = np.maximum(values, 0)
    above = positive[positive > 0]
    # Of a map with a few points only, all of them are drawn at full strength.
    full = float(np.quantile(above, _FULL_FROM)) if len(above) else 0.0
    return np.minimum(positive / full, 1) if full > 0 else np.zeros(values.shape)


def lay_map(image: np.ndarray, scaled: np.ndarray) -> np.ndarray:
    """Returns an image in grey with a map in colour on it, uint8 (height, width, 3); the stronger, the less grey.

    Args:
        image: uint8 (height, width, 1 or 3).
        scaled: The map, 0 to 1, (height, width).
    """
    import matplotlib

    grey = np.repeat(image.astype(np.float64).mean(axis=-1, keepdims=True), 3, axis=-1)
    cover = _COVER * np.sqrt(scaled)[..., None]
    colours = matplotlib.colormaps[_COLOURS](scaled)[..., :3] * 255
    return np.rint((1 - cover) * grey + cover * colours).astype(np.uint8)


def plot_explanation(
    image: np.ndarray,
    maps: Mapping[str, np.ndarray],
    title: str,
    times: np.ndarray | None = None,
    unit: str = "",
) -> Figure:
    """Draws a sample with its maps.

    Images are drawn beside their maps. Of volumes three slices are drawn that meet in the strongest point, with the
    sum of each slice along the depth. Of series each frame is drawn, at most eight, with its time. A cross marks the
    strongest point.

    Args:
        image: uint8, (height, width, channels), or with an axis of slices or frames before them.
        maps: By name, of the shape of the image without channels; what is negative is not drawn.
        title: The heading.
        times: For a series the time of each frame, NaN where there is no frame; None for images and volumes.
        unit: The unit of the times.

    Returns:
        The figure.
    """
    if times is not None:
        figure, panels = _draw_frames(image, maps, times, unit)
    else:
        figure, panels = (_draw_image if image.ndim == 3 else _draw_slices)(image, maps)
    _draw_legend(figure, panels)
    set_heading(figure, title)
    return figure


def plot_explained_examples(
    images: Sequence[np.ndarray],
    maps: Sequence[np.ndarray],
    names: Sequence[str],
    truths: Sequence[str],
    predicted: Sequence[str],
    kinds: Sequence[str],
) -> Figure:
    """Draws images beside the maps of what counted for their predictions, those of one kind below each other.

    Args:
        images: uint8, (height, width, channels) each.
        maps: One map of each, (height, width).
        names: Captions of the images, such as their file names.
        truths: The true class or labels of each, in words.
        predicted: What is predicted for each, in words.
        kinds: What each is an example of, such as ``worst``; those of one kind follow each other.

    Returns:
        The figure.
    """
    blocks: dict[str, list[Cell]] = {}
    for image, values, name, truth, found, kind in zip(images, maps, names, truths, predicted, kinds, strict=True):
        below = [wrap_name(text, CAPTION_WIDTH, 4) for text in (f"truth: {truth}", f"predicted: {found}")]
        blocks.setdefault(kind, []).extend(
            (
                Cell(image, name_file(name), below[0]),
                Cell(lay_map(image, scale_map(values)), "", below[1], BLUE if truth == found else VERMILLION),
            )
        )
    sheet = [Block(kind, cells, "") for kind, cells in blocks.items()]
    return draw_sheet("Where the model looks (blue: right, orange: wrong)", sheet, EXAMPLE_INCHES)


def _show(axes: Axes, picture: np.ndarray, above: str = "", point: Sequence[int] | None = None) -> None:
    axes.imshow(picture[..., 0] if picture.shape[-1] == 1 else picture, cmap="gray", vmin=0, vmax=255)
    if point is not None:
        axes.plot([point[1]], [point[0]], "+", color="white", markersize=11, markeredgewidth=3)
        axes.plot([point[1]], [point[0]], "+", color=VERMILLION, markersize=10, markeredgewidth=1.4)
    blank_axes(axes)
    if above:
        axes.set_title(literal(above), fontsize=SMALL_SIZE + 0.5, color=DARK_GREY, pad=3)


def _point_of(values: np.ndarray) -> tuple[int, ...] | None:
    """Returns the strongest point of a map; None for an empty one."""
    if values.max() <= 0:
        return None
    return tuple(int(place) for place in np.unravel_index(values.argmax(), values.shape))


def _draw_image(image: np.ndarray, maps: Mapping[str, np.ndarray]) -> tuple[Figure, list[Axes]]:
    share = float(np.clip(image.shape[0] / image.shape[1], 0.4, 2.5))
    figure = new_figure(_PANEL_INCHES * (1 + len(maps)) + 0.6, _PANEL_INCHES * share + 0.9)
    first, *others = figure.subplots(1, 1 + len(maps), squeeze=False)[0]
    _show(first, image, "image")
    for axes, (name, values) in zip(others, maps.items(), strict=True):
        _show(axes, lay_map(image, scale_map(values)), name, _point_of(values))
    return figure, others


def _draw_slices(image: np.ndarray, maps: Mapping[str, np.ndarray]) -> tuple[Figure, list[Axes]]:
    figure = new_figure(_PANEL_INCHES * 4.4, _PANEL_INCHES * 2 * len(maps) + 0.9)
    grid = figure.subplots(2 * len(maps), 4, squeeze=False, width_ratios=(1, 1, 1, 1.15))
    drawn = []
    for place, (name, values) in enumerate(maps.items()):
        above, below = grid[2 * place : 2 * place + 2]
        point, scaled = _point_of(values), scale_map(values)
        depth, row, column = point or tuple(side // 2 for side in values.shape)
        slices: list[tuple[str, Any, tuple[int, int]]] = [
            (f"slice {depth + 1}", np.s_[depth], (row, column)),
            (f"row {row + 1}, along the depth", np.s_[:, row], (depth, column)),
            (f"column {column + 1}, along the depth", np.s_[:, :, column], (depth, row)),
        ]
        for axes, other, (words, cut, crossing) in zip(above, below, slices, strict=False):
            _show(axes, image[cut], words)
            _show(other, lay_map(image[cut], scaled[cut]), name, None if point is None else crossing)
            drawn.append(other)
        above[3].axis("off")
        _draw_course(below[3], values)
    return figure, drawn


def _draw_course(axes: Axes, values: np.ndarray) -> None:
    """Draws how much of a map each slice has."""
    sums = np.maximum(values, 0).sum(axis=(1, 2))
    total = sums.sum()
    axes.bar(np.arange(1, len(sums) + 1), sums / total if total > 0 else sums, color=BLUE, width=0.85)
    style_axes(axes, x_label="slice", y_label="share of the map")
    axes.locator_params(axis="x", integer=True)


def _draw_frames(
    image: np.ndarray, maps: Mapping[str, np.ndarray], times: np.ndarray, unit: str
) -> tuple[Figure, list[Axes]]:
    frames = np.flatnonzero(np.isfinite(times))
    points = {name: _point_of(values) for name, values in maps.items()}
    shown = _choose_frames(frames, [point[0] for point in points.values() if point is not None])
    share = float(np.clip(image.shape[1] / image.shape[2], 0.4, 2.5))
    width = max(1.2 * len(shown) + 1.2, 5.0)
    figure = new_figure(width, 1.1 * share * (1 + len(maps)) + 1.0)
    first, *others = figure.subplots(1 + len(maps), len(shown), squeeze=False)
    for axes, frame in zip(first, shown, strict=True):
        _show(axes, image[frame], f"{times[frame]:.4g} {unit}")
    for row, (name, values) in zip(others, maps.items(), strict=True):
        scaled, point = scale_map(values), points[name]
        for axes, frame in zip(row, shown, strict=True):
            is_strongest = point is not None and point[0] == frame
            _show(axes, lay_map(image[frame], scaled[frame]), "", point[1:] if point and is_strongest else None)
        row[0].set_ylabel(literal(name), fontsize=SMALL_SIZE, color=DARK_GREY)
    if len(shown) < len(frames):
        note = f"{len(shown)} of {len(frames)} frames, spread over the {name_steps(unit)}s"
        figure.text(0.01, 0.005, note, fontsize=SMALL_SIZE, color=DARK_GREY)
    return figure, [axes for row in others for axes in row]


def _choose_frames(frames: np.ndarray, wanted: Sequence[int]) -> np.ndarray:
    """Returns at most eight frames, spread evenly, with those of the strongest points among them."""
    if len(frames) <= _MOST_FRAMES:
        return frames
    wanted = list(dict.fromkeys(wanted))[: _MOST_FRAMES // 2]
    even = frames[np.linspace(0, len(frames) - 1, _MOST_FRAMES - len(wanted)).round().astype(int)]
    return np.unique([*even, *wanted])


def _draw_legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """Draws the scale of the colours as they are on an image of middle grey."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    levels = np.linspace(0, 1, 256)
    colours = lay_map(np.full((1, 256, 1), 128, np.uint8), levels[None])[0] / 255
    bar = figure.colorbar(
        ScalarMappable(Normalize(0, 1), ListedColormap(colours)), ax=list(panels), shrink=0.85, pad=0.015, aspect=25
    )
    bar.set_ticks([0, 1], labels=["none", "most"])
    bar.set_label("how much it counts", fontsize=LABEL_SIZE, color=DARK_GREY)
    bar.ax.tick_params(labelsize=SMALL_SIZE, color=GREY)
