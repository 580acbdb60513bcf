"""Sentences on what the numbers of an evaluation do not show: collapse, rare classes, few patients, no error."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_lnn.tasks.thresholds import TUNED

if TYPE_CHECKING:
    from keras_lnn.evaluation.checked import CheckedPredictions
    from keras_lnn.statistics import Estimate

# A model that predicts one class for this share of the samples, or more, has learnt nothing else.
COLLAPSED_SHARE = 0.99
# With fewer samples of a class, or fewer patients, what they say is mostly chance.
FEW_SAMPLES = 10
# How the warning begins that a metric is perfect.
NO_ERROR = "No error was seen"
# What the warning says of an AUC that is worse than a guess.
BELOW_CHANCE = "below one half"
# What sentences call the metrics that may be perfect, in their order.
_WITHOUT_ERROR = {
    "auc": "AUC",
    "accuracy": "accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "f1": "F1",
    "average_precision": "average precision",
}


@dataclasses.dataclass(frozen=True)
class Basis:
    """The units over which intervals are computed.

    Args:
        unit: What the samples are, or ``patients`` where it is known which samples are of one patient.
        count: How many of them there are.
        images: How many samples there are.
        samples: What the samples are, in the plural: ``images`` or ``series``.
    """

    unit: str
    count: int
    images: int
    samples: str = "images"

    @classmethod
    def of(cls, images: int, groups: Sequence[str] | None, samples: str = "images") -> Basis:
        """Returns the basis of samples with the patient of each, or None where nobody knows."""
        unit, count = (samples, images) if groups is None else ("patients", len(set(groups)))
        return cls(unit, count, images, samples)

    def __str__(self) -> str:
        return f"{self.count:,} {self.unit}" + (f" ({self.images:,} {self.samples})" if self.unit == "patients" else "")


def find_warnings(
    predictions: CheckedPredictions, metrics: dict[str, Estimate], areas: Sequence[Estimate], basis: Basis
) -> tuple[str, ...]:
    """Returns what the numbers do not show, one sentence each.

    Args:
        predictions: What was measured.
        metrics: The estimate of each metric over all.
        areas: The AUC of each class or label.
        basis: What the intervals rest on.
    """
    collapse = _label_collapse if predictions.task == "multi-label" else _class_collapse
    collapsed = collapse(predictions)
    found = [collapsed, _below_chance(predictions, areas), _one_sided(predictions), _few_samples(predictions)]
    found += [_few_patients(basis), "" if collapsed else _without_error(metrics)]
    return tuple(sentence for sentence in found if sentence)


def _few_patients(basis: Basis) -> str:
    """Returns a warning where there are so few patients that intervals are mostly guesses, else nothing."""
    if basis.unit != "patients" or basis.count >= FEW_SAMPLES:
        return ""
    return f"There are {basis.count} patients: intervals that rest on fewer than {FEW_SAMPLES} are unreliable."


def _without_error(metrics: dict[str, Estimate]) -> str:
    perfect = []
    for name, label in _WITHOUT_ERROR.items():
        # Whoever predicts nothing above 0.5 errs nowhere there, but perhaps at the threshold.
        found = [metrics[one].value for one in (name, name + TUNED) if one in metrics]
        perfect += [label] if all(value == 1 for value in found) else []
    if not perfect:
        return ""
    verb = "is" if len(perfect) == 1 else "are"
    return (
        f"{NO_ERROR}: {', '.join(perfect)} {verb} 1 here. The lower end of the interval shows how low the true "
        "value may still be."
    )


def _class_collapse(predictions: CheckedPredictions) -> str:
    samples = len(predictions.positive)
    predicted, actual = predictions.predicted.sum(axis=0), predictions.positive.sum(axis=0)
    favourite = int(predicted.argmax())
    others = (samples - actual[favourite]) / samples
    constant = predicted[favourite] == samples and np.count_nonzero(actual) > 1
    nearly = predicted[favourite] >= COLLAPSED_SHARE * samples and others > 1 - COLLAPSED_SHARE
    if not (constant or nearly):
        return ""
    name = predictions.class_names[favourite]
    above = "Above 0.5 the model" if predictions.tuned is not None else "The model"
    extent = f"all {samples}" if predicted[favourite] == samples else f"{predicted[favourite]} of {samples}"
    best = int(actual.argmax())
    sentence = (
        f"{above} predicts '{name}' for {extent} samples: it has collapsed to one class. "
        f"Always predicting '{name}' has an accuracy of {actual[favourite] / samples:.3f}"
    )
    if actual[best] > actual[favourite]:
        sentence += f", always predicting '{predictions.class_names[best]}' {actual[best] / samples:.3f}"
    return f"{sentence}.{_describe_tuned(predictions)}"


def _describe_tuned(predictions: CheckedPredictions) -> str:
    """Returns a sentence on what a model that has collapsed at one half predicts at its threshold, if it has one."""
    if predictions.tuned is None:
        return ""
    counts = predictions.tuned.sum(axis=0)
    if not counts.all():
        favourite = predictions.class_names[int(counts.argmax())]
        return f" At its threshold it predicts '{favourite}' for all samples."
    finding = ", ".join(f"'{name}' for {count}" for name, count in zip(predictions.class_names, counts, strict=True))
    return f" At its threshold it predicts {finding}."


def _label_collapse(predictions: CheckedPredictions) -> str:
    """Returns which labels are predicted for no sample or for every one, as decisions are made by the thresholds."""
    samples, actual = len(predictions.positive), predictions.positive
    predicted = predictions.predicted if predictions.tuned is None else predictions.tuned
    missed = actual.any(axis=0) & ~predicted.any(axis=0)
    everywhere = ~actual.all(axis=0) & predicted.all(axis=0)
    if missed.any() and not predicted.any():
        return (
            f"The model predicts no label for any of {samples} samples: it has collapsed. "
            f"A model that never predicts a label has an accuracy of {1 - actual.mean():.3f}."
        )
    sentences = []
    for chosen, what in ((missed, "never predicts {} in"), (everywhere, "predicts {} for all")):
        if chosen.any():
            these = "this label" if chosen.sum() == 1 else "these labels"
            listed = _listed(predictions, np.asarray(chosen))
            sentences.append(
                f"The model {what.format(listed)} {samples} samples: it has collapsed for "
                f"{these}, and accuracy does not show it."
            )
    return " ".join(sentences)


def _below_chance(predictions: CheckedPredictions, areas: Sequence[Estimate]) -> str:
    """Returns which classes or labels are ranked worse than by a guess, and whether chance explains it."""
    areas = [areas[1]] if predictions.task == "binary" else areas
    below = [place for place, area in enumerate(areas) if area.value < 0.5]
    if not below:
        return ""
    beyond = sum(areas[place].high < 0.5 for place in below)
    if predictions.task == "binary":
        finding = "chance does not explain this: check the labels" if beyond else "no better than a guess"
        return f"The AUC is {areas[0].value:.3f}, {BELOW_CHANCE}: {finding}."
    names = ", ".join(f"'{predictions.class_names[place]}' ({areas[place].value:.3f})" for place in below)
    finding = f"chance does not explain this for {beyond} of them" if beyond else "no better than a guess"
    return f"The AUC is {BELOW_CHANCE} for {names}: {finding}."


def _one_sided(predictions: CheckedPredictions) -> str:
    actual = predictions.positive.sum(axis=0)
    one_sided = (actual == 0) | (actual == len(predictions.positive))
    if not one_sided.any():
        return ""
    return (
        f"AUC is not defined for {_listed(predictions, one_sided, actual)}, because no sample or every sample has it: "
        "it is left out of the mean, and ratios with a denominator of 0 are 0."
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
