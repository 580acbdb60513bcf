"""The four kinds of task: how many outputs, which loss, which probabilities, which metrics; decided here alone."""

import dataclasses
from typing import Any

import numpy as np

from keras_lnn.errors import InputError

TASKS = ("binary", "multi-class", "ordinal", "multi-label")
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
    MedMNIST's own evaluation does; several labels to an image are one sigmoid each. Models give logits.

    Args:
        kind: ``binary``, ``multi-class``, ``ordinal`` or ``multi-label``.
        class_names: One name a class or label.
    """

    kind: str
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.kind not in TASKS:
            raise InputError(
                f"A network's task must be {', '.join(TASKS[:-1])} or {TASKS[-1]}. Received: {self.kind}."
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

    def loss(self, name: str = "cross-entropy", weights: np.ndarray | None = None) -> Any:
        """The training loss, from logits.

        ``bce-dice``, ``focal-tversky``, ``soft-f1`` and ``mean-squared-error`` are of the probabilities that the model
        answers by: the softmax of classes, the sigmoid of each label. The published BCE-Dice of two classes took the
        sigmoid of each logit instead, which leaves the sum of the two probabilities open.

        Args:
            name: ``cross-entropy``, ``focal``, for several labels ``asymmetric``, or a loss of probabilities.
            weights: How much each class counts, or for several labels a positive of each; of two classes and more,
                cross-entropy and focal take theirs from ``fit``.
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
            return losses.FocalCrossentropy()
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True, name="loss")

    def metrics(self) -> list[Any]:
        """What is shown and kept each epoch, from one state."""
        from keras_lnn.score import ScoredMetrics

        kind = "multi-class" if self.kind == "ordinal" else self.kind
        return [ScoredMetrics(kind, ["accuracy", "f1", "auc"], from_logits=True, keep_confusion=True)]

    def probabilities(self, logits: Any) -> Any:
        """Logits as probabilities, in float32 whatever the precision of the model; tensors of any backend."""
        from keras import ops

        logits = ops.cast(logits, "float32")
        return ops.sigmoid(logits) if self.multi_label else ops.softmax(logits, axis=-1)

    def balanced_weights(
        self, labels: np.ndarray, loss: str = "cross-entropy"
    ) -> tuple[dict[int, float] | None, np.ndarray | None]:
        """Weights under which rare classes count as much as frequent ones.

        Args:
            labels: Of the training split.
            loss: Which is to be weighed.

        Returns:
            Class weights for ``fit``, which multiplies the loss of each sample, and weights for :meth:`loss`, where a
            batch has one loss or a sample many labels; one of the two is None.
        """
        if self.multi_label:
            positives = labels.sum(axis=0)
            return None, (len(labels) - positives) / np.maximum(positives, 1)
        counts = np.bincount(labels, minlength=self.outputs)
        weights = len(labels) / (self.outputs * np.maximum(counts, 1))
        return (None, weights) if loss in _PROBABILITY_LOSSES else (dict(enumerate(weights.tolist())), None)
