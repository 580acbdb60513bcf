"""What runs on a node of a cluster: one job in a process of its own, started as on a single machine.

The node's worker process only starts a :class:`~keras_lnn.processes.runner.ProcessRunner`, whose process does the job,
and reports: first the node, then (where folders are sent) the histories so far, and at last the outcome.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

from keras_lnn.errors import FullDiskError, InputError
from keras_lnn.files.atomic import LOCK_FILE, hold_folder
from keras_lnn.files.sources import describe_code
from keras_lnn.processes.packing import (
    pack_folder,
    translate_paths,
    translate_recorded,
    translate_shown,
    unpack_folder,
)
from keras_lnn.processes.pool import Job
from keras_lnn.processes.runner import Limits, Outcome, ProcessRunner
from keras_lnn.processes.sharing import SHARED_GPU, limit_threads
from keras_lnn.runs.folder import RunFolder

# Folders that a node may have elsewhere: its own value comes before that of the machine that starts the work.
FOLDER_VARIABLES = ("KERAS_LNN_CACHE", "MEDMNIST_ROOT", "TFDS_DATA_DIR")
# Variables of the command that change what a run does, and folders of data.
_PASSED = ("KERAS_", "TF_", "XLA_", "JAX_", *FOLDER_VARIABLES)
_LOOK_EVERY_SECONDS = 0.5
_ATTEMPT_FILE = ".attempt"
_TEMPORARY = "keras-lnn-job-"
# Longer than it takes to lock a folder that was just made.
_ABANDONED_SECONDS = 2.0


@dataclasses.dataclass(frozen=True)
class NodeTask:
    """A job as it is sent to a node.

    Args:
        work: ``module:function`` that takes the order and returns a dictionary.
        order: Argument of the function, as JSON content.
        folder: Folder of ``log.txt`` and ``result.json``.
        own_folders: Folders that it writes to.
        runs: Folders of the runs that it trains, which are among them or within one.
        limits: Limits beyond which its process is killed.
        environment: Environment variables of its process.
        working_folder: Folder that relative paths begin in.
        code: Version that the node must have, see :func:`~keras_lnn.files.sources.describe_code`.
        attempt: Name of this attempt at the job. In shared folders a later attempt ends it: its node may be cut off,
            but still at work.
        sends: Whether the folders are made in a temporary folder and sent back.
        inputs: Where folders are sent: the archive of each folder that exists, by its path.
    """

    work: str
    order: Mapping[str, Any]
    folder: str
    own_folders: tuple[str, ...]
    runs: tuple[str, ...]
    limits: Limits
    environment: Mapping[str, str | None]
    working_folder: str
    code: str
    attempt: str = ""
    sends: bool = False
    inputs: Mapping[str, bytes] = dataclasses.field(default_factory=dict)

    @classmethod
    def for_job(cls, job: Job, limits: Limits, environment: Mapping[str, str | None]) -> NodeTask:
        """Returns the task of a job of this process, in folders that the node sees under the same path."""
        return cls(
            work=job.work,
            order=job.order,
            folder=str(job.folder),
            own_folders=tuple(map(str, job.own_folders)),
            runs=tuple(map(str, job.runs)),
            limits=limits,
            environment=environment,
            working_folder=os.getcwd(),
            code=describe_code(),
        )


def find_variables() -> dict[str, str]:
    """Returns the environment variables of this process that change what a run does."""
    return {name: value for name, value in os.environ.items() if name.startswith(_PASSED)}


def choose_environment(variables: Mapping[str, str], processors: int) -> dict[str, str | None]:
    """Returns the environment variables of a run on a node, which computes on so many processors."""
    return {**variables, **limit_threads(processors), **SHARED_GPU}


def describe_node(working_folder: str, token: str) -> dict[str, Any]:
    """Returns the node's name and code, and whether it sees a folder and a file."""
    there = os.path.isdir(working_folder) and os.path.isfile(token)
    return {"node": platform.node(), "code": describe_code(), "sees": there}


def work_as_task(task: NodeTask) -> Generator[dict[str, Any]]:
    """Does a job as a task of Ray; beside the messages of :func:`work_on_node` it yields ``id``, that of the node."""
    import ray

    yield {"id": ray.get_runtime_context().get_node_id()}
    yield from work_on_node(task)


