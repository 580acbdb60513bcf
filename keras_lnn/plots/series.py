"""Series of images in time: strips of their frames, and how predictions develop from frame to frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_lnn.data.arrays import SeriesArray
from keras_lnn.errors import InputError
from keras_lnn.fields.values import name_steps
from keras_lnn.plots.arguments import Predictions, check_predictions
from keras_lnn.plots.sheet import IMAGES_IN_A_ROW, Cell
from keras_lnn.plots.style import (
    BLACK,
    DARK_GREY,
    GREY,
    LABEL_SIZE,
    PALETTE,
    new_figure,
    set_heading,
    shorten_name,
    style_axes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FRAME_INCHES = 1.0
_MOST_CLASSES = len(PALETTE)
# So many right and so many wrong series are drawn by themselves.
_OF_A_KIND = 3
# So many points in time are enough for smooth curves.
_POINTS = 200
_MIDDLE_HALF = (25, 75)


def frame_cells(
    frames: np.ndarray, times: np.ndarray, unit: str, *, above: str = "", below: str = "", colour: str = DARK_GREY
) -> list[Cell]:
    """Returns the frames of one series as a row of a sheet, each with its time; of many frames eight, spread evenly.

    Args:
        frames: uint8 (steps, height, width, channels).
        times: Times of the frames (steps,), NaN where there is no frame.
        unit: The unit of the times.
        above: Line above the time of the first frame.
        below: Text below the row.
        colour: Colour of the text below.
    """
    length = int(np.isfinite(times).sum())
    chosen = np.unique(np.linspace(0, length - 1, min(length, IMAGES_IN_A_ROW)).round().astype(int))
    # The heading says the unit too; there is no room for it above every frame.
    words = [_describe_time(times[place]) for place in chosen]
    words[0] = "\n".join(filter(None, [above, f"{words[0]} {unit}"]))
    first = Cell(frames[chosen[0]], words[0], below, colour, begins_row=True)
    return [first, *(Cell(frames[place], text) for place, text in zip(chosen[1:], words[1:], strict=True))]


def describe_strips(series: SeriesArray) -> str:
    """Returns the note that a heading adds where rows are series."""
    some = f" (at most {IMAGES_IN_A_ROW} of each)" if series.steps > IMAGES_IN_A_ROW else ""
    return f", a row of frames{some} with {name_steps(series.unit)}s in {series.unit}"


def plot_course(
    truth: Any,
    courses: np.ndarray,
    times: np.ndarray,
    unit: str,
    task: str,
    class_names: Sequence[str],
    thresholds: Sequence[float] | None = None,
    positive_class: str | None = None,
    brightness: np.ndarray | None = None,
) -> Figure:
    """Draws how the probability of a class develops while the frames of series arrive.

    On the left some right and some wrong series, with a mark at each frame; on the right for each true class the mean
    over all series and the range of their middle half. A series keeps the prediction after its last frame. Where it is
    given, the brightness of the series on the left is drawn beside them.

    Args:
        truth: Class indices (series,), or 0/1 (series, labels).
        courses: Probabilities after each frame, (series, steps, classes or labels), NaN where there is no frame.
        times: Times of the frames (series, steps), NaN where there is no frame.
        unit: The unit of the times.
        task: ``binary``, ``multi-class``, ``ordinal`` or ``multi-label``.
        class_names: One name per class or label.
        thresholds: Decision thresholds of two classes or of several labels; 0.5 if not given.
        positive_class: For a binary task, the class whose probability is drawn; the second one if not given.
        brightness: Pixel values (series, steps) at the place of each series that is followed, NaN where there is no
            frame.

    Returns:
        The figure.

    Raises:
        InputError: If the arguments do not fit together.
    """
    if courses.shape != (*times.shape, len(class_names)):
        raise InputError(
            f"courses must be (series, steps, classes) with times (series, steps). Received: {courses.shape} and "
            f"{times.shape} for {len(class_names)} classes. Give those of the same series."
        )
    last = np.isfinite(times).sum(axis=1) - 1
    final = courses[np.arange(len(courses)), last]
    found = check_predictions(truth, final, task, class_names, thresholds, positive_class)
    figure = new_figure(9.4 if brightness is None else 12.6, 4.0)
    single, means, *others = figure.subplots(1, 2 if brightness is None else 3)
    means.sharey(single)
    means.tick_params(labelleft=False)
    rows = _choose(found)
    _draw_series(single, found, courses, times, rows)
    _draw_means(means, found, courses, times)
    if brightness is not None:
        _draw_brightness(others[0], found, brightness, times, rows)
        style_axes(others[0], "brightness where it changes most", f"{name_steps(unit)} in {unit}", "pixel value")
    style_axes(single, f"{len(rows)} of them", f"{name_steps(unit)} in {unit}", _describe_probability(found))
    style_axes(means, "each true class: mean, and its middle half", f"{name_steps(unit)} in {unit}")
    single.set_ylim(-0.02, 1.02)
    set_heading(figure, f"Predictions while the frames of {len(times)} test series arrive")
    return figure


def _choose(found: Predictions) -> np.ndarray:
    """Returns some right and some wrong series, spread evenly over the classes."""
    right = found.predicted == found.truth
    right = right.all(axis=1) if found.is_multi_label else right
    # By class, so that the spread goes over all classes.
    order = np.arange(len(right)) if found.is_multi_label else np.argsort(found.truth, kind="stable")
    kinds = [order[right[order]], order[~right[order]]]
    spread = [np.linspace(0, len(kind) - 1, min(_OF_A_KIND, len(kind))).round().astype(int) for kind in kinds]
    return np.concatenate([kind[places] for kind, places in zip(kinds, spread, strict=True)])


def _describe_probability(found: Predictions) -> str:
    if found.is_multi_label:
        return "probability of a label that is present"
    if found.task == "binary":
        return f"probability of {next(found.one_against_rest())[0]}"
    return "probability of the true class"


def _classes_drawn(found: Predictions) -> dict[int, tuple[np.ndarray, int]]:
    """Returns for each true class its series, and the column of probabilities that is drawn of them."""
    positive = found.class_names.index(next(found.one_against_rest())[0])
    drawn = {}
    for place in range(min(len(found.class_names), _MOST_CLASSES)):
        members = found.truth[:, place] == 1 if found.is_multi_label else found.truth == place
        if members.any():
            drawn[place] = (np.flatnonzero(members), positive if found.task == "binary" else place)
    return drawn


def _draw_series(axes: Axes, found: Predictions, courses: np.ndarray, times: np.ndarray, rows: np.ndarray) -> None:
    """Draws single series: solid lines are of right predictions, dashed ones of wrong ones."""
    from matplotlib.lines import Line2D

    predicted, styles = found.predicted, set()
    for place, (members, column) in _classes_drawn(found).items():
        for row in np.intersect1d(members, rows):
            right = bool(np.all(predicted[row] == found.truth[row]))
            style = "-" if right else "--"
            styles.add(style)
            axes.plot(times[row], courses[row, :, column], style, color=PALETTE[place], marker="o", markersize=3.2)
    if found.task == "binary":
        level = 0.5 if found.thresholds is None else found.thresholds[next(iter(_classes_drawn(found).values()))[1]]
        axes.axhline(level, color=GREY, linewidth=0.9, linestyle=":")
    handles = []
    if "-" in styles:
        handles.append(Line2D([], [], color=BLACK, linestyle="-", label="right at the end"))
    if "--" in styles:
        handles.append(Line2D([], [], color=BLACK, linestyle="--", label="wrong at the end"))
    if found.task == "binary":
        handles.append(Line2D([], [], color=GREY, linestyle=":", label="threshold"))
    _add_legend(axes, handles)


def _draw_brightness(
    axes: Axes, found: Predictions, brightness: np.ndarray, times: np.ndarray, rows: np.ndarray
) -> None:
    """Draws the brightness of the same single series, in the colours and styles of :func:`_draw_series`."""
    for place, (members, _) in _classes_drawn(found).items():
        for row in np.intersect1d(members, rows):
            style = "-" if np.all(found.predicted[row] == found.truth[row]) else "--"
            axes.plot(times[row], brightness[row], style, color=PALETTE[place], marker="o", markersize=3.2)


def _draw_means(axes: Axes, found: Predictions, courses: np.ndarray, times: np.ndarray) -> None:
    """Draws for each true class the mean probability at each time, and the range of the middle half of its series."""
    moments = np.linspace(0, np.nanmax(times), _POINTS)
    # The last frame that has arrived at each moment; later frames and missing ones have not.
    latest = (times[:, :, None] <= moments).sum(axis=1) - 1
    values = np.take_along_axis(courses, latest[:, :, None], axis=1)
    handles = []
    for place, (members, column) in _classes_drawn(found).items():
        curves, colour = values[members, :, column], PALETTE[place]
        low, high = np.percentile(curves, _MIDDLE_HALF, axis=0)
        axes.fill_between(moments, low, high, color=colour, alpha=0.16, linewidth=0)
        label = f"{shorten_name(found.class_names[place], 28)} ({len(members)})"
        handles += axes.plot(moments, curves.mean(axis=0), color=colour, linewidth=1.8, label=label)
    _add_legend(axes, handles)


def _add_legend(axes: Axes, handles: list[Any]) -> None:
    """Puts a legend below a panel, where it covers no line."""
    axes.legend(
        handles=handles,
        fontsize=LABEL_SIZE - 1,
        frameon=False,
        ncols=3,
        loc="upper left",
        bbox_to_anchor=(-0.02, -0.16),
    )


def _describe_time(time: float) -> str:
    return f"{time:.3g}" if time < 1000 else f"{time:,.0f}"
