"""Pruning: a trial that is clearly worse than others after as many epochs ends early.

A trial gets the cutoffs when it begins: the value that it must reach after each epoch of each of its runs, from the
curves of the trials that have ended. Its process compares its own curve with them and needs to ask nobody, so that
pruning is the same on this machine, on a cluster and on a chief's workers. With one trial at a time no other trial can
end meanwhile, so that these are the decisions of a pruner that is asked after each epoch.

A curve holds, for each run, the value that the trial would have if its newest run ended after that epoch: the mean of
the runs before, which have ended, and of the newest one. So trials of several seeds or folds are compared after equally
many runs.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Callable, Sequence
from typing import Literal

from keras_lnn.config import TrainConfig
from keras_lnn.runs.selection import Selection

Prune = Literal["none", "median", "halving"]
# The value after each epoch, for each run; None where it is not a number.
Curve = list[list[float | None]]
# The worst value with which a trial goes on after each epoch, for each run; None where no trial is pruned.
Cutoffs = list[list[float | None]]
History = list[dict[str, float]]

# The reason for which a run ended begins so.
PRUNED = "pruned"
# As in Optuna, the median rule waits for this many whole trials.
_FEWEST_WHOLE_TRIALS = 5
# It prunes no trial before this share of the epochs of its first run, which say little.
_WARM_UP = 1 / 3


@dataclasses.dataclass(frozen=True)
class Pruner:
    """The rule by which trials are pruned.

    Args:
        rule: ``median`` as Optuna's ``MedianPruner``: worse than the median of the whole trials; ``halving`` as its
            ``SuccessiveHalvingPruner``: not in the best ``1 / factor`` of all trials at 1 / ``factor``,
            1 / ``factor``², ... of all epochs.
        largest_first: Whether large values are good.
        runs: Number of runs of a trial.
        epochs: Number of epochs of each run.
        factor: Of ``halving``.
    """

    rule: Prune
    largest_first: bool
    runs: int
    epochs: int
    factor: int = 3

    def make_cutoffs(self, whole: Sequence[Curve], pruned: Sequence[Curve]) -> Cutoffs:
        """Returns the cutoffs of a trial that begins.

        Args:
            whole: Curves of the trials that were trained to their end.
            pruned: Curves of those that were pruned.
        """
        cutoffs: Cutoffs = [[None] * self.epochs for _ in range(self.runs)]
        for run, epoch in self._steps():
            # A run that stopped early keeps its value.
            reached = [curve[run][min(epoch, len(curve[run])) - 1] for curve in whole if len(curve) > run]
            if self.rule == "halving":
                reached += [curve[run][epoch - 1] for curve in pruned if len(curve) > run and len(curve[run]) >= epoch]
            values = [value for value in reached if value is not None]
            cutoffs[run][epoch - 1] = self._find_cutoff(values)
        return cutoffs

    def _steps(self) -> list[tuple[int, int]]:
        """Returns the run and the epoch of each step after which a trial may be pruned; after the last one it ends."""
        total = self.runs * self.epochs
        if self.rule == "median":
            steps = list(range(max(1, math.ceil(self.epochs * _WARM_UP)), total))
        else:
            rungs = range(1, int(math.log(total, self.factor) + 1e-9) + 1)
            steps = sorted({-(-total // self.factor**rung) for rung in rungs} - {total})
        return [((step - 1) // self.epochs, (step - 1) % self.epochs + 1) for step in steps]

    def _find_cutoff(self, values: Sequence[float]) -> float | None:
        if self.rule == "median":
            return statistics.median(values) if len(values) >= _FEWEST_WHOLE_TRIALS else None
        if not values:
            return None
        places = max((len(values) + 1) // self.factor, 1)
        return sorted(values, reverse=self.largest_first)[places - 1]


class TrialPruning:
    """Compares a trial with its cutoffs while its runs are trained one after the other.

    Args:
        cutoffs: The cutoffs of the trial.
        runs: Number of its runs.
    """

    def __init__(self, cutoffs: Cutoffs, runs: int) -> None:
        self.cutoffs = cutoffs
        self.runs = runs
        self.curve: Curve = []
        self.pruned = False
        self._values: list[float] = []

    def make_rule(self, config: TrainConfig) -> Callable[[History], str]:
        """Returns the rule by which the next run stops: called with its history, it returns the reason or nothing."""
        monitor, number = str(config.monitor), len(self.curve)
        selection = Selection(monitor, config.keep or "best")
        sign = -1.0 if monitor.endswith("loss") else 1.0

        def find_reason(history: History) -> str:
            epoch, cutoffs = len(history), self.cutoffs[number]
            cutoff = cutoffs[epoch - 1] if epoch <= len(cutoffs) else None
            value = self._value_after(selection, history)
            # After its last epoch a trial is complete: nothing would be saved.
            is_complete = number + 1 == self.runs and epoch == config.epochs
            if cutoff is None or is_complete or not sign * value < sign * cutoff:
                return ""
            return f"{PRUNED}: {monitor} {value:.4f} is worse than {cutoff:.4f}, the cutoff by other trials"

        return find_reason

    def end_run(self, selection: Selection, history: History, stopped_because: str) -> bool:
        """Adds a run to the curve, and returns whether the trial ended with it because it was pruned."""
        values = [self._value_after(selection, history[:epoch]) for epoch in range(1, len(history) + 1)]
        self.curve.append([value if math.isfinite(value) else None for value in values])
        self._values.append(selection.choose(history)[1])
        self.pruned = stopped_because.startswith(PRUNED)
        return self.pruned

    def _value_after(self, selection: Selection, history: History) -> float:
        """Returns the value that the trial would have if its newest run ended with this history."""
        return statistics.fmean([*self._values, selection.choose(history)[1]])
