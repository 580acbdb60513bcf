"""The one pool of workers: a supply hands out jobs, resources run them, and the outcomes go back to the supply.

``Pool(resources, supply).run(watch)`` is the whole of it. Each resource runs one job at a time, and the first one that
is free asks the supply for the next job. So two places decide what runs where: the list of resources says where jobs
can run at all (processes of this machine, each with its GPU, the nodes of a Ray cluster, see
:mod:`keras_lnn.processes.cluster`, or the queue of Slurm, see :mod:`keras_lnn.processes.slurm`), and
:meth:`Supply.take` knows which resource asks.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from keras_lnn.processes.runner import Limits, Outcome, ProcessRunner
from keras_lnn.processes.sharing import share_gpus

_LOOK_EVERY_SECONDS = 0.3
_JOIN_SECONDS = 30.0


@dataclasses.dataclass(frozen=True)
class Job:
    """A piece of work for one process.

    Args:
        name: Its name on the terminal.
        work: ``module:function`` that takes the order and returns a dictionary.
        order: Argument of the function; it and the result must be JSON content.
        folder: Folder of the process's ``log.txt`` and ``result.json``.
        item: The object of the supply that the job stands for.
        runs: Folders of the runs that it trains one after the other, whose histories show how far it is.
        reads: Folders of finished runs that it continues from.
        writes: Folders of finished runs to which it adds files.
        epochs: Number of epochs of each run.
        seconds: Time budget of each run, or None.
        monitor: Name of the validation value that is shown, or None.
    """

    name: str
    work: str
    order: Mapping[str, Any]
    folder: Path
    item: Any = None
    runs: tuple[Path, ...] = ()
    reads: tuple[Path, ...] = ()
    writes: tuple[Path, ...] = ()
    epochs: int | None = None
    seconds: float | None = None
    monitor: str | None = None

    @property
    def own_folders(self) -> list[Path]:
        """Returns the folders that it writes to, without those that are within another."""
        own = list(dict.fromkeys([self.folder, *self.runs, *self.writes]))
        return [folder for folder in own if not any(other in folder.parents for other in own)]


class NoJob(enum.Enum):
    """What a supply returns instead of a job."""

    NOW = "there may be one later"
    LEFT = "all jobs have been handed out"


class Resource(Protocol):
    """A place where one job at a time can run; its name is unique in the pool."""

    @property
    def name(self) -> str:
        """Returns the name, by which a supply may know it."""
        ...

    def run(self, job: Job, stop: threading.Event) -> Outcome:
        """Runs a job and returns how it ended; ends it as interrupted once ``stop`` is set."""
        ...

    def shown(self, running: RunningJob) -> RunningJob | None:
        """Returns the job in progress as it is displayed: with its node in its name and histories that are here.

        Returns None if it is not displayed, since it waits with many others.
        """
        ...


class Supply(Protocol):
    """Hands out jobs and receives their outcomes; its methods are called from several threads at a time."""

    def take(self, resource: Resource) -> Job | NoJob:
        """Returns the next job for a free resource, or whether there may be one later."""
        ...

    def finish(self, resource: Resource, job: Job, outcome: Outcome) -> None:
        """Receives the outcome of a job; an interrupted one has not ended, because the pool was stopped."""
        ...


@dataclasses.dataclass(frozen=True)
class LocalResource:
    """One process at a time on this machine.

    Args:
        name: Its name.
        runner: Starts and supervises the processes.
        limits: Limits beyond which a process is killed.
        environment: Environment variables of the processes, such as the GPU that they may use.
    """

    name: str
    runner: ProcessRunner
    limits: Limits = dataclasses.field(default_factory=Limits)
    environment: Mapping[str, str | None] = dataclasses.field(default_factory=dict)

    def run(self, job: Job, stop: threading.Event) -> Outcome:
        """Runs a job in a process of its own."""
        options = {"limits": self.limits, "stop": stop, "environment": self.environment}
        return self.runner.run(job.work, job.order, job.folder, **options)

    def shown(self, running: RunningJob) -> RunningJob:
        """Returns the job as it is."""
        return running


def local_resources(
    runner: ProcessRunner, workers: int, limits: Limits | None = None, name: str = "worker"
) -> list[LocalResource]:
    """Returns the resources of this machine for a number of jobs at a time, which share its GPUs.

    Args:
        runner: Starts and supervises the processes.
        workers: Number of jobs at a time.
        limits: Limits beyond which a process is killed.
        name: Name of the resource, followed by a number if there are several.
    """
    return [
        LocalResource(name if workers == 1 else f"{name}-{number}", runner, limits or Limits(), environment)
        for number, environment in enumerate(share_gpus(workers))
    ]


@dataclasses.dataclass(frozen=True)
class RunningJob:
    """A job in progress.

    Args:
        job: The job.
        begun: Time at which it began, by the monotonic clock; None if it runs elsewhere and nobody knows.
    """

    job: Job
    begun: float | None


class Pool:
    """Runs the jobs of a supply on resources, with one thread that waits for each resource.

    Args:
        resources: Where jobs can run.
        supply: Hands out the jobs and receives their outcomes.
        stop: Once it is set, no more jobs begin and running ones are interrupted.
    """

    def __init__(self, resources: Sequence[Resource], supply: Supply, stop: threading.Event | None = None) -> None:
        self.resources = resources
        self.supply = supply
        self.stop = stop or threading.Event()
        self._running: dict[str, RunningJob] = {}

    def run(self, watch: Callable[[], bool] = lambda: True) -> None:
        """Runs jobs until there are no more.

        An error in the supply or a resource stops the pool and is raised here; so does an interruption by the keyboard.

        Args:
            watch: Called at intervals in this thread; the pool stops if it returns False.
        """
        works = {resource.name: functools.partial(self._work, resource) for resource in self.resources}
        run_threads(works, watch, self.stop)

    def running(self) -> list[RunningJob]:
        """Returns the jobs in progress as they are displayed, in the order of the resources."""
        held = dict(self._running)
        shown = (resource.shown(held[resource.name]) for resource in self.resources if resource.name in held)
        return [one for one in shown if one is not None]

    def _work(self, resource: Resource) -> None:
        while not self.stop.is_set():
            job = self.supply.take(resource)
            if job is NoJob.LEFT:
                return
            if job is NoJob.NOW:
                self.stop.wait(_LOOK_EVERY_SECONDS)
                continue
            self._running[resource.name] = RunningJob(job, time.monotonic())
            try:
                outcome = resource.run(job, self.stop)
            finally:
                del self._running[resource.name]
            self.supply.finish(resource, job, outcome)


def run_threads(
    works: Mapping[str, Callable[[], None]],
    watch: Callable[[], bool],
    stop: threading.Event,
    join_seconds: float = _JOIN_SECONDS,
) -> None:
    """Runs each work in a thread of its own until all have ended; the first error stops them and is raised here.

    Args:
        works: The works by the names of their threads.
        watch: Called at intervals in this thread; everything stops if it returns False.
        stop: Set as soon as the works shall end.
        join_seconds: Longest time to wait for the threads after that.
    """
    errors: list[BaseException] = []

    def guard(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guard, args=(work,), name=name, daemon=True) for name, work in works.items()]
    for thread in threads:
        thread.start()
    try:
        while not errors and any(thread.is_alive() for thread in threads):
            time.sleep(_LOOK_EVERY_SECONDS)
            if not errors and not watch():
                break
    finally:
        stop.set()
        deadline = time.monotonic() + join_seconds
        for thread in threads:
            thread.join(timeout=max(0.0, deadline - time.monotonic()))
    if errors:
        raise errors[0]
