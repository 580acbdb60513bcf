"""Plain dense and convolutional networks as baselines."""

from typing import Annotated, Any

import keras
from annotated_types import Ge, Lt
from keras import layers

from keras_lnn.models.backbones import cnn_stem
from keras_lnn.models.blocks import require_image_shape, scale_pixels
from keras_lnn.models.ranges import Choice, Range
from keras_lnn.registry import register_model

_PROTOCOL: dict[str, Any] = {"epochs": 50, "batch_size": 128, "optimizer": "adam", "learning_rate": 1e-3}


@register_model(family="dense", reference_data="breastmnist", **_PROTOCOL, calibration="none")
def dnn(
    image_shape: tuple[int, ...],
    outputs: int,
    *,
    units: Annotated[int, Ge(1), Choice((256, 512, 1024, 2048))] = 1024,
    second_units: Annotated[int, Ge(1), Choice((32, 64, 128, 256))] = 128,
    dropout: Annotated[float, Ge(0), Lt(1), Range(0.0, 0.6)] = 0.0,
) -> keras.Model:
    """Two dense layers on the flat image: the published baseline of lnn.

    At 28x28x1 with two outputs it has 935,298 parameters; other sizes and channels change the first layer only.

    Args:
        image_shape: (height, width, channels).
        outputs: Number of logits.
        units: Width of the first layer.
        second_units: Width of the second layer.
        dropout: Dropout rate after each hidden layer.
    """
    require_image_shape(image_shape, smallest_side=1, volumes=False, model="dnn")
    inputs = keras.Input(image_shape)
    features = layers.Flatten()(scale_pixels(inputs))
    for width in (units, second_units):
        features = layers.Dense(width, activation="relu")(features)
        if dropout:
            features = layers.Dropout(dropout)(features)
    return keras.Model(inputs, layers.Dense(outputs)(features))


@register_model(family="convolutional", reference_data="breastmnist", **_PROTOCOL)
def cnn(
    image_shape: tuple[int, ...],
    outputs: int,
    *,
    filters: Annotated[int, Ge(1), Choice((8, 16, 24, 32))] = 24,
    dropout: Annotated[float, Ge(0), Lt(1), Range(0.0, 0.6)] = 0.2,
) -> keras.Model:
    """A compact CNN with batch normalisation and about as many parameters as lnn.

    The layers are pairs of 3x3 convolutions with 24, 48 and 96 filters, each pair followed by max pooling, one more
    convolution of 96, the mean over the map, dropout and a dense layer. Larger images are first halved, by one more
    convolution and pooling for each doubling above 28 pixels.

    Args:
        image_shape: (height, width, channels).
        outputs: Number of logits.
        filters: Filters of the first pair of convolutions; the next pairs have two and four times as many.
        dropout: Dropout rate before the last layer.
    """
    require_image_shape(image_shape, smallest_side=8, volumes=False, model="cnn")
    inputs = keras.Input(image_shape)
    maps = cnn_stem(scale_pixels(inputs), filters)
    features = layers.GlobalAveragePooling2D()(maps)
    if dropout:
        features = layers.Dropout(dropout)(features)
    return keras.Model(inputs, layers.Dense(outputs)(features))
