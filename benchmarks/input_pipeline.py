"""Measures how long a training step waits for its images.

python benchmarks/input_pipeline.py --model lnn --data breastmnist

Two measurements of one model alternate in one run, so that a noisy machine affects both alike: training steps that take
their batches from the pipeline, where the wait is the time that the loop spends in ``next()``, and the time in which
the pipeline alone makes a batch.
"""

import functools
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydantic
from rich.table import Table

from keras_lnn.cli.parsing import parse_command, run_main
from keras_lnn.config import TrainConfig
from keras_lnn.terminal import make_console, start_keras


class InputCommand(pydantic.BaseModel):
    """Measure how long a training step waits for its images."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model: str = pydantic.Field("lnn", description="model")
    data: str = pydantic.Field("phantom-breast", description="data set")
    size: int | None = pydantic.Field(None, description="side of the images in pixels")
    data_dir: Path | None = pydantic.Field(None, description="folder of the data files")
    batch_size: int | None = pydantic.Field(None, ge=1, description="images per step")
    rounds: int = pydantic.Field(5, ge=1, description="number of times that each measurement is taken")
    json_output: bool = pydantic.Field(False, alias="json", description="print one JSON object instead of the table")


def main(arguments: Sequence[str]) -> int:
    """Measures the waits and prints the results."""
    command = parse_command(InputCommand, arguments, "benchmarks/input_pipeline.py")
    console = make_console(stderr=True)
    start_keras(console)
    rows = [measure(command, augmentation) for augmentation in ("none", "auto")]
    if command.json_output:
        print(json.dumps(rows, indent=2))
        return 0
    table = Table(title=f"{command.model} on {command.data}, milliseconds per step (medians)", title_justify="left")
    for name in rows[0]:
        table.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(*(f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values()))
    make_console().print(table)
    return 0


def measure(command: InputCommand, augmentation: str) -> dict[str, Any]:
    """Returns one row: the wait and its share of a step."""
    from keras_lnn.backend.process import prepare_backend
    from keras_lnn.data import load_data
    from keras_lnn.data.pipeline import steps_per_epoch, training_batches
    from keras_lnn.data.reading import Reading
    from keras_lnn.registry import build_model
    from keras_lnn.tasks.kinds import make_task
    from keras_lnn.training.compiling import compile_model
    from keras_lnn.training.protocol import complete_config

    config = complete_config(TrainConfig.create(command.model_dump(exclude={"rounds", "json_output"})))
    prepare_backend(config.seed, config.deterministic, config.precision)
    data = load_data(config.data, Reading().with_options(config))
    train = data.splits["train"]
    task = make_task(data.task, data.class_names)
    model = build_model(config.model, data.image_shape, task.outputs, **config.model_args)
    steps = steps_per_epoch(train, config.batch_size)
    compile_model(model, task, config, steps, train.labels)
    epochs = max(2, -(-40 // steps))
    chosen = data.augmentation if augmentation == "auto" else augmentation
    make_batches = functools.partial(
        training_batches,
        train,
        batch_size=config.batch_size,
        seed=config.seed,
        epochs=epochs,
        augmentation=chosen,
    )
    waits, steps_taken, alone = [], [], []
    for _ in range(command.rounds):
        stream = iter(make_batches())
        images, labels = next(stream)
        model.train_on_batch(images, labels)
        while True:
            begun = time.perf_counter()
            batch = next(stream, None)
            waited = time.perf_counter()
            if batch is None:
                break
            model.train_on_batch(*batch)
            waits.append(waited - begun)
            steps_taken.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        made = sum(1 for _ in make_batches())
        alone.append((time.perf_counter() - begun) / made)
    whole = 1e3 * statistics.median(steps_taken)
    return {
        "augmentation": chosen,
        "batch": config.batch_size,
        "step": whole,
        "waiting": 1e3 * statistics.median(waits),
        "waiting_percent": 100 * sum(waits) / sum(steps_taken),
        "pipeline_alone": 1e3 * statistics.median(alone),
    }


if __name__ == "__main__":
    run_main(main)
