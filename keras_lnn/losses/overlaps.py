"""Overlap losses for images and for segmentation, taken over a whole batch and finite for any logit."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_lnn.losses.probabilities import Probabilities, ProbabilityLoss, require_number, safe_power


class BatchLoss(ProbabilityLoss):
    """Base class of losses with one value for a whole batch instead of one per sample.

    The value is a scalar, as that of :class:`keras.losses.Dice`, which no reduction changes. In the mean over an epoch,
    Keras weights it by the size of the batch, so a last, smaller batch counts less there; its training step counts as
    much as any other, and its overlap is that of its few samples.
    """

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Returns the loss of a batch."""
        if sample_weight is not None:
            raise ValueError(
                f"{type(self).__name__} is computed over a whole batch, so single samples cannot be weighted. "
                f"Received: sample_weight. Give the loss class_weights, and fit neither class_weight nor sample_weight."
            )
        return super().__call__(y_true, y_pred)


@keras.saving.register_keras_serializable(package="keras_lnn")
class BinaryCrossentropyDice(BatchLoss):
    r"""Binary cross-entropy of each class against the others, plus one minus Dice's coefficient.

    .. math:: a\,\overline{-y\log p - (1-y)\log(1-p)} + b\left(1 - \overline{\frac{2\sum py + s}{\sum p + \sum y + s}}
        \right)

    The sums go over the whole batch, the means over the classes, and the first mean over the samples, too.

    Args:
        probabilities: ``softmax``, ``sigmoid`` or ``given``.
        class_weights: One weight per class or label; see :class:`ProbabilityLoss` for what they weight.
        crossentropy_weight: The factor :math:`a`.
        dice_weight: The factor :math:`b`.
        smoothing: The constant :math:`s`; above 0, a class that is absent from the batch has a gradient.
        name: Name of the loss.
        **kwargs: Passed to :class:`keras.losses.Loss`.

    Example:
        >>> loss = BinaryCrossentropyDice("given", crossentropy_weight=0.0, smoothing=1e-7)
        >>> round(float(loss([0, 1], [[0.5, 0.5], [0.0, 1.0]])), 4)
        0.2667
    """

    def __init__(
        self,
        probabilities: Probabilities = "softmax",
        class_weights: Sequence[float] | None = None,
        *,
        crossentropy_weight: float = 0.4,
        dice_weight: float = 1.0,
        smoothing: float = 1.0,
        name: str = "loss",
        **kwargs: Any,
    ) -> None:
        super().__init__(probabilities, class_weights, name, **kwargs)
        require_number(0 <= crossentropy_weight < math.inf, "crossentropy_weight", "at least 0", crossentropy_weight)
        require_number(0 <= dice_weight < math.inf, "dice_weight", "at least 0", dice_weight)
        require_number(0 < smoothing < math.inf, "smoothing", "more than 0", smoothing)
        self.crossentropy_weight = crossentropy_weight
        self.dice_weight = dice_weight
        self.smoothing = smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of the batch."""
        truth, y_pred, count = self.read(y_true, y_pred)
        positive, negative = self.log_both(y_pred)
        crossentropy = -ops.mean(count * (truth * positive + (1.0 - truth) * negative))
        error = _overlap_error(truth, *self.both(y_pred), 0.5, 0.5, 0.5 * self.smoothing)
        return self.crossentropy_weight * crossentropy + self.dice_weight * self.mean_over_classes(error)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that create the same loss again."""
        return {
            **super().get_config(),
            "crossentropy_weight": self.crossentropy_weight,
            "dice_weight": self.dice_weight,
            "smoothing": self.smoothing,
        }


