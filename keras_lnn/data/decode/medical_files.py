"""DICOM and NIfTI files: their values through a window to 8 bits. The packages that read them are optional."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar, cast

import numpy as np

from keras_lnn.data.decode import dicom_files, dicom_volumes
from keras_lnn.data.decode.file_values import SLICE, FileFacts, choose_frame, find_slice, import_package, show_values
from keras_lnn.errors import InputError

if TYPE_CHECKING:
    from keras_lnn.data.options import Rendering

_Path = TypeVar("_Path", bound="str | os.PathLike[str]")
_NIFTI_SUFFIXES = (".nii", ".nii.gz")
SUFFIXES = dicom_files.SUFFIXES + _NIFTI_SUFFIXES
_MILLIMETRES = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}


@dataclasses.dataclass(frozen=True)
class Grid:
    """The grid of pixels of a file in its own size, upright.

    Args:
        shape: (height, width) or (depth, height, width).
        spacing: Millimetres from one pixel to the next along each axis; None if the file does not state it.
        affine: For a volume, the transform from voxels (right, front, head) to positions in the patient.
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...] | None = None
    affine: np.ndarray | None = dataclasses.field(default=None, compare=False, repr=False)

    def lies_on(self, other: Grid) -> bool:
        """Returns whether a volume of the same shape coincides with this one to half a voxel; images always do."""
        if self.affine is None or other.affine is None:
            return True
        apart = self.affine - other.affine
        corners = np.vstack([np.zeros(3), np.diag(np.array(self.shape[::-1]) - 1)])
        moved = corners @ apart[:3, :3].T + apart[:3, 3]
        return bool(np.abs(moved).max() <= np.linalg.norm(self.affine[:3, :3], axis=0).min() / 2)


def is_medical(source: str | os.PathLike | bytes) -> bool:
    """Returns whether a source is a DICOM or NIfTI file, by its name or first bytes, or a folder of DICOM slices."""
    if isinstance(source, bytes):
        return dicom_files.has_mark(source)
    return is_nifti(source) or dicom_files.is_dicom(source) or os.path.isdir(source)


def is_nifti(source: _Path | bytes) -> TypeGuard[_Path]:
    """Returns whether a file is NIfTI, by its name."""
    if isinstance(source, bytes):
        return False
    return os.fspath(cast("str | os.PathLike[str]", source)).lower().endswith(_NIFTI_SUFFIXES)


def is_volume(path: str | os.PathLike, frame: str | None = None) -> bool:
    """Returns whether a path has three dimensions; a file that cannot be opened counts as an image.

    Args:
        path: A NIfTI file, a DICOM file whose frames are slices, or a folder with a DICOM series.
        frame: The requested frame, with which DICOM slices are images.
    """
    if not is_nifti(path):
        return frame is None and (os.path.isdir(path) or dicom_files.is_dicom(path)) and dicom_volumes.is_volume(path)
    try:
        return _planes(import_package("nibabel", "nifti").load(path).shape) == 3
    except Exception:  # reported when the file is decoded
        return False


def is_grey(path: str | os.PathLike) -> bool:
    """Returns whether a file has one value per pixel, by its header."""
    return True if is_nifti(path) else dicom_files.is_grey(path)


def read_slice(
    source: str | os.PathLike | bytes,
    window: tuple[float, float] | None,
    frame: str | None = None,
    facts: FileFacts | None = None,
) -> np.ndarray:
    """Reads one image.

    Args:
        source: A path, or the bytes of a DICOM file.
        window: Centre and width in the units of the file; None for its own window, else its whole range.
        frame: Which of several frames or times is read, see :func:`~keras_lnn.data.decode.file_values.choose_frame`, or
            which slice of a volume, such as ``slice 3``.
        facts: Receives facts about the file.

    Returns:
        uint8, (height, width) or (height, width, 3).
    """
    facts = facts or FileFacts()
    if not isinstance(source, bytes) and os.path.isdir(source):
        return dicom_volumes.read_image(Path(source), window, frame, facts)
    index = find_slice(frame)
    if not is_nifti(source) and index is not None and not isinstance(source, bytes):
        return dicom_volumes.read_frame(source, index, window, facts)
    if not is_nifti(source):
        return dicom_files.read_image(source, window, frame, facts)
    values, _ = _read_nifti(source, frame, facts)
    if values.ndim != 2:
        raise InputError("a volume among images")
    return show_values(values, window)


