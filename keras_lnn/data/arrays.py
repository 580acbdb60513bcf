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
class Split:
    """Images with their labels.

    Args:
        images: uint8, (samples, height, width, channels) or (samples, depth, height, width, channels).
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
    def labels_are_pixels(self) -> bool:
        """Returns whether each pixel has a label."""
        return self.labels.ndim > 2

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
    def image_shape(self) -> tuple[int, ...]:
        """Returns the shape of one image, channels last."""
        return tuple(next(iter(self.splits.values())).images.shape[1:])
