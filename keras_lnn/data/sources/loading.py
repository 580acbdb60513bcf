"""Loading of a data set by its name, whatever the source."""

import dataclasses
import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from keras_lnn.data.arrays import ALL, SPLITS, ImageData
from keras_lnn.data.catalog import SERIES, TFDS, DataEntry, get_entry, is_own, split_own
from keras_lnn.data.folds import take_fold
from keras_lnn.data.options import OwnImages
from keras_lnn.data.reading import Reading
from keras_lnn.errors import InputError
from keras_lnn.fields.options import DataOptions
from keras_lnn.fields.roles import Trait, fields_with


def load_data(name: str, reading: Reading = Reading(), **fields: Any) -> ImageData:  # noqa: B008, it is frozen
    """Loads a data set: ``load_data("breastmnist", size=64)``.

    Args:
        name: A name of the catalog, ``folder:PATH`` (images in one folder per class), ``table:FILE`` (images listed in
            a CSV or TSV file), ``masks:DIR`` (images with masks), ``mask-classes:DIR`` (the same images by the highest
            class in their masks), ``series:PATH`` (series of images in time, in a table or in folders) or
            ``tfds:NAME``.
        reading: How it is read.
        **fields: Fields of :class:`~keras_lnn.data.reading.Reading` that replace those of ``reading``.

    Returns:
        Images and labels of the splits; images stay uint8.
    """
    reading = dataclasses.replace(reading, **fields)
    if reading.own.label_of == "image" and not name.startswith(SERIES):
        raise InputError(
            f"--label-of image is for series of own images, series:FILE or series:DIR. Received: {name}. Leave it out."
        )
    if is_own(name):
        source, path = split_own(name)
        data = _find(source.loader, path)(path, reading)
    elif reading.fold is not None:
        # The splits that are pooled must be the same for all partitions, so that a sample keeps its name.
        data = take_fold(load_data(name, reading, fold=None, seed=0), reading.fold, reading.seed)
    elif name.startswith(TFDS):
        from keras_lnn.data.sources.tfds import load_tfds

        data = load_tfds(name.removeprefix(TFDS), reading)
    else:
        data = _load_entry(get_entry(name), reading)
    check_data(data)
    return data


def _load_entry(entry: DataEntry, reading: Reading) -> ImageData:
    """Loads a data set of the catalog; its loader receives the arguments whose names it declares."""
    options = vars(reading) | {"entry": entry, "size": _require_size(entry, reading.size)}
    loader = _find(entry.loader, entry.name)
    asked_for = inspect.signature(loader).parameters
    data = loader(**{key: value for key, value in options.items() if key in asked_for})
    known = {name: getattr(entry, name) for name in ("augmentation", "licence", "positive_class")}
    return dataclasses.replace(data, **known)


def check_data(data: ImageData) -> None:
    """Checks the rules for data of every source: no empty split, matching labels within range, uint8 images.

    Masks must be as large as their images.
    """
    for name in data.splits if ALL in data.splits else SPLITS:
        split = data.splits[name]
        if len(split) == 0:
            raise InputError(f"Every split needs images. Received: {data.name} with none in {name}.")
        if len(split.images) != len(split.labels):
            raise InputError(
                f"Every image needs a label. Received: {data.name} with {len(split.images)} images and "
                f"{len(split.labels)} labels in {name}."
            )
        if split.images.dtype != np.uint8:
            raise InputError(f"Images must be uint8. Received: {data.name} with {split.images.dtype} in {name}.")
        if split.groups is not None and len(split.groups) != len(split):
            raise InputError(
                f"Every image must have a group if some have one. Received: {data.name} with {len(split.groups)} groups"
                f" of {len(split)} images in {name}."
            )
        sides = (len(split), len(data.image_shape) - 1)
        if split.spacing is not None and split.spacing.shape != sides:
            raise InputError(
                f"The spacing must have one row per image and one column per axis, {sides}. Received: {data.name} with "
                f"{split.spacing.shape} in {name}."
            )
        _check_kind_of_labels(data, name)
        highest = 1 if data.task == "multi-label" else len(data.class_names) - 1
        if split.labels.min() < 0 or split.labels.max() > highest:
            raise InputError(
                f"Labels of {data.name} must lie between 0 and {highest}. Received: "
                f"{split.labels.min()} to {split.labels.max()} in {name}."
            )


def read_columns_of(name: str) -> tuple[str, ...]:
    """Returns the names of the columns of the table of own images; empty if there is no table."""
    if not is_own(name):
        return ()
    source, path = split_own(name)
    return () if source.columns is None else _find(source.columns, name)(Path(path))


def with_columns_of(name: str, own: OwnImages) -> OwnImages:
    """Returns how images are read from another table, which need not have the columns of the model's own one.

    Args:
        name: Name of the data.
        own: How the images are read that the model has learned from.
    """
    columns = {column.lower() for column in read_columns_of(name)}
    absent = {}
    for field in fields_with(DataOptions, Trait.COLUMN):
        named = getattr(own, field) or ()
        wanted = (named,) if isinstance(named, str) else named
        if not columns.issuperset(column.lower() for column in wanted):
            absent[field] = None
    label_of = own.label_of if name.startswith(SERIES) else OwnImages.label_of
    return dataclasses.replace(own, image_dir=None, label_of=label_of, **absent)


def _check_kind_of_labels(data: ImageData, name: str) -> None:
    split = data.splits[name]
    if data.task != "segmentation":
        if split.labels_are_pixels:
            raise InputError(f"Masks are for the task segmentation. Received: {data.name}, {data.task}, with masks.")
        return
    shape = tuple(split.images.shape[:-1])
    if split.labels.shape != shape or split.labels.dtype != np.uint8:
        raise InputError(
            f"Masks must be uint8 and as large as their images, {shape}. Received: {data.name} with"
            f" {split.labels.dtype} of {split.labels.shape} in {name}."
        )


def _require_size(entry: DataEntry, size: int | tuple[int, int] | None) -> int:
    if size is None:
        return entry.sizes[0]
    if isinstance(size, tuple) or size not in entry.sizes:
        sizes = ", ".join(map(str, entry.sizes))
        raise InputError(f"{entry.name} exists in these sizes: {sizes}. Received: {size}.")
    return size


def _find(function: str, name: str) -> Callable[..., Any]:
    """Returns the function that ``module:function`` names, for the data set of a name."""
    module, _, attribute = function.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"The loader of {name} must be module:function and importable. Received: {function} ({error})."
        ) from None
