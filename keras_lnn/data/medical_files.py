"""DICOM and NIfTI files: their values through a window to 8 bits. The packages that read them are optional."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_lnn.errors import EnvironmentFault, InputError

if TYPE_CHECKING:
    from keras_lnn.data.options import Rendering

_DICOM_SUFFIXES = (".dcm", ".dicom")
_NIFTI_SUFFIXES = (".nii", ".nii.gz")
SUFFIXES = _DICOM_SUFFIXES + _NIFTI_SUFFIXES
# Behind 128 bytes that say nothing; scanners often give their files no suffix.
_DICOM_MARK, _DICOM_MARK_AT = b"DICM", 128
_MILLIMETRES = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}


@dataclasses.dataclass(frozen=True)
class Grid:
    """The pixels of a file as it is, upright.

    Args:
        shape: (height, width) or (depth, height, width).
        spacing: Millimetres from one pixel to the next along each axis; None where the file does not say.
        affine: Of a volume, from voxels (right, front, head) to places in the patient.
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...] | None = None
    affine: np.ndarray | None = dataclasses.field(default=None, compare=False, repr=False)

    def lies_on(self, other: Grid) -> bool:
        """Whether a volume of the same shape lies on this one to half a voxel; images always do."""
        if self.affine is None or other.affine is None:
            return True
        apart = self.affine - other.affine
        corners = np.vstack([np.zeros(3), np.diag(np.array(self.shape[::-1]) - 1)])
        moved = corners @ apart[:3, :3].T + apart[:3, 3]
        return bool(np.abs(moved).max() <= np.linalg.norm(self.affine[:3, :3], axis=0).min() / 2)


def is_medical(source: str | os.PathLike | bytes) -> bool:
    """Whether this is a DICOM or NIfTI file, by its name, or where it has no suffix by its first bytes."""
    if isinstance(source, bytes):
        return source[_DICOM_MARK_AT : _DICOM_MARK_AT + 4] == _DICOM_MARK
    return is_nifti(source) or is_dicom(source)


def is_nifti(source: str | os.PathLike | bytes) -> bool:
    """Whether a file is NIfTI by its name."""
    return not isinstance(source, bytes) and os.fspath(source).lower().endswith(_NIFTI_SUFFIXES)


def is_volume(path: str | os.PathLike) -> bool:
    """Whether a file is NIfTI with three dimensions; one that cannot be opened counts as an image."""
    if not is_nifti(path):
        return False
    try:
        return _planes(_import("nibabel", "nifti").load(path).shape) == 3
    except Exception:  # whoever decodes the file names it
        return False


def is_grey(path: str | os.PathLike) -> bool:
    """Reads the head of a file: whether it has one value a pixel."""
    if is_nifti(path):
        return True
    head = _import("pydicom", "dicom").dcmread(path, stop_before_pixels=True)
    return head.get("SamplesPerPixel", 1) == 1 and head.get("PhotometricInterpretation") != "PALETTE COLOR"


def read_patient_id(path: str | os.PathLike) -> str:
    """Reads the number of the patient from a DICOM file; empty where it has none."""
    head = _import("pydicom", "dicom").dcmread(path, stop_before_pixels=True, specific_tags=["PatientID"])
    return str(head.get("PatientID") or "").strip()


def apply_window(values: np.ndarray, center: float, width: float) -> np.ndarray:
    """Maps the values from ``center - width / 2`` to ``center + width / 2`` to 0..255; those outside are cut off."""
    shown = (np.asarray(values, np.float32) - (center - width / 2)) * (255 / width)
    return np.rint(np.clip(np.nan_to_num(shown), 0, 255)).astype(np.uint8)


def read_slice(
    source: str | os.PathLike | bytes,
    window: tuple[float, float] | None,
    note: Callable[[np.ndarray], None] | None = None,
) -> np.ndarray:
    """Reads one image: of a DICOM file with many frames the first.

    Args:
        source: A path, or the bytes of a DICOM file.
        window: Centre and width in the units of the file; None for its own window, else its whole range.
        note: Called with the values before the window.

    Returns:
        uint8, (height, width) or (height, width, 3).
    """
    note = note or _ignore
    if is_nifti(source):
        values, _ = _read_nifti(source)
        if values.ndim != 2:
            raise InputError("a volume among images")
        note(values)
        return _windowed(values, window)
    return _read_dicom(source, window, note)


