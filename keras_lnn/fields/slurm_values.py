"""How the time limit and further options of ``sbatch`` are written, for runs in the queue of Slurm."""

from __future__ import annotations

import re
import shlex

from keras_lnn.fields.values import parse_duration

SHORTEST_TIME_SECONDS = 300.0
# What the runs' own options, or how runs are queued, decide already; with the option to give instead.
_DECIDED = {
    "array": "--workers",
    "begin": None,
    "chdir": None,
    "clusters": None,
    "cpus-per-task": "--cpus-per-run",
    "dependency": None,
    "error": None,
    "export": None,
    "export-file": None,
    "gpus": "--gpus-per-run",
    "gpus-per-node": "--gpus-per-run",
    "gpus-per-task": "--gpus-per-run",
    "hold": None,
    "input": None,
    "job-name": None,
    "no-requeue": None,
    "nodes": None,
    "ntasks": None,
    "ntasks-per-node": None,
    "open-mode": None,
    "output": None,
    "parsable": None,
    "partition": "--slurm-partition",
    "requeue": None,
    "signal": None,
    "test-only": None,
    "time": "--slurm-time",
    "uid": None,
    "wait": None,
    "wrap": None,
}


def parse_slurm_time(text: str) -> float:
    """Returns the seconds of a time limit such as ``30m``, ``4h`` or, as Slurm writes it, ``1-12:00:00``."""
    match = re.fullmatch(r"(?:(\d{1,3})-)?(\d{1,3}):(\d\d):(\d\d)", str(text).strip())
    if match is not None:
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        found = ((days * 24 + hours) * 60 + minutes) * 60.0 + seconds
    elif not re.search("[smh]$", str(text).strip().lower()):  # Slurm would read a number as minutes
        raise ValueError("must be a number followed by m or h, such as 30m or 4h, or [DAYS-]HH:MM:SS")
    else:
        found = parse_duration(str(text))
    if found < SHORTEST_TIME_SECONDS:
        raise ValueError(
            f"must be at least {SHORTEST_TIME_SECONDS / 60:g}m, since a run ends before it and starts again"
        )
    return found


def parse_slurm_options(text: str | None) -> dict[str, str | bool]:
    """Returns the options of ``sbatch`` that ``'account=med constraint=a100 exclusive'`` declares, by their names."""
    found: dict[str, str | bool] = {}
    try:
        parts = shlex.split(text or "")
    except ValueError:
        raise ValueError("must have a second quote for each first one") from None
    for part in parts:
        name, equal, value = part.partition("=")
        name = name.removeprefix("--")
        # They are lines of the script that sbatch receives.
        if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or not value.isprintable() or (equal and not value):
            raise ValueError("must be long options of sbatch, such as 'account=med constraint=a100 exclusive'")
        if name in _DECIDED:
            instead = f"give {_DECIDED[name]} instead" if _DECIDED[name] else "leave it out"
            raise ValueError(f"must not have {name}, which is decided for each run: {instead}")
        found[name] = value if equal else True
    return found
