"""The base of all oracles: one atomic file of state, resumable trials, and tolerance for lost workers.

The shortcomings of KerasTuner 1.4.8 and their remedies here:

- it writes one file per trial and one of state, in place and one after the other: a kill in between leaves files that
  do not fit each other. Here all state is in one file, which is written atomically;
- it saves a trial's end before it removes the trial from the ongoing ones, so that a kill in between repeats a finished
  trial. Here only trials without an end are repeated;
- a worker that dies keeps its trial for ever. Here a worker that has been silent for a while loses it;
- an exception inside an oracle leaves its lock closed, and every other thread waits for ever. Here it is opened;
- three failures in a row raise inside a lock that is never opened again. Here the search stops and reports why.
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
from keras_tuner.src.engine.oracle import LOCKS, THREADS  # there is no public access to them

from keras_lnn.errors import InputError
from keras_lnn.files.atomic import DAMAGED_FILE_ERRORS, write_json
from tuning.pruning import Curve, Cutoffs, Pruner

# Values that KerasTuner keeps beside those of the hyperparameters. The first two are ours, since its messages between
# machines have no field for the reason of a failure or the duration; they are removed when a trial ends.
FAILURE, SECONDS = "tuner/failure", "tuner/seconds"
# In a trial that a chief hands out, identifies the search.
SETTINGS = "tuner/settings"
# In a trial that is handed out, the cutoffs by which it is pruned, and in one that ends its curve and whether it was
# pruned: as JSON, since messages between machines have no other fields.
CUTOFFS, CURVE, WAS_PRUNED = "tuner/cutoffs", "tuner/curve", "tuner/pruned"
# The status of a pruned trial, which KerasTuner has no word for: it has ended, and has no score.
PRUNED_STATUS = "PRUNED"
# Beginning of the names of the metrics of a trial that are the objective in each of its folds, such as fold_2.
FOLD_SCORE = "fold_"
PARENT, EPOCHS, BRACKET, ROUND = "tuner/trial_id", "tuner/epochs", "tuner/bracket", "tuner/round"

_LOST_AT_MOST = 3
_OWN_STATE = ("lost", "seconds", "elapsed_seconds", "told_to_stop")


def locked(method: Callable[..., Any]) -> Callable[..., Any]:
    """Runs a method in KerasTuner's own lock, one thread at a time; methods called within it do not lock again."""

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
    """The common base of all oracles of a search; see the docstring of this module.

    The limits are attributes, because KerasTuner's constructors have no arguments for them.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.verbose = 0
        self.silence_seconds = math.inf
        self.max_total_epochs: int | None = None
        self.max_failures = 10
        self.elapsed_seconds = 0.0
        self.stopped_because = ""
        # Whether a worker has received the reply that there are no more trials.
        self.told_to_stop = False
        self.settings = ""
        self._ended_before = 0
        # How often each trial has lost its worker, and when each worker last made contact.
        self.lost: dict[str, int] = {}
        self._heard: dict[str, float] = {}
        # Duration of each trial's process.
        self.seconds: dict[str, float] = {}
        # The rule by which trials are pruned, and the curve of each trial that has ended, if there is a rule.
        self.pruner: Pruner | None = None
        self.curves: dict[str, Curve] = {}

    @locked
    def create_trial(self, tuner_id: str) -> Trial:
        """Returns a trial to run, or one whose status says to wait or to stop."""
        self._heard[tuner_id] = time.monotonic()
        self.stopped_because = self.stopped_because or self._spent()
        if self.stopped_because and tuner_id not in self.ongoing_trials:
            self.tuner_ids.discard(tuner_id)
            trial = Trial(self.hyperparameters.copy(), trial_id="", status=TrialStatus.STOPPED)
        else:
            trial = super().create_trial(tuner_id)
            if trial.status == TrialStatus.STOPPED and self.ongoing_trials:
                # Another worker may be lost, and its trial then needs a worker that is still there.
                trial.status = TrialStatus.IDLE
                self.tuner_ids.add(tuner_id)
        self.told_to_stop = self.told_to_stop or trial.status == TrialStatus.STOPPED
        if trial.status == TrialStatus.RUNNING:
            values = trial.hyperparameters.values
            values |= {SETTINGS: self.settings} if self.settings else {}
            values |= {CUTOFFS: json.dumps(self._make_cutoffs(self.pruner))} if self.pruner else {}
        return trial

    @locked
    def update_trial(self, trial_id: str, metrics: dict[str, float], step: int = 0) -> Trial:
        """Records the metrics of a trial and saves them at once, because a worker may repeat only its next call."""
        trial = self.trials[trial_id]
        if trial_id not in self.end_order:
            trial = super().update_trial(trial_id, metrics, step)
            self.save()
        return trial

    @locked
    def end_trial(self, trial: Trial) -> None:
        """Records a result; a trial that has ended before, as when its worker was thought lost, is left unchanged."""
        known = self.trials[trial.trial_id]
        if trial.trial_id in self.end_order:
            holders = [name for name, held in self.ongoing_trials.items() if held is known]
            for name in holders:
                self.ongoing_trials.pop(name)
            return
        values = trial.hyperparameters.values
        for name in (SETTINGS, CUTOFFS):
            values.pop(name, None)
        if CURVE in values:
            self.curves[trial.trial_id] = json.loads(values.pop(CURVE))
        if values.pop(WAS_PRUNED, False):
            trial.status = PRUNED_STATUS
        trial.message = values.pop(FAILURE, trial.message)
        self.seconds[trial.trial_id] = values.pop(SECONDS, math.nan)
        super().end_trial(trial)
        self._retry_queue = [name for name in self._retry_queue if name != trial.trial_id]
        if known.status == TrialStatus.FAILED and known.message is None:
            known.message = "the objective is not a number"
        self.save()

    @locked
    def get_trial(self, trial_id: str) -> Trial:
        """Returns a trial; asking for a running trial is how its worker shows that it is alive."""
        for worker, trial in self.ongoing_trials.items():
            if trial.trial_id == trial_id:
                self._heard[worker] = time.monotonic()
        return super().get_trial(trial_id)

    @locked
    def forget_silent_workers(self) -> list[str]:
        """Puts the trials of workers that were silent too long back into the queue, and returns the workers' names."""
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
        """Returns the trial that each worker is running."""
        return dict(self.ongoing_trials)

    def get_state(self) -> dict[str, Any]:
        """Returns the whole state, including the trials."""
        trials = {name: trial.get_state() for name, trial in self.trials.items()}
        own: dict[str, Any] = {name: getattr(self, name) for name in _OWN_STATE}
        own |= {"curves": self.curves} if self.pruner else {}
        # KerasTuner lists a set, whose order differs between processes: equal searches have equal files.
        return super().get_state() | own | {"tried_so_far": sorted(self._tried_so_far), "trials": trials}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores the whole state, including the trials."""
        self.trials = {name: Trial.from_state(content) for name, content in state["trials"].items()}
        for name in _OWN_STATE:
            setattr(self, name, state[name])
        self.curves = state.get("curves", {})
        super().set_state(state)

    def save(self) -> None:
        """Writes the state as one file, atomically."""
        write_json(self._get_oracle_fname(), self.get_state())

    def reload(self, keep_ongoing: bool = False) -> None:
        """Reads the state; trials that have not ended are queued again, in the order in which they began.

        Args:
            keep_ongoing: Whether workers on other machines may still be running the ongoing trials.
        """
        path = Path(self._get_oracle_fname())
        try:
            self.set_state(json.loads(path.read_text(encoding="utf-8")))
        except DAMAGED_FILE_ERRORS as error:
            raise InputError(
                f"The state of a search must be undamaged. Received: {path} ({error}). Give another --search-dir."
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
        # The limit on trials may be higher than before.
        self.told_to_stop = self.told_to_stop and not open_ended and not self.remaining_trials()

    def _make_cutoffs(self, pruner: Pruner) -> Cutoffs:
        """Returns the cutoffs of a trial that begins now."""
        found: dict[str, list[Curve]] = {TrialStatus.COMPLETED: [], PRUNED_STATUS: []}
        for name in self.end_order:
            if name in self.curves and self.trials[name].status in found:
                found[self.trials[name].status].append(self.curves[name])
        return pruner.make_cutoffs(found[TrialStatus.COMPLETED], found[PRUNED_STATUS])

    def _save_trial(self, trial: Trial) -> None:
        """Does nothing, since the one file of state holds the trials."""

    def _check_consecutive_failures(self) -> None:
        """Does nothing, since ``_spent`` checks for consecutive failures."""

    def _spent(self) -> str:
        """Returns why the search must stop before all trials were run, or an empty string."""
        ended = [self.trials[name] for name in self.end_order]
        recent = ended[self._ended_before :][-self.max_failures :]  # earlier causes may have been removed
        if len(recent) == self.max_failures and all(trial.status == TrialStatus.FAILED for trial in recent):
            return f"the last {self.max_failures} trials failed, the last one because it {recent[-1].message}"
        epochs = sum(int(trial.metrics.get_last_value("epochs")) for trial in ended if trial.metrics.exists("epochs"))
        if self.max_total_epochs is not None and epochs >= self.max_total_epochs:
            return f"{epochs:,} epochs were trained, and --max-total-epochs is {self.max_total_epochs:,}"
        return ""

    def _put_back(self, trial: Trial, lost: bool) -> None:
        self.lost[trial.trial_id] = self.lost.get(trial.trial_id, 0) + lost
        if self.lost[trial.trial_id] < _LOST_AT_MOST:
            self._retry_queue.append(trial.trial_id)
            return
        trial.status = TrialStatus.FAILED
        trial.message = f"its worker was lost {_LOST_AT_MOST} times"
        self.end_order.append(trial.trial_id)
