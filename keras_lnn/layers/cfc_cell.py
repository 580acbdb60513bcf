"""The cell of closed-form continuous-time recurrent layers (CfC).

Hasani et al., "Closed-form continuous-time neural networks", Nature Machine Intelligence 4, 2022.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lnn.layers.cfc_solver import MODES, ClosedForm, Mode, solve_steps, with_ones
from keras_lnn.layers.recurrence import VERSIONS, LiquidCell, Version, check_choice, check_units, shape_of_inputs
from keras_lnn.layers.traces import sigmoid, to_numpy


@keras.saving.register_keras_serializable(package="keras_lnn")
def lecun_tanh(inputs: Any) -> Any:
    """Returns the scaled hyperbolic tangent 1.7159 tanh(0.666 x)."""
    return 1.7159 * ops.tanh(0.666 * inputs)


def resolve_activation(activation: Any) -> Any:
    """Returns the activation for a name of Keras or for ``lecun_tanh``."""
    return lecun_tanh if activation == "lecun_tanh" else keras.activations.get(activation)


@keras.saving.register_keras_serializable(package="keras_lnn")
class Dense(keras.layers.Dense):
    """A dense layer of a cell, whose weights are not cast to the precision of the model around it."""

    def add_weight(self, *args: Any, **kwargs: Any) -> Any:
        return super().add_weight(*args, **{**kwargs, "autocast": False})


@keras.saving.register_keras_serializable(package="keras_lnn")
class CfCCell(LiquidCell):
    r"""One step of a closed-form continuous-time network.

    Let :math:`z` be the backbone's output for the concatenated input and state (without a backbone, these themselves).
    One step over the elapsed time :math:`t` is

    .. math:: h = \tanh(f_1(z)) (1 - s) + \tanh(f_2(z)) s, \qquad s = \sigma(t_a(z) t + t_b(z))

    where :math:`f_1, f_2, t_a, t_b` are dense. Mode ``no_gate`` leaves out the factor :math:`1 - s`; ``pure`` is the
    closed form itself, :math:`h = A - A e^{-t (|w_\tau| + |f_1(z)|)} f_1(z)`.

    Args:
        units: Number of neurons, which is also the size of state and output.
        mode: ``default``, ``pure`` or ``no_gate``.
        activation: Activation of the backbone.
        backbone_units: Width of the backbone.
        backbone_layers: Number of dense layers of the backbone; 0 for none.
        backbone_dropout: Dropout rate after each backbone layer, from 0 up to but not including 1.
        sparsity_mask: Zeros and ones (inputs + units, units) that remove weights of ``f_1`` and ``f_2``; only without
            a backbone.
        version: ``paper``, as above and in ``ncps.torch``, or ``ncps.keras``, which leaves out both tanh and has
            :math:`-t_a(z) t`.

    Example:
        >>> layer = keras.layers.RNN(CfCCell(8))
        >>> layer(keras.ops.ones((2, 5, 3))).shape
        (2, 8)
    """

    def __init__(
        self,
        units: int,
        mode: Mode = "default",
        activation: Any = "lecun_tanh",
        backbone_units: int = 128,
        backbone_layers: int = 1,
        backbone_dropout: float = 0.1,
        sparsity_mask: Any = None,
        *,
        version: Version = "paper",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_choice("mode", mode, MODES)
        check_choice("version", version, VERSIONS)
        check_units(units)
        if sparsity_mask is not None and backbone_layers > 0:
            raise ValueError(
                f"A sparsity_mask cannot be combined with a backbone. Received: backbone_layers={backbone_layers}."
            )
        if not 0 <= backbone_dropout < 1:
            raise ValueError(
                f"backbone_dropout must be from 0 up to but not including 1. Received: {backbone_dropout}."
            )
        self.units = units
        self.mode = mode
        self.activation = activation
        self.backbone_units = backbone_units
        self.backbone_layers = backbone_layers
        self.backbone_dropout = backbone_dropout
        self.sparsity_mask = sparsity_mask
        self.version = version
        self.closed_form = ClosedForm(mode, version == "paper")
        self.activate = resolve_activation(activation)
        # The parts have their names in ncps, so that models saved with its layers can be read.
        self.backbone_fn = None
        if backbone_layers:
            self.backbone_fn = keras.Sequential(
                [
                    layer
                    for index in range(backbone_layers)
                    for layer in (
                        Dense(backbone_units, dtype=self.dtype_policy, name=f"backbone{index}"),
                        keras.layers.Dropout(backbone_dropout, dtype=self.dtype_policy),
                    )
                ]
            )
        if mode != "pure":
            self.time_a = Dense(units, dtype=self.dtype_policy, name="time_a")
            self.time_b = Dense(units, dtype=self.dtype_policy, name="time_b")

    @property
    def state_size(self) -> int:
        """Returns the size of the state carried from step to step."""
        return self.units

    @property
    def output_size(self) -> int:
        """Returns the size of the output of one step."""
        return self.units

    def build(self, input_shape: Any) -> None:
        features = shape_of_inputs(input_shape)[-1] + self.units
        if self.backbone_fn is not None:
            self.backbone_fn.build((None, features))
            features = self.backbone_units
        self.ff1_kernel = self._add("ff1_weight", (features, self.units))
        self.ff1_bias = self._add("ff1_bias", (self.units,), "zeros")
        if self.mode == "pure":
            self.w_tau = self._add("w_tau", (1, self.units), "zeros")
            self.A = self._add("A", (1, self.units), "ones")
        else:
            self.ff2_kernel = self._add("ff2_weight", (features, self.units))
            self.ff2_bias = self._add("ff2_bias", (self.units,), "zeros")
            self.time_a.build((None, features))
            self.time_b.build((None, features))

    def _add(self, name: str, shape: tuple[int, ...], initializer: str = "glorot_uniform") -> Any:
        return self.add_weight(shape=shape, initializer=initializer, name=name, autocast=False)

    def draws_noise(self, training: bool | None) -> bool:
        return bool(training) and self.backbone_fn is not None and bool(self.backbone_dropout)

    def draw_noise(self, batch: Any, steps: Any, training: bool | None) -> tuple[Any, ...]:
        if self.backbone_fn is None or not self.draws_noise(training):
            return ()
        ones = ops.ones((steps, self.backbone_units, batch), dtype=self.compute_dtype)
        return tuple(dropout(ones, training=True) for dropout in self.backbone_fn.layers[1::2])

    def fold(self, is_timed: bool) -> dict[str, Any]:
        """Returns the arrays that the steps need, by name; ``kernel``, (heads, units, features + 1), ends in the bias.

        At an elapsed time of one, both parts of the gate's argument are one head; otherwise ``time_kernel``, (units,
        features + 1), is multiplied by the time. ``constants`` are ``w_tau`` and ``A``, (2, units, 1), or zeros for
        modes without them. With a backbone there are its ``recurrent`` kernel, and ``backbone``, its other layers.
        """
        folded = {"constants": ops.zeros((2, self.units, 1), dtype=self.compute_dtype)}
        first = self._rows(self.ff1_kernel, self.ff1_bias, self.sparsity_mask)
        if self.mode == "pure":
            folded["constants"] = ops.concatenate([self.read(self.w_tau), self.read(self.A)])[..., None]
            folded["kernel"] = first[None]
        else:
            second = self._rows(self.ff2_kernel, self.ff2_bias, self.sparsity_mask)
            gate = self._rows(self.time_b.kernel, self.time_b.bias)
            by_time = self._rows(self.time_a.kernel, self.time_a.bias) * (1.0 if self.version == "paper" else -1.0)
            folded["kernel"] = ops.stack([first, second, gate if is_timed else gate + by_time])
            if is_timed:
                folded["time_kernel"] = by_time
        if self.backbone_fn is not None:
            dense = self.backbone_fn.layers[::2]
            folded["recurrent"] = ops.transpose(self.read(dense[0].kernel)[-self.units :])
            folded["backbone"] = [self._rows(layer.kernel, layer.bias) for layer in dense[1:]]
        return folded

    def _rows(self, kernel: Any, bias: Any, mask: Any = None) -> Any:
        """Returns a kernel (features, units) and its bias as one array (units, features + 1)."""
        kernel = self.read(kernel)
        kernel = kernel if mask is None else kernel * ops.cast(mask, kernel.dtype)
        return ops.transpose(ops.concatenate([kernel, self.read(bias)[None]]))

    def fold_inputs(self) -> dict[str, Any]:
        if self.backbone_fn is None:
            return {}
        first = self.backbone_fn.layers[0]
        return {"kernel": self.read(first.kernel)[: -self.units], "bias": self.read(first.bias)}

    def prepare(
        self, inputs: Any, elapsed_time: Any, noise: tuple[Any, ...], folded: dict[str, Any]
    ) -> tuple[Any, ...]:
        """Returns inputs (or their part of the backbone's first layer), (steps, ..., batch), and noise and times."""
        times = () if elapsed_time is None else (ops.transpose(elapsed_time, (1, 2, 0)),)
        if folded:
            batch, steps, features = ops.shape(inputs)
            flat = ops.matmul(ops.reshape(inputs, (-1, features)), folded["kernel"]) + folded["bias"]
            inputs = ops.reshape(flat, (batch, steps, self.backbone_units))
        return ops.transpose(inputs, (1, 2, 0)), noise, times

    def run(
        self, prepared: tuple[Any, ...], folded: dict[str, Any], is_valid: Any, states: list[Any], unroll: bool
    ) -> list[Any]:
        if self.backbone_fn is not None:
            return super().run(prepared, folded, is_valid, states, unroll)
        inputs, _, times = prepared
        history = solve_steps(
            self.closed_form,
            inputs,
            folded["kernel"],
            folded.get("time_kernel"),
            times[0] if times else None,
            folded["constants"],
            None if is_valid is None else ops.swapaxes(is_valid, 1, 2),
            ops.transpose(states[0]),
            unroll,
        )
        return [ops.transpose(history, (2, 0, 1))]

    def step(self, prepared: tuple[Any, ...], folded: dict[str, Any], states: list[Any]) -> list[Any]:
        if self.backbone_fn is None:
            return self.step_of_run(prepared, folded, states)
        values, noise, times = prepared
        activation = self.activate
        values = activation(values + ops.matmul(folded["recurrent"], ops.transpose(states[0])))
        values = values * noise[0] if noise else values
        for index, rows in enumerate(folded["backbone"], start=1):
            values = activation(ops.matmul(rows, with_ones(values)))
            values = values * noise[index] if noise else values
        heads = ops.matmul(folded["kernel"], with_ones(values))
        if "time_kernel" in folded:
            gate = heads[-1] + times[0] * ops.matmul(folded["time_kernel"], with_ones(values))
            heads = ops.concatenate([heads[:-1], gate[None]])
        after, _ = self.closed_form.apply(heads, times[0] if times else 1.0, folded["constants"])
        return [ops.transpose(after)]

    def trace_steps(self, inputs: Any, elapsed_time: Any, before: list[Any], after: list[Any]) -> dict[str, Any]:
        values = np.concatenate([to_numpy(inputs), to_numpy(before[0])], axis=-1)
        elapsed = 1.0 if elapsed_time is None else to_numpy(elapsed_time)
        read = values if self.backbone_fn is None else to_numpy(self.backbone_outputs(values))
        masked = 1.0 if self.sparsity_mask is None else to_numpy(self.sparsity_mask)
        kernels = [to_numpy(self.ff1_kernel) * masked]
        first = read @ kernels[0] + to_numpy(self.ff1_bias)
        traced: dict[str, Any] = {"states": to_numpy(after[0]), "types": ("motor",) * self.units}
        weights = [np.ones_like(first)]
        if self.mode == "pure":
            traced["time_constants"] = 1.0 / (np.abs(to_numpy(self.w_tau)) + np.abs(first))
        else:
            kernels.append(to_numpy(self.ff2_kernel) * masked)
            second = read @ kernels[1] + to_numpy(self.ff2_bias)
            by_time, fixed = (read @ to_numpy(a.kernel) + to_numpy(a.bias) for a in (self.time_a, self.time_b))
            gate = sigmoid((by_time if self.version == "paper" else -by_time) * elapsed + fixed)
            # The gate of a neuron whose gate does not depend on time has an endless time constant.
            traced["time_constants"] = 1.0 / np.maximum(np.abs(by_time), np.finfo("float32").tiny)
            weights = [np.ones_like(gate) if self.mode == "no_gate" else 1.0 - gate, gate]
            if self.version == "paper":
                first, second = np.tanh(first), np.tanh(second)
            traced |= {"gate": gate, "second": second}
        return {**traced, "first": first, **self._trace_synapses(values, kernels, weights, masked)}

    def _trace_synapses(
        self, values: np.ndarray, kernels: list[np.ndarray], weights: list[np.ndarray], masked: Any
    ) -> dict[str, Any]:
        """Returns the synapses and what they carry; with a backbone there are none between two neurons.

        Args:
            values: Inputs and states, (batch, steps, inputs + neurons).
            kernels: The kernel of each head, (inputs + neurons, neurons).
            weights: The weight of each head in the new state, (batch, steps, neurons).
            masked: Which synapses exist, (inputs + neurons, neurons), or 1 for all.
        """
        inputs = values.shape[-1] - self.units
        exists = np.broadcast_to(np.asarray(masked) != 0, (values.shape[-1], self.units)) & (self.backbone_fn is None)
        traced: dict[str, Any] = {"inputs": inputs}
        for prefix, chosen, offset in (("sensory_", exists[:inputs], 0), ("", exists[inputs:], inputs)):
            sources, targets = np.nonzero(chosen)
            strength = sum(
                kernel[sources + offset, targets] * weight[..., targets]
                for kernel, weight in zip(kernels if len(sources) else (), weights, strict=False)
            )
            traced[f"{prefix}synapses"] = np.stack([sources, targets], axis=1)
            traced[f"{prefix}currents"] = values[..., sources + offset] * strength
        return traced

    def backbone_outputs(self, values: Any) -> Any:
        """Returns the outputs of the backbone for inputs and states (..., features), without dropout."""
        for layer in self.backbone_fn.layers[::2]:
            values = self.activate(ops.matmul(values, self.read(layer.kernel)) + self.read(layer.bias))
        return values

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "mode": self.mode,
            "activation": named(self.activation),
            "backbone_units": self.backbone_units,
            "backbone_layers": self.backbone_layers,
            "backbone_dropout": self.backbone_dropout,
            "sparsity_mask": listed(self.sparsity_mask),
            "version": self.version,
        }


def named(activation: Any) -> Any:
    """Returns an activation in the form stored in a configuration."""
    return activation if isinstance(activation, str | None) else keras.saving.serialize_keras_object(activation)


def listed(mask: Any) -> Any:
    """Returns a mask in the form stored in a configuration."""
    return None if mask is None else ops.convert_to_numpy(mask).tolist()
