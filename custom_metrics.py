"""Keras metrics for medical images, in one file that imports keras and numpy only and can be copied into any project.

Everything is computed from one confusion state and, for curves, one histogram of scores: an update is a handful of
operations on whole arrays, and nothing branches on data. One :class:`ClassificationMetrics` reports as many named
results as are asked for, so that a model with 14 labels updates one state and not fifty::

    model.compile(..., metrics=[ClassificationMetrics("multi-label", ["f1", "auc", "recall_per_class"])])

Each result is also a metric of its own (:class:`F1`, :class:`AUC`, :class:`Dice`, ...). Values are those of
scikit-learn with ``zero_division=0``; curves are exact up to the width of a histogram's bin. Masks with a class for
each pixel have a metric of their own, :class:`SegmentationMetrics`, in which a class that is nowhere does not count.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

KINDS = ("binary", "multi-class", "multi-label")
AVERAGES = ("macro", "micro", "weighted", "samples", "per_class")
# What each result can be averaged by, the first where nothing is said; None is a number of its own.
_RESULTS: dict[str, tuple[str | None, ...]] = {
    "f1": ("macro", "micro", "weighted", "samples", "per_class"),
    "precision": ("macro", "micro", "weighted", "samples", "per_class"),
    "recall": ("macro", "micro", "weighted", "samples", "per_class"),
    "dice": ("macro", "micro", "weighted", "samples", "per_class"),
    "iou": ("macro", "micro", "weighted", "samples", "per_class"),
    "specificity": ("macro", "micro", "weighted", "per_class"),
    "accuracy": (None, "per_class"),
    "subset_accuracy": (None,),
    "balanced_accuracy": (None, "per_class"),
    "matthews_correlation": (None, "per_class"),
    "auc": ("macro", "micro", "weighted", "per_class"),
    "average_precision": ("macro", "micro", "weighted", "per_class"),
}
_CURVES = ("auc", "average_precision")
# What there is of masks: of all pixels alike, and of each class.
_OF_PIXELS = ("accuracy", "pixel_error")
_OVERLAPS = ("dice", "iou")


@keras.saving.register_keras_serializable(package="keras_lnn")
class ClassificationMetrics(keras.metrics.Metric):
    """Named results of predictions, streaming, from one state.

    A result is a name and, where it is a mean over classes or labels, how that is taken: ``f1`` (the macro mean),
    ``f1_micro``, ``f1_weighted`` (by support), ``f1_samples`` (over samples, for several labels), ``f1_per_class``
    (one result a class, ``f1_NAME``). There are ``f1``, ``precision``, ``recall``, ``dice`` (the same as ``f1``),
    ``iou``, ``specificity``, ``accuracy`` (for several labels their mean), ``subset_accuracy`` (all labels of a sample
    are right), ``balanced_accuracy``, ``matthews_correlation``, ``auc`` and ``average_precision``.

    For ``binary`` a result without a mean speaks of class 1. A ratio with nothing below the line is 0; an AUC that
    lacks positives or negatives is nan and is left out of the macro mean.

    Args:
        kind: ``binary`` (one sigmoid output or two softmax outputs), ``multi-class`` (softmax; targets are indices or
            one-hot) or ``multi-label`` (sigmoids; targets are 0/1 for each label). Axes between the batch and the
            classes, as of masks, count as more samples.
        results: Names of results.
        threshold: Above which probability a class or label is predicted, one or one a label; not for
            ``multi-class``, where the largest counts.
        from_logits: Whether predictions are logits, not probabilities.
        class_names: Of the results by class; their indices if not given.
        bins: Of each histogram of scores, from which the curves are computed.
        name: Of the metric.
        **kwargs: Of :class:`keras.metrics.Metric`.

    Example:
        >>> metric = ClassificationMetrics("multi-label", ["f1", "recall_per_class"], class_names=("mass", "edema"))
        >>> metric.update_state([[1, 0], [1, 1]], [[0.9, 0.2], [0.4, 0.6]])
        >>> {name: round(float(value), 3) for name, value in metric.result().items()}
        {'f1': 0.833, 'recall_mass': 0.5, 'recall_edema': 1.0}
    """

    def __init__(
        self,
        kind: str,
        results: Sequence[str] = ("accuracy", "f1", "auc"),
        *,
        threshold: float | Sequence[float] = 0.5,
        from_logits: bool = False,
        class_names: Sequence[str] | None = None,
        bins: int = 8000,
        name: str = "classification",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}. Received: {kind!r}.")
        self.kind = kind
        self.results = list(results)
        self._parsed = [_parse(result, kind) for result in self.results]
        self.threshold = threshold
        self._thresholds = _check_threshold(threshold, kind)
        self.from_logits = from_logits
        self.class_names = None if class_names is None else list(class_names)
        if bins < 2:
            raise ValueError(f"bins must be at least 2. Received: {bins}.")
        self.bins = bins
        self.counts = None

    def build(self, labels: int) -> None:
        """Makes the state, once the number of classes or labels is known."""
        for what, given in (("class_names", self.class_names), ("threshold", self._thresholds)):
            known = None if given is None or np.ndim(given) == 0 else len(given)
            expected = 2 if what == "class_names" and self.kind == "binary" else labels
            if known not in (None, expected):
                raise ValueError(
                    f"{what} must be as many as there are classes or labels, {expected}. Received: {known}."
                )
        # Hits, predicted and actual of each class, then the samples; and what rounding has kept of them so far.
        self.counts = self.add_variable((3 * labels + 1,), initializer="zeros", name="counts")
        self.remainder = self.add_variable((3 * labels + 1,), initializer="zeros", name="remainder")
        self._by_sample = [base for base, average in self._parsed if average == "samples" or base == "subset_accuracy"]
        if self._by_sample:
            self.by_sample = self.add_variable((len(self._by_sample),), initializer="zeros", name="by_sample")
        if any(base in _CURVES for base, _ in self._parsed):
            self.scores = self.add_variable((labels, 2, self.bins), initializer="zeros", name="scores")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch."""
        y_pred = ops.convert_to_tensor(y_pred)
        truth, predictions = self._read(y_true, y_pred)
        if self.counts is None:
            self.build(truth.shape[-1])
        predicted, log_odds = self._decide(predictions)
        leading = ops.shape(y_pred)
        weights = _weights(sample_weight, leading[:-1] if len(leading) > 1 else leading)
        hits = truth * predicted
        parts = ops.concatenate([hits, predicted, truth, ops.ones_like(truth[:, :1])], axis=1)
        self._add(ops.matmul(weights[None], parts)[0])
        if self._by_sample:
            sums = [ops.sum(part, axis=1) for part in (hits, predicted, truth)]
            rows = [
                ops.cast(ops.all(ops.equal(predicted, truth), axis=1), "float32")
                if base == "subset_accuracy"
                else _ratio(base, *sums)
                for base in self._by_sample
            ]
            self.by_sample.assign_add(ops.matmul(ops.stack(rows), weights[:, None])[:, 0])
        if any(base in _CURVES for base, _ in self._parsed):
            self.scores.assign_add(self._histograms(log_odds, truth, weights))

    def result(self) -> Any:
        """All results by name."""
        found: dict[str, Any] = {}
        for result, (base, average) in zip(self.results, self._parsed, strict=True):
            value = self._compute(base, average)
            if average != "per_class":
                found[result] = value
                continue
            for index in range(value.shape[0]):
                # Of two classes with one output the second is meant.
                place = index if self.kind != "binary" else 1
                name = place if self.class_names is None else self.class_names[place]
                found[f"{base}_{name}"] = value[index]
        return found

    def get_config(self) -> dict[str, Any]:
        """What makes the same metric again."""
        threshold = self.threshold if np.ndim(self.threshold) == 0 else [float(value) for value in self.threshold]
        return {
            **super().get_config(),
            "kind": self.kind,
            "results": self.results,
            "threshold": threshold,
            "from_logits": self.from_logits,
            "class_names": self.class_names,
            "bins": self.bins,
        }

    def _read(self, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
        """Targets as 0/1 (samples, labels) and predictions (samples, outputs)."""
        predictions = ops.cast(y_pred, "float32")
        outputs = predictions.shape[-1] if len(predictions.shape) > 1 else 1
        predictions = ops.reshape(predictions, (-1, outputs))
        truth = ops.convert_to_tensor(y_true)
        if self.kind == "binary":
            if outputs > 2:
                raise ValueError(f"Predictions of kind binary have 1 or 2 outputs. Received: {outputs}.")
            # Two columns are one-hot; the second says it.
            one_hot = len(truth.shape) == len(y_pred.shape) > 1 and truth.shape[-1] == 2
            truth = ops.reshape(truth[..., 1] if one_hot else truth, (-1, 1))
            return ops.cast(truth, "float32"), predictions
        is_index = self.kind == "multi-class" and not (
            len(truth.shape) == len(y_pred.shape) and truth.shape[-1] == outputs
        )
        if is_index:
            truth = ops.one_hot(ops.cast(ops.reshape(truth, (-1,)), "int32"), outputs)
        return ops.cast(ops.reshape(truth, (-1, outputs)), "float32"), predictions

    def _decide(self, predictions: Any) -> tuple[Any, Any]:
        """What is predicted, 0/1 (samples, labels), and the log-odds of each class or label."""
        outputs = predictions.shape[-1]
        if self.kind == "multi-class":
            predicted = ops.one_hot(ops.argmax(predictions, axis=-1), outputs, dtype="float32")
            logits = predictions if self.from_logits else _log(predictions)
            return predicted, logits - _log_sum_of_others(logits)
        if self.kind == "binary" and outputs == 2:
            second, first = predictions[:, 1:], predictions[:, :1]
            log_odds = second - first if self.from_logits else _log(second) - _log(first)
            scores = log_odds if self.from_logits else second
        else:
            log_odds = predictions if self.from_logits else _log(predictions) - _log(1.0 - predictions)
            scores = predictions
        thresholds = self._thresholds
        if self.from_logits:
            thresholds = np.log(thresholds) - np.log1p(-thresholds)
        return ops.cast(scores > thresholds.astype("float32"), "float32"), log_odds

    def _add(self, added: Any) -> None:
        """Adds to the counts and keeps what float32 rounds off: whole images of pixels add up beyond its 24 bits."""
        _add_exactly(self.counts, self.remainder, added)

    def _histograms(self, log_odds: Any, truth: Any, weights: Any) -> Any:
        """Weights of negatives and positives of each class by score, (labels, 2, bins).

        The bins are even in a squashed log-odds, which keeps apart scores near 0 and 1 that bins even in the
        probability would take for equal.
        """
        labels = truth.shape[-1]
        squashed = log_odds / (2.0 + ops.abs(log_odds))
        position = ops.floor((squashed + 1.0) * (0.5 * self.bins))
        position = ops.cast(ops.clip(position, 0, self.bins - 1), "int32")
        cells = (ops.arange(labels, dtype="int32") * 2 + ops.cast(truth, "int32")) * self.bins + position
        weights = ops.broadcast_to(weights[:, None], ops.shape(cells))
        count = labels * 2 * self.bins
        added = ops.segment_sum(ops.reshape(weights, (-1,)), ops.reshape(cells, (-1,)), count)
        return ops.reshape(added, (labels, 2, self.bins))

    def _compute(self, base: str, average: str | None) -> Any:
        total, counts = self.counts[-1], ops.reshape(self.counts[:-1], (3, -1))
        hits, predicted, actual = counts[0], counts[1], counts[2]
        if average == "samples" or base == "subset_accuracy":
            return _divide(self.by_sample[self._by_sample.index(base)], total)
        if average == "micro":
            if base in _CURVES:
                return _curve(base, ops.sum(self.scores, axis=0, keepdims=True))[0]
            labels = counts.shape[-1]
            return _ratio(base, ops.sum(hits), ops.sum(predicted), ops.sum(actual), labels * total)
        if average is None and self.kind == "multi-class":
            return self._of_all_classes(base, hits, predicted, actual, total)
        if base in _CURVES:
            values = _curve(base, self.scores)
        elif base == "balanced_accuracy":
            sides = ops.stack([_ratio(name, hits, predicted, actual, total) for name in ("recall", "specificity")])
            values = _mean_of_counted(sides, ops.stack([actual, total - actual]) > 0)
        else:
            values = _ratio(base, hits, predicted, actual, total)
        if average == "per_class":
            return values
        if average == "weighted":
            return _divide(ops.sum(values * actual), ops.sum(actual))
        if base == "auc":
            return _mean_of_counted(values, ops.logical_and(actual > 0, actual < total), nothing=np.nan)
        return ops.mean(values)

    def _of_all_classes(self, base: str, hits: Any, predicted: Any, actual: Any, total: Any) -> Any:
        """Those results of ``multi-class`` that are no mean over classes one against the others."""
        right = ops.sum(hits)
        if base == "accuracy":
            return _divide(right, total)
        if base == "balanced_accuracy":
            return _mean_of_counted(_divide(hits, actual), actual > 0)
        covariance = hits * (total - predicted - actual + hits) - (predicted - hits) * (actual - hits)
        covariance = ops.sum(_divide(_divide(covariance, total), total))
        spread = [ops.sum(_divide(part, total) * _divide(total - part, total)) for part in (predicted, actual)]
        return _divide(covariance, ops.sqrt(spread[0] * spread[1]))


class _Single(ClassificationMetrics):
    """One result as a metric of its own: ``average`` says how it is taken, None as in the list of results.

    The other arguments are those of :class:`ClassificationMetrics`. By class the result is a tensor (classes,).
    """

    base = ""

    def __init__(self, kind: str, average: str | None = None, *, name: str | None = None, **kwargs: Any) -> None:
        result = self.base if average is None else f"{self.base}_{average}"
        super().__init__(kind, [result], name=name or self.base, **kwargs)
        self.average = average

    def result(self) -> Any:
        """The value, or one a class."""
        return self._compute(*self._parsed[0])

    def get_config(self) -> dict[str, Any]:
        """What makes the same metric again."""
        config = super().get_config()
        del config["results"]
        return {**config, "average": self.average}


@keras.saving.register_keras_serializable(package="keras_lnn")
class F1(_Single):
    """Harmonic mean of precision and recall: 2 hits / (predicted + actual)."""

    base = "f1"


@keras.saving.register_keras_serializable(package="keras_lnn")
class Precision(_Single):
    """How many of the predicted are right."""

    base = "precision"


@keras.saving.register_keras_serializable(package="keras_lnn")
class Recall(_Single):
    """How many of the actual are found; also called sensitivity."""

    base = "recall"


@keras.saving.register_keras_serializable(package="keras_lnn")
class Specificity(_Single):
    """How many of those without a label are left without it."""

    base = "specificity"


@keras.saving.register_keras_serializable(package="keras_lnn")
class Accuracy(_Single):
    """How many answers are right; for several labels to a sample the mean over the labels."""

    base = "accuracy"


@keras.saving.register_keras_serializable(package="keras_lnn")
class SubsetAccuracy(_Single):
    """How many samples have all their labels right."""

    base = "subset_accuracy"


@keras.saving.register_keras_serializable(package="keras_lnn")
class BalancedAccuracy(_Single):
    """Mean of the recall of each class that occurs."""

    base = "balanced_accuracy"


@keras.saving.register_keras_serializable(package="keras_lnn")
class MatthewsCorrelation(_Single):
    """Correlation of what is predicted with what is actual, 0 by chance and 1 at best."""

    base = "matthews_correlation"


@keras.saving.register_keras_serializable(package="keras_lnn")
class AUC(_Single):
    """Area under the ROC curve: how often a positive has a higher score than a negative."""

    base = "auc"


@keras.saving.register_keras_serializable(package="keras_lnn")
class AveragePrecision(_Single):
    """Mean of the precision over the recall, taken in steps."""

    base = "average_precision"


@keras.saving.register_keras_serializable(package="keras_lnn")
class Dice(_Single):
    """Overlap of masks, 2 common / (predicted + actual), over all their pixels together."""

    base = "dice"


@keras.saving.register_keras_serializable(package="keras_lnn")
class IoU(_Single):
    """Overlap of masks, common / union, over all their pixels together."""

    base = "iou"


@keras.saving.register_keras_serializable(package="keras_lnn")
class SegmentationMetrics(keras.metrics.Metric):
    """Named results of masks whose pixels have one class each, streaming, from one state.

    There are ``accuracy`` and ``pixel_error`` (shares of right and of wrong pixels), and of each class against the
    others ``dice``, ``iou`` and ``class_error`` (the share of pixels that are of the class in the truth or in the
    prediction but not in both). Such a result is the mean over the classes besides the background, of all pixels of
    all images together. With ``_per_class`` behind it there is one result a class, ``dice_NAME``. With ``_per_image``
    Dice or IoU are taken of each image (or volume) and class by itself, then their mean over the images, then over the
    classes; both endings together, ``dice_per_image_per_class``, give ``dice_per_image_NAME``. An error is the same
    either way, since all images have as many pixels.

    Where truth and prediction both lack a class, there is no overlap to speak of: Dice and IoU of such an image do not
    count in the mean over images, and those of a class that all images lack are nan and do not count in the mean over
    classes, which is nan where no class is left. A class that only one of the two has is 0. (In
    :class:`ClassificationMetrics` a ratio with nothing below the line is 0.)

    Args:
        results: Names of results.
        background: Index of the class that is in no mean and no result by class; None for none.
        class_names: Of the results by class, the background's too; their indices if not given.
        name: Of the metric.
        **kwargs: Of :class:`keras.metrics.Metric`.

    Example:
        >>> metric = SegmentationMetrics(["accuracy", "dice", "iou"])
        >>> logits = keras.ops.one_hot([[[0, 1], [1, 2]]], 3)
        >>> metric.update_state([[[0, 1], [0, 2]]], logits)
        >>> {name: round(float(value), 3) for name, value in metric.result().items()}
        {'accuracy': 0.75, 'dice': 0.833, 'iou': 0.75}
    """

    def __init__(
        self,
        results: Sequence[str] = ("accuracy", "dice", "iou"),
        *,
        background: int | None = 0,
        class_names: Sequence[str] | None = None,
        name: str = "segmentation",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.results = list(results)
        self._parsed = [_parse_mask_result(result) for result in self.results]
        self.background = background
        self.class_names = None if class_names is None else list(class_names)
        self.counts = None

    def build(self, classes: int) -> None:
        """Makes the state, once the number of classes is known."""
        if self.class_names is not None and len(self.class_names) != classes:
            raise ValueError(
                f"class_names must be as many as there are classes, {classes}. Received: {len(self.class_names)}."
            )
        if self.background is not None and not 0 <= self.background < classes:
            raise ValueError(f"background must be a class from 0 to {classes - 1}. Received: {self.background}.")
        # Of each class the hits, predicted and actual pixels, the sums over images of Dice and IoU, and how many images
        # have it; then all pixels. And what rounding has kept of them so far.
        self.counts = self.add_variable((6 * classes + 1,), initializer="zeros", name="counts")
        self.remainder = self.add_variable((6 * classes + 1,), initializer="zeros", name="remainder")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch.

        Args:
            y_true: Class indices (batch, ...) or (batch, ..., 1), or one-hot (batch, ..., classes).
            y_pred: Logits or probabilities (batch, ..., classes); the largest counts.
            sample_weight: How much each image counts, (batch,).
        """
        y_pred, truth = ops.convert_to_tensor(y_pred), ops.convert_to_tensor(y_true)
        classes = y_pred.shape[-1]
        if self.counts is None:
            self.build(classes)
        is_one_hot = len(truth.shape) == len(y_pred.shape) and truth.shape[-1] == classes > 1
        batch = ops.shape(y_pred)[0]
        if not is_one_hot:
            truth = ops.one_hot(ops.cast(ops.reshape(truth, (batch, -1)), "int32"), classes, dtype="float32")
        truth = ops.cast(ops.reshape(truth, (batch, -1, classes)), "float32")
        predicted = ops.reshape(ops.argmax(y_pred, axis=-1), (batch, -1))
        predicted = ops.one_hot(predicted, classes, dtype="float32")
        # Of each image, (batch, classes): whole numbers, exact up to 2 ** 24 pixels.
        hits, found, actual = (ops.sum(part, axis=1) for part in (truth * predicted, predicted, truth))
        is_there = ops.cast(found + actual > 0, "float32")
        overlaps = [_ratio(base, hits, found, actual) for base in _OVERLAPS]
        rows = ops.concatenate(
            [hits, found, actual, *overlaps, is_there, ops.sum(actual, axis=1, keepdims=True)], axis=1
        )
        weights = ops.ones((batch,), "float32") if sample_weight is None else ops.cast(sample_weight, "float32")
        if len(weights.shape) != 1:
            raise ValueError(f"sample_weight must be one an image. Received: shape {tuple(weights.shape)}.")
        _add_exactly(self.counts, self.remainder, ops.matmul(weights[None], rows)[0])

    def result(self) -> Any:
        """All results by name."""
        found: dict[str, Any] = {}
        for result, (base, per_image, per_class) in zip(self.results, self._parsed, strict=True):
            values = self._compute(base, per_image)
            if base in _OF_PIXELS:
                found[result] = values
                continue
            kept = [index for index in range(values.shape[0]) if index != self.background]
            if not per_class:
                values = ops.take(values, kept, axis=0)
                found[result] = _mean_of_counted(values, ops.logical_not(ops.isnan(values)), nothing=np.nan)
                continue
            for index in kept:
                name = index if self.class_names is None else self.class_names[index]
                found[f"{result.removesuffix('_per_class')}_{name}"] = values[index]
        return found

    def get_config(self) -> dict[str, Any]:
        """What makes the same metric again."""
        own = {"results": self.results, "background": self.background, "class_names": self.class_names}
        return {**super().get_config(), **own}

    def _compute(self, base: str, per_image: bool) -> Any:
        """A result of all pixels, or one a class."""
        total, counts = self.counts[-1], ops.reshape(self.counts[:-1], (6, -1))
        hits, found, actual = counts[0], counts[1], counts[2]
        if base == "accuracy":
            return _divide(ops.sum(hits), total)
        if base == "pixel_error":
            return _divide(total - ops.sum(hits), total)
        if base == "class_error":
            return _divide(found + actual - 2.0 * hits, total)
        if per_image:
            images = counts[5]
            return ops.where(images > 0, _divide(counts[3 + _OVERLAPS.index(base)], images), np.nan)
        return ops.where(found + actual > 0, _ratio(base, hits, found, actual), np.nan)


def _parse_mask_result(result: str) -> tuple[str, bool, bool]:
    """A result's name, whether it is taken of each image, and whether there is one a class."""
    without_class = result.removesuffix("_per_class")
    base = without_class.removesuffix("_per_image")
    per_class, per_image = without_class != result, base != without_class
    known = (*_OF_PIXELS, *_OVERLAPS, "class_error")
    if base not in known or (per_class and base in _OF_PIXELS) or (per_image and base not in _OVERLAPS):
        raise ValueError(
            f"results must be of {', '.join(known)}, those of classes perhaps with _per_class behind, dice and iou "
            f"also with _per_image or _per_image_per_class. Received: {result!r}."
        )
    return base, per_image, per_class


def _parse(result: str, kind: str) -> tuple[str, str | None]:
    """A result's name and its average."""
    base = next((base for base in sorted(_RESULTS, key=len, reverse=True) if result == base), None)
    average = None
    if base is None:
        base, _, average = next(
            ((b, "_", result[len(b) + 1 :]) for b in _RESULTS if result.startswith(b + "_")), (None, "", None)
        )
    if base is None or average not in (None, *_RESULTS[base]):
        known = ", ".join(_RESULTS)
        raise ValueError(
            f"results must be of {known}, with one of _{', _'.join(AVERAGES)} behind those that are means. "
            f"Received: {result!r}."
        )
    if kind == "binary" and average not in (None, "per_class"):
        raise ValueError(f"A binary result speaks of class 1 and is no mean. Received: {result!r}. Give {base!r}.")
    if average == "samples" and kind != "multi-label":
        raise ValueError(f"A mean over samples is for several labels to a sample. Received: {result!r} for {kind}.")
    if average is None and kind != "binary":
        average = _RESULTS[base][0]
    return base, average


def _check_threshold(threshold: float | Sequence[float], kind: str) -> np.ndarray:
    values = np.asarray(threshold, "float64")
    if values.ndim > 1 or not ((values > 0) & (values < 1)).all():
        raise ValueError(f"threshold must be a probability, or one a label. Received: {threshold}.")
    if kind == "multi-class" and (values != 0.5).any():
        raise ValueError(f"The largest of several classes counts, whatever the threshold. Received: {threshold}.")
    return values


def _weights(sample_weight: Any, leading: tuple[Any, ...]) -> Any:
    """The weight of each sample, flat, given for each or for each of the outer axes."""
    if sample_weight is None:
        return ops.reshape(ops.ones(leading, dtype="float32"), (-1,))
    weights = ops.cast(sample_weight, "float32")
    rank = len(weights.shape)
    if rank > len(leading):
        weights = ops.reshape(weights, leading)
    else:
        weights = ops.reshape(weights, (*ops.shape(weights), *(1,) * (len(leading) - rank)))
    return ops.reshape(ops.broadcast_to(weights, leading), (-1,))


def _ratio(base: str, hits: Any, predicted: Any, actual: Any, total: Any = None) -> Any:
    """A result from sums of hits, of what is predicted and actual, and of all samples."""
    if base in ("f1", "dice"):
        return _divide(2.0 * hits, predicted + actual)
    if base == "iou":
        return _divide(hits, predicted + actual - hits)
    if base == "precision":
        return _divide(hits, predicted)
    if base == "recall":
        return _divide(hits, actual)
    rejected = total - predicted - actual + hits
    if base == "specificity":
        return _divide(rejected, total - actual)
    if base == "accuracy":
        return _divide(hits + rejected, total)
    # Each factor lies between 0 and 1, so that nothing overflows.
    roots = [ops.sqrt(part) for part in (predicted, actual, total - predicted, total - actual)]
    agreeing = _divide(_divide(hits, roots[0]), roots[1]) * _divide(_divide(rejected, roots[2]), roots[3])
    wrong = _divide(_divide(predicted - hits, roots[0]), roots[3]) * _divide(_divide(actual - hits, roots[1]), roots[2])
    return agreeing - wrong


def _curve(base: str, scores: Any) -> Any:
    """Area under the ROC curve or average precision, from histograms (labels, 2, bins)."""
    negatives, positives = scores[:, 0], scores[:, 1]
    if base == "auc":
        below = ops.cumsum(negatives, axis=-1) - 0.5 * negatives
        pairs = ops.sum(positives, axis=-1) * ops.sum(negatives, axis=-1)
        return ops.where(pairs > 0, _divide(ops.sum(positives * below, axis=-1), pairs), np.nan)
    found = ops.flip(ops.cumsum(ops.flip(positives, axis=-1), axis=-1), axis=-1)
    wrong = ops.flip(ops.cumsum(ops.flip(negatives, axis=-1), axis=-1), axis=-1)
    precision = _divide(found, found + wrong)
    return _divide(ops.sum(positives * precision, axis=-1), ops.sum(positives, axis=-1))


def _add_exactly(total: Any, remainder: Any, added: Any) -> None:
    """Adds to a variable, and keeps in another what float32 rounds off."""
    added = added - remainder
    after = total + added
    remainder.assign((after - total) - added)
    total.assign(after)


def _divide(above: Any, below: Any) -> Any:
    """A ratio, zero where there is nothing below the line."""
    return ops.where(below > 0, above / ops.where(below > 0, below, 1.0), 0.0)


def _mean_of_counted(values: Any, counted: Any, nothing: float = 0.0) -> Any:
    """The mean over the first axis of the values that count, and ``nothing`` where none does."""
    number = ops.sum(ops.cast(counted, "float32"), axis=0)
    total = ops.sum(ops.where(counted, values, 0.0), axis=0)
    return ops.where(number > 0, _divide(total, number), nothing)


def _log(probabilities: Any) -> Any:
    return ops.log(ops.maximum(probabilities, 1.2e-38))


def _log_sum_of_others(logits: Any) -> Any:
    """For each class the logarithm of the sum of all other classes' exponentials: p / (1 - p) needs it."""
    without_own = ops.expand_dims(logits, -2) - 1e9 * ops.eye(logits.shape[-1])
    return ops.logsumexp(without_own, axis=-1)
