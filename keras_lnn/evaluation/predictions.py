"""From truth and predicted probabilities to honest metrics: every number with its interval, and warnings in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_lnn.errors import InputError
from keras_lnn.evaluation.cautions import Basis, find_warnings
from keras_lnn.evaluation.checked import CheckedPredictions
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
from keras_lnn.tasks.thresholds import TUNED

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
# What is measured at thresholds that were chosen on other data too, under its name with the ending of ``TUNED``.
TUNED_METRICS = ("accuracy", "f1", "precision", "sensitivity", "specificity", "balanced_accuracy")
_OF_DECISIONS = ("f1", "precision", "sensitivity", "specificity")
CALIBRATION_BINS = 15


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """How good predictions are.

    Args:
        metrics: The estimate of each name in ``METRICS``, in that order, and with thresholds that of each name in
            ``TUNED_METRICS`` at them, such as ``f1_tuned``.
        per_class: For each class or label its ``support`` (samples) and the estimate of each name in ``CLASS_METRICS``;
            with thresholds also those at them and the ``threshold``.
        warnings: Sentences on what the numbers do not show.
        basis: What the intervals rest on.
        positive_class: Which of two classes F1, precision, sensitivity, specificity and average precision speak of.
    """

    metrics: dict[str, Estimate]
    per_class: dict[str, dict[str, Estimate | int | float]]
    warnings: tuple[str, ...]
    basis: Basis
    positive_class: str | None = dataclasses.field(default=None, kw_only=True)

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
    positive_class: str | None = None,
) -> Evaluation:
    """Computes all metrics with their intervals.

    ``auc`` and ``accuracy`` are those of ``medmnist.evaluator``. For two classes ``f1``, ``precision``,
    ``sensitivity``, ``specificity`` and ``average_precision`` speak of the positive class, else they are means over
    classes or labels. Ratios with nothing below the line are 0; an AUC that lacks one of its two sides is nan and is
    left out of the mean. ``brier`` is the mean squared error of class 1 for two classes, its sum over several classes,
    its mean over labels. ``expected_calibration_error`` has 15 bins, open below and closed above, over the confidence
    in the predicted class (for labels over all their probabilities together); it has no interval, since binning makes
    it larger than it is by an amount that depends on the model.

    Intervals say what other patients would change, or other images where no patients are known. They hold for few
    samples, for rare classes and where no error was seen: see ``keras_lnn.statistics.intervals``.

    Args:
        truth: Class indices (samples,), or for ``multi-label`` 0/1 (samples, labels).
        probabilities: (samples, classes), each row summing to one, or (samples, labels).
        task: One of ``binary``, ``multi-class``, ``ordinal`` and ``multi-label``.
        class_names: One name for each class or label, in the order of the columns.
        thresholds: Of each of two classes or of each label, chosen on other data: what decisions are measured by is
            given at them too, beside the metrics at 0.5.
        groups: The patient of each sample, (samples,); None where nobody knows.
        confidence: Coverage of the intervals.
        positive_class: One of two classes; the second one if not given.

    Returns:
        The metrics over all and for each class, with warnings.

    Raises:
        InputError: If truth, probabilities, names and groups do not fit together.
    """
    predictions = CheckedPredictions.checked(truth, probabilities, task, tuple(class_names), thresholds, positive_class)
    if groups is not None and len(groups) != len(predictions.positive):
        raise InputError(
            f"groups must name the patient of each of the {len(predictions.positive)} samples. Received: {len(groups)}."
        )
    overall, by_class = measure_predictions(predictions, groups, confidence)
    per_class = _describe_classes(predictions, by_class, thresholds)
    metrics = {name: measurement.estimate for name, measurement in overall.items()}
    basis = Basis.of(len(predictions.positive), groups)
    areas = [part.estimate for part in by_class["auc"]]
    positive = predictions.class_names[predictions.positive_index] if predictions.two_classes else None
    return Evaluation(
        metrics, per_class, find_warnings(predictions, metrics, areas, basis), basis, positive_class=positive
    )


def _describe_classes(
    predictions: CheckedPredictions, by_class: Mapping[str, Sequence[Measurement]], thresholds: Sequence[float] | None
) -> dict[str, dict[str, Estimate | int | float]]:
    """Returns for each class its number of samples, its metrics, and its threshold if it has one."""
    supports = predictions.positive.sum(axis=0)
    per_class: dict[str, dict[str, Estimate | int | float]] = {}
    for index, class_name in enumerate(predictions.class_names):
        found = {name: parts[index].estimate for name, parts in by_class.items()}
        per_class[class_name] = {"support": int(supports[index]), **found}
        if thresholds is not None:
            per_class[class_name]["threshold"] = float(thresholds[index])
    return per_class


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
        with thresholds both have what is measured at them too.
    """
    positive, probabilities = predictions.positive, predictions.probabilities
    units = Units(len(positive), groups)
    columns = range(positive.shape[1])
    overall, by_class = _measure_decisions(predictions, predictions.predicted, units, confidence)
    by_class["auc"] = [measure_auc(positive[:, k], probabilities[:, k], units, confidence) for k in columns]
    by_class["average_precision"] = [
        measure_average_precision(positive[:, k], probabilities[:, k], units, confidence) for k in columns
    ]
    imperfect = not bool((predictions.predicted == positive).all())
    overall |= {
        "auc": by_class["auc"][1] if predictions.task == "binary" else mean_of(by_class["auc"]),
        "average_precision": _average(predictions, by_class["average_precision"]),
        "brier": measure_loss(_brier_losses(predictions), predictions.highest_brier, imperfect, units, confidence),
        "expected_calibration_error": Measurement(Estimate(_calibration_error(predictions)), np.zeros(units.count)),
    }
    overall = {name: overall[name] for name in METRICS}
    by_class = {name: by_class[name] for name in CLASS_METRICS}
    if predictions.tuned is not None:
        tuned, tuned_by_class = _measure_decisions(predictions, predictions.tuned, units, confidence)
        overall |= {name + TUNED: tuned[name] for name in TUNED_METRICS}
        by_class |= {name + TUNED: tuned_by_class[name] for name in _OF_DECISIONS}
    return overall, by_class


