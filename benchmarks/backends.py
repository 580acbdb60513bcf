"""Compares TensorFlow and JAX as backends: first training step, training step and memory of networks of each family.

python benchmarks/backends.py --kept backends.json --csv docs/results/tables/backends.csv --hardware "two CPU cores"

Each network is trained by each backend on each kind of processor of this machine, in a process of its own; run nothing
beside it. On TensorFlow a network is compiled as in training: its recurrences by XLA, the rest as a graph. JAX compiles
the whole step. A stopped measurement goes on from the file of ``--kept``.
"""

import importlib
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pydantic

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.measuring import list_processors, measure_parts, write_table
from keras_lnn.benchmarking.timing import find_peak_memory
from keras_lnn.cli.parsing import parse_command, run_main
from keras_lnn.errors import InputError
from keras_lnn.registry import require_model
from keras_lnn.terminal import make_console, print_rows, start_keras

BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX"}
# One or two of each family.
MODELS = (
    *("dnn", "cnn", "multilabel-cnn", "resnet18", "unet", "unet-lnn"),
    *("lnn", "lnn-3d", "lnn-series", "lstm", "LiqExp1N2", "CNNExp1N1", "crnet-zncp32", "crnet-1fc"),
)
# A step counts as faster where it takes this much less time; less is within what a machine varies.
_CLEAR = 1.1
# Steps that together take longer than this get fewer rounds.
_SECONDS_OF_ROUNDS = 60.0
_FEWEST_ROUNDS = 3


class BackendsCommand(pydantic.BaseModel):
    """Measure training steps of networks on TensorFlow and on JAX, one row per network and processor."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    models: str = pydantic.Field(",".join(MODELS), description="networks, as a,b")
    batch_size: int = pydantic.Field(64, ge=1, description="samples per step")
    rounds: int = pydantic.Field(10, ge=1, description="steps of which the median counts, fewer where they take long")
    seconds: float = pydantic.Field(900.0, gt=0, description="time limit of each process")
    kept: Path | None = pydantic.Field(None, description="file of finished measurements, to go on after a stop")
    hardware: str = pydantic.Field("not recorded", description="the machine, for the head of the table")
    csv: Path | None = pydantic.Field(None, description="file to write the table to")
    part: str | None = pydantic.Field(None, description="one measurement as JSON, as this script calls itself")


def main(arguments: Sequence[str]) -> int:
    """Measures the networks and prints the results."""
    command = parse_command(BackendsCommand, arguments, "benchmarks/backends.py")
    if command.part is not None:
        print(json.dumps(measure(json.loads(command.part))))
        return 0
    console = make_console(stderr=True)
    processors, models = list_processors(), command.models.split(",")
    for name in models:
        require_model(name)
    parts = [
        {"network": name, "backend": backend, "processor": processor, "batch": command.batch_size}
        | {"rounds": command.rounds}
        for processor in processors
        for name in models
        for backend in BACKENDS
    ]
    found = measure_parts(__file__, parts, command.seconds, command.kept, console.print)
    for part, results in zip(parts, found, strict=True):
        if "failure" in results:
            console.print(f"{part['network']} on {part['backend']}, {part['processor']}: {results['failure']}")
    rows = tabulate(parts, found)
    if command.csv is not None:
        write_table(
            [{key: _write(value) for key, value in row.items()} for row in rows], describe(command, rows), command.csv
        )
    print_rows(rows, f"training steps of {command.batch_size} samples", digits=2)
    print(find_faster(rows))
    return 0


def measure(part: dict[str, Any]) -> dict[str, Any]:
    """Returns seconds of the first step, milliseconds of a later one, and the memory that both needed."""
    start_keras(make_console(stderr=True))
    import keras

    from benchmarks.training_steps import make_training_step
    from keras_lnn.backend.process import prepare_backend
    from keras_lnn.registry import count_parameters, list_models

    # What every run imports belongs to no network: on JAX too, the batches are those of tf.data.
    importlib.import_module("keras_lnn.training.loop")
    list_models()
    prepare_backend(0, deterministic=False, precision="float32")
    keras.ops.convert_to_numpy(keras.ops.ones((8, 8)) @ keras.ops.ones((8, 8)))  # what starts with any computation
    before = psutil.Process().memory_info().rss
    step, model = make_training_step(part["network"], part["batch"])
    first, _ = _time(step), _time(step)
    times: list[float] = []
    while len(times) < part["rounds"] and (len(times) < _FEWEST_ROUNDS or sum(times) < _SECONDS_OF_ROUNDS):
        times.append(_time(step))
    memory = find_peak_memory() - before if part["processor"] == "cpu" else _device_peak()
    return {
        "parameters": count_parameters(model),
        "first_s": first,
        "step_ms": 1e3 * statistics.median(times),
        "memory_mib": memory / 2**20,
    }


def _time(step: Any) -> float:
    begun = time.perf_counter()
    step()
    return time.perf_counter() - begun


def _device_peak() -> float:
    """Returns the largest memory that was in use on the GPU, in bytes; without a GPU the measurement fails."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        return jax.devices("gpu")[0].memory_stats()["peak_bytes_in_use"]
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        raise InputError("TensorFlow must see the GPU. Received: none. Install TensorFlow with CUDA.")
    return tf.config.experimental.get_memory_info("GPU:0")["peak"]


