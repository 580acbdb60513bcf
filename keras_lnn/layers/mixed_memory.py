"""Mixed memory: an LSTM cell beside a liquid cell, as its memory.

Lechner & Hasani, "Learning long-term dependencies in irregularly-sampled time series", 2020.
"""

from typing import Any

import keras
from keras import ops

from keras_lnn.layers.recurrence import VERSIONS, LiquidCell, Version, check_choice, shape_of_inputs
from keras_lnn.layers.traces import to_numpy


@keras.saving.register_keras_serializable(package="keras_lnn")
class MixedMemoryCell(LiquidCell):
    r"""One step of a liquid cell beside an LSTM cell, which remembers what the liquid cell would forget.

    The LSTM cell reads the inputs and the liquid cell's state; its memory is a second state. In the version ``paper``
    (``ncps.torch``) its output is the *state* from which the liquid cell takes its step with the same inputs; in
    ``ncps.keras`` it is the *input* of the liquid cell, which keeps its own state.

    Args:
        rnn_cell: The liquid cell.
        forget_gate_bias: Added to the forget gate, so that the cell remembers when training begins.
        version: ``paper`` or ``ncps.keras``.
    """

    def __init__(
        self, rnn_cell: LiquidCell, forget_gate_bias: float = 1.0, *, version: Version = "paper", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_choice("version", version, VERSIONS)
        self.rnn_cell = rnn_cell
        self.forget_gate_bias = forget_gate_bias
        self.version = version

    @property
    def state_size(self) -> list[int]:
        """Returns the sizes of the states carried from step to step: the memory's, then the liquid cell's."""
        return [self.rnn_cell.state_size, self.rnn_cell.state_size]

    @property
    def output_size(self) -> int:
        """Returns the size of the output of one step."""
        return self.rnn_cell.output_size

    @property
    def built_wiring(self) -> Any:
        """Returns the wiring of the liquid cell, or None before it is built or if it has none."""
        return getattr(self.rnn_cell, "built_wiring", None)

    def find_wired_cell(self) -> LiquidCell | None:
        return self.rnn_cell.find_wired_cell()

    def build(self, input_shape: Any) -> None:
        features, units = shape_of_inputs(input_shape)[-1], self.rnn_cell.state_size
        for name, shape, initializer in (
            ("input_kernel", (features, 4 * units), "glorot_uniform"),
            ("recurrent_kernel", (units, 4 * units), "orthogonal"),
            ("bias", (4 * units,), "zeros"),
        ):
            weight = self.add_weight(shape=shape, initializer=initializer, name=name, autocast=False)
            setattr(self, name, weight)
        # A cell loaded from a file is built already.
        if not self.rnn_cell.built:
            self.rnn_cell.build((None, features if self.version == "paper" else units))

    def draws_noise(self, training: bool | None) -> bool:
        return self.rnn_cell.draws_noise(training)

    def draw_noise(self, batch: Any, steps: Any, training: bool | None) -> tuple[Any, ...]:
        return self.rnn_cell.draw_noise(batch, steps, training)

    def fold_inputs(self) -> dict[str, Any]:
        weights = {"input_kernel": self.read(self.input_kernel), "bias": self.read(self.bias)}
        return weights | ({"rnn_cell": self.rnn_cell.fold_inputs()} if self.version == "paper" else {})

    def prepare(
        self, inputs: Any, elapsed_time: Any, noise: tuple[Any, ...], folded: dict[str, Any]
    ) -> tuple[Any, ...]:
        gates = ops.swapaxes(ops.matmul(inputs, folded["input_kernel"]) + folded["bias"], 0, 1)
        if self.version == "paper":
            return gates, self.rnn_cell.prepare(inputs, elapsed_time, noise, folded["rnn_cell"])
        elapsed_time = () if elapsed_time is None else (ops.swapaxes(elapsed_time, 0, 1),)
        return gates, elapsed_time, noise

    def fold(self, is_timed: bool) -> dict[str, Any]:
        folded = {"recurrent_kernel": self.read(self.recurrent_kernel), "rnn_cell": self.rnn_cell.fold(is_timed)}
        if self.version != "paper":
            folded["inputs"] = self.rnn_cell.fold_inputs()
        return folded

    def step(self, prepared: tuple[Any, ...], folded: dict[str, Any], states: list[Any]) -> list[Any]:
        gates, *rest = prepared
        memory, state = states
        gates = gates + ops.matmul(state, folded["recurrent_kernel"])
        candidate, input_gate, forget_gate, output_gate = ops.split(gates, 4, axis=-1)
        memory = memory * ops.sigmoid(forget_gate + self.forget_gate_bias)
        memory = memory + ops.tanh(candidate) * ops.sigmoid(input_gate)
        given = ops.tanh(memory) * ops.sigmoid(output_gate)
        if self.version == "paper":
            return [memory, *self.rnn_cell.step(rest[0], folded["rnn_cell"], [given])]
        elapsed_time, noise = rest
        elapsed_time = elapsed_time[0][:, None] if elapsed_time else None
        noise = tuple(values[None] for values in noise)
        inner = self.rnn_cell.prepare(given[:, None], elapsed_time, noise, folded["inputs"])
        inner = keras.tree.map_structure(lambda values: values[0], inner)
        return [memory, *self.rnn_cell.step(inner, folded["rnn_cell"], [state])]

    def trace_steps(self, inputs: Any, elapsed_time: Any, before: list[Any], after: list[Any]) -> dict[str, Any]:
        gates = ops.matmul(inputs, self.read(self.input_kernel)) + self.read(self.bias)
        gates = gates + ops.matmul(before[1], self.read(self.recurrent_kernel))
        given = ops.tanh(after[0]) * ops.sigmoid(ops.split(gates, 4, axis=-1)[3])
        read, state = (inputs, given) if self.version == "paper" else (given, before[1])
        return {**self.rnn_cell.trace_steps(read, elapsed_time, [state], after[1:]), "memory": to_numpy(after[0])}

    def read_out(self, states: list[Any]) -> Any:
        return self.rnn_cell.read_out(states[1:])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "rnn_cell": keras.saving.serialize_keras_object(self.rnn_cell),
            "forget_gate_bias": self.forget_gate_bias,
            "version": self.version,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "MixedMemoryCell":
        return cls(**{**config, "rnn_cell": keras.saving.deserialize_keras_object(config["rnn_cell"])})
