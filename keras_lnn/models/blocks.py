"""Building blocks shared by several families of networks."""

import math
from types import ModuleType
from typing import Any, Literal

from keras import initializers, layers

import keras_lnn.layers
from keras_lnn.errors import InputError

Initialisation = Literal[
    "he-normal",
    "he-uniform",
    "glorot-normal",
    "glorot-uniform",
    "lecun-normal",
    "lecun-uniform",
    "orthogonal",
    "framework-uniform",
]


def make_initializer(initialisation: Initialisation) -> initializers.Initializer:
    """Returns a new Keras initialiser for a name; layers that shared one would start with the same weights.

    ``framework-uniform`` is PyTorch's default: its kaiming_uniform with a = sqrt(5).
    """
    if initialisation == "framework-uniform":
        return initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
    return initializers.get(initialisation.replace("-", "_"))


def liquid_layers(source: str) -> ModuleType:
    """Returns the module with ``LTC`` and ``CfC``: ``keras_lnn``, or ``ncps``, the reference to compare with."""
    if source == "ncps":
        from keras_lnn.layers.ncps_models import import_ncps

        return import_ncps()
    return keras_lnn.layers


def scale_pixels(images: Any) -> Any:
    """Scales pixel values 0..255 to -1..1 inside the model, so that users of a saved model need not do it."""
    return layers.Rescaling(1 / 127.5, offset=-1.0, name="scale_pixels")(images)


def convolution_block(
    maps: Any,
    filters: int,
    kernel: int,
    *,
    strides: int = 1,
    padding: int = 0,
    normalise: bool = False,
    initialisation: Initialisation = "glorot-uniform",
) -> Any:
    """Applies zero padding on every side, convolution, optional batch normalisation, and relu.

    The padding is a layer of its own because a strided "same" convolution pads only right and below, where the
    published networks pad all sides.
    """
    if padding:
        maps = layers.ZeroPadding2D(padding)(maps)
    maps = layers.Conv2D(filters, kernel, strides, kernel_initializer=make_initializer(initialisation))(maps)
    if normalise:
        maps = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(maps)
    return layers.ReLU()(maps)


def extra_halvings(image_shape: tuple[int, ...], designed_for: int = 28) -> int:
    """Returns how often an image must be halved to reach the size that a network was designed for."""
    side = max(image_shape[-3:-1])
    return max(0, math.floor(math.log2(side / designed_for))) if side >= designed_for else 0


def require_image_shape(image_shape: tuple[int, ...], smallest_side: int, volumes: bool, model: str) -> None:
    """Checks the shape of one image, channels last."""
    ranks = (3, 4) if volumes else (3,)
    if len(image_shape) not in ranks:
        kind = "images (height, width, channels)" + (" or volumes (depth, ...)" if volumes else "")
        raise InputError(
            f"Model {model} reads {kind}. Received: shape {image_shape}. Choose another model or data set."
        )
    if min(image_shape[-3:-1]) < smallest_side:
        raise InputError(
            f"Model {model} needs images of at least {smallest_side} pixels per side. Received: shape {image_shape}. "
            f"Set --size."
        )
