"""Images with masks drawn on them, at the resolution of the image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_lnn.plots.masks import class_colour

_TINT = 0.3


def lay_on(image: np.ndarray, mask: np.ndarray, colours: Sequence[str] | None = None) -> np.ndarray:
    """Tints an image by a mask and draws the borders of its classes.

    Args:
        image: uint8 (height, width, 1 or 3).
        mask: Class indices (height, width); the background is left unchanged.
        colours: ``#rrggbb`` of each class including the background; the colours of the other plots if not given.

    Returns:
        uint8 (height, width, 3).
    """
    drawn = np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image.copy()
    for index in range(1, int(mask.max()) + 1):
        text = class_colour(index - 1) if colours is None else colours[index]
        colour = np.array([int(text[place : place + 2], 16) for place in (1, 3, 5)])
        inside = mask == index
        drawn[inside] = np.rint((1 - _TINT) * drawn[inside] + _TINT * colour)
        # The border grows with the image, so that it shows on a large one too.
        width = max(1, round(min(mask.shape) / 256))
        drawn[inside & ~_shrink(inside, width)] = colour
    return drawn


def _shrink(inside: np.ndarray, width: int) -> np.ndarray:
    """Returns a region without its outer pixels; it needs no SciPy, which is not installed where models only run."""
    for _ in range(width):
        around = np.pad(inside, 1)
        inside = inside & around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return inside
