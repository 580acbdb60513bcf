"""Volumes of DICOM slices, sorted by position: a series in a folder, or frames of an enhanced CT, MR or PET file."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_lnn.data.decode import dicom_files
from keras_lnn.data.decode.file_values import FileFacts, choose_frame, show_values
from keras_lnn.errors import InputError
from keras_lnn.files.atomic import file_digest

# Directions in the patient, to the left, to the back and to the head, of the axes depth, height and width of upright
# volumes, the same as for NIfTI files.
_UPRIGHT = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
# Slices farther apart than this multiple of the usual distance have a missing slice between them.
_GAP = 1.5


@dataclasses.dataclass(frozen=True)
class DicomVolume:
    """An upright volume of stacked slices.

    Args:
        values: (depth, height, width), in the units of the files.
        spacing: Millimetres from one voxel to the next along each axis.
        window: Centre and width stated in the middle slice; None if it states none.
        inverted: Whether low values are bright.
    """

    values: np.ndarray
    spacing: tuple[float, ...]
    window: tuple[float, float] | None
    inverted: bool


@dataclasses.dataclass(frozen=True)
class _Slice:
    """A slice, whose pixels are decoded on request."""

    position: np.ndarray
    orientation: np.ndarray
    spacing: tuple[float, float]
    shape: tuple[int, int]
    read: Callable[[], np.ndarray]
    window: tuple[float, float] | None
    inverted: bool


def list_slices(folder: Path) -> list[Path]:
    """Returns the DICOM files directly in a folder."""
    files = (path for path in sorted(folder.iterdir()) if not path.name.startswith(".") and path.is_file())
    return [path for path in files if dicom_files.is_dicom(path)]


def digest_series(folder: Path) -> str:
    """Returns a hash of the content of the DICOM files in a folder, whatever their order and names."""
    slices = list_slices(folder)
    if not slices:
        raise IsADirectoryError(errno.EISDIR, "is a directory without DICOM files")
    return hashlib.sha256("\n".join(sorted(map(file_digest, slices))).encode()).hexdigest()


def is_series(files: Sequence[Path]) -> bool:
    """Returns whether DICOM files of one folder are slices of one series, judging by the first and the last of them."""
    if len(files) < 2:
        return False
    try:
        first, last = (dicom_files.read_head(path) for path in (files[0], files[-1]))
        return first.SeriesInstanceUID == last.SeriesInstanceUID and list(first.ImagePositionPatient) != list(
            last.ImagePositionPatient
        )
    except Exception:  # reported when the files are decoded
        return False


def is_volume(path: str | os.PathLike) -> bool:
    """Returns whether a folder is a series, or the frames of a file are slices; unreadable paths count as images."""
    try:
        if os.path.isdir(path):
            return is_series(list_slices(Path(path)))
        return dicom_files.has_slices(dicom_files.read_head(path))
    except Exception:
        return False


def read_volume(path: str | os.PathLike) -> DicomVolume:
    """Reads slices in the order of their positions, and turns the volume upright."""
    slices = _sort(_list_folder(Path(path)) if os.path.isdir(path) else _list_frames(path))
    values = np.stack([each.read() for each in slices])
    order, flipped = _find_upright(slices[0].orientation)
    spacing = np.array([_find_distance(slices), *slices[0].spacing])
    values = np.flip(values.transpose(order), tuple(np.flatnonzero(flipped).tolist()))
    middle = slices[len(slices) // 2]
    return DicomVolume(values, tuple(spacing[order].tolist()), middle.window, middle.inverted)


def read_size(path: str | os.PathLike) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Returns the shape of the upright volume and its spacing, from the headers of the slices."""
    slices = _sort(_list_folder(Path(path)) if os.path.isdir(path) else _list_frames(path))
    order, _ = _find_upright(slices[0].orientation)
    shape, spacing = (len(slices), *slices[0].shape), (_find_distance(slices), *slices[0].spacing)
    return tuple(shape[axis] for axis in order), tuple(float(spacing[axis]) for axis in order)


