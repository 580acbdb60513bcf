"""Measures the cost of augmentation relative to a training step.

python benchmarks/augmentation.py --model lnn --size 28 --batch-size 128
python benchmarks/augmentation.py --model lnn-3d --depth 28 --batch-size 32

In one run, on generated images, it measures the time in which each pipeline alone augments a batch inside tf.data, and
the time of a training step that takes its batches from the pipeline as training does, with and without augmentation.
The measurements alternate, so that a noisy machine affects all of them alike, and medians are reported: a step with
augmentation is compared with a step without it from the same rounds. The fastest times of both show what a machine
without other work reaches.
"""

import functools
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pydantic

from keras_lnn.cli.parsing import parse_command, run_main
from keras_lnn.config import TrainConfig
from keras_lnn.terminal import make_console, print_rows, start_keras

_NONE = "none"


class AugmentationCommand(pydantic.BaseModel):
    """Measure what augmentation costs beside a training step."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model: str = pydantic.Field("lnn", description="model")
    size: int = pydantic.Field(28, ge=8, description="side of the images in pixels")
    channels: int = pydantic.Field(1, ge=1, description="channels of the images")
    depth: int | None = pydantic.Field(None, ge=1, description="slices of a volume (default: flat images)")
    batch_size: int = pydantic.Field(128, ge=1, description="images per step")
    steps: int = pydantic.Field(6, ge=1, description="steps per measurement in each round")
    rounds: int = pydantic.Field(15, ge=1, description="number of measurements of each pipeline")
    names: str | None = pydantic.Field(
        None, description="pipelines, as a,b,c (default: all recipes that suit the images)"
    )
    json_output: bool = pydantic.Field(False, alias="json", description="print one JSON object instead of the table")


def main(arguments: Sequence[str]) -> int:
    """Measures the pipelines and prints the results."""
    command = parse_command(AugmentationCommand, arguments, "benchmarks/augmentation.py")
    start_keras(make_console(stderr=True))
    rows = measure(command)
    if command.json_output:
        print(json.dumps(rows, indent=2))
        return 0
    shape = "x".join(map(str, image_shape(command)))
    print_rows(rows, f"{command.model}, batches of {command.batch_size} of {shape}, milliseconds (medians)", digits=2)
    return 0


def measure(command: AugmentationCommand) -> list[dict[str, Any]]:
    """Returns one row per pipeline: the time of a batch alone, and the increase of a step's time."""
    names = [_NONE, *(command.names.split(",") if command.names else suitable_recipes(image_shape(command)))]
    split, train = make_split(command), make_step(command)
    alone: dict[str, list[float]] = {name: [] for name in names}
    steps: dict[str, list[float]] = {name: [] for name in names}
    changes = {name: change_batches(command, split, name) for name in names}
    batches = {name: read_batches(command, split, name) for name in names}
    for turn in range(command.rounds):
        for name in names if turn % 2 == 0 else names[::-1]:
            alone[name].append(_time(functools.partial(next, changes[name]), command.steps))
            steps[name].append(_time(functools.partial(train, batches[name]), command.steps))
    base, nothing = statistics.median(steps[_NONE]), statistics.median(alone[_NONE])
    rows = []
    for name in names:
        cost = statistics.median(alone[name]) - nothing
        growth = statistics.median(own / plain for own, plain in zip(steps[name], steps[_NONE], strict=True)) - 1
        rows.append(
            {
                "augmentation": name,
                "alone": 1e3 * cost,
                "percent_of_a_step": 100 * cost / base,
                "percent_at_the_quickest": 100 * (min(alone[name]) - min(alone[_NONE])) / min(steps[_NONE]),
                "step": 1e3 * statistics.median(steps[name]),
                "step_grows_by_percent": 100 * growth,
            }
        )
    return rows


def image_shape(command: AugmentationCommand) -> tuple[int, ...]:
    """Returns the shape of one image or volume."""
    return (*([command.depth] if command.depth else []), command.size, command.size, command.channels)


def suitable_recipes(shape: tuple[int, ...]) -> list[str]:
    """Returns the recipes for such images; those that turn and mirror slices along all axes are for volumes only."""
    from keras_lnn.data.augment.operations import RECIPES

    names = [*RECIPES, "flip-shift"]
    return names if len(shape) == 4 else [name for name in names if not name.startswith("flip-")]


def make_split(command: AugmentationCommand) -> Any:
    """Returns a few batches of random grey levels, since no operation depends on the content."""
    from keras_lnn.data import Split

    generator = np.random.default_rng(0)
    count = 4 * command.batch_size
    images = generator.integers(0, 256, (count, *image_shape(command)), dtype=np.uint8)
    return Split(images, np.arange(count, dtype=np.int64) % 2)


def change_batches(command: AugmentationCommand, split: Any, name: str) -> Iterator[Any]:
    """Yields the same batch repeatedly, augmented each time while the caller waits."""
    import tensorflow as tf

    from keras_lnn.data.augment.operations import make_augmentation

    images = tf.constant(split.images[: command.batch_size], tf.float32)
    augment = make_augmentation(name, image_shape(command), 0)
    changed = tf.data.Dataset.range(10**9).map(lambda step: augment(images, step) if augment else images)
    options = tf.data.Options()
    # With its default optimisations, tf.data would prepare the next batch in advance.
    options.experimental_optimization.apply_default_optimizations = False
    options.autotune.enabled = False
    return iter(changed.with_options(options))


def read_batches(command: AugmentationCommand, split: Any, name: str) -> Iterator[Any]:
    """Yields batches as training reads them, prepared in parallel to the steps."""
    from keras_lnn.data.pipeline import training_batches

    return iter(training_batches(split, batch_size=command.batch_size, seed=0, epochs=10**6, augmentation=name))


def make_step(command: AugmentationCommand) -> Callable[[Iterator[Any]], None]:
    """Returns a function that takes a batch and does one training step."""
    from keras_lnn.backend.process import prepare_backend
    from keras_lnn.registry import build_model
    from keras_lnn.tasks.kinds import make_task
    from keras_lnn.training.compiling import compile_model
    from keras_lnn.training.protocol import complete_config

    config = complete_config(TrainConfig.create({"model": command.model, "batch_size": command.batch_size}))
    prepare_backend(config.seed, config.deterministic, config.precision)
    task = make_task("binary", ("no", "yes"))
    model = build_model(config.model, image_shape(command), task.outputs, **config.model_args)
    compile_model(model, task, config, 10**6, np.array([0, 1]))
    return lambda batches: model.train_on_batch(*next(batches))


def _time(action: Callable[[], Any], times: int) -> float:
    # By the third call, batches prepared in advance, or still in preparation for another pipeline, are finished.
    for _ in range(2):
        action()
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        action()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


if __name__ == "__main__":
    run_main(main)
