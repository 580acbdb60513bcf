"""Names beside points do not cover other elements."""

import itertools

import numpy as np
import pytest

from keras_lnn.plots.labelling import label_points
from keras_lnn.plots.style import new_figure


def label(points, names, spreads=None):
    figure = new_figure(7.0, 4.6)
    axes = figure.subplots()
    axes.plot(*points.T, "o")
    axes.set(xlim=(0, 10), ylim=(0, 1))
    label_points(axes, points, names, spreads)
    return figure, axes


def boxes_of(figure, axes):
    figure.canvas.draw()
    # What get_window_extent gives for an annotation holds its line too.
    return [super(type(text), text).get_window_extent(figure.canvas.get_renderer()) for text in axes.texts]


@pytest.mark.parametrize("crowd", [False, True])
def test_names_cover_neither_each_other_nor_points(crowd):
    generator = np.random.default_rng(0)
    points = generator.random((12, 2)) * [9, 0.8] + [0.5, 0.1]
    if crowd:
        points[:8] = [5, 0.5] + 0.03 * generator.random((8, 2))
    names = [f"network-{number}-of-many" for number in range(12)]
    figure, axes = label(points, names)
    assert sorted(text.get_text() for text in axes.texts) == sorted(names)
    boxes = boxes_of(figure, axes)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    places = axes.transData.transform(points)
    assert not any(box.contains(*place) for box in boxes for place in places)
    inside = axes.get_window_extent()
    assert all(inside.x0 <= box.x0 and box.x1 <= inside.x1 and box.y1 <= inside.y1 for box in boxes)
    far = [text for text in axes.texts if text.arrow_patch is not None]
    assert bool(far) == crowd


def test_names_do_not_cover_error_bars():
    figure, axes = label(np.array([[5.0, 0.5], [5.3, 0.5]]), ["first", "second"], np.array([0.3, 0.3]))
    bars = axes.transData.transform([(5.0, 0.5), (5.3, 0.5)])[:, 0]
    assert not any(box.x0 <= bar <= box.x1 for box in boxes_of(figure, axes) for bar in bars)


def test_one_point_has_its_name_beside_it():
    _, axes = label(np.array([[5.0, 0.5]]), ["only"])
    assert [text.get_text() for text in axes.texts] == ["only"]
