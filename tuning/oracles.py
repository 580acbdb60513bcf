"""KerasTuner's oracles, made to survive: one atomic file of state, trials that go on where they were, lost workers.

What KerasTuner 1.4.8 leaves open, and what is done about it here:

- it writes a file for each trial and one of state, in place and one after the other: a kill in between leaves halves
  that do not fit each other. Here all of it is one file, written whole or not at all;
- it saves a trial's end before it takes the trial from the ongoing ones, so that a kill in between repeats a finished
  trial. Here only trials without an end are repeated;
- it never saves the grid's own lists, so that a resumed grid goes wrong. Here they are part of the state;
- its Hyperband promotes only once a round has as many whole trials as places, so that failed ones stop it. Here a
  failed trial counts as thrown out;
- a worker that dies keeps its trial for ever. Here one that has not been heard of for a while loses it;
- an exception inside an oracle leaves its lock closed, and every other thread waits for ever. Here it is opened;
- three failures in a row raise inside a lock that is never opened again. Here the search stops and says why.
"""

from __future__ import annotations

import functools
import json
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus
from keras_tuner.oracles import (
    BayesianOptimizationOracle,
    GridSearchOracle,
    HyperbandOracle,
    RandomSearchOracle,
)
from keras_tuner.src.engine.oracle import LOCKS, THREADS  # there is no public way to them

from keras_lnn.errors import InputError
from keras_lnn.files.atomic import DAMAGED_FILE_ERRORS, write_json
from tuning.settings import Tuner

# Values that KerasTuner keeps beside those of the hyperparameters; the first two are ours, since its messages between
# machines have no room for why a trial failed and how long it took. They are taken out when a trial ends.
FAILURE, SECONDS = "tuner/failure", "tuner/seconds"
# Says in a trial that a chief deals out which search it is of.
SETTINGS = "tuner/settings"
PARENT, EPOCHS, BRACKET, ROUND = "tuner/trial_id", "tuner/epochs", "tuner/bracket", "tuner/round"

_LOST_AT_MOST = 3
_FIRST_AT_LEAST = 5
_OWN_STATE = ("lost", "seconds", "elapsed_seconds", "told_to_stop")


def locked(method: Callable[..., Any]) -> Callable[..., Any]:
    """One thread at a time, in KerasTuner's own lock, which its methods within do not ask for again."""

    @functools.wraps(method)
    def run(oracle: SafeOracle, *arguments: Any, **options: Any) -> Any:
        name = threading.current_thread().name
        if THREADS[oracle] == name:
            return method(oracle, *arguments, **options)
        with LOCKS[oracle]:
            THREADS[oracle] = name  # ty: ignore[invalid-assignment] KerasTuner names no type of its values
            try:
                return method(oracle, *arguments, **options)
            finally:
                THREADS[oracle] = None

    return run


