"""Masks drawn on images."""

import numpy as np
from scipy import ndimage

from keras_lnn.plots.overlays import lay_on


def test_the_border_is_what_an_erosion_takes_away():
    mask = np.random.default_rng(4).random((40, 50)) > 0.2
    mask[:, :3] = True
    drawn = lay_on(np.zeros((40, 50, 1), np.uint8), mask.astype(np.uint8), ["#000000", "#ffffff"])
    border = mask & ~ndimage.binary_erosion(mask)
    np.testing.assert_array_equal((drawn == 255).all(axis=-1), border)
    large = np.zeros((600, 600), np.uint8)
    large[100:300, 0:200] = 1
    drawn = lay_on(np.zeros((600, 600, 1), np.uint8), large, ["#000000", "#ffffff"])
    inner = ndimage.binary_erosion(large, iterations=2)
    np.testing.assert_array_equal((drawn == 255).all(axis=-1), (large > 0) & ~inner)
