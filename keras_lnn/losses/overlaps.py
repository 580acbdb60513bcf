"""Losses of overlap, taken over a whole batch, for images and for each pixel, finite at any logit."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_lnn.losses.probabilities import Probabilities, ProbabilityLoss, require_number, safe_power


class _BatchLoss(ProbabilityLoss):
    """A loss that has one value for a whole batch, not one a sample.

    It is a scalar, as that of :class:`keras.losses.Dice`, which no reduction changes. Keras weighs it by the size of
    the batch in the mean over an epoch, so a last, smaller batch counts for less there; its step is as long as any
    other, and its overlap is that of its own few samples.
    """

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of a batch."""
        if sample_weight is not None:
            raise ValueError(
                f"{type(self).__name__} is taken over a whole batch and has no value a sample that could be weighed. "
                f"Received: sample_weight. Give the loss class_weights, and fit neither class_weight nor sample_weight."
            )
        return super().__call__(y_true, y_pred)


@keras.saving.register_keras_serializable(package="keras_lnn")
class BinaryCrossentropyDice(_BatchLoss):
    r"""Binary cross-entropy of each class against the others, plus one less Dice's coefficient.

    .. math:: a\,\overline{-y\log p - (1-y)\log(1-p)} + b\left(1 - \overline{\frac{2\sum py + s}{\sum p + \sum y + s}}
        \right)

    The sums go over the whole batch, the means over the classes, the first over the samples too.

    Args:
        probabilities: ``softmax``, ``sigmoid`` or ``given``.
        class_weights: One a class or label; see :class:`ProbabilityLoss` for what they weigh.
        crossentropy_weight: :math:`a`.
        dice_weight: :math:`b`.
        smoothing: :math:`s`; a class that is not in the batch has a gradient where it is more than nothing.
        name: Of the loss.
        **kwargs: Of :class:`keras.losses.Loss`.

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
        """The loss of the batch."""
        truth, y_pred, count = self.read(y_true, y_pred)
        positive, negative = self.log_both(y_pred)
        crossentropy = -ops.mean(count * (truth * positive + (1.0 - truth) * negative))
        error = _overlap_error(truth, *self.both(y_pred), 0.5, 0.5, 0.5 * self.smoothing)
        return self.crossentropy_weight * crossentropy + self.dice_weight * self.mean_over_classes(error)

    def get_config(self) -> dict[str, Any]:
        """What makes the same loss again."""
        return {
            **super().get_config(),
            "crossentropy_weight": self.crossentropy_weight,
            "dice_weight": self.dice_weight,
            "smoothing": self.smoothing,
        }


@keras.saving.register_keras_serializable(package="keras_lnn")
class FocalTversky(_BatchLoss):
    r"""One less Tversky's index, to a power that makes overlaps already good count less or more.

    .. math:: \overline{(1 - T)^{1/\gamma}}, \quad
        T = \frac{\sum py + s}{\sum py + \alpha\sum(1-p)y + \beta\sum p(1-y) + s}

    The sums go over the whole batch, the mean over the classes. With :math:`\alpha > \beta` what is missed costs more
    than what is wrongly found. Abraham and Khan, "A novel focal Tversky loss function with improved attention U-Net
    for lesion segmentation", 2019, whose numbers are the defaults; they take the sum over the classes.

    Args:
        probabilities: ``softmax``, ``sigmoid`` or ``given``.
        class_weights: One a class or label, of the mean over the classes.
        alpha: How much what is missed costs.
        beta: How much what is wrongly found costs.
        gamma: The root that is taken, more than 0.
        smoothing: :math:`s`; a class that is not in the batch has a gradient where it is more than nothing.
        name: Of the loss.
        **kwargs: Of :class:`keras.losses.Loss`.

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
        """The loss of the batch."""
        truth, y_pred, _ = self.read(y_true, y_pred)
        error = _overlap_error(truth, *self.both(y_pred), self.alpha, self.beta, self.smoothing)
        return self.mean_over_classes(safe_power(error, 1.0 / self.gamma))

    def get_config(self) -> dict[str, Any]:
        """What makes the same loss again."""
        own = {"alpha": self.alpha, "beta": self.beta, "gamma": self.gamma, "smoothing": self.smoothing}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="keras_lnn")
class SoftF1(_BatchLoss):
    r"""One less F1 in which each sample counts by its probability: hits are :math:`\sum py` over the batch.

    The mean over the classes of :math:`1 - (2\sum py + s)/(\sum p + \sum y + s)`. This is Dice's coefficient; what
    sets it apart from :class:`BinaryCrossentropyDice` is that there is no cross-entropy and next to no smoothing: as
    little as float16 has room for, since the slope where a class has nothing is its reciprocal.

    Args:
        probabilities: ``softmax``, ``sigmoid`` or ``given``.
        class_weights: One a class or label, of the mean over the classes.
        smoothing: :math:`s`, which keeps a class that nothing has from being a division by nothing.
        name: Of the loss.
        **kwargs: Of :class:`keras.losses.Loss`.

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
        """The loss of the batch."""
        truth, y_pred, _ = self.read(y_true, y_pred)
        return self.mean_over_classes(_overlap_error(truth, *self.both(y_pred), 0.5, 0.5, 0.5 * self.smoothing))

    def get_config(self) -> dict[str, Any]:
        """What makes the same loss again."""
        return {**super().get_config(), "smoothing": self.smoothing}


def _overlap_error(truth: Any, present: Any, absent: Any, missed: float, wrong: float, smoothing: float) -> Any:
    """One less Tversky's index of each class over all samples; exact where it is small, which 1 - T is not."""
    axes = tuple(range(len(truth.shape) - 1))
    hits = ops.sum(truth * present, axis=axes)
    errors = missed * ops.sum(truth * absent, axis=axes) + wrong * ops.sum((1.0 - truth) * present, axis=axes)
    return errors / (hits + errors + smoothing)
