"""Measures the error of the steps of an LTC with fresh weights against its differential equation, by elapsed time.

python benchmarks/ltc_accuracy.py

One step from random potentials is solved by the layer, and for reference in thousands of unfolds: a step can be split
into several shorter ones with the same inputs. Potentials go from -1 to 1.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pydantic

from keras_lnn.cli.parsing import parse_command, run_main
from keras_lnn.terminal import loading, make_console, print_rows, start_keras

WIRINGS = ((21, 1), (19, 2))
BATCH, FEATURES = 16, 16


class AccuracyCommand(pydantic.BaseModel):
    """Measure the error of the steps of an LTC with fresh weights."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    seeds: int = pydantic.Field(10, ge=1, description="number of newly initialised layers of each wiring")
    fine: int = pydantic.Field(4800, ge=480, description="number of unfolds of the step that is taken as exact")
    json_output: bool = pydantic.Field(False, alias="json", description="print one JSON object instead of the table")


def main(arguments: Sequence[str]) -> int:
    """Measures the errors and prints the results."""
    command = parse_command(AccuracyCommand, arguments, "benchmarks/ltc_accuracy.py")
    quiet = make_console(stderr=True)
    start_keras(quiet)
    with loading(quiet, "solving"):
        rows = measure(command)
    if command.json_output:
        print(json.dumps(rows, indent=2))
    else:
        print_rows(rows, "error of the potentials after one step", digits=4)
    return 0


def measure(command: AccuracyCommand) -> list[dict[str, Any]]:
    """Returns one row per elapsed time and number of unfolds: median, 90th percentile and largest error."""
    import keras
    import tensorflow as tf
    from ncps.wirings import AutoNCP

    from keras_lnn.layers import LTC

    tf.get_logger().setLevel("ERROR")  # every layer and length is a separate program, which TensorFlow warns about
    found: dict[tuple[float, int], list[np.ndarray]] = {}
    for (units, motor), seed in itertools.product(WIRINGS, range(command.seeds)):
        keras.utils.set_random_seed(seed)
        layer = LTC(AutoNCP(units, motor, seed=seed), return_state=True, dtype="float64")
        solve = tf.function(lambda inputs, times, state, layer=layer: layer((inputs, times), initial_state=[state])[1])
        generator = np.random.default_rng(seed)
        inputs, state = generator.uniform(size=(BATCH, 1, FEATURES)), generator.uniform(-1, 1, (BATCH, units))
        for elapsed in (0.1, 1.0, 10.0, 100.0):
            after = {}
            for unfolds in (6, 12, 24, 48, 96, command.fine):
                parts = unfolds // layer.ode_unfolds
                times = np.full((BATCH, parts), elapsed / parts)
                after[unfolds] = solve(np.repeat(inputs, parts, axis=1), times, state).numpy()
            exact = after.pop(command.fine)
            for unfolds, potentials in after.items():
                found.setdefault((elapsed, unfolds), []).append(np.abs(potentials - exact).ravel())
    return [describe(elapsed, unfolds, np.concatenate(errors)) for (elapsed, unfolds), errors in found.items()]


def describe(elapsed: float, unfolds: int, errors: np.ndarray) -> dict[str, Any]:
    """Returns one row of the table."""
    median, most, largest = np.percentile(errors, (50, 90, 100)).tolist()
    return {"elapsed time": elapsed, "unfolds": unfolds, "median": median, "nine tenths": most, "largest": largest}


if __name__ == "__main__":
    run_main(main)
