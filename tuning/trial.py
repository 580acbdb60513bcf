"""Trials, each in a fresh process; and the helper that starts them.

The helper (``python -m tuning.trial``) reads an order a line, starts a process for it, answers with its number, waits
for its end and answers with its status, until its standard input ends. To import Keras takes as long as a short trial.
On Linux the helper therefore imports it once, without starting anything of it, and trials are forks of it: as fresh as
a new process, since nothing has run before. On other systems, where forks are not safe, each trial imports for itself
(``python -m tuning.trial one``).
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

# Before anything is imported that is slow, so that the messages of its import stay out of the logs.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_FORKS = sys.platform == "linux"
_LOOK_EVERY_SECONDS = 0.05
_WATCH_EVERY_SECONDS = 0.5


def serve() -> None:
    """Starts a process for each order, one at a time, until there are no more."""
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read_lines, args=(lines,), daemon=True).start()
    answers = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is imported may print
    if _FORKS:
        _import_all()
    while line := lines.get():
        pid, wait = _start(json.loads(line))
        _answer(answers, {"pid": pid})
        while (status := wait()) is None:
            with contextlib.suppress(queue.Empty):
                if not lines.get(timeout=_LOOK_EVERY_SECONDS):
                    from tuning.processes import kill_group

                    kill_group(pid)
                    return
        _answer(answers, {"status": status})


def obey(order: dict[str, Any]) -> None:
    """Runs a trial in this process, writes what came of it and ends the process."""
    from keras_lnn.files import write_json

    _send_output_to(Path(order["log"]))
    try:
        answer = run_trial(order)
    except BaseException as error:
        answer = {"failure": describe_failure(error)}
        traceback.print_exc()
    write_json(order["answer"], answer)
    sys.stdout.flush()
    sys.stderr.flush()
    # The threads of the runtimes are not waited for: there is nothing left to do.
    os._exit(1 if "failure" in answer else 0)


def run_trial(order: dict[str, Any]) -> dict[str, Any]:
    """Trains each seed's run, or goes on with it where it was interrupted.

    Args:
        order: ``config`` (fields of the configuration), ``seeds``, ``folders`` (one a seed), ``starts`` (the runs to go
            on from, or None) and ``imports`` (modules with people's own models).

    Returns:
        ``runs``: the objective, its epoch, epochs and seconds of this trial, and parameters of each.
    """
    from keras_lnn.config import TrainConfig
    from keras_lnn.training import resume, train

    for name in order["imports"]:
        importlib.import_module(name)
    runs = []
    starts = order["starts"] or [None] * len(order["seeds"])
    for seed, folder, start in zip(order["seeds"], order["folders"], starts, strict=True):
        config = TrainConfig.create({**order["config"], "seed": seed, "run_dir": folder, "start_from": start})
        if _is_run_of(Path(folder), config):
            result = resume(Path(folder))
        else:
            shutil.rmtree(folder, ignore_errors=True)  # of another search, or killed as it began
            result = train(config)
        runs.append({"seed": seed, **_summarise(result, start)})
    return {"runs": runs}


def describe_failure(error: BaseException) -> str:
    """In a few words what went wrong."""
    from keras_lnn.errors import InputError

    name, text = type(error).__name__, " ".join(str(error).split())
    if isinstance(error, InputError):
        return text
    if isinstance(error, MemoryError) or name == "ResourceExhaustedError" or "RESOURCE_EXHAUSTED" in text:
        return f"out of memory: {text[:200] or name}"
    if isinstance(error, SystemExit):
        return f"left with exit status {error.code}"
    return f"{name}: {text[:200]}" if text else name


def _is_run_of(folder: Path, config: Any) -> bool:
    """Whether a folder holds this run, begun before."""
    from keras_lnn.config import TrainConfig
    from keras_lnn.errors import InputError
    from keras_lnn.protocol import complete_config

    try:
        known = TrainConfig.from_yaml(folder / "config.yaml")
    except InputError:
        return False
    wanted = complete_config(config)
    if wanted.augmentation == "auto":  # a run writes what that meant
        wanted = wanted.model_copy(update={"augmentation": known.augmentation})
    return known == wanted


def _summarise(result: Any, start: str | None) -> dict[str, Any]:
    import pandas as pd

    from keras_lnn.errors import InputError
    from keras_lnn.recording import find_best
    from keras_lnn.run import RunFolder

    before = None if start is None else RunFolder(Path(start)).read_checkpoint()
    metrics = result.metrics
    history = pd.read_csv(result.folder.history).to_dict("records")
    best_epoch, best = find_best(history, metrics["monitor"])
    if best != best:
        raise InputError(f"The objective must be a number. Received: {best} as {metrics['monitor']} of each epoch.")
    return {
        "objective": best,
        "best_epoch": best_epoch,
        "epochs": len(history) - (before.epoch if before else 0),
        "seconds": metrics["seconds"] - (before.seconds if before else 0.0),
        "parameters": metrics["parameters"],
    }


def _import_all() -> None:
    """What trials need; nothing of it is run, so that no threads or devices are started."""
    for name in ("keras", "keras_lnn.training", "keras_lnn.plots", "matplotlib.figure", "keras_lnn.recording"):
        importlib.import_module(name)
    from keras_lnn.registry import list_models

    list_models()


def _start(order: dict[str, Any]) -> tuple[int, Any]:
    """A process that obeys; its number, and a function that gives its status once there is one."""
    if not _FORKS:
        process = subprocess.Popen([sys.executable, "-m", "tuning.trial", "one"], stdin=subprocess.PIPE)
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
        return process.pid, process.poll
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the thread that reads orders: the child does not need it
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
    from tuning.processes import kill_group

    while os.getppid() == helper:
        time.sleep(_WATCH_EVERY_SECONDS)
    kill_group(os.getpid())


def _read_lines(lines: queue.SimpleQueue) -> None:
    """Puts the lines of the standard input, and an empty one at its end; without the locks that a fork would copy."""
    rest = b""
    while piece := os.read(0, 2**16):
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            lines.put(line)
    lines.put(b"")


def _answer(descriptor: int, content: dict[str, int]) -> None:
    os.write(descriptor, json.dumps(content).encode() + b"\n")


def _send_output_to(log: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _obey_one() -> None:
    """Where trials are no forks: one order, in a group of its own."""
    if hasattr(os, "setsid"):
        os.setsid()
        threading.Thread(target=_die_with_the_helper, args=(os.getppid(),), daemon=True).start()
    obey(json.loads(sys.stdin.buffer.readline()))


if __name__ == "__main__":
    if sys.argv[1:] == ["one"]:
        _obey_one()
    else:
        serve()
