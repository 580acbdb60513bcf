"""Sets of classes that contain the true one as often as promised, and the confidence below which a human decides.

Both are fixed on samples that the model was not trained on and that the test does not contain. Split conformal
prediction promises its coverage for any model: Vovk, Gammerman and Shafer (2005), "Algorithmic learning in a random
world". Sets hold the classes whose probability is high enough, which makes them the smallest ones: Sadinle, Lei and
Wasserman (2019), Journal of the American Statistical Association 114, 223.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from keras_lnn.errors import InputError

# Confidences at which a referral may begin, the strictest first.
_CONFIDENCES = np.linspace(1.0, 0.0, 501)
# Shares of the samples at which a sequence of tests begins. One error among the surest few ends the first sequence.
_STARTS = (0.0, 0.3)


@dataclasses.dataclass(frozen=True)
class RiskCurve:
    """How often a model is wrong about what it decides itself, by the confidence below which it refers to a human.

    Args:
        confidence: The least confidence of what it decides, falling, (points,).
        coverage: The share of samples that it decides, (points,).
        risk: The share of these that it is wrong about, (points,).
    """

    confidence: np.ndarray
    coverage: np.ndarray
    risk: np.ndarray


def conformal_thresholds(
    probabilities: np.ndarray,
    truth: np.ndarray,
    coverage: float = 0.9,
    *,
    by_class: bool = False,
    groups: Sequence[str] | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Returns for each class the least probability at which it belongs to the set of a sample, (classes,).

    Sets of new samples then contain the true class with at least the given probability, on average over samples of
    the same kind; by class, for each true class on its own. A class with too few samples for that has the threshold 0,
    so that it is in every set.

    The images of one patient depend on each other, so that many images of few patients promise too much. Where
    patients are known, one image of each is drawn: the promise then holds for new patients (Dunn, Wasserman and Ramdas
    2022, Journal of the American Statistical Association 118, 2491).

    Args:
        probabilities: (samples, classes).
        truth: The index of each sample's class, (samples,).
        coverage: The probability, between 0 and 1.
        by_class: Whether the promise holds for each class; otherwise frequent classes may make up for rare ones.
        groups: The patient of each sample; None where they are unknown.
        seed: Seed of the image that is drawn of each patient.
    """
    probabilities, truth = np.asarray(probabilities, np.float64), np.asarray(truth)
    if not 0 < coverage < 1:
        raise InputError(f"coverage must lie between 0 and 1. Received: {coverage}. Give 0.9 for 90%.")
    if probabilities.ndim != 2 or truth.shape != probabilities.shape[:1]:
        raise InputError(
            "probabilities must be (samples, classes) and truth one class index per sample. Received: shapes "
            f"{probabilities.shape} and {truth.shape}."
        )
    if groups is not None:
        if len(groups) != len(truth):
            raise InputError(f"groups must name the patient of each of {len(truth)} samples. Received: {len(groups)}.")
        rows = draw_one_of_each(groups, seed)
        probabilities, truth = probabilities[rows], truth[rows]
    of_truth = probabilities[np.arange(len(truth)), truth]
    classes = probabilities.shape[1]
    if not by_class:
        return np.full(classes, _lower_quantile(of_truth, coverage))
    return np.array([_lower_quantile(of_truth[truth == place], coverage) for place in range(classes)])


def draw_one_of_each(groups: Sequence[str], seed: int = 0) -> np.ndarray:
    """Returns one random row of each patient, in their order.

    Args:
        groups: The patient of each sample.
        seed: Seed of the draw.
    """
    names = np.asarray(groups, dtype=object).astype(str)
    order = np.random.default_rng(seed).permutation(len(names))
    _, first = np.unique(names[order], return_index=True)
    return np.sort(order[first])


def risk_by_coverage(confidence: np.ndarray, correct: np.ndarray) -> RiskCurve:
    """Returns how often a model is wrong about the samples that it is surest of, for each number of them.

    Args:
        confidence: How sure the model is of each sample, such as the probability of the predicted class, (samples,).
        correct: Whether it is right, (samples,).
    """
    confidence, wrong = np.asarray(confidence, np.float64), ~np.asarray(correct, bool)
    order = np.argsort(-confidence, kind="stable")
    # Samples of equal confidence are decided or referred together.
    last = np.append(np.diff(confidence[order]) != 0, True)
    decided = np.arange(1, len(order) + 1)
    risk = np.cumsum(wrong[order]) / decided
    return RiskCurve(confidence[order][last], (decided / len(order))[last], risk[last])


def choose_referral(confidence: np.ndarray, correct: np.ndarray, risk: float, error: float = 0.05) -> float | None:
    """Returns the least confidence at which a model decides itself, so that it is wrong about at most a given share.

    Confidences are tested from a strict one down by the exact binomial test until one fails, and the last one before
    is returned: with a probability of at most ``error`` the true risk at it is above the limit (fixed sequence testing;
    Angelopoulos, Bates, Candès, Jordan and Lei 2021, "Learn then test"). There are two such sequences, which share
    ``error`` between them: from the strictest confidence, where one error among the surest few samples is the end, and
    from that of three tenths of the samples. Samples must be independent: give one image per patient.

    Args:
        confidence: How sure the model is of each sample, between 0 and 1, (samples,).
        correct: Whether it is right, (samples,).
        risk: The largest share of wrong decisions, between 0 and 1.
        error: The probability that the true share is larger.

    Returns:
        The confidence from which on the model decides; None where every sample has to be referred.
    """
    from scipy.stats import binom

    if not 0 < risk < 1 or not 0 < error < 1:
        raise InputError(f"risk and error must lie between 0 and 1. Received: {risk} and {error}.")
    confidence, wrong = np.asarray(confidence, np.float64), ~np.asarray(correct, bool)
    level, passed = error / len(_STARTS), []
    for start in _STARTS:
        # So few decisions pass no test even if each is right; how many there are says nothing about errors.
        fewest = max(math.log(level) / math.log(1 - risk), start * len(wrong))
        for least in _CONFIDENCES:
            decided = confidence >= least
            if decided.sum() < fewest:
                continue
            if binom.cdf(wrong[decided].sum(), decided.sum(), risk) > level:
                break
            passed.append(float(least))
    return min(passed, default=None)


def _lower_quantile(of_truth: np.ndarray, coverage: float) -> float:
    """Returns the probability that a new sample's true class reaches with the given probability; 0 for too few."""
    count = len(of_truth)
    # One more than the samples, for the new one.
    below = math.floor((count + 1) * (1 - coverage) + 1e-9)
    return float(np.sort(of_truth)[below - 1]) if below >= 1 else 0.0
