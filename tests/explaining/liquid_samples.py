"""Tiny models with a liquid layer, and samples for them."""

import keras
import numpy as np
from ncps.wirings import AutoNCP

from keras_lnn.data.arrays import Split
from keras_lnn.layers import LTC, CfC, Rows
from keras_lnn.tasks.kinds import make_task

TASK = make_task("binary", ["benign", "malignant"])


def make_model(kind: str = "ltc", **arguments) -> keras.Model:
    """A model that reads images of three rows by a liquid layer of five neurons."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((3, 4, 1))
    steps = Rows()(keras.layers.Rescaling(1 / 255)(inputs))
    units = AutoNCP(5, 2, seed=4)
    layer = {
        "ltc": lambda: LTC(units, name="liquid", **arguments),
        "cfc": lambda: CfC(units, name="liquid", **arguments),
        "dense": lambda: CfC(4, backbone_layers=0, name="liquid", **arguments),
        "backbone": lambda: CfC(4, backbone_units=6, name="liquid", **arguments),
        "memory": lambda: LTC(units, mixed_memory=True, name="liquid", **arguments),
    }[kind]()
    features = layer(steps)
    # A connection around the layer and a sum after it, as models with several branches have.
    beside = keras.layers.Dense(2, name="beside")(keras.layers.Flatten()(inputs / 255))
    return keras.Model(inputs, keras.layers.Dense(2, name="logits")(features) * 4 + 0.1 * beside)


def draw_split(samples: int = 24, seed: int = 0) -> Split:
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (samples, 3, 4, 1)).astype("uint8")
    return Split(images, (images.mean(axis=(1, 2, 3)) > 127).astype("int64"))
