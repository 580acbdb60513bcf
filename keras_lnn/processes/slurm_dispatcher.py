"""Hands the tasks of a command over to the queue of Slurm, watches them, and cancels those that nobody wants any more.

Tasks write to the folders of their runs, on a disk that all nodes share, and their outcomes to a folder of the command.
A command that is interrupted cancels its tasks. One that is killed, as when a connection breaks, leaves them in the
queue, where the same command finds them again.
"""

from __future__ import annotations

import dataclasses
import shutil
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_lnn.errors import InputError
from keras_lnn.files.atomic import write_json
from keras_lnn.processes.helper_client import last_line
from keras_lnn.processes.node_work import NodeTask
from keras_lnn.processes.pool import Job
from keras_lnn.processes.runner import Outcome
from keras_lnn.processes.slurm_queue import MOST_IN_ARRAY, Queue, State, wait_until_gone
from keras_lnn.processes.slurm_task import ORDER, TaskFiles, describe_order, read_json

_LOOK_SECONDS = 0.5
# A task is lost if it was seen so often in a row to have left the queue without an outcome: shared disks are slow.
_LOOKS_AFTER_END = 6
_INTERRUPT_SECONDS = 15.0
_KILL_SECONDS = 90.0


@dataclasses.dataclass(eq=False)
class QueuedTask:
    """A job that has been handed over to the queue.

    Args:
        job: The job.
        order: What its process does, as JSON content.
        files: Its files.
        number: Its number in the queue, once it has one.
        node: The node on which it runs; empty while it waits.
        begun: Time at which it was seen to run on this node, by the monotonic clock.
        reason: Why it waits, in a word of Slurm's.
        looks: Number of times in a row that it was seen to have ended without an outcome.
        outcome: How it has ended.
        unwanted: Set once nobody waits for its outcome.
        done: Set once it has ended, or has left the queue because it is unwanted.
        cancelled: Time at which it was cancelled, by the monotonic clock.
    """

    job: Job
    order: dict[str, Any]
    files: TaskFiles
    number: str = ""
    node: str = ""
    begun: float | None = None
    reason: str = ""
    looks: int = 0
    outcome: Outcome | None = None
    unwanted: threading.Event = dataclasses.field(default_factory=threading.Event)
    done: threading.Event = dataclasses.field(default_factory=threading.Event)
    cancelled: float | None = None