class SafeOracle(keras_tuner.Oracle):
    """What all oracles of a search have in common; see the text of this module.

    The limits are attributes that :func:`make_oracle` sets: KerasTuner's constructors have no room for them.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.verbose = 0
        self.silence_seconds = math.inf
        self.max_total_epochs: int | None = None
        self.max_failures = 10
        self.elapsed_seconds = 0.0
        self.stopped_because = ""
        # Whether a worker was told that there is nothing more.
        self.told_to_stop = False
        self.settings = ""
        self._ended_before = 0
        # How often each trial has lost its worker, and when a worker was last heard of.
        self.lost: dict[str, int] = {}
        self._heard: dict[str, float] = {}
        # How long each trial's process took.
        self.seconds: dict[str, float] = {}

    @locked
    def create_trial(self, tuner_id: str) -> Trial:
        """A trial to run, or one that says to wait or to stop."""
        self._heard[tuner_id] = time.monotonic()
        self.stopped_because = self.stopped_because or self._spent()
        if self.stopped_because and tuner_id not in self.ongoing_trials:
            self.tuner_ids.discard(tuner_id)
            trial = Trial(self.hyperparameters.copy(), trial_id="", status=TrialStatus.STOPPED)
        else:
            trial = super().create_trial(tuner_id)
            if trial.status == TrialStatus.STOPPED and self.ongoing_trials:
                # Another worker may be lost, and its trial must find one that is still there.
                trial.status = TrialStatus.IDLE
                self.tuner_ids.add(tuner_id)
        self.told_to_stop = self.told_to_stop or trial.status == TrialStatus.STOPPED
        if trial.status == TrialStatus.RUNNING and self.settings:
            trial.hyperparameters.values[SETTINGS] = self.settings
        return trial

    @locked
    def update_trial(self, trial_id: str, metrics: dict[str, float], step: int = 0) -> Trial:
        """Takes the metrics of a trial, and saves them: a worker may repeat its next call only."""
        trial = self.trials[trial_id]
        if trial_id not in self.end_order:
            trial = super().update_trial(trial_id, metrics, step)
            self.save()
        return trial

    @locked
    def end_trial(self, trial: Trial) -> None:
        """Takes a result; a trial that has ended before, as when its worker was thought lost, stays as it was."""
        known = self.trials[trial.trial_id]
        if trial.trial_id in self.end_order:
            holders = [name for name, held in self.ongoing_trials.items() if held is known]
            for name in holders:
                self.ongoing_trials.pop(name)
            return
        values = trial.hyperparameters.values
        values.pop(SETTINGS, None)
        trial.message = values.pop(FAILURE, trial.message)
        self.seconds[trial.trial_id] = values.pop(SECONDS, math.nan)
        super().end_trial(trial)
        self._retry_queue = [name for name in self._retry_queue if name != trial.trial_id]
        if known.status == TrialStatus.FAILED and known.message is None:
            known.message = "the objective is not a number"
        self.save()

    @locked
    def get_trial(self, trial_id: str) -> Trial:
        """A trial; to ask for one that is running is its worker's way to say that it is alive."""
        for worker, trial in self.ongoing_trials.items():
            if trial.trial_id == trial_id:
                self._heard[worker] = time.monotonic()
        return super().get_trial(trial_id)

    @locked
    def forget_silent_workers(self) -> list[str]:
        """Takes the trials of workers that were not heard of for long, to give them to others; their names."""
        now = time.monotonic()
        silent = [name for name in self.tuner_ids if now - self._heard.get(name, 0.0) > self.silence_seconds]
        for worker in silent:
            self.tuner_ids.discard(worker)
            trial = self.ongoing_trials.pop(worker, None)
            if trial is not None:
                self._put_back(trial, lost=True)
        if silent:
            self.save()
        return silent

    @locked
    def give_back(self, tuner_id: str) -> None:
        """Puts back the trial of a worker that was interrupted through no fault of the trial."""
        trial = self.ongoing_trials.pop(tuner_id, None)
        if trial is not None:
            self._put_back(trial, lost=False)
            self.save()

    def running(self) -> dict[str, Trial]:
        """The trial that each worker is at."""
        return dict(self.ongoing_trials)

    def get_state(self) -> dict[str, Any]:
        """Everything, the trials too."""
        trials = {name: trial.get_state() for name, trial in self.trials.items()}
        return super().get_state() | {name: getattr(self, name) for name in _OWN_STATE} | {"trials": trials}

    def set_state(self, state: dict[str, Any]) -> None:
        """Everything, the trials too."""
        self.trials = {name: Trial.from_state(content) for name, content in state["trials"].items()}
        for name in _OWN_STATE:
            setattr(self, name, state[name])
        super().set_state(state)

    def save(self) -> None:
        """Writes one file, whole."""
        write_json(self._get_oracle_fname(), self.get_state())

    def reload(self, keep_ongoing: bool = False) -> None:
        """Reads the state; trials that had no end wait to be run again, in the order in which they began.

        Args:
            keep_ongoing: Whether workers on other machines may still be at the trials that were running.
        """
        path = Path(self._get_oracle_fname())
        try:
            self.set_state(json.loads(path.read_text(encoding="utf-8")))
        except DAMAGED_FILE_ERRORS as error:
            raise InputError(
                f"The state of a search must be whole. Received: {path} ({error}). Give another --search-dir."
            ) from None
        open_ended = [name for name in self.start_order if name not in self.end_order]
        self.ongoing_trials = {
            worker: trial
            for worker, trial in self.ongoing_trials.items()
            if keep_ongoing and trial.trial_id in open_ended
        }
        held = {trial.trial_id for trial in self.ongoing_trials.values()}
        self._retry_queue = [name for name in reversed(open_ended) if name not in held]
        self.tuner_ids = set(self.ongoing_trials)
        self._heard = dict.fromkeys(self.tuner_ids, time.monotonic())
        self._ended_before = len(self.end_order)
        # More trials may be asked for than before.
        self.told_to_stop = self.told_to_stop and not open_ended and not self.remaining_trials()

    def _save_trial(self, trial: Trial) -> None:
        """The one file has it."""

    def _check_consecutive_failures(self) -> None:
        """See ``_spent``."""

    def _spent(self) -> str:
        """Why the search is to stop before all is tried, or nothing."""
        ended = [self.trials[name] for name in self.end_order]
        recent = ended[self._ended_before :][-self.max_failures :]  # what failed before may have been mended
        if len(recent) == self.max_failures and all(trial.status == TrialStatus.FAILED for trial in recent):
            return f"the last {self.max_failures} trials failed, the last one because it {recent[-1].message}"
        epochs = sum(int(trial.metrics.get_last_value("epochs")) for trial in ended if trial.metrics.exists("epochs"))
        if self.max_total_epochs is not None and epochs >= self.max_total_epochs:
            return f"{epochs:,} epochs are trained, and --max-total-epochs is {self.max_total_epochs:,}"
        return ""

    def _put_back(self, trial: Trial, lost: bool) -> None:
        self.lost[trial.trial_id] = self.lost.get(trial.trial_id, 0) + lost
        if self.lost[trial.trial_id] < _LOST_AT_MOST:
            self._retry_queue.append(trial.trial_id)
            return
        trial.status = TrialStatus.FAILED
        trial.message = f"its worker was lost {_LOST_AT_MOST} times"
        self.end_order.append(trial.trial_id)


