"""The smallest networks that have what the tests of runs look for."""

from typing import Annotated

import keras
from ncps.wirings import AutoNCP

from keras_lnn.layers import CfC, Channels
from keras_lnn.models.ranges import Range
from keras_lnn.registry import register_model


@register_model(family="test", reference_data="phantom-breast", epochs=2, batch_size=16)
def tiny_dense(
    image_shape: tuple[int, ...],
    outputs: int,
    *,
    units: Annotated[int, Range(2, 9)] = 4,
    dropout: Annotated[float, Range(0.0, 0.5)] = 0.3,
) -> keras.Model:
    """A dense network with random numbers and with variables that no optimiser trains."""
    inputs = keras.Input(image_shape)
    features = keras.layers.Dense(units)(keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs)))
    features = keras.layers.Dropout(dropout)(keras.layers.BatchNormalization()(features))
    return keras.Model(inputs, keras.layers.Dense(outputs)(features))


@register_model(family="test", reference_data="phantom-breast", epochs=2, batch_size=16)
def tiny_liquid(
    image_shape: tuple[int, ...], outputs: int, *, channels: Annotated[int, Range(4, 8, step=4)] = 8
) -> keras.Model:
    """A wired CfC that reads the channels of one convolution, as lnn does."""
    inputs = keras.Input(image_shape)
    maps = keras.layers.Conv2D(channels, 7, 7, activation="relu")(keras.layers.Rescaling(1 / 255)(inputs))
    return keras.Model(inputs, CfC(AutoNCP(outputs + 4, outputs), name="cfc")(Channels(4)(maps)))
