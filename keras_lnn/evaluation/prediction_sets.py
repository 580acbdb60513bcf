"""What prediction sets and referral do on samples that they were not chosen on, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_lnn.statistics.deviations import Units
from keras_lnn.statistics.measurements import measure_loss, measure_proportion

_CONFIDENCE = 0.95


def measure_sets(
    sets: np.ndarray, truth: np.ndarray, class_names: Sequence[str], groups: Sequence[str] | None = None
) -> dict[str, Any]:
    """Returns how often sets contain the true class, over all samples and by true class, and how large they are.

    Args:
        sets: Which classes belong to the set of each sample, bool (samples, classes), at least one for each.
        truth: Class indices, (samples,).
        class_names: One name for each class.
        groups: The patient of each sample; None where they are unknown.

    Returns:
        ``coverage``, ``mean_size`` and ``single`` (the share of sets of one class), each with its interval, and
        ``coverage_of`` with the coverage of each true class that there are samples of.
    """
    units, count = Units(len(truth), groups), sets.shape[1]
    inside, sizes = sets[np.arange(len(truth)), truth], sets.sum(axis=1)
    everything = np.ones(len(truth), bool)
    # A set has at least one class, so that its other classes are between 0 and all but one.
    others = measure_loss((sizes - 1).astype(np.float64), count - 1, True, units, _CONFIDENCE).estimate.to_json()

    def share(hits: np.ndarray, counted: np.ndarray) -> dict[str, float]:
        return measure_proportion(hits, counted, units, _CONFIDENCE).estimate.to_json()

    return {
        "coverage": share(inside, everything),
        "mean_size": {name: 1 + value for name, value in others.items()},
        "single": share(sizes == 1, everything),
        "coverage_of": {
            name: share(inside & (truth == place), truth == place)
            for place, name in enumerate(class_names)
            if (truth == place).any()
        },
    }


def measure_referral(referred: np.ndarray, right: np.ndarray, groups: Sequence[str] | None = None) -> dict[str, Any]:
    """Returns the share of samples that a model decides itself, and the share of these that it is wrong about.

    Args:
        referred: Whether each sample is referred to a human, (samples,).
        right: Whether the model is right, (samples,).
        groups: The patient of each sample; None where they are unknown.

    Returns:
        ``decided``, ``risk`` (None where nothing is decided) and ``risk_of_all``, the risk without referral.
    """
    units, decided, everything = Units(len(right), groups), ~referred, np.ones(len(right), bool)
    wrong = ~right

    def share(hits: np.ndarray, counted: np.ndarray) -> dict[str, float]:
        return measure_proportion(hits, counted, units, _CONFIDENCE).estimate.to_json()

    return {
        "decided": share(decided, everything),
        "risk": share(wrong & decided, decided) if decided.any() else None,
        "risk_of_all": share(wrong, everything),
    }
