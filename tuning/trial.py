"""One trial: the runs of one choice of hyperparameters, a seed each, in a process of their own."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

# Before anything is imported that is slow, so that the messages of its import stay out of the logs.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main() -> int:
    """Imports, waits for the order, obeys it and writes what came of it."""
    import keras  # noqa: F401, the slow part

    from keras_lnn import training  # noqa: F401

    line = sys.stdin.buffer.readline()
    if not line:
        return 0  # the search ended before this process was needed
    threading.Thread(target=_die_with_the_search, daemon=True).start()
    order = json.loads(line)
    _send_output_to(Path(order["log"]))
    from keras_lnn.files import write_json

    try:
        answer = run_trial(order)
    except BaseException as error:
        answer = {"failure": describe_failure(error)}
        traceback.print_exc()
    write_json(order["answer"], answer)
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of the runtimes are not waited for: there is nothing left to do.
    os._exit(0 if "failure" not in answer else 1)


def run_trial(order: dict[str, Any]) -> dict[str, Any]:
    """Trains each seed's run, or goes on with it where it was interrupted.

    Args:
        order: ``config`` (fields of the configuration), ``seeds``, ``folders`` (one a seed), ``starts`` (the runs to go
            on from, or None) and ``imports`` (modules with people's own models).

    Returns:
        The objective's value, epochs, seconds and best epoch of each run, and the number of parameters.
    """
    from keras_lnn.config import TrainConfig
    from keras_lnn.run import RunFolder
    from keras_lnn.training import resume, train

    for name in order["imports"]:
        importlib.import_module(name)
    runs = []
    starts = order["starts"] or [None] * len(order["seeds"])
    for seed, folder, start in zip(order["seeds"], order["folders"], starts, strict=True):
        if (Path(folder) / "config.yaml").is_file():
            result = resume(Path(folder))
        else:
            fields = {**order["config"], "seed": seed, "run_dir": folder, "start_from": start}
            result = train(TrainConfig.create(fields))
        runs.append({"seed": seed, **_summarise(RunFolder(Path(folder)), result.metrics)})
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


def _summarise(folder: Any, metrics: dict[str, Any]) -> dict[str, Any]:
    import pandas as pd

    from keras_lnn.recording import find_best

    history = pd.read_csv(folder.history).to_dict("records")
    best_epoch, best = find_best(history, metrics["monitor"])
    return {
        "objective": best,
        "best_epoch": best_epoch,
        "epochs": len(history),
        "seconds": metrics["seconds"],
        "parameters": metrics["parameters"],
    }


def _die_with_the_search() -> None:
    """Waits for the end of the standard input, which comes when the search is gone."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdin.buffer.read()
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _send_output_to(log: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
