"""Thresholds chosen on validation: a rare class's probability seldom passes one half, however well it is ranked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

NEUTRAL = 0.5
# Ends the names of metrics at thresholds that were chosen on other data.
TUNED = "_tuned"
# Values nearer than this are equal but for rounding.
_ROUNDING = 1e-12


def parse_threshold(text: str) -> tuple[str, float]:
    """Returns the rule by which a threshold is chosen, and its number: 0 where the rule has none.

    Args:
        text: ``youden``, ``f1``, ``sensitivity=.9``, ``specificity=.9``, or a probability, whose rule is ``number``.
    """
    name, equals, level = (part.strip() for part in text.strip().lower().partition("="))
    if name in ("youden", "f1") and not equals:
        return name, 0.0
    name, level = (name, level) if equals else ("number", name)
    try:
        value = float(level)
    except ValueError:
        value = math.nan
    if name not in ("number", "sensitivity", "specificity") or not 0 < value < 1:
        raise ValueError(
            "must be youden, f1, sensitivity=S, specificity=S or a number, with S and the number between 0 and 1"
        )
    return name, value


def choose_thresholds(truth: np.ndarray, probabilities: np.ndarray, rule: str, positive: int = 1) -> tuple[float, ...]:
    """Returns a threshold for each class or label, chosen on samples that must not be those of the test.

    A class is predicted where its probability lies above its threshold. Between two neighbouring probabilities the
    middle is taken, and of several that are equally good the one nearest to one half. What has no positives keeps one
    half, and without negatives so does every rule but ``f1``. The thresholds of two classes sum to one.

    Args:
        truth: Class indices of two classes (samples,), or 0/1 (samples, labels).
        probabilities: (samples, classes or labels).
        rule: ``youden`` (the largest sum of sensitivity and specificity), ``f1`` (the largest F1), ``sensitivity=S``
            (at least S, with the largest specificity), ``specificity=S``, likewise, or a number, which is taken as it
            is.
        positive: Which of two classes the rule speaks of.
    """
    if truth.ndim == 1:
        chosen = _choose(truth == 1, probabilities[:, 1], rule, positive == 1)
        return 1.0 - chosen, chosen
    return tuple(_choose(column == 1, scores, rule) for column, scores in zip(truth.T, probabilities.T, strict=True))


def describe_rule(rule: str | None, chosen_on: str = "validation") -> str:
    """Returns in words how thresholds were chosen; the first versions chose them by F1 and kept no rule.

    Args:
        rule: As it was given, and after it ``of`` and the class that it speaks of where this is not clear.
        chosen_on: The samples that they were chosen on, in words.
    """
    kind, _ = parse_threshold(rule.partition(" of ")[0]) if rule else ("f1", 0.0)
    return (
        "as requested" if kind == "number" else f"chosen on {chosen_on} by {(rule or kind).replace(' of ', ' for ', 1)}"
    )


def _choose(upper: np.ndarray, scores: np.ndarray, rule: str, upper_is_positive: bool = True) -> float:
    """Returns the threshold that best splits scores into those of ``upper`` samples and the others, by a rule.

    The rule may speak of the others: then decisions are still made by these scores, so that none is lost to rounding.
    """
    import numpy as np

    kind, level = parse_threshold(rule)
    if kind == "number":
        return level if upper_is_positive else 1.0 - level
    positives = upper if upper_is_positive else ~upper
    if not positives.any() or (positives.all() and kind != "f1"):
        return NEUTRAL
    levels = np.unique(scores)
    candidates = 0.5 * (np.concatenate([[0.0], levels]) + np.concatenate([levels, [1.0]]))
    upper_above, others_above = (_count_above(scores[part], candidates) for part in (upper, ~upper))
    if upper_is_positive:
        found, alarms = upper_above, others_above
    else:
        found, alarms = (~upper).sum() - others_above, upper.sum() - upper_above
    value = _value(kind, level, found, alarms, int(positives.sum()), int((~positives).sum()))
    best = np.flatnonzero(value >= value.max() - _ROUNDING)
    return float(candidates[best[np.argmin(np.abs(candidates[best] - NEUTRAL))]])


def _count_above(scores: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    import numpy as np

    return len(scores) - np.searchsorted(np.sort(scores), candidates, side="right")


def _value(
    kind: str, level: float, found: np.ndarray, alarms: np.ndarray, positives: int, negatives: int
) -> np.ndarray:
    """Returns how good each candidate is by a rule, from the positives found and the negatives taken for positive."""
    import numpy as np

    if kind == "f1":
        return 2 * found / (found + alarms + positives)
    sensitivity, specificity = found / positives, 1 - alarms / negatives
    if kind == "youden":
        return sensitivity + specificity
    wanted, other = (sensitivity, specificity) if kind == "sensitivity" else (specificity, sensitivity)
    return np.where(wanted >= level - _ROUNDING, 1 + other, wanted)
