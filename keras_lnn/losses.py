"""Losses that Keras does not have."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_lnn")
class WeightedBinaryCrossentropy(keras.losses.Loss):
    """Binary cross-entropy from logits in which the positives of each label count with a weight of their own.

    Args:
        positive_weights: One weight a label.
        name: Of the loss.
        **kwargs: Of :class:`keras.losses.Loss`.
    """

    def __init__(self, positive_weights: Sequence[float], name: str = "loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.positive_weights = positive_weights

    def call(self, y_true: Any, y_pred: Any) -> Any:
        y_true = ops.cast(y_true, y_pred.dtype)
        weights = ops.cast(ops.array(self.positive_weights), y_pred.dtype)
        # log(1 + e^-x) and log(1 + e^x), finite at any logit.
        losses = weights * y_true * ops.softplus(-y_pred) + (1 - y_true) * ops.softplus(y_pred)
        return ops.mean(losses, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "positive_weights": list(self.positive_weights)}