@keras.saving.register_keras_serializable(package="keras_lnn")
class FocalTversky(BatchLoss):
    r"""One minus Tversky's index, raised to a power that gives classes with a good overlap less or more weight.

    .. math:: \overline{(1 - T)^{1/\gamma}}, \quad
        T = \frac{\sum py + s}{\sum py + \alpha\sum(1-p)y + \beta\sum p(1-y) + s}

    The sums go over the whole batch, the mean over the classes. With :math:`\alpha > \beta` false negatives cost more
    than false positives. Abraham and Khan, "A novel focal Tversky loss function with improved attention U-Net for
    lesion segmentation", 2019, whose parameters are the defaults; they take the sum over the classes.

    Args:
        probabilities: ``softmax``, ``sigmoid`` or ``given``.
        class_weights: One weight per class or label, for the mean over the classes.
        alpha: Weight of false negatives.
        beta: Weight of false positives.
        gamma: Degree of the root, above 0.
        smoothing: The constant :math:`s`; above 0, a class that is absent from the batch has a gradient.
        name: Name of the loss.
        **kwargs: Passed to :class:`keras.losses.Loss`.

    Example:
        >>> round(float(FocalTversky("given", gamma=1.0)([1, 0], [[0.5, 0.5], [1.0, 0.0]])), 4)
        0.1295
    """

    def __init__(
        self,
        probabilities: Probabilities = "softmax",
        class_weights: Sequence[float] | None = None,
        *,
        alpha: float = 0.7,
        beta: float = 0.3,
        gamma: float = 4 / 3,
        smoothing: float = 1.0,
        name: str = "loss",
        **kwargs: Any,
    ) -> None:
        super().__init__(probabilities, class_weights, name, **kwargs)
        require_number(0 <= alpha < math.inf, "alpha", "at least 0", alpha)
        require_number(0 <= beta < math.inf, "beta", "at least 0", beta)
        require_number(0 < gamma < math.inf, "gamma", "more than 0", gamma)
        require_number(0 < smoothing < math.inf, "smoothing", "more than 0", smoothing)
        self.alpha = alpha
        self.beta = beta
        self.gamma = gamma
        self.smoothing = smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of the batch."""
        truth, y_pred, _ = self.read(y_true, y_pred)
        error = _overlap_error(truth, *self.both(y_pred), self.alpha, self.beta, self.smoothing)
        return self.mean_over_classes(safe_power(error, 1.0 / self.gamma))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that create the same loss again."""
        own = {"alpha": self.alpha, "beta": self.beta, "gamma": self.gamma, "smoothing": self.smoothing}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="keras_lnn")
class SoftF1(BatchLoss):
    r"""One minus a soft F1, in which true positives are counted by probability as :math:`\sum py` over the batch.

    It is the mean over the classes of :math:`1 - (2\sum py + s)/(\sum p + \sum y + s)`. This is Dice's coefficient;
    unlike :class:`BinaryCrossentropyDice` it has no cross-entropy and almost no smoothing: as little as float16 allows,
    since the slope for a class that is absent is its reciprocal.

    Args:
        probabilities: ``softmax``, ``sigmoid`` or ``given``.
        class_weights: One weight per class or label, for the mean over the classes.
        smoothing: The constant :math:`s`, which avoids 0/0 for a class that is absent.
        name: Name of the loss.
        **kwargs: Passed to :class:`keras.losses.Loss`.

    Example:
        >>> round(float(SoftF1("given")([0, 1], [[0.5, 0.5], [0.0, 1.0]])), 3)
        0.267
    """

    def __init__(
        self,
        probabilities: Probabilities = "softmax",
        class_weights: Sequence[float] | None = None,
        *,
        smoothing: float = 1e-3,
        name: str = "loss",
        **kwargs: Any,
    ) -> None:
        super().__init__(probabilities, class_weights, name, **kwargs)
        require_number(0 < smoothing < math.inf, "smoothing", "more than 0", smoothing)
        self.smoothing = smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of the batch."""
        truth, y_pred, _ = self.read(y_true, y_pred)
        return self.mean_over_classes(_overlap_error(truth, *self.both(y_pred), 0.5, 0.5, 0.5 * self.smoothing))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that create the same loss again."""
        return {**super().get_config(), "smoothing": self.smoothing}


def _overlap_error(truth: Any, present: Any, absent: Any, missed: float, wrong: float, smoothing: float) -> Any:
    """Returns one minus Tversky's index of each class over all samples; accurate where it is small, unlike 1 - T."""
    axes = tuple(range(len(truth.shape) - 1))
    hits = ops.sum(truth * present, axis=axes)
    errors = missed * ops.sum(truth * absent, axis=axes) + wrong * ops.sum((1.0 - truth) * present, axis=axes)
    return errors / (hits + errors + smoothing)
