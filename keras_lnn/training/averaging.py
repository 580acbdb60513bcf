"""A running average of a model's weights, which varies less than the weights of single steps and is kept instead."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lnn.training.variables import assign_variables, model_variables, read_variables


class WeightAverage(keras.callbacks.Callback):
    """Averages all floating variables, including running statistics, and validates with the averages.

    The momentum is at most ``(1 + step) / (10 + step)``, so that the initial weights are soon forgotten. Keras's own
    average (``use_ema``) leaves out the running statistics of batch normalisation and is swapped in by sums and
    differences, after which a resumed run would not be equal bit for bit.

    Args:
        momentum: Share of the average that stays in each step, such as 0.99.
        values: The averages of a run that continues.
    """

    params: dict[str, Any]  # which Keras sets

    def __init__(self, momentum: float, values: list[np.ndarray] | None = None) -> None:
        super().__init__()
        self.momentum = momentum
        self._given = values
        self._averages: list[Any] = []
        self._own: list[np.ndarray] = []
        self._steps_before = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Begins with the averages of a run that continues, otherwise with the weights."""
        values = self._given or read_variables(model_variables(self.model))
        self._averages = [
            keras.Variable(value, trainable=False, dtype=str(value.dtype), name="average") for value in values
        ]

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Counts the steps of the earlier epochs."""
        self._steps_before = epoch * self.params["steps"]

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Updates the averages with the new weights."""
        step = self._steps_before + batch
        rest = 1.0 - min(self.momentum, (1.0 + step) / (10.0 + step))
        for average, variable in zip(self._averages, model_variables(self.model), strict=True):
            if keras.backend.is_float_dtype(average.dtype):
                average.assign(average + (ops.cast(variable, average.dtype) - average) * rest)
            else:
                average.assign(ops.convert_to_tensor(variable))

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Puts the averages into the model for validation."""
        self._own = read_variables(model_variables(self.model))
        assign_variables(model_variables(self.model), self.read())

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Puts the weights back into the model for training."""
        assign_variables(model_variables(self.model), self._own)

    def read(self) -> list[np.ndarray]:
        """Returns the averages in the order of the model's variables."""
        return read_variables(self._averages)
