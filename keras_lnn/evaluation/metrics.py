"""The metrics of the test: how each is measured, what people call it and how it is compared. A metric is one entry.

Results on disk, tables, cards, comparisons and pictures follow the order of the tables.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping

import numpy as np

from keras_lnn.evaluation.checked import CheckedPredictions
from keras_lnn.evaluation.mask_overlaps import divide_or_nan
from keras_lnn.statistics import Estimate
from keras_lnn.statistics.calibration import measure_calibration_error
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

CALIBRATION_BINS = 15
# What is reported before and after calibration.
CALIBRATION_METRICS = ("brier", "log_loss", "expected_calibration_error")
# Models give probabilities in float32: a smaller one counts as this, so that the log loss has a limit.
_LEAST_PROBABILITY = float(np.finfo(np.float32).eps)


@dataclasses.dataclass(frozen=True)
class Scored:
    """Predictions with one way to decide by them, as metrics are measured from them.

    Args:
        predictions: Truth and probabilities.
        decided: Which classes or labels are predicted, (samples, classes or labels).
        units: The samples, or the patients where they are known.
        confidence: Coverage of the intervals.
    """

    predictions: CheckedPredictions
    decided: np.ndarray
    units: Units
    confidence: float

    @functools.cached_property
    def _measured(self) -> dict[str, list[Measurement]]:
        return {}

    def by_class(self, name: str) -> list[Measurement]:
        """Returns a metric of each class or label, which is measured once."""
        measure = METRICS[name].of_class
        if measure is None:
            raise ValueError(f"The metric must be one of single classes. Received: {name}.")
        if name not in self._measured:
            self._measured[name] = [measure(self, k) for k in range(self.predictions.positive.shape[1])]
        return self._measured[name]

    def overall(self, name: str) -> Measurement:
        """Returns a metric over all classes or labels; of two classes that of the positive one, else the mean."""
        measure = METRICS[name].measure
        if measure is not None:
            return measure(self)
        parts = self.by_class(name)
        return parts[self.predictions.positive_index] if self.predictions.two_classes else mean_of(parts)

    def share(self, hits: np.ndarray, counted: np.ndarray) -> Measurement:
        """Returns which share of the counted samples are hits."""
        return measure_proportion(hits, counted, self.units, self.confidence)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric of the test.

    Args:
        label: What people call it.
        lower_is_better: Whether lower values are better.
        compared: Whether comparisons show it, which needs intervals.
        tested: Whether differences of it are tested; those that follow from other metrics are not.
    """

    label: str
    lower_is_better: bool = False
    compared: bool = True
    tested: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassMetric(Metric):
    """A metric of classification.

    Args:
        of_class: Measures it of one class or label, by its place; None where single classes have none.
        measure: Measures it over all; None for the rule of :meth:`Scored.overall`.
        of_decisions: Whether it depends on decisions, and is measured at chosen thresholds too.
    """

    of_class: Callable[[Scored, int], Measurement] | None = None
    measure: Callable[[Scored], Measurement] | None = None
    of_decisions: bool = False


@dataclasses.dataclass(frozen=True)
class MaskCounts:
    """Counts from which segmentation metrics are computed; the arrays are (classes, resamples), of sums over images.

    Args:
        truth: Pixels of each class.
        predicted: Pixels predicted as each class.
        common: Pixels that are both.
        means: Sum and number of the values of each image that are defined, by ``dice``, ``iou``, ``hd95`` and
            ``surface_distance``.
        wrong: Pixels of another class than predicted, (resamples,).
        pixels: Pixels of all images, (resamples,).
    """

    truth: np.ndarray
    predicted: np.ndarray
    common: np.ndarray
    means: Mapping[str, tuple[np.ndarray, np.ndarray]]
    wrong: np.ndarray
    pixels: np.ndarray

    def mean(self, name: str) -> np.ndarray:
        """Returns the mean over the images in which a measure is defined."""
        return divide_or_nan(*self.means[name])


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskMetric(Metric):
    """A metric of segmentation.

    Args:
        of_class: Computes it for each class, (classes, resamples).
        overall: Computes it over all classes, (resamples,); None for the mean over the classes that have one.
        is_distance: Whether it is a distance, in pixels or millimetres; other metrics are one at most.
        shown_by_class: Whether results show it for each class beside the mean, such as ``dice_liver``.
    """

    of_class: Callable[[MaskCounts], np.ndarray]
    overall: Callable[[MaskCounts], np.ndarray] | None = None
    is_distance: bool = False
    shown_by_class: bool = False


def _accuracy(scored: Scored) -> Measurement:
    right = scored.decided == scored.predictions.positive
    everything = np.ones(len(right), bool)
    if scored.predictions.task == "multi-label":
        return mean_of([scored.share(column, everything) for column in right.T])
    return scored.share(right.all(axis=1), everything)


