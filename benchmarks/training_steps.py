"""Training steps of registered networks on random data, as benchmarks time them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from keras_lnn.config import TrainConfig
from keras_lnn.data.catalog import DataEntry, get_entry
from keras_lnn.registry import get_model


def make_training_step(
    name: str, batch_size: int, size: int | None = None, *, xla: bool = False, whole: bool = False
) -> tuple[Callable[[], Any], Any]:
    """Returns a function that takes one training step of a fresh network, on random data, and the network.

    Call :func:`keras_lnn.backend.process.prepare_backend` before, once in a process.

    Args:
        name: A registered network; its protocol and the data for which it was made give everything else.
        batch_size: Samples per step.
        size: Side of the images in pixels; that of the network's data if not given.
        xla: Whether to compile as ``--xla`` does.
        whole: Whether to compile the whole step on TensorFlow whatever the network.
    """
    from keras_lnn.registry import build_model
    from keras_lnn.tasks.kinds import make_task
    from keras_lnn.training.compiling import compile_model
    from keras_lnn.training.protocol import complete_config

    # Determinism, which is otherwise the default, and XLA exclude each other.
    fields = {"model": name, "batch_size": batch_size, "deterministic": False, "xla": xla}
    config = complete_config(TrainConfig.create(fields))
    entry = get_entry(get_model(name).reference_data)
    task, shape = make_task(entry.task, entry.class_names), entry.image_shape(size)
    model = build_model(name, shape, task.outputs)
    inputs, labels = draw_batch(entry, task.outputs, shape, batch_size)
    compile_model(model, task, config, 10**6, labels)
    if whole:
        model.jit_compile = True
    return lambda: model.train_on_batch(inputs, labels), model


def draw_batch(entry: DataEntry, outputs: int, shape: tuple[int, ...], size: int) -> tuple[Any, np.ndarray]:
    """Returns random images, or series of images with their times, and labels for the entry's kind of task."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (size, *shape)).astype(np.float32)
    inputs: Any = images
    if entry.frames is not None:
        inputs = [images, np.cumsum(generator.uniform(0.5, 1.5, (size, entry.frames)), axis=1).astype(np.float32)]
    if entry.task == "multi-label":
        return inputs, generator.integers(0, 2, (size, outputs))
    return inputs, generator.integers(0, outputs, (size, *(shape[:-1] if entry.task == "segmentation" else ())))
