"""Cross-entropies that give easy samples less weight, computed from logits and finite for any logit."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_lnn.losses.probabilities import require_number, safe_power

# Published parameters of the focal and the asymmetric loss: exponents for positives and negatives, and the margin.
FOCAL = (2.0, 2.0, 0.0)
ASYMMETRIC = (0.0, 4.0, 0.05)


@keras.saving.register_keras_serializable(package="keras_lnn")
class MultiLabelCrossentropy(keras.losses.Loss):
    r"""Binary cross-entropy of several labels that gives easy samples less weight and has weights for positives.

    With the probability :math:`p` and :math:`q = \max(p - m, 0)` the loss of a positive is
    :math:`-w (1-p)^{a} \log p` and that of a negative :math:`-q^{b} \log(1 - q)`. Without exponents and margin it is
    the cross-entropy; with both exponents 2 the focal loss (Lin et al., "Focal loss for dense object detection", 2017);
    with exponents 0 and 4 and a margin of 0.05 the asymmetric loss (Ridnik et al., "Asymmetric loss for multi-label
    classification", 2021), which ignores the many easy negatives of rare labels.

    Args:
        positive_exponent: The exponent :math:`a`.
        negative_exponent: The exponent :math:`b`.
        margin: The margin :math:`m`; negatives with a probability below it have no loss.
        positive_weights: The weights :math:`w`, one per label; all ones if not given.
        name: Name of the loss.
        **kwargs: Passed to :class:`keras.losses.Loss`.
    """

    def __init__(
        self,
        positive_exponent: float = 0.0,
        negative_exponent: float = 0.0,
        margin: float = 0.0,
        positive_weights: Sequence[float] | None = None,
        name: str = "loss",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        require_number(0 <= positive_exponent < math.inf, "positive_exponent", "at least 0", positive_exponent)
        require_number(0 <= negative_exponent < math.inf, "negative_exponent", "at least 0", negative_exponent)
        require_number(0 <= margin < 1, "margin", "at least 0 and below 1", margin)
        self.positive_exponent = positive_exponent
        self.negative_exponent = negative_exponent
        self.margin = margin
        self.positive_weights = positive_weights

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each sample, the mean over its labels."""
        y_true = ops.cast(y_true, y_pred.dtype)
        # log(1 + e^-x) and log(1 + e^x), finite for any logit.
        positive_losses, negative_losses = ops.softplus(-y_pred), ops.softplus(y_pred)
        positive, negative = positive_losses, negative_losses
        # Powers of p and 1 - p are exponentials of their logarithms, so that their slopes are finite, too.
        if self.positive_exponent:
            positive = positive * ops.exp(-self.positive_exponent * negative_losses)
        if self.margin:
            # 1 - q = min(sigmoid(-x) + m, 1); its logarithm is finite, since it is at least m.
            negative = -ops.log(ops.minimum(ops.sigmoid(-y_pred) + self.margin, 1.0))
        if self.negative_exponent and self.margin:
            wrong = ops.maximum(ops.sigmoid(y_pred) - self.margin, 0.0)
            negative = negative * safe_power(wrong, self.negative_exponent)
        elif self.negative_exponent:
            negative = negative * ops.exp(-self.negative_exponent * positive_losses)
        if self.positive_weights is not None:
            positive = positive * ops.cast(ops.array(self.positive_weights), y_pred.dtype)
        return ops.mean(y_true * positive + (1.0 - y_true) * negative, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that create the same loss again."""
        weights = None if self.positive_weights is None else [float(weight) for weight in self.positive_weights]
        return {
            **super().get_config(),
            "positive_exponent": self.positive_exponent,
            "negative_exponent": self.negative_exponent,
            "margin": self.margin,
            "positive_weights": weights,
        }


@keras.saving.register_keras_serializable(package="keras_lnn")
class FocalCrossentropy(keras.losses.Loss):
    r"""Cross-entropy of class indices, :math:`-w (1-p)^{a} \log p` of the true class: easy samples count less.

    Predictions are (batch, ..., classes), targets (batch, ...) or (batch, ..., 1); positions along the axes in between,
    such as pixels, count as samples. With an exponent of 0 it is the cross-entropy.

    Args:
        exponent: The exponent :math:`a`.
        class_weights: The weights :math:`w`, one per class; all ones if not given. The mean is over all samples, not
            over their weights.
        name: Name of the loss.
        **kwargs: Passed to :class:`keras.losses.Loss`.
    """

    def __init__(
        self,
        exponent: float = FOCAL[0],
        class_weights: Sequence[float] | None = None,
        name: str = "loss",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        require_number(0 <= exponent < math.inf, "exponent", "at least 0", exponent)
        self.exponent = exponent
        self.class_weights = None if class_weights is None else [float(weight) for weight in class_weights]

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each sample or pixel."""
        classes = y_pred.shape[-1]
        if self.class_weights is not None and len(self.class_weights) != classes:
            raise ValueError(
                f"class_weights must have one weight per class, {classes} in all. Received: {len(self.class_weights)}."
            )
        indices = ops.cast(ops.reshape(y_true, ops.shape(y_pred)[:-1]), "int32")
        truth = ops.one_hot(indices, classes, dtype=y_pred.dtype)
        logarithm = ops.sum(truth * ops.log_softmax(y_pred, axis=-1), axis=-1)
        value = -logarithm
        if self.exponent:
            value = safe_power(-ops.expm1(logarithm), self.exponent) * value
        if self.class_weights is not None:
            value = ops.sum(truth * ops.convert_to_tensor(self.class_weights, dtype=y_pred.dtype), axis=-1) * value
        return value

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that create the same loss again."""
        return {**super().get_config(), "exponent": self.exponent, "class_weights": self.class_weights}
