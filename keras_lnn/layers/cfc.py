"""Closed-form continuous-time recurrent layers (CfC).

Hasani et al., "Closed-form continuous-time neural networks", Nature Machine Intelligence 4, 2022.
"""

from typing import Any

import keras
from keras import ops
from ncps.wirings import Wiring

from keras_lnn.layers.cfc_solver import MODES, ClosedForm, Mode, solve_steps, with_ones
from keras_lnn.layers.mixed_memory import MixedMemoryCell
from keras_lnn.layers.recurrence import VERSIONS, LiquidCell, LiquidRNN, Version, check_choice, check_units
from keras_lnn.layers.wiring import build_wiring, deserialize_wiring, layer_masks, serialize_wiring


@keras.saving.register_keras_serializable(package="keras_lnn")
def lecun_tanh(inputs: Any) -> Any:
    """The scaled hyperbolic tangent 1.7159 tanh(0.666 x)."""
    return 1.7159 * ops.tanh(0.666 * inputs)


def resolve_activation(activation: Any) -> Any:
    """An activation by the names of Keras, and ``lecun_tanh``."""
    return lecun_tanh if activation == "lecun_tanh" else keras.activations.get(activation)


@keras.saving.register_keras_serializable(package="keras_lnn")
class Dense(keras.layers.Dense):
    """A dense layer of a cell: its weights are read as they are, whatever precision the model around computes in."""

    def add_weight(self, *args: Any, **kwargs: Any) -> Any:
        return super().add_weight(*args, **{**kwargs, "autocast": False})


@keras.saving.register_keras_serializable(package="keras_lnn")
class CfCCell(LiquidCell):
    r"""One step of a closed-form continuous-time network.

    With :math:`z` the backbone's output for the input and the state side by side (without a backbone, those
    themselves), one step over the elapsed time :math:`t` is

    .. math:: h = \tanh(f_1(z)) (1 - s) + \tanh(f_2(z)) s, \qquad s = \sigma(t_a(z) t + t_b(z))

    where :math:`f_1, f_2, t_a, t_b` are dense. Mode ``no_gate`` leaves out the factor :math:`1 - s`; ``pure`` is the
    closed form itself, :math:`h = A - A e^{-t (|w_\tau| + |f_1(z)|)} f_1(z)`.

    Args:
        units: Neurons, which is also the size of state and output.
        mode: ``default``, ``pure`` or ``no_gate``.
        activation: Of the backbone.
        backbone_units: Width of the backbone.
        backbone_layers: Dense layers of the backbone; 0 for none.
        backbone_dropout: Fraction dropped behind each backbone layer, from 0 up to but not including 1.
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
            raise ValueError(f"A sparsity_mask goes without a backbone. Received: backbone_layers={backbone_layers}.")
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
        # The names of the parts are those of ncps, so that models saved with its layers can be read.
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
        """Numbers that are carried from step to step."""
        return self.units

    @property
    def output_size(self) -> int:
        """Numbers that one step gives."""
        return self.units

    def build(self, input_shape: Any) -> None:
        features = input_shape[-1] + self.units
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

    def draw_noise(self, batch: Any, steps: Any, training: bool | None) -> tuple[Any, ...]:
        if not training or self.backbone_fn is None or not self.backbone_dropout:
            return ()
        ones = ops.ones((steps, self.backbone_units, batch), dtype=self.compute_dtype)
        return tuple(dropout(ones, training=True) for dropout in self.backbone_fn.layers[1::2])

    def fold(self, is_timed: bool) -> dict[str, Any]:
        """``kernel`` of all heads, (heads, units, features + 1), with the bias as its last column.

        At an elapsed time of one the two halves of the gate's argument are one head; else ``time_kernel``, (units,
        features + 1), counts by the time. ``constants`` are ``w_tau`` and ``A``, (2, units, 1), and zeros for modes
        without them. With a backbone there are its ``recurrent`` kernel, and ``backbone``, its other layers.
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
        """A kernel (features, units) and its bias as (units, features + 1)."""
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
        """Inputs, or what they give to the backbone's first layer, (steps, ..., batch); noise; elapsed time, if any."""
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

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "mode": self.mode,
            "activation": _named(self.activation),
            "backbone_units": self.backbone_units,
            "backbone_layers": self.backbone_layers,
            "backbone_dropout": self.backbone_dropout,
            "sparsity_mask": _listed(self.sparsity_mask),
            "version": self.version,
        }


