"""What every source of images hands on: splits of images and labels, with what they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from keras_lnn.data.checking import DataCheck

SPLITS = ("train", "val", "test")
# The one split of data that were not split.
ALL = "all"


class ImageArray(Protocol):
    """Images as the pipeline reads them: an array in memory, or one on disk that gives rows by their indices."""

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
        labels: int64 class indices (samples,), for several labels to an image uint8 0/1 (samples, labels), or masks:
            uint8 class indices of the shape of the images without their channels.
        names: Where each sample comes from (file names), or None where the position says it all.
        groups: What the samples belong to, such as patients, whose images are not independent; None where unknown.
        spacing: Millimetres from one pixel to the next of each image along each axis, (samples, axes); None where
            unknown.
        digests: SHA-256 of the content of each sample's file, by which samples are known whatever they are called; None
            where there is no file for each.
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
        """Whether each pixel has a label."""
        return self.labels.ndim > 2

    def require_digests(self) -> Sequence[str]:
        """Returns the digests; raises an error where the samples have none."""
        if self.digests is None:
            raise ValueError("Samples are known by the digests of their files. Received: a split without. Load files.")
        return self.digests


@dataclasses.dataclass(frozen=True)
class ImageData:
    """One data set, loaded.

    Args:
        name: Its name in the catalog, or ``folder:...``, ``tfds:...``.
        task: ``binary``, ``multi-class``, ``ordinal``, ``multi-label`` or ``segmentation`` (a class for each pixel).
        class_names: One name a class or label, in the order of the indices.
        splits: ``train``, ``val`` and ``test``; or of data that were not split all samples, as ``all``, beside the
            splits that the data themselves give.
        checksum: Says which bytes the images came from, such as ``md5:...``; kept with a run.
        augmentation: What suits these images, by name; small shifts and rotations change no label.
        licence: Under which the images may be used; empty where unknown.
        check: What a look at people's own images found; None where there was none.
        colours: Of masks whose classes are colours, one ``#rrggbb`` a class, so that masks can be written as they were
            read; None where they are indices.
        mask_values: Likewise, of masks whose classes have other grey values than their indices, such as 0 and 255.
        given_splits: The splits that the data came with, and not those that were made by seed.
        positive_class: Which of two classes sensitivity speaks of; None for the second one.
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
