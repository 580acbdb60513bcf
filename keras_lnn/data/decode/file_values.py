"""Values of files before they become pixels: their windows, their frames, and facts recorded about them."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_lnn.data.decode.copies import digest_values
from keras_lnn.errors import EnvironmentFault, InputError

# Begins the number of a slice of a volume where others give that of a frame.
SLICE = "slice "


class FileFacts:
    """Facts about the values in a file, recorded before they are resized.

    Attributes:
        digest: Hash of the values; empty if none were recorded.
        brightest: The highest value in a 16-bit file; None in others.
        frames: Number of images in the file, of which one is read, or their mean.
    """

    def __init__(self) -> None:
        self.digest = ""
        self.brightest: int | None = None
        self.frames = 1

    def note(self, values: np.ndarray) -> None:
        """Records the values of the file."""
        self.digest = digest_values(values)


def choose_frame(frame: str | None, count: int) -> int | None:
    """Returns the index of the frame to read; None for the mean of all.

    Args:
        frame: ``first``, ``middle``, ``mean``, or a number from 1 on; None for the first one.
        count: Number of frames of the file.
    """
    if frame == "each" and count > 1:
        raise InputError(f"{count} frames in one file, which cannot be read as separate images")
    if frame == "mean" and count > 1:
        return None
    if count == 1 or frame in (None, "first"):
        return 0
    if frame == "middle":
        return (count - 1) // 2
    if int(frame) > count:
        raise InputError(f"{count} frames, so that there is no frame {frame}")
    return int(frame) - 1


def find_slice(frame: str | None) -> int | None:
    """Returns the index of the slice of a volume to read, such as of ``slice 3``; None if a frame is read."""
    return int(frame.removeprefix(SLICE)) - 1 if frame is not None and frame.startswith(SLICE) else None


def apply_window(values: np.ndarray, center: float, width: float) -> np.ndarray:
    """Maps the values from ``center - width / 2`` to ``center + width / 2`` to 0..255; those outside are clipped."""
    shown = (np.asarray(values, np.float32) - (center - width / 2)) * (255 / width)
    return np.rint(np.clip(np.nan_to_num(shown), 0, 255)).astype(np.uint8)


def show_values(values: np.ndarray, window: tuple[float, float] | None) -> np.ndarray:
    """Maps values to 0..255 through a window, or through their whole range if there is none."""
    if window is None:
        finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        window = ((low + high) / 2, (high - low) or 1.0)
    return apply_window(values, *window)


def import_package(package: str, extra: str) -> Any:
    """Imports an optional package; if it is missing, an error names the extra to install."""
    try:
        return __import__(package)
    except ImportError:
        raise EnvironmentFault(f"needs {package}: pip install keras-lnn[{extra}]") from None
