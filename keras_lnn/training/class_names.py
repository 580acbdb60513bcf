"""The classes of loaded data brought to those of a model: its names, in its order."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from keras_lnn.data.arrays import ImageData
from keras_lnn.errors import InputError, suggest
from keras_lnn.saved.signature import Signature
from keras_lnn.tasks.kinds import find_kind


def with_classes_of(signature: Signature, data: ImageData, renamed: Mapping[str, str]) -> ImageData:
    """Returns data whose labels mean what the model's outputs mean, whatever order the data name them in.

    Args:
        signature: Of the model.
        data: What is to be measured.
        renamed: What the model calls some classes of the data; several may become one.

    Raises:
        InputError: If images or classes are not those of the model.
    """
    if data.image_shape != signature.image_shape:
        raise InputError(
            f"{data.name} must have images of shape {signature.image_shape}, which the model reads. Received: "
            f"{data.image_shape}. Set --size or choose other data."
        )
    _check_names(signature, data, renamed)
    names = [renamed.get(name, name) for name in data.class_names]
    task = signature.get_task()
    alike = find_kind(data.task).labels_are == task.labels_are
    if not alike or set(names) != set(signature.class_names):
        remedy = "Say which is which by --map-classes THEIRS=OURS,..." if alike else "Choose other data"
        raise InputError(
            f"{data.name} must have the model's task, {signature.task} with the classes "
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


def _check_names(signature: Signature, data: ImageData, renamed: Mapping[str, str]) -> None:
    """Checks that what is renamed is there, on both sides."""
    for names, known, whose in (
        (renamed.keys(), data.class_names, f"a class of {data.name} before ="),
        (renamed.values(), signature.class_names, "a class of the model behind ="),
    ):
        unknown = [name for name in names if name not in known]
        if unknown:
            raise InputError(f"--map-classes must name {whose}. Received: {unknown[0]}. {suggest(unknown[0], known)}")