def _balanced_accuracy(scored: Scored) -> Measurement:
    """Measures the mean sensitivity of the classes, or the mean over labels of that of both their sides.

    Classes and sides without samples are left out.
    """
    positive = scored.predictions.positive
    actual, found = positive.sum(axis=0), scored.by_class("sensitivity")
    if scored.predictions.task != "multi-label":
        return mean_of([part for part, count in zip(found, actual, strict=True) if count])
    sides = [
        ([hits] if count else []) + ([rejected] if count < len(positive) else [])
        for hits, rejected, count in zip(found, scored.by_class("specificity"), actual, strict=True)
    ]
    return mean_of([mean_of(parts) for parts in sides])


def _brier(scored: Scored) -> Measurement:
    predictions = scored.predictions
    squares = (predictions.probabilities - predictions.positive) ** 2
    if predictions.two_classes:
        losses = squares[:, 1]
    else:
        losses = squares.mean(axis=1) if predictions.task == "multi-label" else squares.sum(axis=1)
    imperfect = not bool((predictions.predicted == predictions.positive).all())
    return measure_loss(losses, predictions.highest_brier, imperfect, scored.units, scored.confidence)


def _log_loss(scored: Scored) -> Measurement:
    """Measures the mean negative logarithm of the probability of the truth; of several labels the mean over them."""
    predictions = scored.predictions
    if predictions.task == "multi-label":
        probabilities = predictions.probabilities
        of_truth = np.where(predictions.positive, probabilities, 1 - probabilities)
    else:
        of_truth = predictions.probabilities[predictions.positive][:, None]
    losses = -np.log(of_truth.clip(_LEAST_PROBABILITY, 1.0)).mean(axis=1)
    imperfect = not bool((predictions.predicted == predictions.positive).all())
    return measure_loss(losses, -math.log(_LEAST_PROBABILITY), imperfect, scored.units, scored.confidence)


