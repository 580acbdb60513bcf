"""Images and volumes as sequences: every value where it belongs."""

import keras
import numpy as np
import pytest

from keras_lnn.layers import apply_to_slices, channels_as_steps


def test_channels_are_the_steps():
    maps = np.arange(2 * 2 * 2 * 6, dtype=np.float32).reshape(2, 2, 2, 6)
    sequence = keras.ops.convert_to_numpy(channels_as_steps(maps, 3))
    assert sequence.shape == (2, 3, 8)
    # A step holds two whole channels, one behind the other, each row by row.
    for step in range(3):
        expected = np.concatenate([maps[0, :, :, 2 * step].ravel(), maps[0, :, :, 2 * step + 1].ravel()])
        np.testing.assert_array_equal(sequence[0, step], expected)


def test_steps_must_divide_the_channels():
    with pytest.raises(ValueError, match=r"divide the 6 channels\. Received: 4"):
        channels_as_steps(np.zeros((1, 2, 2, 6), np.float32), 4)


def test_every_slice_goes_through_the_same_block():
    inputs = keras.Input((3, 4, 4, 1))
    convolution = keras.layers.Conv2D(2, 3)
    model = keras.Model(inputs, apply_to_slices(convolution, inputs))
    volumes = np.random.default_rng(0).normal(size=(5, 3, 4, 4, 1)).astype(np.float32)
    outputs = model.predict(volumes, verbose=0)
    assert outputs.shape == (5, 3, 2, 2, 2)
    for depth in range(3):
        np.testing.assert_allclose(outputs[:, depth], convolution(volumes[:, depth]), atol=1e-5)