def _named(activation: Any) -> Any:
    return activation if isinstance(activation, str | None) else keras.saving.serialize_keras_object(activation)


def _listed(mask: Any) -> Any:
    return None if mask is None else ops.convert_to_numpy(mask).tolist()


@keras.saving.register_keras_serializable(package="keras_lnn")
class WiredCfCCell(LiquidCell):
    """One step of a CfC whose neurons are joined by a wiring: inter to command to motor neurons, a cell a layer.

    Over a sequence the layers go in a wavefront: while the first is at one step, the second is at the step before, and
    so on. What they need then lies in the past of all of them, so one product moves them all.

    Args:
        wiring: A wiring of ``ncps``, such as ``AutoNCP(19, 2)``; the state has its ``units``, the output its motor
            neurons.
        fully_recurrent: Whether the neurons of a layer are all joined to one another, else as the wiring says.
        mode: See :class:`CfCCell`.
        activation: Not used: a wired cell has no backbone.
        version: See :class:`CfCCell`; in ``ncps.keras`` inhibitory synapses turn the sign of their weight.
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
        self.wiring = wiring
        self.fully_recurrent = fully_recurrent
        self.mode = mode
        self.activation = activation
        self.version = version
        # The name is that of ncps, so that models saved with its layers can be read.
        self._cfc_layers: list[CfCCell] = []
        self.built_wiring: Wiring | None = None

    @property
    def layer_cells(self) -> list[CfCCell]:
        """The cells of a built cell, one for each layer of neurons."""
        return list(self._cfc_layers)

    @property
    def state_size(self) -> int:
        """Numbers that are carried from step to step."""
        return self.wiring.units

    @property
    def output_size(self) -> int:
        """Numbers that one step gives."""
        return self.wiring.output_dim

    def build(self, input_shape: Any) -> None:
        self.built_wiring = build_wiring(self.wiring, input_shape[-1])
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
        """Those of :class:`CfCCell`, each one for the inputs and the states of all layers."""
        cells = self._cfc_layers
        layers = [cell.fold(is_timed) for cell in cells]
        folded = {"constants": ops.concatenate([layer["constants"] for layer in layers], axis=1)}
        for name, axis in (("kernel", 1), ("time_kernel", 0)):
            if name in layers[0]:
                kernels = [self._for_all(index, layer[name]) for index, layer in enumerate(layers)]
                folded[name] = ops.concatenate(kernels, axis=axis)
        return folded

    def _for_all(self, index: int, kernel: Any) -> Any:
        """A layer's kernel for the inputs and the states of all layers, with zeros for those that do not reach it."""
        sizes = [self.built_wiring.input_dim, *(cell.units for cell in self._cfc_layers)]
        before, behind = sum(sizes[:index]), sum(sizes[index + 2 :])
        nothing = [(0, 0)] * (len(kernel.shape) - 1)
        return ops.concatenate([ops.pad(kernel[..., :-1], [*nothing, (before, behind)]), kernel[..., -1:]], axis=-1)

    def run(
        self, prepared: tuple[Any, ...], folded: dict[str, Any], is_valid: Any, states: list[Any], unroll: bool
    ) -> list[Any]:
        inputs, _, times = prepared
        cells = self._cfc_layers
        behind = ((0, len(cells) - 1), (0, 0), (0, 0))
        is_valid = ops.ones_like(inputs[:, :1, :1]) if is_valid is None else ops.swapaxes(is_valid, 1, 2)
        history = solve_steps(
            cells[0].closed_form,
            ops.pad(inputs, behind),
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
        """Values (steps, 1, batch) that all layers share, for each neuron when its layer comes to the step."""
        cells = self._cfc_layers
        delayed = [
            ops.repeat(ops.pad(values, ((layer, len(cells) - 1 - layer), (0, 0), (0, 0))), cell.units, axis=1)
            for layer, cell in enumerate(cells)
        ]
        return ops.concatenate(delayed, axis=1)

    def step(self, prepared: tuple[Any, ...], folded: dict[str, Any], states: list[Any]) -> list[Any]:
        return self.step_of_run(prepared, folded, states)

    def read_out(self, states: list[Any]) -> Any:
        motor = states[0][..., self.state_size - self._cfc_layers[-1].units :]
        return motor[..., : self.output_size]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "wiring": serialize_wiring(self.wiring),
            "fully_recurrent": self.fully_recurrent,
            "mode": self.mode,
            "activation": _named(self.activation),
            "version": self.version,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WiredCfCCell":
        return cls(**{**config, "wiring": deserialize_wiring(config["wiring"])})


@keras.saving.register_keras_serializable(package="keras_lnn")
class CfC(LiquidRNN):
    """A closed-form continuous-time layer over a sequence (batch, steps, features).

    Without a backbone (every wired layer has none) all heads are one product for all steps from the inputs and one
    small product a step from the state; the backward pass keeps the states only and computes the derivatives of all
    steps at once. With a backbone, what the inputs give to its first layer is computed for all steps at once.

    Args:
        units: Neurons of a dense CfC, or a wiring of ``ncps``.
        mixed_memory: Whether an LSTM cell remembers beside it (Lechner & Hasani, 2020).
        mode: See :class:`CfCCell`.
        activation: Of the backbone; a wired layer has none.
        backbone_units: Width of the backbone, 128 if not given.
        backbone_layers: Layers of the backbone, 1 if not given.
        backbone_dropout: Dropout of the backbone, 0 if not given; drawn anew for each step.
        sparsity_mask: See :class:`CfCCell`; not for a wired layer.
        fully_recurrent: See :class:`WiredCfCCell`.
        return_sequences: Whether to give every step's output, else the last one's.
        return_state: Whether to give the last state as well, float32 in any precision.
        go_backwards: Whether to begin with the last step.
        stateful: Whether a batch begins with the states that the batch before left.
        unroll: Whether the steps become one long program instead of a loop.
        zero_output_for_mask: Whether masked steps give zeros, else the output of the step before.
        version: ``paper`` (the function of the paper and of ``ncps.torch``), or ``ncps.keras``; see :class:`CfCCell`
            and, for mixed memory, :class:`MixedMemoryCell`.
        **kwargs: Of :class:`keras.layers.Layer`.

    Example:
        >>> from ncps.wirings import AutoNCP
        >>> CfC(AutoNCP(19, 2))(keras.ops.ones((4, 32, 16))).shape
        (4, 2)
    """

    def __init__(
        self,
        units: int | Wiring,
        mixed_memory: bool = False,
        mode: Mode = "default",
        activation: Any = "lecun_tanh",
        backbone_units: int | None = None,
        backbone_layers: int | None = None,
        backbone_dropout: float | None = None,
        sparsity_mask: Any = None,
        fully_recurrent: bool = True,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        *,
        version: Version = "paper",
        **kwargs: Any,
    ) -> None:
        shared = {"mode": mode, "activation": activation, "version": version, "dtype": kwargs.get("dtype")}
        own = {
            "backbone_units": backbone_units,
            "backbone_layers": backbone_layers,
            "backbone_dropout": backbone_dropout,
            "sparsity_mask": sparsity_mask,
        }
        own = {name: value for name, value in own.items() if value is not None}
        cell: LiquidCell
        if isinstance(units, Wiring):
            if own:
                raise ValueError(
                    f"A wired CfC has no backbone and no mask. Received: {', '.join(own)}. Leave them out."
                )
            cell = WiredCfCCell(units, fully_recurrent, **shared)
        else:
            cell = CfCCell(units, **shared, **{"backbone_dropout": 0.0, **own})
        if mixed_memory:
            cell = MixedMemoryCell(cell, version=version, dtype=kwargs.get("dtype"))
        super().__init__(
            cell,
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            unroll=unroll,
            zero_output_for_mask=zero_output_for_mask,
            **kwargs,
        )
        self.units = units
        self.mixed_memory = mixed_memory
        self.mode = mode
        self.activation = activation
        self.backbone_units = backbone_units
        self.backbone_layers = backbone_layers
        self.backbone_dropout = backbone_dropout
        self.sparsity_mask = sparsity_mask
        self.fully_recurrent = fully_recurrent
        self.version = version

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": serialize_wiring(self.units) if isinstance(self.units, Wiring) else self.units,
            "mixed_memory": self.mixed_memory,
            "mode": self.mode,
            "activation": _named(self.activation),
            "backbone_units": self.backbone_units,
            "backbone_layers": self.backbone_layers,
            "backbone_dropout": self.backbone_dropout,
            "sparsity_mask": _listed(self.sparsity_mask),
            "fully_recurrent": self.fully_recurrent,
            "version": self.version,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> "CfC":
        units = config["units"]
        return cls(**{**config, "units": deserialize_wiring(units) if isinstance(units, dict) else units})
