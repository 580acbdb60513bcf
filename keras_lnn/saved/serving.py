"""What every export computes, from raw images to probabilities and decisions, and how a runtime's outputs are read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_lnn.data.arrays import ImageArray
from keras_lnn.saved.predictor import KerasPredictor, in_batches
from keras_lnn.saved.signature import Signature

# A runtime as a function from arrays to arrays, both by their names.
Runtime = Callable[[Mapping[str, np.ndarray]], Mapping[str, Any]]


class ServedPredictor:
    """An exported model in its runtime, with its signature.

    Args:
        signature: What it is.
        run: Calls the runtime.
    """

    def __init__(self, signature: Signature, run: Runtime) -> None:
        self.signature = signature
        self.run = run

    def predict(self, images: ImageArray) -> np.ndarray:
        """Returns probabilities (samples, ..., classes) of raw uint8 images as float64, for segmentation per pixel."""
        return in_batches(images, lambda *batch: np.asarray(self.serve(*batch)["probabilities"])).astype(np.float64)

    def predict_compact(self, images: ImageArray) -> np.ndarray:
        """Returns probabilities, or for segmentation the most probable class of each pixel as uint8."""
        task = self.signature.get_task()
        return in_batches(images, lambda *batch: task.read_served(self.serve(*batch)))

    def serve(self, images: np.ndarray, times: np.ndarray | None = None) -> Mapping[str, Any]:
        """Returns all outputs by their names for one batch of images, or of series with NaN after their last time."""
        return self.run(name_inputs(images, times))


def name_inputs(images: np.ndarray, times: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Returns a batch by the names of an export's inputs.

    Args:
        images: Raw uint8 images, or the frames of series.
        times: The times of the frames, NaN after the last one; None for images.
    """
    if times is None:
        return {"images": images}
    is_frame = np.isfinite(times)
    lengths = is_frame.sum(axis=1).astype(np.int32)
    return {"images": images, "times": np.where(is_frame, times, 0).astype(np.float32), "lengths": lengths}


def make_serving(predictor: KerasPredictor, *, batch: int | None = None, texts: bool = False) -> Any:
    """Returns a TensorFlow module whose function ``serve`` maps raw images to all outputs; its weights stay shared.

    Its graph is built inside :func:`keras_lnn.backend.programs.plain_graphs`, when the function is first used.

    Args:
        predictor: The model with its signature.
        batch: The number of samples of each call; None for any.
        texts: Whether the names of the classes are an output, which runtimes without text cannot have.
    """
    import tensorflow as tf

    model, signature = predictor.model, predictor.signature
    task = signature.get_task()
    shape = (batch, *signature.image_shape)

    def serve(images: Any, times: Any = None, lengths: Any = None) -> dict[str, Any]:
        inputs = tf.cast(images, tf.float32)
        if signature.time_unit is not None:
            inputs = [inputs, tf.where(tf.sequence_mask(lengths, shape[1]), times, float("nan"))]
        probabilities = task.probabilities(model(inputs, training=False))
        outputs = {"probabilities": probabilities, **task.serve(probabilities, signature.thresholds)}
        outputs |= signature.find_promised(probabilities)
        levels = list_thresholds(signature)
        if levels is not None:
            outputs["thresholds"] = tf.constant(levels, tf.float32)
        return outputs | ({"class_names": tf.constant(signature.class_names)} if texts else {})

    specs = [tf.TensorSpec(shape, tf.uint8, name="images")]
    if signature.time_unit is not None:
        specs += [tf.TensorSpec(shape[:2], tf.float32, name="times"), tf.TensorSpec((batch,), tf.int32, name="lengths")]
    # keras.export.ExportArchive would write every weight twice.
    module: Any = tf.Module()
    module.weights = [variable.value for variable in model.variables]
    # Nothing in it depends on values, and to search all of Keras for that takes a second.
    module.serve = tf.function(serve, input_signature=specs, autograph=False)
    return module


def list_thresholds(signature: Signature) -> list[float] | None:
    """Returns the probability above which each class is predicted; None where the likeliest one is."""
    outputs = len(signature.class_names)
    if not signature.get_task().are_thresholds((0.5,) * outputs):
        return None
    return [0.5] * outputs if signature.thresholds is None else list(signature.thresholds)


def save_serving(module: Any, folder: Path) -> None:
    """Writes a module of :func:`make_serving` as a SavedModel."""
    import tensorflow as tf

    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})


def count_threads() -> int:
    """Returns the number of processors that this process may use, for runtimes that would take one or all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
