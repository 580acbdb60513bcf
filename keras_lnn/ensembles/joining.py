"""The model of an ensemble: its members side by side, and the mean of their probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_lnn.layers import MeanOfMembers
from keras_lnn.tasks.calibration import Calibration
from keras_lnn.tasks.task import Task


def join_models(models: Sequence[Any], calibrations: Sequence[Calibration | None], task: Task) -> keras.Model:
    """Returns one functional model of which each model is a layer; its logits are those of the mean of probabilities.

    Args:
        models: Functional models with the same inputs and outputs; they are called ``member_1`` and so on afterwards.
        calibrations: What is done to the logits of each model before they become probabilities.
        task: What they predict.
    """
    first = models[0].inputs
    inputs = [keras.Input(one.shape[1:], dtype=one.dtype, name=one.name) for one in first]
    given = inputs if len(inputs) > 1 else inputs[0]
    for number, model in enumerate(models):
        model.name = f"member_{number + 1}"
    scales = [[1.0] if one is None else list(one.scales) for one in calibrations]
    offsets = [[] if one is None else list(one.offsets) for one in calibrations]
    mean = MeanOfMembers(task.activation, scales, offsets, name="mean_of_members")
    return keras.Model(given, mean([model(given) for model in models]), name="ensemble")
