"""The user's own images or series as a model reads them, whatever kind of samples it reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_lnn.data.arrays import ImageArray, SeriesArray
from keras_lnn.data.options import OwnImages
from keras_lnn.files.atomic import as_text
from keras_lnn.saved.image_files import FileReader, find_files
from keras_lnn.saved.series_predictions import fit_series, read_series
from keras_lnn.saved.signature import Signature


def read_own_samples(
    signature: Signature,
    paths: Sequence[Path],
    progress: Callable[[float], None] | None = None,
    *,
    own: OwnImages | None = None,
    skip_bad: bool = False,
    warn: Callable[[str], None] | None = None,
) -> tuple[ImageArray, list[str]]:
    """Returns images or series with their names, read as for predictions.

    Args:
        signature: Of the model.
        paths: Files and folders, as :func:`keras_lnn.saved.image_predictions.predict_files` takes them.
        progress: Called with the fraction done.
        own: For a model of series, columns, folder and unit of tables; None for what is found in them.
        skip_bad: Whether files that cannot be read are left out; else they are an error.
        warn: Called with each sentence on what may spoil the result.
    """
    options: dict[str, Any] = {"skip_bad": skip_bad, "warn": warn}
    if signature.time_unit is not None:
        parts, names = [], []
        for series, found, _ in read_series(signature, paths, progress, own=own, **options):
            parts.append(fit_series(signature, series, found, warn))
            names += found
        return _join_series(parts), names
    files = find_files(paths, volumes=len(signature.image_shape) == 4)
    pieces = list(FileReader(files, signature, **options).read(progress))
    return np.concatenate([images for images, _ in pieces]), [as_text(file) for _, read in pieces for file in read]


def _join_series(parts: Sequence[SeriesArray]) -> SeriesArray:
    """Returns the series of all parts, which have the same number of steps and the same unit."""
    offsets = np.cumsum([0, *(len(part.frames) for part in parts[:-1])])
    return SeriesArray(
        frames=np.concatenate([np.asarray(part.frames[np.arange(len(part.frames))]) for part in parts]),
        starts=np.concatenate([part.starts + offset for part, offset in zip(parts, offsets, strict=True)]),
        lengths=np.concatenate([part.lengths for part in parts]),
        frame_times=np.concatenate([part.frame_times for part in parts]),
        steps=parts[0].steps,
        unit=parts[0].unit,
    )
