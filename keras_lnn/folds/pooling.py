"""The predictions of all folds together: each sample is predicted once per repeat, by the model that did not see it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from keras_lnn.errors import InputError
from keras_lnn.evaluation.cautions import Basis, find_warnings
from keras_lnn.evaluation.checked import CheckedPredictions
from keras_lnn.evaluation.predictions import Evaluation, measure_predictions
from keras_lnn.statistics import Estimate
from keras_lnn.statistics.measurements import Measurement, mean_of


@dataclasses.dataclass(frozen=True)
class FoldPredictions:
    """What the model of one fold predicts for the samples of that fold.

    Args:
        truth: Class indices (samples,), or 0/1 (samples, labels).
        probabilities: (samples, classes or labels), calibrated on the fold's own validation.
        names: The name of each sample, by which it is found in another repeat.
        thresholds: Thresholds of this model, chosen on the fold's own validation; None for 0.5.
        groups: The patient of each sample; None where patients are not known.
    """

    truth: np.ndarray
    probabilities: np.ndarray
    names: Sequence[str]
    thresholds: Sequence[float] | None = None
    groups: Sequence[str] | None = None


def measure_pooled(
    repeats: Sequence[Sequence[FoldPredictions]],
    *,
    task: str,
    class_names: Sequence[str],
    positive_class: str | None = None,
    samples: str = "images",
    confidence: float = 0.95,
) -> Evaluation:
    """Measures the predictions of all folds as those of one set of samples.

    Probabilities of different models are pooled as they are, which is only sound where they are calibrated; decisions
    are pooled as each model makes them, at its own thresholds. Intervals are over patients, or samples where patients
    are not known. Several repeats predict the same samples: metrics are means over the repeats, whose intervals take
    account of that, so that more repeats do not make them narrower than the samples allow.

    Args:
        repeats: The predictions of each fold, for each repeat.
        task: One of ``binary``, ``multi-class``, ``ordinal`` and ``multi-label``.
        class_names: One name for each class or label.
        positive_class: One of two classes; the second one if not given.
        samples: What the samples are, in the plural.
        confidence: Coverage of the intervals.
    """
    names = tuple(class_names)
    listed = [[name for fold in folds for name in fold.names] for folds in repeats]
    require_same_samples(listed)
    patients = [list_groups([fold.groups for fold in folds]) for folds in repeats]
    parts = [_pool(folds, task, names, positive_class) for folds in repeats]
    units = find_units(patients, listed)
    measured = [measure_predictions(pooled, groups, confidence) for pooled, groups in zip(parts, units, strict=True)]
    metrics = {name: _mean([overall[name] for overall, _ in measured]) for name in measured[0][0]}
    by_class = {
        name: [_mean([classes[name][place] for _, classes in measured]) for place in range(len(names))]
        for name in measured[0][1]
    }
    first = parts[0]
    supports = first.positive.sum(axis=0).tolist()
    per_class = {
        label: {"support": supports[place], **{name: found[place] for name, found in by_class.items()}}
        for place, label in enumerate(names)
    }
    basis = Basis.of(len(first.positive), patients[0], samples)
    positive = names[first.positive_index] if first.two_classes else None
    warnings = find_warnings(CheckedPredictions.joined(parts), metrics, by_class["auc"], basis)
    return Evaluation(metrics, per_class, warnings, basis, positive_class=positive)


def _pool(
    folds: Sequence[FoldPredictions], task: str, names: tuple[str, ...], positive_class: str | None
) -> CheckedPredictions:
    """Returns the predictions of all folds as one, with the decisions of each model."""
    return CheckedPredictions.joined(
        [
            CheckedPredictions.checked(fold.truth, fold.probabilities, task, names, fold.thresholds, positive_class)
            for fold in folds
        ]
    )


def _mean(parts: Sequence[Measurement]) -> Estimate:
    """Returns the mean of a metric over repeats; a single one keeps its own interval."""
    return parts[0].estimate if len(parts) == 1 else mean_of(parts, highest=math.inf).estimate


def list_groups(known: Sequence[Sequence[str] | None]) -> list[str] | None:
    """Returns the patient of each sample of all folds; None where a fold does not know them.

    Args:
        known: The patients of the samples of each fold.
    """
    if any(groups is None for groups in known):
        return None
    return [group for groups in known if groups is not None for group in groups]


def find_units(patients: Sequence[list[str] | None], names: Sequence[Sequence[str]]) -> Sequence[Sequence[str] | None]:
    """Returns the unit of each sample: its patient, or of several repeats its name; None where each is its own.

    Args:
        patients: The patient of each sample for each repeat.
        names: The name of each sample for each repeat.
    """
    if len(names) == 1:
        return patients
    return [own if groups is None else groups for groups, own in zip(patients, names, strict=True)]


def require_same_samples(names: Sequence[Sequence[str]]) -> None:
    """Checks that all repeats predict the same samples, so that their units can be matched by name.

    Args:
        names: The name of each sample for each repeat.
    """
    if any(sorted(one) != sorted(names[0]) for one in names):
        raise InputError(
            "All repeats of a cross-validation must predict the same samples. Received: others, so the data have"
            " changed since it began. Begin it anew in another --run-dir."
        )
