"""Truth and predicted probabilities that fit together, and what is decided of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_lnn.errors import InputError, suggest
from keras_lnn.tasks.decisions import (
    CLASSIFICATIONS,
    PROBABILITY_TOLERANCE,
    are_thresholds,
    positive_index,
    require_positive_class,
)


@dataclasses.dataclass(frozen=True)
class CheckedPredictions:
    """Checked input; the arrays are (samples, classes or labels)."""

    task: str
    class_names: tuple[str, ...]
    probabilities: np.ndarray
    positive: np.ndarray
    predicted: np.ndarray
    tuned: np.ndarray | None = None
    positive_index: int = 1

    @property
    def two_classes(self) -> bool:
        return self.task != "multi-label" and len(self.class_names) == 2

    @property
    def highest_brier(self) -> float:
        """The squares over several classes sum to two at most."""
        return 1.0 if self.task == "multi-label" or self.two_classes else 2.0

    @classmethod
    def checked(
        cls,
        truth: np.ndarray,
        probabilities: np.ndarray,
        task: str,
        class_names: tuple[str, ...],
        thresholds: Sequence[float] | None,
        positive_class: str | None = None,
    ) -> CheckedPredictions:
        if task not in CLASSIFICATIONS:
            known = ", ".join(CLASSIFICATIONS)
            raise InputError(f"task must be one of {known}. Received: {task}. {suggest(task, CLASSIFICATIONS)}")
        probabilities = _check_probabilities(probabilities, task, class_names)
        truth = _check_truth(truth, probabilities.shape, task)
        require_positive_class(positive_class, task, class_names)

        def spread(labels: np.ndarray) -> np.ndarray:
            return labels.astype(bool) if task == "multi-label" else labels[:, None] == np.arange(len(class_names))

        decide = CLASSIFICATIONS[task]
        predicted, tuned = spread(decide(probabilities)), None
        if thresholds is not None:
            tuned = spread(decide(probabilities, _check_thresholds(thresholds, task, len(class_names)).tolist()))
        place = positive_index(class_names, positive_class)
        return cls(task, class_names, probabilities, spread(truth), predicted, tuned, place)

    @classmethod
    def joined(cls, parts: Sequence[CheckedPredictions], order: np.ndarray | None = None) -> CheckedPredictions:
        """Returns predictions one after another; decisions at thresholds only where all parts have them.

        Args:
            parts: Predictions of the same task and classes.
            order: Which rows to take, in which order; None for all as they are.
        """

        def join(arrays: list[np.ndarray]) -> np.ndarray:
            rows = np.concatenate(arrays)
            return rows if order is None else rows[order]

        names = ("probabilities", "positive", "predicted")
        tuned = [part.tuned for part in parts if part.tuned is not None]
        return dataclasses.replace(
            parts[0],
            **{name: join([getattr(part, name) for part in parts]) for name in names},
            tuned=join(tuned) if len(tuned) == len(parts) else None,
        )


def _check_probabilities(probabilities: np.ndarray, task: str, class_names: tuple[str, ...]) -> np.ndarray:
    probabilities = np.asarray(probabilities, dtype=np.float64)
    shape, names = probabilities.shape, len(class_names)
    if probabilities.ndim != 2 or shape[1] != names:
        raise InputError(
            f"probabilities must be (samples, {names}), one column for each of the {names} class names. "
            f"Received: shape {shape}. Give one column per class or label."
        )
    if len(set(class_names)) < names:
        raise InputError(f"class_names must differ from each other. Received: {class_names}. Rename the equal ones.")
    if (task == "binary" and names != 2) or (task != "multi-label" and names < 2) or names < 1:
        rule = {"binary": "exactly 2 classes", "multi-label": "at least 1 label"}.get(task, "at least 2 classes")
        raise InputError(f"A {task} task has {rule}. Received: {names}. Choose another task or other class names.")
    if not shape[0]:
        raise InputError("There must be at least one sample. Received: 0. Give predictions for some samples.")
    if not np.isfinite(probabilities).all():
        count = int((~np.isfinite(probabilities)).any(axis=1).sum())
        raise InputError(
            f"probabilities must be finite. Received: nan or infinity for {count} of {shape[0]} samples. "
            "The training has probably diverged: lower the learning rate."
        )
    low, high = probabilities.min(), probabilities.max()
    if low < -PROBABILITY_TOLERANCE or high > 1 + PROBABILITY_TOLERANCE:
        raise InputError(
            f"probabilities must lie between 0 and 1. Received: {low:.6g} to {high:.6g}. "
            f"Apply {'sigmoid' if task == 'multi-label' else 'softmax'} to logits."
        )
    # Wide enough for models that compute in bfloat16.
    sums = probabilities.sum(axis=1)
    if task != "multi-label" and np.abs(sums - 1).max() > 0.01:
        raise InputError(
            f"The probabilities of each sample must sum to one. Received: sums from {sums.min():.6g} to "
            f"{sums.max():.6g}. Apply softmax, or choose the task multi-label."
        )
    return probabilities.clip(0.0, 1.0)


def _check_truth(truth: np.ndarray, shape: tuple[int, int], task: str) -> np.ndarray:
    truth = np.asarray(truth)
    expected = shape if task == "multi-label" else shape[:1]
    if truth.shape != expected:
        raise InputError(
            f"truth of a {task} task must have the shape {expected} to fit the probabilities. "
            f"Received: {truth.shape}. Give {'0/1 for each label' if task == 'multi-label' else 'class indices'}."
        )
    if truth.dtype.kind not in "biu":
        raise InputError(f"truth must be integers. Received: {truth.dtype}. Convert it with astype(int).")
    highest = 1 if task == "multi-label" else shape[1] - 1
    low, high = int(truth.min()), int(truth.max())
    if low < 0 or high > highest:
        raise InputError(
            f"truth must lie between 0 and {highest}. Received: {low} to {high}. "
            f"{'Give 0 or 1 for each label' if task == 'multi-label' else 'Count classes from 0 and name them all'}."
        )
    return truth.astype(np.int64)


def _check_thresholds(thresholds: Sequence[float], task: str, outputs: int) -> np.ndarray:
    values = np.asarray(thresholds, dtype=np.float64)
    rule = "two probabilities that sum to one" if task == "binary" else "one probability for each label"
    if values.ndim != 1 or not are_thresholds(task, outputs, values.tolist()):
        raise InputError(
            f"thresholds must be {rule}, of a binary or multi-label task. Received: {values.tolist()} for "
            f"{outputs} outputs of a {task} task."
        )
    return values
