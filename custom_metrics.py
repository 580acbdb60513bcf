"""Keras metrics for medical images, in one file that imports keras and numpy only and can be copied into any project.

Everything is computed from one confusion state and, for curves, one histogram of scores: an update is a handful of
operations on whole arrays, and nothing branches on data. One :class:`ClassificationMetrics` reports any number of named
results, so that a model with 14 labels updates one state and not fifty::

    model.compile(..., metrics=[ClassificationMetrics("multi-label", ["f1", "auc", "recall_per_class"])])

Each result is also a metric of its own (:class:`F1`, :class:`AUC`, :class:`Dice`, ...). Values are those of
scikit-learn with ``zero_division=0``; AUC and average precision are exact for up to ``exact_samples`` samples.
Segmentation with one class per pixel has a metric of its own, :class:`SegmentationMetrics`, in which a class that is
neither present nor predicted does not count.

A prediction that is NaN, a label that does not exist and a weight that is negative or NaN are errors: an eager update
raises a ValueError, and in compiled code every result that depends on them is NaN until the state is reset. A sample of
weight 0 counts for nothing, whatever its prediction and label are.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

KINDS = ("binary", "multi-class", "multi-label")
AVERAGES = ("macro", "micro", "weighted", "samples", "per_class")
_MEANS = ("macro", "micro", "weighted", "samples", "per_class")
_MEANS_OVER_CLASSES = ("macro", "micro", "weighted", "per_class")


class _Result(NamedTuple):
    """A result: how it may be averaged, and its formula if it follows from the counts of one class."""

    averages: tuple[str | None, ...]  # the default first; None means a single number without an average
    formula: Callable[["_Counts"], Any] | None = None


# A result is one entry here, and its formula, unless it needs the scores or the samples.
_RESULTS: dict[str, _Result] = {
    "f1": _Result(_MEANS, lambda counts: _divide(2.0 * counts.hits, counts.predicted + counts.actual)),
    "precision": _Result(_MEANS, lambda counts: _divide(counts.hits, counts.predicted)),
    "recall": _Result(_MEANS, lambda counts: _divide(counts.hits, counts.actual)),
    "dice": _Result(_MEANS, lambda counts: _divide(2.0 * counts.hits, counts.predicted + counts.actual)),
    "iou": _Result(_MEANS, lambda counts: _divide(counts.hits, counts.predicted + counts.actual - counts.hits)),
    "specificity": _Result(_MEANS_OVER_CLASSES, lambda counts: _divide(counts.rejected, counts.total - counts.actual)),
    "accuracy": _Result((None, "per_class"), lambda counts: _divide(counts.hits + counts.rejected, counts.total)),
    "subset_accuracy": _Result((None,)),
    "balanced_accuracy": _Result((None, "per_class")),
    "matthews_correlation": _Result((None, "per_class"), lambda counts: _matthews_correlation(*counts)),
    "auc": _Result(_MEANS_OVER_CLASSES),
    "average_precision": _Result(_MEANS_OVER_CLASSES),
}
_CURVES = ("auc", "average_precision")
# Between these distances from the mean score, the bins of a histogram have the same relative width.
_NEAREST, _FARTHEST = 1e-8, 1e8
# The largest error by which rounding, including that of bfloat16, can take a probability beyond 0 and 1.
_ROUNDING = 0.01
# The segmentation results: over all pixels, and for each class.
_OF_PIXELS = ("accuracy", "pixel_error")
_OVERLAPS = ("dice", "iou")


class _Counts(NamedTuple):
    """The numbers of correctly predicted, predicted and actual samples of each class, and of all samples."""

    hits: Any
    predicted: Any
    actual: Any
    total: Any = None

    @property
    def rejected(self) -> Any:
        """Returns the samples that are neither of the class nor predicted as it."""
        return self.total - self.predicted - self.actual + self.hits


@keras.saving.register_keras_serializable(package="keras_lnn")
class ClassificationMetrics(keras.metrics.Metric):
    """Computes named results of predictions from one state, updated batch by batch.

    The name of a result may include how classes or labels are averaged: ``f1`` (the macro mean), ``f1_micro``,
    ``f1_weighted`` (by support), ``f1_samples`` (over samples, for several labels), ``f1_per_class`` (one result per
    class, ``f1_NAME``). The results are ``f1``, ``precision``, ``recall``, ``dice`` (the same as ``f1``), ``iou``,
    ``specificity``, ``accuracy`` (for several labels their mean), ``subset_accuracy`` (all labels of a sample are
    right), ``balanced_accuracy``, ``matthews_correlation``, ``auc`` and ``average_precision``.

    For ``binary``, a result without an average refers to class 1. A ratio with denominator 0 is 0, and so is the
    average precision of a label without positives; an AUC without positives or negatives is NaN and is left out of the
    macro and the weighted mean. Before the first update, and after a reset, every AUC is therefore NaN and every other
    result is 0; results per class are left out as long as the number of classes is not known.

    AUC and average precision are exact as long as no more than ``exact_samples`` samples have been added since the
    reset; beyond, and in compiled code (see :meth:`result`), they come from a histogram of scores, in which a positive
    and a negative in the same bin count as a tie. No histogram has one error bound for all data, but the bound for the
    data at hand is known, and :meth:`curve_bounds` returns it. A bin of the default 2,000 is as wide as 3.7% of its
    distance from the mean score of the first batch, for distances from 1e-8 to 1e8, so neither the scale of logits nor
    a constant added to them matters: the AUC of 10,000 to 100,000 normal scores with a standard deviation of 1e-4 to
    1e4 was off by less than 0.0005, and its bound was less than 0.004 (0.004 and 0.02 for the average precision).

    Args:
        kind: ``binary`` (one sigmoid output or two softmax outputs), ``multi-class`` (softmax; targets are indices or
            one-hot) or ``multi-label`` (sigmoids; targets are 0/1 for each label). Axes between the batch and the
            classes, as in segmentation, count as more samples.
        results: Names of results.
        threshold: Probability above which a class or label is predicted, one number or one per label; not used for
            ``multi-class``, where the largest probability counts.
        from_logits: Whether predictions are logits, not probabilities.
        class_names: Names of the classes in results per class; their indices if not given.
        bins: Number of bins of each histogram of scores.
        exact_samples: Number of samples up to which AUC and average precision are exact: the metric keeps that many
            scores and labels and copies them in each update. Give the size of the validation split; 0 keeps none. Each
            device keeps its own, so give 0 under ``tf.distribute``.
        keep_confusion: Whether to enable :meth:`confusion_matrix`; for several classes it is counted in addition to the
            other state, by one matrix product per batch.
        name: Name of the metric.
        **kwargs: Arguments of :class:`keras.metrics.Metric`.

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
        bins: int = 2000,
        exact_samples: int = 4096,
        keep_confusion: bool = False,
        name: str = "classification",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}. Received: {kind!r}.")
        self.kind = kind
        self.results = list(results)
        self._parsed = [_parse(result, kind) for result in self.results]
        # False stands for a curve of each label by itself, True for one curve of all labels pooled.
        self._poolings = sorted({average == "micro" for base, average in self._parsed if base in _CURVES})
        self.threshold = threshold
        self._thresholds = _check_threshold(threshold, kind)
        self.from_logits = from_logits
        self.class_names = None if class_names is None else list(class_names)
        if bins < 2:
            raise ValueError(f"bins must be at least 2. Received: {bins}.")
        self.bins = bins
        if exact_samples < 0:
            raise ValueError(f"exact_samples must be at least 0, which keeps none. Received: {exact_samples}.")
        self.exact_samples = exact_samples
        self.keep_confusion = keep_confusion
        self.counts: Any = None

    def build(self, labels: int) -> None:
        """Creates the state, once the number of classes or labels is known."""
        for what, given in (("class_names", self.class_names), ("threshold", self._thresholds)):
            known = None if given is None or np.ndim(given) == 0 else len(given)
            expected = 2 if what == "class_names" and self.kind == "binary" else labels
            if known not in (None, expected):
                raise ValueError(
                    f"{what} must have one value per class or label, {expected} in all. Received: {known}."
                )
        # The hits, predicted and actual counts of each class, then the number of samples, then the confusion matrix;
        # and what rounding has lost from them so far.
        self._counts_cells = self.keep_confusion and self.kind == "multi-class"
        size = 3 * labels + 1 + (labels**2 if self._counts_cells else 0)
        self.counts = self.add_variable((size,), initializer="zeros", name="counts")
        self.remainder = self.add_variable((size,), initializer="zeros", name="remainder")
        self._labels = labels
        self._by_sample = [base for base, average in self._parsed if average == "samples" or base == "subset_accuracy"]
        if self._by_sample:
            self.by_sample = self.add_variable((len(self._by_sample),), initializer="zeros", name="by_sample")
        if self._poolings:
            # Pooled labels have a histogram of their own, around the mean of all labels.
            self.scores = [
                self.add_variable((1 if pooled else labels, 2, self.bins), initializer="zeros", name="scores")
                for pooled in self._poolings
            ]
            self.center = self.add_variable((labels + 1,), initializer="zeros", name="center")
            self.seen = self.add_variable((), initializer="zeros", name="seen")
            # For the newest samples, the score of each label, then its weight, negative where the label is absent.
            shape = (self.exact_samples, 2 * labels)
            self.kept: Any = self.add_variable(shape, initializer="zeros", name="kept") if self.exact_samples else None

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch.

        Raises:
            ValueError: In an eager call, if a prediction is NaN or not a probability, a label does not exist or a
                weight is negative or not finite. In compiled code the results that depend on it become NaN instead.
        """
        y_pred = ops.convert_to_tensor(y_pred)
        truth, is_label, predictions = self._read(y_true, y_pred)
        if self.counts is None:
            self.build(truth.shape[-1])
        leading = ops.shape(y_pred)
        weights = _weights(sample_weight, leading[:-1] if len(leading) > 1 else leading)
        usable, is_weight = ops.logical_and(is_label, self._are_predictions(predictions)), None
        if sample_weight is not None:
            is_weight = _are_weights(weights)[:, None]
            usable = ops.logical_and(ops.logical_or(usable, ops.equal(weights, 0.0)[:, None]), is_weight)
        if _is_false(ops.all(usable)):
            self._explain(y_true, predictions, weights, is_label, usable, is_weight)
        # For each label 0, or NaN, which spreads to every result that the label contributes to; and for the samples.
        poison = ops.where(ops.all(usable, axis=0), 0.0, np.nan)
        sample_poison = ops.zeros((1,)) if is_weight is None else ops.where(ops.all(is_weight, axis=0), 0.0, np.nan)
        self._count(truth, predictions, weights, poison, sample_poison)

    def _count(self, truth: Any, predictions: Any, weights: Any, poison: Any, sample_poison: Any) -> None:
        """Adds a checked batch to the state."""
        predicted, scores = self._decide(predictions)
        hits = truth * predicted
        parts = ops.concatenate([hits, predicted, truth, ops.ones_like(truth[:, :1])], axis=1)
        added = ops.matmul(weights[None], parts)[0]
        any_poison = ops.sum(poison)
        label_poison = ops.broadcast_to(poison, (self._labels,))
        spread = [label_poison, label_poison, label_poison, sample_poison]
        if self._counts_cells:
            cells = ops.matmul(ops.transpose(truth * weights[:, None]), predicted)
            added = ops.concatenate([added, ops.reshape(cells, (-1,))])
            spread.append(ops.broadcast_to(any_poison, (self._labels**2,)))
        # Pixel counts of whole images exceed the 24 bits of float32.
        _add_exactly(self.counts, self.remainder, added + ops.concatenate(spread))
        if self._by_sample:
            sums = [ops.sum(part, axis=1) for part in (hits, predicted, truth)]
            rows = [
                ops.cast(ops.all(ops.equal(predicted, truth), axis=1), "float32")
                if base == "subset_accuracy"
                else _ratio(base, *sums)
                for base in self._by_sample
            ]
            self.by_sample.assign_add(ops.matmul(ops.stack(rows), weights[:, None])[:, 0] + any_poison)
        if self._poolings:
            self._add_scores(scores, truth, weights)

    def result(self, exact: bool | None = None) -> Any:
        """Returns all results by name.

        Args:
            exact: Whether AUC and average precision are computed from the stored scores, if those are complete, or from
                the histogram. Sorting the scores takes time that the steps of ``fit`` need not spend, since their
                results are not kept. If not given, they are therefore exact where the call is eager, as at the end of
                each epoch of ``fit`` and in ``evaluate``, and come from the histogram in compiled code.
        """
        if self.counts is None:
            return self._new_one().result(exact)
        return self._results(self._split_counts(), self._tables(exact))

    def curve_bounds(self) -> dict[str, Any]:
        """Returns the largest possible error of each AUC and average precision among the results, by its name.

        It is 0 where :meth:`result` is exact. An AUC from the histogram is off by at most half of the share of all
        pairs of a positive and a negative that are in one bin; an average precision by at most the difference that the
        order within each bin can make.

        Example:
            >>> metric = AUC("binary", bins=2, exact_samples=0)
            >>> metric.update_state([0, 1, 1, 0], [[0.1], [0.2], [0.8], [0.9]])
            >>> float(metric.result()), {name: float(value) for name, value in metric.curve_bounds().items()}
            (0.5, {'auc': 0.25})
        """
        if self.counts is None:
            return self._new_one().curve_bounds()
        found = {}
        for base, average in self._parsed:
            if base in _CURVES:
                bounds = _curve_bound(base, self.scores[self._poolings.index(average == "micro")])
                none = ops.where(ops.isnan(bounds), np.nan, 0.0)
                bounds = ops.where(self.seen <= float(self.exact_samples), none, bounds)
                found[base, average] = self._over_labels(base, bounds, average, self._split_counts().actual)
        return self._named(found)

    def confusion_matrix(self) -> Any:
        """Returns the confusion matrix, (truth, predicted), or one per label, (labels, 2, 2), for ``multi-label``.

        Example:
            >>> metric = ClassificationMetrics("multi-class", ["accuracy"], keep_confusion=True)
            >>> metric.update_state([0, 2, 2], [[0.8, 0.1, 0.1], [0.1, 0.2, 0.7], [0.6, 0.1, 0.3]])
            >>> keras.ops.convert_to_numpy(metric.confusion_matrix()).astype(int).tolist()
            [[1, 0, 0], [0, 0, 0], [1, 0, 1]]
        """
        if not self.keep_confusion or self.counts is None:
            missing = "no sample" if self.keep_confusion else "keep_confusion=False"
            raise ValueError(f"A confusion matrix needs samples that were counted for it. Received: {missing}.")
        if self._counts_cells:
            return ops.reshape(self.counts[3 * self._labels + 1 :], (self._labels, self._labels))
        hits, predicted, actual, total = self._split_counts()
        absent = ops.stack([total - predicted - actual + hits, predicted - hits], axis=-1)
        cells = ops.stack([absent, ops.stack([actual - hits, hits], axis=-1)], axis=-2)
        return cells[0] if self.kind == "binary" else cells

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that recreate the metric."""
        threshold = self.threshold
        if not isinstance(threshold, (int, float)) and np.ndim(threshold) != 0:
            threshold = [float(value) for value in threshold]
        return {
            **super().get_config(),
            "kind": self.kind,
            "results": self.results,
            "threshold": threshold,
            "from_logits": self.from_logits,
            "class_names": self.class_names,
            "bins": self.bins,
            "exact_samples": self.exact_samples,
            "keep_confusion": self.keep_confusion,
        }

    def _new_one(self) -> "ClassificationMetrics":
        """Returns a metric like this one with a state and without data."""
        fresh = type(self).from_config(self.get_config())
        lists = (given for given in (self.class_names, self._thresholds) if given is not None and np.ndim(given))
        known = 1 if self.kind == "binary" else next(map(len, lists), None)
        fresh.build(known or 1)
        if known is None:
            kept = [index for index, (_, average) in enumerate(fresh._parsed) if average != "per_class"]
            fresh.results, fresh._parsed = ([entries[i] for i in kept] for entries in (fresh.results, fresh._parsed))
        return fresh

    def _named(self, found: dict[tuple[str, str | None], Any]) -> dict[str, Any]:
        """Returns the values by the names of their results, and results per class by the names of the classes."""
        named: dict[str, Any] = {}
        for result, (base, average) in zip(self.results, self._parsed, strict=True):
            if (base, average) not in found:
                continue
            value = found[base, average]
            if average != "per_class":
                named[result] = value
                continue
            for index in range(value.shape[0]):
                # Of two classes with one output, the second class is meant.
                place = index if self.kind != "binary" else 1
                name = place if self.class_names is None else self.class_names[place]
                named[f"{base}_{name}"] = value[index]
        return named

    def _read(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        """Returns targets as 0/1 (samples, labels), whether each exists, and predictions (samples, outputs)."""
        predictions = ops.cast(y_pred, "float32")
        outputs = predictions.shape[-1] if len(predictions.shape) > 1 else 1
        predictions = ops.reshape(predictions, (-1, outputs))
        truth = ops.convert_to_tensor(y_true)
        if self.kind == "binary":
            if outputs > 2:
                raise ValueError(f"Predictions of kind binary have 1 or 2 outputs. Received: {outputs}.")
            # Two columns are one-hot, so the second one suffices.
            one_hot = len(truth.shape) == len(y_pred.shape) > 1 and truth.shape[-1] == 2
            truth, is_label = _read_zeros_and_ones(truth, 2 if one_hot else 1)
            if one_hot:
                is_label = ops.all(is_label, axis=1, keepdims=True)
                is_label = ops.logical_and(is_label, ops.not_equal(truth[:, :1], truth[:, 1:]))
            return truth[:, -1:], is_label, predictions
        is_index = self.kind == "multi-class" and not (
            len(truth.shape) == len(y_pred.shape) and truth.shape[-1] == outputs
        )
        if is_index:
            return *_read_indices(ops.reshape(truth, (-1,)), outputs), predictions
        truth, is_label = _read_zeros_and_ones(truth, outputs)
        if self.kind == "multi-class":
            is_label = ops.all(is_label, axis=1, keepdims=True)
            is_label = ops.logical_and(is_label, ops.equal(ops.sum(truth, axis=1, keepdims=True), 1.0))
        return truth, is_label, predictions

    def _are_predictions(self, predictions: Any) -> Any:
        """Returns which predictions can be scored, (samples, labels) or (samples, 1)."""
        # The largest class is defined for any numbers.
        if self.from_logits or (self.kind == "multi-class" and not self._poolings):
            found = ops.logical_not(ops.isnan(predictions))
        else:
            found = ops.abs(predictions - 0.5) <= 0.5 + _ROUNDING
        return found if self.kind == "multi-label" else ops.all(found, axis=1, keepdims=True)

    def _explain(self, y_true: Any, predictions: Any, weights: Any, is_label: Any, usable: Any, is_weight: Any) -> None:
        """Raises an error that says what is wrong with a batch."""
        if is_weight is not None:
            _require("Weights of samples must be finite and at least 0", is_weight, weights, "Correct sample_weight")
        # A sample of weight 0 is usable, whatever its label is.
        several = f"whole numbers from 0 to {predictions.shape[-1] - 1}, or one-hot"
        rule = f"Labels must be {several if self.kind == 'multi-class' else '0 or 1'}"
        remedy = "Correct them, or give such samples a weight of 0"
        _require(rule, ops.logical_or(usable, is_label), ops.convert_to_tensor(y_true), remedy)
        rule, remedy = "Predictions must be numbers", "Find out why the model gives NaN; lower its learning rate"
        if not self.from_logits:
            rule, remedy = f"{rule}, probabilities from 0 to 1", f"Give from_logits=True for logits. {remedy}"
        _require(rule, usable, predictions, remedy)

    def _decide(self, predictions: Any) -> tuple[Any, Any]:
        """Returns the decisions, 0/1 (samples, labels), and a logit or probability of each class or label."""
        outputs = predictions.shape[-1]
        if self.kind == "multi-class":
            return ops.one_hot(ops.argmax(predictions, axis=-1), outputs, dtype="float32"), predictions
        scores = predictions
        if self.kind == "binary" and outputs == 2:
            scores = predictions[:, 1:] - predictions[:, :1] if self.from_logits else predictions[:, 1:]
        thresholds = self._thresholds
        if self.from_logits:
            thresholds = np.log(thresholds) - np.log1p(-thresholds)
        return ops.cast(scores > thresholds.astype("float32"), "float32"), scores

    def _add_scores(self, scores: Any, truth: Any, weights: Any) -> None:
        """Adds scores to the histogram, and stores them in place of the oldest ones."""
        log_odds = self._rank(scores, ops) if self.from_logits else _log(scores) - _log(1.0 - scores)
        mean = ops.concatenate([ops.mean(log_odds, axis=0), ops.mean(log_odds)[None]])
        mean = ops.where(ops.isfinite(mean), mean, 0.0)
        center = ops.where(self.seen > 0, ops.convert_to_tensor(self.center), mean)
        self.center.assign(center)
        label_weights = ops.broadcast_to(weights[:, None], ops.shape(truth))
        for pooled, histograms in zip(self._poolings, self.scores, strict=True):
            if pooled:
                parts = [ops.reshape(part, (-1, 1)) for part in (log_odds - center[-1], truth, label_weights)]
            else:
                parts = [log_odds - center[:-1], truth, label_weights]
            histograms.assign_add(self._histograms(*parts))
        self.seen.assign_add(ops.cast(ops.shape(scores)[0], "float32"))
        if self.exact_samples:
            rows = ops.concatenate([scores, (2.0 * truth - 1.0) * weights[:, None]], axis=1)
            newest = ops.concatenate([ops.convert_to_tensor(self.kept), rows])[-self.exact_samples :]
            self.kept.assign(newest)

    def _rank(self, scores: Any, xp: Any) -> Any:
        """Returns numbers that rank samples as the probability of each class or label does, (samples, labels)."""
        return _log_odds_of_classes(scores, xp) if self.from_logits and self.kind == "multi-class" else scores

    def _histograms(self, distances: Any, truth: Any, weights: Any) -> Any:
        """Returns the weights of negatives and positives of each class by score, (labels, 2, bins).

        The bins are even in the logarithm of a score's distance from the center, which gives them the same relative
        width at any scale.
        """
        labels = truth.shape[-1]
        logarithm = ops.log1p(ops.abs(distances) * (1.0 / _NEAREST)) * (0.5 * self.bins / np.log(_FARTHEST / _NEAREST))
        position = ops.sign(distances) * logarithm + 0.5 * self.bins
        # A score that is NaN gets a bin too, because its label is NaN or its weight 0.
        position = ops.where(position > 0, ops.minimum(position, self.bins - 1.0), 0.0)
        cells = (ops.arange(labels, dtype="int32") * 2 + ops.cast(truth, "int32")) * self.bins
        cells = cells + ops.cast(position, "int32")
        count = labels * 2 * self.bins
        added = ops.segment_sum(ops.reshape(weights, (-1,)), ops.reshape(cells, (-1,)), count)
        return ops.reshape(added, (labels, 2, self.bins))

    def _tables(self, exact: bool | None) -> dict[bool, tuple[Any, Any]]:
        """Returns the data of curves, by whether all labels are pooled: the histogram, and the exact table or None.

        In an eager call the exact table is a NumPy array, in whose float64 equal areas are equal numbers.
        """
        tables = dict(zip(self._poolings, self.scores, strict=True)) if self._poolings else {}
        binned: dict[bool, tuple[Any, Any]] = {pooled: (table, None) for pooled, table in tables.items()}
        if not tables or not self.exact_samples or exact is False:
            return binned
        kept: Any = _to_numpy(self.kept)
        seen: Any = _to_numpy(self.seen)
        xp: Any = np
        if kept is None:
            kept, seen, xp = ops.convert_to_tensor(self.kept), 0 if exact else np.inf, ops
        if seen > self.exact_samples:
            return binned
        kept = kept[np.any(kept[:, self._labels :], axis=1)].astype("float64") if xp is np else kept
        scores, weights = self._rank(kept[:, : self._labels], xp), kept[:, self._labels :]
        return {pooled: (table, _sort_scores(scores, weights, pooled, xp)) for pooled, table in tables.items()}

    def _curve_values(self, base: str, table: Any, exact: Any) -> Any:
        """Returns AUC or average precision of each label, or of all labels pooled."""
        if isinstance(exact, np.ndarray):
            return ops.convert_to_tensor(_curve(base, exact, np).astype("float32"))
        values = _curve(base, table)
        if exact is None:
            return values
        return ops.where(self.seen <= float(self.exact_samples), _curve(base, exact), values)

    def _split_counts(self) -> _Counts:
        """Returns the counts of each class, and the number of samples."""
        counts = ops.reshape(self.counts[: 3 * self._labels], (3, self._labels))
        return _Counts(counts[0], counts[1], counts[2], self.counts[3 * self._labels])

    def _results(self, counts: _Counts, tables: dict[bool, tuple[Any, Any]]) -> dict[str, Any]:
        """Returns all results by name; the counts are split only once, since each operation makes compiling longer."""
        return self._named({parsed: self._compute(*parsed, counts, tables) for parsed in self._parsed})

    def _compute(
        self, base: str, average: str | None, counts: _Counts, tables: dict[bool, tuple[Any, Any]] | None = None
    ) -> Any:
        hits, predicted, actual, total = counts
        if average == "samples" or base == "subset_accuracy":
            return _divide(self.by_sample[self._by_sample.index(base)], total)
        if base in _CURVES:
            if tables is None:
                raise ValueError(f"{base} needs the scores. Received: only the counts of each class. Give tables.")
            return self._over_labels(base, self._curve_values(base, *tables[average == "micro"]), average, actual)
        if average == "micro":
            return _ratio(base, ops.sum(hits), ops.sum(predicted), ops.sum(actual), self._labels * total)
        if average is None and self.kind == "multi-class":
            return self._of_all_classes(base, hits, predicted, actual, total)
        if base == "balanced_accuracy":
            sides = ops.stack([_ratio(name, hits, predicted, actual, total) for name in ("recall", "specificity")])
            values = _mean_of_counted(sides, _is_counted(ops.stack([actual, total - actual])))
        else:
            values = _ratio(base, hits, predicted, actual, total)
        return self._over_labels(base, values, average, actual)

    def _over_labels(self, base: str, values: Any, average: str | None, actual: Any) -> Any:
        """Returns a result from one value per label; labels for which it is not defined do not count in a mean."""
        if average == "micro":
            return ops.where(ops.isnan(ops.sum(actual)), np.nan, values[0])
        if base in _CURVES:
            values = ops.where(ops.isnan(actual), np.nan, values)
        if average == "per_class":
            return values
        is_defined = ops.logical_or(ops.logical_not(ops.isnan(values)), ops.isnan(actual))
        counted = ops.where(is_defined, actual if average == "weighted" else ops.ones_like(actual), 0.0)
        return _mean_of_counted(values, counted, np.nan if base == "auc" else 0.0)

    def _of_all_classes(self, base: str, hits: Any, predicted: Any, actual: Any, total: Any) -> Any:
        """Returns the ``multi-class`` results that are not means over one class against the others."""
        right = ops.sum(hits)
        if base == "accuracy":
            return _divide(right, total)
        if base == "balanced_accuracy":
            return _mean_of_counted(_divide(hits, actual), _is_counted(actual))
        covariance = hits * (total - predicted - actual + hits) - (predicted - hits) * (actual - hits)
        covariance = ops.sum(_divide(_divide(covariance, total), total))
        spread = [ops.sum(_divide(part, total) * _divide(total - part, total)) for part in (predicted, actual)]
        return _divide(covariance, ops.sqrt(spread[0] * spread[1]))


class _Single(ClassificationMetrics):
    """One result as a metric of its own; ``average`` says how classes are averaged, None as in the list of results.

    The other arguments are those of :class:`ClassificationMetrics`. A result per class is a tensor (classes,).
    """

    base = ""

    def __init__(self, kind: str, average: str | None = None, *, name: str | None = None, **kwargs: Any) -> None:
        result = self.base if average is None else f"{self.base}_{average}"
        super().__init__(kind, [result], name=name or self.base, **kwargs)
        self.average = average

    def result(self, exact: bool | None = None) -> Any:
        """Returns the value, or one per class, which is empty as long as the number of classes is not known.

        Args:
            exact: As in :meth:`ClassificationMetrics.result`.
        """
        if self.counts is None:
            fresh = self._new_one()
            return fresh.result(exact) if fresh._parsed else ops.zeros((0,))
        return self._compute(*self._parsed[0], self._split_counts(), self._tables(exact))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that recreate the metric."""
        config = super().get_config()
        del config["results"]
        return {**config, "average": self.average}


@keras.saving.register_keras_serializable(package="keras_lnn")
class F1(_Single):
    """Harmonic mean of precision and recall: 2 hits / (predicted + actual)."""

    base = "f1"


@keras.saving.register_keras_serializable(package="keras_lnn")
class Precision(_Single):
    """Share of the predicted positives that are right."""

    base = "precision"


@keras.saving.register_keras_serializable(package="keras_lnn")
class Recall(_Single):
    """Share of the actual positives that are predicted; also called sensitivity."""

    base = "recall"


@keras.saving.register_keras_serializable(package="keras_lnn")
class Specificity(_Single):
    """Share of the actual negatives that are predicted negative."""

    base = "specificity"


@keras.saving.register_keras_serializable(package="keras_lnn")
class Accuracy(_Single):
    """Share of predictions that are right; for several labels per sample, the mean over the labels."""

    base = "accuracy"


@keras.saving.register_keras_serializable(package="keras_lnn")
class SubsetAccuracy(_Single):
    """Share of samples whose labels are all right."""

    base = "subset_accuracy"


@keras.saving.register_keras_serializable(package="keras_lnn")
class BalancedAccuracy(_Single):
    """Mean of the recall of each class that occurs."""

    base = "balanced_accuracy"


@keras.saving.register_keras_serializable(package="keras_lnn")
class MatthewsCorrelation(_Single):
    """Correlation of prediction and truth, 0 by chance and 1 at best."""

    base = "matthews_correlation"


@keras.saving.register_keras_serializable(package="keras_lnn")
class AUC(_Single):
    """Area under the ROC curve: the probability that a positive has a higher score than a negative."""

    base = "auc"


@keras.saving.register_keras_serializable(package="keras_lnn")
class AveragePrecision(_Single):
    """Mean of the precision over the recall, taken in steps."""

    base = "average_precision"


@keras.saving.register_keras_serializable(package="keras_lnn")
class Dice(_Single):
    """Overlap of true and predicted pixels, 2 common / (predicted + actual), over all images together."""

    base = "dice"


@keras.saving.register_keras_serializable(package="keras_lnn")
class IoU(_Single):
    """Overlap of true and predicted pixels, common / union, over all images together."""

    base = "iou"


@keras.saving.register_keras_serializable(package="keras_lnn")
class SegmentationMetrics(keras.metrics.Metric):
    """Computes named segmentation results, for pixels with one class each, from one state, updated batch by batch.

    The results are ``accuracy`` and ``pixel_error`` (shares of right and of wrong pixels), and for each class against
    the others ``dice``, ``iou`` and ``class_error`` (the share of pixels that belong to the class in the truth or in
    the prediction but not in both). Such a result is the mean over the classes except the background, computed from all
    pixels of all images together. With the ending ``_per_class`` there is one result per class, ``dice_NAME``. With
    ``_per_image``, Dice or IoU is computed for each image (or volume) and class, then averaged over the images, then
    over the classes; both endings together, ``dice_per_image_per_class``, give ``dice_per_image_NAME``. An error is the
    same either way, since all images have the same number of pixels.

    Where both truth and prediction lack a class, the overlap is not defined: Dice and IoU of such an image do not count
    in the mean over images, and those of a class that all images lack are NaN and do not count in the mean over
    classes, which is NaN if no class is left. If only one of the two has the class, the overlap is 0. (In
    :class:`ClassificationMetrics` a ratio with denominator 0 is 0.) Before the first update, and after a reset, every
    Dice and IoU is therefore NaN and every share of pixels 0; results per class are left out as long as the number of
    classes is not known.

    A pixel that is NaN for one class, or whose class does not exist, makes all results NaN (see the top of this file).

    Args:
        results: Names of results.
        background: Index of the class that is left out of means and of results per class; None for no background.
        class_names: Names of the classes in results per class, including the background's; their indices if not given.
        name: Name of the metric.
        **kwargs: Arguments of :class:`keras.metrics.Metric`.

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
        self.counts: Any = None

    def build(self, classes: int) -> None:
        """Creates the state, once the number of classes is known."""
        if self.class_names is not None and len(self.class_names) != classes:
            raise ValueError(
                f"class_names must have one name per class, {classes} in all. Received: {len(self.class_names)}."
            )
        if self.background is not None and not 0 <= self.background < classes:
            raise ValueError(f"background must be a class from 0 to {classes - 1}. Received: {self.background}.")
        # For each class the hits, predicted and actual pixels, the sums over images of Dice and IoU, and the number of
        # images that have it; then the number of all pixels. And what rounding has lost from them so far.
        self.counts = self.add_variable((6 * classes + 1,), initializer="zeros", name="counts")
        self.remainder = self.add_variable((6 * classes + 1,), initializer="zeros", name="remainder")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch.

        Args:
            y_true: Class indices (batch, ...) or (batch, ..., 1), or one-hot (batch, ..., classes).
            y_pred: Logits or probabilities (batch, ..., classes); the class with the largest is predicted.
            sample_weight: Weight of each image, (batch,).

        Raises:
            ValueError: In an eager call, if a prediction is NaN, a class does not exist or a weight is negative or not
                finite. In compiled code all results become NaN instead.
        """
        y_pred, truth = ops.convert_to_tensor(y_pred), ops.convert_to_tensor(y_true)
        classes = y_pred.shape[-1]
        if self.counts is None:
            self.build(classes)
        batch = ops.shape(y_pred)[0]
        weights = ops.ones((batch,), "float32") if sample_weight is None else ops.cast(sample_weight, "float32")
        if len(weights.shape) != 1:
            raise ValueError(f"sample_weight must have one weight per image. Received: shape {tuple(weights.shape)}.")
        if len(truth.shape) == len(y_pred.shape) and truth.shape[-1] == classes > 1:
            truth, is_label = _read_zeros_and_ones(truth, classes)
            is_label = ops.logical_and(ops.all(is_label, axis=1), ops.equal(ops.sum(truth, axis=1), 1.0))
        else:
            truth, is_label = _read_indices(ops.reshape(truth, (-1,)), classes)
        truth = ops.reshape(truth, (batch, -1, classes))
        poison = self._check(y_true, y_pred, weights, ops.all(ops.reshape(is_label, (batch, -1)), axis=1))
        predicted = ops.reshape(ops.argmax(y_pred, axis=-1), (batch, -1))
        predicted = ops.one_hot(predicted, classes, dtype="float32")
        # Counts per image, (batch, classes): whole numbers, exact up to 2 ** 24 pixels.
        hits, found, actual = (ops.sum(part, axis=1) for part in (truth * predicted, predicted, truth))
        is_there = ops.cast(found + actual > 0, "float32")
        overlaps = [_ratio(base, hits, found, actual) for base in _OVERLAPS]
        rows = ops.concatenate(
            [hits, found, actual, *overlaps, is_there, ops.sum(actual, axis=1, keepdims=True)], axis=1
        )
        _add_exactly(self.counts, self.remainder, ops.matmul(weights[None], rows)[0] + poison)

    def _check(self, y_true: Any, y_pred: Any, weights: Any, is_label: Any) -> Any:
        """Returns 0, or NaN where something cannot be scored, which an eager call reports as an error."""
        is_number = ops.logical_not(ops.any(ops.isnan(ops.reshape(y_pred, (ops.shape(y_pred)[0], -1))), axis=1))
        is_weight = _are_weights(weights)
        is_ignored = ops.equal(weights, 0.0)
        usable = ops.logical_and(ops.logical_or(ops.logical_and(is_label, is_number), is_ignored), is_weight)
        if _is_false(ops.all(usable)):
            _require("Weights of images must be finite and at least 0", is_weight, weights, "Correct sample_weight")
            rule, truth = f"Masks must hold classes from 0 to {y_pred.shape[-1] - 1}", ops.convert_to_tensor(y_true)
            _require(rule, ops.logical_or(is_label, is_ignored), truth, "Correct them, or give their images no weight")
            remedy = "Find out why the model gives NaN; lower its learning rate"
            _require("Predictions must be numbers", usable, y_pred, remedy)
        return ops.where(ops.all(usable), 0.0, np.nan)

    def result(self) -> Any:
        """Returns all results by name."""
        if self.counts is None:
            return self._new_one().result()
        found: dict[str, Any] = {}
        for result, (base, per_image, per_class) in zip(self.results, self._parsed, strict=True):
            values = self._compute(base, per_image)
            if base in _OF_PIXELS:
                found[result] = values
                continue
            kept = [index for index in range(values.shape[0]) if index != self.background]
            if not per_class:
                values = ops.take(values, kept, axis=0)
                is_there = ops.where(ops.isnan(values), 0.0, 1.0)
                found[result] = _mean_of_counted(values, is_there, nothing=np.nan)
                continue
            for index in kept:
                name = index if self.class_names is None else self.class_names[index]
                found[f"{result.removesuffix('_per_class')}_{name}"] = values[index]
        return found

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that recreate the metric."""
        own = {"results": self.results, "background": self.background, "class_names": self.class_names}
        return {**super().get_config(), **own}

    def _new_one(self) -> "SegmentationMetrics":
        """Returns a metric like this one with a state and without data."""
        fresh = type(self).from_config(self.get_config())
        fresh.build(len(self.class_names) if self.class_names else (self.background or 0) + 2)
        if not self.class_names:
            kept = [index for index, (_, _, per_class) in enumerate(fresh._parsed) if not per_class]
            fresh.results, fresh._parsed = ([entries[i] for i in kept] for entries in (fresh.results, fresh._parsed))
        return fresh

    def _compute(self, base: str, per_image: bool) -> Any:
        """Returns a result over all pixels, or one per class."""
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
    """Returns a result's name, whether it is computed per image, and whether there is one per class."""
    without_class = result.removesuffix("_per_class")
    base = without_class.removesuffix("_per_image")
    per_class, per_image = without_class != result, base != without_class
    known = (*_OF_PIXELS, *_OVERLAPS, "class_error")
    if base not in known or (per_class and base in _OF_PIXELS) or (per_image and base not in _OVERLAPS):
        raise ValueError(
            f"results must be of {', '.join(known)}, those of classes perhaps followed by _per_class, dice and iou "
            f"also with _per_image or _per_image_per_class. Received: {result!r}."
        )
    return base, per_image, per_class


def _parse(result: str, kind: str) -> tuple[str, str | None]:
    """Returns a result's name and its average."""
    base = next((base for base in sorted(_RESULTS, key=len, reverse=True) if result == base), None)
    average = None
    if base is None:
        base, _, average = next(
            ((b, "_", result[len(b) + 1 :]) for b in _RESULTS if result.startswith(b + "_")), (None, "", None)
        )
    if base is None or average not in (None, *_RESULTS[base].averages):
        known = ", ".join(_RESULTS)
        raise ValueError(
            f"results must be of {known}, with one of _{', _'.join(AVERAGES)} after those that are means. "
            f"Received: {result!r}."
        )
    if kind == "binary" and average not in (None, "per_class"):
        raise ValueError(f"A binary result is that of class 1 and not a mean. Received: {result!r}. Give {base!r}.")
    if average == "samples" and kind != "multi-label":
        raise ValueError(f"A mean over samples is for several labels per sample. Received: {result!r} for {kind}.")
    if average is None and kind != "binary":
        average = _RESULTS[base].averages[0]
    return base, average


def _check_threshold(threshold: float | Sequence[float], kind: str) -> np.ndarray:
    values = np.asarray(threshold, "float64")
    if values.ndim > 1 or not ((values > 0) & (values < 1)).all():
        raise ValueError(f"threshold must be a probability, or one per label. Received: {threshold}.")
    if kind == "multi-class" and (values != 0.5).any():
        raise ValueError(f"The largest of several classes counts, whatever the threshold. Received: {threshold}.")
    return values


def _weights(sample_weight: Any, leading: tuple[Any, ...]) -> Any:
    """Returns the flattened weight of each sample, which may be given for the outer axes only."""
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
    """Returns a result from the sums of hits, predicted, actual and all samples."""
    formula = _RESULTS[base].formula
    if formula is None:
        raise ValueError(f"{base} does not follow from the counts of one class.")
    return formula(_Counts(hits, predicted, actual, total))


def _matthews_correlation(hits: Any, predicted: Any, actual: Any, total: Any) -> Any:
    # Each factor lies between 0 and 1, so that nothing overflows; rounding can make a difference slightly negative.
    rejected = total - predicted - actual + hits
    roots = [ops.where(part < 0, 0.0, part) for part in (predicted, actual, total - predicted, total - actual)]
    roots = [ops.sqrt(part) for part in roots]
    agreeing = _divide(_divide(hits, roots[0]), roots[1]) * _divide(_divide(rejected, roots[2]), roots[3])
    wrong = _divide(_divide(predicted - hits, roots[0]), roots[3]) * _divide(_divide(actual - hits, roots[1]), roots[2])
    return agreeing - wrong


def _read_zeros_and_ones(truth: Any, columns: int) -> tuple[Any, Any]:
    """Returns targets as 0/1 (samples, columns), and whether each of them is 0 or 1."""
    given = ops.cast(ops.reshape(truth, (-1, columns)), "float32")
    read = ops.cast(ops.equal(given, 1.0), "float32")
    return read, ops.equal(read, given)


def _read_indices(truth: Any, classes: int) -> tuple[Any, Any]:
    """Returns indices (samples,) as one-hot (samples, classes), and whether each of them is a class (samples, 1)."""
    index = ops.cast(truth, "int32")
    is_class = ops.logical_and(index >= 0, index < classes)
    is_class = ops.logical_and(is_class, ops.equal(ops.cast(index, truth.dtype), truth))
    return ops.one_hot(index, classes, dtype="float32"), is_class[:, None]


def _are_weights(weights: Any) -> Any:
    """Returns which weights are finite and not negative."""
    return ops.logical_and(weights >= 0, weights < np.inf)


def _to_numpy(value: Any) -> np.ndarray | None:
    """Returns the value as an array, or None in code that is being compiled, where it is not known yet."""
    try:
        return np.asarray(ops.convert_to_numpy(ops.convert_to_tensor(value)))
    except (TypeError, ValueError, NotImplementedError):
        return None


def _is_false(value: Any) -> bool:
    """Returns whether a value is known, as in an eager call, and false."""
    found = _to_numpy(value)
    return found is not None and not found


def _require(rule: str, holds: Any, values: Any, remedy: str) -> None:
    """Raises an error if a rule does not hold for all samples, with the values of the first one."""
    holds = ops.convert_to_numpy(holds)
    holds = holds.reshape(len(holds), -1).all(axis=1)
    if not holds.all():
        values = ops.convert_to_numpy(values).reshape(len(holds), -1)[~holds][0]
        shown = f"{values[:8].tolist()}{' and more' if len(values) > 8 else ''}"
        count = np.count_nonzero(~holds)
        raise ValueError(f"{rule}. Received: {shown}, the first of {count} such of {len(holds)}. {remedy}.")


def _sort_scores(scores: Any, weights: Any, pooled: bool, xp: Any) -> Any:
    """Returns a histogram with one bin per distinct score, (labels, 2, samples), or one of all labels pooled.

    Args:
        scores: Score of each sample and label, (samples, labels).
        weights: Weights in the same shape, negative where the label is absent.
        pooled: Whether all labels are treated as one.
        xp: ``numpy`` or ``keras.ops``.
    """
    labels, scores, signed = scores.shape[1], xp.transpose(scores), xp.transpose(weights)
    if pooled:
        labels, scores, signed = 1, xp.reshape(scores, (1, -1)), xp.reshape(signed, (1, -1))
    order = xp.argsort(scores, axis=-1)
    scores, signed = (xp.take_along_axis(values, order, axis=-1) for values in (scores, signed))
    is_higher = xp.concatenate([xp.zeros_like(scores[:, :1], dtype="bool"), scores[:, 1:] > scores[:, :-1]], axis=1)
    samples = scores.shape[1]
    cells = xp.cumsum(is_higher, axis=-1, dtype="int32") + xp.arange(labels, dtype="int32")[:, None] * (2 * samples)
    cells = xp.reshape(xp.where(signed > 0, cells + samples, cells), (-1,))
    weights, count = xp.reshape(xp.abs(signed), (-1,)), 2 * labels * samples
    added = np.bincount(cells, weights, count) if xp is np else ops.segment_sum(weights, cells, count)
    return xp.reshape(added, (labels, 2, samples))


def _curve(base: str, scores: Any, xp: Any = ops) -> Any:
    """Returns the area under the ROC curve or the average precision, from histograms (labels, 2, bins)."""
    negatives, positives = scores[:, 0], scores[:, 1]
    if base == "auc":
        below = xp.cumsum(negatives, axis=-1) - 0.5 * negatives
        pairs = xp.sum(positives, axis=-1) * xp.sum(negatives, axis=-1)
        return xp.where(pairs > 0, _divide(xp.sum(positives * below, axis=-1), pairs, xp), np.nan)
    found, wrong = (_sum_from_above(part, xp) for part in (positives, negatives))
    precision = _divide(found, found + wrong, xp)
    return _divide(xp.sum(positives * precision, axis=-1), xp.sum(positives, axis=-1), xp)


def _curve_bound(base: str, scores: Any) -> Any:
    """Returns the largest possible error of a curve's value, since the order within each bin is not known."""
    negatives, positives = scores[:, 0], scores[:, 1]
    if base == "auc":
        pairs = ops.sum(positives, axis=-1) * ops.sum(negatives, axis=-1)
        return ops.where(pairs > 0, _divide(0.5 * ops.sum(positives * negatives, axis=-1), pairs), np.nan)
    found, wrong = (_sum_from_above(part, ops) for part in (positives, negatives))
    precision = _divide(found, found + wrong)
    # At best all positives of a bin come before its negatives, at worst after them.
    best, worst = _divide(found, found + wrong - negatives), _divide(found - positives, found - positives + wrong)
    off = ops.maximum(best - precision, precision - worst)
    return _divide(ops.sum(positives * off, axis=-1), ops.sum(positives, axis=-1))


def _sum_from_above(values: Any, xp: Any) -> Any:
    """Returns for each bin the sum of its own value and those of all higher bins."""
    return xp.flip(xp.cumsum(xp.flip(values, axis=-1), axis=-1), axis=-1)


def _add_exactly(total: Any, remainder: Any, added: Any) -> None:
    """Adds to a variable, and keeps the rounding error of float32 in another one."""
    added = added - remainder
    after = total + added
    remainder.assign((after - total) - added)
    total.assign(after)


def _divide(above: Any, below: Any, xp: Any = ops) -> Any:
    """Returns a ratio: zero where the denominator is zero, and NaN where either is NaN."""
    is_nothing = below <= 0
    return xp.where(is_nothing, 0.0, above / xp.where(is_nothing, 1.0, below))


def _is_counted(amount: Any) -> Any:
    """Returns 1 where an amount is positive or NaN, and 0 otherwise."""
    return ops.where(amount <= 0, 0.0, 1.0)


def _mean_of_counted(values: Any, counted: Any, nothing: float = 0.0) -> Any:
    """Returns the weighted mean over the first axis, or ``nothing`` where all weights are zero."""
    number = ops.sum(counted, axis=0)
    total = ops.sum(ops.where(ops.equal(counted, 0.0), 0.0, values * counted), axis=0)
    return ops.where(ops.equal(number, 0.0), nothing, _divide(total, number))


def _log(probabilities: Any) -> Any:
    return ops.log(ops.maximum(probabilities, 1.2e-38))


def _log_odds_of_classes(logits: Any, xp: Any) -> Any:
    """Returns the log odds of each class up to a constant, as precise as the logits at any scale.

    With m, the largest logit of the others, it is (x - m) - log(mean of exp(other - m)).
    """
    others = max(logits.shape[-1] - 1, 1)
    logits = xp.clip(logits, -1e30, 1e30)
    is_largest = xp.arange(logits.shape[-1]) == xp.argmax(logits, axis=-1)[:, None]
    largest = xp.max(logits, axis=-1, keepdims=True)
    second = xp.max(xp.where(is_largest, -3e38, logits), axis=-1, keepdims=True)
    powers = xp.expm1(logits - largest)
    rest = (xp.sum(powers, axis=-1, keepdims=True) - powers) / others
    powers_of_others = xp.where(is_largest, 0.0, xp.expm1(xp.minimum(logits - second, 0.0)))
    rest_of_largest = xp.sum(powers_of_others, axis=-1, keepdims=True) / others
    return logits - xp.where(is_largest, second, largest) - xp.log1p(xp.where(is_largest, rest_of_largest, rest))
