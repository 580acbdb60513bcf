"""What runs in a task of Slurm: one job in a process of its own, which goes on in a later task if time is up.

submitit starts a task by unpickling what it has pickled when the task was submitted, in a folder that only its user can
read and write. That is always the function :func:`work_in_task` of this module, by its name, and a path. What the task
shall do, and what came of it, are JSON files beside that path.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import signal
from pathlib import Path
from typing import Any

from keras_lnn.files.atomic import DAMAGED_FILE_ERRORS, without_nan, write_json
from keras_lnn.processes.node_work import NodeTask, work_on_node
from keras_lnn.processes.runner import Limits, Outcome, ProcessRunner
from keras_lnn.runs.folder import RunFolder

# How the names of orders end.
ORDER = ".order.json"
# Number of times in a row that a task may be stopped before an epoch has ended; then it would never end.
MOST_FRUITLESS = 3
# Slurm sends these to all processes of a task: before its time limit, when it is preempted, and when it is cancelled.
_FOR_THE_TASK = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT, signal.SIGCONT)


@dataclasses.dataclass(frozen=True)
class TaskFiles:
    """The files of a task, by which it and the command know of each other.

    Args:
        folder: Folder of the files of all tasks.
        key: Unique name of the task.
    """

    folder: Path
    key: str

    @property
    def order(self) -> Path:
        """Returns the path of what the task shall do, a :class:`NodeTask`; without it the task does nothing."""
        return self.folder / f"{self.key}{ORDER}"

    @property
    def queued(self) -> Path:
        """Returns the path of the number of the task in the queue, which the command writes."""
        return self.folder / f"{self.key}.queued.json"

    @property
    def place(self) -> Path:
        """Returns the path of the node on which the task is or was last, and of its number."""
        return self.folder / f"{self.key}.place.json"

    @property
    def outcome(self) -> Path:
        """Returns the path of the outcome; the task has ended once it is there."""
        return self.folder / f"{self.key}.outcome.json"

    @property
    def number(self) -> str:
        """Returns the number of the task in the queue, or an empty text if nobody knows it."""
        return str((read_json(self.queued) or read_json(self.place) or {}).get("number", ""))

    def read_outcome(self) -> Outcome | None:
        """Returns the outcome, or None if there is none yet."""
        content = read_json(self.outcome)
        return None if content is None else Outcome(**content)

    def remove(self) -> None:
        """Removes the files; the order comes last, since it names the task."""
        for path in (self.outcome, self.place, self.queued, self.order):
            path.unlink(missing_ok=True)


def describe_order(task: NodeTask) -> dict[str, Any]:
    """Returns what a task shall do as the content of its order; no folders are sent, since the disk is shared."""
    content = dataclasses.asdict(task)
    del content["inputs"]
    return json.loads(json.dumps(without_nan(content)))


def read_json(path: Path) -> dict[str, Any] | None:
    """Returns the content of a JSON file, or None if it is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except DAMAGED_FILE_ERRORS:
        return None
    return content if isinstance(content, dict) else None


def work_in_task(order: str, fruitless: int = 0) -> None:
    """Does what an order says, and writes the outcome beside it.

    Args:
        order: Path of the order, see :class:`TaskFiles`.
        fruitless: Number of times in a row that the task was stopped before an epoch had ended.
    """
    files = _files_of(order)
    content = read_json(files.order)
    if content is None:  # the command that queued it no longer wants it
        return
    limits = Limits(**content["limits"])
    task = NodeTask(**{name: value for name, value in content.items() if name != "limits"}, limits=limits)
    write_json(files.place, {"number": _find_number(), "node": platform.node(), "epochs": _count_epochs(content)})
    *_, last = work_on_node(task, make_runner=_start_runner)
    write_json(files.outcome, last["outcome"])


def put_back(order: str, fruitless: int = 0) -> Any:
    """Returns the next task for an order whose task must end now, or None if further tasks would be in vain.

    submitit calls this before the time limit and when the task is preempted, and then puts the task into the queue
    again. The work itself goes on from its last checkpoint.
    """
    from submitit.helpers import DelayedSubmission

    files = _files_of(order)
    content, place = read_json(files.order), read_json(files.place)
    if content is None:
        return None
    began_with = 0 if place is None else place["epochs"]
    fruitless = 0 if _count_epochs(content) > began_with else fruitless + 1
    if fruitless >= MOST_FRUITLESS:
        failure = (
            f"was stopped {fruitless} times in a row, by its time limit or to make room, before an epoch ended. Give it"
            " more time with --slurm-time"
        )
        write_json(files.outcome, dataclasses.asdict(Outcome(failure=failure)))
        return None
    files.place.unlink(missing_ok=True)
    return DelayedSubmission(work_in_task, order, fruitless)


# By this name submitit finds out that a function can go on later.
setattr(work_in_task, "checkpoint", put_back)  # noqa: B010, types do not know attributes of functions


def _files_of(order: str) -> TaskFiles:
    path = Path(order)
    return TaskFiles(path.parent, path.name.removesuffix(ORDER))


def _find_number() -> str:
    """Returns the number of this task in the queue."""
    from submitit import JobEnvironment

    return JobEnvironment().job_id


def _count_epochs(order: dict[str, Any]) -> int:
    """Returns the number of epochs of all runs of an order so far."""
    count = 0
    for run in order["runs"]:
        try:
            lines = RunFolder(Path(order["working_folder"], run)).history.read_text(encoding="utf-8").splitlines()
        except DAMAGED_FILE_ERRORS:
            continue
        count += max(0, len(lines) - 1)
    return count


def _start_runner() -> ProcessRunner:
    """Returns a runner whose processes do not receive what Slurm sends to all processes of a task.

    This process alone decides what follows, and ends them by a signal that cannot be blocked.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_THE_TASK)
    try:
        return ProcessRunner()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
