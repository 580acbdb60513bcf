"""Pictures of maps on their images."""

import numpy as np
import pytest

from keras_lnn.plots.explanations import lay_map, plot_explained_examples, plot_explanation, scale_map
from keras_lnn.plots.style import BLUE, VERMILLION

GREY = np.full((6, 8, 1), 100, np.uint8)


def test_an_image_stays_grey_where_nothing_counts_and_takes_the_colour_where_most_does():
    scaled = np.zeros((6, 8))
    scaled[2, 3] = 1
    drawn = lay_map(GREY, scaled)
    assert (drawn[0, 0] == 100).all()
    red, green, blue = drawn[2, 3].astype(int)
    assert min(red, green) > blue + 60  # yellow


def test_a_map_is_scaled_to_its_strongest_points_without_what_speaks_against():
    values = np.array([[-5.0, 0, 1], [2, 4, -0.5]])
    scaled = scale_map(values)
    assert (scaled[values <= 0] == 0).all()
    assert scaled.max() == 1
    assert scaled[1, 0] == pytest.approx(0.5, rel=0.02)
    assert (scale_map(-np.ones((2, 2))) == 0).all()


def test_examples_of_one_kind_stand_together_beside_their_maps_in_the_colour_of_right_or_wrong():
    maps = [point_map(6, 8)] * 3
    about = (["1.png", "2.png", "3.png"], ["a", "b $1", "a"], ["a", "a", "a"], ["worst", "worst", "best"])
    figure = plot_explained_examples([GREY] * 3, maps, *about)
    texts = [text.get_text() for text in figure.texts]
    assert texts[1:] == ["worst", "best"]
    panels = figure.axes
    assert [len(axes.images) for axes in panels] == [1] * 6
    assert panels[1].images[0].get_array().shape == (6, 8, 3)
    found = [(axes.get_xlabel(), axes.xaxis.label.get_color()) for axes in panels[1::2]]
    assert found == [("predicted: a", BLUE), ("predicted: a", VERMILLION), ("predicted: a", BLUE)]


def point_map(*shape):
    values = np.zeros(shape, np.float32)
    values[tuple(side // 2 for side in shape)] = 1
    return values


def pictures_of(figure):
    return [axes for axes in figure.axes if axes.images]


def test_an_image_stands_beside_its_maps_with_a_cross_at_the_strongest_point():
    figure = plot_explanation(GREY, {"a": point_map(6, 8), "b $1": np.zeros((6, 8))}, "title")
    image, first, empty = pictures_of(figure)
    assert not image.lines
    assert [line.get_xydata().tolist() for line in first.lines] == [[[4, 3]], [[4, 3]]]
    assert not empty.lines
    figure.draw_without_rendering()


def test_slices_of_a_volume_meet_in_the_strongest_point():
    volume = np.arange(5 * 6 * 8, dtype=np.uint8).reshape(5, 6, 8, 1)
    figure = plot_explanation(volume, {"a": point_map(5, 6, 8)}, "title")
    drawn = pictures_of(figure)
    assert len(drawn) == 6
    wanted = (volume[2], volume[:, 3], volume[:, :, 4])
    for axes, pixels in zip(drawn[:3], wanted, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), pixels[..., 0])
    assert any(axes.get_ylabel() == "share of the map" for axes in figure.axes)


def test_frames_have_their_times_and_padded_ones_are_left_out():
    frames, times = np.zeros((12, 6, 8, 1), np.uint8), np.arange(12.0)
    times[10:] = np.nan
    values = np.zeros((12, 6, 8), np.float32)
    values[5, 1, 1] = 1
    figure = plot_explanation(frames, {"a": values}, "title", times, "minutes")
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert len(titles) <= 8
    assert titles[0] == "0 minutes"
    assert titles[-1] == "9 minutes"
    assert "5 minutes" in titles  # that of the strongest point
