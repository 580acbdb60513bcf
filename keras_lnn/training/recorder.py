"""The callback that records a run: history, best epoch, checkpoints, early stopping, time budget, divergence."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import keras
import numpy as np
from keras import ops

from custom_metrics import ClassificationMetrics
from keras_lnn.errors import InputError
from keras_lnn.hosts.joining import ONE_HOST, Hosts
from keras_lnn.runs.checkpoints import Checkpoint
from keras_lnn.runs.epoch_shares import describe_epochs, is_cut_short
from keras_lnn.runs.folder import RunFolder
from keras_lnn.runs.selection import Selection
from keras_lnn.training.epoch_display import EpochDisplay
from keras_lnn.training.variables import model_variables, read_variables

if TYPE_CHECKING:
    from keras_lnn.training.averaging import WeightAverage


# Returns why a run ends after the newest epoch of its history, or an empty string.
StopRule = Callable[[list[dict[str, float]]], str]


class TrainingDiverged(InputError):
    """Raised if the loss is no longer a number."""


def read_confusion(model: keras.Model) -> list[np.ndarray]:
    """Returns the confusion matrix that a model's metrics have counted since their reset; empty if they count none.

    Predictions that are NaN are not counted, so all counts of their labels are 0.
    """
    metrics = [metric for group in model.metrics for metric in getattr(group, "metrics", [group])]
    kept = [metric for metric in metrics if isinstance(metric, ClassificationMetrics) and metric.keep_confusion]
    matrices = [ops.convert_to_numpy(metric.confusion_matrix()) for metric in kept[:1]]
    return [np.rint(np.nan_to_num(matrix, nan=0.0)).astype(np.int64) for matrix in matrices]


@dataclasses.dataclass(eq=False)
class Recorder(keras.callbacks.Callback):
    """Saves every epoch, so that a run can be killed at any time and continue with the same results.

    An epoch that the time budget cuts short is the run's last one; with a budget, ``fraction`` in each row of the
    history is the part of its epoch that was trained.

    All decisions (which epoch is best, when to stop) follow from the history, so there is no other state to lose.
    Of several hosts only host 0 writes, and the others take its history and its decisions.

    Args:
        folder: Folder of the run.
        selection: Rules by which an epoch is kept and the run stops.
        display: Display of the epochs.
        start: Checkpoint that the run continues from, or None.
        budget_seconds: Time after which training stops, or None.
        average: Running average of the weights, which is kept in their place, or None.
        validated: Model whose metrics have counted the validation, if it is not the one that is trained.
        stop_rule: A further rule by which the run stops, or None.
        hosts: The hosts that train the run.
    """

    folder: RunFolder
    selection: Selection
    display: EpochDisplay
    start: Checkpoint | None = None
    budget_seconds: float | None = None
    average: WeightAverage | None = None
    validated: keras.Model | None = None
    stop_rule: StopRule | None = None
    hosts: Hosts = ONE_HOST

    def __post_init__(self) -> None:
        super().__init__()
        self.history = list(self.start.history) if self.start else []
        self.confusion = list(self.start.confusion) if self.start else []
        self.stopped_because = ""
        self._steps = 0
        self._seconds_before = self.start.seconds if self.start else 0.0
        self._begun = self._epoch_begun = 0.0

    @property
    def seconds(self) -> float:
        """Returns the training time in seconds, including that before a resume."""
        return self._seconds_before + (time.monotonic() - self._begun if self._begun else 0.0)

    def _given(self, name: str) -> int:
        """Returns the number of steps or epochs that Keras was given."""
        return cast("dict[str, int]", self.params)[name]

    def is_finished(self, epochs: int) -> bool:
        """Returns whether a run that was killed has nothing left to train."""
        if not self.history:
            return False
        self.stopped_because = self._find_reason(epochs, self.seconds)
        return len(self.history) >= epochs or bool(self.stopped_because)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock with the first step, after the data are loaded."""
        self._begun = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Remembers when the epoch began."""
        self._epoch_begun = time.monotonic()
        self.display.begin_epoch(epoch + 1)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Shows the step, and stops the training once the time budget is spent."""
        self._steps = batch + 1
        self.display.show_step(self._steps, self._given("steps"))
        if self.budget_seconds is not None and self.hosts.share(self._budget_is_spent(self.seconds)):
            self.model.stop_training = True

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Shows that the validation runs."""
        self.display.show_validation()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Saves the epoch and decides whether training continues."""
        rate = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in (logs or {}).items()}}
        row |= {"learning_rate": rate, "seconds": round(time.monotonic() - self._epoch_begun, 4)}
        if self.budget_seconds is not None:
            row["fraction"] = round(self._steps / self._given("steps"), 6)
        row = self.hosts.share(row)
        if not math.isfinite(row["loss"]):
            raise TrainingDiverged(
                f"The loss must stay finite. Received: {row['loss']} in epoch {epoch + 1}. Lower --learning-rate."
            )
        self.history.append(row)
        seconds = self.seconds
        if self.hosts.is_first:
            self._write_epoch(row, seconds)
        # By the seconds of the checkpoint, so that a run that is killed now ends for the same reason.
        self.stopped_because = self.hosts.share(self._find_reason(self._given("epochs"), seconds))
        if self.stopped_because:
            self.model.stop_training = True

    def _write_epoch(self, row: dict[str, float], seconds: float) -> None:
        """Writes the checkpoint of an epoch and its row of the history, and shows it."""
        self.confusion += read_confusion(self.model if self.validated is None else self.validated)
        kept_epoch, kept_value = self.selection.choose(self.history)
        checkpoint = Checkpoint(
            epoch=len(self.history),
            model=read_variables(model_variables(self.model)),
            optimizer=read_variables(self.model.optimizer.variables),
            history=self.history,
            seconds=seconds,
            average=[] if self.average is None else self.average.read(),
            confusion=self.confusion,
        )
        self.folder.write_checkpoint(checkpoint, kept_epoch)
        self.folder.write_history(self.history)
        self.display.show(row, kept_epoch, kept_value)

    def _find_reason(self, epochs: int, seconds: float) -> str:
        """Returns why the run ends with its newest epoch, or an empty string."""
        if self.selection.stops(self.history):
            return f"{self.selection.patience} epochs without improvement"
        is_cut = is_cut_short(self.history[-1])
        if self._budget_is_spent(seconds) and (is_cut or len(self.history) < epochs):
            return f"the time budget of {self.budget_seconds:g} s is spent: {describe_epochs(self.history)}"
        return "" if self.stop_rule is None else self.stop_rule(self.history)

    def _budget_is_spent(self, seconds: float) -> bool:
        return self.budget_seconds is not None and seconds >= self.budget_seconds
