"""The four kinds of task: how many outputs, which loss, which probabilities, which metrics; decided here alone."""

import dataclasses
from typing import Any

import numpy as np

from keras_lnn.errors import InputError

TASKS = ("binary", "multi-class", "ordinal", "multi-label")


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

    def loss(self, name: str = "cross-entropy", positive_weights: np.ndarray | None = None) -> Any:
        """The training loss, from logits.

        Args:
            name: ``cross-entropy``, ``focal`` or, for several labels, ``asymmetric``.
            positive_weights: For several labels, how much a positive of each label counts.
        """
        import keras

        from keras_lnn.losses import ASYMMETRIC, FOCAL, FocalCrossentropy, MultiLabelCrossentropy

        if self.multi_label:
            shape = {"cross-entropy": (), "focal": FOCAL, "asymmetric": ASYMMETRIC}[name]
            weights = None if positive_weights is None else positive_weights.tolist()
            return MultiLabelCrossentropy(*shape, positive_weights=weights)
        if name == "asymmetric":
            raise InputError(
                f"The asymmetric loss is for several labels to an image. Received: a {self.kind} task. "
                f"Choose --loss focal or cross-entropy."
            )
        if name == "focal":
            return FocalCrossentropy()
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True, name="loss")

    def metrics(self) -> list[Any]:
        """What is shown and kept each epoch, from one state."""
        from custom_metrics import ClassificationMetrics

        kind = "multi-class" if self.kind == "ordinal" else self.kind
        return [ClassificationMetrics(kind, ["accuracy", "f1", "auc"], from_logits=True)]

    def probabilities(self, logits: Any) -> Any:
        """Logits as probabilities, in float32 whatever the precision of the model; tensors of any backend."""
        from keras import ops

        logits = ops.cast(logits, "float32")
        return ops.sigmoid(logits) if self.multi_label else ops.softmax(logits, axis=-1)

    def balanced_weights(self, labels: np.ndarray) -> tuple[dict[int, float] | None, np.ndarray | None]:
        """Weights under which rare classes count as much as frequent ones.

        Args:
            labels: Of the training split.

        Returns:
            Class weights for ``fit`` and positive weights for :meth:`loss`; one of the two is None.
        """
        if self.multi_label:
            positives = labels.sum(axis=0)
            return None, (len(labels) - positives) / np.maximum(positives, 1)
        counts = np.bincount(labels, minlength=self.outputs)
        return {index: len(labels) / (self.outputs * max(count, 1)) for index, count in enumerate(counts)}, None
