"""Decisions: the one place where probabilities become classes or labels, for arrays, tensors and graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keras_lnn.errors import InputError

if TYPE_CHECKING:
    import numpy as np

# How far probabilities may lie beside 0 to 1: half precision sums and rounds to a hair over one.
PROBABILITY_TOLERANCE = 1e-3


def decide_between_two(probabilities: Any, thresholds: Sequence[float] | None = None) -> Any:
    """Returns the class of two, (...): the second one where its probability lies above its threshold.

    With one half this is the rule of MedMNIST's evaluator: two columns that sum to one less a rounding can both lie at
    or below one half. NaN lies above nothing.

    Args:
        probabilities: (..., 2), a NumPy array or a tensor, also within a graph.
        thresholds: One for each class, which sum to one; one half if not given.
    """
    above = decide_labels(probabilities, thresholds)
    return _operations_for(probabilities).where(above[..., 1], 1, 0)


def decide_labels(probabilities: Any, thresholds: Sequence[float] | None = None) -> Any:
    """Returns for each label whether its probability lies above its threshold, (..., labels); NaN never does.

    Args:
        probabilities: (..., labels), a NumPy array or a tensor, also within a graph.
        thresholds: One for each label; one half if not given.
    """
    import numpy as np

    levels = np.full(probabilities.shape[-1], 0.5) if thresholds is None else np.asarray(thresholds, np.float64)
    return _lie_above(probabilities, levels)


def decide_likeliest(probabilities: Any, thresholds: Sequence[float] | None = None) -> Any:
    """Returns the likeliest of several classes, (...), the first of equally likely ones; NaN is never the likeliest.

    Args:
        probabilities: (..., classes), a NumPy array or a tensor, also within a graph.
        thresholds: Several classes have none.
    """
    operations, outputs = _operations_for(probabilities), probabilities.shape[-1]
    # What argmax gives for equal values and for NaN depends on the library and the device.
    known = operations.where(operations.isnan(probabilities), -1.0, probabilities)
    largest = operations.max(known, axis=-1, keepdims=True)
    places = operations.where(known == largest, operations.arange(outputs), outputs)
    return operations.min(places, axis=-1)


def decide_sets(probabilities: Any, decided: Any, levels: Sequence[float]) -> Any:
    """Returns which classes belong to the prediction set of each sample, bool (..., classes).

    These are the classes whose probability reaches their level, and the predicted class, without which a set could be
    empty or contradict the prediction. A larger set contains the true class no less often.

    Args:
        probabilities: (..., classes), a NumPy array or a tensor, also within a graph.
        decided: The index of the predicted class, (...).
        levels: One for each class, from :func:`~keras_lnn.statistics.prediction_sets.conformal_thresholds`.
    """
    reached = _reach(probabilities, levels)
    return _operations_for(probabilities).logical_or(reached, _is_decided(probabilities, decided))


def confidence_in(probabilities: Any, decided: Any, thresholds: Sequence[float] | None = None) -> Any:
    """Returns the confidence in the predicted class of each sample, (...).

    It is the probability of the class, and with thresholds the distance from the threshold: from 0.5 at the threshold
    to 1 at a probability of 1, which is the probability where the threshold is one half.

    Args:
        probabilities: (..., classes), a NumPy array.
        decided: The index of the predicted class, (...).
        thresholds: One for each of two classes; None for the likeliest class.
    """
    import numpy as np

    values = np.asarray(probabilities, np.float64)
    if thresholds is not None:
        levels = _passable(thresholds)
        values = 0.5 + 0.5 * (values - levels) / (1 - levels)
    return np.where(_is_decided(probabilities, decided), values, 0.0).max(axis=-1)


def decide_referred(
    probabilities: Any, decided: Any, confidence: float | None, thresholds: Sequence[float] | None = None
) -> Any:
    """Returns whether the confidence of :func:`confidence_in` lies below the least one that is enough, bool (...).

    Args:
        probabilities: (..., classes), a NumPy array or a tensor, also within a graph.
        decided: The index of the predicted class, (...).
        confidence: The least confidence that is enough; None where none is.
        thresholds: One for each of two classes; None for the likeliest class.
    """
    import numpy as np

    operations = _operations_for(probabilities)
    needed = np.full(probabilities.shape[-1], 2.0 if confidence is None else confidence)
    if thresholds is not None:
        passable = _passable(thresholds)
        needed = passable + (2 * needed - 1) * (1 - passable)
    # The least confidence is that of a sample, whose probability must reach what is computed from it.
    enough = _reach(probabilities, needed * (1 - 1e-12))
    sure = operations.logical_and(enough, _is_decided(probabilities, decided))
    return operations.logical_not(operations.any(sure, axis=-1))


def _passable(thresholds: Sequence[float]) -> np.ndarray:
    """Returns thresholds below 1, which no probability passes."""
    import numpy as np

    return np.minimum(np.asarray(thresholds, np.float64), 1 - 1e-12)


def _lie_above(probabilities: Any, levels: Any) -> Any:
    """Returns whether probabilities lie above levels in float64, computed in float32 for tensors.

    No float32 lies between a level and the next float32 below it, so that both comparisons give the same; runtimes of
    exported models have no float64. Rounded to the nearest, a level could move across the probability that it was
    chosen beside.
    """
    import numpy as np

    levels = np.asarray(levels, np.float64)
    if isinstance(probabilities, np.ndarray):
        return probabilities.astype(np.float64) > levels
    rounded = levels.astype(np.float32)
    below = np.where(rounded > levels, np.nextafter(rounded, np.float32(-1)), rounded)
    return _operations_for(probabilities).cast(probabilities, "float32") > below


def _reach(probabilities: Any, levels: Any) -> Any:
    """Returns whether probabilities lie at or above levels in float64, computed in float32 for tensors."""
    import numpy as np

    levels = np.asarray(levels, np.float64)
    if isinstance(probabilities, np.ndarray):
        return probabilities.astype(np.float64) >= levels
    rounded = levels.astype(np.float32)
    above = np.where(rounded < levels, np.nextafter(rounded, np.float32(3)), rounded)
    return _operations_for(probabilities).cast(probabilities, "float32") >= above


def _is_decided(probabilities: Any, decided: Any) -> Any:
    """Returns whether each class is the predicted one, (..., classes)."""
    operations = _operations_for(probabilities)
    return operations.expand_dims(decided, -1) == operations.arange(probabilities.shape[-1], dtype=decided.dtype)


# The kinds of classification of whole images, each with its rule.
CLASSIFICATIONS = {
    "binary": decide_between_two,
    "multi-class": decide_likeliest,
    "ordinal": decide_likeliest,
    "multi-label": decide_labels,
}


def positive_index(class_names: Sequence[str], positive_class: str | None) -> int:
    """Returns which of two classes sensitivity, precision and F1 speak of: the second one where none is named."""
    return 1 if positive_class is None else list(class_names).index(positive_class)


def require_positive_class(name: str | None, kind: str, class_names: Sequence[str]) -> None:
    """Checks that what sensitivity is to speak of is one of two classes; None is the second one."""
    if name is not None and (kind != "binary" or name not in class_names):
        raise InputError(
            f"--positive-class must be one of two classes. Received: {name} for a {kind} task with "
            f"{' | '.join(class_names[:4])}. Name one of two classes, or leave it out."
        )


def are_thresholds(kind: str, outputs: int, values: Sequence[float]) -> bool:
    """Returns whether numbers are thresholds of a task: probabilities, of two classes such as sum to one, or of labels.

    Args:
        kind: The kind of the task.
        outputs: How many classes or labels it has.
        values: The numbers.
    """
    if kind not in ("binary", "multi-label") or len(values) != outputs:
        return False
    sums = kind != "binary" or abs(sum(values) - 1) <= PROBABILITY_TOLERANCE
    return sums and all(0 <= value <= 1 for value in values)


def _operations_for(probabilities: Any) -> Any:
    """Returns numpy or keras.ops: both have the operations of a decision, so that arrays and tensors go by one rule."""
    import numpy as np

    if isinstance(probabilities, np.ndarray):
        return np
    from keras import ops

    return ops
