"""Labels that are doubtful because predictions for samples that a model has not seen contradict them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class DoubtfulLabel:
    """A label that the prediction contradicts.

    Args:
        sample: The place of the sample.
        label: Which of several labels it is; None where a sample has one class.
        given: The given class, or 0 and 1 for a label that is given as absent or present.
        suggested: What the prediction suggests instead.
        given_probability: The predicted probability of what is given.
        suggested_probability: The predicted probability of what is suggested.
    """

    sample: int
    label: int | None
    given: int
    suggested: int
    given_probability: float
    suggested_probability: float

    @property
    def margin(self) -> float:
        """Returns by how much what is given is likelier than what is suggested; the lower, the more doubtful."""
        return self.given_probability - self.suggested_probability


def find_doubtful_labels(
    truth: np.ndarray, probabilities: np.ndarray, informed: Sequence[bool] | None = None
) -> list[DoubtfulLabel]:
    """Returns the labels that predictions contradict with confidence, the most doubtful first.

    This is confident learning (Northcutt, Jiang and Chuang 2021, Journal of Artificial Intelligence Research 70, 1373).
    A class is predicted with confidence where its probability is at least the mean probability of that class among the
    samples that are given it. A label is doubtful where another class is both predicted with confidence and likelier
    than the given one, and is ranked by the difference of the two probabilities. Of several labels each is looked at on
    its own.

    Args:
        truth: Class indices (samples,), or 0/1 (samples, labels).
        probabilities: (samples, classes or labels), of models that were not trained on the samples.
        informed: Whether each class or label is distinguished from the others better than by chance; others are never
            suggested, and such a label is not looked at. None for all.
    """
    known = np.ones(probabilities.shape[1], bool) if informed is None else np.asarray(informed, bool)
    if truth.ndim == 1:
        found = list(_contradicted(truth, probabilities, known))
    else:
        found = [
            dataclasses.replace(one, label=int(label))
            for label in np.flatnonzero(known)
            for one in _contradicted(
                truth[:, label],
                np.column_stack([1 - probabilities[:, label], probabilities[:, label]]),
                np.ones(2, bool),
            )
        ]
    return sorted(found, key=lambda one: one.margin)


def _contradicted(truth: np.ndarray, probabilities: np.ndarray, informed: np.ndarray) -> Iterator[DoubtfulLabel]:
    """Yields the doubtful ones of labels of which each sample has exactly one."""
    truth = truth.astype(np.int64)
    classes, rows = probabilities.shape[1], np.arange(len(truth))
    counts = np.bincount(truth, minlength=classes)
    own = probabilities[rows, truth]
    sums = np.bincount(truth, weights=own, minlength=classes)
    # No probability reaches the threshold of a class that no sample has, or that is not distinguished from the others.
    usable = informed & (counts > 0)
    thresholds = np.where(usable, sums / np.maximum(counts, 1), np.inf)
    confident = np.where(probabilities >= thresholds, probabilities, -np.inf)
    suggested = confident.argmax(axis=1)
    for row in np.flatnonzero((suggested != truth) & (confident[rows, suggested] > own)):
        pair = int(truth[row]), int(suggested[row])
        yield DoubtfulLabel(int(row), None, *pair, float(own[row]), float(probabilities[row, pair[1]]))
