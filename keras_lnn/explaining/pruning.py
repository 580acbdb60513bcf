"""The smallest circuit of a liquid layer that still decides as the whole layer does."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_lnn.errors import InputError
from keras_lnn.explaining.circuits import Circuit, Synapse
from keras_lnn.explaining.liquid_layers import choose_liquid_layer, find_liquid_layers
from keras_lnn.explaining.silencing import Scale, SilencedModel
from keras_lnn.layers.wiring import BuiltWiring, serialize_wiring
from keras_lnn.statistics import Estimate
from keras_lnn.statistics.measurements import measure_proportion
from keras_lnn.statistics.paired_tests import Difference


@dataclasses.dataclass(frozen=True)
class Beside:
    """A pruned model beside the whole one, on one split.

    Args:
        agreement: The share of samples with the same decision.
        whole: Metrics of the whole model by name: the leading one and accuracy.
        pruned: The same metrics of the pruned model.
        differences: Pruned minus whole, paired over the samples.
    """

    agreement: Estimate
    whole: dict[str, Estimate]
    pruned: dict[str, Estimate]
    differences: dict[str, Difference]


@dataclasses.dataclass(frozen=True)
class SmallestCircuit:
    """A circuit that was pruned as far as its limits allow.

    Args:
        layer: Name of the layer.
        kept: The synapses that are left, between neurons and from inputs.
        removed: The synapses that were removed, in the order of removal.
        neurons: The neurons that are left: those with at least one synapse.
        wiring: The wiring with the kept synapses; None for a layer without a wiring.
        model: A copy of the model with this circuit, uncompiled, to be saved as any model.
        validation: The pruned model beside the whole one on the samples that it was chosen by.
        rounds: How often all remaining synapses were measured.
    """

    layer: str
    kept: tuple[Synapse, ...]
    removed: tuple[Synapse, ...]
    neurons: tuple[int, ...]
    wiring: BuiltWiring | None
    model: keras.Model
    validation: Beside
    rounds: int


def find_smallest_circuit(
    model: keras.Model,
    silenced: SilencedModel,
    *,
    least_agreement: float = 0.95,
    largest_loss: float | None = None,
    from_inputs: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> SmallestCircuit:
    """Removes synapses as long as the decisions agree with those of the whole model.

    In each round every remaining synapse is silenced alone, besides those removed before. Then as many as possible, at
    most half of those that remain, are removed together, beginning with the one that changes the probabilities least.
    At the end no single synapse can be removed: the circuit is a smallest one, though another choice could be smaller.

    Args:
        model: The whole model, which stays as it is.
        silenced: The model with the validation samples by which synapses are chosen.
        least_agreement: The share of samples whose decision must stay.
        largest_loss: How much the leading metric may fall; None for no limit.
        from_inputs: Whether synapses from the inputs are removed, too, and not only those between neurons.
        progress: Called after each round with the number of synapses that are left and that were there.

    Returns:
        The circuit, the pruned model and its measures on the validation samples. Measure other samples, which chose
        nothing, by :func:`compare_on`.
    """
    if not 0 < least_agreement <= 1:
        raise InputError(f"least_agreement must be above 0 and at most 1. Received: {least_agreement}.")
    circuit, scale = silenced.circuit, silenced.scale
    kept, fixed = _list_removable(circuit, from_inputs)
    count = len(kept) + len(fixed)
    limits = _Limits(silenced, least_agreement, largest_loss)
    removed: list[Synapse] = []
    rounds = 0
    while kept:
        rounds += 1
        found = _find_removable(limits, removed, kept)
        if not found:
            break
        removed += found
        kept = [synapse for synapse in kept if synapse not in set(removed)]
        if progress is not None:
            progress(len(kept), count)
    kept = sorted([*kept, *fixed], key=lambda synapse: (synapse.from_input, synapse))
    neurons = {synapse.target for synapse in kept} | {synapse.source for synapse in kept if not synapse.from_input}
    pruned = prune_model(model, silenced.layer.name, removed)
    return SmallestCircuit(
        silenced.layer.name,
        tuple(kept),
        tuple(removed),
        tuple(sorted(neurons)),
        circuit.prune_wiring(removed),
        pruned,
        measure_beside(scale, silenced.predict(removed)),
        rounds,
    )


@dataclasses.dataclass(frozen=True)
class _Limits:
    """What a circuit must keep of the whole model.

    Args:
        silenced: The whole model with the samples.
        least_agreement: The share of samples whose decision must stay.
        largest_loss: How much the leading metric may fall; None for no limit.
    """

    silenced: SilencedModel
    least_agreement: float
    largest_loss: float | None

    def allow(self, probabilities: np.ndarray) -> bool:
        """Returns whether predictions keep to the limits."""
        scale = self.silenced.scale
        if scale.agrees(probabilities).mean() < self.least_agreement:
            return False
        if self.largest_loss is None:
            return True
        leading = scale.measure(probabilities, self.silenced.task.leading)
        return scale.measured.value - leading.value <= self.largest_loss


def _list_removable(circuit: Circuit, from_inputs: bool) -> tuple[list[Synapse], list[Synapse]]:
    """Returns the synapses that may be removed, and the others."""
    between, others = circuit.list_synapses(), circuit.list_synapses(from_inputs=True)
    if not (between or (from_inputs and others)):
        raise InputError("A circuit needs synapses between neurons. Received: a CfC with a backbone, which has none.")
    return (between + others, []) if from_inputs else (between, others)


def _find_removable(limits: _Limits, removed: Sequence[Synapse], kept: Sequence[Synapse]) -> list[Synapse]:
    """Returns the synapses that can be removed together besides those removed before, at most half of those kept."""
    silenced = limits.silenced
    alone = [silenced.predict([*removed, synapse]) for synapse in kept]
    order = np.argsort([np.abs(found - silenced.scale.whole).mean() for found in alone], kind="stable")
    candidates = [kept[place] for place in order if limits.allow(alone[place])]

    def is_allowed(some: Sequence[Synapse]) -> bool:
        return limits.allow(silenced.predict([*removed, *some]))

    return candidates[: _longest_allowed(candidates, is_allowed, len(kept))]


def _longest_allowed(
    candidates: Sequence[Synapse], is_allowed: Callable[[Sequence[Synapse]], bool], remaining: int
) -> int:
    """Returns how many of the first candidates can be removed together, found by bisection; one alone always can."""
    if not candidates:
        return 0
    allowed, refused = 1, min(len(candidates), max(remaining // 2, 1)) + 1
    while refused - allowed > 1:
        middle = (allowed + refused) // 2
        if is_allowed(candidates[:middle]):
            allowed = middle
        else:
            refused = middle
    return allowed


def measure_beside(scale: Scale, pruned: np.ndarray) -> Beside:
    """Measures predictions of a pruned model beside those of the whole model.

    Args:
        scale: The samples with the predictions of the whole model.
        pruned: Probabilities of the pruned model for the same samples, (samples, classes or labels).
    """
    metrics = list(dict.fromkeys([scale.task.leading, "accuracy"]))
    agrees = scale.agrees(pruned)
    agreement = measure_proportion(agrees, np.ones_like(agrees), scale.units, scale.confidence)
    return Beside(
        agreement.estimate,
        {name: scale.measure(scale.whole, name).estimate for name in metrics},
        {name: scale.measure(pruned, name).estimate for name in metrics},
        {name: scale.compare(pruned, name) for name in metrics},
    )


def prune_model(model: keras.Model, layer: str, removed: Sequence[Synapse]) -> keras.Model:
    """Returns a copy of a model without some synapses of a liquid layer, which can be saved as any model.

    The weights of the synapses are zero. A layer of the model itself also gets the smaller wiring; one within another
    layer keeps its own.

    Args:
        model: The model, which stays as it is.
        layer: Name of the liquid layer.
        removed: The synapses.
    """
    whole = choose_liquid_layer(model, layer)
    wiring = Circuit(whole).prune_wiring(removed)

    def copy_layer(part: Any) -> Any:
        config = part.get_config()
        if part is whole and wiring is not None:
            config["units"] = serialize_wiring(wiring)
        return part.__class__.from_config(config)

    pruned = keras.models.clone_model(model, clone_function=copy_layer)
    pruned.set_weights(model.get_weights())
    found = find_liquid_layers(pruned)[find_liquid_layers(model).index(whole)]
    # The wiring's mask leaves the gates of a CfC, which read all neurons, as they are.
    for variable, value in Circuit(found).without(removed):
        variable.assign(value)
    return pruned


def compare_on(silenced: SilencedModel, circuit: SmallestCircuit) -> Beside:
    """Measures a circuit beside the whole model on other samples than it was chosen by, such as the test split.

    Args:
        silenced: The whole model with these samples.
        circuit: The circuit.
    """
    return measure_beside(silenced.scale, silenced.predict(circuit.removed))
