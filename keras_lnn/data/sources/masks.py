"""Segmentation data: images with masks as ``masks:DIR``, and the same images by class as ``mask-classes:DIR``."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_lnn.data.arrays import ImageData
from keras_lnn.data.checking import name_some
from keras_lnn.data.decode.decoded_cache import open_or_decode
from keras_lnn.data.decode.faults import describe_faults
from keras_lnn.data.decode.images import image_shape
from keras_lnn.data.decode.mask_pixels import fitted_spacing
from keras_lnn.data.decode.medical_files import Grid
from keras_lnn.data.options import Rendering
from keras_lnn.data.reading import Reading
from keras_lnn.data.sources.mask_finding import FoundMasks, find_masks
from keras_lnn.data.sources.own_images import FoundImages, LabelledFiles, load_own_images
from keras_lnn.errors import InputError
from keras_lnn.files.atomic import cache_folder

_MASKS_AT_ONCE = 256


def load_masks(path: str | os.PathLike, reading: Reading = Reading()) -> ImageData:  # noqa: B008, it is frozen
    """Loads images with masks.

    ``DIR/images`` and ``DIR/masks`` hold files of the same names, whatever their suffixes; or ``DIR/manifest.csv``
    lists them: a column of images (``image``), optional columns of patients (``patient``) and of splits (``split``),
    and either a column ``mask`` or one column per class with the paths of its masks, where later columns cover earlier
    ones and all that is not black is the class. Images and masks are PNG (or other) files, or NIfTI volumes.

    Pixels of a mask are class indices, or colours that ``DIR/classes.csv`` names (columns ``name`` and ``colour``, or
    ``name`` and ``index``), class by class in the order of its rows. Without it values up to 31 are indices; higher
    ones, at most 16 of them, and colours are classes in ascending order, for colours by red, green and blue, so that
    black is the background. With ``mask_threshold`` there are two classes, by brightness.

    Splits are made by patient (70 % train, 10 % val, 20 % test), stratified by the classes in the masks. Masks are
    resized to the images by nearest neighbours; they are kept in memory, one byte per pixel, while decoded images and
    masks are kept in files of the cache. If all images are NIfTI or DICOM files with a known pixel size, the splits
    have a spacing.

    Args:
        path: The folder.
        reading: Roles of the manifest's columns, how the files become pixels and splits, and whether bad ones are left
            out.

    Returns:
        The images with their masks and a report on them; the names of the samples are those of the image files.
    """
    found = find_masks(Path(path), reading.own, reading.part(0.0, 0.15).progress)
    masks = _read_masks(found, reading.part(0.15, 0.3))
    spacing = _find_spacing(found.grids, masks.shape[1:], reading.own.fit)
    labelled = found.labelled("segmentation", found.classes.names, masks, present=found.present, spacing=spacing)
    data = _load_images(f"masks:{os.fspath(path)}", found, labelled, reading.part(0.3, 1.0))
    written = {"colours" if found.classes.coloured else "mask_values": found.classes.written}
    return dataclasses.replace(data, **written)


def load_mask_classes(path: str | os.PathLike, reading: Reading = Reading()) -> ImageData:  # noqa: B008, it is frozen
    """Loads the images of :func:`load_masks` with one class each: the highest class anywhere in the mask.

    Classes that are not the highest of any image are left out. The arguments are those of :func:`load_masks`.
    """
    found = find_masks(Path(path), reading.own, reading.part(0.0, 0.2).progress)
    highest = found.present.shape[1] - 1 - found.present[:, ::-1].argmax(axis=1)
    classes, labels = np.unique(highest, return_inverse=True)
    names = tuple(found.classes.names[index] for index in classes)
    if len(names) < 2:
        raise InputError(
            f"There must be at least 2 classes of images. Received: {names[0]} as the highest class of each mask in"
            f" {path}. Add images, or use masks:{path}."
        )
    absent = [name for name in found.classes.names if name not in names]
    notes = (f"no image has this as its highest class, so it is left out: {name_some(absent)}",) if absent else ()
    task = "binary" if len(names) == 2 else "multi-class"
    labelled = found.labelled(task, names, labels.astype(np.int64), notes=notes)
    return _load_images(f"mask-classes:{os.fspath(path)}", found, labelled, reading.part(0.2, 1.0))


def _load_images(name: str, found: FoundMasks, labelled: LabelledFiles, reading: Reading) -> ImageData:
    images = FoundImages(
        name=name,
        files=found.files.images,
        labelled=labelled,
        checksum=lambda kept, digests: _checksum(found, kept, digests),
        warnings=found.files.warnings,
    )
    return load_own_images(images, reading)


def _read_masks(found: FoundMasks, reading: Reading) -> np.ndarray:
    """Returns the class of each pixel, uint8; of several masks per image the later ones cover the earlier ones."""
    shape = image_shape(reading.own_side, 1)
    shape = (shape[0], *shape) if found.volumes else shape
    rendering = Rendering(reading.own.fit, None, found.classes.values, reading.own.mask_threshold)
    folder = cache_folder() / "own-masks"
    cached = open_or_decode(found.unique, found.digests, shape, rendering, folder=folder, progress=reading.progress)
    cached.decoded.require_no_obstacles(found.unique)
    if cached.decoded.faults:
        raise InputError(describe_faults(cached.decoded.faults, found.unique))
    masks = np.zeros((len(found.places), *shape[:-1]), np.uint8)
    for start in range(0, len(masks), _MASKS_AT_ONCE):
        part = masks[start : start + _MASKS_AT_ONCE]
        for column, places in enumerate(found.places[start : start + _MASKS_AT_ONCE].T):
            rows = np.flatnonzero(places >= 0)
            read = cached.images[places[rows]][..., 0]
            part[rows] = np.where(read > 0, column + 1, part[rows]) if found.files.columns else read
    return masks


def _find_spacing(grids: Sequence[Grid | None], shape: tuple[int, ...], fit: str) -> np.ndarray | None:
    """Returns the millimetres per pixel of each image in its new size; None unless all images state theirs."""
    # Images that cannot be read are left out later, or end the loading.
    unread = (float("nan"),) * len(shape)
    found = [unread if grid is None else fitted_spacing(grid, shape, fit) for grid in grids]
    return None if any(spacing is None for spacing in found) else np.array(found)


def _checksum(found: FoundMasks, kept: LabelledFiles, digests: Sequence[str]) -> str:
    """Returns a hash of the classes and, for each image, of its name, its content, its masks, its split and patient."""
    rows = {name: row for row, name in enumerate(found.files.names)}
    splits, groups = (part or [""] * len(digests) for part in (kept.splits, kept.groups))
    lines = []
    for name, digest, split, group in zip(kept.names, digests, splits, groups, strict=True):
        masks = ["" if place < 0 else found.digests[place] for place in found.places[rows[name]]]
        lines.append("\0".join((name, digest, *masks, split, group)) + "\n")
    content = repr((kept.class_names, found.classes.names, found.classes.values)) + "\n" + "".join(sorted(lines))
    return f"sha256:{hashlib.sha256(content.encode('utf-8', 'surrogateescape')).hexdigest()}"
