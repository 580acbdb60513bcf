"""What the neurons, the synapses and the steps of a liquid layer did for some images."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

from keras_lnn.data.arrays import ImageArray
from keras_lnn.explaining.liquid_layers import choose_liquid_layer, copy_model, find_inputs, read_tensors
from keras_lnn.layers.recurrence import LiquidRNN
from keras_lnn.layers.traces import Trace


@dataclasses.dataclass(frozen=True)
class TracedLayer:
    """A liquid layer of a model with what it did.

    Args:
        model: A copy of the model.
        layer: Its layer.
        trace: What each neuron and each synapse did, for each sample.
    """

    model: keras.Model
    layer: LiquidRNN
    trace: Trace


def trace_layer(model: keras.Model, images: ImageArray, layer: str | None = None) -> TracedLayer:
    """Returns what a liquid layer does when its model reads some images.

    Args:
        model: A functional model with a liquid layer, which stays as it is.
        images: A few images or series.
        layer: Name of the layer; None for the first liquid one.

    Raises:
        InputError: If the model has no such layer, or the layer reads no sequences of its own.
    """
    model = copy_model(model)
    chosen = choose_liquid_layer(model, layer)
    inputs = find_inputs(model, chosen)
    asked = {"sequence": inputs.sequence, "elapsed_time": inputs.elapsed_time, "mask": inputs.mask}
    asked = {name: tensor for name, tensor in asked.items() if tensor is not None}
    found: dict[str, Any] = dict(
        zip(asked, read_tensors(keras.Model(model.inputs, list(asked.values())), images), strict=True)
    )
    sequences = found["sequence"]
    if "elapsed_time" in found:
        sequences = (sequences, found["elapsed_time"])
    return TracedLayer(model, chosen, chosen.trace(sequences, mask=found.get("mask")))
