"""Closed-form continuous-time recurrent layers (CfC).

Hasani et al., "Closed-form continuous-time neural networks", Nature Machine Intelligence 4, 2022.
"""

from typing import Any

import keras
from ncps.wirings import Wiring

from keras_lnn.layers.cfc_cell import CfCCell, listed, named
from keras_lnn.layers.cfc_solver import Mode
from keras_lnn.layers.mixed_memory import MixedMemoryCell
from keras_lnn.layers.recurrence import LiquidCell, LiquidRNN, Version
from keras_lnn.layers.wired_cfc_cell import WiredCfCCell
from keras_lnn.layers.wiring import deserialize_wiring, serialize_wiring


@keras.saving.register_keras_serializable(package="keras_lnn")
class CfC(LiquidRNN):
    """A closed-form continuous-time layer over a sequence (batch, steps, features).

    Without a backbone (no wired layer has one), each step needs one small matrix product from the state; the part of
    all heads that comes from the inputs is one product for all steps. The backward pass stores the states only and
    computes the derivatives of all steps at once. With a backbone, the inputs' part of its first layer is computed for
    all steps at once.

    Elapsed times must not be negative, see :class:`~keras_lnn.layers.recurrence.LiquidRNN`.

    Args:
        units: Number of neurons of a dense CfC, or a wiring of ``ncps``, or a wiring of your own class that extends
            ``ncps.wirings.Wiring``.
        mixed_memory: Whether an LSTM cell runs beside the liquid cell as its memory (Lechner & Hasani, 2020).
        mode: See :class:`CfCCell`.
        activation: Activation of the backbone; a wired layer has none.
        backbone_units: Width of the backbone, 128 if not given.
        backbone_layers: Number of layers of the backbone, 1 if not given.
        backbone_dropout: Dropout of the backbone, 0 if not given; drawn anew for each step.
        sparsity_mask: See :class:`CfCCell`; not for a wired layer.
        fully_recurrent: See :class:`WiredCfCCell`.
        return_sequences: Whether to return the output of every step instead of the last one.
        return_state: Whether to return the last state as well, float32 whatever the precision.
        go_backwards: Whether to begin with the last step.
        stateful: Whether a batch starts from the final states of the batch before. On JAX, Keras keeps them between
            calls of the layer, but not in ``fit`` and ``predict``.
        unroll: Whether to unroll the steps into one long program instead of a loop.
        zero_output_for_mask: Whether masked steps return zeros instead of the output of the step before.
        version: ``paper`` (the function of the paper and of ``ncps.torch``), or ``ncps.keras``; see :class:`CfCCell`
            and, for mixed memory, :class:`MixedMemoryCell`.
        **kwargs: Passed to :class:`keras.layers.Layer`.

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
        dtype = kwargs.get("dtype")
        shared: dict[str, Any] = {"mode": mode, "activation": activation, "version": version, "dtype": dtype}
        own: dict[str, Any] = {
            "backbone_units": backbone_units,
            "backbone_layers": backbone_layers,
            "backbone_dropout": backbone_dropout,
            "sparsity_mask": sparsity_mask,
        }
        cell: LiquidCell = _make_cell(units, fully_recurrent, own, shared)
        if mixed_memory:
            cell = MixedMemoryCell(cell, version=version, dtype=dtype)
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
            "activation": named(self.activation),
            "backbone_units": self.backbone_units,
            "backbone_layers": self.backbone_layers,
            "backbone_dropout": self.backbone_dropout,
            "sparsity_mask": listed(self.sparsity_mask),
            "fully_recurrent": self.fully_recurrent,
            "version": self.version,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> "CfC":
        units = config["units"]
        arguments: dict[str, Any] = {**config, "units": deserialize_wiring(units) if isinstance(units, dict) else units}
        return cls(**arguments)


def _make_cell(
    units: int | Wiring, fully_recurrent: bool, own: dict[str, Any], shared: dict[str, Any]
) -> CfCCell | WiredCfCCell:
    """Returns the cell for a number of neurons or for a wiring.

    Args:
        units: Number of neurons, or the wiring.
        fully_recurrent: An argument that only a wired cell has.
        own: Arguments that only a dense cell has; None for those that were not given.
        shared: Arguments of both.
    """
    given = {name: value for name, value in own.items() if value is not None}
    if not isinstance(units, Wiring):
        return CfCCell(units, **shared, **{"backbone_dropout": 0.0, **given})
    if given:
        raise ValueError(f"A wired CfC has no backbone and no mask. Received: {', '.join(given)}. Leave them out.")
    return WiredCfCCell(units, fully_recurrent, **shared)
