"""How far an exported model is from its Keras model, measured on the same samples."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from keras_lnn.benchmarking.outputs import ModelOutputs
from keras_lnn.comparing.same_split import measure_on_split
from keras_lnn.data.arrays import Split, name_samples
from keras_lnn.errors import InputError
from keras_lnn.evaluation.metrics import metric_label
from keras_lnn.saved.signature import Signature
from keras_lnn.statistics import Estimate
from keras_lnn.statistics.paired_tests import Difference, Measured, compare_means
from keras_lnn.statistics.texts import interval


@dataclasses.dataclass(frozen=True)
class Fidelity:
    """What an exported model loses.

    Args:
        metric: The leading metric of the task.
        reference: The metric of the Keras model.
        exported: The metric of the exported model.
        loss: The first minus the second, with the interval of a paired test, by patient where patients are known.
        changed: The share of decisions that differ: of samples, or of pixels.
        largest: The largest difference of probabilities.
        samples: The number of samples and what they are, such as ``78 images``.
        unit: What a decision is about, in the plural: ``decisions`` or ``pixels``.
    """

    metric: str
    reference: Estimate
    exported: Estimate
    loss: Difference
    changed: float
    largest: float
    samples: str
    unit: str = "decisions"

    def describe(self) -> str:
        """Returns the loss in a sentence without a full stop."""
        return (
            f"{metric_label(self.metric)} {interval(self.exported)} in place of {interval(self.reference)} on"
            f" {self.samples} of the validation split: loss {self.describe_loss()}; {self.changed:.1%} of"
            f" {self.unit} change, probabilities by at most {self.largest:.2g}"
        )

    def describe_loss(self) -> str:
        """Returns the loss with its interval."""
        known = not math.isnan(self.loss.low)
        ends = f" (95% interval {self.loss.low:+.4f} to {self.loss.high:+.4f})" if known else ""
        return f"{self.loss.value:+.4f}{ends}"

    def require_at_most(self, limit: float) -> None:
        """Checks that the loss is small enough.

        Args:
            limit: The largest loss.
        """
        label = metric_label(self.metric)
        if math.isnan(self.loss.value):
            raise InputError(
                f"The loss of a lower precision must be measured. Received: {label}, which is not defined on"
                f" {self.samples} of the validation split. Leave out --quantize."
            )
        if self.loss.value > limit:
            raise InputError(
                f"A lower precision may lose at most {limit:g} of {label}. Received: a loss of {self.describe_loss()}"
                f" on {self.samples} of the validation split. Raise --max-loss, choose another precision, or leave out"
                " --quantize."
            )


def measure_fidelity(signature: Signature, split: Split, reference: ModelOutputs, exported: ModelOutputs) -> Fidelity:
    """Compares an exported model with its Keras model.

    Args:
        signature: The signature of the model.
        split: The samples.
        reference: What the Keras model predicts for them.
        exported: What the exported model predicts for them.
    """
    task = signature.get_task()
    (one, other), degrees_of = measure_on_split(task, split, [reference.compact, exported.compact])
    degrees = degrees_of(one.deviations - other.deviations)
    changed = _decide(signature, reference) != _decide(signature, exported)
    of_pixels = split.labels_are_pixels
    # A maximum would pass over a model that gives no number.
    differences = np.nan_to_num(np.abs(reference.probabilities - exported.probabilities), nan=1.0)
    return Fidelity(
        metric=task.leading,
        reference=one.estimate,
        exported=other.estimate,
        loss=compare_means(Measured.of([one]), Measured.of([other]), degrees=degrees),
        changed=float(changed.mean() if of_pixels else changed.reshape(len(changed), -1).any(axis=1).mean()),
        largest=float(differences.max(initial=0.0)),
        samples=f"{len(split):,} {name_samples(split.images)}",
        unit="pixels" if of_pixels else "decisions",
    )


def _decide(signature: Signature, found: ModelOutputs) -> np.ndarray:
    """Returns the decision for each sample or pixel."""
    if not np.issubdtype(found.compact.dtype, np.floating):
        return found.compact
    return np.asarray(signature.get_task().decide(found.compact, signature.thresholds))
