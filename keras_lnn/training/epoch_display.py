"""The progress of a training on the terminal: a live bar, or plain lines where there is no terminal."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from keras_lnn.runs.epoch_shares import is_cut_short

# An epoch that takes longer than this shows its steps.
_SHOW_STEPS_AFTER = 2.0
# The bar moves at most this often, so that showing steps costs nothing.
_SECONDS_BETWEEN_MOVES = 0.1
# Without a terminal, a line at most this often reports the steps of a long epoch.
_SECONDS_BETWEEN_LINES = 60.0


class EpochDisplay:
    """Shows the epochs of a run with the newest and the best validation value, and the steps of a long epoch.

    Args:
        console: Where progress is shown: live on a terminal, else one plain line per epoch.
        epochs: Number of epochs of the whole run.
        first_epoch: Number of epochs that were done before.
        monitor: The value that chooses the best epoch.
        clock: Returns the time in seconds.
    """

    def __init__(
        self,
        console: Console,
        epochs: int,
        first_epoch: int,
        monitor: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.console = console
        self.epochs = epochs
        self.monitor = monitor
        self._clock = clock
        self._epoch = first_epoch
        self._last_epoch = ""
        self._epoch_begun = self._first_step_ended = self._last_move = self._last_line = clock()
        description = TextColumn("{task.description}", markup=False)
        counter = TextColumn("epoch {task.fields[epoch]}/{task.total}")
        columns = (counter, BarColumn(24), description, TimeRemainingColumn(), TextColumn("left"))
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self._bar = self._progress.add_task("", total=epochs, completed=first_epoch, epoch=first_epoch)

    def __enter__(self) -> EpochDisplay:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin_epoch(self, epoch: int) -> None:
        """Notes that an epoch begins, counted from 1."""
        self._epoch = epoch
        self._epoch_begun = self._last_line = self._clock()
        self._progress.update(self._bar, epoch=epoch)

    def show_step(self, done: int, steps: int) -> None:
        """Shows how many training steps of the epoch are done, and how long the others will take."""
        now = self._clock()
        if done == 1:
            self._first_step_ended = now  # the first step of a run is compiled: the time left rests on the others
        if now - self._epoch_begun < _SHOW_STEPS_AFTER or now - self._last_move < _SECONDS_BETWEEN_MOVES:
            return
        self._last_move = now
        left = (now - self._first_step_ended) / (done - 1) * (steps - done) if done > 1 else math.nan
        text = f"step {done}/{steps}" + ("" if math.isnan(left) else f", {_clock_time(left)} to the end of the epoch")
        self._show_within(text, done / steps, now)

    def show_validation(self) -> None:
        """Shows that the epoch's training steps are done and that its validation runs."""
        now = self._clock()
        if now - self._epoch_begun >= _SHOW_STEPS_AFTER and now - self._last_move >= _SECONDS_BETWEEN_MOVES:
            self._last_move = now
            self._show_within("validation", 1.0, now)

    def _show_within(self, text: str, fraction: float, now: float) -> None:
        # A whole epoch is done only when it is kept.
        completed = self._epoch - 1 + min(fraction, 0.999)
        self._progress.update(self._bar, completed=completed, description=f"{text}  {self._last_epoch}".rstrip())
        if not self.console.is_terminal and now - self._last_line > _SECONDS_BETWEEN_LINES:
            self._last_line = now
            self.console.print(f"epoch {self._epoch}/{self.epochs}  {text}")

    def show(self, row: dict[str, float], best_epoch: int, best_value: float) -> None:
        """Shows a finished epoch.

        Args:
            row: Its row of the history.
            best_epoch: The epoch that would be kept if the run ended now.
            best_value: The monitored value of that epoch; NaN if no epoch has one.
        """
        epoch = int(row["epoch"])
        best = "no best epoch yet" if math.isnan(best_value) else f"best {best_value:.4f} in epoch {best_epoch}"
        text = f"loss {row['loss']:.4f}  {self.monitor} {row[self.monitor]:.4f}  {best}"
        text = f"{row['fraction']:.0%} of the epoch  {text}" if is_cut_short(row) else text
        self._last_epoch = text
        self._progress.update(self._bar, completed=epoch, description=text)
        if not self.console.is_terminal:
            self.console.print(f"epoch {epoch}/{self.epochs}  {text}")


def _clock_time(seconds: float) -> str:
    """Returns a duration as minutes and seconds, with hours where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
