"""The types that every source of images returns: splits of images and labels, with their metadata."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from keras_lnn.data.checking import DataCheck

SPLITS = ("train", "val", "test")
# The name of the only split of data that were not split.
ALL = "all"


class ImageArray(Protocol):
    """Images as the pipeline reads them: an array in memory, or one on disk that returns rows by their indices."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...

    def __getitem__(self, rows: Any, /) -> np.ndarray: ...

    def __len__(self) -> int: ...


@dataclasses.dataclass(frozen=True)
class SeriesArray:
    """Series of frames of one size, which are padded when they are read; an ``ImageArray`` of series.

    The frames of all series lie one after another, so that padding takes no memory and each frame is kept once.

    Args:
        frames: uint8, (frames, height, width, channels).
        starts: First frame of each series, (series,).
        lengths: Number of frames of each series, (series,), at least 1.
        frame_times: Time of each frame since the first one of its series, in ``unit``; never falling within a series.
        steps: Number of frames that a series is padded to; at least the longest length.
        unit: The unit of the times, such as ``minutes``.
    """

    frames: ImageArray
    starts: np.ndarray
    lengths: np.ndarray
    frame_times: np.ndarray
    steps: int
    unit: str

    @classmethod
    def join(
        cls, series: Sequence[np.ndarray], times: Sequence[np.ndarray], unit: str, steps: int | None = None
    ) -> SeriesArray:
        """Returns series that are given one by one.

        Args:
            series: Frames of each series, uint8 (frames, height, width, channels).
            times: Times of each series' frames; the first one becomes 0.
            unit: The unit of the times.
            steps: Number of frames that each series is padded to; the longest length if not given.
        """
        lengths = np.array([len(frames) for frames in series], np.int64)
        relative = [np.asarray(one, np.float64) - one[0] for one in times]
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        return cls(np.concatenate(series), starts, lengths, np.concatenate(relative), steps or int(lengths.max()), unit)

    @property
    def shape(self) -> tuple[int, ...]:
        """Returns (series, steps, height, width, channels)."""
        return (len(self), self.steps, *self.frames.shape[1:])

    @property
    def dtype(self) -> Any:
        """Returns the type of the pixels."""
        return self.frames.dtype

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Returns series (..., steps, height, width, channels), whose last frame is repeated up to the end.

        A repeated frame is an image like others, so that layers which normalise batches are not fed black ones.
        """
        starts, lengths = np.asarray(self.starts[rows]), np.asarray(self.lengths[rows])
        places = starts[..., None] + np.minimum(np.arange(self.steps), lengths[..., None] - 1)
        # Each frame is read once, in the order of the file.
        unique, inverse = np.unique(places, return_inverse=True)
        return np.asarray(self.frames[unique])[inverse.reshape(places.shape)]

    def times(self, rows: Any = slice(None)) -> np.ndarray:
        """Returns the times of series' frames, float64 (..., steps), NaN where there is no frame."""
        starts, lengths = np.asarray(self.starts[rows]), np.asarray(self.lengths[rows])
        step = np.arange(self.steps)
        places = starts[..., None] + np.minimum(step, lengths[..., None] - 1)
        return np.where(step < lengths[..., None], self.frame_times[places], np.nan)

    def take(self, rows: Any) -> SeriesArray:
        """Returns a part of the series, which share their frames with these."""
        return dataclasses.replace(self, starts=self.starts[rows], lengths=self.lengths[rows])

    def beginnings(self) -> SeriesArray:
        """Returns each series as it was after each of its frames, in order: the first frame, the first two, and so on.

        They share their frames with these series; there are as many as the series have frames.
        """
        counts = np.concatenate([np.arange(1, length + 1) for length in self.lengths])
        return dataclasses.replace(self, starts=np.repeat(self.starts, self.lengths), lengths=counts)


