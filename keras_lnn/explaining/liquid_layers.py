"""Finds the liquid layers of a model, and splits the model where their inputs are known."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_lnn.data.arrays import ImageArray, network_inputs
from keras_lnn.errors import InputError
from keras_lnn.layers.recurrence import LiquidRNN
from keras_lnn.saved.predictor import batch_size_for

_SAMPLES_TOGETHER = 256


def find_liquid_layers(model: keras.Model) -> list[LiquidRNN]:
    """Returns the liquid layers of a model, also those within other layers, in the order of the model.

    Args:
        model: Any Keras model.
    """
    return [layer for layer in _all_layers(model) if isinstance(layer, LiquidRNN)]


def choose_liquid_layer(model: keras.Model, name: str | None = None) -> LiquidRNN:
    """Returns a liquid layer of a model.

    Args:
        model: Any Keras model.
        name: The layer's name; None for the first one.

    Raises:
        InputError: If the model has no liquid layer, or none of this name.
    """
    found = find_liquid_layers(model)
    if not found:
        raise InputError(f"Only a model with an LTC or CfC can be explained by it. Received: {explain_absence(model)}")
    chosen = [layer for layer in found if name in (None, layer.name)]
    if not chosen:
        known = ", ".join(layer.name for layer in found)
        raise InputError(f"layer must name a liquid layer of the model: {known}. Received: {name}.")
    return chosen[0]


def explain_absence(model: keras.Model) -> str:
    """Returns one sentence that says why a model has no liquid layer; an empty text if it has one."""
    layers = _all_layers(model)
    if any(isinstance(layer, LiquidRNN) for layer in layers):
        return ""
    recurrent = [layer for layer in layers if isinstance(layer, keras.layers.RNN)]
    foreign = [layer for layer in recurrent if type(layer).__module__.startswith("ncps.")]
    if foreign:
        return (
            f"{model.name} has layers of ncps ({foreign[0].name}), whose inner values cannot be read. "
            f"load_ncps_model reads them from a file into layers of keras_lnn."
        )
    if recurrent:
        kinds = ", ".join(sorted({type(layer).__name__ for layer in recurrent}))
        return f"{model.name} reads its sequences by {kinds}, which has no liquid neurons."
    return f"{model.name} has no recurrent layer."


def _all_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Returns all layers of a model in its order, with those within wrappers and nested models, each once."""
    found: dict[keras.layers.Layer, None] = {}
    # Keras has no public list of the layers within a wrapper, whose attribute each wrapper names as it likes.
    for part in layer._flatten_layers(include_self=False, recursive=False):
        found |= dict.fromkeys([part, *_all_layers(part)])
    return list(found)


@dataclasses.dataclass(frozen=True)
class ModelParts:
    """A model in two parts: what does not depend on some layers, and the rest.

    Args:
        before: From the inputs of the model to the tensors that ``after`` reads.
        after: From these to the outputs of the model, through the layers.
    """

    before: keras.Model
    after: keras.Model