def _measure_decisions(
    predictions: CheckedPredictions, predicted: np.ndarray, units: Units, confidence: float
) -> tuple[dict[str, Measurement], dict[str, list[Measurement]]]:
    """Measures what depends on the decisions alone, which are (samples, classes or labels), over all and by class."""
    positive = predictions.positive
    columns = range(positive.shape[1])

    def share(hits: np.ndarray, counted: np.ndarray) -> Measurement:
        return measure_proportion(hits, counted, units, confidence)

    by_class = {
        "f1": [measure_f1(positive[:, k], predicted[:, k], units, confidence) for k in columns],
        "precision": [share(positive[:, k], predicted[:, k]) for k in columns],
        "sensitivity": [share(predicted[:, k], positive[:, k]) for k in columns],
        "specificity": [share(~predicted[:, k], ~positive[:, k]) for k in columns],
    }
    everything = np.ones(len(positive), bool)
    right = predicted == positive
    if predictions.task == "multi-label":
        accuracy = mean_of([share(right[:, k], everything) for k in columns])
    else:
        accuracy = share(right.all(axis=1), everything)
    overall = {
        "accuracy": accuracy,
        "f1_macro": mean_of(by_class["f1"]),
        **{name: _average(predictions, by_class[name]) for name in _OF_DECISIONS},
        "balanced_accuracy": _balanced_accuracy(predictions, by_class),
    }
    return overall, by_class


def _average(predictions: CheckedPredictions, by_class: list[Measurement]) -> Measurement:
    """Returns what a metric is over all: that of the positive one of two classes, else the mean."""
    return by_class[predictions.positive_index] if predictions.two_classes else mean_of(by_class)


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
