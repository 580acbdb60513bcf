"""Quick and faulty models and data that the tests' trials import."""

import os
import subprocess
import sys
import time
from typing import Annotated, Any, Literal

import keras
import numpy as np
from conftest import register_tiny_data

from keras_lnn.models.ranges import Choice, Range
from keras_lnn.registry import register_model

register_tiny_data()
# Tests of several processes at a time look for their own sleeper only.
SLEEPER = f"import time; time.sleep(10_000)  # {os.environ.get('PYTEST_XDIST_WORKER', 'alone')}"
FAULTS = ("none", "raise", "memory", "hang", "nan", "exit", "kill")


@register_model(family="test", reference_data="phantom-breast", epochs=2, batch_size=16)
def quick_net(
    image_shape: tuple[int, ...],
    outputs: int,
    *,
    units: Annotated[int, Range(2, 9)] = 4,
    activation: Annotated[Literal["relu", "tanh"], Choice(("relu", "tanh"))] = "relu",
) -> keras.Model:
    """A small network."""
    inputs = keras.Input(image_shape)
    features = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    return keras.Model(inputs, keras.layers.Dense(outputs)(keras.layers.Dense(units, activation)(features)))


@register_model(family="test", reference_data="phantom-breast", epochs=1, batch_size=16)
def faulty_net(
    image_shape: tuple[int, ...], outputs: int, *, fault: Annotated[str, Choice(FAULTS)] = "none", seconds: float = 0.0
) -> keras.Model:
    """A small network that does what it should not."""
    time.sleep(seconds)
    inputs = keras.Input(image_shape)
    scale = float("nan") if fault == "nan" else 1 / 255
    features = keras.layers.Flatten()(keras.layers.Rescaling(scale)(inputs))
    if fault in FAULT_ACTIONS:
        FAULT_ACTIONS[fault]()
    return keras.Model(inputs, keras.layers.Dense(outputs)(features))


def _fail() -> None:
    raise RuntimeError("built to fail")


def _eat() -> None:
    eaten: list[Any] = []
    for _ in range(64):  # 2 GiB: more than the limit, and no more than the machine has where nobody looks in time
        eaten.append(np.ones(2**22))
        time.sleep(0.005)
    time.sleep(10_000)


def _hang() -> None:
    subprocess.Popen([sys.executable, "-c", SLEEPER])
    time.sleep(10_000)


FAULT_ACTIONS = {
    "raise": _fail,
    "memory": _eat,
    "hang": _hang,
    "exit": lambda: os._exit(1),
    "kill": lambda: os.kill(os.getpid(), 9),
}