def _calibration_error(scored: Scored) -> Measurement:
    """Measures the mean distance of confidence and share of right predictions over the bins; labels are pooled."""
    predictions = scored.predictions
    if predictions.task == "multi-label":
        confidence, correct = predictions.probabilities.ravel(), predictions.positive.ravel()
    else:
        chosen = predictions.predicted
        confidence, correct = predictions.probabilities[chosen], predictions.positive[chosen]
    inner_edges = np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1]
    bins = np.digitize(confidence, inner_edges, right=True)
    samples = len(predictions.positive)
    places = np.repeat(np.arange(samples), len(confidence) // samples) * CALIBRATION_BINS + bins
    sums = np.bincount(places, weights=confidence - correct, minlength=samples * CALIBRATION_BINS)
    gaps = sums.reshape(samples, CALIBRATION_BINS) / len(confidence)
    variances = confidence * (1 - confidence) / len(confidence) ** 2
    by_chance = np.bincount(bins, weights=variances.clip(0), minlength=CALIBRATION_BINS)
    found = measure_calibration_error(gaps, by_chance, scored.units, scored.confidence)
    # As of the losses, there is no interval where a wrong prediction was never observed.
    imperfect = not bool((predictions.predicted == predictions.positive).all())
    return found if imperfect else Measurement(Estimate(found.value), np.zeros(scored.units.count))


def _auc(scored: Scored) -> Measurement:
    parts = scored.by_class("auc")
    return parts[1] if scored.predictions.task == "binary" else mean_of(parts)


def _from_scores(measure: Callable[..., Measurement]) -> Callable[[Scored, int], Measurement]:
    def of_class(scored: Scored, k: int) -> Measurement:
        predictions = scored.predictions
        return measure(predictions.positive[:, k], predictions.probabilities[:, k], scored.units, scored.confidence)

    return of_class


METRICS: dict[str, ClassMetric] = {
    "auc": ClassMetric(label="AUC", of_class=_from_scores(measure_auc), measure=_auc),
    "accuracy": ClassMetric(label="accuracy", measure=_accuracy, of_decisions=True),
    "f1": ClassMetric(
        label="F1",
        of_class=lambda s, k: measure_f1(s.predictions.positive[:, k], s.decided[:, k], s.units, s.confidence),
        of_decisions=True,
    ),
    # The mean F1 over classes and precision follow from the others.
    "f1_macro": ClassMetric(
        label="F1, mean over the classes", measure=lambda s: mean_of(s.by_class("f1")), tested=False
    ),
    "precision": ClassMetric(
        label="precision",
        of_class=lambda s, k: s.share(s.predictions.positive[:, k], s.decided[:, k]),
        of_decisions=True,
        tested=False,
    ),
    "sensitivity": ClassMetric(
        label="sensitivity",
        of_class=lambda s, k: s.share(s.decided[:, k], s.predictions.positive[:, k]),
        of_decisions=True,
    ),
    "specificity": ClassMetric(
        label="specificity",
        of_class=lambda s, k: s.share(~s.decided[:, k], ~s.predictions.positive[:, k]),
        of_decisions=True,
    ),
    "balanced_accuracy": ClassMetric(label="balanced accuracy", measure=_balanced_accuracy, of_decisions=True),
    "average_precision": ClassMetric(label="average precision", of_class=_from_scores(measure_average_precision)),
    "brier": ClassMetric(label="Brier score", measure=_brier, lower_is_better=True),
    "log_loss": ClassMetric(label="log loss", measure=_log_loss, lower_is_better=True, compared=False, tested=False),
    "expected_calibration_error": ClassMetric(
        label="expected calibration error", measure=_calibration_error, lower_is_better=True, compared=False
    ),
}

MASK_METRICS: dict[str, MaskMetric] = {
    "dice": MaskMetric(
        label="Dice", of_class=lambda c: divide_or_nan(2 * c.common, c.truth + c.predicted), shown_by_class=True
    ),
    "iou": MaskMetric(
        label="IoU", of_class=lambda c: divide_or_nan(c.common, c.truth + c.predicted - c.common), shown_by_class=True
    ),
    "pixel_error": MaskMetric(
        label="pixel error",
        of_class=lambda c: (c.truth + c.predicted - 2 * c.common) / c.pixels,
        overall=lambda c: c.wrong / c.pixels,
        lower_is_better=True,
        compared=False,
    ),
    "dice_per_image": MaskMetric(label="Dice, mean over images", of_class=lambda c: c.mean("dice"), tested=False),
    "iou_per_image": MaskMetric(label="IoU, mean over images", of_class=lambda c: c.mean("iou"), compared=False),
    "hd95": MaskMetric(
        label="Hausdorff distance, 95th percentile",
        of_class=lambda c: c.mean("hd95"),
        is_distance=True,
        lower_is_better=True,
        compared=False,
    ),
    "surface_distance": MaskMetric(
        label="mean surface distance",
        of_class=lambda c: c.mean("surface_distance"),
        is_distance=True,
        lower_is_better=True,
        compared=False,
    ),
}


def list_class_metrics() -> tuple[str, ...]:
    """Returns the metrics of single classes or labels: those of the scores, then those of decisions."""
    names = [name for name, metric in METRICS.items() if metric.of_class is not None]
    return tuple(sorted(names, key=lambda name: METRICS[name].of_decisions))


def list_tuned_metrics() -> tuple[str, ...]:
    """Returns the metrics that are measured at chosen thresholds too, under their names with the ending ``TUNED``."""
    return tuple(name for name, metric in METRICS.items() if metric.of_decisions)


def list_compared_metrics(metrics: Mapping[str, Metric]) -> tuple[str, ...]:
    """Returns the metrics that comparisons show.

    Args:
        metrics: ``METRICS`` or ``MASK_METRICS``.
    """
    return tuple(name for name, metric in metrics.items() if metric.compared)


def list_tested_metrics(metrics: Mapping[str, Metric]) -> tuple[str, ...]:
    """Returns the metrics whose differences are tested, and after them those of decisions at chosen thresholds.

    Args:
        metrics: ``METRICS`` or ``MASK_METRICS``.
    """
    names = [name for name in list_compared_metrics(metrics) if metrics[name].tested]
    return (*names, *(name + TUNED for name in names if getattr(metrics[name], "of_decisions", False)))


def is_lower_better(name: str) -> bool:
    """Returns whether lower values of a metric are better, by its name in results."""
    name = name.removesuffix(TUNED).removesuffix("_mm")
    metric = METRICS.get(name) or MASK_METRICS.get(name)
    return metric is not None and metric.lower_is_better


def metric_label(name: str) -> str:
    """Returns the readable label of a metric; names of segmentation metrics may end in the name of a class."""
    if name in METRICS:
        return METRICS[name].label
    if name.endswith(TUNED):
        return f"{metric_label(name.removesuffix(TUNED))} at the threshold"
    plain_name = name.removesuffix("_mm")
    if plain_name in MASK_METRICS:
        metric, unit = MASK_METRICS[plain_name], "pixels" if name == plain_name else "mm"
        return f"{metric.label} ({unit})" if metric.is_distance else metric.label
    metric, _, class_name = name.partition("_")
    by_class = metric in MASK_METRICS and MASK_METRICS[metric].shown_by_class
    return f"{MASK_METRICS[metric].label} {class_name}" if by_class else name.replace("_", " ")
