"""Compares a training step of series of images with plain Keras, and liquid layers with times with those without.

python benchmarks/series.py

The networks are ``lnn-series`` and the same written as in Keras's own guides: ``TimeDistributed`` convolutions and the
layer of ``ncps.keras``, which reads the mask, and the elapsed time as one more feature, since it fails when times are
given to its equations. The layers are ours alone. Ways of one group take turns in one process.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pydantic

from keras_lnn.cli.parsing import parse_command, run_main
from keras_lnn.terminal import loading, make_console, print_rows, start_keras

_HEADS = ("cfc", "ltc")
_FEATURES = 32


class SeriesCommand(pydantic.BaseModel):
    """Measure training steps of series against plain Keras, and of liquid layers with times against those without."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    batch_size: int = pydantic.Field(64, ge=1, description="series per step")
    frames: int = pydantic.Field(16, ge=2, description="frames of each series")
    side: int = pydantic.Field(28, ge=12, description="height and width of a frame in pixels")
    rounds: int = pydantic.Field(8, ge=2, description="number of timed steps of each way")
    json_output: bool = pydantic.Field(False, alias="json", description="print one JSON object instead of the table")


def main(arguments: Sequence[str]) -> int:
    """Measures the steps and prints the results."""
    command = parse_command(SeriesCommand, arguments, "benchmarks/series.py")
    quiet = make_console(stderr=True)
    start_keras(quiet)
    rows = []
    with loading(quiet, "measuring"):
        for head in _HEADS:
            rows += measure(command, f"network, {head}", network_steps(command, head))
            rows += measure(command, f"layer, {head}", layer_steps(command, head))
    if command.json_output:
        print(json.dumps(rows, indent=2))
        return 0
    shape = f"{command.frames} frames of {command.side}x{command.side}"
    print_rows(rows, f"a training step of {command.batch_size} series of {shape}, milliseconds", digits=2)
    return 0


def measure(command: SeriesCommand, group: str, steps: dict[str, Callable[[], Any]]) -> list[dict[str, Any]]:
    """Returns one row per way: the median and the quickest step, and both as multiples of the first way's."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
        step()  # what is allocated in a second step is not counted either
    for turn in range(command.rounds):
        for name in list(steps) if turn % 2 == 0 else list(steps)[::-1]:
            begun = time.perf_counter()
            steps[name]()
            seconds[name].append(time.perf_counter() - begun)
    base = next(iter(seconds.values()))
    return [
        {
            "group": group,
            "way": name,
            "step": 1e3 * statistics.median(own),
            "quickest": 1e3 * min(own),
            "ratio": statistics.median(one / other for one, other in zip(own, base, strict=True)),
            "ratio_of_quickest": min(own) / min(base),
        }
        for name, own in seconds.items()
    ]


def draw_times(command: SeriesCommand) -> np.ndarray:
    """Returns times (series, frames) at uneven intervals, NaN after the ends of series of different lengths."""
    generator = np.random.default_rng(0)
    times = np.cumsum(generator.uniform(0.2, 2.0, (command.batch_size, command.frames)), axis=1)
    lengths = generator.integers(command.frames // 2, command.frames + 1, command.batch_size)
    return np.where(np.arange(command.frames) < lengths[:, None], times, np.nan).astype(np.float32)


def network_steps(command: SeriesCommand, head: str) -> dict[str, Callable[[], Any]]:
    """Returns the training steps of our network and of the same one in plain Keras."""
    from keras_lnn.registry import build_model

    shape = (command.frames, command.side, command.side, 1)
    images = np.random.default_rng(1).integers(0, 256, (command.batch_size, *shape)).astype(np.float32)
    inputs = [images, draw_times(command)]
    ours = build_model("lnn-series", shape, 1, head=head, features=_FEATURES)
    blind = build_model("lnn-series", shape, 1, head=head, features=_FEATURES, times="none")
    return {
        "ours": training_step(ours, inputs),
        "ours, all intervals alike": training_step(blind, inputs),
        "plain Keras, ncps.keras": training_step(make_plain(shape, head), inputs),
    }


def make_plain(shape: tuple[int, ...], head: str) -> Any:
    """Returns the network as in Keras's own guides, with the layer of ``ncps.keras``."""
    import keras
    from keras import layers

    from keras_lnn.layers import ElapsedTime
    from keras_lnn.layers.ncps_models import import_ncps
    from keras_lnn.models.series import find_units

    images, times = keras.Input(shape), keras.Input(shape[:1])
    elapsed, is_frame = ElapsedTime()(times)
    features = layers.Rescaling(1 / 255)(images)
    for layer in (
        layers.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2D(16, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(24, 3, padding="same", activation="relu"),
        layers.GlobalMaxPooling2D(),
        layers.Dense(_FEATURES, activation="relu"),
        layers.Dropout(0.1),
    ):
        features = layers.TimeDistributed(layer)(features)
    features = layers.Concatenate()([features, elapsed])
    units, ncps = find_units(head, features.shape[-1]), import_ncps()  # ty: ignore[invalid-argument-type] a head
    recurrent = ncps.CfC(units, backbone_layers=0) if head == "cfc" else ncps.LTC(units)
    return keras.Model([images, times], layers.Dense(1)(recurrent(features, mask=is_frame)))


def layer_steps(command: SeriesCommand, head: str) -> dict[str, Callable[[], Any]]:
    """Returns the training steps of one layer without times and mask, with a mask, and with both."""
    import keras

    from keras_lnn.layers import LTC, CfC, ElapsedTime
    from keras_lnn.models.series import find_units

    units = find_units(head, _FEATURES)  # ty: ignore[invalid-argument-type] a head
    times = draw_times(command)
    frames = np.random.default_rng(2).normal(size=(*times.shape, _FEATURES)).astype(np.float32)

    def make(is_timed: bool, is_masked: bool) -> Callable[[], Any]:
        sequence, taken = keras.Input(frames.shape[1:]), keras.Input(times.shape[1:])
        elapsed, is_frame = ElapsedTime()(taken)
        layer = CfC(units, backbone_layers=0) if head == "cfc" else LTC(units)
        read = layer((sequence, elapsed) if is_timed else sequence, mask=is_frame if is_masked else None)
        return training_step(keras.Model([sequence, taken], keras.layers.Dense(1)(read)), [frames, times])

    return {"without": make(False, False), "masked": make(False, True), "masked, with times": make(True, True)}


def training_step(model: Any, inputs: list[np.ndarray]) -> Callable[[], Any]:
    """Returns a function that does one training step."""
    import keras

    labels = (np.arange(len(inputs[0])) % 2).astype(np.float32)[:, None]
    model.compile(keras.optimizers.Adam(1e-3), keras.losses.BinaryCrossentropy(from_logits=True), jit_compile=False)
    return lambda: model.train_on_batch(inputs, labels)


if __name__ == "__main__":
    run_main(main)
