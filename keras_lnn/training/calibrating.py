"""Predictions for the splits of a run, calibrated on validation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_lnn.data.arrays import Split
from keras_lnn.saved.predictor import predict_compact, predict_logits
from keras_lnn.saved.signature import Signature
from keras_lnn.tasks.calibration import UNCALIBRATED, fit_calibration

# Neighbouring pixels say nearly the same, so that more images tell more than more pixels of each.
_IMAGES, _PIXELS = 1000, 2**18


@dataclasses.dataclass(frozen=True)
class CalibratedPredictions:
    """What a model predicts for the splits of its run.

    Args:
        signature: Its signature, with the calibration.
        predicted: What the task keeps of each split.
        uncalibrated: The same without calibration; empty where nothing was calibrated or where it changes nothing.
        samples: Number of validation images or pixels that the calibration was fitted on.
        note: A sentence on what could not be calibrated, or empty.
    """

    signature: Signature
    predicted: dict[str, np.ndarray]
    uncalibrated: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    samples: int = 0
    note: str = ""


def predict_calibrated(
    model: Any, splits: Mapping[str, Split], signature: Signature, method: str
) -> CalibratedPredictions:
    """Predicts for each split, with probabilities that are calibrated on the split ``val``.

    Args:
        model: The Keras model, which gives logits.
        splits: The splits by name.
        signature: The signature of the model, without calibration.
        method: One of ``keras_lnn.tasks.calibration.METHODS``.
    """
    task = signature.get_task()
    if method == UNCALIBRATED:
        found = {name: predict_compact(model, split.images, task) for name, split in splits.items()}
        return CalibratedPredictions(signature, found)
    if not task.keeps_logits:
        sample, truth = _sample_pixels(model, splits["val"])
        calibration, note = fit_calibration(sample, truth, method)
        signature = dataclasses.replace(signature, calibration=calibration)
        task = signature.get_task()
        # A temperature changes no mask, so that there is nothing to compare with.
        found = {name: predict_compact(model, split.images, task) for name, split in splits.items()}
        return CalibratedPredictions(signature, found, samples=len(truth), note=note)
    logits = {name: predict_logits(model, split.images) for name, split in splits.items()}
    calibration, note = fit_calibration(logits["val"], splits["val"].labels, method)
    before = {name: task.compact(task.probabilities(rows)) for name, rows in logits.items()}
    if calibration is None:
        return CalibratedPredictions(signature, before, note=note)
    signature = dataclasses.replace(signature, calibration=calibration)
    task = signature.get_task()
    found = {name: task.compact(task.probabilities(rows)) for name, rows in logits.items()}
    return CalibratedPredictions(signature, found, before, len(splits["val"]), note)


def _sample_pixels(model: Any, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Returns logits and classes of random pixels, as many from each of some images, spread evenly over the split."""
    rows = np.unique(np.linspace(0, len(split) - 1, min(_IMAGES, len(split))).round().astype(np.int64))
    labels = split.labels[rows].reshape(len(rows), -1)
    count = min(labels.shape[1], max(1, _PIXELS // len(rows)))
    generator = np.random.default_rng(0)
    places = np.stack([generator.choice(labels.shape[1], count, replace=False) for _ in rows])
    remaining = iter(places)

    def thin(logits: np.ndarray) -> np.ndarray:
        pixels = logits.reshape(len(logits), -1, logits.shape[-1])
        return np.stack([image[next(remaining)] for image in pixels])

    logits = predict_logits(model, split.images[rows], thin)
    return logits.reshape(-1, logits.shape[-1]), np.take_along_axis(labels, places, axis=1).ravel()
