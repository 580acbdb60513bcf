"""Optuna's sampler as one more oracle: the search, its state and its workers are those of all oracles.

The trials are in the one file of state that every oracle has. Optuna is given them anew for each choice, in memory:
a storage of its own beside that file would be a second record, which a kill between two writes leaves in disagreement
with the first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import optuna
from keras_tuner.engine import hyperparameters as kinds
from keras_tuner.engine.trial import Trial, TrialStatus
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from tuning.safe_oracle import PRUNED_STATUS, SafeOracle

HyperParameter = kinds.Choice | kinds.Int | kinds.Float  # what a space consists of
# A quotient of floats such as 0.6 / 0.2 is slightly below the whole number of steps.
_ROUNDING = 1e-9

# The sampler ranks pruned trials below whole ones, by how many epochs they had and then by their last value. A failed
# trial becomes a pruned one without a value, which it ranks below all others: it passes over trials that Optuna itself
# calls failed, and would choose what fails again and again.
_STATES = {
    TrialStatus.COMPLETED: optuna.trial.TrialState.COMPLETE,
    TrialStatus.FAILED: optuna.trial.TrialState.PRUNED,
    PRUNED_STATUS: optuna.trial.TrialState.PRUNED,
    TrialStatus.RUNNING: optuna.trial.TrialState.RUNNING,
}


class SafeTPE(SafeOracle):
    """Chooses values that are likelier among the best trials so far than among the others.

    This is Optuna's tree-structured Parzen estimator, of all hyperparameters together. Trials that are still running
    count as bad ones, so that workers do not choose the same values at a time.

    Args:
        num_initial_points: Number of ended trials before which values are random.
        options: Those of all oracles.
    """

    def __init__(self, *, num_initial_points: int, **options: Any) -> None:
        super().__init__(**options)
        self.num_initial_points = num_initial_points

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns values that no trial has had, or stops where there are none."""
        values = self._choose() if len(self.end_order) >= self.num_initial_points else None
        values = values or self._random_values()
        return {"status": TrialStatus.STOPPED if values is None else TrialStatus.RUNNING, "values": values}

    def _choose(self) -> dict[str, Any] | None:
        """Returns the sampler's choice, or None if it only chooses values that trials have had."""
        space = {entry.name: entry for entry in self.hyperparameters.space}
        distributions = {name: make_distribution(entry) for name, entry in space.items()}
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # it would print a line per study
        study = optuna.create_study(direction="maximize" if self.objective.direction == "max" else "minimize")
        study.add_trials([self._describe(self.trials[name], space, distributions) for name in self.start_order])
        for _ in range(self._max_collisions):
            # The seed is part of the state, so that a resumed search chooses as one that was never stopped.
            study.sampler = optuna.samplers.TPESampler(
                n_startup_trials=0, multivariate=True, constant_liar=True, seed=self._seed_state
            )
            self._seed_state += 1
            chosen = study.ask(distributions).params
            values = {name: decode(entry, chosen[name]) for name, entry in space.items()}
            if not self._duplicate(values):
                return values
        return None

    def _describe(
        self, trial: Trial, space: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]
    ) -> optuna.trial.FrozenTrial:
        state = _STATES[trial.status]
        values = trial.hyperparameters.values
        curve = self.curves.get(trial.trial_id, []) if trial.status == PRUNED_STATUS else []
        reached = [math.nan if value is None else value for run in curve for value in run]
        return optuna.trial.create_trial(
            state=state,
            params={name: encode(entry, values[name]) for name, entry in space.items()},
            distributions=dict(distributions),
            value=trial.score if state == optuna.trial.TrialState.COMPLETE else None,
            intermediate_values=dict(enumerate(reached, start=1)),
        )


def make_distribution(entry: HyperParameter) -> BaseDistribution:
    """Returns Optuna's description of a hyperparameter; choices of numbers and steps are places in their order."""
    if isinstance(entry, kinds.Choice):
        return IntDistribution(0, len(entry.values) - 1) if entry.ordered else CategoricalDistribution(entry.values)
    if entry.step is not None:
        return IntDistribution(0, int((entry.max_value - entry.min_value) / entry.step + _ROUNDING))
    kind = IntDistribution if isinstance(entry, kinds.Int) else FloatDistribution
    return kind(entry.min_value, entry.max_value, log=entry.sampling == "log")


def encode(entry: HyperParameter, value: Any) -> Any:
    """Returns a value as Optuna has it."""
    if isinstance(entry, kinds.Choice):
        return list(entry.values).index(value) if entry.ordered else value
    return value if entry.step is None else round((value - entry.min_value) / entry.step)


def decode(entry: HyperParameter, value: Any) -> Any:
    """Returns a value from Optuna's."""
    if isinstance(entry, kinds.Choice):
        return entry.values[value] if entry.ordered else value
    return value if entry.step is None else entry.min_value + value * entry.step
