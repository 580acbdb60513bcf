"""Compiling of a model for a run: optimizer, schedule, loss, metrics, and whether XLA compiles the whole step."""

import keras
import numpy as np

from keras_lnn.backend.devices import xla_slows_convolutions
from keras_lnn.config import CompleteConfig, TrainConfig
from keras_lnn.errors import InputError
from keras_lnn.layers import SingleLogit
from keras_lnn.tasks.task import Task
from keras_lnn.training.schedules import make_schedule


def compile_model(
    model: keras.Model,
    task: Task,
    config: CompleteConfig,
    steps: int,
    labels: np.ndarray,
    validation_samples: int = 4096,
) -> dict | None:
    """Compiles a model with its optimizer, loss and metrics.

    Args:
        model: A model from pixel values to logits.
        task: The task of the model.
        config: A complete configuration.
        steps: Number of steps of the whole run, for the schedule.
        labels: Labels of the training split, for balanced weights.
        validation_samples: Size of the validation split, so that its AUC is exact.

    Returns:
        Class weights for ``fit``, or None if the loss itself has the weights: for several labels, for pixels and for
        losses of a whole batch.
    """
    if not task.exclusive and any(isinstance(layer, SingleLogit) for layer in model.layers):
        raise InputError(
            f"Two labels to an image need two logits. Received: {config.model} with one logit for two classes. Give"
            " --model-args single_logit=no."
        )
    class_weights = loss_weights = None
    if config.class_weight == "balanced":
        class_weights, loss_weights = task.balanced_weights(labels, config.loss)
    optimizer_class = type(keras.optimizers.get(config.optimizer))
    restart_steps = max(steps * config.restart_epochs // config.epochs, 1)
    rate = make_schedule(config.schedule, config.learning_rate, steps, restart_steps)
    # AdamW takes no None, and has a weight decay of its own where none is given.
    decay = config.weight_decay if config.weight_decay or config.optimizer == "adamw" else None
    model.compile(
        optimizer=optimizer_class(learning_rate=rate, weight_decay=decay),
        loss=task.loss(config.loss, loss_weights),
        metrics=task.metrics(validation_samples, len(labels)),
        jit_compile=compiles_whole_step(model, config),
    )
    return class_weights


def compiles_whole_step(model: keras.Model, config: TrainConfig) -> bool:
    """Returns whether XLA compiles the whole training step: with ``--xla``, unless it slows down convolutions.

    Compiled for a CPU, steps of models with convolutions take up to twenty times as long (``benchmarks/xla.py``).
    Recurrences of liquid layers are compiled in any case. On JAX the step is always compiled, because JAX has no other
    graphs and would run each operation separately.
    """
    if keras.backend.backend() == "jax":
        return True
    return config.xla and not (xla_slows_convolutions() and _has_convolutions(model))


def _has_convolutions(model: keras.Model) -> bool:
    """Returns whether a model has kernels over images or volumes: (..., inputs, outputs) with at least two sides."""
    return any(len(weight.shape) >= 4 for weight in model.trainable_weights)
