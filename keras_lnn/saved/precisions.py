"""What writing a model in a lower precision needs in every format: images for the ranges of integers, and a refusal."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from keras_lnn.data.arrays import ImageArray, network_inputs, take_images
from keras_lnn.errors import InputError
from keras_lnn.saved.formats import FORMATS
from keras_lnn.saved.serving import name_inputs
from keras_lnn.saved.signature import Signature

# More images hardly change the ranges, and each is computed in the slow way of a quantiser.
MOST_IMAGES = 256


def take_evenly(images: ImageArray, most: int = MOST_IMAGES) -> ImageArray:
    """Returns at most so many images, evenly spaced over all: samples are often sorted by class.

    Args:
        images: Images, or series of images.
        most: The largest number of them.
    """
    return take_images(images, slice(None, None, max(1, math.ceil(len(images) / most))))


def list_batches(images: ImageArray, size: int) -> Iterator[dict[str, np.ndarray]]:
    """Yields batches of images by the names of an export's inputs.

    Args:
        images: Images, or series of images.
        size: The number of samples of a batch.
    """
    for start in range(0, len(images), size):
        yield name_inputs(*network_inputs(images, slice(start, start + size)))


def refuse_int8(signature: Signature, format: str) -> InputError:
    """Returns the error for a model in which a format can write nothing with 8 bits."""
    return InputError(
        f"int8 needs convolutions or dense layers that {FORMATS[format].article} can hold in 8 bits. Received:"
        f" {signature.model}, of which all would stay in float32. Choose --quantize float16, or leave it out."
    )
