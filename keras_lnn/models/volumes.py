"""Liquid networks for volumes: convolutions in three dimensions, then slices along all three axes as sequences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import keras
from annotated_types import Ge, Gt, Lt
from keras import layers, ops
from ncps.wirings import AutoNCP

from keras_lnn.errors import InputError
from keras_lnn.layers import FlippedViews, MeanOfViews
from keras_lnn.models.ranges import Choice, Range
from keras_lnn.models.recurrences import BothDirections, Recurrence, find_hidden_width
from keras_lnn.registry import register_model

_SMALLEST_SIDE = 12
_DESIGNED_FOR = 28
# Avoids divisions by zero tissue in empty slices, and keeps their elapsed times above zero.
_LITTLE = 0.05


@register_model(
    family="liquid",
    reference_data="adrenalmnist3d",
    epochs=25,
    batch_size=32,
    optimizer="adamw",
    learning_rate=3e-3,
    weight_decay=1e-3,
    schedule="warmup-cosine",
    augmentation="flip-shift",
    keep="last",
    weight_average=0.99,
)
def lnn_3d(
    image_shape: tuple[int, ...],
    outputs: int,
    *,
    recurrence: Recurrence = "ltc",
    units: Annotated[int, Ge(8), Range(16, 40)] = 24,
    features: Annotated[int, Ge(1), Choice((8, 12))] = 12,
    filters: Annotated[int, Ge(1), Choice((12, 16, 24))] = 16,
    dropout: Annotated[float, Ge(0), Lt(1), Range(0.0, 0.4)] = 0.0,
    slice_distance: Annotated[float, Gt(0)] = 1.0,
    views: bool = True,
) -> keras.Model:
    """Thickness maps and 3D convolutions, then an LTC that reads the slices along each axis in both directions.

    Unlike the published liquid networks for volumes, this one has inputs of the LTC in the range of its synapses (batch
    normalisation, then a sigmoid), both directions, the same weights for all three axes, and slice features averaged
    over the tissue of the slice instead of the empty space around it. Time follows the tissue: the elapsed time of a
    slice is its share of the volume's brightness, so empty slices pass quickly. Outside training, the predictions for
    all eight mirror images are averaged. No validation samples are needed: the average of the weights over the last
    steps is kept.

    Args:
        image_shape: (depth, height, width, channels); sides above 28 are halved by pooling.
        outputs: Number of logits.
        recurrence: The layer that reads the slices: ``ltc`` or ``cfc``; for comparison ``lstm``, and ``dense`` layers
            that see one slice at a time, both with about as many parameters as the LTC; also ``gru`` and ``rnn``.
        units: Neurons of the wiring, in each direction.
        features: Motor neurons, in each direction.
        filters: Filters of the first convolution; the second has half as many more.
        dropout: Dropout rate of each step's features before the recurrence. The outputs of an LTC that was trained with
            dropout are lower without it, so that predicted probabilities are too small.
        slice_distance: Distance between slices along the depth relative to a pixel's side, such as 2.5 for thick
            slices; the elapsed times along that axis are multiplied by it.
        views: Whether predictions are averaged over mirror images outside training.
    """
    _check(image_shape)
    if features > units - 3:
        raise InputError(f"features must be at most units minus 3. Received: {features} with {units} units.")
    inputs = keras.Input(image_shape)
    volumes = layers.Rescaling(1 / 255, name="scale_pixels")(inputs)
    volumes = FlippedViews((1, 2, 3), name="views")(volumes) if views else volumes
    for _ in range(_halvings(image_shape)):
        volumes = layers.AveragePooling3D(2)(volumes)
    tissue, maps = _stem(volumes, filters)
    readings = _read_axes(tissue, maps, _make_reader(recurrence, units, features, dropout), slice_distance)
    logits = layers.Dense(outputs, name="logits")(layers.Dropout(0.3)(layers.Average()(readings)))
    return keras.Model(inputs, MeanOfViews(8, name="mean_of_views")(logits) if views else logits)


def _check(image_shape: tuple[int, ...]) -> None:
    if len(image_shape) != 4:
        raise InputError(
            f"Model lnn-3d reads volumes (depth, height, width, channels). Received: shape {image_shape}. "
            "Choose another model or data set."
        )
    if min(image_shape[:3]) < _SMALLEST_SIDE:
        raise InputError(
            f"Model lnn-3d needs volumes of at least {_SMALLEST_SIDE} slices and pixels per side. Received: shape "
            f"{image_shape}. Choose another model or data set."
        )


def _halvings(image_shape: tuple[int, ...]) -> int:
    """Returns how often all sides can be halved before the shortest falls below the size of the network's design."""
    return max(0, (min(image_shape[:3]) // _DESIGNED_FOR).bit_length() - 1)


def _stem(volumes: Any, filters: int) -> tuple[Any, Any]:
    """Returns the tissue (batch, d, h, w, 1) and the feature maps (batch, d, h, w, features), at half the size."""
    around = ops.average_pool(volumes, 3, 1, padding="same")
    thickness = [_erode(volumes), around * volumes, ops.average_pool(around, 3, 1, padding="same") * volumes]
    channels = ops.concatenate([volumes, *thickness], axis=-1)
    maps = channels
    for width, kernel, strides in ((filters, 5, 2), (filters * 3 // 2, 3, 1)):
        maps = layers.Conv3D(width, kernel, strides, padding="same", use_bias=False)(maps)
        maps = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(maps))
    brightness = ops.mean(volumes, axis=-1, keepdims=True)
    tissue = ops.average_pool(brightness, 2, 2, padding="same")
    pooled = ops.average_pool(channels, 2, 2, padding="same") / (tissue + _LITTLE)
    return tissue, ops.concatenate([maps, pooled], axis=-1)


def _erode(volumes: Any) -> Any:
    """Returns the minimum over each voxel and its six neighbours, which leaves only the inside of structures."""
    kernels = ((3, 1, 1), (1, 3, 1), (1, 1, 3))
    lines = [-ops.max_pool(-volumes, kernel, 1, padding="same") for kernel in kernels]
    return ops.minimum(ops.minimum(*lines[:2]), lines[2])


def _read_axes(tissue: Any, maps: Any, read: Callable[[Any, Any, Any], Any], slice_distance: float) -> list[Any]:
    """Reads the slices along each axis and returns the results; axes of equal length are read as one larger batch."""
    sequences: dict[int, list[tuple[Any, Any, float]]] = {}
    for axis in (1, 2, 3):
        sequence, amount = _slices_along(axis, tissue, maps)
        distance = slice_distance if axis == 1 else 1.0
        sequences.setdefault(sequence.shape[1], []).append((sequence, amount, distance))
    readings = []
    for steps, alike in sequences.items():
        sequence = ops.concatenate([part[0] for part in alike], axis=0)
        amount = ops.concatenate([part[1] for part in alike], axis=0)
        share = amount / (ops.sum(amount, axis=1, keepdims=True) + 1e-6)
        elapsed = share * steps + _LITTLE
        if slice_distance != 1.0:
            parts = ops.split(elapsed, len(alike), axis=0)
            elapsed = ops.concatenate([part * one[2] for part, one in zip(parts, alike, strict=True)], axis=0)
        readings += list(ops.split(read(sequence, share, elapsed), len(alike), axis=0))
    return readings


def _slices_along(axis: int, tissue: Any, maps: Any) -> tuple[Any, Any]:
    """Returns the features (batch, steps, features) of the slices along an axis, and their tissue (batch, steps, 1)."""
    plane = [other for other in (1, 2, 3) if other != axis]
    amount = ops.mean(tissue, axis=plane)
    over_tissue = ops.mean(maps * tissue, axis=plane) / (amount + 1e-3)
    return ops.concatenate([ops.max(maps, axis=plane), over_tissue, ops.log(amount + 0.01)], axis=-1), amount


def _make_reader(recurrence: Recurrence, units: int, features: int, dropout: float) -> Callable[[Any, Any, Any], Any]:
    """Returns a function with its own layers from sequences, tissue shares and elapsed times to (batch, features)."""
    normalise, dropped = layers.BatchNormalization(momentum=0.9), layers.Dropout(dropout)
    if recurrence == "dense":
        scan = _make_dense(units, features)
    else:
        scan = BothDirections(recurrence, AutoNCP(units, features))

    def read(sequence: Any, share: Any, elapsed: Any) -> Any:
        steps = scan(dropped(ops.sigmoid(normalise(sequence))), elapsed)
        return ops.concatenate([ops.sum(steps * share, axis=1), ops.max(steps, axis=1)], axis=-1)

    return read


def _make_dense(units: int, features: int) -> Callable[[Any, Any], Any]:
    """Returns two dense layers that read each slice alone, with about as many parameters as two LTCs."""
    built: list[layers.Layer] = []

    def scan(steps: Any, elapsed: Any) -> Any:
        if not built:
            inputs = steps.shape[-1]
            liquid_parameters = 2 * (4 * units * (inputs + units) + 3 * units + 2 * (inputs + features))
            hidden = find_hidden_width(liquid_parameters, inputs, 2 * features)
            built.extend([layers.Dense(hidden, "relu", name="slice_hidden"), layers.Dense(2 * features, "tanh")])
        for layer in built:
            steps = layer(steps)
        return steps

    return scan
