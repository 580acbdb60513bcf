"""What the parts of a liquid layer do on validation, its smallest circuit, and that circuit on the test split."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_lnn.data.arrays import Split
from keras_lnn.explaining.liquid_layers import choose_liquid_layer
from keras_lnn.explaining.output_names import name_outputs
from keras_lnn.explaining.pruning import Beside, SmallestCircuit, compare_on, find_smallest_circuit
from keras_lnn.explaining.silencing import SilencedModel, Silencing, measure_silencing
from keras_lnn.saved.predictor import KerasPredictor

# How much of the decisions must stay on validation, and how much of the leading metric may go.
LEAST_AGREEMENT, LARGEST_LOSS = 0.95, 0.02


@dataclasses.dataclass(frozen=True)
class MeasuredCircuit:
    """The parts of a liquid layer and its smallest circuit.

    Args:
        silencing: What silencing each neuron and each synapse between neurons changes on validation.
        circuit: The smallest circuit, chosen on validation.
        test: That circuit beside the whole model on the test samples.
        neurons: Number of neurons of the layer.
        whole_wiring: The wiring of the layer; None for a layer without one.
        outputs: The classes that the outputs of the layer stand for; empty if they stand for none.
        validation_are: What it was chosen on, in words.
        test_are: What it was measured on, in words.
    """

    silencing: Silencing
    circuit: SmallestCircuit
    test: Beside
    neurons: int
    whole_wiring: Any
    outputs: Sequence[str]
    validation_are: str
    test_are: str

    def count_drawn(self) -> int:
        """Returns the number of synapses of the wiring, which are those of its picture."""
        matrices = (self.whole_wiring.adjacency_matrix, self.whole_wiring.sensory_adjacency_matrix)
        return sum(int(np.count_nonzero(matrix)) for matrix in matrices)


def measure_circuit(
    predictor: KerasPredictor,
    validation: Split,
    test: Split,
    *,
    validation_are: str,
    test_are: str,
    progress: Callable[[float], None] | None = None,
) -> MeasuredCircuit:
    """Silences the parts of the first liquid layer, prunes it on validation, and measures the circuit on test.

    Args:
        predictor: A model with a liquid layer that predicts classes.
        validation: The samples that choose.
        test: Other samples.
        validation_are: What the first are, in words.
        test_are: What the others are, in words.
        progress: Called with the fraction done; silencing takes about half of the time.
    """
    model, signature = predictor.model, predictor.signature
    task = signature.get_task()
    about: dict[str, Any] = {"positive_class": signature.positive_class, "thresholds": signature.thresholds}
    silenced = SilencedModel(model, validation, task, **about)

    def report(fraction: float) -> None:
        if progress is not None:
            progress(fraction)

    silencing = measure_silencing(silenced, progress=lambda fraction: report(fraction / 2))
    circuit = find_smallest_circuit(
        model,
        silenced,
        least_agreement=LEAST_AGREEMENT,
        largest_loss=LARGEST_LOSS,
        progress=lambda left, total: report(1 - left / total / 2),
    )
    layer = choose_liquid_layer(model)
    wiring: Any = layer.built_wiring
    # The outputs of a layer within another one are not those of the model.
    is_own = wiring is not None and any(part is layer for part in model.layers)
    outputs = name_outputs(model, layer, wiring.output_dim, signature.class_names) if is_own else ()
    return MeasuredCircuit(
        silencing,
        circuit,
        compare_on(SilencedModel(model, test, task, **about), circuit),
        silenced.circuit.neurons,
        wiring,
        outputs,
        validation_are,
        test_are,
    )
