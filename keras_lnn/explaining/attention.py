"""Maps from the feature maps of convolutions: Grad-CAM, LayerCAM and VisualBackProp."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_lnn.explaining.feature_maps import FeatureMaps, require_blocks
from keras_lnn.explaining.positions import Axes, interpolate
from keras_lnn.explaining.subject import Subject


def grad_cam(subject: Subject, inputs: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Returns the maps of Grad-CAM, which are not negative.

    Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based localization", 2017: the
    channels of the last convolution, weighted by the mean of their gradients; what is below zero is cut off. Slices
    that are read one by one, and frames, have weights of their own.
    """
    maps = subject.maps
    last = require_blocks(maps, "Grad-CAM")[-1]
    values, gradients = maps.values_and_gradients(inputs, [last], weights)
    in_space = tuple(range(-1 - len(last.axes), -1))
    means = gradients[0].mean(axis=in_space, keepdims=True)
    return _to_image(np.maximum((values[0] * means).sum(axis=-1), 0), last.axes, maps)


def layer_cam(subject: Subject, inputs: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Returns the mean of the maps of LayerCAM over all convolutions, which are not negative.

    Jiang et al., "LayerCAM: exploring hierarchical class activation maps for localization", 2021: the channels of a
    convolution weighted by their gradients cell by cell, where these are positive. The maps of each convolution are
    scaled to a maximum of one per sample.
    """
    maps = subject.maps
    blocks = require_blocks(maps, "LayerCAM")
    found = zip(blocks, *maps.values_and_gradients(inputs, blocks, weights), strict=True)
    return np.mean(
        [
            _scaled(_to_image(np.maximum((values * np.maximum(gradients, 0)).sum(axis=-1), 0), block.axes, maps))
            for block, values, gradients in found
        ],
        axis=0,
    )


def visual_back_prop(subject: Subject, inputs: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Returns the maps of VisualBackProp, which are not negative and the same for each class.

    Bojarski et al., "VisualBackProp: efficient visualization of CNNs", 2016, the method of the attention maps in
    Lechner et al., "Neural circuit policies enabling auditable autonomy", 2020: from the last convolution to the first,
    the mean over the channels is scaled up to the cells of the convolution before it and multiplied by its mean. The
    means are scaled up by linear interpolation at the positions of the cells. Where a convolution has no activation,
    only what is above zero counts.
    """
    maps = subject.maps
    blocks = require_blocks(maps, "VisualBackProp")
    means = [np.maximum(values.mean(axis=-1), 0) for values in maps.values(inputs, blocks)]
    product = _scaled(means[-1])
    for index in range(len(blocks) - 2, -1, -1):
        product = interpolate(product, blocks[index + 1].axes, blocks[index].axes)
        product = _scaled(product * _scaled(means[index]))
    return _to_image(product, blocks[0].axes, maps)


def _to_image(maps: np.ndarray, axes: Axes, network: FeatureMaps) -> np.ndarray:
    """Returns maps at each pixel of the image; slices and frames that were read one by one stay as they are."""
    return interpolate(maps, axes, network.image_axes[-len(axes) :])


def _scaled(maps: np.ndarray) -> np.ndarray:
    """Returns the maps of each sample with a maximum of one; empty ones stay empty."""
    highest = maps.max(axis=tuple(range(1, maps.ndim)), keepdims=True)
    return np.divide(maps, highest, out=np.zeros_like(maps), where=highest > 0)
