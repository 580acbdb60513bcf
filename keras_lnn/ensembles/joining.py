"""The model of an ensemble: its members side by side, and the mean of their probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_lnn.layers import MeanOfMembers, MirrorImage
from keras_lnn.layers.views import list_views
from keras_lnn.tasks.calibration import Calibration
from keras_lnn.tasks.task import Task


def join_models(
    models: Sequence[Any], calibrations: Sequence[Calibration | None], task: Task, axes: Sequence[int] = ()
) -> keras.Model:
    """Returns one functional model of which each model is a layer; its logits are those of the mean of probabilities.

    Args:
        models: Functional models with the same inputs and outputs; they are called ``member_1`` and so on afterwards.
        calibrations: What is done to the logits of each model before they become probabilities.
        task: What they predict.
        axes: Axes of the images, counted from 1, along which each model also reads their mirror images.
    """
    inputs = [keras.Input(one.shape[1:], dtype=one.dtype, name=one.name) for one in models[0].inputs]
    for number, model in enumerate(models):
        model.name = f"member_{number + 1}"
    logits, scales, offsets = [], [], []
    for view in list_views(axes):
        mirror = MirrorImage(view) if view else None
        images = inputs[0] if mirror is None else mirror(inputs[0])
        given = [images, *inputs[1:]] if len(inputs) > 1 else images
        for model, calibration in zip(models, calibrations, strict=True):
            found = model(given)
            # Masks are mirrored back; what is predicted for the whole image has no axes of it.
            logits.append(mirror(found) if mirror is not None and len(found.shape) > 2 else found)
            scales.append([1.0] if calibration is None else list(calibration.scales))
            offsets.append([] if calibration is None else list(calibration.offsets))
    mean = MeanOfMembers(task.activation, scales, offsets, name="mean_of_members")
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], mean(logits), name="ensemble")
