"""The queue in which tasks wait and run: that of Slurm, or processes of this machine to try the same.

Tasks are submitted through ``submitit``. It knows the state of a task of Slurm from ``sacct`` only, which needs a data
base that many clusters do not have, and asks it every ten minutes at last; so the states come from ``squeue`` here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import psutil

from keras_lnn.errors import InputError
from keras_lnn.fields.options import ClusterOptions
from keras_lnn.fields.slurm_values import parse_slurm_options, parse_slurm_time
from keras_lnn.processes.needs import Needs
from keras_lnn.processes.slurm_task import work_in_task

# Slurm's own largest array has 1001 tasks unless a cluster sets another.
MOST_IN_ARRAY = 1000
_NAME = "keras-lnn"
# Time before the limit at which a task is stopped, so that it can be put back into the queue.
_STOP_SECONDS = 90
# Beside the run's process there are the one that starts it, with Keras imported, and submitit's.
_MEMORY_BESIDE_BYTES = 2**30
_COMMAND_SECONDS = 60.0
# A run may reach its time limit any number of times; work_in_task itself ends those that do not get on.
_MOST_TIMEOUTS = 10**6
_KILLED = ("CANCELLED", "DEADLINE", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT")
_ENDED = ("BOOT_FAIL", "COMPLETED", "FAILED", "NODE_FAIL", *_KILLED)


@dataclasses.dataclass(frozen=True)
class State:
    """The state of a task in the queue.

    Args:
        name: Its name, such as ``PENDING`` or ``TIMEOUT``.
        reason: Why it waits or has ended, in a word of Slurm's; empty if there is none.
    """

    name: str
    reason: str = ""

    @property
    def has_ended(self) -> bool:
        """Returns whether the task has ended for good."""
        return self.name in _ENDED


class Queue(Protocol):
    """Where tasks wait and run; a task has a number, which is a text."""

    look_seconds: float
    """Time between two questions about the states of tasks."""
    limits_tasks: bool
    """Whether it keeps to the number of tasks of an array that may run at a time, so that all are submitted at once."""

    def submit(self, orders: Sequence[Path]) -> list[str]:
        """Puts a task for each order into the queue and returns their numbers."""
        ...

    def states(self, numbers: Collection[str]) -> dict[str, State] | None:
        """Returns the states of tasks, without those that the queue no longer knows; None if it cannot be asked."""
        ...

    def cancel(self, numbers: Collection[str]) -> None:
        """Takes tasks out of the queue and interrupts those that run."""
        ...

    def kill(self, numbers: Collection[str]) -> None:
        """Ends tasks that do not end by themselves after an interruption."""
        ...


def import_submitit() -> Any:
    """Returns submitit, which prints nothing here; an error names the extra if it is missing."""
    try:
        import submitit
    except ImportError:
        raise InputError(
            "--cluster slurm needs submitit. Received: no package submitit. Run: pip install keras-lnn[slurm]"
        ) from None
    logging.getLogger("submitit").setLevel(logging.CRITICAL)
    return submitit


def choose_parameters(options: ClusterOptions, needs: Needs, workers: int) -> dict[str, Any]:
    """Returns the parameters of submitit's executor for Slurm.

    Args:
        options: Partition, time limit and further options of ``sbatch``.
        needs: What a run is declared to need.
        workers: Number of tasks of an array that run at a time.
    """
    given: dict[str, Any] = {
        "job_name": _NAME,
        "time": math.ceil(parse_slurm_time(options.slurm_time) / 60),
        "signal_delay_s": _STOP_SECONDS,
        "cpus_per_task": needs.processors,
        # Since Slurm 22.05 srun does not have the number of sbatch by itself.
        "srun_args": ["--cpus-per-task", str(needs.processors)],
        "array_parallelism": workers,
        "stderr_to_stdout": True,
        "wckey": None,
        # A task whose node is lost waits in the queue again.
        "additional_parameters": {"requeue": True, **parse_slurm_options(options.slurm_options)},
    }
    if options.slurm_partition is not None:
        given["partition"] = options.slurm_partition
    if needs.gpus:
        given["gpus_per_node"] = int(needs.gpus)
    if needs.memory_bytes is not None:
        given["mem"] = f"{math.ceil((needs.memory_bytes + _MEMORY_BESIDE_BYTES) / 2**20)}M"
    return given


class SlurmQueue:
    """The queue of Slurm; all orders that are submitted at the same time become one job array.

    Args:
        folder: Folder of submitit's files, on the shared disk.
        parameters: Parameters of submitit's executor, see :func:`choose_parameters`.
    """

    look_seconds = 5.0
    limits_tasks = True

    def __init__(self, folder: Path, parameters: Mapping[str, Any]) -> None:
        executor = import_submitit().SlurmExecutor
        self._executor = executor(folder, max_num_timeout=_MOST_TIMEOUTS, python=_python())
        self._executor.update_parameters(**parameters)

    def submit(self, orders: Sequence[Path]) -> list[str]:
        """Puts a task for each order into the queue, as one array if there are several."""
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # submitit also prints what it raises
                jobs = self._executor.map_array(work_in_task, [str(order) for order in orders])
        except RuntimeError as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise InputError(
                "Slurm must accept the runs. Received:"
                f" {lines[-1] if lines else error}. Give other --slurm-... options or needs of a run."
            ) from None
        return [job.job_id for job in jobs]

    def states(self, numbers: Collection[str]) -> dict[str, State] | None:
        """Returns the states of all tasks of this user; Slurm knows those that have ended for some minutes."""
        columns = ["--noheader", "--array", "--states=all", "--format=%i|%T|%r"]
        listed = _run("squeue", *columns, f"--user={os.getuid()}", f"--name={_NAME}")
        return None if listed is None else read_states(listed)

    def cancel(self, numbers: Collection[str]) -> None:
        """Takes waiting tasks out of the queue and interrupts running ones, which end at once."""
        if numbers:
            # Waiting ones first: none may begin in the place of one that ends.
            _run("scancel", "--state=PENDING", *numbers)
            _run("scancel", "--signal=INT", *numbers)

    def kill(self, numbers: Collection[str]) -> None:
        """Ends tasks as Slurm does, which kills them after some time."""
        if numbers:
            _run("scancel", *numbers)


class LocalQueue:
    """Tasks as processes of this machine, which start, stop and go on as those of Slurm do.

    Args:
        folder: Folder of submitit's files.
        parameters: What a task of Slurm would have; time and GPUs count here.
    """

    look_seconds = 1.0
    limits_tasks = False

    def __init__(self, folder: Path, parameters: Mapping[str, Any]) -> None:
        self._folder = folder
        self._executor = import_submitit().LocalExecutor(folder, max_num_timeout=_MOST_TIMEOUTS, python=_python())
        names = ("signal_delay_s", "gpus_per_node", "stderr_to_stdout")
        given = {name: parameters[name] for name in names if name in parameters}
        self._executor.update_parameters(timeout_min=parameters["time"], **given)
        self._jobs: dict[str, Any] = {}

    def submit(self, orders: Sequence[Path]) -> list[str]:
        """Starts a process for each order."""
        jobs = self._executor.map_array(work_in_task, [str(order) for order in orders])
        self._jobs |= {job.job_id: job for job in jobs}
        return [job.job_id for job in jobs]

    def states(self, numbers: Collection[str]) -> dict[str, State]:
        """Returns the states of the processes."""
        return {number: State("RUNNING" if self._is_running(number) else "FAILED") for number in numbers}

    def cancel(self, numbers: Collection[str]) -> None:
        """Interrupts the processes."""
        for number in numbers:
            if self._is_running(number):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(number), signal.SIGINT)

    def kill(self, numbers: Collection[str]) -> None:
        """Kills the processes with those that they have started."""
        for number in numbers:
            if self._is_running(number):
                with contextlib.suppress(psutil.Error):
                    process = psutil.Process(int(number))
                    for one in [process, *process.children(recursive=True)]:
                        with contextlib.suppress(psutil.Error):
                            one.kill()

    def _is_running(self, number: str) -> bool:
        if number in self._jobs:  # a child of this process, which must be waited for
            return not self._jobs[number].done()
        with contextlib.suppress(psutil.Error, ValueError):
            return str(self._folder) in psutil.Process(int(number)).cmdline()
        return False


def read_states(listed: str) -> dict[str, State]:
    """Returns the states of tasks by their numbers from what squeue prints as ``NUMBER|STATE|REASON``."""
    found = {}
    for line in listed.splitlines():
        number, _, rest = line.strip().partition("|")
        name, _, reason = rest.partition("|")
        if name:
            found[number] = State(name, "" if reason == "None" else reason)
    return found


def open_queue(options: ClusterOptions, folder: Path, needs: Needs, workers: int) -> SlurmQueue | LocalQueue:
    """Returns the queue that the options choose, whose files are in a private folder."""
    make_private(folder)
    parameters = choose_parameters(options, needs, workers)
    return (SlurmQueue if options.cluster == "slurm" else LocalQueue)(folder, parameters)


def require_slurm(options: ClusterOptions) -> None:
    """Checks that this machine can submit to Slurm, if it shall."""
    import_submitit()
    missing = [name for name in ("sbatch", "srun", "squeue", "scancel") if shutil.which(name) is None]
    if options.cluster == "slurm" and missing:
        raise InputError(
            f"--cluster slurm must be used where Slurm's commands are. Received: no command {missing[0]}. Run it on a"
            " login node, or try it with --cluster slurm-local."
        )


def make_private(folder: Path) -> None:
    """Makes a folder that only its user can read and write, since tasks unpickle what is in it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if folder.is_symlink() or found.st_uid != os.getuid():
        raise InputError(f"The folder of the tasks must be your own. Received: {folder}. Remove it.")
    folder.chmod(0o700)


def wait_until_gone(queue: Queue, numbers: Collection[str], seconds: float) -> set[str]:
    """Waits for cancelled tasks to leave the queue, and returns those that have not."""
    left, deadline = set(numbers), time.monotonic() + seconds
    while left and time.monotonic() < deadline:
        states = queue.states(left)
        if states is not None:
            left = {number for number in left if number in states and not states[number].has_ended}
        if left:
            time.sleep(min(1.0, queue.look_seconds))
    return left


def _python() -> str:
    """Returns the command that starts Python with the import path of this process.

    Tasks inherit the environment of this process, which has chosen a small backend for itself; that of the run is in
    its order.
    """
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    return f"env -u KERAS_BACKEND {shlex.quote(f'PYTHONPATH={paths}')} {shlex.quote(sys.executable)}"


def _run(*command: str) -> str | None:
    """Returns what a command prints, or None if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
