"""Two classes answered by one number."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_lnn")
class SingleLogit(keras.layers.Layer):
    r"""One logit :math:`z` (batch, 1) as the two logits :math:`(0, z)`, whose softmax is :math:`\sigma(z)`.

    Cross-entropy over the two is binary cross-entropy of the one, so a network that was published with one output and a
    sigmoid keeps its weights and its loss among networks that give a logit a class.

    Example:
        >>> SingleLogit()(keras.ops.ones((4, 1))).shape
        (4, 2)
    """

    def call(self, logit: Any) -> Any:
        return ops.pad(logit, ((0, 0), (1, 0)))

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (shape[0], 2)
