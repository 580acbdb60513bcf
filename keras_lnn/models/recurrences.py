"""The layers that read sequences inside a network, chosen by name: liquid, plain recurrent, or dense for each step."""

from __future__ import annotations

from typing import Any, Literal

from keras import layers, ops
from ncps.wirings import Wiring

from keras_lnn.layers import LTC, CfC

Recurrence = Literal["ltc", "cfc", "rnn", "lstm", "gru", "dense"]
Directions = Literal["forwards", "backwards", "both"]

_LIQUID: dict[str, Any] = {"ltc": LTC, "cfc": CfC}
_PLAIN: dict[str, Any] = {"rnn": layers.SimpleRNN, "lstm": layers.LSTM, "gru": layers.GRU}


def is_liquid(recurrence: Recurrence) -> bool:
    """Returns whether a recurrence is a liquid layer, which takes wirings and elapsed times."""
    return recurrence in _LIQUID


def make_recurrence(recurrence: Recurrence, units: int | Wiring, **options: Any) -> layers.Layer:
    """Returns a new recurrent layer that outputs every step of sequences (batch, steps, features).

    Args:
        recurrence: Any choice except ``dense``, which has no state: each network sizes its dense layers itself.
        units: Number of neurons, or a wiring for a liquid layer; a plain layer has as many units as the wiring has
            neurons.
        **options: Further arguments of the layer, such as ``name`` and ``go_backwards``.
    """
    if is_liquid(recurrence):
        return _LIQUID[recurrence](units, return_sequences=True, **options)
    neurons = units.units if isinstance(units, Wiring) else units
    return _PLAIN[recurrence](neurons, return_sequences=True, **options)


class BothDirections:
    """Reads sequences by one layer forwards and by another backwards, and concatenates their outputs at each step.

    All calls share the weights of these two layers.

    Args:
        recurrence: See :func:`make_recurrence`.
        units: Neurons of each layer, or a wiring.
        prefix: Start of both layers' names, which end in ``forwards`` and ``backwards``.
        **options: Further arguments of both layers.
    """

    def __init__(self, recurrence: Recurrence, units: int | Wiring, prefix: str = "", **options: Any) -> None:
        self.recurrence: Recurrence = recurrence
        self.units = units
        self.prefix = prefix
        self.options = options
        self.layers: dict[str, layers.Layer] = {}

    def __call__(self, steps: Any, elapsed_time: Any = None) -> Any:
        """Returns the outputs (batch, steps, twice the outputs of a layer) for sequences (batch, steps, features).

        Args:
            steps: (batch, steps, features).
            elapsed_time: (batch, steps, 1), the time since the step before; plain layers do not use it.
        """
        parts = (steps,) if elapsed_time is None or not is_liquid(self.recurrence) else (steps, elapsed_time)
        ahead = self._read("forwards", parts)
        back = self._read("backwards", tuple(ops.flip(part, axis=1) for part in parts))
        return ops.concatenate([ahead, ops.flip(back, axis=1)], axis=-1)

    def _read(self, direction: str, parts: tuple[Any, ...]) -> Any:
        # Layers draw their initial weights when they are created and built. Creating each right before its first call
        # keeps the order of the draws, and so the results of a seed.
        if direction not in self.layers:
            name = f"{self.prefix}{direction}"
            self.layers[direction] = make_recurrence(self.recurrence, self.units, name=name, **self.options)
        return self.layers[direction](parts if len(parts) == 2 else parts[0])


def find_hidden_width(parameters: int, inputs: int, outputs: int) -> int:
    """Returns the width of the first of two dense layers that together have about as many parameters as asked for."""
    return max(1, (parameters - outputs) // (inputs + 1 + outputs))
