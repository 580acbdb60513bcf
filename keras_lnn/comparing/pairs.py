"""Two models compared by one metric, and the correction of p for several such pairs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_lnn.statistics.paired_tests import Difference, holm


@dataclasses.dataclass(frozen=True)
class Pair:
    """One metric of two models.

    Args:
        metric: Name of the metric.
        first: Name of one model.
        second: Name of the other.
        first_value: Mean over the runs of the first model.
        second_value: Mean over the runs of the second model.
        difference: The first minus the second, with its 95% interval, which is not corrected, and p.
        test: Name of the test.
        corrected: p after Holm's correction for all pairs of the metric, and for all labels if it is of a single label.
        corrected_against_reference: p after the correction for the pairs with the reference; nan for other pairs.
        label: The label that the metric was measured on; empty for the metric over all labels or classes.
    """

    metric: str
    first: str
    second: str
    first_value: float
    second_value: float
    difference: Difference
    test: str
    corrected: float = math.nan
    corrected_against_reference: float = math.nan
    label: str = ""

    def seen_from(self, name: str) -> Pair:
        """Returns the same pair with the named model first."""
        if name == self.first:
            return self
        turned = self.difference
        difference = dataclasses.replace(turned, value=-turned.value, low=-turned.high, high=-turned.low)
        names = {"first": self.second, "second": self.first}
        values = {"first_value": self.second_value, "second_value": self.first_value}
        return dataclasses.replace(self, **names, **values, difference=difference)

    def to_row(self) -> dict[str, Any]:
        """Returns the row of pairs.csv, or of label_pairs.csv for a pair with a label."""
        row = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del row["difference"]
        label = row.pop("label")
        row = {"label": label, **row} if label else row
        found = dataclasses.asdict(self.difference)
        return {**row, "difference": found.pop("value"), **found}


def correct_pairs(pairs: Sequence[Pair], reference: str) -> list[Pair]:
    """Returns pairs with p corrected for all of them and for those with the reference.

    Args:
        pairs: Every pair of models with one metric.
        reference: Name of one of the models.
    """
    with_reference = np.array([reference in (pair.first, pair.second) for pair in pairs], dtype=bool)
    p_values = np.array([pair.difference.p for pair in pairs])
    corrected, against = holm(p_values), holm(np.where(with_reference, p_values, np.nan))
    return [
        dataclasses.replace(pair, corrected=float(by_all), corrected_against_reference=float(by_reference))
        for pair, by_all, by_reference in zip(pairs, corrected, against, strict=True)
    ]
