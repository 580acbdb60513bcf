"""The base class of losses of probabilities: reads predictions and targets, and applies class weights."""

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import keras
from keras import ops

Probabilities = Literal["softmax", "sigmoid", "given"]
# A logit below any other, to leave a term out of a sum of exponentials; an infinite one would have gradients of nan.
_NOTHING = -1e9
# A power below 1 has an infinite slope at 0; values up to this are treated as 0.
_SMALLEST = 1e-30


class ProbabilityLoss(keras.losses.Loss):
    """A loss of the probabilities of images or of each pixel, with optional class weights.

    Predictions are (batch, ..., classes). Targets are class indices (batch, ...) or (batch, ..., 1), or 0/1 for each
    class or label, of the shape of the predictions. Positions along the axes in between, such as pixels, count as
    samples. Whatever the precision of a model, sums are in float32 at least: a mask has more pixels than float16 can
    count.

    A class weight sets how much the class counts. If classes are exclusive (indices, or a softmax), a sample counts by
    the weight of its class, as in ``fit(class_weight=...)``; otherwise positives of a label count by its weight and
    negatives by 1. Overlaps have one value per class, and their mean over the classes is weighted, divided by the sum
    of the weights. Unweighted, it already counts all classes alike, so with weights by rarity the rare ones dominate.

    Args:
        probabilities: ``softmax`` or ``sigmoid`` of logits, or ``given`` if predictions are probabilities.
        class_weights: One weight per class or label; all equal if not given.
        name: Name of the loss.
        **kwargs: Passed to :class:`keras.losses.Loss`.
    """

    def __init__(
        self,
        probabilities: Probabilities = "softmax",
        class_weights: Sequence[float] | None = None,
        name: str = "loss",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        if probabilities not in get_args(Probabilities):
            known = ", ".join(get_args(Probabilities))
            raise ValueError(f"probabilities must be one of {known}. Received: {probabilities!r}.")
        weights = None if class_weights is None else [float(weight) for weight in class_weights]
        if weights is not None and not (all(0 <= weight < math.inf for weight in weights) and sum(weights) > 0):
            raise ValueError(
                f"class_weights must be finite and at least 0, and one must be above 0. Received: {weights}. Give one"
                " per class."
            )
        self.probabilities = probabilities
        self.class_weights = weights

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that create the same loss again."""
        return {**super().get_config(), "probabilities": self.probabilities, "class_weights": self.class_weights}

    def read(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        """Returns targets as 0/1 and predictions, both (batch, ..., classes), and the weight of each prediction."""
        y_pred = ops.convert_to_tensor(y_pred)
        y_pred = ops.cast(y_pred, keras.backend.result_type(keras.backend.standardize_dtype(y_pred.dtype), "float32"))
        y_true = ops.convert_to_tensor(y_true)
        if len(y_pred.shape) < 2:
            raise ValueError(f"Predictions must be (batch, ..., classes). Received: shape {tuple(y_pred.shape)}.")
        classes = y_pred.shape[-1]
        if self.probabilities == "softmax" and classes < 2:
            raise ValueError("A softmax needs at least two classes. Received: 1. Give probabilities='sigmoid'.")
        if self.class_weights is not None and len(self.class_weights) != classes:
            raise ValueError(
                f"class_weights must have one weight per class or label, {classes} in all. Received: "
                f"{len(self.class_weights)}."
            )
        if len(y_true.shape) == len(y_pred.shape) - 1:
            y_true = y_true[..., None]
        indices = y_true.shape[-1] == 1 < classes
        _require_shape(y_true, (*y_pred.shape[:-1], 1) if indices else y_pred.shape, y_pred)
        truth = ops.one_hot(ops.cast(y_true[..., 0], "int32"), classes) if indices else y_true
        truth = ops.cast(truth, y_pred.dtype)
        return truth, y_pred, self._count(truth, exclusive=indices or self.probabilities == "softmax")

    def _count(self, truth: Any, exclusive: bool) -> Any:
        if self.class_weights is None:
            return 1.0
        weights = ops.convert_to_tensor(self.class_weights, dtype=truth.dtype)
        if exclusive:
            return ops.sum(truth * weights, axis=-1, keepdims=True)
        return 1.0 + truth * (weights - 1.0)

    def both(self, y_pred: Any) -> tuple[Any, Any]:
        """Returns the probability of each class or label, and of its absence."""
        if self.probabilities == "sigmoid":
            return ops.sigmoid(y_pred), ops.sigmoid(-y_pred)
        found = ops.softmax(y_pred, axis=-1) if self.probabilities == "softmax" else y_pred
        return found, 1.0 - found

    def log_both(self, y_pred: Any) -> tuple[Any, Any]:
        """Returns the logarithms of these probabilities, finite for any logit."""
        if self.probabilities == "sigmoid":
            return -ops.softplus(-y_pred), -ops.softplus(y_pred)
        if self.probabilities == "given":
            found = ops.clip(y_pred, keras.config.epsilon(), 1.0 - keras.config.epsilon())
            return ops.log(found), ops.log1p(-found)
        logarithm = ops.log_softmax(y_pred, axis=-1)
        # For the largest probability 1 - p is rounded off, the sum of the others is not. The others are at most a half.
        largest = ops.one_hot(ops.argmax(y_pred, axis=-1), y_pred.shape[-1], dtype="bool")
        others = ops.logsumexp(ops.where(largest, _NOTHING, y_pred), axis=-1, keepdims=True)
        largest_log = others - ops.logsumexp(y_pred, axis=-1, keepdims=True)
        other_logs = ops.log1p(-ops.where(largest, 0.0, ops.exp(logarithm)))
        return logarithm, ops.where(largest, largest_log, other_logs)

    def mean_over_classes(self, values: Any) -> Any:
        """Returns the mean of one value per class, weighted by the class weights."""
        if self.class_weights is None:
            return ops.mean(values)
        weights = [weight / sum(self.class_weights) for weight in self.class_weights]
        return ops.sum(values * ops.convert_to_tensor(weights, dtype=values.dtype))


@keras.saving.register_keras_serializable(package="keras_lnn")
class ProbabilitySquaredError(ProbabilityLoss):
    r"""Mean over the classes of :math:`(p - y)^2`, with targets of 0 and 1: Brier's score over the number of classes.

    It has a value for each sample or pixel, which Keras weights and reduces as for any other loss.

    Args:
        probabilities: ``softmax``, ``sigmoid`` or ``given``.
        class_weights: One weight per class or label; a sample counts by the weight of its class.
        name: Name of the loss.
        **kwargs: Passed to :class:`keras.losses.Loss`.

    Example:
        >>> float(ProbabilitySquaredError("given")([1], [[0.5, 0.5]]))
        0.25
    """

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each sample."""
        truth, y_pred, count = self.read(y_true, y_pred)
        return ops.mean(count * ops.square(self.both(y_pred)[0] - truth), axis=-1)


def require_number(right: bool, name: str, rule: str, value: float) -> None:
    """Raises an error that states an argument, its rule and its value, unless it is right."""
    if not right:
        raise ValueError(f"{name} must be finite and {rule}. Received: {value}.")


def safe_power(values: Any, exponent: float) -> Any:
    """Raises values of at least 0 to a power above 0; the slope at 0, which can be infinite, is set to 0."""
    is_some = values > _SMALLEST
    return ops.where(is_some, ops.power(ops.where(is_some, values, 1.0), exponent), 0.0)


def _require_shape(y_true: Any, expected: tuple[int | None, ...], y_pred: Any) -> None:
    """Raises an error if the targets' shape, as far as it is known, is wrong; it might otherwise be broadcast."""
    pairs = zip(y_true.shape, expected, strict=False)
    if len(y_true.shape) != len(expected) or any(a != b for a, b in pairs if None not in (a, b)):
        raise ValueError(
            f"Targets must be class indices, or 0/1 of the predictions' shape. Received: {tuple(y_true.shape)} for "
            f"predictions {tuple(y_pred.shape)}."
        )
