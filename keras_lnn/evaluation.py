"""From truth and predicted probabilities to honest metrics: every number with its interval, and warnings in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_lnn.errors import InputError, suggest
from keras_lnn.statistics import (
    Confusion,
    Estimate,
    Ranking,
    bootstrap,
    defined_mean,
    weighted_sums,
)
from keras_lnn.tasks import TASKS

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
# A model that answers the same for this share of the samples, or more, has learnt nothing else.
COLLAPSED_SHARE = 0.99
# With fewer samples of a class a resample often holds hardly any, and intervals come out too narrow.
FEW_SAMPLES = 10


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """How good predictions are.

    Args:
        metrics: The estimate of each name in ``METRICS``, in that order, and with thresholds ``f1_tuned``.
        per_class: For each class or label its ``support`` (samples) and the estimate of each name in ``CLASS_METRICS``;
            with thresholds also ``f1_tuned`` and the ``threshold``.
        warnings: Sentences on what the numbers do not show.
    """

    metrics: dict[str, Estimate]
    per_class: dict[str, dict[str, Estimate | int | float]]
    warnings: tuple[str, ...]

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
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    progress: Callable[[float], None] | None = None,
) -> Evaluation:
    """Computes all metrics with bootstrap intervals over the samples.

    ``auc`` and ``accuracy`` are those of ``medmnist.evaluator``. For two classes ``f1``, ``precision``,
    ``sensitivity``, ``specificity`` and ``average_precision`` speak of class 1, else they are means over classes or
    labels. Ratios with nothing below the line are 0; an AUC that lacks one of its two sides is nan and is left out of
    the mean. ``brier`` is the mean squared error of class 1 for two classes, its sum over several classes, its mean
    over labels. ``expected_calibration_error`` has 15 bins, open below and closed above, over the confidence in the
    answer (for labels over all their probabilities together).

    Args:
        truth: Class indices (samples,), or for ``multi-label`` 0/1 (samples, labels).
        probabilities: (samples, classes), each row summing to one, or (samples, labels).
        task: One of ``binary``, ``multi-class``, ``ordinal`` and ``multi-label``.
        class_names: One name a class or label, in the order of the columns.
        thresholds: Of each label, chosen on other data: F1 is given at them too. All other metrics stay at 0.5.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resampling.
        confidence: Coverage of the intervals.
        progress: Called with the fraction done.

    Returns:
        The metrics over all and for each class, with warnings.

    Raises:
        InputError: If truth, probabilities and names do not fit together.
    """
    predictions = CheckedPredictions.checked(truth, probabilities, task, tuple(class_names), thresholds)
    statistics = WeightedMetrics(predictions)
    tuned = () if thresholds is None else (TUNED,)
    overall, of_classes = (*METRICS, *tuned), (*CLASS_METRICS, *tuned)
    highest = np.ones(len(overall) + len(of_classes) * len(class_names))
    highest[overall.index("brier")] = predictions.highest_brier
    estimates = bootstrap(
        statistics,
        len(predictions.positive),
        resamples=resamples,
        seed=seed,
        confidence=confidence,
        highest=highest,
        progress=progress,
    )
    supports = predictions.positive.sum(axis=0)
    per_class: dict[str, dict[str, Estimate | int | float]] = {}
    for index, class_name in enumerate(predictions.class_names):
        of_class = estimates[len(overall) + index :: len(predictions.class_names)]
        per_class[class_name] = {"support": int(supports[index]), **dict(zip(of_classes, of_class, strict=True))}
        if thresholds is not None:
            per_class[class_name]["threshold"] = float(thresholds[index])
    metrics = dict(zip(overall, estimates, strict=False))
    return Evaluation(metrics=metrics, per_class=per_class, warnings=_find_warnings(predictions))


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
        if task == "multi-label":
            positive, predicted = truth.astype(bool), probabilities > 0.5
        else:
            # With two columns that differ from one by rounding, only this rule is the accuracy of MedMNIST.
            answer = probabilities[:, 1] > 0.5 if task == "binary" else probabilities.argmax(axis=1)
            classes = np.arange(len(class_names))
            positive, predicted = truth[:, None] == classes, answer[:, None] == classes
        tuned = None if thresholds is None else probabilities > _check_thresholds(thresholds, task, class_names)
        return cls(task, class_names, probabilities, positive, predicted, tuned)


class WeightedMetrics:
    """From weights (resamples, samples) to the rows of the metrics, then of each class metric for each class."""

    def __init__(self, predictions: CheckedPredictions):
        from scipy.sparse import csr_array, vstack

        self._predictions = predictions
        self._rankings = [
            Ranking(positive, scores)
            for positive, scores in zip(predictions.positive.T, predictions.probabilities.T, strict=True)
        ]
        confusion = Confusion.terms(predictions.positive, predictions.predicted)
        self._confusion_rows = confusion.shape[0]
        brier = csr_array(_brier_losses(predictions)[None, :])
        blocks = [confusion, brier, _calibration_gaps(predictions)]
        if predictions.tuned is not None:
            blocks.append(Confusion.terms(predictions.positive, predictions.tuned))
        self._terms = vstack(blocks, format="csr")

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        ranked = [ranking.auc_and_average_precision(weights) for ranking in self._rankings]
        aucs, average_precisions = (np.stack(rows) for rows in zip(*ranked, strict=True))
        sums = weighted_sums(self._terms, weights)
        confusion = Confusion.from_sums(sums[: self._confusion_rows])
        brier, rest = sums[self._confusion_rows], sums[self._confusion_rows + 1 :]
        gaps, rest = rest[:CALIBRATION_BINS], rest[CALIBRATION_BINS:]
        f1 = confusion.f1()
        ratios = [f1, confusion.precision(), confusion.sensitivity(), confusion.specificity()]
        average = (lambda rows: rows[1]) if self._predictions.two_classes else (lambda rows: rows.mean(axis=0))
        overall = {
            "auc": aucs[1] if self._predictions.task == "binary" else defined_mean(aucs),
            "accuracy": self._accuracy(confusion),
            "f1": average(f1),
            "f1_macro": f1.mean(axis=0),
            "precision": average(ratios[1]),
            "sensitivity": average(ratios[2]),
            "specificity": average(ratios[3]),
            "balanced_accuracy": self._balanced_accuracy(confusion),
            "average_precision": average(average_precisions),
            "brier": brier / confusion.total,
            "expected_calibration_error": np.abs(gaps).sum(axis=0) / confusion.total,
        }
        by_class = [aucs, average_precisions, *ratios]
        if len(rest):
            by_class.append(Confusion.from_sums(rest).f1())
            overall[TUNED] = by_class[-1].mean(axis=0)
        return np.concatenate([np.stack(list(overall.values())), *by_class])

    def _accuracy(self, confusion: Confusion) -> np.ndarray:
        if self._predictions.task == "multi-label":
            return confusion.accuracy().mean(axis=0)
        return confusion.hits.sum(axis=0) / confusion.total

    def _balanced_accuracy(self, confusion: Confusion) -> np.ndarray:
        if self._predictions.task == "multi-label":
            return confusion.balanced_accuracy().mean(axis=0)
        return defined_mean(np.where(confusion.actual > 0, confusion.sensitivity(), np.nan))


def _brier_losses(predictions: CheckedPredictions) -> np.ndarray:
    squares = (predictions.probabilities - predictions.positive) ** 2
    if predictions.two_classes:
        return squares[:, 1]
    return squares.mean(axis=1) if predictions.task == "multi-label" else squares.sum(axis=1)


def _calibration_gaps(predictions: CheckedPredictions) -> Any:
    """Confidence minus correctness of each sample, in the row of its bin (bins, samples); labels are pooled."""
    from scipy.sparse import csr_array

    if predictions.task == "multi-label":
        confidence, correct = predictions.probabilities, predictions.positive
    else:
        chosen = predictions.predicted
        confidence, correct = predictions.probabilities[chosen][:, None], predictions.positive[chosen][:, None]
    samples, answers = confidence.shape
    inner_edges = np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1]
    bins = np.digitize(confidence, inner_edges, right=True)
    columns = np.broadcast_to(np.arange(samples)[:, None], bins.shape)
    gaps = (confidence - correct) / answers
    return csr_array((gaps.ravel(), (bins.ravel(), columns.ravel())), shape=(CALIBRATION_BINS, samples))


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
    if low < -1e-6 or high > 1 + 1e-6:
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
    return probabilities


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


def _find_warnings(predictions: CheckedPredictions) -> tuple[str, ...]:
    collapse = _label_collapse if predictions.task == "multi-label" else _class_collapse
    found = [collapse(predictions), _one_sided(predictions), _few_samples(predictions)]
    return tuple(sentence for sentence in found if sentence)


def _class_collapse(predictions: CheckedPredictions) -> str:
    samples = len(predictions.positive)
    answers, actual = predictions.predicted.sum(axis=0), predictions.positive.sum(axis=0)
    favourite = int(answers.argmax())
    others = (samples - actual[favourite]) / samples
    constant = answers[favourite] == samples and np.count_nonzero(actual) > 1
    nearly = answers[favourite] >= COLLAPSED_SHARE * samples and others > 1 - COLLAPSED_SHARE
    if not (constant or nearly):
        return ""
    name = predictions.class_names[favourite]
    extent = f"every one of {samples}" if answers[favourite] == samples else f"{answers[favourite]} of {samples}"
    best = int(actual.argmax())
    sentence = (
        f"The model predicts '{name}' for {extent} samples: it has collapsed to one class. "
        f"Always predicting '{name}' has an accuracy of {actual[favourite] / samples:.3f}"
    )
    if actual[best] > actual[favourite]:
        sentence += f", always predicting '{predictions.class_names[best]}' {actual[best] / samples:.3f}"
    return sentence + "."


def _label_collapse(predictions: CheckedPredictions) -> str:
    samples = len(predictions.positive)
    missed = predictions.positive.any(axis=0) & ~predictions.predicted.any(axis=0)
    if not missed.any():
        return ""
    if not predictions.predicted.any():
        return (
            f"The model predicts no label for any of {samples} samples: it has collapsed. "
            f"Never predicting anything has an accuracy of {1 - predictions.positive.mean():.3f}."
        )
    return (
        f"The model never predicts {_listed(predictions, missed)} in {samples} samples: it has collapsed for "
        f"{'this label' if missed.sum() == 1 else 'these labels'}, and accuracy does not show it."
    )


def _one_sided(predictions: CheckedPredictions) -> str:
    actual = predictions.positive.sum(axis=0)
    one_sided = (actual == 0) | (actual == len(predictions.positive))
    if not one_sided.any():
        return ""
    return (
        f"AUC is not defined for {_listed(predictions, one_sided, actual)}, of which the truth holds none or nothing "
        "else: it is left out of the mean, and ratios with nothing to count are 0."
    )


def _few_samples(predictions: CheckedPredictions) -> str:
    actual = predictions.positive.sum(axis=0)
    labels = predictions.task == "multi-label"
    counts = np.minimum(actual, len(predictions.positive) - actual) if labels else actual
    few = (counts > 0) & (counts < FEW_SAMPLES)
    if not few.any():
        return ""
    return (
        f"There are fewer than {FEW_SAMPLES} samples {'with or without' if labels else 'of'} "
        f"{_listed(predictions, few, counts)}: intervals that rest on them are unreliable."
    )


def _listed(predictions: CheckedPredictions, chosen: np.ndarray, counts: np.ndarray | None = None) -> str:
    """The names of the chosen classes, with their counts where given."""
    return ", ".join(
        f"'{predictions.class_names[index]}'" + ("" if counts is None else f" ({counts[index]})")
        for index in np.flatnonzero(chosen)
    )
