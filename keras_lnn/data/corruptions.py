"""Corruptions of images: faults of recording and storing at five strengths, the same ones whenever they are read.

The kinds and the strengths follow Hendrycks and Dietterich (2019), "Benchmarking neural network robustness to common
corruptions and perturbations", ICLR, as far as they occur in grey medical images. Augmentation draws its strengths at
random, within TensorFlow; here each strength is fixed.
"""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_lnn.data.arrays import ImageArray, as_series

STRENGTHS = (1, 2, 3, 4, 5)
_RANGE = 255.0

# An image float32 (height, width, channels, others), an amount, and where random numbers come from.
Corrupt = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Corruption:
    """A kind of corruption.

    Args:
        label: What it does, for pictures.
        amounts: How much of it there is at each strength.
        apply: Applies an amount of it.
    """

    label: str
    amounts: tuple[float, ...]
    apply: Corrupt


class CorruptedImages:
    """Images that are corrupted when they are read; an ``ImageArray``.

    Args:
        images: uint8 (samples, ..., height, width, channels).
        kind: A name in ``CORRUPTIONS``.
        strength: 1 to 5.
        seed: Seed of what is random, which also depends on the place of each image.
    """

    def __init__(self, images: ImageArray, kind: str, strength: int, seed: int = 0) -> None:
        self._images, self._corruption, self._strength, self._seed = images, CORRUPTIONS[kind], strength, seed
        self.shape, self.dtype = images.shape, images.dtype

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, rows: Any) -> np.ndarray:
        places, images = np.arange(len(self))[rows], np.asarray(self._images[rows])
        if places.ndim == 0:
            return self._corrupt(images, int(places))
        return np.stack([self._corrupt(image, place) for image, place in zip(images, places.tolist(), strict=True)])

    def _corrupt(self, image: np.ndarray, place: int) -> np.ndarray:
        """Returns one image or volume, whose slices have one corruption."""
        generator = np.random.default_rng([self._seed, place])
        moved = np.moveaxis(image, (-3, -2, -1), (0, 1, 2)).astype(np.float32)
        changed = self._corruption.apply(moved, self._corruption.amounts[self._strength - 1], generator)
        changed = np.moveaxis(np.clip(np.rint(changed), 0, _RANGE), (0, 1, 2), (-3, -2, -1))
        return changed.astype(np.uint8)


def corrupt_images(images: ImageArray, kind: str, strength: int, seed: int = 0) -> ImageArray:
    """Returns images, or series whose frames are corrupted one by one, as :class:`CorruptedImages`."""
    series = as_series(images)
    if series is None:
        return CorruptedImages(images, kind, strength, seed)
    return dataclasses.replace(series, frames=CorruptedImages(series.frames, kind, strength, seed))


def _add_noise(image: np.ndarray, amount: float, generator: np.random.Generator) -> np.ndarray:
    return image + amount * _RANGE * generator.standard_normal(image.shape, np.float32)


def _add_speckle(image: np.ndarray, amount: float, generator: np.random.Generator) -> np.ndarray:
    return image * (1 + amount * generator.standard_normal(image.shape, np.float32))


def _blur(image: np.ndarray, amount: float, generator: np.random.Generator) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    sigma = amount * min(image.shape[:2])
    return gaussian_filter(image, (sigma, sigma, *[0.0] * (image.ndim - 2)))


def _move(image: np.ndarray, amount: float, generator: np.random.Generator) -> np.ndarray:
    from scipy.ndimage import convolve1d

    axis = int(generator.integers(2))
    reach = amount * image.shape[axis] / 2
    whole = math.floor(reach)
    # The last pixel on either side counts for the part of it that the motion reaches.
    weights = np.concatenate([[reach - whole], np.ones(2 * whole + 1), [reach - whole]])
    return convolve1d(image, weights / weights.sum(), axis=axis, mode="nearest")


def _lower_contrast(image: np.ndarray, amount: float, generator: np.random.Generator) -> np.ndarray:
    mean = image.mean()
    return mean + amount * (image - mean)


