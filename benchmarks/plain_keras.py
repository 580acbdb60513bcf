"""Compares the time of an epoch of a liquid network with plain Keras and ``ncps.keras``.

python benchmarks/plain_keras.py --data adrenalmnist3d

Both train LiqExp4N2 of the term paper: ours through the pipeline, with its stem on all slices at once and our LTC; the
other with ``TimeDistributed`` convolutions, the LTC of ``ncps.keras`` and ``fit`` on arrays in memory. Epochs
alternate; the first of each, which includes compilation, is reported separately.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pydantic

from keras_lnn.cli.parsing import parse_command, run_main
from keras_lnn.terminal import loading, make_console, print_rows, start_keras

NETWORK = "LiqExp4N2"


class PlainKerasCommand(pydantic.BaseModel):
    """Time epochs of LiqExp4N2 here and in plain Keras."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    data: str = pydantic.Field("adrenalmnist3d", description="data set of volumes with two classes")
    data_dir: Path | None = pydantic.Field(None, description="folder of the data files")
    epochs: int = pydantic.Field(5, ge=2, description="epochs of each training")
    batch_size: int = pydantic.Field(64, ge=1, description="volumes per step")
    json_output: bool = pydantic.Field(False, alias="json", description="print one JSON object instead of the table")


def main(arguments: Sequence[str]) -> int:
    """Times the epochs and prints the results."""
    command = parse_command(PlainKerasCommand, arguments, "benchmarks/plain_keras.py")
    quiet = make_console(stderr=True)
    start_keras(quiet)
    with loading(quiet, "training"):
        rows = measure(command)
    if command.json_output:
        print(json.dumps(rows, indent=2))
    else:
        print_rows(rows, f"an epoch of {NETWORK} on {command.data}, batch {command.batch_size}", digits=2)
    return 0


def measure(command: PlainKerasCommand) -> list[dict[str, Any]]:
    """Returns one row each: seconds of the first epoch, and the median of the others."""
    from keras_lnn.data import load_data

    images = load_data(command.data, data_dir=command.data_dir).splits["train"]
    epochs = {"ours": our_epoch(images, command), "plain Keras, ncps.keras": plain_epoch(images, command)}
    seconds: dict[str, list[float]] = {name: [] for name in epochs}
    for _ in range(command.epochs):
        for name, run in epochs.items():
            begun = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - begun)
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    return [
        {
            "network": name,
            "first_s": times[0],
            "epoch_s": medians[name],
            "lowest_s": min(times[1:]),
            "times_ours": medians[name] / medians["ours"],
        }
        for name, times in seconds.items()
    ]


def our_epoch(images: Any, command: PlainKerasCommand) -> Callable[[], Any]:
    """Trains one epoch as ``train.py`` does."""
    import keras

    from keras_lnn.data.pipeline import steps_per_epoch, training_batches
    from keras_lnn.registry import build_model

    model = build_model(NETWORK, images.images.shape[1:], 2)
    model.compile(keras.optimizers.Adam(5e-4), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    batches = training_batches(images, batch_size=command.batch_size, seed=0, epochs=1)
    steps = steps_per_epoch(images, command.batch_size)
    return lambda: model.fit(batches, epochs=1, steps_per_epoch=steps, verbose=0, shuffle=False)


def plain_epoch(images: Any, command: PlainKerasCommand) -> Callable[[], Any]:
    """Trains one epoch of the same network, written as in Keras's own guides."""
    import keras
    import numpy as np
    from keras import layers
    from ncps.wirings import AutoNCP

    from keras_lnn.layers.ncps_models import import_ncps

    stem = [
        layers.Conv2D(6, 5, activation="relu"),
        layers.Conv2D(6, 5, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(16, 3, activation="relu"),
        layers.Conv2D(16, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
    ]
    features = inputs = keras.Input(images.images.shape[1:])
    for layer in stem:
        features = layers.TimeDistributed(layer)(features)
    steps = import_ncps().LTC(AutoNCP(21, 1), return_sequences=True)(features)
    model = keras.Model(inputs, layers.Activation("sigmoid")(layers.GlobalAveragePooling1D()(steps)))
    model.compile(keras.optimizers.Adam(5e-4), "binary_crossentropy")
    arrays = np.asarray(images.images, np.float32) / 255.0, images.labels.reshape(-1, 1).astype(np.float32)
    return lambda: model.fit(*arrays, batch_size=command.batch_size, epochs=1, verbose=0)


if __name__ == "__main__":
    run_main(main)
