"""Building blocks of the deep networks: layers for images or volumes, stems by size, initialisation by name."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal

import keras
from keras import layers

from keras_lnn.errors import InputError
from keras_lnn.layers import apply_to_slices
from keras_lnn.models.blocks import Initialisation, make_initializer, require_image_shape, scale_pixels

Stem = Literal["auto", "small", "large"]
Volumes = Literal["2.5d", "3d"]

# The published protocol, except that weight_decay is decoupled from the gradient; the study added it to the gradient.
PROTOCOL: dict[str, Any] = {
    "epochs": 15,
    "batch_size": 32,
    "optimizer": "adam",
    "learning_rate": 1e-4,
    "weight_decay": 1e-5,
    "augmentation": "any-orientation",
    "calibration": "none",
}
SMALLEST_SIDE = 28
_SMALLEST_DEPTH = 12
_LARGE_FROM = 64


@dataclasses.dataclass(frozen=True)
class LayerMaker:
    """Applies new layers to maps of images or of volumes, all with the same initialisation.

    Args:
        initialisation: Initialisation of the weights; ``framework-uniform`` applies to biases too, as in PyTorch.
    """

    initialisation: Initialisation

    def apply_convolution(
        self,
        maps: Any,
        filters: int,
        kernel: int,
        *,
        strides: int = 1,
        padding: int = 0,
        use_bias: bool = True,
        activation: str | None = None,
        name: str | None = None,
    ) -> Any:
        """Applies a convolution after zero padding on every side."""
        volumes = len(maps.shape) == 5
        same = strides == 1 and kernel == 2 * padding + 1
        if padding and not same:
            maps = (layers.ZeroPadding3D if volumes else layers.ZeroPadding2D)(padding)(maps)
        return (layers.Conv3D if volumes else layers.Conv2D)(
            filters,
            kernel,
            strides,
            padding="same" if same else "valid",
            use_bias=use_bias,
            activation=activation,
            name=name,
            **self._initializers(kernel ** (len(maps.shape) - 2) * maps.shape[-1]),
        )(maps)

    def apply_upsampling(self, maps: Any, filters: int, name: str | None = None) -> Any:
        """Applies a transposed convolution that doubles every side and turns each value into a separate patch."""
        transposed = layers.Conv3DTranspose if len(maps.shape) == 5 else layers.Conv2DTranspose
        return transposed(filters, 2, 2, name=name, **self._initializers(maps.shape[-1]))(maps)

    def apply_dense(self, features: Any, units: int, activation: str | None = None) -> Any:
        """Applies a dense layer."""
        return layers.Dense(units, activation=activation, **self._initializers(features.shape[-1]))(features)

    def _initializers(self, fan_in: int) -> dict[str, Any]:
        most = 1 / math.sqrt(fan_in)
        uniform = self.initialisation == "framework-uniform"
        return {
            "kernel_initializer": make_initializer(self.initialisation),
            "bias_initializer": keras.initializers.RandomUniform(-most, most) if uniform else "zeros",
        }


def apply_max_pooling(maps: Any, window: int, strides: int) -> Any:
    """Applies max pooling along axes that are at least as long as the window; shorter axes keep their length."""
    fits = [side >= window for side in maps.shape[1:-1]]
    if not any(fits):
        return maps
    pooling = layers.MaxPooling3D if len(fits) == 3 else layers.MaxPooling2D
    return pooling([window if fit else 1 for fit in fits], [strides if fit else 1 for fit in fits])(maps)


def flatten_at_most(maps: Any, side: int) -> Any:
    """Flattens maps; larger ones are first pooled to the side, so that the next layer's number of weights is fixed."""
    sides = maps.shape[1:-1]
    if max(sides) > side:
        pooling = layers.AdaptiveAveragePooling3D if len(sides) == 3 else layers.AdaptiveAveragePooling2D
        maps = pooling(tuple(min(side, own) for own in sides))(maps)
    return layers.Flatten()(maps)


def is_small(image_shape: tuple[int, ...], stem: Stem) -> bool:
    """Returns whether the first convolution is 3x3 with stride 1 and without pooling, as suits small images."""
    return stem == "small" or (stem == "auto" and max(image_shape[-3:-1]) < _LARGE_FROM)


def build_deep_network(
    model: str,
    image_shape: tuple[int, ...],
    outputs: int,
    read: Callable[[Any], Any],
    make: LayerMaker,
    volumes: Volumes,
    dropout: float,
) -> keras.Model:
    """Builds a network of scaled pixels, a body that returns features, dropout, and the last dense layer.

    Args:
        model: Name of the model, for messages.
        image_shape: (height, width, channels) or (depth, height, width, channels).
        outputs: Number of logits.
        read: Function from maps (batch, ..., channels) to features (batch, features).
        make: Creates the last layer.
        volumes: ``2.5d``: every slice is read as an image, and their features are averaged; ``3d``: read as a whole.
        dropout: Dropout rate before the last layer.
    """
    require_image_shape(image_shape, smallest_side=SMALLEST_SIDE, volumes=True, model=model)
    if len(image_shape) == 4 and volumes == "3d" and image_shape[0] < _SMALLEST_DEPTH:
        raise InputError(
            f"Model {model} with volumes=3d needs at least {_SMALLEST_DEPTH} slices. Received: shape {image_shape}. "
            f"Give --model-args volumes=2.5d."
        )
    inputs = keras.Input(image_shape)
    pixels = scale_pixels(inputs)
    if len(image_shape) == 4 and volumes == "2.5d":
        features = layers.GlobalAveragePooling1D(name="mean_of_slices")(apply_to_slices(read, pixels))
    else:
        features = read(pixels)
    if dropout:
        features = layers.Dropout(dropout)(features)
    return keras.Model(inputs, make.apply_dense(features, outputs))
