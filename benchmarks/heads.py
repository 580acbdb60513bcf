"""Compares the cost of a recurrent head with a dense one, by training steps of several networks alternating in one run.

python benchmarks/heads.py --models crnet-1fc,crnet-zncp32 --size 224 --batch-size 16
"""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pydantic

from keras_lnn.cli.parsing import parse_command, run_main
from keras_lnn.config import TrainConfig
from keras_lnn.terminal import make_console, print_rows, start_keras


class HeadsCommand(pydantic.BaseModel):
    """Measure training steps of networks against the first of them."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    models: str = pydantic.Field(
        "crnet-1fc,crnet-zncp32", description="models to time, as a,b; ratios are to the first one"
    )
    size: int = pydantic.Field(224, ge=8, description="side of the images in pixels")
    channels: int = pydantic.Field(3, ge=1, description="channels of the images")
    batch_size: int = pydantic.Field(16, ge=1, description="images per step")
    rounds: int = pydantic.Field(8, ge=1, description="number of timed steps of each model")
    json_output: bool = pydantic.Field(False, alias="json", description="print one JSON object instead of the table")


def main(arguments: Sequence[str]) -> int:
    """Measures the networks and prints the results."""
    command = parse_command(HeadsCommand, arguments, "benchmarks/heads.py")
    start_keras(make_console(stderr=True))
    rows = measure(command)
    if command.json_output:
        print(json.dumps(rows, indent=2))
        return 0
    shape = f"{command.size}x{command.size}x{command.channels}"
    print_rows(rows, f"a training step of {command.batch_size} images of {shape}, milliseconds", digits=2)
    return 0


def measure(command: HeadsCommand) -> list[dict[str, Any]]:
    """Returns one row per network: the median and the fastest step, and both as multiples of the first network's."""
    names = command.models.split(",")
    steps = {name: make_step(command, name) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for step in steps.values():
        step()
    for turn in range(command.rounds):
        for name in names if turn % 2 == 0 else names[::-1]:
            begun = time.perf_counter()
            steps[name]()
            seconds[name].append(time.perf_counter() - begun)
    base = seconds[names[0]]
    return [
        {
            "network": name,
            "step": 1e3 * statistics.median(own),
            "quickest": 1e3 * min(own),
            "ratio": statistics.median(one / other for one, other in zip(own, base, strict=True)),
            "ratio_of_quickest": min(own) / min(base),
        }
        for name, own in seconds.items()
    ]


def make_step(command: HeadsCommand, name: str) -> Callable[[], Any]:
    """Returns a function that does one training step on random images."""
    from keras_lnn.backend.process import prepare_backend
    from keras_lnn.registry import build_model
    from keras_lnn.tasks.kinds import make_task
    from keras_lnn.training.compiling import compile_model
    from keras_lnn.training.protocol import complete_config

    config = complete_config(TrainConfig.create({"model": name, "batch_size": command.batch_size}))
    prepare_backend(config.seed, config.deterministic, config.precision)
    task = make_task("binary", ("no", "yes"))
    shape = (command.size, command.size, command.channels)
    model = build_model(name, shape, task.outputs)
    compile_model(model, task, config, 10**6, np.array([0, 1]))
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (command.batch_size, *shape)).astype(np.float32)
    labels = np.arange(command.batch_size, dtype=np.int64) % 2
    return lambda: model.train_on_batch(images, labels)


if __name__ == "__main__":
    run_main(main)
