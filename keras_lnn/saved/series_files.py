"""Series to be predicted in ``.npz`` files: their headers checked, then read, without pickle."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np

from keras_lnn.data.arrays import SeriesArray
from keras_lnn.data.disk import ArrayHeader, read_npy_header
from keras_lnn.errors import InputError
from keras_lnn.files.atomic import DAMAGED_FILE_ERRORS
from keras_lnn.saved.signature import Signature

# The arrays of a file: the frames of all series one after another, the time of each, and the frames of each series.
_ARRAYS = ("frames", "times", "lengths")


def check_series_header(path: Path, signature: Signature) -> None:
    """Checks that a file promises series as the model reads them, and that it is as long as it promises.

    Args:
        path: An ``.npz`` file.
        signature: Of the model.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            headers = {name: _read_header(archive, name) for name in _ARRAYS}
    except DAMAGED_FILE_ERRORS as error:
        missing = isinstance(error, KeyError)
        raise InputError(f"without {', '.join(_ARRAYS)}" if missing else "not a whole .npz file") from None
    frames, times, lengths = (headers[name] for name in _ARRAYS)
    frame = signature.image_shape[1:]
    if frames.dtype != np.uint8 or frames.shape[1:] not in (frame, frame[:-1]):
        raise InputError(f"frames of {frames.dtype} {frames.shape[1:]}, where the model reads uint8 {frame}")
    if times.dtype.kind not in "fiu" or times.shape != frames.shape[:1]:
        raise InputError(f"times of {times.dtype} {times.shape}, where each of {frames.shape[0]:,} frames needs one")
    if lengths.dtype.kind not in "iu" or len(lengths.shape) != 1:
        raise InputError(f"lengths of {lengths.dtype} {lengths.shape}, where each series needs its number of frames")


def read_series_file(path: Path, signature: Signature) -> tuple[SeriesArray, np.ndarray]:
    """Returns the series of a file, and the time of the first frame of each.

    Args:
        path: An ``.npz`` file with ``frames``, uint8 (frames, height, width, channels) of all series one after another,
            ``times`` (frames,) in the unit that the model has learned, and ``lengths`` (series,).
        signature: Of the model.

    Raises:
        InputError: If the file is no such file; the message is what is wrong with it.
    """
    check_series_header(path, signature)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            frames, times, lengths = (arrays[name] for name in _ARRAYS)
    except DAMAGED_FILE_ERRORS:
        raise InputError("not a whole .npz file") from None
    times, lengths = times.astype(np.float64), lengths.astype(np.int64)
    if not len(lengths) or lengths.min() < 1 or lengths.sum() != len(frames):
        raise InputError(f"lengths that add up to {lengths.sum():,} for {len(frames):,} frames, or one below 1")
    if not np.isfinite(times).all():
        raise InputError("a time that is not a finite number")
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    falls = np.flatnonzero(np.diff(times) < 0) + 1
    within = np.setdiff1d(falls, starts)
    if len(within):
        raise InputError(f"times that fall in series {np.searchsorted(starts, within[0], 'right') - 1}")
    unit = signature.time_unit or ""
    relative = times - np.repeat(times[starts], lengths)
    pixels = frames.reshape(len(frames), *signature.image_shape[1:])
    return SeriesArray(pixels, starts, lengths, relative, int(lengths.max()), unit), times[starts]


def _read_header(archive: zipfile.ZipFile, name: str) -> ArrayHeader:
    """Returns the header of an array; nothing is allocated by what it promises."""
    entry = archive.getinfo(f"{name}.npy")
    with archive.open(entry) as stream:
        header = read_npy_header(stream)
        size = math.prod(header.shape) * header.dtype.itemsize
        if header.dtype.hasobject or stream.tell() + size != entry.file_size:
            raise ValueError("another size than promised")
    return header
