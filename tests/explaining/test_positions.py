"""Positions of the cells of feature maps, and interpolation between them."""

import keras
import numpy as np
import pytest

from keras_lnn.explaining.positions import Axis, axes_after, interpolate


def after(layer, side, cells):
    return axes_after(layer, (Axis(side), Axis(side)), (cells, cells))[0]


@pytest.mark.parametrize(
    ("layer", "cells", "start", "step"),
    [
        (keras.layers.Conv2D(1, 3), 26, 1.0, 1.0),
        (keras.layers.Conv2D(1, 3, padding="same"), 28, 0.0, 1.0),
        (keras.layers.Conv2D(1, 5, dilation_rate=2), 20, 4.0, 1.0),
        (keras.layers.Conv2D(1, 3, 2, padding="same"), 14, 1.0, 2.0),
        (keras.layers.MaxPooling2D(2), 14, 0.5, 2.0),
        (keras.layers.ZeroPadding2D(2), 32, -2.0, 1.0),
        (keras.layers.Cropping2D(3), 22, 3.0, 1.0),
        (keras.layers.UpSampling2D(2), 56, -0.25, 0.5),
        (keras.layers.ReLU(), 28, 0.0, 1.0),
    ],
)
def test_cells_lie_at_the_centres_of_the_windows_that_they_see(layer, cells, start, step):
    assert after(layer, 28, cells) == Axis(cells, start, step)


def test_a_window_over_a_ramp_gives_its_centre():
    # The mean over a window of a ramp is the position of the window's centre: an independent way to the positions.
    ramp = np.broadcast_to(np.arange(20, dtype=np.float32), (1, 20, 20))[..., None]
    layer = keras.layers.AveragePooling2D(3, 2)
    seen = keras.ops.convert_to_numpy(layer(ramp))[0, 0, :, 0]
    np.testing.assert_allclose(after(layer, 20, len(seen)).centres(), seen)


def test_interpolation_is_linear_between_centres_and_constant_beyond_them():
    maps = np.array([[[0.0, 4.0]]])
    found = interpolate(maps, (Axis(1), Axis(2, 0.5, 2.0)), (Axis(1), Axis(4)))
    np.testing.assert_allclose(found, [[[0.0, 1.0, 3.0, 4.0]]])


def test_slices_that_are_read_one_by_one_leave_the_axis_of_depth():
    axes = axes_after(keras.layers.ReLU(), (Axis(5), Axis(8), Axis(8)), (8, 8))
    assert axes == (Axis(8), Axis(8))
