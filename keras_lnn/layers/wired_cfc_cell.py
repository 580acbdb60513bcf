"""The cell of a CfC whose neurons are connected by a wiring."""

from typing import Any

import keras
import numpy as np
from keras import ops
from ncps.wirings import Wiring

from keras_lnn.layers.cfc_cell import CfCCell, named
from keras_lnn.layers.cfc_solver import MODES, Mode, solve_steps
from keras_lnn.layers.recurrence import VERSIONS, LiquidCell, Version, check_choice, shape_of_inputs
from keras_lnn.layers.traces import to_numpy
from keras_lnn.layers.wiring import check_wiring, deserialize_wiring, layer_masks, serialize_wiring


@keras.saving.register_keras_serializable(package="keras_lnn")
class WiredCfCCell(LiquidCell):
    """One step of a CfC wired from inter to command to motor neurons, with a cell for each layer of neurons.

    Over a sequence the layers run in a wavefront: while the first is at one step, the second is at the step before, and
    so on. Each then needs only past results of the others, so one product computes all layers.

    Args:
        wiring: A wiring of ``ncps``, such as ``AutoNCP(19, 2)``; the state has its ``units``, the output its motor
            neurons.
        fully_recurrent: Whether all neurons of a layer are connected, instead of only those that the wiring connects.
        mode: See :class:`CfCCell`.
        activation: Not used: a wired cell has no backbone.
        version: See :class:`CfCCell`; in ``ncps.keras`` inhibitory synapses flip the sign of their weight.
    """

    def __init__(
        self,
        wiring: Wiring,
        fully_recurrent: bool = True,
        mode: Mode = "default",
        activation: Any = "lecun_tanh",
        *,
        version: Version = "paper",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_choice("mode", mode, MODES)
        check_choice("version", version, VERSIONS)
        check_wiring(wiring)
        self.wiring = wiring
        self.fully_recurrent = fully_recurrent
        self.mode = mode
        self.activation = activation
        self.version = version
        # This is the name in ncps, so that models saved with its layers can be read.
        self._cfc_layers: list[CfCCell] = []
        self.built_wiring: Wiring | None = None

    @property
    def layer_cells(self) -> list[CfCCell]:
        """Returns the cells of a built cell, one for each layer of neurons."""
        return list(self._cfc_layers)

    @property
    def state_size(self) -> int:
        """Returns the size of the state carried from step to step."""
        return self.wiring.units

    @property
    def output_size(self) -> int:
        """Returns the size of the output of one step."""
        return self.wiring.output_dim

    def build(self, input_shape: Any) -> None:
        self.built_wiring = self.build_own_wiring(shape_of_inputs(input_shape)[-1])
        masks = layer_masks(self.built_wiring, self.fully_recurrent, signed=self.version != "paper")
        for mask in masks:
            inputs, units = mask.shape[0] - mask.shape[1], mask.shape[1]
            cell = CfCCell(
                units,
                self.mode,
                backbone_layers=0,
                sparsity_mask=mask,
                version=self.version,
                dtype=self.dtype_policy,
            )
            cell.build((None, inputs))
            self._cfc_layers.append(cell)

    def prepare(
        self, inputs: Any, elapsed_time: Any, noise: tuple[Any, ...], folded: dict[str, Any]
    ) -> tuple[Any, ...]:
        return self._cfc_layers[0].prepare(inputs, elapsed_time, noise, folded)

    def fold(self, is_timed: bool) -> dict[str, Any]:
        """Returns the arrays of :meth:`CfCCell.fold`, each for the inputs and the states of all layers."""
        cells = self._cfc_layers
        layers = [cell.fold(is_timed) for cell in cells]
        folded = {"constants": ops.concatenate([layer["constants"] for layer in layers], axis=1)}
        for name, axis in (("kernel", 1), ("time_kernel", 0)):
            if name in layers[0]:
                kernels = [self._for_all(index, layer[name]) for index, layer in enumerate(layers)]
                folded[name] = ops.concatenate(kernels, axis=axis)
        return folded

    def _for_all(self, index: int, kernel: Any) -> Any:
        """Widens a layer's kernel to the inputs and states of all layers, with zeros for those that do not reach it."""
        sizes = [self.built_wiring.input_dim, *(cell.units for cell in self._cfc_layers)]
        before, after = sum(sizes[:index]), sum(sizes[index + 2 :])
        padding = [*[(0, 0)] * (len(kernel.shape) - 1), (before, after)]
        return ops.concatenate([ops.pad(kernel[..., :-1], padding), kernel[..., -1:]], axis=-1)

    def run(
        self, prepared: tuple[Any, ...], folded: dict[str, Any], is_valid: Any, states: list[Any], unroll: bool
    ) -> list[Any]:
        inputs, _, times = prepared
        cells = self._cfc_layers
        padding = ((0, len(cells) - 1), (0, 0), (0, 0))
        is_valid = ops.ones_like(inputs[:, :1, :1]) if is_valid is None else ops.swapaxes(is_valid, 1, 2)
        history = solve_steps(
            cells[0].closed_form,
            ops.pad(inputs, padding),
            folded["kernel"],
            folded.get("time_kernel"),
            self._delay_for_each(times[0]) if times else None,
            folded["constants"],
            self._delay_for_each(is_valid),
            ops.transpose(states[0]),
            unroll,
        )
        steps, end, histories = ops.shape(inputs)[0], 0, []
        for delay, cell in enumerate(cells):
            start, end = end, end + cell.units
            histories.append(history[delay : delay + steps, start:end])
        return [ops.transpose(ops.concatenate(histories, axis=1), (2, 0, 1))]

    def _delay_for_each(self, values: Any) -> Any:
        """Repeats values (steps, 1, batch) for each neuron, delayed to when its layer reaches the step."""
        cells = self._cfc_layers
        delayed = [
            ops.repeat(ops.pad(values, ((layer, len(cells) - 1 - layer), (0, 0), (0, 0))), cell.units, axis=1)
            for layer, cell in enumerate(cells)
        ]
        return ops.concatenate(delayed, axis=1)

    def step(self, prepared: tuple[Any, ...], folded: dict[str, Any], states: list[Any]) -> list[Any]:
        return self.step_of_run(prepared, folded, states)

    def trace_steps(self, inputs: Any, elapsed_time: Any, before: list[Any], after: list[Any]) -> dict[str, Any]:
        wiring: Any = self.built_wiring
        layers = [np.asarray(wiring.get_neurons_of_layer(layer)) for layer in range(wiring.num_layers)]
        ends = np.cumsum([len(neurons) for neurons in layers])[:-1]
        before, after = (np.split(to_numpy(states[0]), ends, axis=-1) for states in (before, after))
        read, sources, parts = to_numpy(inputs), None, []
        for cell, neurons, old, new in zip(self._cfc_layers, layers, before, after, strict=True):
            part = cell.trace_steps(read, elapsed_time, [old], [new])
            # A layer's inputs are those of the network or the neurons of the layer before; both get their own numbers.
            part["synapses"] = neurons[part["synapses"]]
            if sources is not None:
                incoming = part["sensory_synapses"]
                incoming = np.stack([sources[incoming[:, 0]], neurons[incoming[:, 1]]], axis=1)
                part["synapses"] = np.concatenate([incoming, part["synapses"]])
                part["currents"] = np.concatenate([part["sensory_currents"], part["currents"]], axis=-1)
            else:
                sensory = part["sensory_synapses"]
                sensory[:, 1] = neurons[sensory[:, 1]]
            parts.append(part)
            read, sources = new, neurons
        return self._join_layers(parts, np.argsort(np.concatenate(layers)))

    def _join_layers(self, parts: list[dict[str, Any]], order: np.ndarray) -> dict[str, Any]:
        """Returns the values of all layers together, with neurons in the order of the wiring."""
        wiring: Any = self.built_wiring
        traced = {name: parts[0][name] for name in ("sensory_synapses", "sensory_currents", "inputs")}
        traced["synapses"] = np.concatenate([part["synapses"] for part in parts])
        traced["currents"] = np.concatenate([part["currents"] for part in parts], axis=-1)
        for name in {"states", "time_constants", "gate", "first", "second"} & set(parts[0]):
            traced[name] = np.concatenate([part[name] for part in parts], axis=-1)[..., order]
        traced["types"] = tuple(wiring.get_type_of_neuron(neuron) for neuron in range(wiring.units))
        return traced

    def read_out(self, states: list[Any]) -> Any:
        motor = states[0][..., self.state_size - self._cfc_layers[-1].units :]
        return motor[..., : self.output_size]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "wiring": serialize_wiring(self.wiring),
            "fully_recurrent": self.fully_recurrent,
            "mode": self.mode,
            "activation": named(self.activation),
            "version": self.version,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WiredCfCCell":
        arguments: dict[str, Any] = {**config, "wiring": deserialize_wiring(config["wiring"])}
        return cls(**arguments)
