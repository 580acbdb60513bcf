"""A user's own NumPy arrays as a data set that training, studies and evaluations find by name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence, Sized
from typing import Any

import numpy as np

from keras_lnn.data.arrays import SPLITS, ImageArray, ImageData, Split
from keras_lnn.data.catalog import DataEntry, catalog, register_data
from keras_lnn.data.grouping import (
    complete_grouped_splits,
    indicate_classes,
    require_each_class,
    require_whole_groups,
)
from keras_lnn.data.splitting import take_samples
from keras_lnn.errors import InputError

_LOADER = f"{__name__}:load_arrays"
# All samples of each data set, with the given splits.
_REGISTERED: dict[str, tuple[ImageData, list[str] | None]] = {}


def register_arrays(
    name: str,
    images: ImageArray,
    labels: np.ndarray | Sequence[Any],
    *,
    class_names: Sequence[str] | None = None,
    patients: Sequence[Any] | None = None,
    splits: Sequence[str] | None = None,
) -> str:
    """Registers arrays as a data set: ``train(TrainConfig(data=register_arrays("mine", images, labels)))``.

    The data set is known in this process only. Commands, and the processes of studies and searches, find it by
    ``--imports`` with the module that makes this call.

    Args:
        name: Name of the new data set: letters, digits, dots, dashes and underscores.
        images: uint8 (samples, height, width), (samples, height, width, channels) or, for volumes, (samples, depth,
            height, width, channels), with 1 or 3 channels. They are not copied and must stay unchanged.
        labels: The class of each image, as an index or a name, (samples,); 0 or 1 for each of several labels, (samples,
            labels); or masks, class indices of the shape of the images without their channels.
        class_names: One name per class or label; the classes themselves if not given.
        patients: The patient of each image. Images of one patient stay in one split, and confidence intervals are
            computed by patient.
        splits: ``train``, ``val`` or ``test`` for each image. Missing splits are split off ``train`` by the seed of the
            run, stratified by labels.

    Returns:
        The name.
    """
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
        raise InputError(
            f"A data set's name must consist of letters, digits, dots, dashes and underscores. Received: {name!r}."
        )
    images = _check_images(images)
    task, names, labels = _read_labels(np.asarray(labels), images.shape, class_names)
    groups = None if patients is None else [str(patient) for patient in patients]
    given = None if splits is None else [str(split) for split in splits]
    _check_lengths(len(images), labels=labels, patients=groups, splits=given)
    if given is not None:
        _check_splits(given, groups)
    everything = Split(images, labels, groups=groups)
    data = ImageData(
        name=name,
        task=task,
        class_names=names,
        splits={"all": everything},
        checksum=_checksum(everything, names, given),
        given_splits=tuple(split for split in SPLITS if given is not None and split in given),
    )
    if name in _REGISTERED and _REGISTERED[name][0].checksum == data.checksum:
        return name  # the same call again, as in a notebook
    entry = _make_entry(data, given)
    if name in catalog():
        raise InputError(f"A data set's name must be new. Received: {name}, which is of other data. Choose another.")
    register_data(entry)
    _REGISTERED[name] = data, given
    return name


def _make_entry(data: ImageData, given: list[str] | None) -> DataEntry:
    """Returns the entry of arrays in the catalog; that they can be split is found out here."""
    shape = data.image_shape
    return DataEntry(
        name=data.name,
        title="own arrays",
        task=data.task,
        class_names=data.class_names,
        channels=shape[-1],
        dimensions=len(shape) - 1,
        sizes=(shape[-3],),
        samples={split: len(part) for split, part in _split(data, given, seed=0).items()},
        loader=_LOADER,
        augmentation="none",
        depth=shape[0] if len(shape) == 4 else None,
    )


def load_arrays(entry: DataEntry, seed: int) -> ImageData:
    """Returns registered arrays in their splits.

    Args:
        entry: Entry of the catalog.
        seed: Seed of the splits that were not given.
    """
    data, given = _REGISTERED[entry.name]
    rows = _split(data, given, seed)
    parts = {split: take_samples(data.splits["all"], part) for split, part in rows.items()}
    return ImageData(
        name=data.name,
        task=data.task,
        class_names=data.class_names,
        splits=parts,
        checksum=data.checksum,
        given_splits=data.given_splits,
    )


def _check_images(images: ImageArray) -> ImageArray:
    shape, dtype = tuple(images.shape), np.dtype(images.dtype)
    if dtype != np.uint8:
        raise InputError(
            f"Images must be uint8, 0 to 255. Received: {dtype}. Scale them, such as by (255 * images).astype('uint8')."
        )
    if len(shape) == 3:
        return images[..., None]
    if len(shape) not in (4, 5) or shape[-1] not in (1, 3) or 0 in shape:
        raise InputError(
            "Images must have the shape (samples, height, width, channels), or (samples, depth, height, width, "
            f"channels) of volumes, with 1 or 3 channels. Received: {shape}."
        )
    return images


def _read_labels(
    labels: np.ndarray, image_shape: tuple[int, ...], class_names: Sequence[str] | None
) -> tuple[str, tuple[str, ...], np.ndarray]:
    """Returns the task, the names of classes or labels, and the labels in the form that splits hold."""
    if labels.ndim == 1 and labels.dtype.kind in "US":
        found, labels = np.unique(labels.astype(str), return_inverse=True)
        if class_names is None:
            class_names = found.tolist()
        elif set(class_names) != set(found.tolist()):
            raise InputError(
                f"The class names must be those of the labels, {', '.join(found)}. Received: {', '.join(class_names)}."
            )
        else:
            places = np.array([list(class_names).index(name) for name in found])
            labels = places[labels]
    if labels.dtype.kind not in "biu" or labels.size == 0:
        raise InputError(f"Labels must be whole numbers or names. Received: {labels.dtype} of {labels.shape}.")
    several = labels.ndim == 2
    count = labels.shape[1] if several else int(labels.max()) + 1
    names = tuple(map(str, range(count) if class_names is None else class_names))
    highest = 1 if several else len(names) - 1
    if labels.min() < 0 or labels.max() > highest or (several and len(names) != count) or len(names) < 2:
        raise InputError(
            f"Labels must be class indices from 0, or 0 and 1 in a column for each label, with a name for each of at "
            f"least two. Received: {labels.min()} to {labels.max()} of shape {labels.shape} and {len(names)} names."
        )
    if several:
        return "multi-label", names, labels.astype(np.uint8)
    if labels.ndim == 1:
        return "binary" if len(names) == 2 else "multi-class", names, labels.astype(np.int64)
    if labels.shape != image_shape[:-1]:
        raise InputError(f"Masks must be as large as their images, {image_shape[:-1]}. Received: {labels.shape}.")
    return "segmentation", names, labels.astype(np.uint8)


def _check_splits(given: list[str], groups: list[str] | None) -> None:
    if not set(given) <= set(SPLITS):
        wrong = sorted(set(given) - set(SPLITS))[0]
        raise InputError(f"Each split must be train, val or test. Received: {wrong!r}.")
    if groups is not None:
        require_whole_groups(groups, given, "patients")


def _check_lengths(count: int, **columns: Sized | None) -> None:
    for name, values in columns.items():
        if values is not None and len(values) != count:
            raise InputError(f"There must be one of {name} for each image. Received: {len(values)} for {count} images.")


def _split(data: ImageData, given: list[str] | None, seed: int) -> dict[str, np.ndarray]:
    everything = data.splits["all"]
    indicators = indicate_classes(everything.labels, len(data.class_names))
    rows = complete_grouped_splits(indicators, given, seed, groups=everything.groups)
    if everything.labels.ndim == 1:
        require_each_class(indicators, rows, data.class_names)
    return rows


def _checksum(everything: Split, class_names: Sequence[str], given: list[str] | None) -> str:
    """Returns a hash of all that the splits depend on, including the order of the samples."""
    digest = hashlib.sha256(repr((everything.images.shape, class_names, everything.groups, given)).encode())
    digest.update(np.ascontiguousarray(everything.labels).tobytes())
    for image in everything.images:
        digest.update(np.ascontiguousarray(image).tobytes())
    return f"sha256:{digest.hexdigest()}"