def read_range(path: str | os.PathLike, indices: Sequence[int], are_slices: bool = False) -> tuple[float, float]:
    """Returns the lowest and the highest value of some frames, times or slices of a file, in the file's units."""
    if is_nifti(path):
        kind = SLICE if are_slices else ""
        frames = [_read_nifti(path, f"{kind}{index + 1}", FileFacts())[0] for index in indices]
    elif are_slices:
        frames = dicom_volumes.read_frames(path, indices)
    else:
        frames = dicom_files.read_frames(path, indices)
    finite = [frame[np.isfinite(frame)] for frame in frames]
    return min(float(frame.min()) for frame in finite), max(float(frame.max()) for frame in finite)


def read_volume(
    source: str | os.PathLike | bytes,
    shape: tuple[int, ...],
    rendering: Rendering,
    facts: FileFacts | None = None,
) -> np.ndarray:
    """Reads a volume in the orientation of its patient and resamples it, smoothed if it shrinks.

    Args:
        source: A path.
        shape: (depth, height, width, 1) of the result.
        rendering: ``pad`` keeps the proportions in millimetres; the window is in the units of the file.
        facts: Receives facts about the file.

    Returns:
        uint8 of this shape.
    """
    from scipy import ndimage

    values, spacing = _read_shown(source, rendering, facts or FileFacts())
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


def _read_shown(
    source: str | os.PathLike | bytes, rendering: Rendering, facts: FileFacts
) -> tuple[np.ndarray, tuple[float, ...]]:
    """Returns the voxels of a volume in its own size, from 0 to 255, and their spacing."""
    if isinstance(source, bytes) or not is_volume(source, rendering.frame):
        # The reader of a damaged file reports what is wrong with it.
        if is_medical(source):
            read_slice(source, rendering.window, rendering.frame)
        raise InputError("an image among volumes")
    if is_nifti(source):
        values, spacing = _read_nifti(source, rendering.frame, facts)
        return show_values(values, rendering.window).astype(np.float32), spacing
    volume = dicom_volumes.read_volume(source)
    facts.note(volume.values)
    shown = show_values(volume.values, rendering.window or volume.window).astype(np.float32)
    return 255 - shown if volume.inverted else shown, volume.spacing


def fitted_volume(
    shape: tuple[int, ...], spacing: tuple[float, ...], wanted: tuple[int, ...], fit: str
) -> tuple[int, ...]:
    """Returns depth, height and width of a volume fitted into the wanted size: all of it, or with its proportions."""
    extent = np.multiply(shape, spacing) if fit == "pad" else np.ones(len(wanted))
    return tuple(np.maximum(1, np.rint(np.array(wanted) * extent / extent.max())).astype(int).tolist())


def read_nifti_values(path: str | os.PathLike) -> tuple[np.ndarray, tuple[float, ...]]:
    """Returns the stored values of a NIfTI file, (height, width) or (depth, height, width), and their spacing."""
    return _read_nifti(path, None, FileFacts())


def native_grid(path: str | os.PathLike) -> Grid:
    """Reads the grid of pixels from the header of a file; a volume is in its patient's orientation."""
    if not is_nifti(path):
        if is_volume(path):
            return Grid(*dicom_volumes.read_size(path))
        size, spacing = dicom_files.read_size(path)
        return Grid(size, _usable(spacing, 2))
    nibabel = import_package("nibabel", "nifti")
    image = nibabel.load(path)
    shape, millimetres = image.shape[:3], _find_millimetres(image)
    axes, affine = list(range(len(shape))), None
    if len(shape) == 3:
        # Find where each axis of the file goes when the volume is turned upright.
        goes = nibabel.orientations.io_orientation(image.affine)
        axes = [int(np.flatnonzero(goes[:, 0] == axis)[0]) for axis in axes]
        affine = image.affine @ nibabel.orientations.inv_ornt_aff(goes, shape)
    if _planes(image.shape) == 2 and len(shape) == 3:
        del axes[int(np.argmin([shape[axis] for axis in axes]))]
    axes.reverse()
    spacing = None if millimetres is None else _usable([millimetres[axis] for axis in axes], len(axes))
    return Grid(tuple(int(shape[axis]) for axis in axes), spacing, affine if len(axes) == 3 else None)