def work_on_node(task: NodeTask, make_runner: Callable[[], ProcessRunner] = ProcessRunner) -> Generator[dict[str, Any]]:
    """Does a job and yields what the machine that has sent it needs to know.

    Args:
        task: The job.
        make_runner: Returns what starts and supervises its process.

    Yields:
        ``node``, its name; perhaps several times ``histories``, the histories of the runs by their number; and
        ``outcome``, with ``folders``, the archives of the job's folders by their path, where they are sent.
    """
    yield {"node": platform.node()}
    if task.code != describe_code():
        failure = f"the node {platform.node()} must have {task.code}. Received: {describe_code()}"
        yield {"outcome": dataclasses.asdict(Outcome(failure=failure)), "folders": {}}
        return
    for name, value in task.environment.items():
        if value is not None and not (name in FOLDER_VARIABLES and os.environ.get(name)):
            os.environ[name] = value
    with contextlib.ExitStack() as stack:
        if not task.sends or os.path.isdir(task.working_folder):
            os.chdir(task.working_folder)
        places = _place_folders(task, stack) if task.sends else {}
        moved = dataclasses.replace(task, **translate_paths(_paths_of(task), places))
        outcome = yield from _run(moved, make_runner())
        back = {place: folder for folder, place in places.items()}
        folders = {}
        for folder in task.own_folders if task.sends else ():
            place = Path(places[folder])
            if place.is_dir():
                translate_recorded(place, back)
                translate_shown(place, back)
                folders[folder] = pack_folder(place)
    # After the temporary folder is gone: with the outcome the command may end, and Ray this process.
    yield {"outcome": dataclasses.asdict(outcome), "folders": folders}


def _paths_of(task: NodeTask) -> dict[str, Any]:
    return {"order": task.order, "folder": task.folder, "runs": task.runs}


def _place_folders(task: NodeTask, stack: contextlib.ExitStack) -> dict[str, str]:
    """Returns a place in a temporary folder for each folder of the job, with what has been sent of it."""
    try:
        made = tempfile.TemporaryDirectory(prefix=_TEMPORARY, ignore_cleanup_errors=True)
    except FileNotFoundError as error:  # Python has tried to write to each folder for temporary files
        raise FullDiskError(f"A node needs a disk with room for temporary files. Received: {error.strerror}.") from None
    temporary = Path(stack.enter_context(made))
    _remove_abandoned(temporary.parent)
    stack.enter_context(hold_folder(temporary, "A job", ""))
    needed = dict.fromkeys([*task.own_folders, *task.inputs])
    # The last part of the name stays, since that of a run becomes that of its export.
    places = {folder: str(temporary / str(count) / Path(folder).name) for count, folder in enumerate(needed)}
    for folder, content in task.inputs.items():
        unpack_folder(content, Path(places[folder]))
        translate_recorded(Path(places[folder]), places)
    return places


def _remove_abandoned(folder: Path) -> None:
    """Removes temporary folders of jobs whose process was killed, as Ray does when the command has been killed."""
    for lock in folder.glob(f"{_TEMPORARY}*/{LOCK_FILE}"):
        with contextlib.suppress(OSError, InputError):  # of another user, or of a job at work
            if time.time() - lock.stat().st_mtime > _ABANDONED_SECONDS:
                with hold_folder(lock.parent, "A job", ""):
                    shutil.rmtree(lock.parent, ignore_errors=True)


def _run(task: NodeTask, runner: ProcessRunner) -> Generator[dict[str, Any], None, Outcome]:
    """Runs the job's process, yields histories if folders are sent, and returns the outcome."""
    outcomes: list[Outcome] = []
    stop = threading.Event()

    def run() -> None:
        outcomes.append(runner.run(task.work, task.order, Path(task.folder), limits=task.limits, stop=stop))

    mark = Path(task.folder, _ATTEMPT_FILE)
    if not task.sends:
        mark.parent.mkdir(parents=True, exist_ok=True)
        # In place, since other nodes may go on to see the old file for a while if another one replaces it.
        mark.write_text(task.attempt, encoding="utf-8")
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    seen: dict[int, bytes] = {}
    try:
        while thread.is_alive():
            thread.join(_LOOK_EVERY_SECONDS)
            if not task.sends and _is_overtaken(task, mark):
                stop.set()
            if task.sends and (news := _read_histories(task, seen)):
                seen |= news
                yield {"histories": news}
    finally:  # also where the job is cancelled, which is an interruption by the keyboard here
        stop.set()
        thread.join()
        runner.close()
        if not task.sends and not _is_overtaken(task, mark):
            mark.unlink(missing_ok=True)
    if not outcomes:
        raise RuntimeError("The job's process could not be watched; its node's log says why.")
    return outcomes[0]


def _is_overtaken(task: NodeTask, mark: Path) -> bool:
    """Returns whether another attempt at the job has begun elsewhere, because this node is taken for lost."""
    try:
        return mark.read_text(encoding="utf-8") not in ("", task.attempt)  # it is empty while it is written
    except OSError:
        return False


def _read_histories(task: NodeTask, seen: Mapping[int, bytes]) -> dict[int, bytes]:
    """Returns the histories that have changed, by the number of their run."""
    found = {}
    for number, folder in enumerate(task.runs):
        with contextlib.suppress(OSError):
            content = RunFolder(Path(folder)).history.read_bytes()
            if content != seen.get(number):
                found[number] = content
    return found
