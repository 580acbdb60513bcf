"""One trial in a process of its own: started, watched, and killed with its children when it must be.

The process is a plain program (``python -m tuning.trial``) that reads its order from its standard input. It may be
started before there is an order, so that it has imported Keras by then. Its standard input stays open: when the parent
is gone, however it went, the process sees the end of it and kills itself and its children.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from keras_lnn.files import DAMAGED_FILE_ERRORS

_LOOK_EVERY_SECONDS = 0.2
_SILENCE_AT_MOST = 200


@dataclasses.dataclass(frozen=True)
class Limits:
    """When a trial's process is killed.

    Args:
        seconds: Of a trial, from its order to its result.
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
        seconds: From its order to its end.
        interrupted: Whether it was stopped because the search stops, so that it says nothing of the trial.
    """

    result: dict[str, Any] | None = None
    failure: str | None = None
    seconds: float = 0.0
    interrupted: bool = False


class TrialProcess:
    """A process that waits for the order of one trial.

    Args:
        environment: Variables to set beside those of this process, such as the GPU that it may see; None removes one.
    """

    def __init__(self, environment: Mapping[str, str | None] | None = None) -> None:
        paths = [path or os.getcwd() for path in sys.path]
        variables = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **(environment or {})}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tuning.trial"],
            env={name: value for name, value in variables.items() if value is not None},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def run(self, order: Mapping[str, Any], folder: Path, limits: Limits, stop: threading.Event) -> Outcome:
        """Gives the order and waits for the end.

        Args:
            order: What :mod:`tuning.trial` takes; beside it, where to write the log and the result.
            folder: Of the trial; gets ``log.txt`` and ``result.json``.
            limits: When to kill it.
            stop: Once it is set, the process is killed.
        """
        log, answer = folder / "log.txt", folder / "result.json"
        folder.mkdir(parents=True, exist_ok=True)
        answer.unlink(missing_ok=True)
        begun = time.monotonic()
        with contextlib.suppress(OSError):  # it has died already: the status says how
            self._process.stdin.write(json.dumps({**order, "log": str(log), "answer": str(answer)}).encode() + b"\n")
            self._process.stdin.flush()
        killed = self._watch(limits, stop, begun)
        seconds = time.monotonic() - begun
        self.kill()  # what it has left behind, too
        if stop.is_set() and killed == "":
            return Outcome(seconds=seconds, interrupted=True)
        content = _read_answer(answer)
        status = self._process.returncode
        if killed or status != 0 or content is None or "failure" in content:
            told = content.get("failure") if content else None
            return Outcome(failure=killed or told or _describe_end(status, log), seconds=seconds)
        return Outcome(result=content, seconds=seconds)

    def kill(self) -> None:
        """Kills the process and its children, and waits for it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.wait()

    def _watch(self, limits: Limits, stop: threading.Event, begun: float) -> str | None:
        """Waits; the reason why it was killed, empty where the search stops, None where it ended by itself."""
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_LOOK_EVERY_SECONDS)
                return None
            reason = None
            if stop.is_set():
                reason = ""
            elif limits.seconds is not None and time.monotonic() - begun > limits.seconds:
                reason = f"took longer than {limits.seconds:g} s (--trial-timeout)"
            elif limits.memory_bytes is not None and (used := _resident(self._process.pid)) > limits.memory_bytes:
                reason = (
                    f"used {used / 2**20:,.0f} MiB, more than {limits.memory_bytes / 2**20:,.0f} MiB (--memory-limit)"
                )
            if reason is not None:
                self.kill()
                return reason


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
    if status == -signal.SIGKILL:
        return "was killed by the system (SIGKILL), as it does when memory runs out"
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = str(-status)
        return f"was ended by {name}" + (f": {last}" if last else "")
    said = f"; its last words: {last}" if last else " without a word"
    return f"ended with exit status {status} and no result{said}"


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip()[:_SILENCE_AT_MOST] for line in reversed(lines) if line.strip()), "")
