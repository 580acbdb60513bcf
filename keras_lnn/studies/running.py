"""A study's runs, each in a process of its own: skipped where they are done, gone on with where they were killed."""

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
    """How far a study is.

    Args:
        runs: All of them.
        done: Which were there before, or have ended well.
        failures: The reason of each that has failed, by its folder.
        seconds: Of each run that has ended here, by its folder.
        running: When each that runs has begun, by its folder.
        workers: Runs at a time.
    """

    runs: Sequence[StudyRun]
    done: set[Path]
    workers: int
    failures: dict[Path, str] = dataclasses.field(default_factory=dict)
    seconds: dict[Path, float] = dataclasses.field(default_factory=dict)
    running: dict[Path, float] = dataclasses.field(default_factory=dict)

    @property
    def left(self) -> list[StudyRun]:
        """Runs that are neither done nor failed."""
        return [run for run in self.runs if run.folder not in self.done and run.folder not in self.failures]

    def seconds_left(self) -> float | None:
        """What the rest will take, by the runs of the same network so far; None before any has ended."""
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
    """What a run's process does."""
    from keras_lnn.config import TrainConfig
    from keras_lnn.training.loop import train_or_resume

    metrics = train_or_resume(TrainConfig.create(order["config"])).metrics
    return {"seconds": metrics["seconds"], "epochs": metrics["epochs"]}


def is_done(run: StudyRun) -> bool:
    """Whether a run is complete, with its own configuration."""
    return is_run_of(run.folder, run.config) and RunFolder(run.folder).read_metrics() is not None


def find_done(runs: Sequence[StudyRun]) -> set[Path]:
    """The runs that are complete; one of another configuration in a run's folder is an error.

    Its results would otherwise count as this study's, or be removed.
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
    """Trains what is not there yet.

    Args:
        runs: In the order in which they are to begin.
        runner: Of their processes.
        workers: Runs at a time.
        limits: When a run is killed.
        ended: Called with each run that has ended, one at a time.
        watch: Called before the first run begins, and now and then while they run.

    Returns:
        What was done, and what failed.
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
    # Beside the run's folder, which a run that begins anew removes.
    logs = run.folder.with_name(f"{run.folder.name}-process")
    order = {"config": run.config.model_dump(mode="json")}
    return runner.run(f"{__name__}:run_one", order, logs, limits=limits, stop=stop, environment=environment)


def _note(run: StudyRun, outcome: Outcome, progress: Progress) -> None:
    if outcome.failure is None:
        progress.done.add(run.folder)
        progress.seconds[run.folder] = outcome.seconds
    else:
        progress.failures[run.folder] = outcome.failure
