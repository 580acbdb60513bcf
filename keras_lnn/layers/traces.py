"""The inner values of a liquid layer at each step, as NumPy arrays to be read and drawn."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from keras import ops


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trace:
    """What each neuron and each synapse of a liquid layer did, in the order of the steps of the inputs.

    Neurons are numbered as in the wiring. Where a step is masked nothing is computed: its states are those of the step
    before, and all other values are nan.

    Args:
        states: The state (LTC: the potential) of each neuron after each step, (batch, steps, neurons).
        outputs: The outputs of the layer after each step, (batch, steps, outputs).
        time_constants: How slowly each neuron moves at each step, in the unit of the elapsed time (or in steps),
            (batch, steps, neurons). For LTC it is c / (g + sum_j w_j sigmoid(...)), with all synapses from inputs and
            neurons, at the potentials after the step (Hasani et al. 2021). For CfC it is 1 / abs(t_a), the time in
            which the log odds of the gate change by one, or 1 / (abs(w_tau) + abs(f_1)) in mode ``pure``.
        synapses: The source and the target of each synapse between neurons, (synapses, 2).
        currents: What each of them carried at each step, (batch, steps, synapses); positive values raise the target.
            For LTC it is the current w sigmoid(...) (E - v), at the potentials after the step. For CfC it is the
            source's part of both heads before tanh, each weighted as the gate weights the head.
        sensory_synapses: The input and the target of each synapse from the inputs, (synapses, 2).
        sensory_currents: What each of them carried, (batch, steps, synapses).
        inputs: Number of inputs of each step.
        types: ``inter``, ``command`` or ``motor`` for each neuron.
        gate: For CfC except in mode ``pure``, how far the second head has replaced the first, sigmoid(t_a t + t_b).
        first: For CfC the first head, (batch, steps, neurons), with its tanh in the version ``paper``.
        second: The second head; mode ``pure`` has none.
        memory: With mixed memory, the content of the LSTM's cells after each step, (batch, steps, cells).
    """

    states: np.ndarray
    outputs: np.ndarray
    time_constants: np.ndarray
    synapses: np.ndarray
    currents: np.ndarray
    sensory_synapses: np.ndarray
    sensory_currents: np.ndarray
    inputs: int
    types: tuple[str, ...]
    gate: np.ndarray | None = None
    first: np.ndarray | None = None
    second: np.ndarray | None = None
    memory: np.ndarray | None = None

    def mean_flows(self, sample: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Returns the mean magnitude of what each synapse carried in one sequence, over the steps that are not masked.

        Args:
            sample: Position of the sequence in the batch.

        Returns:
            The flows between neurons (neurons, neurons) and those from the inputs (inputs, neurons), in the layout of
            the wiring's matrices.
        """
        neurons = self.states.shape[-1]
        read = ~np.isnan(self.time_constants[sample]).any(axis=-1)
        flows = []
        for places, currents, sources in (
            (self.synapses, self.currents, neurons),
            (self.sensory_synapses, self.sensory_currents, self.inputs),
        ):
            flow = np.zeros((sources, neurons), "float32")
            if read.any() and len(places):
                flow[tuple(places.T)] = np.abs(currents[sample, read]).mean(axis=0)
            flows.append(flow)
        return flows[0], flows[1]


# Values of a neuron or a synapse that are not computed at a masked step.
_COMPUTED = ("time_constants", "currents", "sensory_currents", "gate", "first", "second")


def hide_masked(values: dict[str, Any], mask: np.ndarray) -> dict[str, Any]:
    """Returns the values of a trace with nan at the steps where the mask (batch, steps) is false."""
    return {
        name: np.where(mask[..., None], value, np.nan).astype(value.dtype)
        if name in _COMPUTED and value is not None
        else value
        for name, value in values.items()
    }


def flip_steps(values: dict[str, Any]) -> dict[str, Any]:
    """Returns the values of a trace with their steps in the opposite order."""
    return {
        name: value[:, ::-1] if getattr(value, "ndim", 0) == 3 else value  # synapses and types have no steps
        for name, value in values.items()
    }


def sum_by_target(values: np.ndarray, targets: np.ndarray, neurons: int) -> np.ndarray:
    """Returns the sum over the synapses of each target, (..., neurons), of values (..., synapses)."""
    return np.stack([values[..., targets == neuron].sum(axis=-1) for neuron in range(neurons)], axis=-1)


def to_numpy(values: Any) -> np.ndarray:
    """Returns a tensor or a variable as a NumPy array."""
    return ops.convert_to_numpy(values)


def sigmoid(values: np.ndarray) -> np.ndarray:
    """Returns the logistic function, without overflow for large negative values."""
    return 0.5 * (1.0 + np.tanh(0.5 * values))
