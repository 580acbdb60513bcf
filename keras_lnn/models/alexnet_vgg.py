"""Deep networks without shortcuts and with wide dense layers at the end: AlexNet and VGG."""

from __future__ import annotations

from typing import Annotated, Any

import keras
from annotated_types import Ge, Lt

from keras_lnn.models.blocks import Initialisation
from keras_lnn.models.deep import (
    PROTOCOL,
    LayerMaker,
    Stem,
    Volumes,
    apply_max_pooling,
    build_deep_network,
    flatten_at_most,
    is_small,
)
from keras_lnn.models.ranges import Choice, Range
from keras_lnn.registry import register_model

_DENSE_UNITS = 4096
_VGG19 = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))


@register_model(family="deep", reference_data="breastmnist", **PROTOCOL)
def alexnet(
    image_shape: tuple[int, ...],
    outputs: int,
    *,
    stem: Stem = "auto",
    volumes: Volumes = "2.5d",
    initialisation: Annotated[Initialisation, Choice(("he-normal", "framework-uniform"))] = "he-normal",
    dropout: Annotated[float, Ge(0), Lt(1), Range(0.0, 0.6)] = 0.5,
) -> keras.Model:
    """AlexNet: five convolutions (96-256-384-384-256) with three poolings, and two dense layers of 4,096.

    At 224x224x1 and three classes it has the published 46,736,067 parameters. Maps of more than 5 pixels a side are
    averaged down to 5 before the dense layers, so other sizes have about as many parameters.

    Args:
        image_shape: (height, width, channels) or (depth, height, width, channels).
        outputs: Number of logits.
        stem: First layers. ``large``: 11x11 with stride 4 and pooling, as published; ``small``: 3x3 without both;
            ``auto``: small below 64 pixels a side.
        volumes: How volumes are read. ``2.5d``: each slice as an image, and the mean of their features; ``3d``: by
            convolutions in three dimensions.
        initialisation: Initialisation of the weights; ``framework-uniform`` is PyTorch's default.
        dropout: Dropout rate after each of the two dense layers.
    """
    make, small = LayerMaker(initialisation), is_small(image_shape, stem)

    def read(maps: Any) -> Any:
        if small:
            maps = make.apply_convolution(maps, 96, 3, padding=1, activation="relu")
        else:
            maps = make.apply_convolution(maps, 96, 11, strides=4, padding=1, activation="relu")
            maps = apply_max_pooling(maps, 3, 2)
        maps = make.apply_convolution(maps, 256, 5, padding=2, activation="relu")
        maps = apply_max_pooling(maps, 3, 2)
        for filters in (384, 384, 256):
            maps = make.apply_convolution(maps, filters, 3, padding=1, activation="relu")
        return _dense_layers(flatten_at_most(apply_max_pooling(maps, 3, 2), 5), make, dropout)

    return build_deep_network("alexnet", image_shape, outputs, read, make, volumes, dropout)


@register_model(family="deep", reference_data="breastmnist", **PROTOCOL)
def vgg19(
    image_shape: tuple[int, ...],
    outputs: int,
    *,
    stem: Stem = "auto",
    volumes: Volumes = "2.5d",
    initialisation: Annotated[Initialisation, Choice(("he-normal", "framework-uniform"))] = "he-normal",
    dropout: Annotated[float, Ge(0), Lt(1), Range(0.0, 0.6)] = 0.5,
) -> keras.Model:
    """VGG with sixteen convolutions of 3x3 in five blocks and two dense layers of 4,096, without batch normalisation.

    At 224x224x1 and three classes it has the published 139,581,379 parameters, of which 102,764,544 lie between the
    last maps and the first dense layer; at 28x28 one pixel is left there, and only 2,101,248 of these. Maps of more
    than 7 pixels a side are averaged down to 7.

    Args:
        image_shape: (height, width, channels) or (depth, height, width, channels).
        outputs: Number of logits.
        stem: ``large``: pooling after each block, as published; ``small``: none after the first; ``auto``: small below
            64 pixels a side.
        volumes: How volumes are read. ``2.5d``: each slice as an image, and the mean of their features; ``3d``: by
            convolutions in three dimensions.
        initialisation: Initialisation of the weights; ``framework-uniform`` is PyTorch's default.
        dropout: Dropout rate after each of the two dense layers.
    """
    make, small = LayerMaker(initialisation), is_small(image_shape, stem)

    def read(maps: Any) -> Any:
        for block, (filters, convolutions) in enumerate(_VGG19):
            for _ in range(convolutions):
                maps = make.apply_convolution(maps, filters, 3, padding=1, activation="relu")
            if block > 0 or not small:
                maps = apply_max_pooling(maps, 2, 2)
        return _dense_layers(flatten_at_most(maps, 7), make, dropout)

    return build_deep_network("vgg19", image_shape, outputs, read, make, volumes, dropout)


def _dense_layers(features: Any, make: LayerMaker, dropout: float) -> Any:
    """Applies both hidden layers; the caller applies the dropout after the second."""
    features = make.apply_dense(features, _DENSE_UNITS, "relu")
    if dropout:
        features = keras.layers.Dropout(dropout)(features)
    return make.apply_dense(features, _DENSE_UNITS, "relu")
