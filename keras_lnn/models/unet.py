"""U-Nets, which predict a class for each pixel, and one that also reads the neighbouring slices of a volume."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

import keras
from annotated_types import Ge, Lt
from keras import layers, ops

from keras_lnn.errors import InputError
from keras_lnn.layers import apply_to_slices
from keras_lnn.models.blocks import Initialisation, require_image_shape, scale_pixels
from keras_lnn.models.deep import LayerMaker
from keras_lnn.models.ranges import Choice, Range
from keras_lnn.models.recurrences import BothDirections, Recurrence, find_hidden_width
from keras_lnn.registry import register_model

Norm = Literal["none", "batch", "group"]
Volumes = Literal["2d", "3d"]

_SMALLEST_SIDE = 8
_MOST_GROUPS = 8
_FAMILY = {"family": "segmentation", "predicts": "masks"}
# Cross-entropy, as published, learns tumours late, since only one pixel in a hundred belongs to one.
_PROTOCOL = {
    "epochs": 60,
    "batch_size": 8,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "loss": "bce-dice",
    "schedule": "cosine",
    "monitor": "val_dice",
    # Shifts by whole pixels: interpolation would smooth the grain of training images, but not that of others.
    "augmentation": "flip-shift",
    "weight_average": 0.99,
}


@register_model(**_FAMILY, reference_data="phantom-liver", **_PROTOCOL)
def unet(
    image_shape: tuple[int, ...],
    outputs: int,
    *,
    depth: Annotated[int, Ge(1), Lt(8), Choice((2, 3, 4))] = 3,
    width: Annotated[int, Ge(1), Choice((8, 12, 16, 24))] = 16,
    norm: Norm = "batch",
    dropout: Annotated[float, Ge(0), Lt(1), Range(0.0, 0.5)] = 0.0,
    volumes: Volumes = "2d",
    initialisation: Annotated[Initialisation, Choice(("he-normal", "framework-uniform"))] = "he-normal",
) -> keras.Model:
    """U-Net: convolutions down to small maps and back up, with skip connections at each level.

    On each level there are two 3x3 convolutions and 2x2 max pooling, ``depth`` times, each level twice as wide as the
    one above; two convolutions at the bottom; then on each level a transposed 2x2 convolution, concatenation with the
    maps of the way down, and two convolutions; a 1x1 convolution to the classes. Ronneberger et al., "U-Net:
    Convolutional networks for biomedical image segmentation", 2015, with padded convolutions. Sides that are not
    multiples of ``2 ** depth`` are padded with black on both sides, and the logits are cropped to the image.

    Args:
        image_shape: (height, width, channels) or (depth, height, width, channels).
        outputs: Number of classes, which is the number of logits for each pixel.
        depth: How often the maps are halved.
        width: Channels of the first level.
        norm: Normalisation after each convolution: ``batch``, ``group`` (of the channels of one image, for very small
            batches) or ``none``, as published.
        dropout: Dropout rate at the bottom.
        volumes: How volumes are read: ``2d`` each slice as an image, ``3d`` by convolutions in three dimensions.
        initialisation: Initialisation of the weights; ``framework-uniform`` is PyTorch's default.
    """
    blocks = _Blocks(LayerMaker(initialisation), norm, dropout, depth, width)
    inputs, read = keras.Input(image_shape), _make_reader("unet", image_shape, outputs, blocks, volumes)
    return keras.Model(inputs, read(inputs))


@register_model(**_FAMILY, reference_data="phantom-liver-volumes", **{**_PROTOCOL, "batch_size": 4})
def unet_lnn(
    image_shape: tuple[int, ...],
    outputs: int,
    *,
    recurrence: Annotated[Literal[Recurrence, "none"], Choice(("cfc", "ltc"))] = "cfc",
    units: Annotated[int, Ge(1), Choice((16, 32, 48))] = 32,
    levels: Annotated[int, Ge(1), Choice((1, 2, 3))] = 1,
    depth: Annotated[int, Ge(1), Lt(8), Choice((2, 3, 4))] = 3,
    width: Annotated[int, Ge(1), Choice((8, 12, 16, 24))] = 16,
    norm: Norm = "batch",
    dropout: Annotated[float, Ge(0), Lt(1), Range(0.0, 0.5)] = 0.0,
    initialisation: Annotated[Initialisation, Choice(("he-normal", "framework-uniform"))] = "he-normal",
) -> keras.Model:
    """U-Net of slices whose smallest maps are read along the volume by a CfC or LTC in both directions.

    Each slice goes through the U-Net as an image. At the bottom, the features at one position in all slices form a
    sequence, whose length is the number of slices; the liquid layers read it forwards and backwards, and their output
    is added to the maps of each slice. So the prediction for a slice takes its neighbours into account.

    Args:
        image_shape: (depth, height, width, channels).
        outputs: Number of classes, which is the number of logits for each pixel.
        recurrence: The layer that reads the slices: ``cfc`` or ``ltc``; for comparison ``lstm``, ``gru``, ``rnn``,
            ``dense`` layers that see one slice at a time, with as many parameters as the CfC, and ``none``, the U-Net
            itself.
        units: Neurons in each direction.
        levels: Number of levels whose maps are read along the volume, from the bottom up, each by its own layers.
        depth: How often the maps are halved.
        width: Channels of the first level.
        norm: Normalisation after each convolution: ``batch``, ``group`` or ``none``.
        dropout: Dropout rate at the bottom.
        initialisation: Initialisation of the weights; ``framework-uniform`` is PyTorch's default.
    """
    if len(image_shape) != 4:
        raise InputError(
            f"Model unet-lnn reads volumes (depth, height, width, channels). Received: shape {image_shape}. "
            "Choose volumes, or model unet."
        )
    if levels > depth + 1:
        raise InputError(
            f"levels must be at most depth + 1, which is {depth + 1}. Received: {levels}. Give fewer levels."
        )
    make = LayerMaker(initialisation)
    inform = None if recurrence == "none" else _Neighbours(make, recurrence, units, image_shape[0])
    blocks = _Blocks(make, norm, dropout, depth, width, inform, levels)
    inputs, read = keras.Input(image_shape), _make_reader("unet-lnn", image_shape, outputs, blocks, "2d")
    return keras.Model(inputs, read(inputs))


def _make_reader(
    model: str, image_shape: tuple[int, ...], outputs: int, blocks: _Blocks, volumes: Volumes
) -> Callable[[Any], Any]:
    """Returns a function from pixel values to logits of the same height and width."""
    require_image_shape(image_shape, smallest_side=_SMALLEST_SIDE, volumes=True, model=model)
    slice_by_slice = len(image_shape) == 4 and volumes == "2d"
    sides = image_shape[-3:-1] if slice_by_slice else image_shape[:-1]
    extra = [-side % 2**blocks.depth for side in sides]
    margins = tuple((more // 2, more - more // 2) for more in extra)

    def read(pixels: Any) -> Any:
        if any(extra):
            # The pixels are not scaled yet, so zeros are black.
            pixels = (layers.ZeroPadding3D if len(sides) == 3 else layers.ZeroPadding2D)(margins)(pixels)
        logits = blocks.make.apply_convolution(blocks.apply(scale_pixels(pixels)), outputs, 1, name="logits")
        if any(extra):
            logits = (layers.Cropping3D if len(sides) == 3 else layers.Cropping2D)(margins)(logits)
        return logits

    return (lambda pixels: apply_to_slices(read, pixels)) if slice_by_slice else read


@dataclasses.dataclass(frozen=True)
class _Blocks:
    """The layers of a U-Net between pixels and logits.

    Args:
        make: Creates the convolutions.
        norm: Normalisation after each of them.
        dropout: Dropout rate at the bottom.
        depth: Number of halvings.
        width: Channels of the first level.
        inform: Function applied to the maps of the lowest levels.
        levels: Number of these levels.
    """

    make: LayerMaker
    norm: Norm
    dropout: float
    depth: int
    width: int
    inform: Callable[[Any, str], Any] | None = None
    levels: int = 0

    def apply(self, maps: Any) -> Any:
        """Returns the maps that the logits are computed from, for scaled pixels."""
        seen = []
        for level in range(self.depth):
            maps = self._apply_pair(maps, level, f"down{level}")
            seen.append(maps)
            maps = (layers.MaxPooling3D if len(maps.shape) == 5 else layers.MaxPooling2D)(2)(maps)
        maps = self._apply_pair(maps, self.depth, "bottom")
        if self.dropout:
            maps = layers.Dropout(self.dropout)(maps)
        maps = self._inform(maps, self.depth)
        for level in reversed(range(self.depth)):
            maps = self.make.apply_upsampling(maps, self.width << level, name=f"up{level}")
            maps = layers.Concatenate()([self._inform(seen[level], level), maps])
            maps = self._apply_pair(maps, level, f"back{level}")
        return maps

    def _apply_pair(self, maps: Any, level: int, name: str) -> Any:
        for index in (1, 2):
            filters, use_bias = self.width << level, self.norm == "none"
            maps = self.make.apply_convolution(
                maps, filters, 3, padding=1, use_bias=use_bias, name=f"{name}_conv{index}"
            )
            if self.norm == "batch":
                maps = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(maps)
            elif self.norm == "group":
                maps = layers.GroupNormalization(math.gcd(_MOST_GROUPS, filters))(maps)
            maps = layers.ReLU()(maps)
        return maps

    def _inform(self, maps: Any, level: int) -> Any:
        if self.inform is None or level <= self.depth - self.levels:
            return maps
        return self.inform(maps, f"slices{level}")


@dataclasses.dataclass(frozen=True)
class _Neighbours:
    """Adds to the maps of each slice the output of a recurrence over all slices of its volume, position by position.

    Args:
        make: Creates the dense layers.
        recurrence: The layer that reads the slices.
        units: Neurons in each direction.
        slices: Number of slices of a volume.
    """

    make: LayerMaker
    recurrence: Recurrence
    units: int
    slices: int

    def __call__(self, maps: Any, name: str) -> Any:
        """Returns maps (volumes * slices, height, width, channels) with the output of the recurrence added."""
        height, width, channels = maps.shape[1:]
        volumes = ops.reshape(maps, (-1, self.slices, height, width, channels))
        steps = ops.reshape(ops.transpose(volumes, (0, 2, 3, 1, 4)), (-1, self.slices, channels))
        # Scales the features into the range in which an LTC's synapses are initialised.
        steps = ops.sigmoid(layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(steps))
        is_dense = self.recurrence == "dense"
        outputs = self._read_each_alone(steps) if is_dense else self._read_both_directions(steps, name)
        outputs = self.make.apply_dense(outputs, channels)
        outputs = ops.transpose(ops.reshape(outputs, (-1, height, width, self.slices, channels)), (0, 3, 1, 2, 4))
        return layers.Add()([maps, ops.reshape(outputs, (-1, height, width, channels))])

    def _read_both_directions(self, steps: Any, name: str) -> Any:
        options: dict[str, Any] = {}
        if self.recurrence == "ltc":
            # The more synapses reach a neuron, the faster it forgets: with the usual strength of each, so many would
            # leave less than a millionth of the previous slice's signal.
            ranges = {"w": (0.0, 1 / self.units), "sensory_w": (0.0, 1 / steps.shape[-1])}
            options = {"initialization_ranges": ranges}
        elif self.recurrence == "cfc":
            # Without a backbone a CfC has four products like an LSTM, and as many parameters.
            options = {"backbone_layers": 0}
        return BothDirections(self.recurrence, self.units, f"{name}_", **options)(steps)

    def _read_each_alone(self, steps: Any) -> Any:
        channels, outputs = steps.shape[-1], 2 * self.units
        liquid_parameters = 2 * 4 * self.units * (channels + self.units + 1)
        hidden = find_hidden_width(liquid_parameters, channels, outputs)
        return self.make.apply_dense(self.make.apply_dense(steps, hidden, "relu"), outputs, "tanh")
