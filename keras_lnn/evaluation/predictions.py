"""From truth and predicted probabilities to honest metrics: every number with its interval, and warnings in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_lnn.errors import InputError
from keras_lnn.evaluation.cautions import Basis, find_warnings
from keras_lnn.evaluation.checked import CheckedPredictions
from keras_lnn.evaluation.metrics import METRICS, Scored, list_class_metrics, list_tuned_metrics
from keras_lnn.statistics import Estimate
from keras_lnn.statistics.deviations import Units
from keras_lnn.statistics.measurements import Measurement
from keras_lnn.tasks.thresholds import TUNED


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The metrics of predictions, with intervals and warnings.

    Args:
        metrics: The estimate of each name in ``METRICS``, in that order, and with thresholds that of each name in
            ``list_tuned_metrics()`` at them, such as ``f1_tuned``.
        per_class: For each class or label its ``support`` (samples) and the estimate of each metric of single
            classes; with thresholds also those at them and the ``threshold``.
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
    samples: str = "images",
) -> Evaluation:
    """Computes all metrics with their intervals.

    ``auc`` and ``accuracy`` are those of ``medmnist.evaluator``. For two classes ``f1``, ``precision``,
    ``sensitivity``, ``specificity`` and ``average_precision`` speak of the positive class, else they are means over
    classes or labels. Ratios with nothing below the line are 0; an AUC that lacks one of its two sides is nan and is
    left out of the mean. ``brier`` is the mean squared error of class 1 for two classes, its sum over several classes,
    its mean over labels; ``log_loss`` is the mean negative logarithm of the probability of the truth, over labels the
    mean of theirs. ``expected_calibration_error`` has 15 bins, open below and closed above, over the confidence
    in the predicted class (for labels over all their probabilities together); binning makes it larger than it is in
    small samples, which its interval takes into account.

    Intervals say what other patients would change, or other images where no patients are known. They hold for few
    samples, for rare classes and where no error was seen: see ``keras_lnn.statistics.intervals``.

    Args:
        truth: Class indices (samples,), or for ``multi-label`` 0/1 (samples, labels).
        probabilities: (samples, classes), each row summing to one, or (samples, labels).
        task: One of ``binary``, ``multi-class``, ``ordinal`` and ``multi-label``.
        class_names: One name for each class or label, in the order of the columns.
        thresholds: One threshold for each of two classes or for each label, chosen on other data. Metrics of decisions
            are computed at these thresholds as well as at 0.5.
        groups: The patient of each sample, (samples,); None where they are unknown.
        confidence: Coverage of the intervals.
        positive_class: One of two classes; the second one if not given.
        samples: What the samples are, in the plural: ``images`` or ``series``.

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
    basis = Basis.of(len(predictions.positive), groups, samples)
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
        groups: The patient of each sample; None where they are unknown.
        confidence: Coverage of the intervals.

    Returns:
        The measurement of each name in ``METRICS``, and for each metric of single classes one for each class or label;
        with thresholds both have what is measured at them too.
    """
    units = Units(len(predictions.positive), groups)
    scored = Scored(predictions, predictions.predicted, units, confidence)
    overall = {name: scored.overall(name) for name in METRICS}
    by_class = {name: scored.by_class(name) for name in list_class_metrics()}
    if predictions.tuned is not None:
        tuned = Scored(predictions, predictions.tuned, units, confidence)
        overall |= {name + TUNED: tuned.overall(name) for name in list_tuned_metrics()}
        by_class |= {
            name + TUNED: tuned.by_class(name) for name in list_class_metrics() if name in list_tuned_metrics()
        }
    return overall, by_class
