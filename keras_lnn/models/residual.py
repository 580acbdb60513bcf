"""Residual networks of a study of liver CT, and one without shortcuts, built from one table of layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import keras
from annotated_types import Ge, Lt
from keras import layers

from keras_lnn.models.blocks import Initialisation
from keras_lnn.models.deep import PROTOCOL, LayerMaker, Stem, Volumes, build_deep_network, is_small
from keras_lnn.models.ranges import Choice, Range
from keras_lnn.registry import Builder, register_networks

Biases = Literal["published", "all", "first", "none"]


def _normalise(maps: Any, name: str) -> Any:
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(maps)


class _Reader:
    """Applies the network's layers, named as in torchvision, so that weights are easily compared."""

    def __init__(self, facts: Mapping[str, Any], widths: Sequence[int], small_stem: bool, make: LayerMaker) -> None:
        self.facts = facts
        self.widths = widths
        self.small_stem = small_stem
        self.make = make

    def __call__(self, pixels: Any) -> Any:
        """Returns the spatial mean of the last maps for an image's pixels."""
        maps = self._apply_stem(pixels)
        for stage, (width, repeats) in enumerate(zip(self.widths, self.facts["repeats"], strict=True), start=1):
            for block in range(repeats):
                strides = 2 if stage > 1 and block == 0 else 1
                maps = self._apply_block(maps, width, strides, f"layer{stage}_{block}")
        volumes = len(maps.shape) == 5
        return (layers.GlobalAveragePooling3D if volumes else layers.GlobalAveragePooling2D)()(maps)

    def _apply_stem(self, pixels: Any) -> Any:
        kernel, strides, padding = (3, 1, 1) if self.small_stem else (7, 2, 3)
        has_bias = self.facts["biases"] != "none"
        maps = self.make.apply_convolution(
            pixels, self.widths[0], kernel, strides=strides, padding=padding, use_bias=has_bias, name="conv1"
        )
        maps = layers.ReLU()(_normalise(maps, "bn1"))
        if self.small_stem:
            return maps
        volumes = len(maps.shape) == 5
        # After a relu nothing is below zero, so padding with zeros does not change the maximum.
        maps = (layers.ZeroPadding3D if volumes else layers.ZeroPadding2D)(1)(maps)
        return (layers.MaxPooling3D if volumes else layers.MaxPooling2D)(3, 2)(maps)

    def _apply_block(self, maps: Any, width: int, strides: int, name: str) -> Any:
        """Applies a block of new layers, so that no two blocks share weights."""
        if self.facts["block"] == "basic":
            convolutions = [(width, 3, strides), (width, 3, 1)]
        else:
            convolutions = [(width, 1, 1), (width, 3, strides), (4 * width, 1, 1)]
        inside = maps
        for index, (filters, kernel, step) in enumerate(convolutions, start=1):
            inside = layers.ReLU()(inside) if index > 1 else inside
            inside = self._apply_normalised(inside, filters, kernel, step, f"{name}_conv{index}", f"{name}_bn{index}")
        if self.facts.get("shortcuts", True):
            if strides > 1 or maps.shape[-1] != inside.shape[-1]:
                names = f"{name}_downsample_0", f"{name}_downsample_1"
                maps = self._apply_normalised(maps, inside.shape[-1], 1, strides, *names)
            # The shortcut comes last, so that its layers follow the block's in the model, as in PyTorch's state_dict.
            inside = layers.Add(name=f"{name}_add")([inside, maps])
        return layers.ReLU()(inside)

    def _apply_normalised(self, maps: Any, filters: int, kernel: int, strides: int, name: str, normalised: str) -> Any:
        maps = self.make.apply_convolution(
            maps,
            filters,
            kernel,
            strides=strides,
            padding=kernel // 2,
            use_bias=self.facts["biases"] == "all",
            name=name,
        )
        return _normalise(maps, normalised)


def _describe(facts: Mapping[str, Any]) -> str:
    blocks = "-".join(map(str, facts["repeats"]))
    kind = "Residual network" if facts.get("shortcuts", True) else "The same layers without shortcuts"
    return f"{kind}: {blocks} {facts['block']} blocks with batch normalisation."


@register_networks("residual.yaml", family="deep", reference_data="breastmnist", **PROTOCOL)
def residual_network(name: str, facts: Mapping[str, Any], widths: Sequence[int]) -> Builder:
    """Returns the builder of one network of the table.

    Shortcuts that change the size or the width are a 1x1 convolution with batch normalisation; a bottleneck is strided
    in its 3x3 convolution. At 224x224x1 and three classes the parameter counts are the published ones.

    Args:
        name: Published name of the network.
        facts: Its blocks and biases.
        widths: Widths of the stages; bottlenecks end in four times as many channels.
    """

    def build(
        image_shape: tuple[int, ...],
        outputs: int,
        *,
        stem: Stem = "auto",
        biases: Biases = "published",
        volumes: Volumes = "2.5d",
        initialisation: Annotated[Initialisation, Choice(("he-normal", "framework-uniform"))] = "he-normal",
        dropout: Annotated[float, Ge(0), Lt(1), Range(0.0, 0.5)] = 0.0,
    ) -> keras.Model:
        """Builds the network for images or volumes.

        Args:
            image_shape: (height, width, channels) or (depth, height, width, channels).
            outputs: Number of logits.
            stem: First layers. ``large``: 7x7 with stride 2 and pooling, as published; ``small``: 3x3 without both;
                ``auto``: small below 64 pixels a side.
            biases: Which convolutions have a bias, though the batch normalisation after each has its own.
                ``published``: those that the published parameter count implies; torchvision's networks have ``none``.
            volumes: How volumes are read. ``2.5d``: each slice as an image, and the mean of their features; ``3d``: by
                convolutions in three dimensions.
            initialisation: Initialisation of the weights; ``framework-uniform`` is PyTorch's default.
            dropout: Dropout rate before the last layer.
        """
        make = LayerMaker(initialisation)
        changed = {**facts, "biases": facts["biases"] if biases == "published" else biases}
        read = _Reader(changed, widths, is_small(image_shape, stem), make)
        return build_deep_network(name, image_shape, outputs, read, make, volumes, dropout)

    build.__name__ = name
    build.__doc__ = f"{_describe(facts)}\n\n{build.__doc__}"
    return build
