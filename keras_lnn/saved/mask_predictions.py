"""Segmentation of image files: one mask file per image, in the image's size, and a table of the classes found."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from keras_lnn.data.arrays import ImageArray
from keras_lnn.data.decode.images import read_image
from keras_lnn.data.decode.mask_pixels import native_grid
from keras_lnn.data.decode.mask_restoring import restore_mask, write_mask_nifti, write_mask_png
from keras_lnn.data.decode.medical_files import is_nifti
from keras_lnn.errors import InputError
from keras_lnn.files.atomic import as_text
from keras_lnn.files.csv_tables import to_csv
from keras_lnn.files.written import OTHER_FOLDER, WrittenFiles
from keras_lnn.plots.overlays import lay_on
from keras_lnn.saved.image_files import FileReader, find_files
from keras_lnn.saved.prediction_columns import LIKENESS
from keras_lnn.saved.predictor import Predictor
from keras_lnn.saved.signature import Signature

TABLE = "predictions.csv"
_OVERLAY = "-overlay.png"
# Probabilities of pixels that are held at a time, of 8 bytes each.
_NUMBERS_AT_A_TIME = 2**24


def predict_masks(
    predictor: Predictor,
    paths: Sequence[Path],
    output: Path,
    *,
    overlay: bool = False,
    progress: Callable[[float], None] | None = None,
    skip_bad: bool = False,
    warn: Callable[[str], None] | None = None,
    compare: Callable[[ImageArray], np.ndarray] | None = None,
) -> pd.DataFrame:
    """Writes the masks of image files.

    A mask has the size of its image, and is enlarged from the probabilities of its classes. PNG files hold class
    indices, or the grey values or colours of the masks that the model learned from; NIfTI files get NIfTI masks with
    their affine, ``.npy`` volumes ``.npy`` masks. Folders keep their structure.

    Args:
        predictor: A loaded segmentation model.
        paths: Image files, and folders that are searched for them; ``.npy`` and NIfTI files for a model of volumes.
        output: Folder for the masks and for ``predictions.csv``.
        overlay: Whether each mask is drawn on its image too, of a volume on the slice in which most is found.
        progress: Called with the fraction done.
        skip_bad: Whether files that cannot be read are left out; else they are an error.
        warn: Called with each sentence on what may spoil the masks.
        compare: Gives how like the training images each is, for a column; None for none.

    Returns:
        What the table holds: one row a file, its mask, and of each class the pixels and their share.

    Raises:
        InputError: If a file would be replaced that this function has not written, such as a true mask.
    """
    signature = predictor.signature
    volumes = len(signature.image_shape) == 4
    files = find_files(paths, volumes)
    others = [file for file in files if volumes and not _keeps_format(file)]
    if others:
        raise InputError(
            f"Masks of volumes are written for NIfTI and .npy files only. Received: {others[0]}. Convert it to NIfTI."
        )
    masks = dict(zip(files, require_free_masks(files, paths, output, overlay), strict=True))
    written = WrittenFiles(output, OTHER_FOLDER)
    rows = []
    for images, piece in FileReader(files, signature, skip_bad, warn).read():
        likeness = [{}] * len(piece) if compare is None else [{LIKENESS: float(value)} for value in compare(images)]
        for file, image, found, like in zip(piece, images, _predict(predictor, images), likeness, strict=True):
            path = masks[file]
            with written.write(path) as temporary:
                restored = _write(found, file, temporary, signature)
            if overlay:
                with written.write(_overlay_path(path)) as temporary:
                    write_mask_png(_overlay(file, image, found, restored, signature), temporary)
            counts = _count(restored, signature.class_names)
            rows.append({"file": as_text(file), "mask": as_text(path), **like, **counts})
            if progress:
                progress(len(rows) / len(files))
    table = pd.DataFrame(rows)
    written.write_text(output / TABLE, to_csv(table))
    return table


def require_free_masks(files: Sequence[Path], paths: Sequence[Path], output: Path, overlay: bool) -> list[Path]:
    """Checks that masks can be written without a loss, and returns where the mask of each file goes.

    Args:
        files: Image files.
        paths: What was named: these files, and folders that hold them.
        output: Folder for the masks.
        overlay: Whether each mask is drawn on its image too.
    """
    masks = _name_masks(files, paths, output)
    targets = [*masks, *map(_overlay_path, masks)] if overlay else masks
    _require_no_image(files, targets, output)
    WrittenFiles(output, OTHER_FOLDER).require_free([*targets, output / TABLE])
    return masks


def _predict(predictor: Predictor, images: np.ndarray) -> Iterator[np.ndarray]:
    """Gives the probabilities of each image; so few at a time that those of all pixels do not fill the memory."""
    numbers = math.prod(images.shape[1:-1]) * len(predictor.signature.class_names)
    count = max(1, _NUMBERS_AT_A_TIME // numbers)
    for start in range(0, len(images), count):
        yield from predictor.predict(images[start : start + count])


def _name_masks(files: Sequence[Path], paths: Sequence[Path], output: Path) -> list[Path]:
    """Returns the path of each mask, named like its image; equal names keep the ending of the image."""
    folders = [path for path in paths if path.is_dir()]
    relative = []
    for file in files:
        folder = next((folder for folder in folders if file.is_relative_to(folder)), file.parent)
        relative.append(file.relative_to(folder))
    names = [name if _keeps_format(name) else name.with_suffix(".png") for name in relative]
    count = collections.Counter(names)
    whole = [
        name if count[name] == 1 or _keeps_format(name) else source.with_name(f"{source.name}.png")
        for name, source in zip(names, relative, strict=True)
    ]
    doubled = [str(name) for name, times in collections.Counter(whole).items() if times > 1]
    if doubled:
        raise InputError(
            f"Images must have different names, because their masks get the same names. Received: {doubled[0]} more"
            " than once. Name the folder above them instead."
        )
    return [output / name for name in whole]


def _keeps_format(path: Path) -> bool:
    return is_nifti(path) or path.suffix == ".npy"


def _overlay_path(mask: Path) -> Path:
    name = mask.name
    for suffix in (".nii.gz", ".nii", ".npy", ".png"):
        if name.lower().endswith(suffix):
            return mask.with_name(name[: -len(suffix)] + _OVERLAY)
    return mask.with_name(name + _OVERLAY)


def _require_no_image(files: Sequence[Path], written: Sequence[Path], output: Path) -> None:
    if output.suffix.lower() == ".csv" or (output.exists() and not output.is_dir()):
        raise InputError(f"--output must be a folder for the masks of a segmentation model. Received: {output}.")
    images = {file.resolve() for file in files}
    lost = next((path for path in written if path.resolve() in images), None)
    if lost is not None:
        raise InputError(
            f"Masks must not replace their images. Received: {output} as the output, where {lost} is an "
            "image. Choose another folder."
        )


def _write(probabilities: np.ndarray, file: Path, path: Path, signature: Signature) -> np.ndarray:
    """Writes a mask in the size of its image, and gives its class indices."""
    if is_nifti(file):
        return write_mask_nifti(probabilities, file, signature.own.fit, path, signature.mask_values)
    if file.suffix == ".npy":
        mask = _decide(probabilities, signature)
        np.save(path, mask)
        return mask
    mask = restore_mask(probabilities, native_grid(file), signature.own.fit)
    write_mask_png(mask, path, signature.colours or signature.mask_values)
    return mask


def _decide(probabilities: np.ndarray, signature: Signature) -> np.ndarray:
    return signature.get_task().decide(probabilities).astype(np.uint8)


def _overlay(
    file: Path, image: np.ndarray, probabilities: np.ndarray, restored: np.ndarray, signature: Signature
) -> np.ndarray:
    if image.ndim == 4:
        predicted = _decide(probabilities, signature)
        place = int((predicted > 0).sum(axis=(1, 2)).argmax())
        return lay_on(image[place], predicted[place], signature.colours)
    rendering = dataclasses.replace(signature.own.rendering, fit="stretch")
    whole = read_image(file, side=restored.shape, channels=3, rendering=rendering)
    return lay_on(whole, restored, signature.colours)


def _count(mask: np.ndarray, class_names: Sequence[str]) -> dict[str, int | float]:
    counts = np.bincount(mask.ravel(), minlength=len(class_names))
    pixels = {f"pixels {name}": int(count) for name, count in zip(class_names, counts, strict=True)}
    return pixels | {f"share {name}": float(count) for name, count in zip(class_names, counts / mask.size, strict=True)}
