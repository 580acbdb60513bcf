"""What an ensemble is asked to promise: the coverage of its prediction sets, and the risk above which it refers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

from keras_lnn.config import TrainConfig
from keras_lnn.ensembles.members import MemberRun
from keras_lnn.training.protocol import require_coverage, require_promises

Value = TypeVar("Value")


@dataclasses.dataclass(frozen=True)
class Promises:
    """Options of an ensemble; what is None is as the members were trained, where all were trained alike.

    Args:
        coverage: The share of samples whose set of classes contains the true one.
        coverage_by_class: Whether that holds for each true class on its own.
        referral_risk: The largest share of wrong decisions among samples that are not referred to a human.
    """

    coverage: float | None = None
    coverage_by_class: bool = False
    referral_risk: float | None = None

    def list_asked(self) -> list[str]:
        """Returns the options that were given and need samples that the members have not seen."""
        given = {"--coverage": self.coverage, "--referral-risk": self.referral_risk}
        return [name for name, value in given.items() if value is not None]

    def complete(self, members: Sequence[MemberRun]) -> TrainConfig:
        """Returns the configuration of the members with what the ensemble promises; checks that they can promise it.

        Args:
            members: The members.
        """
        require_coverage(self.coverage, self.coverage_by_class)
        sets = find_agreed([(one.config.coverage, one.config.coverage_by_class) for one in members]) or (None, False)
        if self.coverage is not None:
            sets = (self.coverage, self.coverage_by_class)
        risk = self.referral_risk
        if risk is None:
            risk = find_agreed([one.config.referral_risk for one in members])
        promised = {"coverage": sets[0], "coverage_by_class": sets[1], "referral_risk": risk}
        config = members[0].config.model_copy(update=promised)
        require_promises(config, members[0].signature.get_task())
        return config


def find_agreed(values: Sequence[Value]) -> Value | None:
    """Returns the value that all members have; None where they differ."""
    return values[0] if all(value == values[0] for value in values) else None
