"""Training of a study's runs, each in its own process: completed runs are skipped, interrupted ones are resumed."""

from __future__ import annotations

import dataclasses
import queue
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from keras_lnn.errors import InputError
from keras_lnn.processes.runner import Limits, Outcome, ProcessRunner, share_gpus
from keras_lnn.runs.folder import RunFolder
from keras_lnn.studies.declaration import StudyRun
from keras_lnn.training.protocol import is_run_of

_LOOK_EVERY_SECONDS = 0.3


@dataclasses.dataclass
class Progress:
    """The progress of a study.

    Args:
        runs: All runs.
        done: Folders of the runs that were complete before or have since completed.
        failures: The reason of each failed run, by its folder.
        seconds: Duration of each run that has ended in this call, by its folder.
        running: Start time of each run in progress, by its folder.
        workers: Number of runs at a time.
    """

    runs: Sequence[StudyRun]
    done: set[Path]
    workers: int
    failures: dict[Path, str] = dataclasses.field(default_factory=dict)
    seconds: dict[Path, float] = dataclasses.field(default_factory=dict)
    running: dict[Path, float] = dataclasses.field(default_factory=dict)

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
        rest = 0.0
        for run in self.left:
            expected = known.get((run.network, run.config.data), typical)
            rest += max(0.0, expected - (now - self.running.get(run.folder, now)))
        return rest / min(self.workers, max(1, len(self.left)))


def run_one(order: dict[str, Any]) -> dict[str, Any]:
    """Trains one run; this is the work of a run's process."""
    from keras_lnn.config import TrainConfig
    from keras_lnn.training.loop import train_or_resume

    metrics = train_or_resume(TrainConfig.create(order["config"])).metrics
    return {"seconds": metrics["seconds"], "epochs": metrics["epochs"]}


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
                f"A study goes on with the configuration that it began with. Received: {run.folder}, a run with other"
                " fields. Give the options that it was begun with, or another --study-dir."
            )
        if folder.read_metrics() is not None:
            done.add(run.folder)
    return done


def run_all(
    runs: Sequence[StudyRun],
    runner: ProcessRunner,
    *,
    workers: int = 1,
    limits: Limits | None = None,
    ended: Callable[[StudyRun, Outcome, Progress], None] = lambda run, outcome, progress: None,
    watch: Callable[[Progress], None] = lambda progress: None,
) -> Progress:
    """Trains the runs that are not complete yet.

    Args:
        runs: The runs in the order in which they begin.
        runner: Starts and supervises their processes.
        workers: Number of runs at a time.
        limits: Limits beyond which a run is killed.
        ended: Called with each run that has ended, one at a time.
        watch: Called before the first run begins, and at intervals while runs are in progress.

    Returns:
        The completed and the failed runs.
    """
    progress = Progress(runs, find_done(runs), workers)
    watch(progress)
    waiting: queue.SimpleQueue[StudyRun] = queue.SimpleQueue()
    for run in progress.left:
        waiting.put(run)
    stop, lock = threading.Event(), threading.Lock()
    errors: list[BaseException] = []

    def work(environment: dict[str, str | None]) -> None:
        try:
            while not stop.is_set():
                try:
                    run = waiting.get_nowait()
                except queue.Empty:
                    return
                progress.running[run.folder] = time.monotonic()
                outcome = _run(run, runner, limits or Limits(), stop, environment)
                with lock:
                    del progress.running[run.folder]
                    if outcome.interrupted:
                        return
                    _note(run, outcome, progress)
                    ended(run, outcome, progress)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(variables,), daemon=True) for variables in share_gpus(workers)]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads) and not errors:
            time.sleep(_LOOK_EVERY_SECONDS)
            with lock:
                watch(progress)
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=30)
    if errors:
        raise errors[0]
    return progress


def _run(
    run: StudyRun, runner: ProcessRunner, limits: Limits, stop: threading.Event, environment: dict[str, str | None]
) -> Outcome:
    # The logs are kept next to the run's folder, because a run that starts from the beginning removes that folder.
    logs = run.folder.with_name(f"{run.folder.name}-process")
    order = {"config": run.config.model_dump(mode="json")}
    return runner.run(f"{__name__}:run_one", order, logs, limits=limits, stop=stop, environment=environment)


def _note(run: StudyRun, outcome: Outcome, progress: Progress) -> None:
    if outcome.failure is None:
        progress.done.add(run.folder)
        progress.seconds[run.folder] = outcome.seconds
    else:
        progress.failures[run.folder] = outcome.failure
