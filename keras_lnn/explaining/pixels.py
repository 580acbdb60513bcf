"""Maps from the pixels themselves: integrated gradients and occlusion, which any network has."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.ndimage import gaussian_filter

from keras_lnn.explaining.subject import Subject
from keras_lnn.saved.predictor import batch_size_for

# Steps of the integral, at the middle of each.
_STEPS = 24
# Windows of occlusion along a side of an image and of a volume, and their width in steps from one to the next.
_WINDOWS, _WINDOWS_OF_VOLUMES = 14, 7
_WIDTH = 0.625


def integrated_gradients(subject: Subject, inputs: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Returns integrated gradients from a black image to the image, summed over the channels; they have a sign.

    Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", 2017. The sum of a map is the difference of
    what is explained between the image and the black image, but for the error of the integral.
    """
    images, *others = inputs
    total = np.zeros_like(images)
    for step in range(_STEPS):
        total += subject.pixel_gradients([images * np.float32((step + 0.5) / _STEPS), *others], weights)
    return (total / _STEPS * images).sum(axis=-1)


def blur(images: np.ndarray) -> np.ndarray:
    """Returns images without their details: blurred by a sixth of their side, each channel and slice on its own."""
    width = max(images.shape[-3:-1]) / 6
    return gaussian_filter(images, (*(0,) * (images.ndim - 3), width, width, 0), mode="nearest")


def mean_of(images: np.ndarray) -> np.ndarray:
    """Returns the mean of each channel of each image, of the same number of axes."""
    return images.mean(axis=tuple(range(1, images.ndim - 1)), keepdims=True)


def occlusion(subject: Subject, inputs: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Returns by how much the logits fall when the surroundings of a pixel are blurred, on average; it has a sign.

    Zeiler and Fergus, "Visualizing and understanding convolutional networks", 2014, with what Fong and Vedaldi,
    "Interpretable explanations of black boxes by meaningful perturbation", 2017, put into the place of grey squares:
    windows without edges, in which the image is blurred. A square is itself something to see, and on a bright image a
    grey one looks like a lesion. In images and in the frames of series 14 windows a side follow each other, in volumes
    seven. The frames of a series are blurred one at a time.
    """
    images, *others = inputs
    before, missing = subject.scores(inputs, weights), blur(images) - images
    total, count = np.zeros(images.shape[:-1], np.float32), np.zeros(images.shape[1:-1], np.float32)
    windows = _list_windows(images.shape[1:-1], is_series=bool(others))
    # A few images alone would leave most of a batch empty. All batches are of one size, for which the network is
    # compiled once.
    count_all, most = count_windows(images.shape[1:], bool(others)), batch_size_for(images.shape[1:]) // len(images)
    together = max(size for size in range(1, max(most, 1) + 1) if count_all % size == 0)
    while some := list(itertools.islice(windows, together)):
        hidden = np.concatenate([images + missing * window[..., None] for window in some])
        inputs = [hidden, *(np.concatenate([values] * len(some)) for values in others)]
        scores = subject.scores(inputs, np.concatenate([weights] * len(some))).reshape(len(some), -1)
        for window, after in zip(some, scores, strict=True):
            total += (before - after).reshape(-1, *(1,) * (images.ndim - 2)) * window
            count += window
    return total / count


def count_windows(image_shape: Sequence[int], is_series: bool) -> int:
    """Returns how many predictions occlusion takes for one image.

    Args:
        image_shape: Its shape, with channels.
        is_series: Whether it is a series of frames.
    """
    return math.prod(len(windows) for windows in _windows_along(image_shape[:-1], is_series))


def _list_windows(sides: Sequence[int], is_series: bool) -> Iterator[np.ndarray]:
    """Yields the weight of each pixel in each window, products of Gaussian functions along the axes."""
    for windows in itertools.product(*_windows_along(sides, is_series)):
        yield functools.reduce(np.multiply.outer, windows)


def _windows_along(sides: Sequence[int], is_series: bool) -> list[np.ndarray]:
    """Returns the weight of each pixel in each window along each axis, (windows, pixels)."""
    most = _WINDOWS_OF_VOLUMES if len(sides) == 3 and not is_series else _WINDOWS
    along = []
    for axis, side in enumerate(sides):
        if is_series and axis == 0:
            along.append(np.eye(side, dtype=np.float32))
            continue
        step = max(1.0, side / most)
        centres = np.arange(step / 2, side, step) - 0.5
        distances = (np.arange(side) - centres[:, None]) / (_WIDTH * step)
        along.append(np.exp(-(distances**2) / 2).astype(np.float32))
    return along
