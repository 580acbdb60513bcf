"""From truth and predicted probabilities to honest metrics: every number with its interval, and warnings in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_lnn.cautions import Basis, find_warnings
from keras_lnn.errors import InputError, suggest
from keras_lnn.statistics import Estimate
from keras_lnn.statistics.deviations import Units
from keras_lnn.statistics.measurements import (
    Measurement,
    mean_of,
    measure_auc,
    measure_average_precision,
    measure_f1,
    measure_loss,
    measure_proportion,
)
from keras_lnn.tasks import PROBABILITY_TOLERANCE, TASKS, Task

METRICS = (
    "auc",
    "accuracy",
    "f1",
    "f1_macro",
    "precision",
    "sensitivity",
    "specificity",
    "balanced_accuracy",
    "average_precision",
    "brier",
    "expected_calibration_error",
)
CLASS_METRICS = ("auc", "average_precision", "f1", "precision", "sensitivity", "specificity")
# Of several labels whose thresholds were chosen on other data; without thresholds there is none.
TUNED = "f1_tuned"
CALIBRATION_BINS = 15


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """How good predictions are.

    Args:
        metrics: The estimate of each name in ``METRICS``, in that order, and with thresholds ``f1_tuned``.
        per_class: For each class or label its ``support`` (samples) and the estimate of each name in ``CLASS_METRICS``;
            with thresholds also ``f1_tuned`` and the ``threshold``.
        warnings: Sentences on what the numbers do not show.
        basis: What the intervals rest on.
    """

    metrics: dict[str, Estimate]
    per_class: dict[str, dict[str, Estimate | int | float]]
    warnings: tuple[str, ...]
    basis: Basis

    def to_json(self) -> dict[str, dict[str, float]]:
        """The metrics as ``{"auc": {"value": ..., "low": ..., "high": ...}, ...}``; what is not defined is nan."""
        return {name: estimate.to_json() for name, estimate in self.metrics.items()}

    def per_class_to_json(self) -> dict[str, dict[str, Any]]:
        """The same for each class: ``{"benign": {"support": 114, "auc": {"value": ..., ...}, ...}, ...}``."""
        return {
            class_name: {
                name: entry.to_json() if isinstance(entry, Estimate) else entry for name, entry in entries.items()
            }
            for class_name, entries in self.per_class.items()
        }


def evaluate_predictions(
    truth: np.ndarray,
    probabilities: np.ndarray,
    *,
    task: str,
    class_names: Sequence[str],
    thresholds: Sequence[float] | None = None,
    groups: Sequence[str] | None = None,
    confidence: float = 0.95,
) -> Evaluation:
    """Computes all metrics with their intervals.

    ``auc`` and ``accuracy`` are those of ``medmnist.evaluator``. For two classes ``f1``, ``precision``,
    ``sensitivity``, ``specificity`` and ``average_precision`` speak of class 1, else they are means over classes or
    labels. Ratios with nothing below the line are 0; an AUC that lacks one of its two sides is nan and is left out of
    the mean. ``brier`` is the mean squared error of class 1 for two classes, its sum over several classes, its mean
    over labels. ``expected_calibration_error`` has 15 bins, open below and closed above, over the confidence in the
    predicted class (for labels over all their probabilities together); it has no interval, since binning makes it
    larger than it is by an amount that depends on the model.

    Intervals say what other patients would change, or other images where no patients are known. They hold for few
    samples, for rare classes and where no error was seen: see :mod:`keras_lnn.statistics.intervals`.

    Args:
        truth: Class indices (samples,), or for ``multi-label`` 0/1 (samples, labels).
        probabilities: (samples, classes), each row summing to one, or (samples, labels).
        task: One of ``binary``, ``multi-class``, ``ordinal`` and ``multi-label``.
        class_names: One name for each class or label, in the order of the columns.
        thresholds: Of each label, chosen on other data: F1 is given at them too. All other metrics stay at 0.5.
        groups: The patient of each sample, (samples,); None where nobody knows.
        confidence: Coverage of the intervals.

    Returns:
        The metrics over all and for each class, with warnings.

    Raises:
        InputError: If truth, probabilities, names and groups do not fit together.
    """
    predictions = CheckedPredictions.checked(truth, probabilities, task, tuple(class_names), thresholds)
    if groups is not None and len(groups) != len(predictions.positive):
        raise InputError(
            f"groups must name the patient of each of the {len(predictions.positive)} samples. Received: {len(groups)}."
        )
    overall, by_class = measure_predictions(predictions, groups, confidence)
    supports = predictions.positive.sum(axis=0)
    per_class: dict[str, dict[str, Estimate | int | float]] = {}
    for index, class_name in enumerate(predictions.class_names):
        found = {name: parts[index].estimate for name, parts in by_class.items()}
        per_class[class_name] = {"support": int(supports[index]), **found}
        if thresholds is not None:
            per_class[class_name]["threshold"] = float(thresholds[index])
    metrics = {name: measurement.estimate for name, measurement in overall.items()}
    basis = Basis.of(len(predictions.positive), groups)
    return Evaluation(metrics, per_class, find_warnings(predictions, metrics, basis), basis)


@dataclasses.dataclass(frozen=True)
class CheckedPredictions:
    """Checked input; the arrays are (samples, classes or labels)."""

    task: str
    class_names: tuple[str, ...]
    probabilities: np.ndarray
    positive: np.ndarray
    predicted: np.ndarray
    tuned: np.ndarray | None = None

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
    ) -> CheckedPredictions:
        if task not in TASKS:
            raise InputError(f"task must be one of {', '.join(TASKS)}. Received: {task}. {suggest(task, TASKS)}")
        probabilities = _check_probabilities(probabilities, task, class_names)
        truth = _check_truth(truth, probabilities.shape, task)
        decide = Task(task, class_names).decide
        if task == "multi-label":
            positive, predicted = truth.astype(bool), decide(probabilities)
        else:
            classes = np.arange(len(class_names))
            positive, predicted = truth[:, None] == classes, decide(probabilities)[:, None] == classes
        tuned = None if thresholds is None else decide(probabilities, _check_thresholds(thresholds, task, class_names))
        return cls(task, class_names, probabilities, positive, predicted, tuned)


def measure_predictions(
    predictions: CheckedPredictions, groups: Sequence[str] | None = None, confidence: float = 0.95
) -> tuple[dict[str, Measurement], dict[str, list[Measurement]]]:
    """Measures every metric.

    Args:
        predictions: What is measured.
        groups: The patient of each sample; None where nobody knows.
        confidence: Coverage of the intervals.

    Returns:
        The measurement of each name in ``METRICS``, and for each name in ``CLASS_METRICS`` one for each class or label;
        with thresholds both have ``f1_tuned`` too.
    """
    positive, predicted, probabilities = predictions.positive, predictions.predicted, predictions.probabilities
    units = Units(len(positive), groups)
    columns = range(positive.shape[1])

    def share(hits: np.ndarray, counted: np.ndarray) -> Measurement:
        return measure_proportion(hits, counted, units, confidence)

    by_class = {
        "auc": [measure_auc(positive[:, k], probabilities[:, k], units, confidence) for k in columns],
        "average_precision": [
            measure_average_precision(positive[:, k], probabilities[:, k], units, confidence) for k in columns
        ],
        "f1": [measure_f1(positive[:, k], predicted[:, k], units, confidence) for k in columns],
        "precision": [share(positive[:, k], predicted[:, k]) for k in columns],
        "sensitivity": [share(predicted[:, k], positive[:, k]) for k in columns],
        "specificity": [share(~predicted[:, k], ~positive[:, k]) for k in columns],
    }
    if predictions.tuned is not None:
        by_class[TUNED] = [measure_f1(positive[:, k], predictions.tuned[:, k], units, confidence) for k in columns]
    average = (lambda parts: parts[1]) if predictions.two_classes else mean_of
    everything = np.ones(len(positive), bool)
    right = predicted == positive
    if predictions.task == "multi-label":
        accuracy = mean_of([share(right[:, k], everything) for k in columns])
    else:
        accuracy = share(right.all(axis=1), everything)
    overall = {
        "auc": by_class["auc"][1] if predictions.task == "binary" else mean_of(by_class["auc"]),
        "accuracy": accuracy,
        "f1": average(by_class["f1"]),
        "f1_macro": mean_of(by_class["f1"]),
        **{name: average(by_class[name]) for name in ("precision", "sensitivity", "specificity")},
        "balanced_accuracy": _balanced_accuracy(predictions, by_class),
        "average_precision": average(by_class["average_precision"]),
        "brier": measure_loss(
            _brier_losses(predictions), predictions.highest_brier, not bool(right.all()), units, confidence
        ),
        "expected_calibration_error": Measurement(Estimate(_calibration_error(predictions)), np.zeros(units.count)),
    }
    return overall | ({TUNED: mean_of(by_class[TUNED])} if TUNED in by_class else {}), by_class


def _balanced_accuracy(predictions: CheckedPredictions, by_class: dict[str, list[Measurement]]) -> Measurement:
    """Measures the mean sensitivity of the classes, or the mean over labels of that of both their sides.

    Classes and sides without samples are left out.
    """
    actual = predictions.positive.sum(axis=0)
    sides = [
        ([found] if count else []) + ([rejected] if count < len(predictions.positive) else [])
        for found, rejected, count in zip(by_class["sensitivity"], by_class["specificity"], actual, strict=True)
    ]
    if predictions.task == "multi-label":
        return mean_of([mean_of(parts) for parts in sides])
    return mean_of([found for found, count in zip(by_class["sensitivity"], actual, strict=True) if count])


def _brier_losses(predictions: CheckedPredictions) -> np.ndarray:
    squares = (predictions.probabilities - predictions.positive) ** 2
    if predictions.two_classes:
        return squares[:, 1]
    return squares.mean(axis=1) if predictions.task == "multi-label" else squares.sum(axis=1)


def _calibration_error(predictions: CheckedPredictions) -> float:
    """Returns the mean distance of confidence and share of right predictions over the bins; labels are pooled."""
    if predictions.task == "multi-label":
        confidence, correct = predictions.probabilities.ravel(), predictions.positive.ravel()
    else:
        chosen = predictions.predicted
        confidence, correct = predictions.probabilities[chosen], predictions.positive[chosen]
    inner_edges = np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1]
    bins = np.digitize(confidence, inner_edges, right=True)
    gaps = np.bincount(bins, weights=confidence - correct, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def _check_probabilities(probabilities: np.ndarray, task: str, class_names: tuple[str, ...]) -> np.ndarray:
    probabilities = np.asarray(probabilities, dtype=np.float64)
    shape, names = probabilities.shape, len(class_names)
    if probabilities.ndim != 2 or shape[1] != names:
        raise InputError(
            f"probabilities must be (samples, {names}), one column for each of the {names} class names. "
            f"Received: shape {shape}. Give one column a class or label."
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


def _check_thresholds(thresholds: Sequence[float], task: str, class_names: tuple[str, ...]) -> np.ndarray:
    values = np.asarray(thresholds, dtype=np.float64)
    if task != "multi-label" or values.shape != (len(class_names),) or not ((values >= 0) & (values <= 1)).all():
        raise InputError(
            f"thresholds must be one probability for each label of a multi-label task. Received: {values.tolist()} "
            f"for {len(class_names)} outputs of a {task} task."
        )
    return values
