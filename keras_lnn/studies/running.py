"""Training of a study's runs, each in its own process: completed runs are skipped, interrupted ones are resumed."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from keras_lnn.errors import InputError
from keras_lnn.fields.values import parse_duration
from keras_lnn.processes.engines import Engine
from keras_lnn.processes.pool import Job, NoJob, Pool, Resource, RunningJob
from keras_lnn.processes.runner import Limits, Outcome
from keras_lnn.runs.folder import RunFolder
from keras_lnn.studies.declaration import StudyRun
from keras_lnn.training.protocol import complete_config, is_run_of


@dataclasses.dataclass
class Progress:
    """The progress of a study.

    Args:
        runs: All runs.
        done: Folders of the runs that were complete before or have since completed.
        failures: The reason of each failed run, by its folder.
        seconds: Duration of each run that has ended in this call, by its folder.
        running: The jobs of the runs in progress.
        workers: Number of runs at a time.
    """

    runs: Sequence[StudyRun]
    done: set[Path]
    workers: int = 1
    failures: dict[Path, str] = dataclasses.field(default_factory=dict)
    seconds: dict[Path, float] = dataclasses.field(default_factory=dict)
    running: list[RunningJob] = dataclasses.field(default_factory=list)

    @property
    def left(self) -> list[StudyRun]:
        """Returns the runs that are neither done nor failed."""
        return [run for run in self.runs if run.folder not in self.done and run.folder not in self.failures]

    def seconds_left(self) -> float | None:
        """Returns the estimated remaining time, from the runs of the same network so far; None before any has ended."""
        if not self.seconds:
            return None
        took: dict[tuple[str, str], list[float]] = {}
        for run in self.runs:
            if run.folder in self.seconds:
                took.setdefault((run.network, run.config.data), []).append(self.seconds[run.folder])
        known = {key: sum(values) / len(values) for key, values in took.items()}
        typical = sum(known.values()) / len(known)
        now = time.monotonic()
        begun = {one.job.item.folder: one.begun for one in self.running if one.begun is not None}
        rest = 0.0
        for run in self.left:
            expected = known.get((run.network, run.config.data), typical)
            rest += max(0.0, expected - (now - begun.get(run.folder, now)))
        return rest / min(self.workers, max(1, len(self.left)))


def run_one(order: dict[str, Any]) -> dict[str, Any]:
    """Trains one run; this is the work of a run's process."""
    from keras_lnn.config import TrainConfig
    from keras_lnn.training.loop import train_or_resume

    metrics = train_or_resume(TrainConfig.create(order["config"])).metrics
    return {"seconds": metrics["seconds"], "epochs": metrics["epochs"]}


def log_folder(run: StudyRun) -> Path:
    """Returns the folder of the logs of a run's process.

    It is next to the run's folder, because a run that starts from the beginning removes that folder.
    """
    return run.folder.with_name(f"{run.folder.name}-process")


def is_done(run: StudyRun) -> bool:
    """Returns whether a run is complete and has the expected configuration."""
    return is_run_of(run.folder, run.config) and RunFolder(run.folder).read_metrics() is not None


def find_done(runs: Sequence[StudyRun]) -> set[Path]:
    """Returns the folders of the completed runs; raises an error if a run's folder holds another configuration.

    The results of that other run would otherwise count as this study's, or be removed.
    """
    done = set()
    for run in runs:
        folder = RunFolder(run.folder)
        if not folder.config.is_file():
            continue
        if not is_run_of(run.folder, run.config):
            raise InputError(
                f"{run.whole} must continue with the configuration that it began with. Received: {run.folder}, a run"
                f" with other fields. Give the options that it was begun with, or another {run.folder_option}."
            )
        if folder.read_metrics() is not None:
            done.add(run.folder)
    return done


def run_all(
    runs: Sequence[StudyRun],
    engine: Engine,
    *,
    limits: Limits | None = None,
    ended: Callable[[StudyRun, Outcome, Progress], None] = lambda run, outcome, progress: None,
    introduce: Callable[[Progress], None] = lambda progress: None,
    watch: Callable[[Progress], None] = lambda progress: None,
) -> Progress:
    """Trains the runs that are not complete yet.

    Args:
        runs: The runs in the order in which they begin.
        engine: Where their processes run.
        limits: Limits beyond which a run is killed.
        ended: Called with each run that has ended, one at a time.
        introduce: Called before the first run begins.
        watch: Called at intervals while runs are in progress.

    Returns:
        The completed and the failed runs.
    """
    progress = Progress(runs, find_done(runs), engine.workers)
    introduce(progress)
    supply = _Runs(progress, ended)
    pool = Pool(engine.resources(limits, jobs=len(progress.left)), supply)

    def look() -> bool:
        with supply.lock:
            progress.running = pool.running()
            watch(progress)
        return True

    pool.run(look)
    return progress


class _Runs:
    """Supplies the runs that are left, in their order, and notes how they end."""

    def __init__(self, progress: Progress, ended: Callable[[StudyRun, Outcome, Progress], None]) -> None:
        self.progress = progress
        self.ended = ended
        self.lock = threading.Lock()
        self._waiting = iter(progress.left)

    def take(self, resource: Resource) -> Job | NoJob:
        with self.lock:
            run = next(self._waiting, None)
        return NoJob.LEFT if run is None else make_job(run)

    def finish(self, resource: Resource, job: Job, outcome: Outcome) -> None:
        if outcome.interrupted:
            return
        run, progress = job.item, self.progress
        with self.lock:
            if outcome.failure is None:
                progress.done.add(run.folder)
                progress.seconds[run.folder] = outcome.seconds
            else:
                progress.failures[run.folder] = outcome.failure
            self.ended(run, outcome, progress)


def make_job(run: StudyRun) -> Job:
    """Returns the job that trains a run."""
    complete = complete_config(run.config)
    return Job(
        name=run.name,
        work=f"{__name__}:run_one",
        order={"config": run.config.model_dump(mode="json")},
        folder=log_folder(run),
        item=run,
        runs=(run.folder,),
        epochs=complete.epochs,
        seconds=parse_duration(complete.time_budget),
        monitor=complete.monitor,
    )
