"""Closed-form continuous-time recurrent layers (CfC), the function of the paper.

Hasani et al., "Closed-form continuous-time neural networks", Nature Machine Intelligence 4, 2022.
"""

from typing import Any, Literal

import keras
from keras import ops
from ncps.wirings import Wiring

from keras_lnn.layers.wiring import build_wiring, deserialize_wiring, layer_masks, serialize_wiring

Mode = Literal["default", "pure", "no_gate"]


@keras.saving.register_keras_serializable(package="keras_lnn")
def lecun_tanh(inputs: Any) -> Any:
    """The scaled hyperbolic tangent 1.7159 tanh(0.666 x)."""
    return 1.7159 * ops.tanh(0.666 * inputs)


def resolve_activation(activation: Any) -> Any:
    """An activation by the names of Keras, and ``lecun_tanh``."""
    return lecun_tanh if activation == "lecun_tanh" else keras.activations.get(activation)


@keras.saving.register_keras_serializable(package="keras_lnn")
class CfCCell(keras.layers.Layer):
    r"""One step of a closed-form continuous-time network.

    With :math:`z` the backbone's output for the input and the state side by side (without a backbone, those
    themselves), one step over the elapsed time :math:`t` is

    .. math:: h = \tanh(f_1(z)) (1 - s) + \tanh(f_2(z)) s, \qquad s = \sigma(t_a(z) t + t_b(z))

    where :math:`f_1, f_2, t_a, t_b` are dense. Mode ``no_gate`` leaves out the factor :math:`1 - s`; ``pure`` is the
    closed form itself, :math:`h = A - A e^{-t (|w_\tau| + |f_1(z)|)} f_1(z)`. The elapsed time is one.

    Args:
        units: Neurons, which is also the size of state and output.
        mode: ``default``, ``pure`` or ``no_gate``.
        activation: Of the backbone.
        backbone_units: Width of the backbone.
        backbone_layers: Dense layers of the backbone; 0 for none.
        backbone_dropout: Fraction dropped behind each backbone layer, from 0 up to but not including 1.
        sparsity_mask: Zeros and ones (inputs + units, units) that remove weights of ``f_1`` and ``f_2``; only without
            a backbone.

    Example:
        >>> layer = keras.layers.RNN(CfCCell(8))
        >>> layer(keras.ops.ones((2, 5, 3))).shape
        (2, 8)
    """

    def __init__(
        self,
        units: int,
        mode: Mode = "default",
        activation: str = "lecun_tanh",
        backbone_units: int = 128,
        backbone_layers: int = 1,
        backbone_dropout: float = 0.0,
        sparsity_mask: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if mode not in ("default", "pure", "no_gate"):
            raise ValueError(f"mode must be 'default', 'pure' or 'no_gate'. Received: {mode!r}.")
        if units < 1:
            raise ValueError(f"units must be at least 1. Received: {units}.")
        if sparsity_mask is not None and backbone_layers > 0:
            raise ValueError(f"A sparsity_mask goes without a backbone. Received: backbone_layers={backbone_layers}.")
        self.units = units
        self.mode = mode
        self.activation = activation
        self.backbone_units = backbone_units
        self.backbone_layers = backbone_layers
        self.backbone_dropout = backbone_dropout
        self.sparsity_mask = sparsity_mask
        self.backbone = [
            layer
            for index in range(backbone_layers)
            for layer in (
                keras.layers.Dense(
                    backbone_units, resolve_activation(activation), dtype=self.dtype_policy, name=f"backbone{index}"
                ),
                keras.layers.Dropout(backbone_dropout, dtype=self.dtype_policy),
            )
        ]
        if mode != "pure":
            self.time_a = keras.layers.Dense(units, dtype=self.dtype_policy, name="time_a")
            self.time_b = keras.layers.Dense(units, dtype=self.dtype_policy, name="time_b")

    @property
    def state_size(self) -> int:
        """Numbers that are carried from step to step."""
        return self.units

    @property
    def output_size(self) -> int:
        """Numbers that one step gives."""
        return self.units

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        features = input_shape[-1] + self.units
        for layer in self.backbone:
            layer.build((None, features))
            features = self.backbone_units
        self.ff1_kernel = self.add_weight(shape=(features, self.units), name="ff1_weight")
        self.ff1_bias = self.add_weight(shape=(self.units,), initializer="zeros", name="ff1_bias")
        if self.mode == "pure":
            self.w_tau = self.add_weight(shape=(1, self.units), initializer="zeros", name="w_tau")
            self.A = self.add_weight(shape=(1, self.units), initializer="ones", name="A")
        else:
            self.ff2_kernel = self.add_weight(shape=(features, self.units), name="ff2_weight")
            self.ff2_bias = self.add_weight(shape=(self.units,), initializer="zeros", name="ff2_bias")
            self.time_a.build((None, features))
            self.time_b.build((None, features))

    def call(self, inputs: Any, states: list[Any], training: bool | None = None) -> tuple[Any, list[Any]]:
        features = ops.concatenate([inputs, states[0]], axis=-1)
        for layer in self.backbone:
            features = (
                layer(features, training=training) if isinstance(layer, keras.layers.Dropout) else layer(features)
            )
        first = ops.matmul(features, self._masked(self.ff1_kernel)) + self.ff1_bias
        if self.mode == "pure":
            output = self.A - self.A * ops.exp(-(ops.abs(self.w_tau) + ops.abs(first))) * first
            return output, [output]
        second = ops.tanh(ops.matmul(features, self._masked(self.ff2_kernel)) + self.ff2_bias)
        first = ops.tanh(first)
        gate = ops.sigmoid(self.time_a(features) + self.time_b(features))
        if self.mode == "no_gate":
            output = first + gate * second
        else:
            output = first + gate * (second - first)
        return output, [output]

    def _masked(self, kernel: Any) -> Any:
        return kernel if self.sparsity_mask is None else kernel * ops.cast(self.sparsity_mask, kernel.dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "mode": self.mode,
            "activation": self.activation,
            "backbone_units": self.backbone_units,
            "backbone_layers": self.backbone_layers,
            "backbone_dropout": self.backbone_dropout,
            "sparsity_mask": None if self.sparsity_mask is None else ops.convert_to_numpy(self.sparsity_mask).tolist(),
        }


@keras.saving.register_keras_serializable(package="keras_lnn")
class WiredCfCCell(keras.layers.Layer):
    """One step of a CfC whose neurons are joined by a wiring: inter to command to motor neurons, a cell a layer.

    Args:
        wiring: A wiring of ``ncps``, such as ``AutoNCP(19, 2)``; the state has its ``units``, the output its motor
            neurons.
        mode: See :class:`CfCCell`.
        fully_recurrent: Whether the neurons of a layer are all joined to one another, else as the wiring says.
    """

    def __init__(self, wiring: Wiring, mode: Mode = "default", fully_recurrent: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.wiring = wiring
        self.mode = mode
        self.fully_recurrent = fully_recurrent
        self.layer_cells: list[CfCCell] = []
        self.built_wiring: Wiring | None = None

    @property
    def state_size(self) -> int:
        """Numbers that are carried from step to step."""
        return self.wiring.units

    @property
    def output_size(self) -> int:
        """Numbers that one step gives."""
        return self.wiring.output_dim

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.built_wiring = build_wiring(self.wiring, input_shape[-1])
        for mask in layer_masks(self.built_wiring, self.fully_recurrent):
            inputs, units = mask.shape[0] - mask.shape[1], mask.shape[1]
            cell = CfCCell(units, self.mode, backbone_layers=0, sparsity_mask=mask, dtype=self.dtype_policy)
            cell.build((None, inputs))
            self.layer_cells.append(cell)

    def call(self, inputs: Any, states: list[Any], training: bool | None = None) -> tuple[Any, list[Any]]:
        ends = [sum(cell.units for cell in self.layer_cells[: index + 1]) for index in range(len(self.layer_cells))]
        new_states = []
        for cell, state in zip(self.layer_cells, ops.split(states[0], ends[:-1], axis=-1), strict=True):
            inputs, (state,) = cell(inputs, [state], training=training)
            new_states.append(state)
        return inputs[:, : self.output_size], [ops.concatenate(new_states, axis=-1)]

    def get_config(self) -> dict[str, Any]:
        wiring = serialize_wiring(self.wiring)
        return {**super().get_config(), "wiring": wiring, "mode": self.mode, "fully_recurrent": self.fully_recurrent}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WiredCfCCell":
        return cls(**{**config, "wiring": deserialize_wiring(config["wiring"])})


@keras.saving.register_keras_serializable(package="keras_lnn")
class CfC(keras.layers.RNN):
    """A closed-form continuous-time layer over a sequence (batch, steps, features).

    The function is the paper's, as in ``ncps.torch`` (``ncps.keras`` leaves out the tanh of the two heads and turns
    the sign of ``t_a``).

    Args:
        units: Neurons of a dense CfC, or a wiring of ``ncps``.
        mode: See :class:`CfCCell`.
        activation: Of the backbone; a wired layer has none.
        backbone_units: Width of the backbone, 128 if not given.
        backbone_layers: Layers of the backbone, 1 if not given.
        backbone_dropout: Dropout of the backbone, 0 if not given.
        fully_recurrent: See :class:`WiredCfCCell`.
        return_sequences: Whether to give every step's output, else the last one's.
        **kwargs: Of :class:`keras.layers.RNN`.

    Example:
        >>> from ncps.wirings import AutoNCP
        >>> CfC(AutoNCP(19, 2))(keras.ops.ones((4, 32, 16))).shape
        (4, 2)
    """

    def __init__(
        self,
        units: int | Wiring,
        mode: Mode = "default",
        activation: str = "lecun_tanh",
        backbone_units: int | None = None,
        backbone_layers: int | None = None,
        backbone_dropout: float | None = None,
        fully_recurrent: bool = True,
        return_sequences: bool = False,
        **kwargs: Any,
    ) -> None:
        cell_dtype = kwargs.get("dtype")
        if isinstance(units, Wiring):
            given = {"backbone_units": backbone_units, "backbone_layers": backbone_layers}
            given = [
                name for name, value in {**given, "backbone_dropout": backbone_dropout}.items() if value is not None
            ]
            if given:
                raise ValueError(f"A wired CfC has no backbone. Received: {', '.join(given)}. Leave them out.")
            cell = WiredCfCCell(units, mode, fully_recurrent, dtype=cell_dtype)
        else:
            cell = CfCCell(
                units,
                mode,
                activation,
                128 if backbone_units is None else backbone_units,
                1 if backbone_layers is None else backbone_layers,
                0.0 if backbone_dropout is None else backbone_dropout,
                dtype=cell_dtype,
            )
        super().__init__(cell, return_sequences=return_sequences, **kwargs)
        self.units = units
        self.mode = mode
        self.activation = activation
        self.backbone_units = backbone_units
        self.backbone_layers = backbone_layers
        self.backbone_dropout = backbone_dropout
        self.fully_recurrent = fully_recurrent

    @property
    def built_wiring(self) -> Wiring | None:
        """The wiring between the inputs and neurons of a built layer, for pictures; None for a dense one."""
        return self.cell.built_wiring if isinstance(self.cell, WiredCfCCell) else None

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["cell"]
        return {
            **config,
            "units": serialize_wiring(self.units) if isinstance(self.units, Wiring) else self.units,
            "mode": self.mode,
            "activation": self.activation,
            "backbone_units": self.backbone_units,
            "backbone_layers": self.backbone_layers,
            "backbone_dropout": self.backbone_dropout,
            "fully_recurrent": self.fully_recurrent,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> "CfC":
        units = config["units"]
        return cls(**{**config, "units": deserialize_wiring(units) if isinstance(units, dict) else units})
