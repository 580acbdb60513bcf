"""A picture of augmented training images, drawn before a training begins."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console

from keras_lnn.config import CompleteConfig, TrainConfig
from keras_lnn.data import ImageData
from keras_lnn.data.augment.operations import list_operations
from keras_lnn.data.pipeline import seen_in_training
from keras_lnn.plots import plot_augmentation, require_free_picture, require_png, save_figure
from keras_lnn.tasks.kinds import make_task
from keras_lnn.terminal import make_console, print_written
from keras_lnn.training.loop import load_images
from keras_lnn.training.protocol import complete_config, name_augmentation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SAMPLES, _EPOCHS = 6, 7
# Each version of a series takes a row of frames.
_SERIES, _EPOCHS_OF_SERIES = 3, 2


def show_augmentation(config: TrainConfig, path: Path, console: Console | None = None) -> None:
    """Draws some training images with their augmented versions to a PNG file.

    Args:
        config: Configuration of the run; fields left out follow the model's published protocol.
        path: The file to write.
        console: Where progress is shown; standard output if not given.
    """
    require_png(path)
    require_free_picture(path)
    console = console or make_console()
    complete = complete_config(config)
    save_figure(draw_augmentation(complete, load_images(complete, console)), path)
    print_written(console, {"augmentation": path})


def draw_augmentation(config: CompleteConfig, data: ImageData) -> Figure:
    """Draws training images, each beside its augmented versions of the first epochs.

    Args:
        config: A complete configuration.
        data: The training data.

    Returns:
        The figure.
    """
    config = name_augmentation(config, data)
    split = data.splits["train"]
    count, epochs = (_SAMPLES, _EPOCHS) if data.series is None else (_SERIES, _EPOCHS_OF_SERIES)
    samples = np.unique(np.linspace(0, len(split) - 1, count).round().astype(np.int64))
    versions, beside = seen_in_training(
        split,
        samples.tolist(),
        epochs=epochs,
        batch_size=config.batch_size,
        seed=config.seed,
        augmentation=config.augmentation,
    )
    names = [_name(data, sample) for sample in samples]
    if data.series is not None:
        return plot_augmentation(data.series.take(samples), versions, names, _title(config), times=beside)
    masks = None if beside is None else np.concatenate([split.labels[samples][:, None], beside], axis=1)
    classes = () if masks is None else data.class_names
    return plot_augmentation(split.images[samples], versions, names, _title(config), masks, classes)


def _title(config: CompleteConfig) -> str:
    operations = "+".join(list_operations(config.augmentation)) or "none"
    meaning = "" if operations == config.augmentation else f" ({operations})"
    return f"Augmentation {config.augmentation}{meaning} of {config.data}, seed {config.seed}"


def _name(data: ImageData, sample: int) -> str:
    """Returns the number of an image with its class, its labels or the classes in its mask."""
    label = data.splits["train"].labels[sample]
    return f"#{sample}: {make_task(data.task, data.class_names).describe_label(label)}"
