"""The output of a search: its space, one line per finished trial, and at the end the best one and the failures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from keras_tuner.engine.trial import Trial, TrialStatus
from rich.console import Console
from rich.table import Table
from rich.text import Text

from keras_lnn.config import TrainConfig
from keras_lnn.processes.display import JobDisplay
from keras_lnn.processes.pool import RunningJob
from keras_lnn.processes.runner import Outcome
from keras_lnn.terminal import print_written
from tuning.results import best_trial
from tuning.safe_oracle import PRUNED_STATUS, SafeOracle
from tuning.settings import SearchSettings
from tuning.space import Space
from tuning.tuner import ProcessTuner, describe_values, summarise

_SHOWN_FAILURES = 12
_ALL_HAVE_VALIDATED = (
    "test it on a test split that the data came with, or on other data: all images of the folds were validation in"
    " every trial"
)


class SearchDisplay(JobDisplay):
    """Shows the progress of a search.

    Args:
        console: Console for the output.
        tuner: Tuner of the search.
        oracle: Oracle that holds the trials.
        settings: Settings of the search.
        workers: Number of trials at a time.
    """

    def __init__(
        self, console: Console, tuner: ProcessTuner, oracle: SafeOracle, settings: SearchSettings, workers: int = 1
    ) -> None:
        super().__init__(console, "trials")
        self.tuner = tuner
        self.oracle = oracle
        self.settings = settings
        self.workers = workers
        self._reported = 0

    def introduce(self, folder: Path, config: TrainConfig, space: Space, resumed: bool) -> None:
        """Prints what is searched, and what is already done."""
        self._reported = len(self.oracle.end_order)
        if resumed:
            self.console.print(f"continues {folder}: {self._reported} trials are done")
        most = f"at most {self.settings.most_trials} trials" if self.settings.most_trials else "no limit on trials"
        settings = self.settings
        parts = [f"{settings.seeds_per_trial} seeds"] if settings.seeds_per_trial > 1 else []
        parts += [f"{settings.folds} folds"] if settings.folds is not None else []
        runs = f", {' and '.join(parts)} each" if parts else ""
        self.console.print(
            f"{settings.tuner} search of {config.model} on {config.data} by {self.oracle.objective.name}: {most} of "
            f"{config.epochs} epochs{runs}, {self.workers} at a time -> {folder}"
        )
        self.console.print(space_table(space))

    def watch(self, running: Sequence[RunningJob]) -> None:
        """Shows the current state of a search whose trials run on this machine."""
        note = f"{self.oracle.elapsed_seconds / 60:.1f} min{self._describe_best(', ')}"
        self.show(running, len(self.oracle.end_order), self.settings.most_trials, note)

    def watch_workers(self) -> None:
        """Shows the current state of a search whose trials run on other machines, and prints those that have ended."""
        for name in self.oracle.end_order[self._reported :]:
            self._reported += 1
            trial = self.oracle.trials[name]
            seconds = self.oracle.seconds.get(name, 0.0)
            if trial.status == TrialStatus.FAILED:
                self.report(f"trial {name}", failure=str(trial.message))
            elif trial.status == PRUNED_STATUS:
                self._report_pruned(trial, len(self.oracle.curves[name][-1]), seconds)
            elif trial.score is not None:
                self._report_result(trial, trial.score, int(trial.metrics.get_last_value("epochs")), seconds)
        self.watch([RunningJob(self.tuner.make_job(trial), None) for trial in self.oracle.running().values()])

    def report_trial(self, trial: Trial, outcome: Outcome) -> None:
        """Prints a line for a trial that has ended on this machine."""
        if outcome.result is None:
            self.report(f"trial {trial.trial_id}", failure=str(outcome.failure))
            return
        if outcome.result.get("pruned"):
            self._report_pruned(trial, len(outcome.result["curve"][-1]), outcome.seconds)
            return
        name = self.oracle.objective.name
        found = summarise(outcome.result, name)
        self._report_result(trial, found[name], int(found["epochs"]), outcome.seconds)

    def _report_pruned(self, trial: Trial, epoch: int, seconds: float) -> None:
        values = describe_values(trial, self.tuner.space)
        self.report(f"trial {trial.trial_id}", f"  pruned after epoch {epoch}  {seconds:.0f} s  {values}")

    def _report_result(self, trial: Trial, value: float, epochs: int, seconds: float) -> None:
        # A worker of a distributed search does not know the trials of the others.
        best = self._describe_best("  ") if isinstance(self.tuner.oracle, SafeOracle) else ""
        values = describe_values(trial, self.tuner.space)
        self.report(f"trial {trial.trial_id}", f"  {value:.4f}  {seconds:.0f} s  {values}  {epochs} epochs{best}")

    def _describe_best(self, separator: str) -> str:
        best = best_trial(self.oracle)
        return "" if best is None else f"{separator}best {best.score:.4f} in trial {best.trial_id}"

    def conclude(self, folder: Path) -> None:
        """Prints the best trial, the failed ones with their reasons, and the paths of the written files."""
        trials = [self.oracle.trials[name] for name in self.oracle.start_order]
        failed = [trial for trial in trials if trial.status == TrialStatus.FAILED]
        whole = [trial for trial in trials if trial.status == TrialStatus.COMPLETED]
        pruned = sum(trial.status == PRUNED_STATUS for trial in trials)
        if self.oracle.stopped_because:
            self.console.print(f"stopped: {self.oracle.stopped_because}")
        early = f" {pruned} were pruned," if pruned else ""
        self.console.print(f"{len(whole)} trials succeeded,{early} {len(failed)} failed")
        for trial in failed[:_SHOWN_FAILURES]:
            log = self.tuner.trial_folder(trial.trial_id) / "log.txt"
            place = f"  {log}" if log.is_file() else ""
            self.report(f"trial {trial.trial_id}", failure=f"{trial.message}{place}")
        if len(failed) > _SHOWN_FAILURES:
            self.console.print(f"and {len(failed) - _SHOWN_FAILURES} more, see trials.csv")
        best = best_trial(self.oracle)
        written = {"trials": folder / "trials.csv"}
        if best is not None:
            self.console.print(
                f"best: trial {best.trial_id}, {self.oracle.objective.name} {best.score:.4f}  "
                f"{describe_values(best, self.tuner.space)}"
            )
            written |= {"best": folder / "best.yaml", "pictures": folder / "plots"}
        print_written(self.console, written)
        if best is not None:
            self.console.print(f"train it: python train.py --config {folder / 'best.yaml'}")
            if self.settings.folds is not None:
                self.console.print(_ALL_HAVE_VALIDATED, soft_wrap=True)


def space_table(space: Space) -> Table:
    """Returns a table of the search space, with one row per name."""
    table = Table(title="values or range", title_justify="left", title_style="bold")
    for column in ("name", "of", "choices"):
        table.add_column(column, overflow="fold")
    for row in space.rows():
        table.add_row(*(Text(cell) for cell in row.values()))
    return table
