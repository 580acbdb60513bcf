"""The variables of a model as arrays, in a fixed order: what a checkpoint holds."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lnn.errors import InputError


def model_variables(model: keras.Model) -> list[Any]:
    """Weights, running statistics and random states of a model, in a fixed order, without its metrics."""
    metrics = {id(variable) for metric in model.metrics for variable in metric.variables}
    return [variable for variable in model.variables if id(variable) not in metrics]


def read_variables(variables: list[Any]) -> list[np.ndarray]:
    """Their values."""
    return [np.array(ops.convert_to_numpy(variable)) for variable in variables]


def assign_variables(variables: list[Any], values: list[np.ndarray]) -> None:
    """Sets their values; another number or shape of them is an error."""
    shapes = [tuple(variable.shape) for variable in variables], [value.shape for value in values]
    if shapes[0] != shapes[1]:
        raise InputError(
            "The checkpoint must fit the model. Received: other shapes. Use the version that made the run."
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
