"""Pictures within answers: PNG files as base64 text."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from keras_lnn.explaining.explanations import Explained

_TYPES = {".png": "image/png", ".nii": "application/x-nifti", ".npy": "application/x-npy"}
_MAP_DOTS_PER_INCH = 110


def as_data(content: bytes, media_type: str = "image/png") -> dict[str, str]:
    """Returns a file as an answer has it: its media ``type``, and its content as base64 ``data``.

    Args:
        content: The content.
        media_type: What it is.
    """
    return {"type": media_type, "data": base64.b64encode(content).decode("ascii")}


def read_as_data(path: Path) -> dict[str, str]:
    """Returns a PNG, NIfTI or ``.npy`` file as an answer has it."""
    return as_data(path.read_bytes(), _TYPES[path.suffix])


def draw_sample(image: np.ndarray) -> dict[str, str]:
    """Returns one sample as the model reads it, of a volume or a series the slice or frame in the middle.

    Args:
        image: uint8, (height, width, channels), or with an axis of slices or frames before them.
    """
    from PIL import Image

    shown = image if image.ndim == 3 else image[(len(image) - 1) // 2]
    stream = io.BytesIO()
    Image.fromarray(shown[..., 0] if shown.shape[-1] == 1 else shown).save(stream, "png")
    return as_data(stream.getvalue())


def draw_map(explained: Explained) -> dict[str, str]:
    """Returns the picture of a map, with what it is about and by which method it was made."""
    from keras_lnn.plots.explanations import plot_explanation

    title = f"What counts for {explained.target}"
    figure = plot_explanation(explained.image, explained.maps, title, explained.times, explained.unit)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=_MAP_DOTS_PER_INCH)
    return as_data(stream.getvalue()) | {"target": explained.target, "method": ", ".join(explained.maps)}
