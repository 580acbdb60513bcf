"""The classes that the outputs of a layer within a model stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras_lnn.layers import SingleLogit


def name_outputs(model: Any, layer: Any, count: int, class_names: Sequence[str]) -> Sequence[str]:
    """Returns the classes that the outputs of a layer stand for; none if a later layer mixes the outputs.

    Args:
        model: The model.
        layer: One of its own layers.
        count: Number of the layer's outputs.
        class_names: The classes or labels of the model.
    """
    later = model.layers[model.layers.index(layer) + 1 :]
    if any(len(weight.shape) > 1 for part in later for weight in part.weights):
        return ()
    if count == 1 and len(class_names) == 2 and any(isinstance(part, SingleLogit) for part in later):
        return class_names[1:]
    return class_names if count == len(class_names) else ()
