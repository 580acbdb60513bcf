"""DICOM files: one of their frames, or the mean of all, through a window to 8 bits. pydicom is optional."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_lnn.data.decode.file_values import FileFacts, choose_frame, import_package, show_values
from keras_lnn.errors import EnvironmentFault, InputError

SUFFIXES = (".dcm", ".dicom")
# Enhanced CT, MR and PET, whose frames are slices, and the legacy converted kind of each.
_ENHANCED = frozenset(f"1.2.840.10008.5.1.4.1.1.{number}" for number in ("2.1", "2.2", "4.1", "4.4", "130", "128.1"))
# The mark follows 128 bytes without meaning; scanners often give their files no suffix.
_MARK, _MARK_AT = b"DICM", 128


def is_dicom(source: str | os.PathLike) -> bool:
    """Returns whether a file is DICOM, by its name, or if it has no suffix by its first bytes."""
    suffix = os.path.splitext(source)[1].lower()
    if suffix in SUFFIXES:
        return not os.path.isdir(source)
    if suffix and not suffix[1:].isdigit():  # 1.2.840.113619 is a name, not a suffix
        return False
    with contextlib.suppress(OSError), open(source, "rb") as stream:
        return stream.read(_MARK_AT + 4)[_MARK_AT:] == _MARK
    return False


def has_mark(content: bytes) -> bool:
    """Returns whether the bytes of a file begin as those of DICOM files do."""
    return content[_MARK_AT : _MARK_AT + len(_MARK)] == _MARK


def is_grey(path: str | os.PathLike) -> bool:
    """Returns whether a file has one value per pixel, by its header."""
    head = read_head(path)
    return head.get("SamplesPerPixel", 1) == 1 and head.get("PhotometricInterpretation") != "PALETTE COLOR"


def read_size(path: str | os.PathLike) -> tuple[tuple[int, int], Any]:
    """Returns height and width of a file, and the spacing of its pixels if it states one, from its header."""
    head = read_head(path)
    return (int(head.Rows), int(head.Columns)), head.get("PixelSpacing")


def read_patient_id(path: str | os.PathLike) -> str:
    """Returns the number of the patient in a DICOM file; empty if it has none."""
    return str(read_head(path, ["PatientID"]).get("PatientID") or "").strip()


def read_image(
    source: str | os.PathLike | bytes, window: tuple[float, float] | None, frame: str | None, facts: FileFacts
) -> np.ndarray:
    """Reads one image.

    Args:
        source: A path, or the bytes of a file.
        window: Centre and width in the units of the file; None for its own window, else its whole range.
        frame: Which of several frames is read, see :func:`~keras_lnn.data.decode.file_values.choose_frame`.
        facts: Receives the number of frames, and the values before windowing.

    Returns:
        uint8, (height, width) or (height, width, 3).
    """
    dataset = open_file(source)
    facts.frames = int(dataset.get("NumberOfFrames") or 1)
    if frame is None and has_slices(dataset):
        raise InputError("a volume among images")
    index = choose_frame(frame, facts.frames)
    if index is not None:
        values = decode_frame(dataset, index)
    else:
        values = _mean_of([decode_frame(dataset, index) for index in range(facts.frames)])
    facts.note(values)
    from pydicom import pixels

    kind = dataset.get("PhotometricInterpretation", "MONOCHROME2")
    if kind == "PALETTE COLOR":
        values = pixels.apply_color_lut(values, dataset)
    if values.ndim == 3:
        return values if values.dtype == np.uint8 else (values >> 8).astype(np.uint8)
    values = pixels.apply_modality_lut(values, dataset)
    shown = show_values(values, window or own_window(dataset))
    return 255 - shown if kind == "MONOCHROME1" else shown


def has_slices(dataset: Any) -> bool:
    """Returns whether the frames of a file are slices of a volume, at different positions."""
    if dataset.get("SOPClassUID") not in _ENHANCED or int(dataset.get("NumberOfFrames") or 1) < 2:
        return False
    places = [find_group(dataset, index, "PlanePositionSequence").get("ImagePositionPatient") for index in (0, 1)]
    return None not in places and list(places[0]) != list(places[1])


def find_group(dataset: Any, index: int, name: str) -> Any:
    """Returns what an enhanced file states for a frame, or else for all frames; an empty mapping if nothing."""
    frames = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    for groups in (frames[index : index + 1], shared[:1]):
        for group in groups:
            if group.get(name):
                return group[name].value[0]
    return {}


def read_values(path: str | os.PathLike) -> np.ndarray:
    """Reads the values of a file with one frame, in its units."""
    dataset = open_file(path)
    values = decode_frame(dataset, 0)
    if values.ndim != 2:
        raise InputError("slices in colour")
    from pydicom import pixels

    return np.asarray(pixels.apply_modality_lut(values, dataset), np.float32)


def read_frames(path: str | os.PathLike, indices: Sequence[int]) -> list[np.ndarray]:
    """Reads some frames of a grey file, in its units; frames in colour are as they are stored."""
    from pydicom import pixels

    dataset = open_file(path)
    frames = (decode_frame(dataset, index) for index in indices)
    return [frame if frame.ndim == 3 else pixels.apply_modality_lut(frame, dataset) for frame in frames]


def _mean_of(frames: list[np.ndarray]) -> np.ndarray:
    """Returns the mean of frames, rounded to their stored type."""
    return np.rint(np.mean(frames, axis=0)).astype(frames[0].dtype)


def read_head(path: str | os.PathLike, tags: list[str] | None = None) -> Any:
    """Reads a file without its pixels, or only some of its elements."""
    return import_package("pydicom", "dicom").dcmread(path, stop_before_pixels=True, specific_tags=tags)


def open_file(source: str | os.PathLike | bytes) -> Any:
    """Reads a file with its pixels, which are not decoded yet."""
    pydicom = import_package("pydicom", "dicom")
    try:
        dataset = pydicom.dcmread(io.BytesIO(source) if isinstance(source, bytes) else source)
    except pydicom.errors.InvalidDicomError:
        raise InputError("not a DICOM file") from None
    if "PixelData" not in dataset:
        raise InputError("a DICOM file without an image")
    return dataset


def decode_frame(dataset: Any, index: int) -> np.ndarray:
    """Decodes one frame as it is stored; an error names a missing decoder."""
    from pydicom import pixels

    try:
        return pixels.pixel_array(dataset, index=index)
    except (RuntimeError, NotImplementedError) as error:
        raise _find_missing_decoder(dataset, str(error)) or error from None


def _find_missing_decoder(dataset: Any, message: str) -> InputError | None:
    """Returns an error that names the decoder that pydicom lacks, or None if the file itself is bad."""
    from pydicom.pixels import get_decoder

    syntax = dataset.file_meta.TransferSyntaxUID
    name = syntax.name.partition(" (")[0].partition(",")[0]
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        return InputError(f"compressed as {name}, which no package here decodes")
    lacks_decoders = any("pylibjpeg" in plugin for plugin in decoder.missing_dependencies)
    # Pillow, which is always installed, decodes some of the files of a few kinds.
    if lacks_decoders and (not decoder.is_available or re.search("Pillow (does not support|cannot decode)", message)):
        return EnvironmentFault(f"compressed as {name}, which needs a decoder: pip install keras-lnn[dicom]")
    return None


def own_window(dataset: Any) -> tuple[float, float] | None:
    """Returns the first window stated in a file or a part of it."""
    try:
        center, width = (
            float(np.atleast_1d(np.asarray(dataset.get(name), float))[0]) for name in ("WindowCenter", "WindowWidth")
        )
    except (TypeError, ValueError, IndexError):
        return None
    return (center, width) if np.isfinite(center) and width > 0 else None
