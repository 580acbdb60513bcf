"""Checks of the arguments of the plot functions, and the one form into which they bring predictions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from keras_lnn.errors import InputError, suggest
from keras_lnn.tasks.decisions import CLASSIFICATIONS, PROBABILITY_TOLERANCE, positive_index


@dataclasses.dataclass(frozen=True)
class Predictions:
    """The true labels and the predicted probabilities of the same images.

    Args:
        task: One of ``CLASSIFICATIONS``.
        class_names: One name per class or label.
        truth: Class indices (samples,), or 0/1 (samples, labels) where the task is multi-label.
        probabilities: (samples, classes or labels); a binary task has both columns.
        thresholds: Probability above which each class or label is predicted; None means 0.5.
        positive_class: For a binary task, the class whose curves are drawn; None means the second one.
    """

    task: str
    class_names: tuple[str, ...]
    truth: np.ndarray
    probabilities: np.ndarray
    thresholds: tuple[float, ...] | None = None
    positive_class: str | None = None

    @property
    def is_multi_label(self) -> bool:
        """Returns whether an image may have several labels, or none."""
        return self.task == "multi-label"

    @property
    def predicted(self) -> np.ndarray:
        """Returns the predicted class (samples,), or 0/1 for each label (samples, labels)."""
        return CLASSIFICATIONS[self.task](self.probabilities, self.thresholds).astype(np.int64)

    @property
    def confidence(self) -> np.ndarray:
        """Returns the probability of the predicted class (samples,), or of each label (samples, labels)."""
        if self.is_multi_label:
            return self.probabilities
        return np.take_along_axis(self.probabilities, self.predicted[:, None], axis=1)[:, 0]

    @property
    def sureness(self) -> np.ndarray:
        """Returns the distance of each probability from its decision threshold, in the shape of ``predicted``.

        For more than two classes it returns the confidence, which sorts the images in the same order.
        """
        if self.task != "binary" and not self.is_multi_label:
            return self.confidence
        levels = np.full(len(self.class_names), 0.5) if self.thresholds is None else np.asarray(self.thresholds)
        distances = np.abs(self.probabilities - levels)
        return distances if self.is_multi_label else distances[:, 1]

    def one_against_rest(self) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """Yields (name, presence, probability): for the positive class of two, otherwise for each class or label."""
        positive = positive_index(self.class_names, self.positive_class)
        for index in [positive] if self.task == "binary" else range(len(self.class_names)):
            present = self.truth[:, index] == 1 if self.is_multi_label else self.truth == index
            yield self.class_names[index], present, self.probabilities[:, index]


def check_predictions(
    truth: Any,
    probabilities: Any,
    task: str,
    class_names: Sequence[str],
    thresholds: Sequence[float] | None = None,
    positive_class: str | None = None,
) -> Predictions:
    """Checks the predictions that a plot function received, and brings them into one form.

    Args:
        truth: Class indices (samples,) or (samples, 1), or 0/1 (samples, labels) where the task is multi-label.
        probabilities: (samples, classes or labels); for two classes also (samples,) or (samples, 1) of class 1.
        task: ``binary``, ``multi-class``, ``ordinal`` or ``multi-label``.
        class_names: One name per class or label.
        thresholds: One per class of a binary task, or one per label; 0.5 if not given.
        positive_class: One of the two classes of a binary task; the second one if not given.

    Returns:
        The checked predictions.

    Raises:
        InputError: If the arguments do not fit together.
    """
    if task not in CLASSIFICATIONS:
        known = ", ".join(CLASSIFICATIONS)
        raise InputError(f"task must be one of {known}. Received: {task}. {suggest(str(task), CLASSIFICATIONS)}")
    class_names = tuple(str(name) for name in class_names)
    probabilities = _check_probabilities(probabilities, task, len(class_names))
    truth = _check_truth(truth, task, probabilities.shape)
    if thresholds is not None and len(thresholds) != len(class_names):
        raise InputError(
            f"thresholds must be one for each of {len(class_names)} classes or labels. Received: {len(thresholds)}. "
            "Give those of the model's signature."
        )
    if positive_class is not None and positive_class not in class_names:
        raise InputError(
            f"positive_class must be one of the classes. Received: {positive_class}. "
            f"{suggest(positive_class, class_names)}"
        )
    return Predictions(
        task, class_names, truth, probabilities, None if thresholds is None else tuple(thresholds), positive_class
    )


def _check_probabilities(probabilities: Any, task: str, classes: int) -> np.ndarray:
    probabilities = np.asarray(probabilities, dtype=np.float64)
    shape = probabilities.shape
    if probabilities.size == 0:
        raise InputError(f"There must be at least one prediction. Received: {shape}. Give some.")
    low, high = probabilities.min(), probabilities.max()
    within = low >= -PROBABILITY_TOLERANCE and high <= 1 + PROBABILITY_TOLERANCE
    if not np.isfinite(probabilities).all() or not within:
        raise InputError(
            f"probabilities must be from 0 to 1. Received: {low:g} to {high:g}. Apply the softmax or sigmoid first."
        )
    if task == "binary" and (probabilities.ndim == 1 or shape[1:] == (1,)):
        of_second_class = probabilities.reshape(-1)
        probabilities = np.stack([1.0 - of_second_class, of_second_class], axis=1)
    if task == "binary" and classes != 2:
        raise InputError(f"A binary task must have two class names. Received: {classes}. Name both classes.")
    if probabilities.ndim != 2 or probabilities.shape[1] != classes:
        raise InputError(
            f"probabilities must have one column for each of {classes} class names. Received: {shape}. Give both to"
            " match."
        )
    return probabilities.clip(0.0, 1.0)


def _check_truth(truth: Any, task: str, shape: tuple[int, int]) -> np.ndarray:
    truth = np.asarray(truth)
    expected = shape if task == "multi-label" else shape[:1]
    if task != "multi-label" and truth.ndim == 2 and truth.shape[1] == 1:
        truth = truth[:, 0]
    if truth.shape != expected:
        raise InputError(
            f"truth must have the shape {expected}. Received: {truth.shape}. Give one label per prediction."
        )
    return check_indices(truth, 2 if task == "multi-label" else shape[1])


def check_indices(indices: Any, classes: int) -> np.ndarray:
    """Returns the indices as int64 after checking that all are whole numbers from 0 to ``classes - 1``."""
    indices = np.asarray(indices)
    if not np.isin(indices, np.arange(classes)).all():
        wrong = indices[~np.isin(indices, np.arange(classes))].ravel()[0]
        raise InputError(
            f"Labels must be whole numbers from 0 to {classes - 1}. Received: {wrong}. Correct the labels."
        )
    return indices.astype(np.int64)


def check_images(images: Any) -> int:
    """Returns the number of images after checking that their shape can be drawn."""
    shape = tuple(images.shape)
    if len(shape) not in (4, 5) or shape[-1] not in (1, 3) or 0 in shape:
        raise InputError(
            "images must be (samples, height, width, channels) or (samples, depth, height, width, channels) "
            f"with 1 or 3 channels. Received: {shape}. Reshape them."
        )
    return shape[0]
