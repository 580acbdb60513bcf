"""The queue of Slurm as an engine of the pool: each job is a task of a job array, without Ray.

The pool hands out jobs one by one, and one thread waits for each. What they hand over at the same time is submitted as
one array: all runs of a study or a cross-validation, which are known; of a search as many trials as run at a time, and
then each next one by itself, since it depends on the results before. See :mod:`keras_lnn.processes.slurm_dispatcher`.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from keras_lnn.errors import InputError
from keras_lnn.fields.options import ClusterOptions
from keras_lnn.files.sources import describe_code
from keras_lnn.processes.needs import Needs
from keras_lnn.processes.node_work import NodeTask, choose_environment, find_variables
from keras_lnn.processes.pool import Job, RunningJob
from keras_lnn.processes.runner import Limits, Outcome
from keras_lnn.processes.slurm_dispatcher import Dispatcher, QueuedTask
from keras_lnn.processes.slurm_queue import MOST_IN_ARRAY, open_queue, require_slurm

_FOLDER = "slurm"
_LOOK_SECONDS = 0.5
# Below the time that the pool waits for its threads.
_GIVE_UP_SECONDS = 25.0


class SlurmCluster:
    """Slurm, from a machine that can submit to it; or this machine in its place.

    Args:
        options: What a run needs, and what is declared to Slurm.
        workers: Number of runs at a time.
        limits: Limits beyond which a run is killed; its memory is declared to Slurm.
    """

    def __init__(self, options: ClusterOptions, workers: int | None, limits: Limits) -> None:
        if workers is None:
            raise InputError(
                f"--cluster {options.cluster} needs the largest number of runs at a time. Received: no --workers. Give"
                " one, such as --workers 8."
            )
        require_slurm(options)
        self.workers = workers
        self._options = options
        self.needs = Needs(options.cpus_per_run or 1, options.gpus_per_run or 0.0, limits.memory_bytes)
        # The variables are those of the command, before this process chooses a small backend for itself.
        self._environment = choose_environment(find_variables(), self.needs.processors)
        self._dispatcher: Dispatcher | None = None

    def begin(self, folder: Path, console: Console) -> None:
        """Makes the folder of the tasks' files within that of the runs, and prints what each run gets, in one line."""
        place = folder.absolute() / _FOLDER
        queue = open_queue(self._options, place, self.needs, self.workers)
        self._dispatcher = Dispatcher(queue, place, self.workers)
        where = "processes of this machine in place of Slurm" if self._options.cluster == "slurm-local" else "Slurm"
        if self._options.slurm_partition is not None:
            where += f", partition {self._options.slurm_partition}"
        needs = f"{self.needs.describe()} for {self._options.slurm_time}"
        console.print(f"{where}, {self.workers} runs at a time, each with {needs}; {describe_code()}")

    def resources(
        self, limits: Limits | None = None, name: str = "worker", jobs: int | None = None
    ) -> list[SlurmResource]:
        """Returns a resource for each job that may be in the queue at a time: all that are known."""
        if jobs == 0:
            return []
        assert self._dispatcher is not None  # begin() comes before
        count = self.workers if jobs is None else min(jobs, MOST_IN_ARRAY)
        names = [name] if count == 1 else [f"{name}-{number}" for number in range(count)]
        return [SlurmResource(one, self._dispatcher, limits or Limits(), self._environment) for one in names]

    def close(self) -> None:
        """Cancels what is still in the queue."""
        if self._dispatcher is not None:
            self._dispatcher.close()


class SlurmResource:
    """One job at a time in the queue or on a node.

    Args:
        name: Its name.
        dispatcher: Hands tasks over to the queue.
        limits: Limits beyond which a process is killed.
        environment: Environment variables of the process.
    """

    def __init__(
        self, name: str, dispatcher: Dispatcher, limits: Limits, environment: Mapping[str, str | None]
    ) -> None:
        self.name = name
        self._dispatcher = dispatcher
        self._limits = limits
        self._environment = environment
        self._task: QueuedTask | None = None

    def run(self, job: Job, stop: threading.Event) -> Outcome:
        """Queues a job and waits for its outcome; cancels it once everything stops."""
        self._task = self._dispatcher.add(job, NodeTask.for_job(job, self._limits, self._environment))
        task, deadline = self._task, float("inf")
        while not task.done.wait(_LOOK_SECONDS) and time.monotonic() < deadline:
            if self._dispatcher.error is not None:
                raise self._dispatcher.error
            if stop.is_set() and not task.unwanted.is_set():
                task.unwanted.set()
                deadline = time.monotonic() + _GIVE_UP_SECONDS
        return task.outcome or Outcome(interrupted=True)

    def shown(self, running: RunningJob) -> RunningJob | None:
        """Returns the job with its node; of all that wait, the first one stands for the others."""
        task, job = self._task, running.job
        if task is None or task.job is not job:
            return None
        if task.node:
            named = dataclasses.replace(job, name=f"{job.name}, on {task.node}")
            return RunningJob(named, task.begun)
        waiting = self._dispatcher.list_waiting()
        if not waiting or waiting[0] is not task:
            return None
        who = job.name if len(waiting) == 1 else f"{len(waiting)} more"
        reason = f" ({task.reason})" if task.reason else ""
        return RunningJob(dataclasses.replace(job, name=f"{who}, in the queue{reason}", runs=()), None)