def _change_gamma(image: np.ndarray, amount: float, generator: np.random.Generator) -> np.ndarray:
    return _RANGE * (image / _RANGE) ** (amount if generator.random() < 0.5 else 1 / amount)


def _change_brightness(image: np.ndarray, amount: float, generator: np.random.Generator) -> np.ndarray:
    return image + amount * _RANGE * (1 if generator.random() < 0.5 else -1)


def _shade(image: np.ndarray, amount: float, generator: np.random.Generator) -> np.ndarray:
    height, width = image.shape[:2]
    angle = generator.uniform(0, 2 * math.pi)
    down, right = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    slope = (math.cos(angle) * down + math.sin(angle) * right) / math.sqrt(2)
    return image * (1 + amount * slope).astype(np.float32).reshape(height, width, *[1] * (image.ndim - 2))


def _pixelate(image: np.ndarray, amount: float, generator: np.random.Generator) -> np.ndarray:
    # Each block of pixels has the value of its first one, as in an image that was stored smaller.
    places = [np.floor(np.floor(np.arange(side) * amount) / amount).astype(int) for side in image.shape[:2]]
    return image[places[0]][:, places[1]]


def _compress(image: np.ndarray, amount: float, generator: np.random.Generator) -> np.ndarray:
    from PIL import Image

    planes, found = image.reshape(*image.shape[:2], -1).astype(np.uint8), []
    colours = 3 if image.shape[2] == 3 and image.ndim == 3 else 1
    for first in range(0, planes.shape[2], colours):
        plane, stream = planes[:, :, first : first + colours], io.BytesIO()
        Image.fromarray(plane if colours == 3 else plane[:, :, 0]).save(stream, "JPEG", quality=int(amount))
        found.append(np.asarray(Image.open(stream)).reshape(*image.shape[:2], colours))
    return np.concatenate(found, axis=2).reshape(image.shape)


def _lose_lines(image: np.ndarray, amount: float, generator: np.random.Generator) -> np.ndarray:
    axis = int(generator.integers(2))
    lost = generator.permutation(image.shape[axis])[: max(1, round(amount * image.shape[axis]))]
    changed = np.moveaxis(image, axis, 0).copy()
    changed[lost] = 0
    return np.moveaxis(changed, 0, axis)


def _add_stripes(image: np.ndarray, amount: float, generator: np.random.Generator) -> np.ndarray:
    axis = int(generator.integers(2))
    period, phase = generator.uniform(3, 8), generator.uniform(0, 2 * math.pi)
    wave = np.sin(2 * math.pi * np.arange(image.shape[axis]) / period + phase).astype(np.float32)
    shape = [1] * image.ndim
    shape[axis] = -1
    return image + amount * _RANGE * wave.reshape(shape)


CORRUPTIONS = {
    "noise": Corruption("noise", (0.04, 0.08, 0.12, 0.18, 0.26), _add_noise),
    "speckle": Corruption("speckle", (0.1, 0.2, 0.3, 0.45, 0.6), _add_speckle),
    "blur": Corruption("blur", (0.02, 0.03, 0.045, 0.06, 0.08), _blur),
    "motion": Corruption("motion", (0.05, 0.1, 0.15, 0.2, 0.3), _move),
    "contrast": Corruption("lower contrast", (0.75, 0.6, 0.45, 0.3, 0.2), _lower_contrast),
    "gamma": Corruption("gamma", (1.25, 1.5, 1.8, 2.2, 2.8), _change_gamma),
    "brightness": Corruption("brightness", (0.05, 0.1, 0.15, 0.2, 0.3), _change_brightness),
    "shading": Corruption("shading across the image", (0.15, 0.3, 0.45, 0.6, 0.8), _shade),
    "pixelation": Corruption("pixelation", (0.75, 0.6, 0.45, 0.35, 0.25), _pixelate),
    "jpeg": Corruption("JPEG compression", (40, 25, 15, 8, 4), _compress),
    "missing-lines": Corruption("missing lines", (0.03, 0.06, 0.1, 0.2, 0.3), _lose_lines),
    "stripes": Corruption("stripes", (0.04, 0.08, 0.12, 0.18, 0.25), _add_stripes),
}
