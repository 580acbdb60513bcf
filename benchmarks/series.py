"""Compares a training step of series of images with plain Keras, and liquid layers with times with those without.

python benchmarks/series.py

Networks are compared with the same ones written as in Keras's own guides: ``TimeDistributed`` convolutions and the
layer of ``ncps.keras``, with as many units and parameters, with and without mixed memory. It reads the mask, and the
elapsed time as one more feature, since it fails when times are given to its equations; so do ours here. Its mixed
memory is not that of ``lnn-series``: the memory's output is the input of the liquid cell, so ours have
``version="ncps.keras"`` there; and it does not train as it is, see :func:`make_ncps_layer`. ``lnn-series`` as users get
it, with times in its equations too, has rows of its own. The layers are ours alone. Ways of one group take turns in one
process. A second table has the share of steps that are padding.
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
_PADDED_DATA, _PADDED_BATCH = ("phantom-perfusion", "phantom-growth"), 32


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
        padding = measure_padding()
        for head in _HEADS:
            for memory in (True, False):
                group = f"network, {head}{'' if memory else ' without memory'}"
                rows += measure(command, group, network_steps(command, head, memory))
            rows += measure(command, f"layer, {head}", layer_steps(command, head))
    if command.json_output:
        print(json.dumps({"steps": rows, "padding": padding}, indent=2))
        return 0
    shape = f"{command.frames} frames of {command.side}x{command.side}"
    print_rows(rows, f"a training step of {command.batch_size} series of {shape}, milliseconds", digits=2)
    print_rows(padding, f"shares of steps: padding, and saved; batches of {_PADDED_BATCH}", digits=3)
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


def network_steps(command: SeriesCommand, head: str, memory: bool) -> dict[str, Callable[[], Any]]:
    """Returns the training steps of our network, of the same one in plain Keras, and of lnn-series by default."""
    from keras_lnn.layers import LTC, CfC
    from keras_lnn.models.series import find_units
    from keras_lnn.registry import build_model

    shape = (command.frames, command.side, command.side, 1)
    images = np.random.default_rng(1).integers(0, 256, (command.batch_size, *shape)).astype(np.float32)
    inputs = [images, draw_times(command)]
    units = find_units(head, _FEATURES + 1, mixed_memory=memory)  # ty: ignore[invalid-argument-type] a head
    options: dict[str, Any] = {"mixed_memory": memory} | ({"backbone_layers": 0} if head == "cfc" else {})
    ours = CfC if head == "cfc" else LTC
    networks = {
        "ours": make_network(shape, ours(units, version="ncps.keras", **options), folded=True),
        "plain Keras, ncps.keras": make_network(shape, make_ncps_layer(head, units, memory), folded=False),
    }
    counts = {name: network.count_params() for name, network in networks.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"Networks that are compared must have the same number of parameters. Received: {counts}.")
    arguments = {"head": head, "features": _FEATURES, "mixed_memory": memory}
    networks["lnn-series"] = build_model("lnn-series", shape, 1, **arguments)
    networks["lnn-series times=none"] = build_model("lnn-series", shape, 1, **arguments, times="none")
    return {name: training_step(network, inputs) for name, network in networks.items()}


def make_ncps_layer(head: str, units: int, memory: bool) -> Any:
    """Returns a liquid layer of ``ncps.keras``, whose mixed memory is repaired: Keras's loop refuses its state."""
    import keras

    from keras_lnn.layers.ncps_models import import_ncps

    ncps = import_ncps()
    layer = ncps.CfC(units, backbone_layers=0) if head == "cfc" else ncps.LTC(units)
    if not memory:
        return layer

    class MixedMemory(ncps.MixedMemoryRNN):
        """The cell of ``ncps.keras``, which returns its two states as one list instead of a list within a list."""

        def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
            output, (memory_state, liquid_state) = super().call(sequences, initial_state, mask, training)
            return output, [memory_state, *liquid_state]

    return keras.layers.RNN(MixedMemory(layer.cell))


def make_network(shape: tuple[int, ...], recurrent: Any, *, folded: bool) -> Any:
    """Returns convolutions for each frame, then a layer that reads their features with the elapsed times.

    Args:
        shape: (frames, height, width, channels).
        recurrent: The layer that reads the frames.
        folded: Whether frames are folded into the batch, as our networks do; otherwise they go through the loop of
            ``TimeDistributed``, as in Keras's own guides.
    """
    import keras
    from keras import layers

    from keras_lnn.layers import ElapsedTime, apply_to_slices

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
        features = apply_to_slices(layer, features) if folded else layers.TimeDistributed(layer)(features)
    features = layers.Concatenate()([features, elapsed])
    return keras.Model([images, times], layers.Dense(1)(recurrent(features, mask=is_frame)))


def measure_padding() -> list[dict[str, Any]]:
    """Returns the share of steps without a frame, by how the training series of the embedded sets are batched."""
    from keras_lnn.data import load_data

    rows = []
    for name in _PADDED_DATA:
        series = load_data(name).series
        if series is None:
            raise ValueError(f"Padding is measured on series. Received: {name}.")
        lengths = series.lengths
        ways = {
            "padded to the longest series, as networks are trained": np.full(len(lengths), series.steps),
            "to the longest of each batch": pad_batches(np.random.default_rng(0).permutation(lengths)),
            "batched by similar length": pad_batches(np.sort(lengths)),
        }
        for way, steps in ways.items():
            padding, saved = 1 - lengths.sum() / steps.sum(), 1 - steps.sum() / (series.steps * len(lengths))
            rows.append({"data": name, "way": way, "padding": float(padding), "saved": float(saved)})
    return rows


def pad_batches(lengths: np.ndarray) -> np.ndarray:
    """Returns the number of steps of each series when it is padded to the longest of its batch."""
    starts = np.arange(0, len(lengths), _PADDED_BATCH)
    counts = np.diff(np.append(starts, len(lengths)))
    return np.repeat(np.maximum.reduceat(lengths, starts), counts)


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
