"""From images and volumes to sequences, as plain functions on tensors of a functional model."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_lnn.errors import InputError


def apply_to_slices(block: Callable[[Any], Any], volumes: Any) -> Any:
    """Applies a 2D block to every slice of volumes, with one set of weights.

    The slices are folded into the batch, not scanned: several times faster than ``TimeDistributed``.

    Args:
        block: From images (batch, height, width, channels) to anything that begins with the batch.
        volumes: (batch, depth, height, width, channels).

    Returns:
        (batch, depth, ...) with what the block gives for each slice.
    """
    depth = volumes.shape[1]
    slices = block(ops.reshape(volumes, (-1, *volumes.shape[2:])))
    return ops.reshape(slices, (-1, depth, *slices.shape[1:]))


def channels_as_steps(maps: Any, steps: int) -> Any:
    """Reads feature maps channel by channel as a sequence: each step holds whole channels, one after another.

    Args:
        maps: (batch, height, width, channels); the channels must be a multiple of the steps.
        steps: Length of the sequence.

    Returns:
        (batch, steps, channels / steps * height * width).
    """
    _, height, width, channels = maps.shape
    if steps < 1 or channels % steps:
        raise InputError(f"The sequence length must divide the {channels} channels. Received: {steps}.")
    maps = keras.layers.Permute((3, 1, 2))(maps)
    return keras.layers.Reshape((steps, channels // steps * height * width))(maps)
