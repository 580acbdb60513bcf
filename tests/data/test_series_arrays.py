"""Series of images as an array: padded when they are read, with times, in parts, and as inputs of a network."""

import dataclasses

import numpy as np
import pytest
from tiny_series import make_series_data

from keras_lnn.data.arrays import SeriesArray, network_inputs
from keras_lnn.data.splitting import take_samples

TIMES = [np.array([5.0, 6.0, 9.0]), np.array([2.0]), np.array([0.0, 0.5])]


@pytest.fixture
def series() -> SeriesArray:
    """Three series of 3, 1 and 2 frames, whose pixels count upwards, padded to 4."""
    frames = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 3, 1), np.uint8)
    return SeriesArray.join([frames[:3], frames[3:4], frames[4:]], TIMES, "minutes", steps=4)


PADDED = [[0, 1, 2, 2], [3, 3, 3, 3], [4, 5, 5, 5]]


def test_it_has_the_shape_of_padded_series(series):
    assert series.shape == (3, 4, 2, 3, 1)
    assert series.dtype == np.uint8
    assert len(series) == 3
    assert SeriesArray.join([series.frames[:3]], TIMES[:1], "days").steps == 3


@pytest.mark.parametrize(
    "rows", [0, -1, slice(None), slice(1, 3), slice(None, None, -1), [2, 0, 2], np.array([True, False, True])]
)
def test_the_last_frame_is_repeated_up_to_the_end_whatever_rows_are_read(series, rows):
    expected = np.array(PADDED)[rows]
    found = series[rows]
    assert found.shape == (*expected.shape, 2, 3, 1)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.broadcast_to(expected[..., None, None, None], found.shape))


def test_times_begin_at_0_and_are_missing_where_there_is_no_frame(series):
    nan = np.nan
    expected = np.array([[0, 1, 4, nan], [0, nan, nan, nan], [0, 0.5, nan, nan]])
    np.testing.assert_array_equal(series.times(), expected)
    for rows in (1, slice(0, 2), np.array([2, 0])):
        np.testing.assert_array_equal(series.times(rows), expected[rows])


def test_series_are_read_with_another_number_of_steps(series):
    shorter = dataclasses.replace(series.take([0, 2]), lengths=np.array([2, 2]), steps=2)
    np.testing.assert_array_equal(shorter[:][..., 0, 0, 0], [[0, 1], [4, 5]])
    np.testing.assert_array_equal(shorter.times(0), [0, 1])
    longer = dataclasses.replace(series, steps=6)
    np.testing.assert_array_equal(longer[1][..., 0, 0, 0], [3] * 6)
    np.testing.assert_array_equal(longer.times(1), [0, *[np.nan] * 5])


def test_each_frame_is_read_once():
    class Counting:
        shape, dtype, read = (2, 1, 1, 1), np.uint8, 0

        def __getitem__(self, rows):
            self.read += len(rows)
            return np.zeros((len(rows), 1, 1, 1), np.uint8)

    frames = Counting()
    series = SeriesArray(frames, np.array([0]), np.array([2]), np.array([0.0, 1.0]), 9, "s")
    assert series[[0, 0, 0]].shape == (3, 9, 1, 1, 1)
    assert frames.read == 2


def test_a_part_shares_its_frames_with_the_whole(series):
    part = series.take(np.array([2, 1]))
    assert part.frames is series.frames
    np.testing.assert_array_equal(part[:], series[[2, 1]])
    np.testing.assert_array_equal(part.times(), series.times([2, 1]))
    assert (part.steps, part.unit) == (4, "minutes")


def test_a_network_reads_pixels_and_times_of_a_batch(series):
    pixels, times = network_inputs(series, slice(0, 2))
    np.testing.assert_array_equal(pixels, series[:2])
    assert pixels.flags.c_contiguous
    assert times.dtype == np.float32
    np.testing.assert_array_equal(times, series.times(slice(0, 2)).astype(np.float32))
    (alone,) = network_inputs(np.zeros((5, 2, 2, 1), np.uint8), slice(0, 2))
    assert alone.shape == (2, 2, 2, 1)


def test_a_part_of_a_split_has_its_series_and_labels():
    data = make_series_data()
    split = data.splits["train"]
    assert data.series is split.images
    assert data.image_shape == split.images.shape[1:] == (6, 12, 12, 1)
    rows = np.array([7, 3, 0])
    part = take_samples(split, rows)
    assert isinstance(part.images, SeriesArray)
    np.testing.assert_array_equal(part.images[:], split.images[rows])
    np.testing.assert_array_equal(part.images.times(), split.images.times(rows))
    np.testing.assert_array_equal(part.labels, split.labels[rows])
