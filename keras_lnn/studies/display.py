"""The output of a running study: one line per finished run, and how many runs are left until when."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from keras_lnn.evaluation.metrics import metric_label
from keras_lnn.processes.display import JobDisplay
from keras_lnn.processes.runner import Outcome
from keras_lnn.runs.folder import RunFolder
from keras_lnn.studies.declaration import StudyRun
from keras_lnn.studies.results import measured_metrics
from keras_lnn.studies.running import Progress, log_folder
from keras_lnn.terminal import print_written

_SHOWN_FAILURES = 20


class StudyDisplay(JobDisplay):
    """The display of a study.

    Args:
        console: Console for the output.
        title: Its title.
        runs: Its runs, done or not.
        folder: Folder of the study.
    """

    def __init__(self, console: Console, title: str, runs: Sequence[StudyRun], folder: Path) -> None:
        super().__init__(console, "runs")
        self.title = title
        self.runs = runs
        self.folder = folder

    def introduce(self, progress: Progress) -> None:
        """Prints the title of the study, and how many runs are already done."""
        self.console.print(f"{self.title}: {self._all_runs} -> {self.folder}")
        there = len(progress.done)
        if there:
            self.console.print(f"{there} done before, {len(self.runs) - there} left")

    def list_left(self, progress: Progress) -> None:
        """Prints the remaining runs."""
        for run in progress.left:
            self.console.print(f"left: {run.name}")

    def watch(self, progress: Progress) -> None:
        """Shows the current state."""
        ended = len(self.runs) - len(progress.left)
        self.show(progress.running, ended, len(self.runs), _describe_rest(progress))

    def report_run(self, run: StudyRun, outcome: Outcome, progress: Progress) -> None:
        """Prints a line for a run that has ended."""
        if outcome.failure is not None:
            self.report(run.name, failure=outcome.failure)
            return
        metrics = RunFolder(run.folder).read_metrics()
        if metrics is None:
            raise ValueError(f"A completed run must have metrics. Received: {run.folder} without any.")
        found = {name: metrics["test"][name]["value"] for name in measured_metrics(metrics["test"])}
        shown = ", ".join(
            f"{metric_label(name)} {'-' if value is None else f'{value:.3f}'}" for name, value in found.items()
        )
        epochs = metrics.get("epochs_trained", metrics["epochs"])
        took = f"{round(epochs, 2):g} epochs in {outcome.seconds:.0f} s"
        self.report(run.name, f": {shown}, {took}; {_describe_rest(progress)}")

    def conclude(self, progress: Progress, written: dict[str, Path]) -> None:
        """Prints the failed runs with their reasons, and the paths of the written files."""
        failed = [run for run in self.runs if run.folder in progress.failures]
        self.console.print(f"{len(progress.done)} of {self._all_runs} done, {len(failed)} failed")
        for run in failed[:_SHOWN_FAILURES]:
            self.report(run.name, failure=f"{progress.failures[run.folder]}  {log_folder(run) / 'log.txt'}")
        print_written(self.console, written)

    @property
    def _all_runs(self) -> str:
        return f"{len(self.runs)} run{'s' if len(self.runs) > 1 else ''}"


def _describe_rest(progress: Progress) -> str:
    """Returns how many runs are left, and until when they are expected to take."""
    left = len(progress.left)
    if left == 0:
        return "none left"
    seconds = progress.seconds_left()
    until = "" if seconds is None else f", until about {_clock(seconds)}"
    return f"{left} left{until}"


def _clock(seconds: float) -> str:
    end = datetime.datetime.now() + datetime.timedelta(seconds=seconds)
    return f"{end:%H:%M}" if seconds < 12 * 3600 else f"{end:%d %b %H:%M}"
