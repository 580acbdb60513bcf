"""How samples are drawn on a sheet: as one picture each, or series as rows of frames.

The pictures of samples ask :func:`view_samples` and do not distinguish between kinds of samples themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from keras_lnn.data.arrays import SeriesArray, as_series
from keras_lnn.plots.series import FRAME_INCHES, describe_strips, frame_cells
from keras_lnn.plots.sheet import Cell, Outline
from keras_lnn.plots.style import DARK_GREY

# What stands above a sample, what below it, and the colour of the text below.
Caption = tuple[str, str, str]


class SampleView(Protocol):
    """The samples of one array, as a sheet shows them.

    Attributes:
        noun: What one sample is.
        note: What a heading adds on what is seen of each sample; empty if all of it is.
        of_a_kind: How many samples of one kind have room.
        picture_note: What a heading adds where there is one picture of each sample.
    """

    noun: str
    note: str
    of_a_kind: int
    picture_note: str

    def pictures(self, samples: np.ndarray) -> np.ndarray:
        """Returns one picture of each sample, (samples, height, width, channels)."""
        ...

    def inches(self, of_image: float) -> float:
        """Returns the side of a cell, on a sheet whose images have a side of ``of_image``."""
        ...

    def cells(self, samples: np.ndarray, captions: Sequence[Caption] | None = None) -> list[Cell]:
        """Returns some of the samples with their captions."""
        ...

    def version_cells(
        self, number: int, versions: Sequence[np.ndarray], outlines: Sequence[Sequence[Outline]], times: Any
    ) -> list[Cell]:
        """Returns one sample with its versions in training.

        Args:
            number: Which of the samples.
            versions: Its pixels after augmentation in each epoch, values 0..255.
            outlines: What is outlined in the sample and in each version; empty for nothing.
            times: Of series, the times of the frames of each version, NaN where there is no frame; those of the sample
                itself if None.
        """
        ...


def view_samples(images: Any) -> SampleView:
    """Returns how samples are drawn.

    Args:
        images: Images, volumes or series, as :class:`~keras_lnn.data.arrays.Split` has them.
    """
    series = as_series(images)
    return _ImageView(images) if series is None else _SeriesView(series)


class _ImageView:
    """Images, or the middle slices of volumes."""

    noun, of_a_kind = "image", 8

    def __init__(self, images: Any) -> None:
        self.images = images
        self.note = self.picture_note = ", middle slice of each volume" if len(images.shape) == 5 else ""

    def inches(self, of_image: float) -> float:
        return of_image

    def cells(self, samples: np.ndarray, captions: Sequence[Caption] | None = None) -> list[Cell]:
        words = captions or [("", "", DARK_GREY)] * len(samples)
        return [Cell(picture, *lines) for picture, lines in zip(self.pictures(samples), words, strict=True)]

    def version_cells(
        self, number: int, versions: Sequence[np.ndarray], outlines: Sequence[Sequence[Outline]], times: Any
    ) -> list[Cell]:
        seen = (self.images[number], *versions)
        # The rows below the first have the same columns.
        words = _name_versions(len(seen)) if number == 0 else [""] * len(seen)
        lines = outlines or [()] * len(seen)
        return [
            Cell(_as_pixels(one, 3), word, outlines=line) for one, word, line in zip(seen, words, lines, strict=True)
        ]

    def pictures(self, samples: np.ndarray) -> np.ndarray:
        # Read in the rising order that disk arrays need.
        if not len(samples):
            return np.zeros((0, 1, 1, 1), dtype=np.uint8)
        rising, position = np.unique(samples, return_inverse=True)
        pictures = np.asarray(self.images[rising])[position]
        return pictures[:, pictures.shape[1] // 2] if pictures.ndim == 5 else pictures


class _SeriesView:
    """Series of images in time, each a row of frames with their times."""

    noun, of_a_kind, picture_note = "series", 3, ", last frame of each series"

    def __init__(self, series: SeriesArray) -> None:
        self.series = series
        self.note = describe_strips(series)

    def inches(self, of_image: float) -> float:
        return FRAME_INCHES

    def pictures(self, samples: np.ndarray) -> np.ndarray:
        last = self.series.starts[samples] + self.series.lengths[samples] - 1
        rising, position = np.unique(last, return_inverse=True)
        return np.asarray(self.series.frames[rising])[position]

    def cells(self, samples: np.ndarray, captions: Sequence[Caption] | None = None) -> list[Cell]:
        found: list[Cell] = []
        for sample, (above, below, colour) in zip(
            samples, captions or [("", "", DARK_GREY)] * len(samples), strict=True
        ):
            frames, times = self.series[int(sample)], self.series.times(int(sample))
            below = below.replace("\n", ", ")
            found += frame_cells(frames, times, self.series.unit, above=above, below=below, colour=colour)
        return found

    def version_cells(
        self, number: int, versions: Sequence[np.ndarray], outlines: Sequence[Sequence[Outline]], times: Any
    ) -> list[Cell]:
        own = self.series.times(number)
        moments = [own, *([own] * len(versions) if times is None else times)]
        found: list[Cell] = []
        seen = zip((self.series[number], *versions), moments, _name_versions(len(moments)), strict=True)
        for frames, when, above in seen:
            found += frame_cells(_as_pixels(frames, 4), when, self.series.unit, above=above)
        return found


def _name_versions(count: int) -> list[str]:
    return ["original", *(f"epoch {epoch}" for epoch in range(1, count))]


def middle_slice(array: np.ndarray, axes: int) -> np.ndarray:
    """Returns the middle slice of an array that has more than ``axes`` axes, and any other array unchanged."""
    return array[len(array) // 2] if array.ndim > axes else array


def _as_pixels(image: np.ndarray, axes: int) -> np.ndarray:
    return np.clip(np.rint(middle_slice(image, axes)), 0, 255).astype(np.uint8)
