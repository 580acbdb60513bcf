"""Measures what dividing batches among devices costs: training steps on one and on several logical devices of the CPU.

python benchmarks/devices.py --models lnn,resnet18 --batch-size 32
KERAS_BACKEND=jax python benchmarks/devices.py --json > devices.json

Logical devices share the cores of the machine, so the ratio shows the overhead of copies of the model and of adding up
their gradients. Real devices save the part of a step that they divide and pay an overhead as well, so a network gains
by them only if its step takes much longer than that. Small networks lose.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pydantic

from keras_lnn.cli.parsing import parse_command, run_main
from keras_lnn.config import TrainConfig
from keras_lnn.data.catalog import get_entry
from keras_lnn.registry import get_model
from keras_lnn.terminal import make_console, print_rows, start_keras


class DevicesCommand(pydantic.BaseModel):
    """Measure training steps on one and on several logical devices, one row per network."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    models: str = pydantic.Field("lnn,resnet18", description="models to time, as a,b")
    devices: int = pydantic.Field(2, ge=2, description="number of logical devices")
    batch_size: int = pydantic.Field(128, ge=1, description="images per step, of all devices together")
    steps: int = pydantic.Field(5, ge=1, description="number of steps per round")
    rounds: int = pydantic.Field(5, ge=1, description="number of rounds, of which the fastest counts")
    json_output: bool = pydantic.Field(False, alias="json", description="print JSON instead of the table")


def main(arguments: Sequence[str]) -> int:
    """Measures the networks and prints the results."""
    command = parse_command(DevicesCommand, arguments, "benchmarks/devices.py")
    flag = f"--xla_force_host_platform_device_count={command.devices}"  # for JAX, which reads it when it is imported
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()
    start_keras(make_console(stderr=True))
    divide_processor(command.devices)
    rows = [measure(command, name) for name in command.models.split(",")]
    if command.json_output:
        print(json.dumps(rows, indent=2))
        return 0
    print_rows(rows, f"training steps of {command.batch_size} images; logical devices share the same cores", digits=2)
    return 0


def divide_processor(devices: int) -> None:
    """Makes the processor several logical devices of TensorFlow."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    parts = [tf.config.LogicalDeviceConfiguration()] * devices
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)


def measure(command: DevicesCommand, name: str) -> dict[str, Any]:
    """Returns one row: parameters, milliseconds per step on one device and on several, and their ratio."""
    counts = (1, command.devices)
    runs = {devices: make_run(command, name, devices) for devices in counts}
    times: dict[int, list[float]] = {devices: [] for devices in counts}
    for turn in range(command.rounds + 1):
        for devices in counts if turn % 2 == 0 else counts[::-1]:
            begun = time.perf_counter()
            parameters = runs[devices]()
            if turn:  # the first round compiles
                times[devices].append((time.perf_counter() - begun) / command.steps)
    one, several = (1e3 * min(times[devices]) for devices in counts)
    return {
        "network": name,
        "parameters": parameters,
        "one_ms": one,
        f"on_{command.devices}_ms": several,
        "ratio": several / one,
    }


def make_run(command: DevicesCommand, name: str, devices: int) -> Callable[[], int]:
    """Returns a function that takes some training steps of a fresh network, and returns its number of parameters."""
    import tensorflow as tf

    from keras_lnn.backend.devices import training_on
    from keras_lnn.backend.process import prepare_backend
    from keras_lnn.registry import build_model, count_parameters
    from keras_lnn.tasks.kinds import make_task
    from keras_lnn.training.compiling import compile_model
    from keras_lnn.training.devices import divide_model
    from keras_lnn.training.protocol import complete_config

    config = complete_config(TrainConfig.create({"model": name, "batch_size": command.batch_size, "devices": devices}))
    if devices == 1:
        prepare_backend(config.seed, config.deterministic, config.precision)
    entry = get_entry(get_model(name).reference_data)
    task, shape = make_task(entry.task, entry.class_names), entry.image_shape(None)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (command.batch_size, *shape)).astype(np.float32)
    labels = generator.integers(0, task.outputs, command.batch_size)
    batches = tf.data.Dataset.from_tensors((images, labels)).repeat()

    def compile_it(model: Any) -> None:
        compile_model(model, task, config, 10**6, labels)

    model = build_model(name, shape, task.outputs)
    compile_it(model)
    if devices > 1:
        model = divide_model(model, devices, lambda: build_model(name, shape, task.outputs), compile_it)

    def run() -> int:
        with training_on(devices):
            model.fit(batches, steps_per_epoch=command.steps, verbose=0, shuffle=False)
        return count_parameters(model)

    return run


if __name__ == "__main__":
    run_main(main)
