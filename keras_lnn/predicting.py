"""Image files through a saved model: read, brought to its input, predicted in pieces, one row a file."""

import csv
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from keras_lnn.data.images import decode_images, describe_faults, find_images, read_images
from keras_lnn.data.medical_files import is_nifti
from keras_lnn.data.options import Rendering
from keras_lnn.errors import InputError
from keras_lnn.files import DAMAGED_FILE_ERRORS, as_text, atomic_path
from keras_lnn.inference import Predictor
from keras_lnn.signature import Signature
from keras_lnn.written_files import is_stream, open_stream

FILES_AT_A_TIME = 256
_LONGEST_HEADER = 2**20
_COLUMNS, _PROBABILITY = ["file", "predicted"], "probability "


def predict_files(
    predictor: Predictor, paths: Sequence[Path], progress: Callable[[float], None] | None = None
) -> pd.DataFrame:
    """Returns the class probabilities of image files.

    Args:
        predictor: A loaded model.
        paths: Image files, and folders that are searched for them; ``.npy`` and NIfTI files for a model of volumes.
        progress: Called with the fraction done.

    Returns:
        One row per file: its path, what the model predicts, and a column of probabilities for each class.
    """
    signature = predictor.signature
    volumes = len(signature.image_shape) == 4
    files = find_files(paths, volumes)
    parts = []
    for start in range(0, len(files), FILES_AT_A_TIME):
        piece = files[start : start + FILES_AT_A_TIME]
        parts.append(predictor.predict(read_files(piece, signature)))
        if progress:
            progress(min(1.0, (start + FILES_AT_A_TIME) / len(files)))
    probabilities = np.concatenate(parts)
    names, task = np.array(signature.class_names), signature.get_task()
    decision = task.decide(probabilities, signature.thresholds)
    predicted = ["|".join(names[row]) for row in decision] if task.multi_label else names[decision]
    columns = dict(zip(_COLUMNS, ([as_text(file) for file in files], predicted), strict=True))
    return pd.DataFrame(columns | {_PROBABILITY + name: probabilities[:, i] for i, name in enumerate(names)})


def require_free_table(path: Path) -> bool:
    """Checks that a table of predictions can be written without the loss of another file.

    Args:
        path: Of the table.

    Returns:
        Whether a table of earlier predictions will be replaced.
    """
    if not os.path.lexists(path) or is_stream(path):
        return False
    if path.is_dir():
        raise InputError(f"The output must be a file to write. Received: {path} (Is a directory).")
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            header = next(csv.reader([stream.readline(_LONGEST_HEADER)]), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        header = []
    if header[:2] != _COLUMNS or not all(name.startswith(_PROBABILITY) for name in header[2:]):
        raise InputError(
            f"Only a table of predictions is replaced by another one. Received: {path}, which is none. Choose another"
            " --output, or move it away."
        )
    return True


def write_predictions(table: pd.DataFrame, path: Path) -> None:
    """Writes a table of predictions: a file atomically, in the place of an earlier table only, else to a stream."""
    require_free_table(path)
    try:
        if is_stream(path):
            with open_stream(path) as stream:
                table.to_csv(stream, index=False)
            return
        # Through a link, which stays.
        with atomic_path(Path(os.path.realpath(path))) as temporary:
            table.to_csv(temporary, index=False, errors="backslashreplace")
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InputError(f"The output must be a file to write. Received: {path} ({error.strerror}).") from None


def find_files(paths: Sequence[Path], volumes: bool) -> list[Path]:
    """The image files, or the ``.npy`` and NIfTI files of volumes, that paths and folders name."""
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise InputError(f"An image must be a file or a folder. Received: {path}, which is not there.")
        if path.is_dir():
            files += _find_volumes(path) if volumes else find_images(path)
        else:
            files.append(path)
    if not files:
        kind = ".npy or NIfTI volumes" if volumes else "images"
        raise InputError(f"There must be {kind} to predict. Received: {', '.join(map(str, paths))} without any.")
    return files


def read_files(files: Sequence[Path], signature: Signature) -> np.ndarray:
    """Image files in the size that a model reads, uint8."""
    image_shape, rendering = signature.image_shape, Rendering(signature.fit, signature.window)
    if len(image_shape) == 3:
        return read_images(files, side=image_shape[:2], channels=image_shape[2], rendering=rendering)
    volumes = []
    for file in files:
        if is_nifti(file):
            volumes.append(_read_nifti(file, image_shape, rendering))
            continue
        try:
            volume = np.load(file, allow_pickle=False)
            if not isinstance(volume, np.ndarray):
                raise ValueError("an archive")
        except DAMAGED_FILE_ERRORS:
            raise InputError(f"A volume must be an .npy file of plain numbers. Received: {file}.") from None
        volume = volume[..., None] if volume.shape == image_shape[:-1] else volume
        if volume.dtype != np.uint8 or volume.shape != image_shape:
            raise InputError(
                f"A volume must be uint8 of shape {image_shape}. Received: {file}, {volume.dtype} of {volume.shape}."
            )
        volumes.append(volume)
    return np.stack(volumes)


def _find_volumes(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix == ".npy" or is_nifti(file))


def _read_nifti(file: Path, image_shape: tuple[int, ...], rendering: Rendering) -> np.ndarray:
    volume = np.zeros((1, *image_shape), np.uint8)
    found = decode_images([file], volume, rendering)
    if found.faults:
        raise InputError(describe_faults(found.faults, [file]))
    return volume[0]
