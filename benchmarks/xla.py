"""Measures what compiling the training step costs or saves: each network by default, with ``--xla`` and fully compiled.

python benchmarks/xla.py --models LiqExp4N2,lnn,cnn,resnet18
KERAS_BACKEND=tensorflow python benchmarks/xla.py --json > xla.json

All three take their steps alternately in one process, so that a noisy machine affects them alike. On a busy machine
processor time is steadier than wall-clock time, but it does not count idle cores.
"""

import gc
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pydantic

from keras_lnn.cli.parsing import parse_command, run_main
from keras_lnn.config import TrainConfig
from keras_lnn.data.catalog import DataEntry, get_entry
from keras_lnn.registry import get_model, model_names
from keras_lnn.terminal import make_console, print_rows, start_keras

WAYS = ("default", "--xla", "whole step")


class XlaCommand(pydantic.BaseModel):
    """Measure training steps with and without XLA, one row per network."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    models: str = pydantic.Field("", description="models to time, as a,b (default: all)")
    size: int = pydantic.Field(
        0, ge=0, description="side of the images in pixels (default: the reference data of each model)"
    )
    batch_size: int = pydantic.Field(16, ge=1, description="images per step")
    rounds: int = pydantic.Field(5, ge=1, description="number of steps timed with and without XLA")
    json_output: bool = pydantic.Field(False, alias="json", description="print JSON instead of the table")


def main(arguments: Sequence[str]) -> int:
    """Measures the networks and prints the results."""
    command = parse_command(XlaCommand, arguments, "benchmarks/xla.py")
    console = make_console(stderr=True)
    start_keras(console)
    names = command.models.split(",") if command.models else model_names()
    rows = []
    import keras

    for index, name in enumerate(names, start=1):
        rows.append(measure(command, name))
        keras.utils.clear_session()  # otherwise the programs of seventy networks take 20 GiB
        gc.collect()
        shown = ", ".join(f"{key} {value:.3g}" for key, value in rows[-1].items() if key != "network")
        console.print(f"{index}/{len(names)} {name}: {shown}")
    if command.json_output:
        print(json.dumps(rows, indent=2))
        return 0
    print_rows(rows, f"training steps of {command.batch_size} images; ratios to the default", digits=2)
    return 0


def measure(command: XlaCommand, name: str) -> dict[str, Any]:
    """Returns one row: milliseconds by default and seconds of first steps, then each way's ratios to the default.

    A ratio compares the fastest steps; ``cpu`` compares the least processor time.
    """
    steps, first = {}, {}
    for way in WAYS:
        steps[way] = make_step(command, name, way)
        begun = time.perf_counter()
        steps[way]()
        first[way] = time.perf_counter() - begun
        steps[way]()  # Memory grows in the first steps, so the second one is not timed.
    times: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for turn in range(command.rounds):
        for way in WAYS if turn % 2 == 0 else WAYS[::-1]:
            begun = time.perf_counter(), time.process_time()
            steps[way]()
            times[way].append((time.perf_counter() - begun[0], time.process_time() - begun[1]))
    clock, cpu = ({way: min(pair[part] for pair in times[way]) for way in WAYS} for part in (0, 1))
    row = {"network": name, "default_ms": 1e3 * clock["default"]}
    row["first_s"], row["first_whole_s"] = first["default"], first["whole step"]
    for way in WAYS[1:]:
        row[f"{way}_ratio"] = clock[way] / clock["default"]
        row[f"{way}_cpu"] = cpu[way] / cpu["default"]
    return row


def make_step(command: XlaCommand, name: str, way: str) -> Callable[[], Any]:
    """Returns a function that takes one training step of a fresh network, on random images and labels."""
    from keras_lnn.backend import prepare_backend
    from keras_lnn.registry import build_model
    from keras_lnn.tasks.kinds import make_task
    from keras_lnn.training.compiling import compile_model
    from keras_lnn.training.protocol import complete_config

    # Determinism, which is otherwise the default, and XLA exclude each other.
    fields = {"model": name, "batch_size": command.batch_size, "deterministic": False, "xla": way != "default"}
    config = complete_config(TrainConfig.create(fields))
    if way == WAYS[0]:
        prepare_backend(config.seed, config.deterministic, config.precision)
    entry = get_entry(get_model(name).reference_data)
    task, shape = make_task(entry.task, entry.class_names), entry.image_shape(command.size or None)
    model = build_model(name, shape, task.outputs)
    images, labels = draw_batch(entry, task.outputs, shape, command.batch_size)
    compile_model(model, task, config, 10**6, labels)
    if way == "whole step":
        model.jit_compile = True
    return lambda: model.train_on_batch(images, labels)


def draw_batch(entry: DataEntry, outputs: int, shape: tuple[int, ...], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns random images, and labels for the entry's kind of task."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (size, *shape)).astype(np.float32)
    if entry.task == "multi-label":
        return images, generator.integers(0, 2, (size, outputs))
    return images, generator.integers(0, outputs, (size, *(shape[:-1] if entry.task == "segmentation" else ())))


if __name__ == "__main__":
    run_main(main)
