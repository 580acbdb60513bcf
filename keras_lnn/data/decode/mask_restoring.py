"""Predicted masks restored to the files of their images: their size, orientation and affine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_lnn.data.decode import medical_files
from keras_lnn.data.decode.mask_pixels import fitted_shape
from keras_lnn.data.decode.medical_files import Grid


def restore_mask(probabilities: np.ndarray, native: Grid, fit: str) -> np.ndarray:
    """Restores a prediction to the size of its image: each pixel gets the class with the highest probability there.

    Probabilities are interpolated linearly between the pixels of the model, so that borders are as smooth as predicted
    and not as coarse as the model's pixels.

    Args:
        probabilities: Probability of each class, (height, width, classes) or (depth, height, width, classes), in the
            size that the model reads.
        native: The grid of pixels of the original image.
        fit: ``stretch`` or ``pad``, as the image was resized.

    Returns:
        uint8 class indices of the native shape; the first of equally likely classes.
    """
    mask = np.zeros(native.shape, np.uint8)
    highest = np.full(native.shape, -np.inf, np.float32)
    # Class by class, since all classes of a large image at once would fill the memory.
    for index in range(probabilities.shape[-1]):
        enlarged = _interpolate(probabilities[..., index].astype(np.float32), native, fit)
        likelier = enlarged > highest
        mask[likelier] = index
        np.maximum(highest, enlarged, out=highest)
    return mask


def _interpolate(values: np.ndarray, native: Grid, fit: str) -> np.ndarray:
    """Returns the values at the centres of the pixels of an image, interpolated linearly between those of the model."""
    for axis, (length, part) in enumerate(zip(native.shape, fitted_shape(native, values.shape, fit), strict=True)):
        first = (values.shape[axis] - part) // 2
        places = np.clip((np.arange(length) + 0.5) * part / length - 0.5, 0, part - 1)
        below = places.astype(np.int64)
        shape = [1] * values.ndim
        shape[axis] = length
        share = (places - below).astype(np.float32).reshape(shape)
        lower = np.take(values, first + below, axis)
        upper = np.take(values, first + np.minimum(below + 1, part - 1), axis)
        values = lower + share * (upper - lower)
    return values


def to_file_values(mask: np.ndarray, values: Sequence[int | str] | None) -> np.ndarray:
    """Converts class indices to the values stored in a mask file.

    Args:
        mask: Class indices.
        values: The value of a pixel of each class, grey or a colour as ``#rrggbb``; None for class indices.

    Returns:
        uint8, uint16 if values exceed 255, or uint8 with an additional axis of three for colours.
    """
    if values is None:
        return mask
    colours = [value for value in values if isinstance(value, str)]
    if colours:
        return np.array([[int(colour[place : place + 2], 16) for place in (1, 3, 5)] for colour in colours], np.uint8)[
            mask
        ]
    indices = [value for value in values if not isinstance(value, str)]
    return np.array(indices, np.uint8 if max(indices) <= 255 else np.uint16)[mask]


def write_mask_png(mask: np.ndarray, path: str | os.PathLike, values: Sequence[int | str] | None = None) -> None:
    """Writes a mask as class indices, or with the grey values or colours of its classes."""
    from PIL import Image

    Image.fromarray(to_file_values(mask, values)).save(path)


def write_mask_nifti(
    probabilities: np.ndarray, source: Path, fit: str, path: Path, values: Sequence[int] | None = None
) -> np.ndarray:
    """Writes a mask as a NIfTI file with the shape and the affine of its image; if that has several times, for one.

    Args:
        probabilities: Probability of each class, as in :func:`restore_mask`.
        source: The image's file.
        fit: ``stretch`` or ``pad``, as the image was resized.
        path: The file to write.
        values: The value of each class in the file; None for class indices.

    Returns:
        The class indices in the image's own size.
    """
    import nibabel

    image: Any = nibabel.load(source)
    shape = image.shape[:3]
    numbers = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    # Turning a volume of numbered voxels upright shows where each of them came from.
    places, spacing = medical_files.upright(type(image)(numbers, image.affine), np.int32)
    restored = restore_mask(probabilities, Grid(places.shape, spacing), fit)
    content = to_file_values(restored, values)
    stored = np.zeros(shape, content.dtype)
    stored.reshape(-1)[places] = content
    written = type(image)(stored, image.affine, image.header)
    written.set_data_dtype(content.dtype)
    # The display window of the image does not apply to its mask.
    written.header["cal_min"] = written.header["cal_max"] = 0
    nibabel.save(written, path)
    return restored
