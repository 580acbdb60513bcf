"""What silencing a neuron or a synapse of a liquid layer does to the predictions for a whole split."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import keras
import numpy as np

from keras_lnn.data.arrays import Split
from keras_lnn.errors import InputError
from keras_lnn.evaluation.checked import CheckedPredictions
from keras_lnn.evaluation.metrics import METRICS, Scored
from keras_lnn.explaining.circuits import Circuit, Part
from keras_lnn.explaining.liquid_layers import (
    choose_liquid_layer,
    copy_model,
    find_liquid_layers,
    predict_after,
    read_before,
    split_before,
)
from keras_lnn.statistics import Estimate
from keras_lnn.statistics.deviations import Units, welch_degrees
from keras_lnn.statistics.measurements import Measurement, measure_loss
from keras_lnn.statistics.paired_tests import Difference, Measured, compare_means, holm
from keras_lnn.tasks.task import Task


@dataclasses.dataclass(frozen=True)
class Effect:
    """What silencing one part of a layer does.

    Args:
        part: The neuron or the synapse.
        metric: The leading metric without the part minus that of the whole model, paired over the samples.
        p: Holm's adjustment of the p-value of that difference for all parts that were measured together.
        change: The mean absolute change of the probabilities, over samples and classes or labels.
        agreement: The share of samples with the same decision.
    """

    part: Part
    metric: Difference
    p: float
    change: Estimate
    agreement: float


@dataclasses.dataclass(frozen=True)
class Silencing:
    """The effects of silencing each of several parts of a layer.

    Args:
        layer: Name of the layer.
        metric: Name of the leading metric.
        whole: That metric of the whole model.
        effects: One for each part, in the order in which they were given.
    """

    layer: str
    metric: str
    whole: Estimate
    effects: tuple[Effect, ...]

    def strongest(self, count: int) -> list[Effect]:
        """Returns the effects that change the probabilities most, the largest first."""
        return sorted(self.effects, key=lambda effect: -effect.change.value)[:count]


class SilencedModel:
    """A copy of a model whose liquid layer can lose neurons and synapses; the model itself is never changed.

    Everything before the layer is computed once for a split.

    Args:
        model: A functional model with a liquid layer.
        split: The samples.
        task: What the model predicts.
        layer: Name of the layer; None for the first liquid one.
        positive_class: One of two classes; the second one if not given.
        thresholds: By which decisions are made; one half if not given.
        confidence: Coverage of the intervals.

    Raises:
        InputError: If the model has no liquid layer or predicts masks.
    """

    def __init__(
        self,
        model: keras.Model,
        split: Split,
        task: Task,
        layer: str | None = None,
        *,
        positive_class: str | None = None,
        thresholds: Sequence[float] | None = None,
        confidence: float = 0.95,
    ) -> None:
        require_probabilities(task)
        place = find_liquid_layers(model).index(choose_liquid_layer(model, layer))
        copy = copy_model(model)
        self.task = task
        self.layer = find_liquid_layers(copy)[place]
        self.circuit = Circuit(self.layer)
        self._parts = split_before(copy, self.layer)
        self._read = read_before(self._parts, split.images)
        self.scale = Scale(split, task, self.predict(), positive_class, confidence, thresholds)

    def predict(self, silenced: Iterable[Part] = ()) -> np.ndarray:
        """Returns the probabilities (samples, classes or labels) without some parts, as float64."""
        with self.circuit.silenced(silenced):
            logits = predict_after(self._parts, self._read)
        return keras.ops.convert_to_numpy(self.task.probabilities(logits)).astype(np.float64)


class Scale:
    """Measures predictions for one split against those of the whole model, on the same samples.

    Args:
        split: The samples.
        task: What is predicted.
        whole: Probabilities of the whole model, (samples, classes or labels).
        positive_class: One of two classes; the second one if not given.
        confidence: Coverage of the intervals.
        thresholds: By which decisions are made; one half if not given.
    """

    def __init__(
        self,
        split: Split,
        task: Task,
        whole: np.ndarray,
        positive_class: str | None = None,
        confidence: float = 0.95,
        thresholds: Sequence[float] | None = None,
    ) -> None:
        self.thresholds = thresholds
        self.task, self.labels, self.whole = task, split.labels, whole
        self.units = Units(len(split), split.groups)
        self.positive_class, self.confidence = positive_class, confidence
        self.decided = np.asarray(task.decide(whole, thresholds))
        self.measured = self.measure(whole, task.leading)

    def measure(self, probabilities: np.ndarray, metric: str) -> Measurement:
        """Returns a metric of probabilities."""
        about = (self.labels, probabilities, self.task.kind, self.task.class_names)
        predictions = CheckedPredictions.checked(*about, self.thresholds, self.positive_class)
        decided = predictions.predicted if predictions.tuned is None else predictions.tuned
        return Scored(predictions, decided, self.units, self.confidence).overall(metric)

    def compare(self, probabilities: np.ndarray, metric: str | None = None) -> Difference:
        """Returns a metric of probabilities (the leading one) minus that of the whole model."""
        metric = self.task.leading if metric is None else metric
        whole = self.measured if metric == self.task.leading else self.measure(self.whole, metric)
        one = self.measure(probabilities, metric)
        apart = one.deviations - whole.deviations
        strata = self.units.strata(self.labels) if metric == "auc" and self.labels.ndim == 1 else None
        degrees = float(max(self.units.count - 1, 1)) if strata is None else welch_degrees(apart, strata)
        first, second = (Measured([found.estimate], found.deviations[None]) for found in (one, whole))
        return compare_means(first, second, degrees=degrees, confidence=self.confidence)

    def change(self, probabilities: np.ndarray) -> Estimate:
        """Returns the mean absolute change of the probabilities."""
        changes = np.abs(probabilities - self.whole).mean(axis=-1)
        return measure_loss(changes, 1.0, bool(changes.any()), self.units, self.confidence).estimate

    def agrees(self, probabilities: np.ndarray) -> np.ndarray:
        """Returns for each sample whether all its decisions are those of the whole model."""
        same = np.asarray(self.task.decide(probabilities, self.thresholds)) == self.decided
        return same.reshape(len(same), -1).all(axis=1)


def measure_silencing(
    silenced: SilencedModel, parts: Sequence[Part] | None = None, progress: Callable[[float], None] | None = None
) -> Silencing:
    """Silences each part of a liquid layer in turn and measures what it changes for a split.

    Args:
        silenced: The model with its split.
        parts: Neurons and synapses; all neurons and all synapses between neurons if not given.
        progress: Called with the fraction done after each part.

    Returns:
        The effect of each part.
    """
    if parts is None:
        parts = [*silenced.circuit.list_neurons(), *silenced.circuit.list_synapses()]
    scale, found = silenced.scale, []
    for done, part in enumerate(parts, start=1):
        probabilities = silenced.predict([part])
        found.append((scale.compare(probabilities), scale.change(probabilities), scale.agrees(probabilities).mean()))
        if progress is not None:
            progress(done / len(parts))
    adjusted = holm([difference.p for difference, _, _ in found])
    effects = [
        Effect(part, difference, float(p), change, float(agreement))
        for part, (difference, change, agreement), p in zip(parts, found, adjusted, strict=True)
    ]
    return Silencing(silenced.layer.name, silenced.task.leading, scale.measured.estimate, tuple(effects))


def require_probabilities(task: Task) -> None:
    """Raises an error for a task whose metrics are not of the probabilities of each sample."""
    if task.leading not in METRICS:
        raise InputError(
            f"What a circuit decides is measured for classes and labels. Received: a {task.kind} task. "
            f"Choose a model that predicts classes."
        )
