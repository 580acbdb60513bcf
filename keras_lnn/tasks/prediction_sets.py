"""Prediction sets of a model: the classes that contain the true one as often as promised, chosen on validation."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keras_lnn.tasks.decisions import decide_sets

if TYPE_CHECKING:
    import numpy as np

# Stands between the classes of a set in tables.
BETWEEN_CLASSES = "|"


@dataclasses.dataclass(frozen=True)
class PredictionSets:
    """How a model chooses the set of classes of a sample.

    Args:
        coverage: The promised share of samples whose set contains the true class.
        by_class: Whether it is promised for each true class on its own.
        levels: The probability from which on each class belongs to the set.
    """

    coverage: float
    by_class: bool
    levels: tuple[float, ...]

    def decide(self, probabilities: Any, decided: Any, thresholds: Sequence[float] | None = None) -> Any:
        """Returns which classes belong to the set of each sample, bool (..., classes); arrays or tensors.

        Args:
            probabilities: (..., classes).
            decided: The index of the predicted class, (...).
            thresholds: By which it was predicted, which sets do not ask for.
        """
        return decide_sets(probabilities, decided, self.levels)

    def fits(self, outputs: int) -> bool:
        """Returns whether the numbers can belong to a model of so many classes."""
        numbers = all(isinstance(level, int | float) and 0 <= level <= 1 for level in self.levels)
        return numbers and 0 < self.coverage < 1 and isinstance(self.by_class, bool) and len(self.levels) == outputs

    def describe(self, class_names: Sequence[str]) -> str:
        """Returns the promise and its levels in words, such as ``0.9 of samples: benign from 0.120, ...``."""
        levels = ", ".join(f"{name} from {level:.3f}" for name, level in zip(class_names, self.levels, strict=True))
        return f"{self.coverage:.4g} of samples{' of each class' if self.by_class else ''}: {levels}"


def name_sets(sets: np.ndarray, class_names: Sequence[str]) -> list[str]:
    """Returns the classes of each set as text with | between them.

    Args:
        sets: bool (samples, classes).
        class_names: One name for each class.
    """
    import numpy as np

    names = np.array(class_names)
    return [BETWEEN_CLASSES.join(names[row]) for row in sets]


def choose_sets(
    truth: np.ndarray,
    probabilities: np.ndarray,
    coverage: float,
    *,
    by_class: bool = False,
    groups: Sequence[str] | None = None,
    class_names: Sequence[str],
) -> tuple[PredictionSets, str]:
    """Returns sets of the promised coverage, and a sentence on classes that belong to every set; empty if none does.

    Args:
        truth: Class indices of samples that must not be those of the test, (samples,).
        probabilities: (samples, classes).
        coverage: The promised share, between 0 and 1.
        by_class: Whether it is promised for each true class on its own.
        groups: The patient of each sample; None where they are unknown.
        class_names: One name for each class.
    """
    from keras_lnn.statistics.prediction_sets import conformal_thresholds

    levels = conformal_thresholds(probabilities, truth, coverage, by_class=by_class, groups=groups)
    found = PredictionSets(coverage, by_class, tuple(levels.tolist()))
    if levels.all():
        return found, ""
    always = [name for name, level in zip(class_names, levels, strict=True) if not level]
    what = "every class belongs" if len(always) == len(levels) else f"{', '.join(always)} always belong"
    return found, (
        f"Prediction sets: {what} to the set, because validation has too few samples"
        f"{' of a class' if by_class else ''} for a coverage of {coverage:g}."
    )