@dataclasses.dataclass(frozen=True)
class Split:
    """Images with their labels.

    Args:
        images: uint8, (samples, height, width, channels) or (samples, depth, height, width, channels); for series of
            images in time, a ``SeriesArray``, which reads (samples, frames, height, width, channels) and has times.
        labels: int64 class indices (samples,); for several labels per image uint8 0/1 (samples, labels); for
            segmentation masks, uint8 class indices of the shape of the images without their channels.
        names: The origin of each sample (file names), or None if its position identifies it.
        groups: The group of each sample, such as its patient, whose images are not independent; None if unknown.
        spacing: Millimetres from one pixel to the next of each image along each axis, (samples, axes); None if unknown.
        digests: SHA-256 of the content of each sample's file, which identifies a sample under any name; None if the
            samples have no files of their own.
    """

    images: ImageArray
    labels: np.ndarray
    names: Sequence[str] | None = None
    groups: Sequence[str] | None = None
    spacing: np.ndarray | None = None
    digests: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def series(self) -> SeriesArray | None:
        """Returns the series of images in time; None if the samples are single images."""
        return as_series(self.images)

    @property
    def labels_are_pixels(self) -> bool:
        """Returns whether each pixel has a label."""
        return self.labels.ndim > 2

    def take_labels(self, rows: np.ndarray) -> Split:
        """Returns the labels, patients and spacing of some samples, beside the images of all, for what reads no images.

        Args:
            rows: Indices, or whether each sample is taken.
        """
        places = np.arange(len(self))[rows]
        groups = None if self.groups is None else [self.groups[row] for row in places]
        spacing = None if self.spacing is None else self.spacing[places]
        return Split(self.images, self.labels[places], groups=groups, spacing=spacing)

    def require_digests(self) -> Sequence[str]:
        """Returns the digests; raises an error where the samples have none."""
        if self.digests is None:
            raise ValueError("Samples are known by the digests of their files. Received: a split without. Load files.")
        return self.digests


@dataclasses.dataclass(frozen=True)
class ImageData:
    """A loaded data set.

    Args:
        name: Its name in the catalog, or ``folder:...``, ``tfds:...``.
        task: ``binary``, ``multi-class``, ``ordinal``, ``multi-label`` or ``segmentation`` (a class for each pixel).
        class_names: One name per class or label, in the order of the indices.
        splits: ``train``, ``val`` and ``test``; if the data were not split, all samples as ``all``, beside the splits
            that the data themselves define.
        checksum: Identifies the bytes of the images, such as ``md5:...``; kept with a run.
        augmentation: Name of the augmentation that suits these images; small shifts and rotations change no label.
        licence: Licence of the images; empty if unknown.
        check: Report on a user's own images; None for other data.
        colours: For masks whose classes are colours, one ``#rrggbb`` per class, so that masks are written as they were
            read; None if they are indices.
        mask_values: Likewise, for masks whose classes have other grey values than their indices, such as 0 and 255.
        given_splits: The splits that the data came with, without those that were made by seed.
        positive_class: Which of two classes is the positive one, for sensitivity; None for the second one.
    """

    name: str
    task: str
    class_names: tuple[str, ...]
    splits: Mapping[str, Split]
    checksum: str
    augmentation: str = "shift-rotate"
    licence: str = ""
    check: DataCheck | None = None
    colours: tuple[str, ...] | None = None
    mask_values: tuple[int, ...] | None = None
    given_splits: tuple[str, ...] = SPLITS
    positive_class: str | None = None

    @property
    def series(self) -> SeriesArray | None:
        """Returns the series of images of the training split, or of all samples; None for data of single images."""
        return self.splits["train" if "train" in self.splits else ALL].series

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Returns the shape of one image, channels last."""
        return tuple(next(iter(self.splits.values())).images.shape[1:])


def as_series(images: ImageArray) -> SeriesArray | None:
    """Returns series of images in time as such; None for images. Ask this, or a split for its ``series``."""
    return images if isinstance(images, SeriesArray) else None


def take_images(images: ImageArray, rows: slice) -> ImageArray:
    """Returns some samples of an array, of series with their times.

    Args:
        images: Images, volumes or series.
        rows: Which of them.
    """
    series = as_series(images)
    return images[rows] if series is None else series.take(rows)


def name_samples(images: ImageArray) -> str:
    """Returns what the samples of a data set are, in the plural: ``images`` or ``series``."""
    return "images" if as_series(images) is None else "series"


def network_inputs(images: ImageArray, rows: Any) -> tuple[np.ndarray, ...]:
    """Returns what a network reads: images, or series of images with the times of their frames, float32.

    Args:
        images: Images, or series.
        rows: Which of them.
    """
    pixels, series = np.ascontiguousarray(images[rows]), as_series(images)
    return (pixels,) if series is None else (pixels, series.times(rows).astype(np.float32))
