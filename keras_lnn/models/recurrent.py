"""Plain recurrent heads on convolutions: the yardsticks of the liquid networks."""

from typing import Annotated, Any

import keras
from annotated_types import Ge, Lt

from keras_lnn.layers import apply_to_slices
from keras_lnn.models.blocks import convolution_block, extra_halvings, require_image_shape, scale_pixels
from keras_lnn.ranges import Choice, Range
from keras_lnn.registry import register_model

_PROTOCOL = {"epochs": 50, "batch_size": 128, "optimizer": "adam", "learning_rate": 1e-3}


@register_model(family="recurrent", reference_data="breastmnist", **_PROTOCOL)
def rnn(
    image_shape: tuple[int, ...],
    outputs: int,
    *,
    units: Annotated[int, Ge(1), Choice((16, 32, 64, 128))] = 64,
    filters: Annotated[int, Ge(1), Choice((8, 16, 32))] = 16,
    dropout: Annotated[float, Ge(0), Lt(1), Range(0.0, 0.6)] = 0.2,
) -> keras.Model:
    """Convolutions and a SimpleRNN over the rows of their maps, or over the slices of a volume.

    Args:
        image_shape: (height, width, channels) or (depth, height, width, channels).
        outputs: Logits.
        units: Width of the recurrence.
        filters: Of the first convolution; the second has twice as many.
        dropout: Fraction dropped before the last layer.
    """
    return _recurrent_network("rnn", image_shape, outputs, keras.layers.SimpleRNN(units), filters, dropout)


@register_model(family="recurrent", reference_data="breastmnist", **_PROTOCOL)
def lstm(
    image_shape: tuple[int, ...],
    outputs: int,
    *,
    units: Annotated[int, Ge(1), Choice((16, 32, 64, 128))] = 64,
    filters: Annotated[int, Ge(1), Choice((8, 16, 32))] = 16,
    dropout: Annotated[float, Ge(0), Lt(1), Range(0.0, 0.6)] = 0.2,
) -> keras.Model:
    """Convolutions and an LSTM over the rows of their maps, or over the slices of a volume.

    Args:
        image_shape: (height, width, channels) or (depth, height, width, channels).
        outputs: Logits.
        units: Width of the recurrence.
        filters: Of the first convolution; the second has twice as many.
        dropout: Fraction dropped before the last layer.
    """
    return _recurrent_network("lstm", image_shape, outputs, keras.layers.LSTM(units), filters, dropout)


def _recurrent_network(
    name: str, image_shape: tuple[int, ...], outputs: int, layer: keras.layers.Layer, filters: int, dropout: float
) -> keras.Model:
    require_image_shape(image_shape, smallest_side=8, volumes=True, model=name)
    inputs = keras.Input(image_shape)
    pixels = scale_pixels(inputs)
    if len(image_shape) == 4:
        flatten = keras.layers.Flatten()
        sequence = apply_to_slices(lambda slices: flatten(_stem(slices, filters)), pixels)
    else:
        maps = _stem(pixels, filters)
        _, height, width, channels = maps.shape
        sequence = keras.layers.Reshape((height, width * channels))(maps)
    features = layer(sequence)
    if dropout:
        features = keras.layers.Dropout(dropout)(features)
    return keras.Model(inputs, keras.layers.Dense(outputs)(features))


def _stem(maps: Any, filters: int) -> Any:
    """Two blocks with pooling; larger images are halved first, by pooling alone, to the size of 28 to 55 pixels."""
    for _ in range(extra_halvings(maps.shape[1:])):
        maps = keras.layers.AveragePooling2D(2)(maps)
    for factor in (1, 2):
        maps = convolution_block(maps, filters * factor, 3, padding=1, normalise=True)
        maps = keras.layers.MaxPooling2D(2)(maps)
    return maps