def read_slice_positions(path: str | os.PathLike) -> np.ndarray:
    """Returns the position of each slice of a volume in one file, in millimetres along the axis of its slices."""
    if not is_nifti(path):
        return dicom_volumes.read_positions([Path(path)])
    grid = native_grid(path)
    if grid.spacing is None:
        raise InputError("slices at a distance that the file does not state")
    return np.arange(grid.shape[0]) * grid.spacing[0]


def _find_millimetres(image: Any) -> list[float] | None:
    """Returns the spacing along each axis of a nibabel image; None if it does not state it."""
    zooms = image.header.get_zooms()[:3]
    try:
        unit = image.header.get_xyzt_units()[0]
    except KeyError:  # a damaged header, whose voxels are read all the same
        return None
    # Files written from bare arrays have voxels of 1 and no unit.
    known = unit != "unknown" or any(zoom != 1 for zoom in zooms)
    return [float(zoom) * _MILLIMETRES[unit] for zoom in zooms] if known else None


def _usable(spacing: Any, axes: int) -> tuple[float, ...] | None:
    """Returns a spacing as one positive number per axis; None if it is invalid."""
    try:
        numbers = tuple(map(float, spacing))
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == axes and all(0 < number < float("inf") for number in numbers) else None


def _read_nifti(path: str | os.PathLike, frame: str | None, facts: FileFacts) -> tuple[np.ndarray, tuple[float, ...]]:
    """Returns the values with axes (height, width) or (depth, height, width), and the spacing along them."""
    image = import_package("nibabel", "nifti").load(path)
    if len(image.shape) > 4 or len(image.shape) < 2:
        raise InputError(f"{len(image.shape)} dimensions")
    if min(image.shape) < 1:
        raise InputError("no pixels")
    facts.frames = image.shape[3] if len(image.shape) == 4 else 1
    index = find_slice(frame)
    if index is not None:
        image, frame = _cut_slice(image, index), None
    values, spacing = upright(image, np.float32, choose_frame(frame, facts.frames))
    facts.note(values)
    return values, spacing


def _cut_slice(image: Any, index: int) -> Any:
    """Returns the part of a nibabel image that is one slice of the upright volume, counted along its depth."""
    goes = import_package("nibabel", "nifti").orientations.io_orientation(image.affine)
    axis = int(np.flatnonzero(goes[:, 0] == 2)[0])
    place = index if goes[axis, 1] > 0 else image.shape[axis] - 1 - index
    if not 0 <= place < image.shape[axis]:
        raise InputError(f"{image.shape[axis]} slices, so that there is no slice {index + 1}")
    # The other slices are not read.
    return image.slicer[tuple(slice(place, place + 1) if each == axis else slice(None) for each in range(3))]


def upright(image: Any, dtype: type, time: int | None = 0) -> tuple[np.ndarray, tuple[float, ...]]:
    """Returns the values of a nibabel image with its axes in the order of images, and the spacing along them.

    Args:
        image: An image of two to four dimensions.
        dtype: Type of the values.
        time: Which of several times is read; None for their mean.
    """
    planes = _planes(image.shape)
    if len(image.shape) == 4 and time is None:
        image = type(image)(np.mean(image.dataobj, axis=3, dtype=np.float32), image.affine)
    elif len(image.shape) == 4:
        image = image.slicer[..., time]  # the other times are not read
    if len(image.shape) == 3:
        image = import_package("nibabel", "nifti").as_closest_canonical(image)
    values = np.asarray(image.dataobj, dtype)
    spacing = tuple(map(float, image.header.get_zooms()))[: values.ndim]
    if planes == 2 and values.ndim == 3:
        axis = int(np.argmin(values.shape))
        values, spacing = values.take(0, axis), spacing[:axis] + spacing[axis + 1 :]
    # NIfTI stores (x, y, z) with y to the front and z to the head; images have their rows from the top.
    values = values.T
    return values[..., ::-1, :], spacing[::-1]


def _planes(shape: tuple[int, ...]) -> int:
    return 3 if len(shape) >= 3 and min(shape[:3]) > 1 else 2
