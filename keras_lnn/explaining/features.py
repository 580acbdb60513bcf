"""The features by which a network decides: what the last layer before its logits reads, one vector per sample."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lnn.backend.programs import compile_function
from keras_lnn.data.arrays import ImageArray
from keras_lnn.errors import InputError
from keras_lnn.explaining.feature_maps import FeatureMaps
from keras_lnn.explaining.maps import make_subject
from keras_lnn.layers import LearnedScale, MeanOfViews
from keras_lnn.saved.predictor import Predictor, in_batches

# Wider features are projected to as many numbers, which keeps the angles between them up to a few hundredths.
WIDTH = 512


def read_features(predictor: Predictor, images: ImageArray) -> np.ndarray:
    """Returns the features of raw images, volumes or series, float32 (samples, features), at most ``WIDTH`` of them.

    They are what the last layer with weights before the logits reads. Maps, and the steps of a sequence whose outputs
    are all used, are averaged; the steps that a recurrent layer reads up to its one output stand side by side. Where
    several layers lead to the logits, what they read stands side by side. For segmentation they are the smallest maps
    of the network, averaged. Features of mirror images, where a model averages over them, are averaged.

    Args:
        predictor: A run or a ``.keras`` file as :func:`keras_lnn.saved.predictor.load_predictor` returns it.
        images: The images.
    """
    return make_reader(predictor)(images)


def make_reader(predictor: Predictor, count: Callable[[int], None] | None = None) -> Callable[[ImageArray], np.ndarray]:
    """Returns :func:`read_features` of one predictor, for several sets of images.

    Args:
        predictor: A Keras model with its signature.
        count: Called after each batch with the number of its images.
    """
    subject = make_subject(predictor)
    predicts_pixels = len(subject.model.outputs[0].shape) > 2
    compute = _average_smallest_maps(subject.maps) if predicts_pixels else _before_logits(subject.model)

    def one_batch(*inputs: np.ndarray) -> np.ndarray:
        images, *times = inputs
        features = project(compute([images.astype(np.float32), *times]))
        if count is not None:
            count(len(images))
        return features

    return lambda images: in_batches(images, one_batch)


def project(features: np.ndarray) -> np.ndarray:
    """Returns features (samples, features) of at most ``WIDTH`` columns: sums with random signs, the same every time.

    Such sums keep the angles between vectors nearly as they are: Achlioptas, "Database-friendly random projections",
    2003. The signs come from a hash, so that they never change with a version of NumPy.

    Args:
        features: (samples, features).
    """
    width = features.shape[1]
    if width <= WIDTH:
        return features
    stream = hashlib.shake_256(b"keras_lnn features").digest(width * WIDTH // 8)
    signs = np.unpackbits(np.frombuffer(stream, np.uint8)).reshape(width, WIDTH).astype(np.float32) * 2 - 1
    return features @ signs / math.sqrt(WIDTH)


def _average_smallest_maps(maps: FeatureMaps) -> Callable[[list[np.ndarray]], np.ndarray]:
    if not maps.blocks:
        raise InputError("Features of a segmentation model are the maps of a convolution. Received: one without any.")

    def compute(inputs: list[np.ndarray]) -> np.ndarray:
        (found,) = maps.values(inputs, maps.blocks[-1:])
        return found.mean(axis=tuple(range(1, found.ndim - 1)))

    return compute


def _before_logits(model: keras.Model) -> Callable[[list[np.ndarray]], np.ndarray]:
    """Returns a function from the inputs of a model to its features."""
    search = _Search()
    tensors = search.find(model)
    if not tensors:
        raise InputError(f"Features are what a layer with weights reads. Received: {model.name}, which has no weights.")
    reader: Any = keras.Model(model.inputs, tensors)

    def read_batch(inputs: list[Any]) -> Any:
        return reader(inputs, training=False)

    # TensorFlow warns of the function of each network and each last batch that Keras traces itself.
    read = read_batch if model.run_eagerly else compile_function(read_batch)

    def compute(inputs: list[np.ndarray]) -> np.ndarray:
        found = [np.asarray(ops.convert_to_numpy(one), np.float32) for one in keras.tree.flatten(read(inputs))]
        samples = len(inputs[0])
        # Views of an image are the outer part of a batch, the slices of a sample the inner one.
        parts = [one.reshape(search.views, samples, -1, one.shape[-1]) for one in found]
        return np.concatenate([part.mean(axis=(0, 2)) for part in parts], axis=1)

    return compute


class _Search:
    """Goes back from the logits to the layers with weights that they come from.

    Attributes:
        views: The number of mirror images of each sample that the network averages over.
    """

    def __init__(self) -> None:
        self.views = 1

    def find(self, model: keras.Model, output: int = 0) -> list[Any]:
        """Returns what the last layers with weights read: symbolic tensors (rows, features), each once."""
        found: dict[int, Any] = {}
        known: set[int] = set()

        def visit(tensor: Any) -> None:
            if id(tensor) in known:
                return
            known.add(id(tensor))
            # Where a tensor comes from has been this attribute since Keras has functional models.
            operation, index, place = tensor._keras_history
            node = operation._inbound_nodes[index]
            if isinstance(operation, MeanOfViews):
                self.views = operation.views
            if isinstance(operation, keras.Model) and (inner := self.find(operation, place)):
                reached = keras.Model(operation.inputs, inner)(_as_one(node.input_tensors))
                found.update({id(one): one for one in keras.tree.flatten(reached)})
            elif getattr(operation, "weights", None) and not isinstance(operation, LearnedScale):
                read = node.input_tensors[0]
                if id(read) not in found:
                    found[id(read)] = _pool(read, operation, node.arguments.kwargs.get("mask"))
            else:
                for source in node.input_tensors:
                    visit(source)

        visit(model.outputs[output])
        return list(found.values())


def _pool(tensor: Any, layer: Any, mask: Any) -> Any:
    """Returns what a layer reads as one vector for each row of the batch."""
    axes = tuple(range(1, len(tensor.shape) - 1))
    if not axes:
        return ops.cast(tensor, "float32")
    if mask is not None:
        weights = ops.cast(ops.expand_dims(mask, -1), "float32")
        total = ops.sum(ops.cast(tensor, "float32") * weights, axis=1)
        return total / ops.maximum(ops.sum(weights, axis=1), 1.0)
    if isinstance(layer, keras.layers.RNN) and not layer.return_sequences:
        return ops.reshape(ops.cast(tensor, "float32"), (-1, math.prod(tensor.shape[1:])))
    return ops.mean(ops.cast(tensor, "float32"), axis=axes)


def _as_one(tensors: list[Any]) -> Any:
    return tensors if len(tensors) > 1 else tensors[0]
