"""Building blocks of the embedded synthetic data, with results that are the same bytes on every platform.

Only additions, multiplications, divisions and square roots of single elements are applied to uniform random numbers:
IEEE 754 fixes each of their results to the last bit, unlike sums of whole arrays, matrix products, exponentials or
fused filters.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

import numpy as np

from keras_lnn.data.arrays import SPLITS, Split


def make_generator(seed: int, stream: int) -> np.random.Generator:
    """Returns a generator of random numbers for an independent stream."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, stream])))


def checksum_of(splits: Mapping[str, Split]) -> str:
    """Returns the checksum of all images and labels."""
    digest = hashlib.sha256()
    for name in SPLITS:
        images, series = splits[name].images, splits[name].series
        if series is not None:
            digest.update(series.frame_times.astype("<f8").tobytes() + series.lengths.astype("<i8").tobytes())
            images = series.frames
        digest.update(np.ascontiguousarray(images).tobytes())
        digest.update(splits[name].labels.astype("<i8").tobytes())
    return f"sha256:{digest.hexdigest()}"


def uniform(generator: np.random.Generator, low: float, high: float, *shape: int) -> np.ndarray:
    """Returns uniform random numbers."""
    # Generator.uniform does this in compiled code, where a compiler may fuse the two operations with one rounding.
    return low + (high - low) * generator.random(shape)


def blend(low: np.ndarray | float, high: np.ndarray | float, share: np.ndarray | float) -> np.ndarray:
    """Interpolates from low to high by a share between 0 and 1."""
    return np.asarray(low + (high - low) * share)


def as_bytes(brightness: np.ndarray) -> np.ndarray:
    """Converts brightness 0..1 to pixel values."""
    return (np.clip(brightness, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def smooth_noise(generator: np.random.Generator, shape: tuple[int, ...], widths: tuple[int, ...]) -> np.ndarray:
    """Returns correlated noise of zero mean and unit variance: uniform noise under a triangular window along each axis.

    Args:
        generator: Source of the random numbers.
        shape: (samples, ...) of the result.
        widths: Half the support of the window on each axis after the first; 1 leaves the axis unchanged.
    """
    grown = [size + 2 * (width - 1) for size, width in zip(shape[1:], widths, strict=True)]
    noise = generator.random((shape[0], *grown)) - 0.5
    variance = 1.0 / 12.0
    for axis, width in enumerate(widths, start=1):
        for _ in range(2):
            noise = moving_sum(noise, width, axis)
        variance *= width * (2 * width * width + 1) / 3.0
    return noise / math.sqrt(variance)


def moving_sum(values: np.ndarray, width: int, axis: int) -> np.ndarray:
    """Returns the sums of neighbours along an axis, added one after another."""
    length = values.shape[axis] - width + 1
    before = (slice(None),) * axis
    total = values[(*before, slice(0, length))].copy()
    for start in range(1, width):
        total += values[(*before, slice(start, start + length))]
    return total
