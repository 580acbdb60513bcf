"""Keras metrics for medical images: vectorised, branch-free, in one file that can be copied into any project."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_lnn")
class MacroAUC(keras.metrics.Metric):
    """Area under the ROC curve from logits, the mean over the classes or labels; streaming.

    The scores of the positives and of the negatives of each class are kept as two histograms, so memory does not grow
    with the data, and no branch depends on it. The bins are even in a squashed log-odds, which keeps apart scores
    near 0 and 1 that bins even in the probability would take for equal. A class that has no positives or no negatives
    is left out of the mean.

    Args:
        multi_label: Whether the targets are 0/1 for each label (batch, labels), else class indices (batch,).
        bins: Of each histogram.
        name: Of the metric.
        **kwargs: Of :class:`keras.metrics.Metric`.

    Example:
        >>> metric = MacroAUC()
        >>> float(metric([0, 0, 1, 1], [[2.0, 0.0], [0.0, 1.0], [1.0, 1.5], [0.0, 3.0]]))
        0.75
    """

    def __init__(self, multi_label: bool = False, bins: int = 2000, name: str = "auc", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.multi_label = multi_label
        self.bins = bins
        self.counts = None

    def build(self, labels: int) -> None:
        """Makes the histograms, once the number of labels is known."""
        self.counts = self.add_variable((labels, 2, self.bins), initializer="zeros", name="counts")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        logits = ops.cast(y_pred, "float32")
        labels = logits.shape[-1]
        if self.counts is None:
            self.build(labels)
        if self.multi_label:
            truth = ops.cast(y_true, "int32")
            log_odds = logits
        else:
            truth = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), labels, dtype="int32")
            log_odds = logits - _log_sum_of_others(logits)
        squashed = log_odds / (4.0 + ops.abs(log_odds))
        position = ops.floor((squashed + 1.0) * (0.5 * self.bins))
        position = ops.cast(ops.clip(position, 0, self.bins - 1), "int32")
        cells = (ops.arange(labels, dtype="int32") * 2 + truth) * self.bins + position
        weights = ops.ones_like(log_odds)
        if sample_weight is not None:
            weights = weights * ops.reshape(ops.cast(sample_weight, "float32"), (-1, 1))
        added = ops.segment_sum(ops.reshape(weights, (-1,)), ops.reshape(cells, (-1,)), labels * 2 * self.bins)
        self.counts.assign_add(ops.reshape(added, (labels, 2, self.bins)))

    def result(self) -> Any:
        negatives, positives = self.counts[:, 0], self.counts[:, 1]
        below = ops.cumsum(negatives, axis=-1) - 0.5 * negatives
        pairs = ops.sum(positives, axis=-1) * ops.sum(negatives, axis=-1)
        area = ops.sum(positives * below, axis=-1) / ops.maximum(pairs, 1.0)
        counted = ops.cast(pairs > 0, area.dtype)
        return ops.sum(area * counted) / ops.maximum(ops.sum(counted), 1.0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "multi_label": self.multi_label, "bins": self.bins}


def _log_sum_of_others(logits: Any) -> Any:
    """For each class the logarithm of the sum of all other classes' exponentials: p / (1 - p) needs it."""
    labels = logits.shape[-1]
    without_own = ops.expand_dims(logits, -2) - 1e9 * ops.eye(labels)
    return ops.logsumexp(without_own, axis=-1)
