"""The helper that starts processes for work, and the code that runs in them.

The helper (``python -m keras_lnn.processes.helper``) reads one order per line from its standard input until that ends.
It starts a process for each order and replies with its process id and, once it has ended, with its exit status.
Importing Keras takes as long as a short training. On Linux the helper therefore imports it once, without running any of
it, and forks the processes: they are as clean as new processes, since nothing has run before. On other systems, where
forks are not safe, each process imports Keras itself (``python -m keras_lnn.processes.helper one``).
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import queue
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# Set before any slow import, so that the messages of TensorFlow's import stay out of the logs.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_FORKS = sys.platform == "linux"
_LOOK_EVERY_SECONDS = 0.05
_WATCH_EVERY_SECONDS = 0.5
_LONGEST_TEXT = 200


def serve() -> None:
    """Starts a process for each order until the standard input ends."""
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read_lines, args=(lines,), daemon=True).start()
    replies = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # imported modules may print
    if _FORKS:
        _import_all()
    running: dict[int, tuple[int, Callable[[], int | None]]] = {}
    while True:
        with contextlib.suppress(queue.Empty):
            line = lines.get(timeout=_LOOK_EVERY_SECONDS if running else None)
            if not line:
                break
            order = json.loads(line)
            pid, wait = _start(order)
            running[pid] = order["number"], wait
            _reply(replies, {"number": order["number"], "pid": pid})
        for pid, (number, wait) in list(running.items()):
            if (status := wait()) is not None:
                del running[pid]
                _reply(replies, {"number": number, "status": status})
    _kill(*running)


def obey(order: Mapping[str, Any]) -> None:
    """Does the work in this process, writes its result and ends the process."""
    from keras_lnn.files.atomic import write_json
    from keras_lnn.processes.runner import DISK_FULL_ERRORS

    for name, value in order["environment"].items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    try:
        _send_output_to(Path(order["log"]))
        module, _, name = order["work"].partition(":")
        result = getattr(importlib.import_module(module), name)(order["order"])
    except BaseException as error:
        result = {"failure": describe_failure(error)}
        with contextlib.suppress(OSError):  # the disk may be full
            traceback.print_exc()
    try:
        write_json(order["result"], result)
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError as error:
        if error.errno not in DISK_FULL_ERRORS:
            raise
        os._exit(error.errno)  # a report that needs no disk
    # The threads of the runtimes are not joined: nothing is left to do.
    os._exit(1 if "failure" in result else 0)


def describe_failure(error: BaseException) -> str:
    """Returns a short description of an error."""
    from keras_lnn.errors import FullDiskError, InputError
    from keras_lnn.processes.runner import DISK_FULL, DISK_FULL_ERRORS

    name, text = type(error).__name__, " ".join(str(error).split())
    full = isinstance(error, FullDiskError) or any(os.strerror(number) in text for number in DISK_FULL_ERRORS)
    if isinstance(error, InputError):
        return f"{DISK_FULL}: {text}" if full else text
    if full:
        return f"{DISK_FULL}: {text[:_LONGEST_TEXT]}"
    if isinstance(error, MemoryError) or name == "ResourceExhaustedError" or "RESOURCE_EXHAUSTED" in text:
        return f"out of memory: {text[:_LONGEST_TEXT] or name}"
    if isinstance(error, SystemExit):
        return f"exited with status {error.code}"
    return f"{name}: {text[:_LONGEST_TEXT]}" if text else name


def _import_all() -> None:
    """Imports what training needs without running any of it, so that no threads or devices are started."""
    from keras_lnn.starting.importing import import_keras

    import_keras("keras_lnn.training.loop", "keras_lnn.plots", "matplotlib.figure", "keras_lnn.training.recorder")
    from keras_lnn.registry import list_models

    list_models()
    gc.freeze()  # what the models have imported


def _start(order: Mapping[str, Any]) -> tuple[int, Callable[[], int | None]]:
    """Starts a process for an order; returns its id, and a function that returns its exit status or None."""
    if not _FORKS:
        one = [sys.executable, "-m", "keras_lnn.processes.helper", "one"]
        process = subprocess.Popen(one, stdin=subprocess.PIPE)
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
        return process.pid, process.poll
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the thread that reads orders, which the child does not need
        pid = os.fork()
    if pid == 0:
        os.setsid()
        threading.Thread(target=_die_with_the_helper, args=(os.getppid(),), daemon=True).start()
        obey(order)

    def wait() -> int | None:
        ended, status = os.waitpid(pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if ended else None

    return pid, wait


def _die_with_the_helper(helper: int) -> None:
    """Kills this process and its children once its helper is gone."""
    while os.getppid() == helper:
        time.sleep(_WATCH_EVERY_SECONDS)
    _kill(os.getpid())


def _kill(*leaders: int) -> None:
    from keras_lnn.processes.runner import kill_group

    for pid in leaders:
        kill_group(pid)


def _read_lines(lines: queue.SimpleQueue) -> None:
    """Puts each line of the standard input into the queue, then an empty one, without locks that a fork would copy."""
    rest = b""
    while piece := os.read(0, 2**16):
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            lines.put(line)
    lines.put(b"")


def _reply(descriptor: int, content: Mapping[str, int]) -> None:
    os.write(descriptor, json.dumps(content).encode() + b"\n")


def _send_output_to(log: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _obey_one() -> None:
    """Does one order in its own process group, on systems without forks."""
    if hasattr(os, "setsid"):
        os.setsid()
        threading.Thread(target=_die_with_the_helper, args=(os.getppid(),), daemon=True).start()
    obey(json.loads(sys.stdin.buffer.readline()))


if __name__ == "__main__":
    if sys.argv[1:] == ["one"]:
        _obey_one()
    else:
        serve()