def read_volume(
    source: str | os.PathLike | bytes,
    shape: tuple[int, ...],
    rendering: Rendering,
    note: Callable[[np.ndarray], None] | None = None,
) -> np.ndarray:
    """Reads a NIfTI volume in the orientation of its patient and resamples it, smoothed where it shrinks.

    Args:
        source: A path.
        shape: (depth, height, width, 1) of the result.
        rendering: ``pad`` keeps the proportions in millimetres; the window counts in the units of the file.
        note: Called with the values before the window.

    Returns:
        uint8 of this shape.
    """
    from scipy import ndimage

    if not is_nifti(source):
        raise InputError("an image among volumes")
    values, spacing = _read_nifti(source)
    if values.ndim != 3:
        raise InputError("an image among volumes")
    (note or _ignore)(values)
    values = _windowed(values, rendering.window).astype(np.float32)
    size = np.array(fitted_volume(values.shape, spacing, shape[:3], rendering.fit))
    shrinking = np.array(values.shape) / size
    values = ndimage.gaussian_filter(values, np.maximum(0, (shrinking - 1) / 2), truncate=2)
    values = ndimage.zoom(values, size / values.shape, order=1, mode="nearest", grid_mode=True)
    volume = np.zeros(shape, np.uint8)
    place = tuple(
        slice((whole - part) // 2, (whole - part) // 2 + part)
        for whole, part in zip(shape[:3], values.shape, strict=True)
    )
    volume[(*place, 0)] = np.rint(np.clip(values, 0, 255))
    return volume


def fitted_volume(
    shape: tuple[int, ...], spacing: tuple[float, ...], wanted: tuple[int, ...], fit: str
) -> tuple[int, ...]:
    """Depth, height and width of a volume within those that are wanted: all of them, or keeping its proportions."""
    extent = np.multiply(shape, spacing) if fit == "pad" else np.ones(len(wanted))
    return tuple(np.maximum(1, np.rint(np.array(wanted) * extent / extent.max())).astype(int).tolist())


def read_nifti_values(path: str | os.PathLike) -> tuple[np.ndarray, tuple[float, ...]]:
    """The values of a NIfTI file as they are, (height, width) or (depth, height, width), and their spacing."""
    return _read_nifti(path)


def native_grid(path: str | os.PathLike) -> Grid:
    """Reads the head of a file; a volume is in its patient's orientation."""
    if not is_nifti(path):
        head = _import("pydicom", "dicom").dcmread(path, stop_before_pixels=True)
        return Grid((int(head.Rows), int(head.Columns)), _usable(head.get("PixelSpacing"), 2))
    nibabel = _import("nibabel", "nifti")
    image = nibabel.load(path)
    shape, millimetres = image.shape[:3], _find_millimetres(image)
    axes, affine = list(range(len(shape))), None
    if len(shape) == 3:
        # Where each axis of the file goes when the volume is turned upright.
        goes = nibabel.orientations.io_orientation(image.affine)
        axes = [int(np.flatnonzero(goes[:, 0] == axis)[0]) for axis in axes]
        affine = image.affine @ nibabel.orientations.inv_ornt_aff(goes, shape)
    if _planes(image.shape) == 2 and len(shape) == 3:
        del axes[int(np.argmin([shape[axis] for axis in axes]))]
    axes.reverse()
    spacing = None if millimetres is None else _usable([millimetres[axis] for axis in axes], len(axes))
    return Grid(tuple(int(shape[axis]) for axis in axes), spacing, affine if len(axes) == 3 else None)


def _find_millimetres(image: Any) -> list[float] | None:
    """The spacing along each axis of a nibabel image; None where it does not say."""
    zooms = image.header.get_zooms()[:3]
    try:
        unit = image.header.get_xyzt_units()[0]
    except KeyError:  # a damaged header, whose voxels are read all the same
        return None
    # Files made of bare arrays have voxels of 1 and no unit.
    known = unit != "unknown" or any(zoom != 1 for zoom in zooms)
    return [float(zoom) * _MILLIMETRES[unit] for zoom in zooms] if known else None


def _usable(spacing: Any, axes: int) -> tuple[float, ...] | None:
    """A spacing as one number above 0 an axis; None where it is none."""
    try:
        numbers = tuple(map(float, spacing))
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == axes and all(0 < number < float("inf") for number in numbers) else None


def is_dicom(source: str | os.PathLike) -> bool:
    """Returns whether a file is DICOM, by its name, or where it has no suffix by its first bytes."""
    suffix = os.path.splitext(source)[1].lower()
    if suffix in _DICOM_SUFFIXES:
        return True
    if suffix and not suffix[1:].isdigit():  # 1.2.840.113619 is a name, not a suffix
        return False
    with contextlib.suppress(OSError), open(source, "rb") as stream:
        return stream.read(_DICOM_MARK_AT + 4)[_DICOM_MARK_AT:] == _DICOM_MARK
    return False


def _ignore(values: np.ndarray) -> None:
    """Takes no note."""


def _read_dicom(
    source: str | os.PathLike | bytes, window: tuple[float, float] | None, note: Callable[[np.ndarray], None]
) -> np.ndarray:
    pydicom = _import("pydicom", "dicom")
    from pydicom import pixels

    try:
        dataset = pydicom.dcmread(io.BytesIO(source) if isinstance(source, bytes) else source)
    except pydicom.errors.InvalidDicomError:
        raise InputError("not a DICOM file") from None
    if "PixelData" not in dataset:
        raise InputError("a DICOM file without an image")
    try:
        values = pixels.pixel_array(dataset, index=0)
    except (RuntimeError, NotImplementedError) as error:
        raise _find_missing_decoder(dataset, str(error)) or error from None
    note(values)
    kind = dataset.get("PhotometricInterpretation", "MONOCHROME2")
    if kind == "PALETTE COLOR":
        values = pixels.apply_color_lut(values, dataset)
    if values.ndim == 3:
        return values if values.dtype == np.uint8 else (values >> 8).astype(np.uint8)
    values = pixels.apply_modality_lut(values, dataset)
    shown = _windowed(values, window or _own_window(dataset))
    return 255 - shown if kind == "MONOCHROME1" else shown


def _find_missing_decoder(dataset: Any, message: str) -> InputError | None:
    """Returns what is missing for a DICOM file that pydicom could not decode; None where the file itself is bad."""
    from pydicom.pixels import get_decoder

    syntax = dataset.file_meta.TransferSyntaxUID
    name = syntax.name.partition(" (")[0].partition(",")[0]
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        return InputError(f"compressed as {name}, which no package here decodes")
    lacks_decoders = any("pylibjpeg" in plugin for plugin in decoder.missing_dependencies)
    # Pillow, which is always there, decodes some of the files of a few kinds.
    if lacks_decoders and (not decoder.is_available or re.search("Pillow (does not support|cannot decode)", message)):
        return EnvironmentFault(f"compressed as {name}, which needs a decoder: pip install keras-lnn[dicom]")
    return None


def _own_window(dataset: Any) -> tuple[float, float] | None:
    """The first window that the file names."""
    try:
        center, width = (
            float(np.atleast_1d(np.asarray(dataset[name].value, float))[0]) for name in ("WindowCenter", "WindowWidth")
        )
    except (KeyError, TypeError, ValueError, IndexError):
        return None
    return (center, width) if np.isfinite(center) and width > 0 else None


def _read_nifti(path: str | os.PathLike) -> tuple[np.ndarray, tuple[float, ...]]:
    """The values with axes (height, width) or (depth, height, width), and the spacing along them."""
    image = _import("nibabel", "nifti").load(path)
    if len(image.shape) > 4 or len(image.shape) < 2:
        raise InputError(f"{len(image.shape)} dimensions")
    if min(image.shape) < 1:
        raise InputError("no pixels")
    return upright(image, np.float32)


def upright(image: Any, dtype: type) -> tuple[np.ndarray, tuple[float, ...]]:
    """The values of a nibabel image with its axes as those of images are, and the spacing along them.

    Args:
        image: Of two to four dimensions; of several times the first.
        dtype: Of the values.
    """
    planes = _planes(image.shape)
    # Values are read for the first of several times only.
    image = image.slicer[..., 0] if len(image.shape) == 4 else image
    if len(image.shape) == 3:
        image = _import("nibabel", "nifti").as_closest_canonical(image)
    values = np.asarray(image.dataobj, dtype)
    spacing = tuple(map(float, image.header.get_zooms()))[: values.ndim]
    if planes == 2 and values.ndim == 3:
        axis = int(np.argmin(values.shape))
        values, spacing = values.take(0, axis), spacing[:axis] + spacing[axis + 1 :]
    # Stored as (x, y, z) with y to the front and z to the head; images have their rows from the top.
    values = values.T
    return values[..., ::-1, :], spacing[::-1]


def _planes(shape: tuple[int, ...]) -> int:
    return 3 if len(shape) >= 3 and min(shape[:3]) > 1 else 2


def _windowed(values: np.ndarray, window: tuple[float, float] | None) -> np.ndarray:
    if window is None:
        finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        window = ((low + high) / 2, (high - low) or 1.0)
    return apply_window(values, *window)


def _import(package: str, extra: str) -> Any:
    try:
        return __import__(package)
    except ImportError:
        raise EnvironmentFault(f"needs {package}: pip install keras-lnn[{extra}]") from None