def tabulate(parts: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns one row per network and processor, with both backends; empty where one has failed."""
    by_key = {
        (part["network"], part["processor"], part["backend"]): results
        for part, results in zip(parts, found, strict=True)
    }
    rows = []
    for network, processor in dict.fromkeys((part["network"], part["processor"]) for part in parts):
        sides = {label: by_key[network, processor, backend] for backend, label in BACKENDS.items()}
        row: dict[str, Any] = {"network, processor": f"{network}, {processor}"}
        for key, name in (("first_s", "first step (s)"), ("step_ms", "step (ms)"), ("memory_mib", "memory (MiB)")):
            row |= {f"{label} {name}": results.get(key, "") for label, results in sides.items()}
        steps = [results["step_ms"] for results in sides.values() if "step_ms" in results]
        row["TensorFlow / JAX"] = steps[0] / steps[1] if len(steps) == len(BACKENDS) else ""
        rows.append(row)
    return rows


def find_faster(rows: Sequence[dict[str, Any]]) -> str:
    """Returns in words where a training step is clearly faster on JAX, and where on TensorFlow."""
    measured = {row["network, processor"]: row["TensorFlow / JAX"] for row in rows if row["TensorFlow / JAX"]}
    jax = [f"{name} ({ratio:.1f} times)" for name, ratio in measured.items() if ratio >= _CLEAR]
    tensorflow = [f"{name} ({1 / ratio:.1f} times)" for name, ratio in measured.items() if ratio <= 1 / _CLEAR]
    alike = [name for name, ratio in measured.items() if 1 / _CLEAR < ratio < _CLEAR]
    sentences = [
        f"{start} {', '.join(names)}."
        for start, names in (
            ("A training step is faster on JAX for", jax),
            ("It is faster on TensorFlow for", tensorflow),
            (f"The backends differ by less than {_CLEAR - 1:.0%} for", alike),
        )
        if names
    ]
    return " ".join(sentences)


def describe(command: BackendsCommand, rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Returns the lines at the head of the table."""
    chosen = "" if command.models == ",".join(MODELS) else f" --models {command.models}"
    chosen += "" if command.batch_size == 64 else f" --batch-size {command.batch_size}"
    return {
        "title": "Training steps on TensorFlow and on JAX",
        "command": f"python benchmarks/backends.py{chosen}",
        "protocol": f"each network and backend in a process of its own, random data as in the reference data of the"
        f" network, batch {command.batch_size}; the first step with compiling, then the median of up to"
        f" {command.rounds} steps; memory beyond that of a started program",
        "seeds": "0",
        "hardware": command.hardware,
        "findings": find_faster(rows),
    }


def _write(value: object) -> object:
    if not isinstance(value, float):
        return value
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


if __name__ == "__main__":
    run_main(main)
