"""The brightness of series of images over time, at the place where it changes most, such as a lesion's."""

from __future__ import annotations

import numpy as np

from keras_lnn.data.arrays import SeriesArray

# Side of the square of pixels whose mean brightness is followed, which noise of single pixels hardly moves.
_SIDE = 3


def follow_brightness(series: SeriesArray) -> np.ndarray:
    """Returns the mean brightness of a few pixels after each frame, at the place of each series where it changes most.

    Args:
        series: The series.

    Returns:
        Pixel values, float64 (series, steps), NaN where there is no frame.
    """
    from scipy.ndimage import uniform_filter

    found = np.full((len(series), series.steps), np.nan)
    for row, length in enumerate(series.lengths):
        frames = series[row][:length].astype(np.float64).mean(axis=-1)
        smooth = uniform_filter(frames, size=(0, _SIDE, _SIDE))
        place = np.unravel_index(np.argmax(smooth.std(axis=0)), smooth.shape[1:])
        found[row, :length] = smooth[(slice(None), *place)]
    return found
