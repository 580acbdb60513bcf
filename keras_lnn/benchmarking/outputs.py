"""What a model predicts for the samples on which it is compared with another."""

from __future__ import annotations

import dataclasses

import numpy as np

from keras_lnn.data.arrays import ImageArray, take_images
from keras_lnn.saved.predictor import Predictor

# The probabilities of all pixels of more images would not fit into memory.
_PROBABILITIES_OF = 64


@dataclasses.dataclass(frozen=True)
class ModelOutputs:
    """What a model predicts for some samples.

    Args:
        compact: As :meth:`Task.compact` returns it, of all samples.
        probabilities: Of masks those of the first samples only, otherwise the same.
    """

    compact: np.ndarray
    probabilities: np.ndarray

    @classmethod
    def of(cls, predictor: Predictor, images: ImageArray) -> ModelOutputs:
        """Returns what a model predicts for images."""
        compact = predictor.predict_compact(images)
        if np.issubdtype(compact.dtype, np.floating):
            return cls(compact, compact)
        return cls(compact, predictor.predict(take_images(images, slice(_PROBABILITIES_OF))))