def copy_model(model: keras.Model) -> keras.Model:
    """Returns a copy of a model with weights and layers of its own, which can be split and changed."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def split_before(model: keras.Model, layer: keras.layers.Layer) -> ModelParts:
    """Splits a model before a layer, so that everything before it needs to be computed only once.

    Args:
        model: A functional model.
        layer: One of its layers, or a layer within one.

    Returns:
        Two models that share the layers of the model.
    """
    return _split(model, [], lambda operation: _holds(operation, layer))


def split_at(model: keras.Model, *tensors: Any) -> ModelParts:
    """Splits a model at some of its tensors, which are the first inputs of the second part.

    Args:
        model: A functional model.
        *tensors: Symbolic tensors within it.

    Returns:
        Two models that share the layers of the model.
    """
    return _split(model, list(tensors), lambda _: False)


@dataclasses.dataclass(frozen=True)
class LayerInputs:
    """The symbolic tensors that a liquid layer is called with.

    Args:
        sequence: (batch, steps, features).
        mask: (batch, steps), or None where every step is read.
        elapsed_time: What :meth:`~keras_lnn.layers.LTC.trace` takes as such; None where every step takes a time of one.
    """

    sequence: Any
    mask: Any = None
    elapsed_time: Any = None


def find_inputs(model: keras.Model, layer: keras.layers.Layer) -> LayerInputs:
    """Returns what a layer of a model reads; of a layer that is called several times, in its first call.

    Args:
        model: A functional model.
        layer: One of its layers, or a layer within one, whose inputs are those of the outer layer.
    """
    outer = next(part for part in model.layers if _holds(part, layer))
    node = outer._inbound_nodes[0]
    sequence = node.input_tensors[0]
    if len(sequence.shape) != 3:
        raise InputError(
            f"The steps must be seen by the layer's inputs (batch, steps, features). Received: {outer.name} of "
            f"{model.name}, which reads {tuple(sequence.shape)}."
        )
    given = next(iter(node.arguments.args), None)
    elapsed_time = given[1] if isinstance(given, list | tuple) and len(given) == 2 else None
    return LayerInputs(sequence, node.arguments.kwargs.get("mask"), elapsed_time)


def _holds(operation: Any, layer: keras.layers.Layer) -> bool:
    inner = operation._flatten_layers() if isinstance(operation, keras.layers.Layer) else ()
    return any(part is layer for part in inner)


def _split(model: keras.Model, cut: list[Any], begins: Callable[[Any], bool]) -> ModelParts:
    """Splits a model so that its second part holds all that depends on some tensors or on some operations."""
    depends = {id(tensor): True for tensor in cut}
    frontier = {id(tensor): tensor for tensor in cut}

    def visit(tensor: Any) -> bool:
        if id(tensor) not in depends:
            # Where a tensor comes from has been this attribute since Keras has functional models.
            operation, index, _ = tensor._keras_history
            sources = operation._inbound_nodes[index].input_tensors
            depending = [visit(source) for source in sources]
            depends[id(tensor)] = any(depending) or begins(operation)
            if depends[id(tensor)]:
                rest = [source for source, known in zip(sources, depending, strict=True) if not known]
                frontier.update({id(source): source for source in rest})
        return depends[id(tensor)]

    depending = [visit(tensor) for tensor in model.outputs]
    if not any(depending):
        raise InputError(f"The outputs of {model.name} must depend on the layer. Received: one without effect.")
    tensors = list(frontier.values())
    return ModelParts(keras.Model(model.inputs, tensors), keras.Model(tensors, model.outputs))


def read_before(parts: ModelParts, images: ImageArray) -> list[np.ndarray]:
    """Returns what the second part of a model reads, for images or series.

    Args:
        parts: The model in two parts.
        images: Raw images, or series of images with their times.
    """
    return read_tensors(parts.before, images)


def read_tensors(model: keras.Model, images: ImageArray) -> list[np.ndarray]:
    """Returns all outputs of a model for images or series, computed a part of the samples at a time."""
    size = batch_size_for(images.shape[1:])
    found = []
    model.jit_compile = False
    if len(images) <= size:  # compiling for one batch takes longer than the batch
        inputs = network_inputs(images, slice(None))
        tensors = model([inputs[0].astype("float32"), *inputs[1:]], training=False)
        return [keras.ops.convert_to_numpy(tensor) for tensor in keras.tree.flatten(tensors)]
    for start in range(0, len(images), size):
        pixels, *times = network_inputs(images, slice(start, start + size))
        found.append(_predict(model, [pixels.astype("float32"), *times]))
    return [np.concatenate(arrays) for arrays in zip(*found, strict=True)]


def predict_after(parts: ModelParts, arrays: list[np.ndarray]) -> np.ndarray:
    """Returns the logits of a model for what its second part reads.

    All batches have one size, so that the part is compiled once.

    Args:
        parts: The model in two parts.
        arrays: What :func:`read_before` returned.
    """
    parts.after.jit_compile = False
    samples = len(arrays[0])
    size = min(_SAMPLES_TOGETHER, samples)
    found = []
    for start in range(0, samples, size):
        chosen = np.minimum(np.arange(start, start + size), samples - 1)
        (logits,) = _predict(parts.after, [array[chosen] for array in arrays])
        found.append(logits[: samples - start])
    return np.concatenate(found)


def _predict(model: keras.Model, arrays: list[np.ndarray]) -> list[np.ndarray]:
    found = model.predict_on_batch(arrays)
    return list(found) if isinstance(found, list | tuple) else [found]
