"""Mask files: the values that they contain, and their conversion to classes in the size of the images."""

from __future__ import annotations

import os

import numpy as np

from keras_lnn.data.decode import medical_files, picture_files
from keras_lnn.data.decode.medical_files import Grid
from keras_lnn.data.decode.picture_files import fitted_size, open_image, with_channels
from keras_lnn.data.options import Rendering
from keras_lnn.errors import InputError
from keras_lnn.files.atomic import is_file

MaskSource = str | os.PathLike | bytes
# The value of a pixel in an index mask, or its colour in a coloured mask.
MaskValue = int | str

# Large enough that no JPEG file is read at a fraction of its size.
_ANY_LENGTH = 2**20
_MOST_VALUES = 256


def read_mask(source: MaskSource, shape: tuple[int, ...], rendering: Rendering) -> np.ndarray:
    """Reads a mask and resizes it by nearest neighbours.

    Args:
        source: A path, or the bytes of an image file.
        shape: (height, width, 1) or (depth, height, width, 1) of the result.
        rendering: Rendering with the classes; ``pad`` fills up with class 0.

    Returns:
        uint8 class indices of this shape.

    Raises:
        InputError: The value of a pixel belongs to no class.
    """
    values, spacing = _read_values(source, rendering.classes, rendering.threshold)
    if values.ndim != len(shape) - 1:
        raise InputError("a volume among images" if values.ndim == 3 else "an image among volumes")
    indices = _to_classes(values, rendering.classes)
    size = fitted_shape(Grid(values.shape, spacing), shape[:-1], rendering.fit)
    mask = np.zeros(shape, np.uint8)
    place = []
    for axis, (length, part, whole) in enumerate(zip(values.shape, size, shape[:-1], strict=True)):
        nearest = ((np.arange(part) + 0.5) * length / part).astype(np.int64)
        indices = np.take(indices, np.minimum(nearest, length - 1), axis)
        place.append(slice((whole - part) // 2, (whole - part) // 2 + part))
    mask[(*place, 0)] = indices
    return mask


def find_values(
    source: MaskSource, coloured: bool | None, threshold: float | None = None
) -> tuple[tuple[int, ...], list[MaskValue]]:
    """Returns the native shape of a mask, and the values that it contains.

    Args:
        source: A path, or the bytes of an image file.
        coloured: Whether its values are colours; None to detect it: colours if not all pixels are grey and the file has
            no palette, whose indices are values.
        threshold: Brightness above which a pixel has the value 1, else 0; None for the stored values.

    Returns:
        (height, width) or (depth, height, width), and the values in ascending order.
    """
    values, _ = _read_values(source, None if coloured is None else ("#000000",) if coloured else (0,), threshold)
    found = np.unique(values)
    if len(found) > _MOST_VALUES:
        raise InputError(f"{len(found):,} different values, which need --mask-threshold to become a mask")
    # Colours are negative, so the brightest comes first and the order is reversed.
    values_of = [int(value) if value >= 0 else _as_text(value) for value in found]
    return values.shape, values_of if found[0] >= 0 else values_of[::-1]


def as_colour(value: MaskValue) -> str:
    """Returns a grey value as a colour, and a colour unchanged."""
    return value if isinstance(value, str) else f"#{value:02x}{value:02x}{value:02x}"


def native_grid(path: str | os.PathLike) -> Grid:
    """Reads the grid of pixels from the header of an image or mask; EXIF orientation is applied."""
    if not os.path.isdir(path) and not is_file(path):  # a folder may be a DICOM series
        raise InputError("not a file")
    if medical_files.is_medical(path):
        return medical_files.native_grid(path)
    from PIL import ExifTags, Image

    with Image.open(path) as image:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
        return Grid(image.size if turned else image.size[::-1])


def fitted_shape(grid: Grid, shape: tuple[int, ...], fit: str) -> tuple[int, ...]:
    """Returns the part of a size, (height, width) or (depth, height, width), that a file fills when it is fitted."""
    if len(shape) == 3:
        return medical_files.fitted_volume(grid.shape, grid.spacing or (1.0,) * 3, shape, fit)
    (height, width), (whole_height, whole_width) = grid.shape, shape
    return fitted_size((width, height), (whole_width, whole_height), fit)[::-1]


def fitted_spacing(grid: Grid, shape: tuple[int, ...], fit: str) -> tuple[float, ...] | None:
    """Returns the millimetres per pixel after a file is resized to a shape; None if it does not state its own."""
    if grid.spacing is None:
        return None
    parts = zip(grid.shape, grid.spacing, fitted_shape(grid, shape, fit), strict=True)
    return tuple(length * spacing / part for length, spacing, part in parts)


def _read_values(
    source: MaskSource, classes: tuple[MaskValue, ...] | None, threshold: float | None
) -> tuple[np.ndarray, tuple[float, ...] | None]:
    """Returns the value of each pixel, with colours as negative numbers to distinguish them, and a volume's spacing."""
    if medical_files.is_medical(source) and not medical_files.is_nifti(source):
        raise InputError("a DICOM file instead of a mask in PNG, TIFF or NIfTI format")
    if threshold is not None:
        brightness, spacing = _read_brightness(source)
        return (brightness > threshold).astype(np.uint8), spacing
    coloured = None if not classes else isinstance(classes[0], str)
    if medical_files.is_nifti(source):
        stored, spacing = medical_files.read_nifti_values(source)
        values = np.rint(stored).astype(np.int64)
        if not np.array_equal(values, stored) or values.min() < 0:
            raise InputError("values that are not whole numbers of at least 0")
        return (_to_colours(values) if coloured else values), spacing
    pixels = _read_pixels(source, coloured)
    if pixels.ndim == 2:
        return (_to_colours(pixels) if coloured else pixels), None
    red, green, blue = (pixels[..., channel].astype(np.int32) for channel in range(3))
    if not coloured and np.array_equal(red, green) and np.array_equal(green, blue):
        return red, None
    if coloured is False:
        raise InputError("in colour, though the classes are given as values")
    return -1 - ((red << 16) | (green << 8) | blue), None


def _read_brightness(source: MaskSource) -> tuple[np.ndarray, tuple[float, ...] | None]:
    """Returns the brightness of each pixel, that of its brightest channel, or the stored values of NIfTI files."""
    if medical_files.is_nifti(source):
        return medical_files.read_nifti_values(source)
    pixels = _read_pixels(source, True)
    return (pixels if pixels.ndim == 2 else pixels.max(axis=-1)), None


def _read_pixels(source: MaskSource, coloured: bool | None) -> np.ndarray:
    """Returns the pixels as whole numbers, (height, width) or (height, width, 3)."""
    from PIL import Image

    plain = picture_files.read_plain_png(source, Image.MAX_IMAGE_PIXELS)
    if plain is not None:
        return plain.astype(np.int32) if plain.dtype == np.uint16 else plain
    image = open_image(source, _ANY_LENGTH, 3)
    if image.mode == "P" and not coloured:
        return np.asarray(image)
    if image.mode == "1" and not coloured:
        return np.asarray(image).astype(np.uint8)
    if image.mode == "I" or image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.int32)
    return np.asarray(with_channels(image, 1 if image.mode == "L" else 3))


def _to_classes(values: np.ndarray, classes: tuple[MaskValue, ...] | None) -> np.ndarray:
    if not classes:
        return ((values != 0) & (values != -1)).astype(np.uint8)
    known = np.array([value if isinstance(value, int) else -1 - int(value[1:], 16) for value in classes])
    order = np.argsort(known)
    place = np.minimum(np.searchsorted(known[order], values), len(known) - 1)
    unknown = values[known[order][place] != values]
    if unknown.size:
        raise InputError(f"{_as_text(unknown[0])} is not a class")
    return order[place].astype(np.uint8)


def _to_colours(values: np.ndarray) -> np.ndarray:
    if values.max() > 255:
        raise InputError("values above 255, though the classes are given as colours")
    return -1 - values.astype(np.int32) * 0x010101


def _as_text(value: np.integer) -> str:
    return f"value {value}" if value >= 0 else f"#{-1 - value:06x}"
