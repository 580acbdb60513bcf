"""KerasTuner's tuner for trials that run in separate processes, on this machine and on others."""

from __future__ import annotations

import contextlib
import json
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.engine.trial import Trial, TrialStatus

from keras_lnn.config import TrainConfig
from keras_lnn.errors import InputError
from keras_lnn.fields.values import parse_duration, parse_fold
from keras_lnn.processes.pool import Job, NoJob, Resource
from keras_lnn.processes.runner import Outcome
from tuning.safe_oracle import (
    CURVE,
    CUTOFFS,
    EPOCHS,
    FAILURE,
    FOLD_SCORE,
    PARENT,
    SECONDS,
    SETTINGS,
    WAS_PRUNED,
    SafeOracle,
)
from tuning.space import Space

_WAIT_SECONDS = 0.3
_HEARTBEAT_SECONDS = 3.0
_CHIEF_AWAY_SECONDS = 1800.0
_ANSWER_SECONDS = 10.0


class ProcessTuner(BaseTuner):
    """Supplies the trials of a search to the pool of workers, as one job each.

    Args:
        oracle: Chooses the values; a worker of a distributed search uses its chief's instead.
        config: Complete configuration of all trials.
        space: The search space.
        folder: Folder of the search.
        seeds: Seeds of each trial's runs.
        folds: Number of folds, each of which has a run for each seed; None for a single run for each seed.
        settings: Identifies the search; a chief and its workers must have the same value.
        ended: Called with each trial that has ended here, and its outcome.
    """

    def __init__(
        self,
        oracle: SafeOracle,
        config: TrainConfig,
        space: Space,
        folder: Path,
        *,
        seeds: list[int],
        folds: int | None = None,
        settings: str = "",
        ended: Callable[[Trial, Outcome], None] = lambda trial, outcome: None,
    ) -> None:
        super().__init__(oracle, directory=str(folder.parent), project_name=folder.name)
        self.config = config
        self.space = space
        self.folder = folder
        self.seeds = seeds
        self.folds = folds
        self.settings = settings
        self.ended = ended
        self.stop = threading.Event()
        self._hearts: dict[str, threading.Event] = {}
        if not isinstance(self.oracle, SafeOracle):
            from keras_tuner.src.distribute import oracle_client

            # The default is an hour, in which nothing can stop a worker.
            oracle_client.TIMEOUT = _ANSWER_SECONDS  # ty: ignore[invalid-assignment] a whole number there

    def save(self) -> None:
        """Does nothing: the oracle saves itself, and there is no other state."""

    def trial_folder(self, trial_id: str) -> Path:
        """Returns the folder of a trial's runs and its log."""
        return self.folder / f"trial_{trial_id}"

    def run_parts(self) -> list[tuple[int, str | None]]:
        """Returns the seed and the fold, such as ``2/5``, of each run of a trial; None as fold without folds."""
        count = self.folds
        folds = [None] if count is None else [f"{number}/{count}" for number in range(1, count + 1)]
        return [(seed, fold) for seed in self.seeds for fold in folds]

    def run_folders(self, trial_id: str) -> list[Path]:
        """Returns the folder of each run of a trial: ``seed-N``, or ``seed-N/fold-K`` with folds."""
        folder = self.trial_folder(trial_id)
        return [
            folder / f"seed-{seed}" / ("" if fold is None else f"fold-{parse_fold(fold)[0]}")
            for seed, fold in self.run_parts()
        ]

    def load_model(self, trial: Trial) -> Any:
        """Returns the best model of a trial's first run."""
        from keras_lnn.saved.predictor import load_model

        return load_model(self.run_folders(trial.trial_id)[0])

    def trial_config(self, trial: Trial) -> TrainConfig:
        """Returns the configuration of a trial, except for the seed, the fold and the folder of each run."""
        values = trial.hyperparameters.values
        stop_after = values.get(EPOCHS)
        fields = {"stop_after": stop_after if stop_after != self.config.epochs else None}
        return self.space.apply(self.config, values).model_copy(update=fields)

    def make_job(self, trial: Trial) -> Job:
        """Returns the job that trains the runs of a trial, one for each seed and fold."""
        config = self.trial_config(trial)
        folders = self.run_folders(trial.trial_id)
        parent = trial.hyperparameters.values.get(PARENT)
        return Job(
            name=f"trial {trial.trial_id}  {describe_values(trial, self.space)}",
            work="tuning.trial:run_trial",
            order={
                "config": config.model_dump(mode="json"),
                "seeds": [seed for seed, _ in self.run_parts()],
                "folds": [fold for _, fold in self.run_parts()],
                "folders": [str(folder) for folder in folders],
                "starts": None if parent is None else [str(folder) for folder in self.run_folders(parent)],
                "cutoffs": json.loads(trial.hyperparameters.values.get(CUTOFFS, "null")),
            },
            folder=self.trial_folder(trial.trial_id),
            item=trial,
            runs=tuple(folders),
            reads=() if parent is None else (self.trial_folder(parent),),
            epochs=config.stop_after or config.epochs,
            seconds=parse_duration(config.time_budget),
            monitor=self.oracle.objective.name,
        )

    def take(self, resource: Resource) -> Job | NoJob:
        """Returns the next trial of a worker; the oracle knows the worker by the name of its resource."""
        trial = self._ask(lambda: self.oracle.create_trial(resource.name))
        if trial is None or trial.status == TrialStatus.STOPPED:
            return NoJob.LEFT
        if trial.status == TrialStatus.IDLE:
            return NoJob.NOW
        self._require_same_search(trial)
        job = self.make_job(trial)
        lacking = [folder for folder in job.order["starts"] or [] if not Path(folder).is_dir()]
        if lacking:
            failure = f"continues {lacking[0]}, which does not exist here: share --search-dir among machines"
            self.finish(resource, job, Outcome(failure=failure))
            return NoJob.NOW
        self._hearts[resource.name] = self._start_heartbeat(trial)
        return job

    def finish(self, resource: Resource, job: Job, outcome: Outcome) -> None:
        """Passes the outcome of a trial to the oracle; an interrupted trial is given back."""
        heart = self._hearts.pop(resource.name, None)
        if heart is not None:
            heart.set()
        if not outcome.interrupted:
            self._report(job.item, outcome)
            self.ended(job.item, outcome)
        elif isinstance(self.oracle, SafeOracle):
            self.oracle.give_back(resource.name)

    def _require_same_search(self, trial: Trial) -> None:
        """Checks that a worker's search is its chief's: the same model, data, space, seeds and folds."""
        chief = trial.hyperparameters.values.get(SETTINGS, self.settings)
        if chief != self.settings:
            raise InputError(
                "A worker must have the options of its chief. Received: options that differ from those of the chief at"
                " this address. Give the same model, data, space, seeds, folds and training options."
            )

    def _report(self, trial: Trial, outcome: Outcome) -> None:
        trial = Trial.from_state(trial.get_state())  # the oracle's own object may change only within its lock
        trial.hyperparameters.values[SECONDS] = outcome.seconds
        if outcome.result is None:
            trial.status, trial.message = TrialStatus.FAILED, outcome.failure
            trial.hyperparameters.values[FAILURE] = outcome.failure
        else:
            trial.status = TrialStatus.COMPLETED
            if "curve" in outcome.result:
                ended = {CURVE: json.dumps(outcome.result["curve"]), WAS_PRUNED: outcome.result["pruned"]}
                trial.hyperparameters.values |= ended
            found = summarise(outcome.result, self.oracle.objective.name)
            self._ask(lambda: self.oracle.update_trial(trial.trial_id, found, step=int(found["epochs"])))
        self._ask(lambda: self.oracle.end_trial(trial))

    def _ask(self, call: Callable[[], Any]) -> Any:
        """Returns the oracle's reply, waiting for a chief that is away; None if the search stops first."""
        begun = time.monotonic()
        while True:
            try:
                return call()
            except grpc.RpcError as failure:
                error: Any = failure  # it has code and details, which its class does not say
                if self.stop.is_set():
                    return None
                away = error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
                if not away or time.monotonic() - begun > _CHIEF_AWAY_SECONDS:
                    reason = error.details() or error.code().name
                    raise InputError(
                        f"The chief must respond and know this search. Received: {reason}. Start it again with the same"
                        " command, or restart this worker."
                    ) from None
                time.sleep(_WAIT_SECONDS)

    def _start_heartbeat(self, trial: Trial) -> threading.Event:
        """Reports every few seconds, until the returned event is set, that the trial's worker is alive.

        This is done by a call of KerasTuner's service; an oracle in this process needs no such report.
        """
        over = threading.Event()

        def beat() -> None:
            while not over.wait(_HEARTBEAT_SECONDS) and not self.stop.is_set():
                with contextlib.suppress(grpc.RpcError):
                    self.oracle.get_trial(trial.trial_id)

        if not isinstance(self.oracle, SafeOracle):
            threading.Thread(target=beat, daemon=True).start()
        return over


