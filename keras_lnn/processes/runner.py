"""Work in separate processes: started, watched, and killed with their children when necessary.

A program has one helper, ``python -m keras_lnn.processes.helper``, which imports Keras once and starts a fresh process
for each order that it reads from its standard input (see there). A process that loses its parent kills itself: the
helper when its standard input ends, its processes when the helper is gone. So nothing keeps running after a program,
however it ended.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import itertools
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from keras_lnn.files.atomic import DAMAGED_FILE_ERRORS
from keras_lnn.processes.helper_client import HelperClient, last_line

_LOOK_EVERY_SECONDS = 0.2
_KILLED = -9
# The beginning of a failure whose cause is a full disk, and the errors of the system that mean one.
DISK_FULL = "the disk is full"
DISK_FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT)


@dataclasses.dataclass(frozen=True)
class Limits:
    """Limits beyond which a process is killed.

    Args:
        seconds: Time since its start.
        memory_bytes: Resident set of the process and its children together.
    """

    seconds: float | None = None
    memory_bytes: float | None = None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The outcome of a process.

    Args:
        result: The result of the work if it succeeded.
        failure: A short reason if it failed.
        seconds: Time from its start to its end.
        interrupted: Whether it was stopped because everything stops, so that its end is not the fault of the work.
    """

    result: dict[str, Any] | None = None
    failure: str | None = None
    seconds: float = 0.0
    interrupted: bool = False


class ProcessRunner:
    """Runs pieces of work, each in its own process; several threads may use it at the same time.

    Its helper starts at once, so that it imports what the work needs while the program prepares.

    Args:
        environment: Environment variables of the processes in addition to those of this one; None removes a variable.
    """

    def __init__(self, environment: Mapping[str, str | None] | None = None) -> None:
        paths = [path or os.getcwd() for path in sys.path]
        variables = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **(environment or {})}
        self._environment = {name: value for name, value in variables.items() if value is not None}
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._helper = HelperClient(self._environment)

    def run(
        self,
        work: str,
        order: Mapping[str, Any],
        folder: Path,
        *,
        limits: Limits,
        stop: threading.Event,
        environment: Mapping[str, str | None] | None = None,
    ) -> Outcome:
        """Runs a piece of work and waits for its end.

        Args:
            work: ``module:function`` that takes the order and returns a dictionary.
            order: Argument of the function; it and the result must be JSON content.
            folder: Folder for ``log.txt``, which holds the output of the process, and ``result.json``.
            limits: Limits beyond which the process is killed.
            stop: Once it is set, the process is killed.
            environment: Environment variables of this process alone, such as the GPU that it may use.
        """
        log, result = folder / "log.txt", folder / "result.json"
        folder.mkdir(parents=True, exist_ok=True)
        result.unlink(missing_ok=True)
        with self._lock:
            if not self._helper.is_alive():
                self._helper.close()
                self._helper = HelperClient(self._environment)
            helper, number = self._helper, next(self._numbers)
        files = {"log": str(log), "result": str(result)}
        replies = helper.ask(number, {"work": work, "order": order, "environment": dict(environment or {}), **files})
        status, killed, seconds = _watch(helper, replies, limits, stop)
        if killed == "":
            return Outcome(seconds=seconds, interrupted=True)
        content = _read_result(result)
        if killed or status != 0 or content is None or "failure" in content:
            reported = content.get("failure") if content else None
            return Outcome(failure=killed or reported or _describe_end(status, log), seconds=seconds)
        return Outcome(result=content, seconds=seconds)

    def close(self) -> None:
        """Ends the helper and the processes that it has started."""
        with self._lock:
            self._helper.close()


def _watch(
    helper: HelperClient, replies: queue.SimpleQueue[dict[str, int]], limits: Limits, stop: threading.Event
) -> tuple[int, str | None, float]:
    """Waits for a process; returns its status, the reason if it was killed, and its run time.

    The reason is empty if everything stops, and None if the process was not killed.
    """
    pid, reason, begun = None, None, time.monotonic()
    while True:
        with contextlib.suppress(queue.Empty):
            reply = replies.get(timeout=_LOOK_EVERY_SECONDS)
            if "gone" in reply and reply["status"] != _KILLED and reason is None:
                reason = f"could not start: {helper.last_message() or 'its helper process ended'}"
            if "status" in reply:
                return reply["status"], reason, time.monotonic() - begun
            pid, begun = reply["pid"], time.monotonic()
        if reason is None:
            reason = "" if stop.is_set() else None if pid is None else _reason_to_kill(pid, limits, begun)
        if reason is not None and pid is not None:
            kill_group(pid)
        elif reason is not None:  # the helper is still importing
            helper.process.kill()


def _reason_to_kill(pid: int, limits: Limits, begun: float) -> str | None:
    if limits.seconds is not None and time.monotonic() - begun > limits.seconds:
        return f"took longer than its limit of {limits.seconds:g} s"
    if limits.memory_bytes is not None and (used := _resident(pid)) > limits.memory_bytes:
        return f"used {used / 2**20:,.0f} MiB, more than its limit of {limits.memory_bytes / 2**20:,.0f} MiB"
    return None


def kill_group(pid: int) -> None:
    """Kills a process that leads a group, and its group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(pid, signal.SIGKILL)
        else:
            psutil.Process(pid).kill()


def _resident(pid: int) -> int:
    """Returns the resident memory of a process and its children, in bytes."""
    total = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                total += one.memory_info().rss
    return total


def _read_result(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except DAMAGED_FILE_ERRORS:
        return None
    return content if isinstance(content, dict) else None


def _describe_end(status: int, log: Path) -> str:
    try:
        last = last_line(log.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        last = ""
    if status == _KILLED:
        return "was killed by the system (SIGKILL), which happens when memory runs out"
    if status in DISK_FULL_ERRORS:
        return f"{DISK_FULL}: {os.strerror(status)}, not even for the result of the process"
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-status).name}" + (f": {last}" if last else "")
    said = f"; its last output: {last}" if last else " and without output"
    return f"ended with exit status {status}, without a result{said}"
