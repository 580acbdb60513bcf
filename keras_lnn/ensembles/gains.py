"""What an ensemble gains over its members on a test split that none of them has seen."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from keras_lnn.comparing.same_split import measure_on_split
from keras_lnn.data.arrays import Split, name_samples
from keras_lnn.ensembles.members import MemberRun
from keras_lnn.evaluation.metrics import metric_label
from keras_lnn.saved.signature import Signature
from keras_lnn.statistics import Estimate
from keras_lnn.statistics.measurements import Measurement
from keras_lnn.statistics.paired_tests import Difference, Measured, compare_means
from keras_lnn.statistics.texts import interval, number, signed

_UNKNOWN = Difference(*[math.nan] * 6)


@dataclasses.dataclass(frozen=True)
class Compared:
    """The leading metric of a model beside that of the ensemble.

    Args:
        name: The model's name in the table.
        estimate: The metric of the model with its interval.
        difference: The ensemble minus the model on the same samples; None for the ensemble itself.
    """

    name: str
    estimate: Estimate
    difference: Difference | None = None

    def to_row(self, metric: str) -> dict[str, Any]:
        """Returns the row of ensemble.csv."""
        one, found = self.estimate, self.difference or _UNKNOWN
        row = {"model": self.name, metric: one.value, f"{metric}_low": one.low, f"{metric}_high": one.high}
        return row | {"gain": found.value, "gain_low": found.low, "gain_high": found.high, "p": found.p}


@dataclasses.dataclass(frozen=True)
class Gain:
    """What was measured on the test split.

    Args:
        metric: The leading metric of the task.
        ensemble: The ensemble.
        mean: The mean over the members.
        members: Each member.
        samples: The number of samples and what they are, such as ``156 images``.
    """

    metric: str
    ensemble: Compared
    mean: Compared
    members: tuple[Compared, ...]
    samples: str

    @property
    def noun(self) -> str:
        """Returns what the samples are, in the plural."""
        return self.samples.rpartition(" ")[2]

    def to_table(self) -> pd.DataFrame:
        """Returns one row for the ensemble, one for the mean over its members, and one per member."""
        return pd.DataFrame([one.to_row(self.metric) for one in (self.ensemble, self.mean, *self.members)])

    def describe(self) -> str:
        """Returns the gain over the mean of the members in a sentence."""
        gain, label = self.mean.difference or _UNKNOWN, metric_label(self.metric)
        known = "" if math.isnan(gain.low) else f" (95% interval {gain.low:+.4f} to {gain.high:+.4f})"
        count = len(self.members)
        members = f"mean of the {count} members" if count > 1 else "its member"
        return (
            f"{label} on {self.samples} of the test split: ensemble {interval(self.ensemble.estimate)}, {members}"
            f" {self.mean.estimate.value:.4f}, gain {gain.value:+.4f}{known}"
        )

    def explain(self) -> str:
        """Returns in plain words whether the ensemble is better than one of its members is on average."""
        gain, label = self.mean.difference or _UNKNOWN, metric_label(self.metric)
        than = "that of its member" if len(self.members) == 1 else "that of its members on average"
        if math.isnan(gain.value):
            return f"The {label} of the ensemble, or {than}, is not defined on {self.samples} of the test split."
        higher = "higher" if gain.value >= 0 else "lower"
        text = (
            f"On the same {self.samples} the {label} of the ensemble is {number(abs(gain.value))} {higher} than {than}"
        )
        if math.isnan(gain.low):
            return f"{text}; an interval is not defined."
        text += f" (95% interval of the difference {signed(gain.low)} to {signed(gain.high)}). "
        if gain.low > 0 or gain.high < 0:
            return f"{text}The interval excludes 0: the choice of the test {self.noun} alone does not explain it."
        return f"{text}The interval contains 0: these {self.noun} do not show whether joining the members helps."


def measure_gain(
    signature: Signature, split: Split, ensemble: np.ndarray, members: Sequence[tuple[str, np.ndarray]]
) -> Gain:
    """Measures an ensemble and its members on the same samples.

    The members are those that the ensemble joins and no sample of others: the interval of the gain is due to the choice
    of the test samples alone.

    Args:
        signature: The signature of the ensemble.
        split: The samples.
        ensemble: What the ensemble predicts for them, as :meth:`Task.compact` returns it.
        members: The name of each member and what it predicts.
    """
    task = signature.get_task()
    names, predicted = zip(*members, strict=True)
    measured, degrees_of = measure_on_split(task, split, [ensemble, *predicted])
    one, others = measured[0], measured[1:]
    value = float(np.mean([other.value for other in others]))
    mean = Measurement(Estimate(value), np.mean([other.deviations for other in others], axis=0))

    def compare(other: Measurement, name: str) -> Compared:
        degrees = degrees_of(one.deviations - other.deviations)
        difference = compare_means(Measured.of([one]), Measured.of([other]), degrees=degrees)
        return Compared(name, other.estimate, difference)

    return Gain(
        metric=task.leading,
        ensemble=Compared("ensemble", one.estimate),
        mean=compare(mean, "mean of members"),
        members=tuple(compare(other, name) for other, name in zip(others, names, strict=True)),
        samples=f"{len(split):,} {name_samples(split.images)}",
    )


def name_members(members: Sequence[MemberRun]) -> list[str]:
    """Returns a name for each member: its folder, with the folders above it as far as that is needed to tell apart."""
    parts = [member.path.resolve().parts for member in members]
    length = next(length for length in range(1, 100) if len({part[-length:] for part in parts}) == len(parts))
    return ["/".join(part[-length:]) for part in parts]
