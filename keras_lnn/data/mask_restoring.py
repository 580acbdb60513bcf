"""Masks of a model's size brought back to the files that they belong to: their size, orientation and affine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_lnn.data import medical_files
from keras_lnn.data.mask_pixels import fitted_shape
from keras_lnn.data.medical_files import Grid


def restore_mask(mask: np.ndarray, native: Grid, fit: str) -> np.ndarray:
    """Undoes what gave an image its size, by the nearest pixels.

    Args:
        mask: uint8 class indices (height, width) or (depth, height, width), of the size that the model reads.
        native: The pixels of the image as it was.
        fit: ``stretch`` or ``pad``, as the image was brought to its size.

    Returns:
        uint8 class indices of the native shape.
    """
    for axis, (length, part) in enumerate(zip(native.shape, fitted_shape(native, mask.shape, fit), strict=True)):
        first = (mask.shape[axis] - part) // 2
        nearest = ((np.arange(length) + 0.5) * part / length).astype(np.int64)
        mask = np.take(mask, first + np.minimum(nearest, part - 1), axis)
    return mask


def write_mask_png(mask: np.ndarray, path: str | os.PathLike, colours: Sequence[str] | None = None) -> None:
    """Writes a mask as class indices, or in the colours of its classes, ``#rrggbb``."""
    from PIL import Image

    if colours is not None:
        table = [[int(colour[place : place + 2], 16) for place in (1, 3, 5)] for colour in colours]
        mask = np.array(table, np.uint8)[mask]
    Image.fromarray(mask).save(path)


def write_mask_nifti(mask: np.ndarray, source: Path, fit: str, path: Path) -> np.ndarray:
    """Writes a mask as a NIfTI file with the shape and the affine of its image; of several times that of one.

    Args:
        mask: Class indices of the size that the model reads.
        source: The image's file.
        fit: As the image was brought to its size.
        path: Where to.

    Returns:
        The mask in the image's own size.
    """
    import nibabel

    image = nibabel.load(source)
    shape = image.shape[:3]
    numbers = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    # What turns the image upright tells of each number where it came from.
    places, spacing = medical_files.upright(type(image)(numbers, image.affine), np.int32)
    restored = restore_mask(mask, Grid(places.shape, spacing), fit)
    stored = np.zeros(shape, np.uint8)
    stored.reshape(-1)[places] = restored
    written = type(image)(stored, image.affine, image.header)
    written.set_data_dtype(np.uint8)
    # The image's window is none of its mask's.
    written.header["cal_min"] = written.header["cal_max"] = 0
    nibabel.save(written, path)
    return restored