class SafeRandom(SafeOracle, RandomSearchOracle):
    """Random values."""


class SafeBayesian(SafeOracle, BayesianOptimizationOracle):
    """Values where a Gaussian process expects the most."""


class SafeGrid(SafeOracle, GridSearchOracle):
    """Every combination."""

    def get_state(self) -> dict[str, Any]:
        """With the order of the combinations, which KerasTuner forgets."""
        links = self._ordered_ids
        order = [links._memory, list(links._next_index.items()), links._last_index]
        return super().get_state() | {"grid": [order, self._populate_next]}

    def set_state(self, state: dict[str, Any]) -> None:
        """With the order of the combinations."""
        super().set_state(state)
        (memory, following, last), self._populate_next = state["grid"]
        links = self._ordered_ids
        links._memory, links._last_index = memory, last
        links._data_to_index = {name: place for place, name in enumerate(memory)}
        links._next_index.clear()
        links._next_index.update(following)
        # The end of a trial is saved before the grid goes on from it; what it has gone on from it passes over.
        self._populate_next += [name for name in self.end_order if name not in self._populate_next]

    def _put_back(self, trial: Trial, lost: bool) -> None:
        super()._put_back(trial, lost)
        if trial.trial_id in self.end_order:
            self._populate_next.append(trial.trial_id)


class SafeHyperband(SafeOracle, HyperbandOracle):
    """Many trials of few epochs, of which the best go on."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """A place in the first bracket that has one: for new random values, or for the best of the round before."""
        self._remove_completed_brackets()
        for bracket in self._brackets:
            number, rounds = bracket["bracket_num"], bracket["rounds"]
            if len(rounds[0]) < self._get_size(number, 0) and not bracket.get("exhausted"):
                found = self._random_trial(trial_id, bracket)
                if found["status"] == TrialStatus.RUNNING:
                    found["values"][BRACKET] = number
                    return found
                bracket["exhausted"] = True  # there are no new values: what there is goes on
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
        """The best trial that may go on, and to which round."""
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
            # Once more have ended than are to be thrown out, the best of them is surely among those that go on.
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
    """KerasTuner's oracle of a kind.

    Args:
        tuner: Which.
        objective: A validation value; losses are made small, anything else large.
        hyperparameters: What to choose from.
        seed: Of the choices.
        max_trials: At most so many.
        epochs: Of the longest trial, for Hyperband.
        factor: Of Hyperband: one in so many goes on, for so many times the epochs.
    """
    direction = "min" if objective.endswith("loss") else "max"
    options: dict[str, Any] = {
        "objective": keras_tuner.Objective(objective, direction),
        "hyperparameters": hyperparameters,
        "seed": seed + 1,  # KerasTuner takes 0 for none
        "allow_new_entries": False,
        "tune_new_entries": False,
    }
    if tuner == "hyperband":
        oracle = SafeHyperband(max_epochs=epochs, factor=factor, **options)
        oracle.max_trials = max_trials
        return oracle
    if tuner == "bayesian":
        # KerasTuner's own number, three times the dimensions, is a whole search of random values.
        options["num_initial_points"] = max(_FIRST_AT_LEAST, (max_trials or 0) // 4)
    return _ORACLES[tuner](max_trials=max_trials, **options)
