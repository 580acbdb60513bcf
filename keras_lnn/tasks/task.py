"""The kinds of task: how many outputs, which loss, which probabilities, which metrics; decided here alone."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_lnn.errors import InputError

# Of whole images; and a class for each pixel.
TASKS = ("binary", "multi-class", "ordinal", "multi-label")
SEGMENTATION = "segmentation"
# How far probabilities may lie beside 0 to 1: half precision sums and rounds to a hair over one.
PROBABILITY_TOLERANCE = 1e-3
# A background of nine tenths would leave a rare class a weight of hundreds, and its few pixels nearly all of the loss.
MOST_PIXEL_WEIGHT = 10.0
# An update of the metrics copies all scores that are kept: so many, 8 MiB with their labels, take it 1 to 2 ms.
MOST_KEPT_SCORES = 2**20
# Losses of probabilities, with their classes in keras_lnn.losses; these weigh the classes themselves.
_PROBABILITY_LOSSES = {
    "bce-dice": "BinaryCrossentropyDice",
    "focal-tversky": "FocalTversky",
    "soft-f1": "SoftF1",
    "mean-squared-error": "ProbabilitySquaredError",
}


@dataclasses.dataclass(frozen=True)
class Task:
    """What a network has to answer.

    Two classes are two softmax outputs, as in the published networks; ordinal labels are treated as classes, as
    MedMNIST's own evaluation does; several labels to an image are one sigmoid each. A segmentation is a softmax for
    each pixel, with the background as class 0. Models give logits.

    Args:
        kind: ``binary``, ``multi-class``, ``ordinal``, ``multi-label`` or ``segmentation``.
        class_names: One name a class or label.
    """

    kind: str
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.kind not in (*TASKS, SEGMENTATION):
            raise InputError(
                f"A network's task must be {', '.join(TASKS)} or {SEGMENTATION}. Received: {self.kind}."
                " Choose data of one of these."
            )

    @property
    def outputs(self) -> int:
        """How many logits a model gives."""
        return len(self.class_names)

    @property
    def multi_label(self) -> bool:
        """Whether an image can carry several labels."""
        return self.kind == "multi-label"

    @property
    def has_thresholds(self) -> bool:
        """Whether decisions are by thresholds that can be chosen: of two classes and of each label."""
        return self.kind == "binary" or self.multi_label

    @property
    def has_masks(self) -> bool:
        """Whether each pixel has a class."""
        return self.kind == SEGMENTATION

    @property
    def answers(self) -> str:
        """What a network must answer by: ``classes``, or ``masks``."""
        return "masks" if self.has_masks else "classes"

    def loss(self, name: str = "cross-entropy", weights: np.ndarray | None = None) -> Any:
        """The training loss, from logits.

        ``bce-dice``, ``focal-tversky``, ``soft-f1`` and ``mean-squared-error`` are of the probabilities that the model
        answers by: the softmax of classes, the sigmoid of each label. The published BCE-Dice of two classes took the
        sigmoid of each logit instead, which leaves the sum of the two probabilities open.

        Args:
            name: ``cross-entropy``, ``focal``, for several labels ``asymmetric``, or a loss of probabilities.
            weights: How much each class counts, or for several labels a positive of each; of two classes and more to
                an image, cross-entropy and focal take theirs from ``fit``.
        """
        import keras

        from keras_lnn import losses

        weights = None if weights is None else weights.tolist()
        if name in _PROBABILITY_LOSSES:
            return getattr(losses, _PROBABILITY_LOSSES[name])("sigmoid" if self.multi_label else "softmax", weights)
        if self.multi_label:
            shape = {"cross-entropy": (), "focal": losses.FOCAL, "asymmetric": losses.ASYMMETRIC}[name]
            return losses.MultiLabelCrossentropy(*shape, positive_weights=weights)
        if name == "asymmetric":
            raise InputError(
                f"The asymmetric loss is for several labels to an image. Received: a {self.kind} task. "
                f"Choose --loss focal or cross-entropy."
            )
        if name == "focal":
            return losses.FocalCrossentropy(class_weights=weights)
        if weights is not None:
            return losses.FocalCrossentropy(0.0, weights)
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True, name="loss")

    def metrics(self, validation_samples: int = 4096, training_samples: int = 0) -> list[Any]:
        """What is shown and kept each epoch, from one state.

        The AUC of validation, which chooses the best epoch, is exact for up to a million scores (samples times outputs,
        one for two classes); that of training for up to an eighth of it. Beyond, it comes from a histogram.

        Args:
            validation_samples: Size of the validation split.
            training_samples: Size of the training split.
        """
        from custom_metrics import SegmentationMetrics
        from keras_lnn.tasks.score import ScoredMetrics

        if self.has_masks:
            results = ["accuracy", "pixel_error", "dice", "iou", "dice_per_class"]
            return [_built(SegmentationMetrics(results, class_names=self.class_names), len(self.class_names))]
        kind = "multi-class" if self.kind == "ordinal" else self.kind
        labels = 1 if kind == "binary" else self.outputs
        most = MOST_KEPT_SCORES // labels
        limits = (validation_samples, most), (training_samples, most // 8)
        exact = max((samples for samples, limit in limits if samples <= limit), default=0)
        results = ["accuracy", "f1", "auc"]
        metric = ScoredMetrics(kind, results, from_logits=True, keep_confusion=True, exact_samples=exact)
        return [_built(metric, labels)]

    def probabilities(self, logits: Any) -> Any:
        """Logits as probabilities, in float32 whatever the precision of the model; tensors of any backend."""
        from keras import ops

        logits = ops.cast(logits, "float32")
        return ops.sigmoid(logits) if self.multi_label else ops.softmax(logits, axis=-1)

    def positive_index(self, positive_class: str | None = None) -> int:
        """Returns which of two classes sensitivity, precision and F1 speak of: the second one where none is named."""
        return 1 if positive_class is None else self.class_names.index(positive_class)

    def decide(self, probabilities: Any, thresholds: Sequence[float] | None = None) -> Any:
        """Returns what is predicted: the one place where probabilities become classes.

        Of two classes the second one is predicted where its probability lies above its threshold. With one half this
        is the rule of MedMNIST's evaluator: two columns that sum to one less a rounding can both lie at or below one
        half. Of several classes the likeliest is predicted, the first of equally likely ones. A label is predicted
        where its probability lies above its threshold. NaN lies above nothing.

        Args:
            probabilities: (..., classes or labels), a NumPy array or a tensor, also within a graph.
            thresholds: One for each of two classes, which sum to one, or for each of several labels; one half if not
                given. More than two classes have none.

        Returns:
            Class indices (...), or for several labels whether each is predicted (..., labels).
        """
        operations = _operations_for(probabilities)
        if self.has_thresholds:
            levels = np.full(self.outputs, 0.5) if thresholds is None else np.asarray(thresholds, np.float64)
            # In float32 a threshold could move across the probability that it was chosen beside.
            above = operations.array(probabilities, dtype="float64") > levels
            return above if self.multi_label else operations.where(above[..., 1], 1, 0)
        # What argmax gives for equal values and for NaN depends on the library and the device.
        known = operations.where(operations.isnan(probabilities), -1.0, probabilities)
        largest = operations.max(known, axis=-1, keepdims=True)
        places = operations.where(known == largest, operations.arange(self.outputs), self.outputs)
        return operations.min(places, axis=-1)

    def balanced_weights(
        self, labels: np.ndarray, loss: str = "cross-entropy"
    ) -> tuple[dict[int, float] | None, np.ndarray | None]:
        """Weights under which rare classes count as much as frequent ones.

        A class of masks is as frequent as its pixels, and none counts more than ten times as much as without weights.

        Args:
            labels: Of the training split.
            loss: Which is to be weighed.

        Returns:
            Class weights for ``fit``, which multiplies the loss of each sample, and weights for :meth:`loss`, where a
            batch has one loss or a sample many labels or pixels; one of the two is None.
        """
        if self.multi_label:
            positives = labels.sum(axis=0)
            return None, (len(labels) - positives) / np.maximum(positives, 1)
        counts = np.bincount(labels.reshape(-1), minlength=self.outputs)
        weights = labels.size / (self.outputs * np.maximum(counts, 1))
        if self.has_masks:
            return None, np.minimum(weights, MOST_PIXEL_WEIGHT)
        return (None, weights) if loss in _PROBABILITY_LOSSES else (dict(enumerate(weights.tolist())), None)


def require_positive_class(name: str | None, task: Task) -> None:
    """Checks that what sensitivity is to speak of is one of two classes; None is the second one."""
    if name is not None and (task.kind != "binary" or name not in task.class_names):
        raise InputError(
            f"--positive-class must be one of two classes. Received: {name} for a {task.kind} task with "
            f"{' | '.join(task.class_names[:4])}. Name one of two classes, or leave it out."
        )


def _operations_for(probabilities: Any) -> Any:
    """Returns numpy or keras.ops: both have the operations of a decision, so that arrays and tensors go by one rule."""
    if isinstance(probabilities, np.ndarray):
        return np
    from keras import ops

    return ops


def _built(metric: Any, labels: int) -> Any:
    """Returns the metric with its variables: TensorFlow traces a step twice in which variables are made."""
    metric.build(labels)
    return metric
