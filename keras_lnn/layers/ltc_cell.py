"""The cell of liquid time-constant recurrent layers (LTC).

Hasani et al., "Liquid time-constant networks", AAAI 2021; the wired form is Lechner et al., "Neural circuit policies
enabling auditable autonomy", Nature Machine Intelligence 2, 2020.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops
from ncps.wirings import Wiring

from keras_lnn.layers.ltc_solver import solve_steps
from keras_lnn.layers.recurrence import LiquidCell, check_choice, shape_of_inputs
from keras_lnn.layers.synapses import Synapses, apply_synapses
from keras_lnn.layers.traces import sigmoid, sum_by_target, to_numpy
from keras_lnn.layers.wiring import check_wiring, deserialize_wiring, serialize_wiring

Mapped = Literal["affine", "linear"] | None
Ranges = Mapping[str, Sequence[float]]

# Initial ranges of the weights, as the authors published them.
_RANGES = {
    "gleak": (0.001, 1.0),
    "vleak": (-0.2, 0.2),
    "cm": (0.4, 0.6),
    "w": (0.001, 1.0),
    "sigma": (3, 8),
    "mu": (0.3, 0.8),
    "sensory_w": (0.001, 1.0),
    "sensory_sigma": (3, 8),
    "sensory_mu": (0.3, 0.8),
}
_MAPPINGS = ("affine", "linear", None)
_NOT_NEGATIVE = ("gleak", "cm", "w", "sensory_w")
_SHORTEST_TIME = 1e-8


@keras.saving.register_keras_serializable(package="keras_lnn")
class LTCCell(LiquidCell):
    """One step of a liquid time-constant network; see :class:`LTC` for the equation.

    Args:
        wiring: A wiring of ``ncps``; the state has its ``units``, the output its motor neurons.
        input_mapping: ``affine`` or ``linear`` scaling of the inputs, or None.
        output_mapping: ``affine`` or ``linear`` scaling of the motor neurons' potentials, or None.
        ode_unfolds: Steps of the solver within one step of the sequence.
        epsilon: Added to the denominator, so that it is never zero.
        initialization_ranges: Maps a weight's name to its smallest and largest initial value.
    """

    def __init__(
        self,
        wiring: Wiring,
        input_mapping: Mapped = "affine",
        output_mapping: Mapped = "affine",
        ode_unfolds: int = 6,
        epsilon: float = 1e-8,
        initialization_ranges: Ranges | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_choice("input_mapping", input_mapping, _MAPPINGS)
        check_choice("output_mapping", output_mapping, _MAPPINGS)
        if ode_unfolds < 1:
            raise ValueError(f"ode_unfolds must be at least 1. Received: {ode_unfolds}.")
        _check_ranges(initialization_ranges or {})
        check_wiring(wiring)
        self.wiring = wiring
        self.input_mapping = input_mapping
        self.output_mapping = output_mapping
        self.ode_unfolds = ode_unfolds
        self.epsilon = epsilon
        self.initialization_ranges = initialization_ranges
        self.built_wiring: Wiring | None = None

    @property
    def state_size(self) -> int:
        """Returns the size of the state carried from step to step."""
        return self.wiring.units

    @property
    def output_size(self) -> int:
        """Returns the size of the output of one step."""
        return self.wiring.output_dim

    def build(self, input_shape: Any) -> None:
        features, neurons = shape_of_inputs(input_shape)[-1], self.state_size
        wiring: Any = self.build_own_wiring(features)
        self.built_wiring = wiring
        self.synapses = Synapses(wiring.adjacency_matrix)
        self.sensory_synapses = Synapses(wiring.sensory_adjacency_matrix)
        for name in ("gleak", "vleak", "cm"):
            self._add(name, (neurons,))
        for prefix, sources, polarity in (
            ("", neurons, wiring.adjacency_matrix),
            ("sensory_", features, wiring.sensory_adjacency_matrix),
        ):
            for name in ("sigma", "mu", "w"):
                self._add(prefix + name, (sources, neurons))
            # Cast here: JAX would keep the adjacency matrix's integer dtype, which has no gradient.
            initializer = lambda shape, dtype=None, polarity=polarity: ops.cast(polarity, dtype)  # noqa: E731
            self._add(f"{prefix}erev", (sources, neurons), initializer)
        for name, mapping, size in (
            ("input", self.input_mapping, features),
            ("output", self.output_mapping, self.output_size),
        ):
            if mapping is not None:
                self._add(f"{name}_w", (size,), "ones")
            if mapping == "affine":
                self._add(f"{name}_b", (size,), "zeros")

    def _add(self, name: str, shape: tuple[int, ...], initializer: Any = None) -> None:
        if initializer is None:
            smallest, largest = (self.initialization_ranges or {}).get(name, _RANGES[name])
            initializer = keras.initializers.RandomUniform(smallest, largest)
        constraint = keras.constraints.NonNeg() if name in _NOT_NEGATIVE else None
        # Weights are not cast to the precision that the model around computes in.
        weight = self.add_weight(shape=shape, initializer=initializer, constraint=constraint, name=name, autocast=False)
        setattr(self, name, weight)

    def fold_inputs(self) -> dict[str, Any]:
        weights = {"leak": self.gleak, "resting": self.vleak}
        weights |= {"sigma": self.sensory_sigma, "mu": self.sensory_mu}
        weights |= {"weight": self.sensory_w, "reversal": self.sensory_erev}
        folded = {name: self.read(weight) for name, weight in weights.items()}
        # s (scale x + shift - mu) is (s scale) x - s (mu - shift): the mapping is not applied to each input.
        middle = folded.pop("mu")
        middle = middle - self.read(self.input_b)[:, None] if self.input_mapping == "affine" else middle
        folded["threshold"] = folded["sigma"] * middle
        if self.input_mapping is not None:
            folded["sigma"] = folded["sigma"] * self.read(self.input_w)[:, None]
        return folded

    def prepare(
        self, inputs: Any, elapsed_time: Any, noise: tuple[Any, ...], folded: dict[str, Any]
    ) -> tuple[Any, ...]:
        """Returns currents and conductances of leak and inputs, (steps, neurons, batch), and the solver's time step."""
        synapses = (folded[name] for name in ("sigma", "threshold", "weight", "reversal"))
        received = apply_synapses(self.sensory_synapses, ops.transpose(inputs, (1, 2, 0)), *synapses)
        leak = folded["leak"][:, None]
        driving = received[:, :, 0] + leak * folded["resting"][:, None]
        conductance = received[:, :, 1] + leak + self.epsilon
        if elapsed_time is None:
            return driving, conductance
        # A neuron without capacitance follows its inputs at once, however short the time; a time of 0 would be 0 / 0.
        shortest = ops.cast(_SHORTEST_TIME, elapsed_time.dtype)
        # Not a maximum, since some runtimes return a number for the maximum with a time of NaN.
        elapsed_time = ops.where(elapsed_time < shortest, shortest, elapsed_time)
        return driving, conductance, ops.transpose(elapsed_time, (1, 2, 0)) / self.ode_unfolds

    def fold(self, is_timed: bool) -> dict[str, Any]:
        weights = {"capacitance": self.cm, "sigma": self.sigma, "weight": self.w, "reversal": self.erev}
        folded = {name: self.read(weight) for name, weight in weights.items()}
        return {**folded, "threshold": folded["sigma"] * self.read(self.mu)}

    def run(
        self, prepared: tuple[Any, ...], folded: dict[str, Any], is_valid: Any, states: list[Any], unroll: bool
    ) -> list[Any]:
        driving, conductance, *time_step = prepared
        history = solve_steps(
            self.synapses,
            self.ode_unfolds,
            driving,
            conductance,
            folded["capacitance"],
            time_step[0] if time_step else None,
            None if is_valid is None else ops.swapaxes(is_valid, 1, 2),
            ops.transpose(states[0]),
            tuple(folded[name] for name in ("sigma", "threshold", "weight", "reversal")),
            unroll,
        )
        return [ops.transpose(history, (2, 0, 1))]

    def step(self, prepared: tuple[Any, ...], folded: dict[str, Any], states: list[Any]) -> list[Any]:
        return self.step_of_run(prepared, folded, states)

    def trace_steps(self, inputs: Any, elapsed_time: Any, before: list[Any], after: list[Any]) -> dict[str, Any]:
        wiring: Any = self.built_wiring
        values, potentials = to_numpy(inputs), to_numpy(after[0])
        values = values * to_numpy(self.input_w) if self.input_mapping is not None else values
        values = values + to_numpy(self.input_b) if self.input_mapping == "affine" else values
        conductance, traced = to_numpy(self.gleak), {}
        for prefix, sources, adjacency in (
            ("", potentials, wiring.adjacency_matrix),
            ("sensory_", values, wiring.sensory_adjacency_matrix),
        ):
            at = np.nonzero(adjacency)
            sigma, mu, weight, reversal = (
                to_numpy(getattr(self, prefix + name))[at] for name in ("sigma", "mu", "w", "erev")
            )
            opened = weight * sigmoid(sigma * (sources[..., at[0]] - mu))
            conductance = conductance + sum_by_target(opened, at[1], wiring.units)
            traced[f"{prefix}synapses"] = np.stack(at, axis=1)
            traced[f"{prefix}currents"] = opened * (reversal - potentials[..., at[1]])
        types = tuple(wiring.get_type_of_neuron(neuron) for neuron in range(wiring.units))
        time_constants = to_numpy(self.cm) / conductance
        return {
            "states": potentials,
            "time_constants": time_constants,
            "types": types,
            "inputs": values.shape[-1],
            **traced,
        }

    def read_out(self, states: list[Any]) -> Any:
        outputs = states[0][..., : self.output_size]
        if self.output_mapping is not None:
            outputs = outputs * self.output_w
        return outputs + self.output_b if self.output_mapping == "affine" else outputs

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "wiring": serialize_wiring(self.wiring),
            "input_mapping": self.input_mapping,
            "output_mapping": self.output_mapping,
            "ode_unfolds": self.ode_unfolds,
            "epsilon": self.epsilon,
            "initialization_ranges": plain_ranges(self.initialization_ranges),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "LTCCell":
        arguments: dict[str, Any] = {**config, "wiring": deserialize_wiring(config["wiring"])}
        return cls(**arguments)


def plain_ranges(ranges: Ranges | None) -> dict[str, list[float]] | None:
    """Returns ranges in the form stored in a configuration."""
    return None if ranges is None else {name: list(limits) for name, limits in ranges.items()}


def _check_ranges(ranges: Ranges) -> None:
    for name, (smallest, largest) in ranges.items():
        if name not in _RANGES:
            raise ValueError(f"initialization_ranges must name one of {', '.join(_RANGES)}. Received: {name}.")
        if smallest > largest:
            raise ValueError(f"The range of {name} must go from small to large. Received: {smallest} to {largest}.")
        if name in _NOT_NEGATIVE and smallest < 0:
            raise ValueError(f"The range of {name} must not be negative. Received: {smallest} to {largest}.")
