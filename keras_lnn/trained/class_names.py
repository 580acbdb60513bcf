"""Conversion of loaded data to what a model reads: its classes in their order, and series of its number of steps."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from keras_lnn.data.arrays import ImageData, name_samples
from keras_lnn.data.thinning import keep_at_most
from keras_lnn.errors import InputError, suggest
from keras_lnn.saved.signature import Signature
from keras_lnn.tasks.kinds import find_kind


def with_classes_of(signature: Signature, data: ImageData, renamed: Mapping[str, str]) -> ImageData:
    """Returns data whose labels are numbered like the model's outputs.

    Args:
        signature: Signature of the model.
        data: The data to be measured.
        renamed: The model's class name for classes with another name in the data; several may become one.

    Raises:
        InputError: If images or classes are not those of the model.
    """
    samples = name_samples(next(iter(data.splits.values())).images)
    if samples != signature.samples:
        raise InputError(
            f"{data.name} must have {signature.samples}, which the model reads. Received: {samples}. Choose other data,"
            " or another model."
        )
    if data.image_shape != signature.image_shape:
        raise InputError(
            f"{data.name} must have {samples} of the model's shape, {signature.image_shape}. Received: "
            f"{data.image_shape}. Set --size or choose other data."
        )
    _check_names(signature, data, renamed)
    names = [renamed.get(name, name) for name in data.class_names]
    task = signature.get_task()
    alike = find_kind(data.task).labels_are == task.labels_are
    if not alike or set(names) != set(signature.class_names):
        remedy = "Match them with --map-classes THEIRS=OURS,..." if alike else "Choose other data"
        raise InputError(
            f"{data.name} must have the model's task and classes, {signature.task} with "
            f"{' | '.join(signature.class_names)}. Received: {data.task} with {' | '.join(data.class_names)}. {remedy}."
        )
    places = np.array([signature.class_names.index(name) for name in names])
    if np.array_equal(places, np.arange(len(signature.class_names))):
        return dataclasses.replace(data, task=signature.task, class_names=signature.class_names)
    splits = {
        name: dataclasses.replace(split, labels=task.renumber(split.labels, places))
        for name, split in data.splits.items()
    }
    return dataclasses.replace(data, task=signature.task, class_names=signature.class_names, splits=splits)


def with_steps_of(signature: Signature, data: ImageData) -> ImageData:
    """Returns series of images as a model reads them: longer ones are thinned evenly in time; other data unchanged."""
    if signature.time_unit is None:
        return data
    splits = {
        name: dataclasses.replace(split, images=keep_at_most(split.series, signature.image_shape[0]))
        if split.series is not None
        else split
        for name, split in data.splits.items()
    }
    return dataclasses.replace(data, splits=splits)


def _check_names(signature: Signature, data: ImageData, renamed: Mapping[str, str]) -> None:
    """Checks that the classes on both sides of each renaming exist."""
    for names, known, whose in (
        (renamed.keys(), data.class_names, f"a class of {data.name} to the left of ="),
        (renamed.values(), signature.class_names, "a class of the model to the right of ="),
    ):
        unknown = [name for name in names if name not in known]
        if unknown:
            raise InputError(f"--map-classes must name {whose}. Received: {unknown[0]}. {suggest(unknown[0], known)}")
