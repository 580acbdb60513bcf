"""Predictions averaged over flipped views inside the model, so that an exported model predicts as it was tested."""

import itertools
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


def list_views(axes: Sequence[int]) -> list[tuple[int, ...]]:
    """Returns every combination of axes along which a view is mirrored, that of the image itself first."""
    return [view for size in range(len(axes) + 1) for view in itertools.combinations(axes, size)]


def mirror(images: Any, axes: Sequence[int]) -> Any:
    """Returns images mirrored along one axis after the other, as runtimes of exported models can do it."""
    for axis in axes:
        images = ops.flip(images, axis)
    return images


@keras.saving.register_keras_serializable(package="keras_lnn")
class FlippedViews(keras.layers.Layer):
    """Stacks, outside training, the image and its mirror images along every combination of axes as one larger batch.

    In training images pass unchanged, since augmentation may flip them there.

    (batch, ...) to (views * batch, ...), where ``views`` is two to the number of axes; :class:`MeanOfViews` undoes it.

    Args:
        axes: Axes to flip, counted from 1, such as (1, 2, 3) for the eight views of a volume.
        **kwargs: Passed to :class:`keras.layers.Layer`.

    Example:
        >>> FlippedViews((1, 2))(keras.ops.ones((2, 28, 28, 1))).shape
        (8, 28, 28, 1)
    """

    def __init__(self, axes: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axes = tuple(axes)

    def call(self, images: Any, training: bool = False) -> Any:
        if training:
            return images
        views = [mirror(images, axes) for axes in list_views(self.axes)]
        return ops.concatenate(views, axis=0)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (None, *shape[1:])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axes": list(self.axes)}


@keras.saving.register_keras_serializable(package="keras_lnn")
class MirrorImage(keras.layers.Layer):
    """Mirrors images, or maps of their shape, along some axes; mirrored twice they are as before.

    Args:
        axes: Axes to mirror, counted from 1; none to change nothing.
        **kwargs: Passed to :class:`keras.layers.Layer`.

    Example:
        >>> MirrorImage((2,))(keras.ops.ones((2, 28, 28, 1))).shape
        (2, 28, 28, 1)
    """

    def __init__(self, axes: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axes = tuple(axes)

    def call(self, images: Any) -> Any:
        return mirror(images, self.axes)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axes": list(self.axes)}


@keras.saving.register_keras_serializable(package="keras_lnn")
class MeanOfViews(keras.layers.Layer):
    """Averages, outside training, the predictions for the views of each image: (views * batch, n) to (batch, n).

    Args:
        views: Number of views of each image.
        **kwargs: Passed to :class:`keras.layers.Layer`.

    Example:
        >>> MeanOfViews(4)(keras.ops.ones((8, 3))).shape
        (2, 3)
    """

    def __init__(self, views: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.views = views

    def call(self, predictions: Any, training: bool = False) -> Any:
        if training:
            return predictions
        return ops.mean(ops.reshape(predictions, (self.views, -1, *predictions.shape[1:])), axis=0)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (None, *shape[1:])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "views": self.views}
