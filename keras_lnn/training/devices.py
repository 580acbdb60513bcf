"""One run on several devices of one or several hosts: a copy of the model on each, which divide every batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_lnn.backend.devices import (
    building_on,
    count_shares,
    gather_batch,
    is_first_share,
    list_devices,
    using_one_device,
)
from keras_lnn.config import CompleteConfig
from keras_lnn.data.arrays import Split
from keras_lnn.data.pipeline import steps_per_epoch
from keras_lnn.errors import InputError
from keras_lnn.losses.overlaps import BatchLoss
from keras_lnn.training.averaging import WeightAverage
from keras_lnn.training.variables import assign_variables, model_variables, read_variables


def require_devices(config: CompleteConfig, hosts: int = 1) -> None:
    """Checks that this machine has the devices of a run, and that the backend can use them together.

    Args:
        config: A complete configuration.
        hosts: Number of hosts, each with that many devices.
    """
    shares = config.devices * hosts
    if hosts > 1 and config.batch_size % shares:
        nearest = max(round(config.batch_size / shares), 1) * shares
        raise InputError(
            f"--hosts times --devices must divide the batch size. Received: {hosts} hosts with {config.devices} each"
            f" for batches of {config.batch_size}. Give --batch-size {nearest}, or another number of hosts."
        )
    if config.devices == 1:
        return
    if keras.backend.backend() not in ("tensorflow", "jax"):
        raise InputError(
            f"--devices needs TensorFlow or JAX. Received: {config.devices} on {keras.backend.backend()}. Set"
            " KERAS_BACKEND."
        )
    if config.xla and keras.backend.backend() == "tensorflow":
        raise InputError(
            f"--xla compiles the training step for one device on TensorFlow. Received: --devices {config.devices}."
            " Leave one out."
        )
    found = list_devices()
    if config.devices > len(found):
        shown = ", ".join(found)
        raise InputError(
            f"--devices must be at most the number of this machine's devices, {len(found)} ({shown}). Received:"
            f" {config.devices}. Lower it, here or in the config.yaml of the run that continues."
        )


def count_steps(config: CompleteConfig, split: Split, hosts: int = 1) -> int:
    """Returns the number of steps of an epoch, after checking that there is one: an image for each device.

    Args:
        config: A complete configuration.
        split: The training split.
        hosts: Number of hosts.
    """
    steps = steps_per_epoch(split, config.batch_size, config.devices * hosts)
    if not steps:
        name, given = (
            ("--devices", f"{config.devices}") if hosts == 1 else ("--hosts times --devices", f"{hosts} hosts")
        )
        raise InputError(
            f"{name} must be at most the number of training images, {len(split)}. Received: {given}. Lower it."
        )
    return steps


def describe_devices(config: CompleteConfig, hosts: int = 1) -> str:
    """Returns how a run divides its batches among devices."""
    names = ", ".join(list_devices()[: config.devices])
    part, where = config.batch_size // (config.devices * hosts), f" on each of {hosts} hosts" if hosts > 1 else ""
    return f"{part} images of each batch on each of {names}{where}"


class DividedModel(keras.Model):
    """A model whose batches several devices divide among them; its loss and metrics are those of whole batches.

    It is made like a functional model, from inputs and outputs, inside
    :func:`keras_lnn.backend.devices.building_on`. On JAX a step is one program of the whole batch in any case. On
    TensorFlow each device computes its share, so the predictions of all are gathered before the loss and the metrics
    are computed.
    """

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Returns the loss of the whole batch; each device of TensorFlow contributes an equal part to it."""
        y, y_pred, sample_weight = (gather_batch(part) for part in (y, y_pred, sample_weight))
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        # Keras divides the losses of single samples by the number of devices, but no scalar.
        return loss / count_shares() if isinstance(self.loss, BatchLoss) else loss

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Returns the metrics after the whole batch, which one device of TensorFlow counts for all."""
        y, y_pred, sample_weight = (gather_batch(part) for part in (y, y_pred, sample_weight))
        if not is_first_share():
            return self.get_metrics_result()
        return super().compute_metrics(x, y, y_pred, sample_weight)


def divide_model(
    model: keras.Model, devices: int, build: Callable[[], keras.Model], compile_it: Callable[[keras.Model], Any]
) -> keras.Model:
    """Returns a model that is trained on several devices, with the values of a model's variables.

    Batch normalisation takes its statistics from whole batches, so that a run learns the same on any number of devices.

    Args:
        model: The model on one device.
        devices: Number of devices of each host.
        build: Builds the same model once more.
        compile_it: Compiles a model.
    """
    with building_on(devices):
        copy = build()
        if count_shares() > 1:
            for layer in copy._flatten_layers():
                if isinstance(layer, keras.layers.BatchNormalization):
                    layer.synchronized = True
        divided = DividedModel(copy.input, copy.output)
        compile_it(divided)
        divided.optimizer.build(divided.trainable_variables)
    assign_variables(model_variables(divided), read_variables(model_variables(model)))
    return divided


@dataclasses.dataclass(eq=False)
class OneDeviceValidation(keras.callbacks.Callback):
    """Validates a model of several devices at the end of each epoch, on one of them.

    Several devices cannot share the last batch of a split, or a batch for prediction, exactly. Of several hosts only
    host 0 validates.

    Args:
        validated: The same model on one device, compiled; it receives the values of the trained one.
        batches: The validation split.
        on_batch: Called after each batch.
        average: Running average of the weights, which is validated in their place, or None.
    """

    validated: keras.Model
    batches: Any
    on_batch: Callable[[], None]
    average: WeightAverage | None = None

    def __post_init__(self) -> None:
        super().__init__()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the validation values to those of the epoch, which the callbacks after this one receive."""
        values: list[np.ndarray] = (
            read_variables(model_variables(self.model)) if self.average is None else self.average.read()
        )
        with using_one_device():
            assign_variables(model_variables(self.validated), values)
            show = keras.callbacks.LambdaCallback(on_test_batch_end=lambda batch, logs: self.on_batch())
            found = self.validated.evaluate(self.batches, callbacks=[show], return_dict=True, verbose=0)
        if logs is not None:
            # In the order in which ``fit`` itself gives them.
            logs |= {f"val_{name}": found[name] for name in sorted(found)}
