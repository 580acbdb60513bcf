"""The one live display of jobs in a pool: one line per finished job, and below them those that run, while they run."""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from keras_lnn.processes.pool import Job, RunningJob
from keras_lnn.runs.folder import RunFolder

_BAR_WIDTH = 24
# Room for one line of history; older epochs are not needed to show the newest.
_TAIL_BYTES = 16384


class JobDisplay:
    """Shows the jobs of a pool on a terminal: a bar of all jobs and one line per running job.

    Where there is no terminal, only the lines of finished jobs are printed.

    Args:
        console: Console for the output.
        noun: What a job is called, in the plural.
    """

    def __init__(self, console: Console, noun: str) -> None:
        self.console = console
        self.noun = noun
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

    def __enter__(self) -> JobDisplay:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, running: Sequence[RunningJob], done: int, total: int | None, note: str) -> None:
        """Shows the current state.

        Args:
            running: The jobs in progress.
            done: Number of jobs that have ended.
            total: Number of all jobs, or None if nobody knows.
            note: What else is known, such as the best result so far.
        """
        if self._live is not None:
            self._live.update(self._draw(running, done, total, note), refresh=True)

    def report(self, name: str, result: str | None = None, failure: str | None = None) -> None:
        """Prints a line for a job that has ended, with its result or the reason of its failure."""
        if failure is not None:
            self.console.print(Text.assemble((f"{name} failed: ", "bold red"), failure))
        else:
            self.console.print(Text(f"{name}{result}"))

    def _draw(self, running: Sequence[RunningJob], done: int, total: int | None, note: str) -> Group:
        head = Table.grid(padding=(0, 1))
        count = f"{done} {self.noun} done" if total is None else f"{done} of {total} {self.noun} done"
        text = Text(f"{count}, {note}" if note else count, style="bold")
        if total is None:
            head.add_row(text)
        else:
            head.add_row(ProgressBar(total=max(1, total), completed=done, width=_BAR_WIDTH), text)
        rows = Table.grid(padding=(0, 2), expand=True)
        rows.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        for _ in range(3):
            rows.add_column(no_wrap=True, justify="right")
        for one in running:
            rows.add_row(*(Text(cell) for cell in _cells(one)))
        return Group(head, rows)


@dataclasses.dataclass(frozen=True)
class Reached:
    """The progress of a job.

    Args:
        run: Number of the run in progress, from 1.
        epoch: Its newest epoch.
        value: The monitored value of that epoch; NaN if unknown.
        seconds_left: The estimated remaining time of the job, or None.
    """

    run: int
    epoch: int
    value: float
    seconds_left: float | None


def read_reached(job: Job, elapsed_seconds: float | None = None) -> Reached | None:
    """Returns how far a job is by the histories of its runs; None as long as no epoch has ended.

    Args:
        job: The job.
        elapsed_seconds: Time since the job began, which a time budget limits; None if unknown.
    """
    for number in range(len(job.runs), 0, -1):
        rows = _read_newest_epochs(RunFolder(job.runs[number - 1]).history)
        if rows:
            epoch, value = int(rows[-1]["epoch"]), rows[-1].get(job.monitor or "", math.nan)
            return Reached(number, epoch, value, _estimate_seconds(job, number, epoch, rows, elapsed_seconds))
    return None


def _estimate_seconds(
    job: Job, run: int, epoch: int, rows: Sequence[dict[str, float]], elapsed_seconds: float | None
) -> float | None:
    """Returns the time until the end of a job's epochs or its time budget, whichever is first."""
    estimates = []
    took = [row["seconds"] for row in rows if "seconds" in row]
    others = len(job.runs) - run
    if job.epochs is not None and took:
        # The first epoch also compiles the model, so it says little about the others.
        estimates.append(statistics.median(took) * (job.epochs - epoch + others * job.epochs))
    if job.seconds is not None and elapsed_seconds is not None:
        estimates.append(max(0.0, job.seconds * len(job.runs) - elapsed_seconds))
    return min(estimates, default=None)


def _read_newest_epochs(file: Path) -> list[dict[str, float]]:
    """Returns the newest rows of a history; an empty list if there are none or they cannot be read now."""
    try:
        with open(file, "rb") as stream:
            names = stream.readline().decode().strip().split(",")
            begin = stream.tell()
            stream.seek(0, 2)
            skipped = max(begin, stream.tell() - _TAIL_BYTES)
            stream.seek(skipped)
            lines = stream.read().decode().split("\n")[skipped > begin :]
        rows = [dict(zip(names, map(_number, line.split(",")), strict=True)) for line in lines if line.strip()]
    except (OSError, ValueError):
        return []
    return rows if all(math.isfinite(row.get("epoch", math.nan)) for row in rows) else []


def _number(text: str) -> float:
    return float(text) if text.strip() else math.nan


def _cells(one: RunningJob) -> tuple[str, str, str, str]:
    """Returns the cells of a running job: its name, the newest epoch, its value, and the time so far and left."""
    job = one.job
    elapsed = None if one.begun is None else time.monotonic() - one.begun
    times = [] if elapsed is None else [describe_seconds(elapsed)]
    reached = read_reached(job, elapsed)
    if reached is None:
        return job.name, "", "", ", ".join(times)
    total = "" if job.epochs is None or job.seconds is not None else f"/{job.epochs}"
    epoch = f"epoch {reached.epoch}{total}"
    if len(job.runs) > 1:
        epoch = f"run {reached.run}/{len(job.runs)}, {epoch}"
    value = "" if math.isnan(reached.value) else f"{job.monitor} {reached.value:.4f}"
    if reached.seconds_left is not None:
        times.append(f"about {describe_seconds(reached.seconds_left)} left")
    return job.name, epoch, value, ", ".join(times)


def describe_seconds(seconds: float) -> str:
    """Returns a duration in the largest unit of which there are at least two, such as ``45 s`` or ``12 min``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
