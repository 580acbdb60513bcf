"""The display of a search on the terminal: a live table, or one line per trial where there is no terminal."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_tuner.engine.trial import Trial, TrialStatus
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from keras_lnn.config import TrainConfig
from keras_lnn.processes.runner import Outcome
from keras_lnn.terminal import print_written
from tuning.oracles import SafeOracle
from tuning.results import best_trial, describe_values
from tuning.settings import SearchSettings
from tuning.space import Space

if TYPE_CHECKING:
    from tuning.tuner import ProcessTuner

_SHOWN_TRIALS = 12
_SHOWN_FAILURES = 12


class SearchDisplay:
    """Shows the progress of a search.

    Args:
        console: Console for the output.
        tuner: Tuner of the search.
        oracle: Oracle that holds the trials.
        settings: Settings of the search.
    """

    def __init__(self, console: Console, tuner: ProcessTuner, oracle: SafeOracle, settings: SearchSettings) -> None:
        self.console = console
        self.tuner = tuner
        self.oracle = oracle
        self.settings = settings
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._lock = threading.Lock()

    def __enter__(self) -> SearchDisplay:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def introduce(self, folder: Path, config: TrainConfig, space: Space, resumed: bool) -> None:
        """Prints what is searched, and what is already done."""
        ended = len(self.oracle.end_order)
        if resumed:
            self.console.print(f"goes on with {folder}: {ended} trials are done")
        most = (
            f"at most {self.settings.most_trials} trials" if self.settings.most_trials else "as many trials as it takes"
        )
        settings = self.settings
        seeds = f", {settings.seeds_per_trial} seeds each" if settings.seeds_per_trial > 1 else ""
        self.console.print(
            f"{settings.tuner} search of {config.model} on {config.data} by {self.oracle.objective.name}: {most} of "
            f"{config.epochs} epochs{seeds}, {settings.workers} at a time -> {folder}"
        )
        self.console.print(space_table(space))

    def update(self) -> None:
        """Shows the current state."""
        if self._live is not None:
            with self._lock:
                self._live.update(self._table(), refresh=True)

    def report(self, trial: Trial, outcome: Outcome) -> None:
        """Prints a line for a trial that has ended."""
        if outcome.failure is not None:
            line = Text.assemble((f"trial {trial.trial_id} failed: ", "bold red"), outcome.failure)
        elif self._live is not None or outcome.result is None:
            return
        else:
            best = best_trial(self.oracle) if isinstance(self.tuner.oracle, SafeOracle) else None
            addition = f"  best {best.score:.4f} in trial {best.trial_id}" if best is not None else ""
            mean = sum(run["objective"] for run in outcome.result["runs"]) / len(outcome.result["runs"])
            line = Text(
                f"trial {trial.trial_id}  {mean:.4f}  {outcome.seconds:.0f} s  "
                f"{describe_values(trial, self.tuner.space)}{addition}"
            )
        self.console.print(line)

    def conclude(self, folder: Path) -> None:
        """Prints the best trial, the failed ones with their reasons, and the paths of the written files."""
        trials = [self.oracle.trials[name] for name in self.oracle.start_order]
        failed = [trial for trial in trials if trial.status == TrialStatus.FAILED]
        whole = [trial for trial in trials if trial.status == TrialStatus.COMPLETED]
        if self.oracle.stopped_because:
            self.console.print(f"stopped: {self.oracle.stopped_because}")
        self.console.print(f"{len(whole)} trials are whole, {len(failed)} failed")
        for trial in failed[:_SHOWN_FAILURES]:
            log = self.tuner.trial_folder(trial.trial_id) / "log.txt"
            addition = f"  {log}" if log.is_file() else ""
            self.console.print(
                Text.assemble((f"trial {trial.trial_id} failed: ", "bold red"), f"{trial.message}{addition}")
            )
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

    def _table(self) -> Group:
        oracle, space = self.oracle, self.tuner.space
        names = list(oracle.start_order)
        table = Table(expand=True)
        for column in ("trial", "state", oracle.objective.name, "epochs", "seconds"):
            width = max(7, len(column))
            table.add_column(column, justify="left" if column == "state" else "right", no_wrap=True, min_width=width)
        table.add_column("values", overflow="ellipsis", no_wrap=True, ratio=1)
        best = best_trial(oracle)
        for name in names[-_SHOWN_TRIALS:]:
            trial = oracle.trials[name]
            style = "bold green" if best is not None and best.trial_id == name else None
            table.add_row(name, *self._cells(trial), describe_values(trial, space), style=style)
        ended = len(oracle.end_order)
        total = f" of {self.settings.most_trials}" if self.settings.most_trials else ""
        head = f"{ended}{total} trials done, {oracle.elapsed_seconds / 60:.1f} min"
        if best is not None:
            head += f", best {best.score:.4f} in trial {best.trial_id}"
        return Group(Text(head, style="bold"), table)

    def _cells(self, trial: Trial) -> list[Any]:
        if trial.score is not None and trial.metrics.exists("epochs"):
            epochs = int(trial.metrics.get_last_value("epochs"))
            return ["done", f"{trial.score:.4f}", str(epochs), f"{self.oracle.seconds.get(trial.trial_id, 0):.0f}"]
        if trial.status == TrialStatus.FAILED:
            return [Text("failed", style="red"), "", "", f"{self.oracle.seconds.get(trial.trial_id, 0):.0f}"]
        at_it = any(other.trial_id == trial.trial_id for other in self.oracle.running().values())
        epochs, newest = self._progress(trial)
        return ["runs" if at_it else "waits", newest, epochs, ""]

    def _progress(self, trial: Trial) -> tuple[str, str]:
        """Returns epoch and newest value of a running trial, read from its latest history."""
        for folder in reversed(self.tuner.run_folders(trial.trial_id)):
            try:
                lines = (folder / "history.csv").read_text(encoding="utf-8").strip().split("\n")
                row = dict(zip(lines[0].split(","), lines[-1].split(","), strict=True))
                return row["epoch"], f"{float(row[self.oracle.objective.name]):.4f}"
            except (OSError, ValueError, KeyError):
                continue
        return "", ""


def space_table(space: Space) -> Table:
    """Returns a table of the search space, with one row per name."""
    table = Table(title="what is chosen", title_justify="left", title_style="bold")
    for column in ("name", "of", "choices"):
        table.add_column(column, overflow="fold")
    for row in space.rows():
        table.add_row(*(Text(cell) for cell in row.values()))
    return table
