"""Rules for the epoch of a run that is kept and for early stopping; both depend on its history alone."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keras_lnn.config import CompleteConfig


# Marks in the history an epoch whose weights were damaged on disk, so that it can no longer be kept.
LOST = "weights_lost"


def find_best(history: list[dict[str, float]], monitor: str) -> tuple[int, float]:
    """Returns the best epoch and its value: the smallest loss or the largest other value, the earliest of equals.

    An epoch whose value is NaN is never the best one. If all values are NaN, the last epoch is returned, because it was
    trained longest.
    """
    best, epoch = min(_ranked(history, monitor))
    if math.isinf(best):
        epoch = int(history[-1]["epoch"])
    return epoch, _value(history, epoch, monitor)


@dataclasses.dataclass(frozen=True)
class Selection:
    """The rules by which a run keeps an epoch and stops.

    Args:
        monitor: The validation value that epochs are judged by.
        keep: ``best`` by that value, or ``last``.
        patience: Number of worse epochs after the best one before the run stops; 0 means never.
        margin: An epoch counts as worse if its value is worse than the best by at least this much.
    """

    monitor: str
    keep: str = "best"
    patience: int = 0
    margin: float = 0.0

    @classmethod
    def of(cls, config: CompleteConfig) -> Selection:
        """Returns the rules of a complete configuration."""
        return cls(config.monitor, config.keep, config.early_stopping, config.early_stopping_margin)

    def choose(self, history: list[dict[str, float]]) -> tuple[int, float]:
        """Returns the epoch that is kept, and its value."""
        if self.keep == "last":
            epoch = int(history[-1]["epoch"])
            return epoch, _value(history, epoch, self.monitor)
        return find_best(history, self.monitor)

    def stops(self, history: list[dict[str, float]]) -> bool:
        """Returns whether enough epochs after the best one were worse."""
        if not self.patience:
            return False
        ranked = _ranked(history, self.monitor)
        best, best_epoch = min(ranked)
        worse = [value for value, epoch in ranked if epoch > best_epoch and value - best >= self.margin]
        return len(worse) >= self.patience

    def describe(self, epoch: int, value: float = 0.0) -> str:
        """Returns a description of a kept epoch."""
        by_value = self.keep == "best" and math.isfinite(value)
        return f"epoch {epoch}, the {f'best by {self.monitor}' if by_value else 'last'}"

    def warn(self, history: list[dict[str, float]]) -> str:
        """Returns a warning if no epoch could be chosen, or an empty string."""
        if self.keep == "last":
            return ""
        if math.isfinite(find_best(history, self.monitor)[1]):
            lost = [int(row["epoch"]) for row in history if LOST in row]
            if not lost:
                return ""
            return (
                f"The file of the best model was damaged, so no epoch up to {max(lost)} could be kept; the best of the "
                "later ones is kept."
            )
        return (
            f"{self.monitor} is not a number in any of {len(history)} epochs, so no epoch could be chosen and the last "
            f"one is kept. An AUC needs validation images with and without a class: add some, or choose another "
            f"--monitor."
        )


def _ranked(history: list[dict[str, float]], monitor: str) -> list[tuple[float, int]]:
    sign = 1.0 if monitor.endswith("loss") else -1.0
    # A run that continues another one may have epochs in which its monitored value was not measured.
    values = [(row.get(monitor, math.nan), int(row["epoch"])) for row in history if LOST not in row]
    return [(sign * value if math.isfinite(value) else math.inf, epoch) for value, epoch in values]


def _value(history: list[dict[str, float]], epoch: int, monitor: str) -> float:
    return next(row.get(monitor, math.nan) for row in history if row["epoch"] == epoch)
