"""How far a metric of one group of samples is from that of the others."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from keras_lnn.statistics.deviations import NO_VARIANCE, Units, welch_degrees
from keras_lnn.statistics.measurements import Measurement
from keras_lnn.statistics.paired_tests import Difference, Measured, compare_means


def compare_with_others(
    group: Measurement,
    others: Measurement,
    is_member: np.ndarray,
    patients: Sequence[str] | None = None,
    classes: np.ndarray | None = None,
) -> Difference:
    """Returns the metric of a group minus that of the other samples, tested by the deviations of both.

    Patients with samples on both sides are counted as such: their deviations on both sides are subtracted.

    Args:
        group: The metric over the samples of the group.
        others: The metric over the other samples.
        is_member: Whether each sample belongs to the group, (samples,).
        patients: The patient of each sample; None where they are unknown.
        classes: The class of each sample, for a metric whose uncertainty lies in the classes apart, such as the AUC.

    Returns:
        The difference; only its value is defined where a metric does not vary over its samples, such as an AUC of 1.
    """
    value = group.value - others.value
    units = Units(len(is_member), patients)
    deviations = [
        _spread(part.deviations, side, units, patients) for part, side in ((group, is_member), (others, ~is_member))
    ]
    if not all(float((part**2).sum()) > NO_VARIANCE for part in deviations):
        return Difference(value, *[math.nan] * 5)
    apart = deviations[0] - deviations[1]
    sides = is_member.astype(np.int64)
    by_class = None if classes is None else units.strata(2 * classes.astype(np.int64) + sides)
    strata = units.strata(sides) if by_class is None else by_class
    degrees = float(max(units.count - 1, 1)) if strata is None else welch_degrees(apart, strata)
    runs = [Measured([part.estimate], found[None]) for part, found in zip((group, others), deviations, strict=True)]
    return compare_means(*runs, degrees=degrees)


def _spread(deviations: np.ndarray, side: np.ndarray, units: Units, patients: Sequence[str] | None) -> np.ndarray:
    """Returns the deviations of a side in the place of each unit of all samples, 0 where it has no sample."""
    names = np.arange(len(side)) if patients is None else np.asarray(patients, dtype=object).astype(str)
    found = np.zeros(units.count)
    # Units are in the order of their names.
    found[np.searchsorted(np.unique(names), np.unique(names[side]))] = deviations
    return found
