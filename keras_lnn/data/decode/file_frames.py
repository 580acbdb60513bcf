"""One image of a series: a file, or one frame or slice of it, shown with the window of its whole series."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from keras_lnn.data.decode import dicom_files, dicom_volumes, medical_files
from keras_lnn.data.decode.file_values import SLICE
from keras_lnn.data.options import Rendering


@dataclasses.dataclass(frozen=True)
class FileFrame(os.PathLike):
    """One image of a series, which stands for its file wherever a path does.

    Args:
        path: The file.
        index: Which of the file's frames or times it is, from 0; None for a file with one image.
        window: Centre and width of the displayed values, which the images of a series share so that a change of
            brightness is seen; None for the file's own.
        is_slice: Whether the index counts slices of a volume, and not frames or times.
    """

    path: Path
    index: int | None = None
    window: tuple[float, float] | None = None
    is_slice: bool = False

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def __str__(self) -> str:
        return f"{self.path}{self.frame_name}"

    @property
    def frame_name(self) -> str:
        """Returns the frame's part of the name, such as `` frame 3`` or `` slice 3``; empty for a whole file."""
        kind = "slice" if self.is_slice else "frame"
        return "" if self.index is None else f" {kind} {self.index + 1}"

    @property
    def suffix(self) -> str:
        """Returns the file's suffix, and the frame."""
        return f"{self.path.suffix}{self.frame_name}"

    def choose(self, rendering: Rendering) -> Rendering:
        """Returns how this frame becomes pixels."""
        frame = rendering.frame if self.index is None else str(self.index + 1)
        frame = f"{SLICE}{frame}" if self.is_slice else frame
        return dataclasses.replace(rendering, frame=frame, window=rendering.window or self.window)


# Whatever is decoded to one image.
ImageFile = Path | FileFrame


def share_windows(files: Sequence[FileFrame], series: Sequence[int], workers: int) -> list[FileFrame]:
    """Returns images with one window for each series: that of the middle image, else the range of all of them.

    With a range of its own for each image, a lesion that brightens in all of them would stay as it is.

    Args:
        files: The images.
        series: The series of each image.
        workers: Number of threads.
    """
    rows: dict[int, list[int]] = {}
    for row, number in enumerate(series):
        rows.setdefault(number, []).append(row)
    shown = list(files)
    medical = [part for part in rows.values() if medical_files.is_medical(files[part[0]].path)]
    with ThreadPoolExecutor(workers) as pool:
        windows = pool.map(lambda part: _find_window([files[row] for row in part]), medical)
        for part, window in zip(medical, windows, strict=True):
            for row in part:
                shown[row] = dataclasses.replace(files[row], window=window)
    return shown


def _find_window(files: Sequence[FileFrame]) -> tuple[float, float] | None:
    try:
        middle = files[len(files) // 2]
        if not medical_files.is_nifti(middle.path):
            window = (
                dicom_volumes.find_window(middle.path, middle.index or 0)
                if middle.is_slice
                else dicom_files.own_window(dicom_files.read_head(middle.path))
            )
            if window is not None:
                return window
        indices: dict[Path, list[int]] = {}
        for file in files:
            indices.setdefault(file.path, []).append(file.index or 0)
        ranges = np.array([medical_files.read_range(path, part, middle.is_slice) for path, part in indices.items()])
        low, high = float(ranges[:, 0].min()), float(ranges[:, 1].max())
    except Exception:  # reported when the files are decoded
        return None
    return (low + high) / 2, (high - low) or 1.0
