"""Whether an export in a lower precision keeps enough of its Keras model's quality."""

from __future__ import annotations

from keras_lnn.benchmarking.fidelity import Fidelity, measure_fidelity
from keras_lnn.benchmarking.outputs import ModelOutputs
from keras_lnn.data.arrays import Split
from keras_lnn.saved.predictor import Predictor


class PrecisionJudge:
    """Measures what an export loses, and refuses it where that is too much; called with the exported model.

    Args:
        reference: The Keras model.
        split: The samples to measure on.
        max_loss: The largest loss of the leading metric.

    Attributes:
        found: What was measured last; None before.
    """

    def __init__(self, reference: Predictor, split: Split, max_loss: float) -> None:
        self.reference = reference
        self.split = split
        self.max_loss = max_loss
        self.found: Fidelity | None = None

    def __call__(self, exported: Predictor) -> str:
        """Returns the loss in words."""
        outputs = [ModelOutputs.of(one, self.split.images) for one in (self.reference, exported)]
        self.found = measure_fidelity(self.reference.signature, self.split, outputs[0], outputs[1])
        self.found.require_at_most(self.max_loss)
        return self.found.describe()
