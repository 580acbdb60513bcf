"""What is explained: a network, what its logits mean, and how it is called."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_lnn.backend.programs import compile_function
from keras_lnn.backend.tensors import gradients_of
from keras_lnn.explaining.feature_maps import FeatureMaps
from keras_lnn.tasks.task import Task


@dataclasses.dataclass(frozen=True)
class Subject:
    """A network to be explained.

    Args:
        model: The Keras model, which maps pixel values to logits.
        task: What its logits mean.
        thresholds: By which its decisions are made; None for one half.
        before_batch: Called before each batch of predictions or gradients; ends the work by an error.
    """

    model: Any
    task: Task
    thresholds: Sequence[float] | None = None
    before_batch: Callable[[], object] | None = None

    @functools.cached_property
    def maps(self) -> FeatureMaps:
        """Returns the feature maps of the network."""
        return FeatureMaps(self.model, compiled=not self.model.run_eagerly)

    def logits(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        """Returns the logits of a batch, float32."""
        if self.before_batch is not None:
            self.before_batch()
        return np.asarray(self.model.predict_on_batch(_join(inputs)), np.float32)

    def weigh(self, inputs: Sequence[np.ndarray], target: int | None) -> np.ndarray:
        """Returns the weights of the logits in what is explained; see :meth:`Task.target_weights`."""
        return self.task.target_weights(self.logits(inputs), target, self.thresholds)

    def scores(self, inputs: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
        """Returns what is explained of each sample: the weighted sum of its logits."""
        return (self.logits(inputs) * weights).reshape(len(weights), -1).sum(axis=1)

    def probabilities(self, inputs: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
        """Returns the probability of what is explained of each sample, for masks the mean over the pixels in question.

        A label with a negative weight is one that is not predicted; its probability is that of its absence.
        """
        found = ops.convert_to_numpy(self.task.probabilities(self.logits(inputs)))
        absent = ~(weights > 0).reshape(len(weights), -1).any(axis=1)
        shares = np.where(absent.reshape(-1, *(1,) * (weights.ndim - 1)), -weights, np.maximum(weights, 0))
        flat = shares.reshape(len(weights), -1)
        means = (flat * found.reshape(len(weights), -1)).sum(axis=1) / flat.sum(axis=1)
        return np.where(absent, 1 - means, means)

    def pixel_gradients(self, inputs: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
        """Returns the gradient of what is explained with respect to the pixel values, of the shape of the images."""
        if self.before_batch is not None:
            self.before_batch()
        found = self._pixel_gradients([np.asarray(part, np.float32) for part in inputs], weights)
        return np.asarray(ops.convert_to_numpy(found), np.float32)

    @functools.cached_property
    def _pixel_gradients(self) -> Callable[..., Any]:
        def gradients(inputs: list[Any], weights: Any) -> Any:
            def score(pixels: list[Any]) -> tuple[Any, None]:
                logits = self.model(_join([pixels[0], *inputs[1:]]), training=False)
                return ops.sum(ops.cast(logits, "float32") * weights), None

            return gradients_of(score, inputs[:1])[0][0]

        return gradients if self.model.run_eagerly else compile_function(gradients)


def _join(inputs: Sequence[Any]) -> Any:
    """Returns inputs as a Keras model takes them."""
    return list(inputs) if len(inputs) > 1 else inputs[0]
