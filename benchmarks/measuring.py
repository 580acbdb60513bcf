"""Rows of a benchmark that are measured in processes of their own: environment, time limit, kept results, table."""

import csv
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_lnn.files.atomic import atomic_path, write_json

_LONGEST_FAILURE = 200
_NO_TIME = "no time was left"


def list_processors() -> list[str]:
    """Returns ``cpu``, and ``gpu`` where Nvidia's driver lists one, without importing a framework."""
    program = shutil.which("nvidia-smi")
    listed = subprocess.run([program, "-L"], capture_output=True, text=True).stdout if program else ""
    return ["cpu", "gpu"] if "GPU" in listed else ["cpu"]


def make_environment(backend: str, processor: str) -> dict[str, str]:
    """Returns the environment of a process that computes with a backend of Keras on one kind of processor."""
    # First steps are measured with compiling: no program that was kept is used.
    own = {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_LNN_PROGRAMS": "0"}
    if processor == "cpu":
        return {**os.environ, **own, "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    # JAX would otherwise compute on the processor where its plugin for GPUs is missing.
    own |= {"JAX_PLATFORMS": "cuda", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    return {**os.environ, **own}


def measure_parts(
    script: str,
    parts: Sequence[dict[str, Any]],
    seconds: float,
    kept: Path | None,
    report: Callable[[str], None],
    budget: float = math.inf,
) -> list[dict[str, Any]]:
    """Returns the results of a script's parts, each from a process of its own, in the order of the parts.

    Args:
        script: The script; it is called with ``--part`` and the part as JSON, and prints its results as JSON.
        parts: What to measure; ``backend`` and ``processor`` choose the environment.
        seconds: Time limit of each process; the results that it has printed by then count.
        kept: File that keeps the results, failures too, so that a stopped measurement goes on; None to keep none.
        report: Called with a line for each part that is measured.
        budget: Seconds after which no part is begun and the one that runs is stopped.
    """
    end = time.monotonic() + budget
    known = json.loads(kept.read_text(encoding="utf-8")) if kept is not None and kept.exists() else []
    results = []
    for index, part in enumerate(parts, start=1):
        found = next((row["results"] for row in known if row["part"] == part), None)
        left = end - time.monotonic()
        if found is None and left <= 0:
            found = {"failure": _NO_TIME}
        elif found is None:
            found = measure_part(script, part, min(seconds, left))
            report(f"{index}/{len(parts)} {_show(part)}: {_show(found)}")
            known.append({"part": part, "results": found})
            # What the budget has cut short is measured again.
            if kept is not None and not (left < seconds and "failure" in found):
                write_json(kept, known)
        results.append(found)
    return results


def measure_part(script: str, part: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Returns the last results that a process has printed for one part, with ``failure`` if it did not end well."""
    command = [sys.executable, script, "--part", json.dumps(part)]
    environment = make_environment(part["backend"], part["processor"])
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        try:
            printed, errors = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            printed, _ = process.communicate()
            return _last_results(printed) | {"failure": f"took more than {seconds:.0f} s"}
    found = _last_results(printed)
    if process.returncode == 0:
        return found
    reasons = [line.strip() for line in errors.splitlines() if line.strip()]
    # Memory has run out where the system has killed a process.
    reason = "was killed" if process.returncode < 0 else (reasons or ["no reason given"])[-1]
    return found | {"failure": reason[:_LONGEST_FAILURE]}


def _last_results(printed: str) -> dict[str, Any]:
    lines = [line for line in printed.splitlines() if line.startswith("{") and line.endswith("}")]
    return json.loads(lines[-1]) if lines else {}


def _show(values: Mapping[str, Any]) -> str:
    texts = {key: f"{value:.3g}" if isinstance(value, float) else value for key, value in values.items()}
    return ", ".join(f"{key} {text}" for key, text in texts.items())


def write_table(rows: Sequence[Mapping[str, Any]], facts: Mapping[str, str], path: Path) -> None:
    """Writes a table of results below the lines that say how it was made, in the form that the pages read.

    Args:
        rows: The rows, with the same columns.
        facts: ``title``, ``command``, ``protocol``, ``seeds``, ``hardware`` and others that the pages show.
        path: The file.
    """
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        file.writelines(f"# {name}: {text}\n" for name, text in facts.items())
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
