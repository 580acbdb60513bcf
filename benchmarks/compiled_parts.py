"""Measures convolutions and maxima of windows alone, compiled by XLA in several ways, beside the kernels of TensorFlow.

python benchmarks/compiled_parts.py --csv docs/results/tables/compiled-parts.csv --hardware "two CPU cores"

It shows why a training step that is compiled as a whole takes longer on a processor, and what was tried against it.
Each way computes the same values, which is checked, and its gradients; the ways take turns.
"""

import itertools
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydantic

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.measuring import write_table
from keras_lnn.cli.parsing import parse_command, run_main
from keras_lnn.terminal import loading, make_console, print_rows, start_keras

# Batch, side of the maps, channels, filters and side of the kernel.
CONVOLUTIONS = ((64, 28, 1, 16, 3), (64, 28, 16, 32, 3), (64, 14, 64, 64, 3), (64, 6, 64, 128, 7))
# Batch, side of the maps, channels, side and stride of the windows.
WINDOWS = ((64, 28, 32, 2, 2), (64, 64, 32, 2, 2), (64, 28, 32, 3, 2))
_PLAIN = "kernel of TensorFlow"


class PartsCommand(pydantic.BaseModel):
    """Measure convolutions and maxima of windows with their gradients, one row per size."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    rounds: int = pydantic.Field(7, ge=1, description="steps timed of each way, of which the median counts")
    hardware: str = pydantic.Field("not recorded", description="the machine, for the head of the table")
    csv: Path | None = pydantic.Field(None, description="file to write the table to")


def main(arguments: Sequence[str]) -> int:
    """Measures all sizes and prints the results."""
    command = parse_command(PartsCommand, arguments, "benchmarks/compiled_parts.py")
    console = make_console(stderr=True)
    start_keras(console)
    parts = [(measure_convolution, size) for size in CONVOLUTIONS] + [(measure_windows, size) for size in WINDOWS]
    from keras_lnn.backend.programs import using_many_models

    rows: list[dict[str, Any]] = []
    with using_many_models(), loading(console, "measuring") as progress:
        for measure_part, size in parts:
            rows.append(measure_part(size, command.rounds))
            progress(len(rows) / len(parts))
    rows = [{name: row.get(name, "") for name in dict.fromkeys(itertools.chain(*rows))} for row in rows]
    print_rows(rows, "values and gradients, ms", digits=1)
    if command.csv is not None:
        facts = {
            "title": "Convolutions and maxima of windows with their gradients, in ms",
            "command": "python benchmarks/compiled_parts.py",
            "protocol": f"values, and gradients of maps and kernels; medians of {command.rounds} steps, ways in turn",
            "seeds": "0",
            "hardware": command.hardware,
        }
        write_table([{key: _write(value) for key, value in row.items()} for row in rows], facts, command.csv)
    return 0


def measure_convolution(size: tuple[int, ...], rounds: int) -> dict[str, Any]:
    """Returns the times of a convolution that keeps the side of its maps."""
    import tensorflow as tf

    batch, side, channels, filters, kernel = size
    maps, weights = draw(batch, side, side, channels), draw(kernel, kernel, channels, filters)

    def convolve(maps: Any, weights: Any) -> Any:
        return tf.nn.conv2d(maps, weights, 1, "SAME")

    def shift(maps: Any) -> list[Any]:
        around = (kernel - 1) // 2, kernel // 2
        padded = tf.pad(maps, [[0, 0], around, around, [0, 0]])
        return [padded[:, y : y + side, x : x + side] for y, x in itertools.product(range(kernel), repeat=2)]

    def add_products(maps: Any, weights: Any) -> Any:
        each = tf.unstack(tf.reshape(weights, (-1, channels, filters)))
        return sum(part @ product for part, product in zip(shift(maps), each, strict=True))

    def gather_patches(maps: Any, weights: Any) -> Any:
        return tf.concat(shift(maps), -1) @ tf.reshape(weights, (-1, filters))

    @tf.custom_gradient
    def patch_gradient(maps: Any, weights: Any) -> Any:
        def gradient(upstream: Any) -> tuple[Any, Any]:
            patches = tf.reshape(tf.concat(shift(maps), -1), (-1, kernel * kernel * channels))
            by_weights = tf.matmul(patches, tf.reshape(upstream, (-1, filters)), transpose_a=True)
            turned = tf.transpose(weights[::-1, ::-1], (0, 1, 3, 2))
            return convolve(upstream, turned), tf.reshape(by_weights, weights.shape)

        return convolve(maps, weights), gradient

    ways = {
        _PLAIN: (convolve, False),
        "XLA": (convolve, True),
        "sum of products": (add_products, True),
        "product of patches": (gather_patches, True),
        "gradient by patches": (patch_gradient, True),
    }
    name = f"convolution, {batch} x {side} x {side} x {channels}, {filters} filters of {kernel} x {kernel}"
    return {"part": name} | measure(ways, (maps, weights), rounds)


def measure_windows(size: tuple[int, ...], rounds: int) -> dict[str, Any]:
    """Returns the times of maxima of windows."""
    import tensorflow as tf

    from keras_lnn.layers.pooling import take_maxima

    batch, side, channels, window, stride = size

    def pool(maps: Any) -> Any:
        return tf.nn.max_pool2d(maps, window, stride, "VALID")

    def pool_elementwise(maps: Any) -> Any:
        return take_maxima(maps, (window,) * 2, (stride,) * 2)

    ways = {_PLAIN: (pool, False), "XLA": (pool, True), "elementwise gradient": (pool_elementwise, True)}
    name = f"maxima, {batch} x {side} x {side} x {channels}, windows of {window} x {window} by {stride}"
    return {"part": name} | measure(ways, (draw(batch, side, side, channels),), rounds)


def draw(*shape: int) -> Any:
    """Returns random numbers."""
    import tensorflow as tf

    return tf.constant(np.random.default_rng(0).normal(size=shape), "float32")


def measure(ways: dict[str, tuple[Callable[..., Any], bool]], values: tuple[Any, ...], rounds: int) -> dict[str, Any]:
    """Returns the milliseconds of each way, which must agree with the first one."""
    steps = {name: _make_step(function, values, compiled) for name, (function, compiled) in ways.items()}
    expected = [part.numpy() for part in steps[_PLAIN]()]
    for step in steps.values():
        for found, wanted in zip(step(), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3 * np.abs(wanted).max())
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds):
        for name in list(steps) if turn % 2 == 0 else list(steps)[::-1]:
            begun = time.perf_counter()
            [part.numpy() for part in steps[name]()]
            times[name].append(1e3 * (time.perf_counter() - begun))
    return {name: statistics.median(found) for name, found in times.items()}


def _make_step(function: Callable[..., Any], values: tuple[Any, ...], compiled: bool) -> Callable[[], list[Any]]:
    import tensorflow as tf

    @tf.function(jit_compile=compiled, autograph=False)
    def step(*values: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            tape.watch(values)
            outputs = function(*values)
        return [outputs, *tape.gradient(outputs, values, upstream)]

    upstream = draw(*function(*values).shape)
    return lambda: step(*values)


def _write(value: object) -> object:
    if not isinstance(value, float):
        return value
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


if __name__ == "__main__":
    run_main(main)
