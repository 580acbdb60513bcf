"""Maps from the pixels themselves: integrated gradients and occlusion, which any network has."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter

from keras_lnn.explaining.subject import Subject

# Steps of the integral, at the middle of each.
_STEPS = 24
# An image's side has so many windows of occlusion, which overlap by half; a volume's so many beside each other.
_WINDOWS = 7
_SMALLEST_WINDOW = 2


def integrated_gradients(subject: Subject, inputs: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Returns integrated gradients from a black image to the image, summed over the channels; they have a sign.

    Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", 2017. The sum of a map is the difference of
    what is explained between the image and the black image, but for the error of the integral.
    """
    return _integrate(subject, inputs, weights, np.zeros_like(inputs[0])).sum(axis=-1)


def smooth_gradients(subject: Subject, inputs: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Returns the squares of integrated gradients from a blurred image, smoothed by a pixel; they are not negative.

    A black image hides what is dark, such as many lesions under ultrasound: a black pixel of the image never counts.
    From the blurred image on, a pixel counts by how far it differs from what is around it. Squares show the place
    better than amounts (Hooker et al., "A benchmark for interpretability methods in deep neural networks", 2019).
    """
    return smooth(_integrate(subject, inputs, weights, blur(inputs[0])).sum(axis=-1) ** 2)


def smooth(maps: np.ndarray) -> np.ndarray:
    """Returns maps (samples, ..., height, width) smoothed by a Gaussian window of a pixel, each slice on its own."""
    return gaussian_filter(maps, (0,) * (maps.ndim - 2) + (1, 1), mode="nearest")


def blur(images: np.ndarray) -> np.ndarray:
    """Returns images without their details: blurred by a sixth of their side, each channel and slice on its own."""
    width = max(images.shape[-3:-1]) / 6
    return gaussian_filter(images, (*(0,) * (images.ndim - 3), width, width, 0), mode="nearest")


def _integrate(subject: Subject, inputs: Sequence[np.ndarray], weights: np.ndarray, baseline: np.ndarray) -> np.ndarray:
    images, *others = inputs
    total = np.zeros_like(images)
    for step in range(_STEPS):
        between = baseline + (images - baseline) * np.float32((step + 0.5) / _STEPS)
        total += subject.pixel_gradients([between, *others], weights)
    return total / _STEPS * (images - baseline)


def occlusion(subject: Subject, inputs: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Returns by how much the logits fall when the windows around a pixel are hidden, on average; it has a sign.

    Zeiler and Fergus, "Visualizing and understanding convolutional networks", 2014. A window is filled with the mean
    of its image. Windows are a seventh of a side; in images and in the frames of series they overlap by half, in
    volumes they lie beside each other. The frames of a series are hidden one at a time.
    """
    images, *others = inputs
    before = subject.scores(inputs, weights)
    filling = images.mean(axis=tuple(range(1, images.ndim - 1)), keepdims=True)
    total, count = np.zeros(images.shape[:-1], np.float32), np.zeros(images.shape[1:-1], np.float32)
    for window in _list_windows(images.shape[1:-1], is_series=bool(others)):
        hidden = images.copy()
        hidden[:, *window] = filling
        fall = before - subject.scores([hidden, *others], weights)
        total[:, *window] += fall.reshape(-1, *(1,) * (images.ndim - 2))
        count[window] += 1
    return total / count


def _list_windows(sides: Sequence[int], is_series: bool) -> list[tuple[slice, ...]]:
    along = []
    for axis, side in enumerate(sides):
        if is_series and axis == 0:
            along.append([slice(frame, frame + 1) for frame in range(side)])
            continue
        size = min(side, max(_SMALLEST_WINDOW, round(side / _WINDOWS)))
        stride = size if len(sides) == 3 and not is_series else max(1, size // 2)
        starts = [*range(0, side - size, stride), side - size]
        along.append([slice(start, start + size) for start in starts])
    return list(itertools.product(*along))