def summarise(result: Mapping[str, Any], objective: str) -> dict[str, float]:
    """Returns the values of a trial for the oracle: means over its runs and each fold, the spread, their total cost."""
    runs = result["runs"]
    by_fold: dict[str, list[float]] = {}
    for run in runs:
        if run["fold"] is not None:
            by_fold.setdefault(f"{FOLD_SCORE}{parse_fold(run['fold'])[0]}", []).append(run["objective"])
    values = [run["objective"] for run in runs]
    return {
        objective: statistics.fmean(values),
        "spread": statistics.stdev(values) if len(values) > 1 else 0.0,
        "best_epoch": statistics.fmean(run["best_epoch"] for run in runs),
        "epochs": float(sum(run["epochs"] for run in runs)),
        "seconds": float(sum(run["seconds"] for run in runs)),
        "parameters": float(runs[0]["parameters"]),
        **{name: statistics.fmean(scores) for name, scores in by_fold.items()},
    }


def describe_values(trial: Trial, space: Space) -> str:
    """Returns the chosen values in one line for the terminal."""
    values = trial.hyperparameters.values
    shown = [f"{name}={_short(values[name])}" for name in space.ranges if name in values]
    if EPOCHS in values:
        shown.insert(0, f"to epoch {values[EPOCHS]}")
    return "  ".join(shown)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
