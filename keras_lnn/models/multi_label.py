"""The networks of a multi-label study: a CNN, and a SimpleRNN over the rows."""

from typing import Annotated, Any

import keras
from annotated_types import Ge, Lt
from keras import layers

from keras_lnn.models.blocks import require_image_shape
from keras_lnn.models.ranges import Choice, Range
from keras_lnn.registry import register_model

_PROTOCOL: dict[str, Any] = {
    "epochs": 50,
    "batch_size": 32,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "calibration": "none",
}
_SLOW_PROTOCOL: dict[str, Any] = {**_PROTOCOL, "learning_rate": 1e-4}


@register_model(family="convolutional", reference_data="phantom-chest", **_PROTOCOL)
def multilabel_cnn(
    image_shape: tuple[int, ...],
    outputs: int,
    *,
    filters: Annotated[int, Ge(1), Choice((32, 64, 128))] = 128,
    units: Annotated[int, Ge(1), Choice((256, 512, 1024))] = 1024,
    convolution_dropout: Annotated[float, Ge(0), Lt(1), Range(0.0, 0.8)] = 0.8,
    second_convolution_dropout: Annotated[float, Ge(0), Lt(1), Range(0.0, 0.7)] = 0.6,
    dropout: Annotated[float, Ge(0), Lt(1), Range(0.0, 0.7)] = 0.5,
) -> keras.Model:
    """Two wide convolutions with pooling, two narrower ones, and two dense layers, with heavy dropout after each.

    The convolutions keep the size of their maps, which the study does not specify.

    Args:
        image_shape: (height, width, channels).
        outputs: Number of logits.
        filters: Filters of the first two convolutions; the other two have half as many.
        units: Width of the dense layers.
        convolution_dropout: Dropout rate after each of the first two convolutions.
        second_convolution_dropout: Dropout rate after each of the other two convolutions.
        dropout: Dropout rate after each dense layer.
    """
    require_image_shape(image_shape, smallest_side=4, volumes=False, model="multilabel-cnn")
    inputs = keras.Input(image_shape)
    maps = _scale_to_one(inputs)
    for _ in range(2):
        maps = layers.Conv2D(filters, 3, padding="same", activation="relu")(maps)
        maps = layers.MaxPooling2D(2)(layers.Dropout(convolution_dropout)(maps))
    for _ in range(2):
        maps = layers.Conv2D(max(1, filters // 2), 3, padding="same", activation="relu")(maps)
        maps = layers.Dropout(second_convolution_dropout)(maps)
    return keras.Model(inputs, _dense_head(layers.Flatten()(maps), outputs, units, dropout))


@register_model(family="recurrent", reference_data="phantom-chest", **_SLOW_PROTOCOL)
def multilabel_rnn(
    image_shape: tuple[int, ...],
    outputs: int,
    *,
    recurrent_units: Annotated[int, Ge(1), Choice((512, 1024, 2048))] = 2048,
    units: Annotated[int, Ge(1), Choice((256, 512, 1024))] = 1024,
    dropout: Annotated[float, Ge(0), Lt(1), Range(0.0, 0.7)] = 0.5,
) -> keras.Model:
    """A SimpleRNN that reads the rows of the image from top to bottom, and two dense layers.

    The recurrent kernel is initialised as the identity (Le, Jaitly and Hinton, "A simple way to initialize recurrent
    networks of rectified linear units", 2015). The study does not specify it; with Keras's orthogonal default the
    network forgets the upper rows and never learns findings there.

    Args:
        image_shape: (height, width, channels).
        outputs: Number of logits.
        recurrent_units: Width of the recurrence.
        units: Width of the dense layers.
        dropout: Dropout rate after each layer.
    """
    require_image_shape(image_shape, smallest_side=2, volumes=False, model="multilabel-rnn")
    height, width, channels = image_shape
    inputs = keras.Input(image_shape)
    rows = layers.Reshape((height, width * channels))(_scale_to_one(inputs))
    recurrence = layers.SimpleRNN(
        recurrent_units, activation="relu", recurrent_initializer="identity", name="recurrence"
    )
    features = recurrence(rows)
    return keras.Model(inputs, _dense_head(layers.Dropout(dropout)(features), outputs, units, dropout))


def _scale_to_one(images: Any) -> Any:
    """Scales pixel values 0..255 to 0..1, as the study does."""
    return layers.Rescaling(1 / 255, name="scale_pixels")(images)


def _dense_head(features: Any, outputs: int, units: int, dropout: float) -> Any:
    for _ in range(2):
        features = layers.Dropout(dropout)(layers.Dense(units, activation="relu")(features))
    return layers.Dense(outputs)(features)
