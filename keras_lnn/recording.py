"""What watches a run while it trains: history, best epoch, checkpoints, early stopping, time budget, divergence."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from keras_lnn.errors import InputError
from keras_lnn.run import Checkpoint, RunFolder
from keras_lnn.selection import Selection
from keras_lnn.terminal import EpochDisplay

if TYPE_CHECKING:
    from keras_lnn.averaging import WeightAverage


class TrainingDiverged(InputError):
    """The loss is no longer a number."""


def model_variables(model: keras.Model) -> list[Any]:
    """Weights, running statistics and random states of a model, in a fixed order, without its metrics."""
    metrics = {id(variable) for metric in model.metrics for variable in metric.variables}
    return [variable for variable in model.variables if id(variable) not in metrics]


def read_variables(variables: list[Any]) -> list[np.ndarray]:
    """Their values."""
    return [np.array(ops.convert_to_numpy(variable)) for variable in variables]


def assign_variables(variables: list[Any], values: list[np.ndarray]) -> None:
    """Sets their values; another number or shape of them is an error."""
    shapes = [tuple(variable.shape) for variable in variables], [value.shape for value in values]
    if shapes[0] != shapes[1]:
        raise InputError(
            "The checkpoint must fit the model. Received: other shapes. Use the version that made the run."
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


@dataclasses.dataclass(eq=False)
class Recorder(keras.callbacks.Callback):
    """Keeps every epoch, so that a run can be killed at any time and go on as if nothing had happened.

    An epoch that the time budget cuts short counts as the run's last one.

    All decisions (which epoch is best, when to stop) follow from the history, so there is no other state to lose.

    Args:
        folder: Of the run.
        selection: Which epoch is kept, and when the run stops.
        display: Shows each epoch.
        start: The checkpoint that the run goes on from, or None.
        budget_seconds: Training stops after that time, or None.
        average: Of the weights, which is kept in their place, or None.
    """

    folder: RunFolder
    selection: Selection
    display: EpochDisplay
    start: Checkpoint | None = None
    budget_seconds: float | None = None
    average: WeightAverage | None = None

    def __post_init__(self) -> None:
        super().__init__()
        self.history = list(self.start.history) if self.start else []
        self.stopped_because = ""
        self._seconds_before = self.start.seconds if self.start else 0.0
        self._begun = self._epoch_begun = 0.0

    @property
    def seconds(self) -> float:
        """Spent in training, before a resume too."""
        return self._seconds_before + (time.monotonic() - self._begun if self._begun else 0.0)

    def is_finished(self, epochs: int) -> bool:
        """Whether a run that was killed had nothing left to train."""
        return bool(self.history) and (len(self.history) >= epochs or self._stops_early() or self._budget_is_spent())

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """The clock starts with the first step, not while the data are loaded."""
        self._begun = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Remembers when the epoch began."""
        self._epoch_begun = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Stops within a step of the time budget."""
        if self._budget_is_spent():
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keeps the epoch and decides whether to go on."""
        rate = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in (logs or {}).items()}}
        row |= {"learning_rate": rate, "seconds": round(time.monotonic() - self._epoch_begun, 4)}
        if not math.isfinite(row["loss"]):
            raise TrainingDiverged(
                f"The loss must stay a number. Received: {row['loss']} in epoch {epoch + 1}. Lower --learning-rate."
            )
        self.history.append(row)
        kept_epoch, kept_value = self.selection.choose(self.history)
        checkpoint = Checkpoint(
            epoch=epoch + 1,
            model=read_variables(model_variables(self.model)),
            optimizer=read_variables(self.model.optimizer.variables),
            history=self.history,
            seconds=self.seconds,
            average=[] if self.average is None else self.average.read(),
        )
        self.folder.write_checkpoint(checkpoint, kept_epoch)
        self.folder.write_history(self.history)
        self.display.show(row, kept_epoch, kept_value)
        if self._stops_early():
            self.model.stop_training = True

    def _stops_early(self) -> bool:
        if self.selection.stops(self.history):
            self.stopped_because = f"no improvement for {self.selection.patience} epochs"
            return True
        return False

    def _budget_is_spent(self) -> bool:
        if self.budget_seconds is not None and self.seconds >= self.budget_seconds:
            self.stopped_because = f"the time budget of {self.budget_seconds:g} s is spent"
            return True
        return False
