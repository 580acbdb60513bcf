"""A layer for networks that predict two classes with a single logit."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_lnn")
class SingleLogit(keras.layers.Layer):
    r"""Turns one logit :math:`z` (batch, 1) into the two logits :math:`(0, z)`, whose softmax is :math:`\sigma(z)`.

    Cross-entropy over the two is binary cross-entropy over the one, so a network that was published with one output and
    a sigmoid keeps its weights and its loss among networks that have one logit per class.

    Example:
        >>> SingleLogit()(keras.ops.ones((4, 1))).shape
        (4, 2)
    """

    def call(self, logit: Any) -> Any:
        return ops.pad(logit, ((0, 0), (1, 0)))

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (shape[0], 2)
