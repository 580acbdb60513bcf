"""Referral of a model: the confidence below which a human decides, chosen on validation."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keras_lnn.tasks.decisions import confidence_in, decide_referred

if TYPE_CHECKING:
    import numpy as np


@dataclasses.dataclass(frozen=True)
class Referral:
    """Which samples a model refers to a human.

    Args:
        risk: The promised largest share of wrong decisions among the samples that are not referred.
        confidence: The least confidence in the predicted class, of
            :func:`~keras_lnn.tasks.decisions.confidence_in`, at which a sample is not referred; None where every sample
            is referred.
    """

    risk: float
    confidence: float | None

    def decide(self, probabilities: Any, decided: Any, thresholds: Sequence[float] | None = None) -> Any:
        """Returns whether each sample is referred, bool (...); arrays or tensors.

        Args:
            probabilities: (..., classes).
            decided: The index of the predicted class, (...).
            thresholds: By which it was predicted; None for the likeliest class.
        """
        return decide_referred(probabilities, decided, self.confidence, thresholds)

    def is_valid(self) -> bool:
        """Returns whether the numbers are shares."""
        confidence = self.confidence is None or 0 <= self.confidence <= 1
        return confidence and 0 < self.risk < 1

    def describe(self) -> str:
        """Returns the rule in words, such as ``below a confidence of 0.84, for a risk of at most 0.05``."""
        which = "every sample" if self.confidence is None else f"below a confidence of {self.confidence:.3f}"
        return f"{which}, for a risk of at most {self.risk:g}"


def choose_referral_of(
    truth: np.ndarray,
    probabilities: np.ndarray,
    decided: np.ndarray,
    risk: float,
    thresholds: Sequence[float] | None = None,
    groups: Sequence[str] | None = None,
) -> tuple[Referral, str]:
    """Returns the referral of the promised risk, and a sentence where every sample has to be referred.

    Args:
        truth: Class indices of samples that must not be those of the test, (samples,).
        probabilities: (samples, classes).
        decided: The index of the predicted class, (samples,).
        risk: The promised largest share of wrong decisions.
        thresholds: By which classes are predicted; None for the likeliest class.
        groups: The patient of each sample, of whom one sample counts; None where they are unknown.
    """
    from keras_lnn.statistics.prediction_sets import choose_referral, draw_one_of_each

    confidence, right = confidence_in(probabilities, decided, thresholds), decided == truth
    if groups is not None:
        rows = draw_one_of_each(groups)
        confidence, right = confidence[rows], right[rows]
    found = Referral(risk, choose_referral(confidence, right, risk))
    if found.confidence is not None:
        return found, ""
    unit = "samples" if groups is None else "patients"
    return found, (
        f"Referral: every sample is referred to a human, because {len(right)} validation {unit} do not show a risk of"
        f" at most {risk:g} at any confidence."
    )
