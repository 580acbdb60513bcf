"""Several splits joined to one, whose images stay where they are until they are read."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_lnn.data.arrays import ImageArray, SeriesArray, Split


class JoinedImages:
    """Arrays of images one after another, read when they are accessed.

    Args:
        parts: The arrays, whose images have one shape.
    """

    def __init__(self, parts: Sequence[ImageArray]) -> None:
        self.parts = parts
        self.stops = np.cumsum([len(part) for part in parts])
        self.shape = (int(self.stops[-1]), *parts[0].shape[1:])
        self.dtype = parts[0].dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        chosen = np.arange(len(self))[rows]
        flat = chosen.reshape(-1)
        images = np.empty((len(flat), *self.shape[1:]), self.dtype)
        holders = np.searchsorted(self.stops, flat, side="right")
        for number in np.unique(holders):
            held = holders == number
            images[held] = self.parts[number][flat[held] - (self.stops[number - 1] if number else 0)]
        return images.reshape(*chosen.shape, *self.shape[1:])


def join_splits(parts: Sequence[Split]) -> Split:
    """Returns the samples of several splits as one; what one of them does not know, such as patients, is left out."""
    if len(parts) == 1:
        return parts[0]
    columns: dict[str, Any] = {}
    for name in ("names", "groups", "digests"):
        values = [getattr(part, name) for part in parts]
        columns[name] = None if None in values else [value for part in values for value in part]
    spacing = [part.spacing for part in parts if part.spacing is not None]
    series = [part.series for part in parts if part.series is not None]
    return Split(
        _join_series(series) if series else JoinedImages([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
        spacing=np.concatenate(spacing) if len(spacing) == len(parts) else None,
        **columns,
    )


def _join_series(parts: Sequence[SeriesArray]) -> SeriesArray:
    """Returns series one after another; their frames are not copied."""
    stops = np.cumsum([len(part.frames) for part in parts])
    offsets = [0, *stops[:-1].tolist()]
    return dataclasses.replace(
        parts[0],
        frames=JoinedImages([part.frames for part in parts]),
        starts=np.concatenate([part.starts + offset for part, offset in zip(parts, offsets, strict=True)]),
        lengths=np.concatenate([part.lengths for part in parts]),
        frame_times=np.concatenate([part.frame_times for part in parts]),
        steps=max(part.steps for part in parts),
    )
