"""Series whose files say themselves when their images were taken, or where."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_lnn.data.decode import medical_files
from keras_lnn.data.decode.dicom_volumes import list_slices, read_positions
from keras_lnn.data.decode.faults import is_obstacle, name_fault
from keras_lnn.data.decode.file_frames import FileFrame
from keras_lnn.data.decode.frame_times import count_frames, join_moments, read_frame_times, read_moments
from keras_lnn.data.decode.medical_files import read_slice_positions
from keras_lnn.errors import InputError


def has_frames(path: Path, steps_along: str = "time") -> bool:
    """Returns whether a file holds several images in time, or several slices; an unreadable one counts as one image.

    Args:
        path: The file.
        steps_along: ``position`` if slices of a volume count.
    """
    try:
        if not (medical_files.is_medical(path) and path.is_file()):
            return False
        return count_frames(path) > 1 or (steps_along == "position" and medical_files.is_volume(path))
    except Exception:  # reported when the file is decoded
        return False


def is_series_file(path: Path) -> bool:
    """Returns whether a file holds several images in time of two dimensions, which are a series of its own."""
    return has_frames(path) and not (medical_files.is_nifti(path) and medical_files.is_volume(path))


def read_file_times(
    files: Sequence[Path], seconds_per_unit: float | None = None, steps_along: str = "time"
) -> tuple[list[FileFrame], np.ndarray] | str:
    """Returns the images of a series with their times in seconds or positions in mm, or in words why they have none.

    Args:
        files: One file of several frames or slices, or files of one image each.
        seconds_per_unit: Length of the unit of a NIfTI file's times if the file states none.
        steps_along: ``time`` or ``position``.
    """
    try:
        if steps_along == "position":
            return _read_positions(files)
        return _read_times(files, seconds_per_unit)
    except Exception as error:  # errors of readers for damaged files have no common class
        if is_obstacle(error):
            raise InputError(
                f"The {steps_along}s of a series must be readable. Received: {files[0]} ({name_fault(error)})."
                " Remove the cause."
            ) from None
        return name_fault(error)


def _read_times(files: Sequence[Path], seconds_per_unit: float | None) -> tuple[list[FileFrame], np.ndarray]:
    if len(files) == 1:
        times = read_frame_times(files[0], seconds_per_unit) if medical_files.is_medical(files[0]) else None
        if times is None:  # one image needs no time
            return [FileFrame(files[0])], np.zeros(1)
        return [FileFrame(files[0], index) for index in range(len(times))], times
    strangers = sorted({file.suffix for file in files if not medical_files.is_medical(file)})
    if strangers:
        raise InputError(f"{', '.join(strangers)} files, whose names are no times")
    if any(map(medical_files.is_nifti, files)):
        raise InputError("NIfTI files of one time each, which do not say when")
    if any(count_frames(file) > 1 for file in files):
        raise InputError("a file of several frames among others")
    seconds = join_moments([read_moments(file) for file in files])
    if seconds is None:
        raise InputError("DICOM files without the time of their acquisition")
    return [FileFrame(file) for file in files], seconds


def _read_positions(files: Sequence[Path]) -> tuple[list[FileFrame], np.ndarray]:
    # A folder stands for the slices in it.
    files = [part for file in files for part in (list_slices(file) if file.is_dir() else [file])]
    if not files:
        raise InputError("a folder without DICOM files")
    strangers = sorted({file.suffix for file in files if not medical_files.is_medical(file)})
    if len(files) == 1 and not has_frames(files[0], "position"):  # one image needs no position
        return [FileFrame(files[0])], np.zeros(1)
    if strangers:
        raise InputError(f"{', '.join(strangers)} files, whose names are no positions")
    if any(count_frames(file) > 1 for file in files):
        raise InputError("frames in time, which have no positions")
    if len(files) == 1:
        positions = read_slice_positions(files[0])
        return [FileFrame(files[0], index, is_slice=True) for index in range(len(positions))], positions
    if any(medical_files.is_nifti(file) for file in files):
        raise InputError("NIfTI files beside others, each of which is a series of its own")
    if any(medical_files.is_volume(file) for file in files):
        raise InputError("a file of several slices among others")
    return [FileFrame(file) for file in files], read_positions(files)