class Dispatcher:
    """The thread that alone speaks with the queue.

    Args:
        queue: The queue.
        folder: Private folder of the files of all tasks.
        workers: Number of tasks at a time.
    """

    def __init__(self, queue: Queue, folder: Path, workers: int) -> None:
        self.error: BaseException | None = None
        self._queue = queue
        self._folder = folder
        self._workers = workers
        self._lock = threading.Lock()
        self._new: list[QueuedTask] = []
        self._queued: list[QueuedTask] = []
        self._count_before = 0
        self._next_look = 0.0
        self._earlier: list[TaskFiles] | None = [
            TaskFiles(folder, path.name.removesuffix(ORDER)) for path in folder.glob(f"*{ORDER}")
        ]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="slurm", daemon=True)
        self._thread.start()

    def add(self, job: Job, task: NodeTask) -> QueuedTask:
        """Adds a job to those that are submitted next."""
        added = QueuedTask(job, describe_order(task), TaskFiles(self._folder, uuid.uuid4().hex))
        with self._lock:
            self._new.append(added)
        return added

    def list_waiting(self) -> list[QueuedTask]:
        """Returns the tasks that do not run yet, in the order in which they will begin."""
        with self._lock:
            return [one for one in (*self._queued, *self._new) if not one.node]

    def close(self) -> None:
        """Cancels all tasks, also of an earlier command, and removes the folder if none is left in the queue."""
        self._stop.set()
        self._thread.join()
        earlier = [files.number for files in self._earlier or () if files.number]
        if not self._end([*(one.number for one in self._queued), *earlier]):
            shutil.rmtree(self._folder, ignore_errors=True)

    def _work(self) -> None:
        try:
            while not self._stop.wait(_LOOK_SECONDS):
                self._submit()
                self._read_files()
                self._cancel()
                if time.monotonic() >= self._next_look:
                    self._read_states()
                    self._next_look = time.monotonic() + self._queue.look_seconds
        except BaseException as error:
            self.error = error

    def _submit(self) -> None:
        """Submits new tasks once no more come: what is handed over at the same time is one array."""
        with self._lock:
            for one in self._new:
                if one.unwanted.is_set():
                    one.done.set()
            self._new = [one for one in self._new if not one.done.is_set()]
            new = list(self._new)
        is_complete = len(new) == self._count_before or len(new) >= MOST_IN_ARRAY
        self._count_before = len(new)
        if not new or not is_complete:
            return
        if self._earlier is not None:
            new = self._find_again(new, self._earlier)
            self._earlier = None
        # An array limits itself; beside other tasks there is only the room that they leave.
        alone = self._queue.limits_tasks and not self._queued
        chosen = new[: MOST_IN_ARRAY if alone else max(0, self._workers - len(self._queued))]
        if not chosen:
            return
        for one in chosen:
            write_json(one.files.order, one.order)
        numbers = self._queue.submit([one.files.order for one in chosen])
        for one, number in zip(chosen, numbers, strict=True):
            write_json(one.files.queued, {"number": number})
            one.number = number
        self._take_over(chosen)

    def _take_over(self, tasks: Sequence[QueuedTask]) -> None:
        with self._lock:
            self._queued += tasks
            self._new = [one for one in self._new if one not in tasks]
        self._count_before = len(self._new)

    def _find_again(self, new: Sequence[QueuedTask], earlier: Sequence[TaskFiles]) -> list[QueuedTask]:
        """Takes over tasks of an earlier command that do what new ones shall do, and ends the others.

        Returns:
            The new tasks that have to be submitted.
        """
        states = self._queue.states([files.number for files in earlier]) if earlier else {}
        if states is None:
            raise InputError("Slurm must list the runs of an earlier command. Received: an error of squeue. Try later.")
        active = {files for files in earlier if files.number in states and not states[files.number].has_ended}
        orders = [(files, read_json(files.order)) for files in earlier if files in active or files.outcome.is_file()]
        found: list[QueuedTask] = []
        for one in new:
            files = next((files for files, order in orders if order == one.order), None)
            if files is not None:
                one.files, one.number = files, files.number
                found.append(one)
        rest = [files for files in earlier if files not in {one.files for one in found}]
        if left := self._end([files.number for files in rest if files in active]):
            numbers = " ".join(sorted(left))
            raise InputError(
                f"Runs of an earlier command must have left the queue. Received: {numbers}. Run: scancel {numbers}"
            )
        for files in rest:
            self._remove(files, files.number)
        self._take_over(found)
        return [one for one in new if one not in found]

    def _read_files(self) -> None:
        """Reads where tasks run, and the outcomes of those that have ended."""
        names = {path.name for path in self._folder.iterdir()}
        for one in list(self._queued):
            is_placed = one.files.place.name in names
            if one.files.outcome.name in names and (outcome := one.files.read_outcome()) is not None:
                self._finish(one, outcome)
            elif is_placed and not one.node and (place := read_json(one.files.place)) is not None:
                one.node, one.begun = str(place["node"]), time.monotonic()
            elif not is_placed and one.node:  # it was put back into the queue
                one.node, one.begun = "", None

    def _read_states(self) -> None:
        """Reads the states of all tasks from the queue; what has ended without an outcome is lost after some looks."""
        states = self._queue.states([one.number for one in self._queued]) if self._queued else None
        if states is None:  # it may answer again later
            return
        for one in list(self._queued):
            state = states.get(one.number)
            if state is not None and not state.has_ended:
                one.looks, one.reason = 0, state.reason
            elif one.cancelled is not None:
                self._finish(one, None)
            elif one.looks < _LOOKS_AFTER_END:
                one.looks += 1
            else:
                self._finish(one, Outcome(failure=self._describe_loss(one, state)))

    def _cancel(self) -> None:
        """Cancels tasks that nobody wants any more, and kills those that do not end then."""
        unwanted = [one for one in self._queued if one.unwanted.is_set()]
        if new := [one for one in unwanted if one.cancelled is None]:
            self._queue.cancel([one.number for one in new])
            for one in new:
                one.cancelled = time.monotonic()
        if unwanted:
            self._next_look = min(self._next_look, time.monotonic() + 1.0)
        late = [one for one in unwanted if time.monotonic() - (one.cancelled or 0.0) > _INTERRUPT_SECONDS]
        for one in late:
            self._queue.kill([one.number])
            one.cancelled = time.monotonic()

    def _finish(self, one: QueuedTask, outcome: Outcome | None) -> None:
        one.outcome = None if one.cancelled is not None else outcome
        self._remove(one.files, one.number)
        with self._lock:
            self._queued.remove(one)
        one.done.set()

    def _end(self, numbers: Sequence[str]) -> set[str]:
        """Ends tasks, and returns the numbers of those that stay in the queue."""
        if not numbers:
            return set()
        self._queue.cancel(numbers)
        left = wait_until_gone(self._queue, numbers, _INTERRUPT_SECONDS)
        if left:
            self._queue.kill(left)
        return wait_until_gone(self._queue, left, _KILL_SECONDS) if left else left

    def _remove(self, files: TaskFiles, number: str) -> None:
        """Removes the files of a task: its own and those of submitit."""
        if number:
            for path in self._folder.glob(f"{number}_*"):
                path.unlink(missing_ok=True)
        files.remove()

    def _describe_loss(self, one: QueuedTask, state: State | None) -> str:
        """Returns why a task was lost, and keeps its output beside the log of the job's process."""
        where = f" on {one.node}" if one.node else ""
        known = "" if state is None else f" ({state.name}{', ' + state.reason if state.reason else ''})"
        output = self._folder / f"{one.number}_0_log.out"
        said = ""
        if output.is_file():
            kept = one.job.folder / "slurm.txt"
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(output, kept)
            line = last_line(output.read_text(encoding="utf-8", errors="replace"))
            said = f"; {kept} ends with: {line}" if line else ""
        return f"left the queue{where} without an outcome{known}{said}"
