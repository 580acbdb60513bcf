"""Each trial in a process of its own: started, watched, and killed with its children when it must be.

A worker of a search has one helper, ``python -m tuning.trial``, which imports Keras once and starts a fresh process for
each order that it reads from its standard input (see there). Whoever is left without a parent kills itself: the helper
when its standard input ends, a trial when its helper is gone. So nothing runs on after a search, however it went.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from keras_lnn.files import DAMAGED_FILE_ERRORS

_LOOK_EVERY_SECONDS = 0.2
_LONGEST_LINE = 200
_KILLED = -9


@dataclasses.dataclass(frozen=True)
class Limits:
    """When a trial's process is killed.

    Args:
        seconds: Of a trial, from the start of its process.
        memory_bytes: Of the resident set of the process and its children together.
    """

    seconds: float | None = None
    memory_bytes: float | None = None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a trial's process ended.

    Args:
        result: What it has written, where it ended well.
        failure: The reason in a few words, where it did not.
        seconds: From the start of its process to its end.
        interrupted: Whether it was stopped because the search stops, so that it says nothing of the trial.
    """

    result: dict[str, Any] | None = None
    failure: str | None = None
    seconds: float = 0.0
    interrupted: bool = False


class TrialRunner:
    """Runs one trial after the other, each in a process of its own.

    Args:
        environment: Variables to set beside those of this process, such as the GPU that it may see; None removes one.
    """

    def __init__(self, environment: Mapping[str, str | None] | None = None) -> None:
        paths = [path or os.getcwd() for path in sys.path]
        variables = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **(environment or {})}
        self._environment = {name: value for name, value in variables.items() if value is not None}
        self._begin()

    def run(self, order: Mapping[str, Any], folder: Path, limits: Limits, stop: threading.Event) -> Outcome:
        """Runs a trial and waits for its end.

        Args:
            order: What :mod:`tuning.trial` takes.
            folder: Of the trial; gets ``log.txt`` and ``result.json``.
            limits: When to kill it.
            stop: Once it is set, the process is killed.
        """
        log, answer = folder / "log.txt", folder / "result.json"
        folder.mkdir(parents=True, exist_ok=True)
        answer.unlink(missing_ok=True)
        if self._helper.poll() is not None:
            self.close()
            self._begin()
        with contextlib.suppress(OSError):  # it has died: the status says how
            self._helper.stdin.write(json.dumps({**order, "log": str(log), "answer": str(answer)}).encode() + b"\n")
            self._helper.stdin.flush()
        status, killed, seconds = self._watch(limits, stop)
        if killed == "":
            return Outcome(seconds=seconds, interrupted=True)
        content = _read_answer(answer)
        if killed or status != 0 or content is None or "failure" in content:
            told = content.get("failure") if content else None
            return Outcome(failure=killed or told or _describe_end(status, log), seconds=seconds)
        return Outcome(result=content, seconds=seconds)

    def close(self) -> None:
        """Ends the helper, and with it what it has started."""
        with contextlib.suppress(OSError):
            self._helper.stdin.close()
        try:
            self._helper.wait(5)
        except subprocess.TimeoutExpired:
            self._helper.kill()
            self._helper.wait()
        self._reader.join(5)
        self._helper.stdout.close()
        self._files.close()

    def _last_message(self) -> str:
        self._messages.seek(0)
        lines = self._messages.read().decode(errors="replace").split("\n")
        return next((line.strip()[:_LONGEST_LINE] for line in reversed(lines) if line.strip()), "")

    def _begin(self) -> None:
        self._files = contextlib.ExitStack()
        # What the helper says, should it not begin.
        self._messages = self._files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115, the stack closes it
        self._helper = subprocess.Popen(
            [sys.executable, "-m", "tuning.trial"],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._messages,
        )
        self._replies: queue.SimpleQueue[dict[str, int]] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._listen, args=(self._helper, self._replies), daemon=True)
        self._reader.start()

    @staticmethod
    def _listen(helper: subprocess.Popen, replies: queue.SimpleQueue) -> None:
        with contextlib.suppress(OSError, ValueError):
            for line in helper.stdout:
                replies.put(json.loads(line))
        replies.put({"status": helper.wait(), "gone": True})

    def _watch(self, limits: Limits, stop: threading.Event) -> tuple[int, str | None, float]:
        """Waits; the status, the reason why it was killed, and how long it ran once the helper had started it.

        The reason is empty where the search stops and None where it was not killed.
        """
        pid, reason, begun = None, None, time.monotonic()
        while True:
            with contextlib.suppress(queue.Empty):
                reply = self._replies.get(timeout=_LOOK_EVERY_SECONDS)
                if "gone" in reply and reply["status"] != _KILLED and reason is None:
                    reason = f"could not begin: {self._last_message() or 'its helper ended'}"
                if "status" in reply:
                    return reply["status"], reason, time.monotonic() - begun
                pid, begun = reply["pid"], time.monotonic()
            if reason is None:
                reason = "" if stop.is_set() else None if pid is None else _reason_to_kill(pid, limits, begun)
            if reason is not None and pid is not None:
                kill_group(pid)
            elif reason is not None:  # the helper is not through its imports yet
                self._helper.kill()


def _reason_to_kill(pid: int, limits: Limits, begun: float) -> str | None:
    if limits.seconds is not None and time.monotonic() - begun > limits.seconds:
        return f"took longer than {limits.seconds:g} s (--trial-timeout)"
    if limits.memory_bytes is not None and (used := _resident(pid)) > limits.memory_bytes:
        limit = limits.memory_bytes / 2**20
        return f"used {used / 2**20:,.0f} MiB, more than {limit:,.0f} MiB (--memory-limit)"
    return None


def kill_group(pid: int) -> None:
    """Kills a process that leads a group, and the group with it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(pid, signal.SIGKILL)
        else:
            psutil.Process(pid).kill()


def _resident(pid: int) -> int:
    """Bytes of a process and its children."""
    total = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                total += one.memory_info().rss
    return total


def _read_answer(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except DAMAGED_FILE_ERRORS:
        return None
    return content if isinstance(content, dict) else None


def _describe_end(status: int, log: Path) -> str:
    last = _last_line(log)
    if status == _KILLED:
        return "was killed by the system (SIGKILL), as it does when memory runs out"
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-status).name}" + (f": {last}" if last else "")
    said = f"; its last words: {last}" if last else " and without a word"
    return f"ended with exit status {status}, without a result{said}"


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip()[:_LONGEST_LINE] for line in reversed(lines) if line.strip()), "")
