"""The oracles, which choose the values of trials, each on the robust base of ``safe_oracle.py``.

Optuna's is in ``optuna_oracle.py``, which is imported only for a search that uses it; the others are KerasTuner's. Two
of those have shortcomings of their own in KerasTuner 1.4.8, with these remedies here:

- the grid never saves its own lists, so that a resumed grid goes wrong. Here they are part of the state;
- Hyperband promotes only once a round has as many completed trials as places, so that failed ones stop it. Here a
  failed trial counts as eliminated.
"""

from __future__ import annotations

from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus
from keras_tuner.oracles import BayesianOptimizationOracle, GridSearchOracle, HyperbandOracle, RandomSearchOracle

from tuning.safe_oracle import BRACKET, EPOCHS, PARENT, ROUND, SafeOracle
from tuning.settings import Tuner

_FIRST_AT_LEAST = 5
# KerasTuner counts its seed up by one for each value that it draws, so that searches of neighbouring seeds would try
# the same values, moved by some trials.
_SEED_STEP, _SEEDS = 100_003, 2**32 - 1


class SafeRandom(SafeOracle, RandomSearchOracle):
    """Chooses random values."""


class SafeBayesian(SafeOracle, BayesianOptimizationOracle):
    """Chooses values where a Gaussian process expects the largest improvement."""


class SafeGrid(SafeOracle, GridSearchOracle):
    """Tries every combination."""

    def get_state(self) -> dict[str, Any]:
        """Returns the state with the order of the combinations, which KerasTuner does not save."""
        links = self._ordered_ids
        order = [links._memory, list(links._next_index.items()), links._last_index]
        return super().get_state() | {"grid": [order, self._populate_next]}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores the state with the order of the combinations."""
        super().set_state(state)
        (memory, following, last), self._populate_next = state["grid"]
        links = self._ordered_ids
        links._memory, links._last_index = memory, last
        links._data_to_index = {name: place for place, name in enumerate(memory)}
        links._next_index.clear()
        links._next_index.update(following)
        # A trial's end is saved before the grid continues from it; trials it has already continued from are skipped.
        self._populate_next += [name for name in self.end_order if name not in self._populate_next]

    def _put_back(self, trial: Trial, lost: bool) -> None:
        super()._put_back(trial, lost)
        if trial.trial_id in self.end_order:
            self._populate_next.append(trial.trial_id)


class SafeHyperband(SafeOracle, HyperbandOracle):
    """Starts many trials of few epochs, the best of which continue."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Fills a place in the first bracket that has one, with new random values or the best of the previous round."""
        self._remove_completed_brackets()
        for bracket in self._brackets:
            number, rounds = bracket["bracket_num"], bracket["rounds"]
            if len(rounds[0]) < self._get_size(number, 0) and not bracket.get("exhausted"):
                found = self._random_trial(trial_id, bracket)
                if found["status"] == TrialStatus.RUNNING:
                    found["values"][BRACKET] = number
                    return found
                bracket["exhausted"] = True  # there are no new values, so the existing trials continue
            best, place = self._find_promotion(bracket)
            if best is not None:
                rounds[place].append({"past_id": best.trial_id, "id": trial_id})
                values = best.hyperparameters.values | {
                    PARENT: best.trial_id,
                    EPOCHS: self._get_epochs(number, place),
                    "tuner/initial_epoch": self._get_epochs(number, place - 1),
                    BRACKET: number,
                    ROUND: place,
                }
                return {"status": TrialStatus.RUNNING, "values": values}
        if self._current_bracket == 0 and self._current_iteration + 1 == self.hyperband_iterations:
            return {"status": TrialStatus.IDLE if self.ongoing_trials else TrialStatus.STOPPED}
        self._increment_bracket_num()
        self._start_new_bracket()
        return self.populate_space(trial_id)

    def _find_promotion(self, bracket: dict[str, Any]) -> tuple[Trial | None, int]:
        """Returns the best trial that may continue, and the number of its next round; None if there is none."""
        number, rounds = bracket["bracket_num"], bracket["rounds"]
        largest_first = self.objective.direction == "max"
        expected = len(rounds[0]) if bracket.get("exhausted") else self._get_size(number, 0)
        for place in range(1, len(rounds)):
            gone_on = {entry["past_id"] for entry in rounds[place]}
            before = [self.trials[entry["id"]] for entry in rounds[place - 1] if entry["id"] in self.end_order]
            failed = sum(trial.status == TrialStatus.FAILED for trial in before)
            whole = [
                trial for trial in before if trial.status == TrialStatus.COMPLETED and trial.trial_id not in gone_on
            ]
            # Once more trials have ended than are to be eliminated, the best of them is certain to be promoted.
            thrown_out = max(0, expected - self._get_size(number, place))
            expected = min(self._get_size(number, place), expected - failed)
            if whole and len(whole) + failed > thrown_out and len(gone_on) < expected:
                return sorted(whole, key=lambda trial: trial.score, reverse=largest_first)[0], place
        return None, 0


_ORACLES: dict[str, type[SafeOracle]] = {
    "random": SafeRandom,
    "bayesian": SafeBayesian,
    "grid": SafeGrid,
    "hyperband": SafeHyperband,
}


def make_oracle(
    tuner: Tuner,
    *,
    objective: str,
    hyperparameters: keras_tuner.HyperParameters,
    seed: int,
    max_trials: int | None,
    epochs: int,
    factor: int,
) -> SafeOracle:
    """Returns the oracle of a kind.

    Args:
        tuner: Name of the kind.
        objective: A validation value; losses are minimised, anything else is maximised.
        hyperparameters: The search space.
        seed: Seed of the choices.
        max_trials: Largest number of trials.
        epochs: For Hyperband, the epochs of the longest trial.
        factor: For Hyperband, the share 1 / ``factor`` of trials that continues, for ``factor`` times the epochs.
    """
    direction = "min" if objective.endswith("loss") else "max"
    options: dict[str, Any] = {
        "objective": keras_tuner.Objective(objective, direction),
        "hyperparameters": hyperparameters,
        "seed": 1 + seed * _SEED_STEP % _SEEDS,  # KerasTuner treats 0 as no seed
        "allow_new_entries": False,
        "tune_new_entries": False,
    }
    if tuner == "hyperband":
        oracle = SafeHyperband(max_epochs=epochs, factor=factor, **options)
        oracle.max_trials = max_trials
        return oracle
    if tuner in ("bayesian", "tpe"):
        # KerasTuner's default, three times the number of dimensions, would make a whole search random.
        options["num_initial_points"] = max(_FIRST_AT_LEAST, (max_trials or 0) // 4)
    if tuner == "tpe":
        from tuning.optuna_oracle import SafeTPE

        return SafeTPE(max_trials=max_trials, **options)
    return _ORACLES[tuner](max_trials=max_trials, **options)
