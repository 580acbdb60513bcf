"""Plain recurrent heads on convolutions: baselines of the liquid networks."""

from typing import Annotated, Any

import keras
from annotated_types import Ge, Lt

from keras_lnn.layers import Rows, apply_to_slices
from keras_lnn.models.backbones import recurrent_stem
from keras_lnn.models.blocks import require_image_shape, scale_pixels
from keras_lnn.models.ranges import Choice, Range
from keras_lnn.registry import register_model

_PROTOCOL: dict[str, Any] = {"epochs": 50, "batch_size": 128, "optimizer": "adam", "learning_rate": 1e-3}


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
        outputs: Number of logits.
        units: Width of the recurrence.
        filters: Filters of the first convolution; the second has twice as many.
        dropout: Dropout rate before the last layer.
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
        outputs: Number of logits.
        units: Width of the recurrence.
        filters: Filters of the first convolution; the second has twice as many.
        dropout: Dropout rate before the last layer.
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
        sequence = apply_to_slices(lambda slices: flatten(recurrent_stem(slices, filters)), pixels)
    else:
        sequence = Rows()(recurrent_stem(pixels, filters))
    features = layer(sequence)
    if dropout:
        features = keras.layers.Dropout(dropout)(features)
    return keras.Model(inputs, keras.layers.Dense(outputs)(features))
