"""The convolutional backbones of the networks, each a function from scaled pixels to maps, and a table of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from keras import layers

from keras_lnn.models.blocks import Initialisation, convolution_block, extra_halvings, make_initializer

# The first layers of the term paper's networks: unpadded convolutions (filters, kernel) and pooling.
TERM_PAPER_STEMS = {
    "short": ("conv 6 5", "pool", "conv 16 3", "pool"),
    "deep": ("conv 6 5", "conv 6 5", "pool", "conv 16 3", "conv 16 3", "pool"),
    "deep-unpooled": ("conv 6 5", "conv 6 5", "pool", "conv 16 3", "conv 16 3"),
}


def lnn_stem(maps: Any) -> Any:
    """Applies four strided convolutions to 128 channels of 2x2; larger images are halved by pooling in between."""
    halvings = extra_halvings(maps.shape[1:])
    blocks: tuple[dict[str, Any], ...] = (
        {"filters": 16, "kernel": 3},
        {"filters": 32, "kernel": 3, "strides": 2, "padding": 2, "normalise": True},
        {"filters": 64, "kernel": 5, "strides": 2, "padding": 2},
        {"filters": 128, "kernel": 5, "strides": 2, "padding": 2, "normalise": True},
    )
    for index, block in enumerate(blocks):
        maps = convolution_block(maps, **block)
        if index < halvings:
            maps = layers.MaxPooling2D(2)(maps)
    return layers.MaxPooling2D(2)(maps)


def cnn_stem(maps: Any, filters: int = 24) -> Any:
    """Applies pairs of 3x3 convolutions with batch normalisation, each followed by pooling, and a last convolution."""
    for _ in range(extra_halvings(maps.shape[1:])):
        maps = layers.MaxPooling2D(2)(convolution_block(maps, filters, 3, padding=1, normalise=True))
    for factor in (1, 2, 4):
        for _ in range(2):
            maps = convolution_block(maps, filters * factor, 3, padding=1, normalise=True)
        maps = layers.MaxPooling2D(2)(maps)
    return convolution_block(maps, filters * 4, 3, padding=1, normalise=True)


def recurrent_stem(maps: Any, filters: int = 16) -> Any:
    """Applies two blocks with pooling; larger images are first halved by pooling alone to 28 to 55 pixels."""
    for _ in range(extra_halvings(maps.shape[1:])):
        maps = layers.AveragePooling2D(2)(maps)
    for factor in (1, 2):
        maps = convolution_block(maps, filters * factor, 3, padding=1, normalise=True)
        maps = layers.MaxPooling2D(2)(maps)
    return maps


def term_paper_stem(maps: Any, name: str) -> Any:
    """Applies the convolutions of a term paper's networks; larger images are first halved to the designed size."""
    for _ in range(extra_halvings(maps.shape[1:])):
        maps = layers.AveragePooling2D(2)(maps)
    for words in TERM_PAPER_STEMS[name]:
        kind, *numbers = words.split()
        maps = layers.MaxPooling2D(2)(maps) if kind == "pool" else convolution_block(maps, *map(int, numbers))
    return maps


def crnet_stem(maps: Any, initialisation: Initialisation = "he-normal", *, first_bias: bool = False) -> Any:
    """Applies 7x7 convolutions to 32, 64 and 128 channels with pooling; batch normalisation follows the first."""
    for filters in (32, 64, 128):
        first = filters == 32
        maps = layers.Conv2D(
            filters,
            7,
            padding="same",
            use_bias=first_bias or not first,
            kernel_initializer=make_initializer(initialisation),
        )(maps)
        if first:
            maps = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(maps)
        maps = layers.MaxPooling2D(3, 2)(layers.ReLU()(maps))
    return maps


# Maps each name to the function and the smallest side of its images.
BACKBONES: dict[str, tuple[Callable[..., Any], int]] = {
    "crnet": (crnet_stem, 15),
    "crnet-bias": (functools.partial(crnet_stem, first_bias=True), 15),
    "lnn": (lnn_stem, 12),
    "cnn": (cnn_stem, 8),
    "recurrent": (recurrent_stem, 8),
    **{f"term-paper-{name}": (functools.partial(term_paper_stem, name=name), 20) for name in TERM_PAPER_STEMS},
    "none": (lambda maps: maps, 1),
}
