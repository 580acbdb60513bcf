"""Times of images that their files know: DICOM files of one or several frames, NIfTI files of four dimensions."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_lnn.data.decode import dicom_files, medical_files
from keras_lnn.data.decode.file_values import import_package
from keras_lnn.errors import InputError

# The elements of a DICOM file that say when its image was taken, the nearest to the image first: date, and time of day.
_KINDS = (
    ("", "AcquisitionDateTime"),
    ("AcquisitionDate", "AcquisitionTime"),
    ("ContentDate", "ContentTime"),
    ("SeriesDate", "SeriesTime"),
    ("StudyDate", "StudyTime"),
)
_TAGS = [name for kind in _KINDS for name in kind if name]
_OF_FRAMES = ["NumberOfFrames", "FrameTime", "FrameTimeVector", "PerFrameFunctionalGroupsSequence", "SOPClassUID"]
_NIFTI_SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}


def read_frame_times(path: Path, seconds_per_unit: float | None = None) -> np.ndarray | None:
    """Returns the seconds from the first frame of a file to each of its frames; None if it has one image.

    Args:
        path: A DICOM or NIfTI file.
        seconds_per_unit: Length of the unit of a NIfTI file's times if the file states none.

    Raises:
        InputError: The file has several frames of which it does not say when they were taken.
    """
    if medical_files.is_nifti(path):
        return _read_nifti_times(path, seconds_per_unit)
    head = dicom_files.read_head(path, _OF_FRAMES)
    count = int(head.get("NumberOfFrames") or 1)
    if count < 2:
        return None
    if dicom_files.has_slices(head):
        raise InputError("slices of a volume, which have no times")
    steps = head.get("FrameTimeVector")
    if steps is not None and not isinstance(steps, str) and len(steps) == count:
        return _require_rising(np.cumsum([0.0, *(float(step) for step in steps[1:])]) / 1000)
    step = float(head.get("FrameTime") or 0)
    if step > 0:
        return np.arange(count) * step / 1000
    taken = [dicom_files.find_group(head, index, "FrameContentSequence") for index in range(count)]
    for name in ("FrameAcquisitionDateTime", "FrameReferenceDateTime"):
        times = [_read_moment("", str(group.get(name) or "")) for group in taken]
        known = [time for time in times if time is not None]
        if len(known) == count and len(set(known)) > 1:
            return np.array(known) - known[0]
    raise InputError(f"{count} frames without times")


def count_frames(path: Path) -> int:
    """Returns the number of images in time in a DICOM or NIfTI file; slices of a volume count as one image."""
    if medical_files.is_nifti(path):
        shape = import_package("nibabel", "nifti").load(path).shape
        return shape[3] if len(shape) > 3 else 1
    head = dicom_files.read_head(path, _OF_FRAMES)
    return 1 if dicom_files.has_slices(head) else int(head.get("NumberOfFrames") or 1)


def read_moments(path: str | os.PathLike) -> dict[int, float]:
    """Returns the seconds at which a DICOM file's image was taken, by the kind of statement, the best kind first."""
    head = dicom_files.read_head(path, _TAGS)
    found = {}
    for number, (date, time) in enumerate(_KINDS):
        moment = _read_moment(str(head.get(date) or "") if date else "", str(head.get(time) or ""))
        if moment is not None:
            found[number] = moment
    return found


def join_moments(moments: Sequence[Mapping[int, float]]) -> np.ndarray | None:
    """Returns the seconds of the images of a series by the best kind of statement; None if they share no kind.

    The images of a dynamic series often have the time of their common acquisition, and differ in a later statement.

    Args:
        moments: Results of :func:`read_moments`.
    """
    shared = sorted(set.intersection(*(set(each) for each in moments)))
    columns = [np.array([each[kind] for each in moments]) for kind in shared]
    return next((column for column in columns if len(np.unique(column)) == len(column)), next(iter(columns), None))


def _read_moment(date: str, time: str) -> float | None:
    """Returns a DICOM date and time of day, or both as one, in seconds; None if there is none."""
    digits = date.replace(".", "") + time.partition("&")[0]
    zone, digits = _take_zone(digits)
    whole, _, part = digits.replace(":", "").partition(".")
    if len(whole) == 8:
        whole += "000000"
    form = {14: "%Y%m%d%H%M%S", 12: "%Y%m%d%H%M", 10: "%Y%m%d%H"}.get(len(whole))
    if form is None or not whole.isdigit() or (part and not part.isdigit()):
        return None
    try:
        moment = datetime.datetime.strptime(whole, form).replace(tzinfo=datetime.UTC)
    except ValueError:
        return None
    return moment.timestamp() + float(f"0.{part or 0}") - zone


def _take_zone(digits: str) -> tuple[float, str]:
    """Returns the offset from UTC in seconds, and the text without it."""
    for sign in "+-":
        moment, mark, zone = digits.partition(sign)
        if mark and len(zone) == 4 and zone.isdigit():
            return float(f"{sign}1") * (int(zone[:2]) * 3600 + int(zone[2:]) * 60), moment
    return 0.0, digits


def _read_nifti_times(path: Path, seconds_per_unit: float | None) -> np.ndarray | None:
    image: Any = import_package("nibabel", "nifti").load(path)
    count = image.shape[3] if len(image.shape) > 3 else 1
    if count < 2:
        return None
    step = float(image.header.get_zooms()[3])
    unit = image.header.get_xyzt_units()[1]
    length = _NIFTI_SECONDS.get(unit, seconds_per_unit if unit == "unknown" else None)
    if not 0 < step < float("inf"):
        raise InputError(f"{count} times with a step of {step:g}")
    if length is None:
        remedy = "; name it with --time-unit" if unit == "unknown" else ", which is none of time"
        raise InputError(f"times in the unit {unit}{remedy}")
    return np.arange(count) * step * length


def _require_rising(times: np.ndarray) -> np.ndarray:
    if not np.isfinite(times).all() or (np.diff(times) < 0).any():
        raise InputError("frame times that fall or are not numbers")
    return times