def read_image(folder: Path, window: tuple[float, float] | None, frame: str | None, facts: FileFacts) -> np.ndarray:
    """Reads one slice of a series, or the mean of all, as :func:`keras_lnn.data.decode.dicom_files.read_image` does."""
    if frame is None:
        raise InputError("a volume among images")
    slices = _sort(_list_folder(folder))
    facts.frames = len(slices)
    index = choose_frame(frame, facts.frames)
    values = np.mean([each.read() for each in slices], axis=0) if index is None else slices[index].read()
    facts.note(values)
    middle = slices[len(slices) // 2 if index is None else index]
    shown = show_values(values, window or middle.window)
    return 255 - shown if middle.inverted else shown


def read_positions(files: Sequence[Path]) -> np.ndarray:
    """Returns the position in millimetres of each slice, along the direction in which slices are stacked.

    Args:
        files: One file whose frames are slices, or files of one slice each.
    """
    return _project(_list_files(files) if len(files) > 1 else _list_frames(files[0]))


def find_window(path: str | os.PathLike, index: int) -> tuple[float, float] | None:
    """Returns the window stated for one of the slices in a file; None if there is none."""
    return _list_frames(path)[index].window


def read_frames(path: str | os.PathLike, indices: Sequence[int]) -> list[np.ndarray]:
    """Reads some of the slices in a file, in its units."""
    slices = _list_frames(path)
    return [slices[index].read() for index in indices]


def read_frame(path: str | os.PathLike, index: int, window: tuple[float, float] | None, facts: FileFacts) -> np.ndarray:
    """Reads one of the slices in a file, as :func:`keras_lnn.data.decode.dicom_files.read_image` does an image."""
    chosen = _list_frames(path)[index]
    values = chosen.read()
    facts.note(values)
    shown = show_values(values, window or chosen.window)
    return 255 - shown if chosen.inverted else shown


def _list_folder(folder: Path) -> list[_Slice]:
    files = list_slices(folder)
    if not files:
        raise InputError("a folder without DICOM files")
    return _list_files(files)


def _list_files(files: Sequence[Path]) -> list[_Slice]:
    heads = [dicom_files.read_head(file) for file in files]
    series = {str(head.get("SeriesInstanceUID")) for head in heads}
    if len(series) > 1:
        raise InputError(f"slices of {len(series)} series in one folder")

    def describe(file: Path, head: Any) -> _Slice:
        return _Slice(
            *_find_place(head.get("ImagePositionPatient"), head.get("ImageOrientationPatient")),
            _find_spacing(head.get("PixelSpacing")),
            (int(head.Rows), int(head.Columns)),
            lambda: dicom_files.read_values(file),
            dicom_files.own_window(head),
            head.get("PhotometricInterpretation") == "MONOCHROME1",
        )

    return [describe(file, head) for file, head in zip(files, heads, strict=True)]


def _list_frames(path: str | os.PathLike) -> list[_Slice]:
    dataset = dicom_files.open_file(path)
    count = int(dataset.get("NumberOfFrames") or 1)

    def describe(index: int) -> _Slice:
        position, orientation, measures, transformation, shown = (
            dicom_files.find_group(dataset, index, name)
            for name in (
                "PlanePositionSequence",
                "PlaneOrientationSequence",
                "PixelMeasuresSequence",
                "PixelValueTransformationSequence",
                "FrameVOILUTSequence",
            )
        )
        return _Slice(
            *_find_place(position.get("ImagePositionPatient"), orientation.get("ImageOrientationPatient")),
            _find_spacing(measures.get("PixelSpacing")),
            (int(dataset.Rows), int(dataset.Columns)),
            lambda: _read_frame(dataset, index, transformation),
            dicom_files.own_window(shown),
            dataset.get("PhotometricInterpretation") == "MONOCHROME1",
        )

    return [describe(index) for index in range(count)]


def _read_frame(dataset: Any, index: int, transformation: Any) -> np.ndarray:
    values = dicom_files.decode_frame(dataset, index).astype(np.float32)
    slope, intercept = (transformation.get(name) for name in ("RescaleSlope", "RescaleIntercept"))
    return values if slope is None else values * float(slope) + float(intercept or 0)


def _find_place(position: Any, orientation: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns the position of a slice, and the directions of its depth, height and width."""
    if position is None or orientation is None or len(position) != 3 or len(orientation) != 6:
        raise InputError("slices without a position in the patient")
    along_row, along_column = np.reshape([float(number) for number in orientation], (2, 3))
    directions = np.stack([np.cross(along_row, along_column), along_column, along_row])
    return np.array([float(number) for number in position]), directions


def _find_spacing(spacing: Any) -> tuple[float, float]:
    try:
        height, width = (float(number) for number in spacing)
    except (TypeError, ValueError):
        return 1.0, 1.0
    return (height, width) if min(height, width) > 0 else (1.0, 1.0)


def _sort(slices: Sequence[_Slice]) -> list[_Slice]:
    """Sorts slices by position along the direction in which they are stacked, and checks that they fit together."""
    places = _project(slices)
    order = np.argsort(places, kind="stable")
    ordered, steps = [slices[place] for place in order.tolist()], np.diff(places[order])
    if len(steps) and steps.min() < 1e-3:
        raise InputError("several slices at one position, such as several time points")
    if len(steps) and steps.max() > _GAP * np.median(steps):
        raise InputError(f"slices from {steps.min():g} to {steps.max():g} mm apart, so that some are missing")
    return ordered


def _find_distance(slices: Sequence[_Slice]) -> float:
    """Returns the distance from one slice to the next in millimetres."""
    return float(np.median(np.diff(_project(slices)))) if len(slices) > 1 else 1.0


def _project(slices: Sequence[_Slice]) -> np.ndarray:
    """Returns the positions of slices along the direction in which they are stacked, and checks that they fit together.

    That is the direction at right angles to the first slice.
    """
    first = slices[0]
    alike = (np.allclose(each.orientation, first.orientation, atol=1e-3) for each in slices)
    if not all(each.shape == first.shape for each in slices) or not all(alike):
        raise InputError("slices of different sizes or directions")
    return np.array([float(each.position @ first.orientation[0]) for each in slices])


def _find_upright(directions: np.ndarray) -> tuple[list[int], np.ndarray]:
    """Returns which axes of the slices are depth, height and width of the upright volume, and which are reversed."""
    from scipy.optimize import linear_sum_assignment

    cosines = _UPRIGHT @ directions.T
    _, order = linear_sum_assignment(-np.abs(cosines))
    return order.tolist(), cosines[np.arange(3), order] < 0
