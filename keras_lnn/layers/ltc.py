"""Liquid time-constant recurrent layers (LTC).

Hasani et al., "Liquid time-constant networks", AAAI 2021; the wired form is Lechner et al., "Neural circuit policies
enabling auditable autonomy", Nature Machine Intelligence 2, 2020.
"""

from typing import Any

import keras
from ncps.wirings import FullyConnected, Wiring

from keras_lnn.layers.ltc_cell import LTCCell, Mapped, Ranges, plain_ranges
from keras_lnn.layers.mixed_memory import MixedMemoryCell
from keras_lnn.layers.recurrence import VERSIONS, LiquidCell, LiquidRNN, Version, check_choice, check_units
from keras_lnn.layers.wiring import deserialize_wiring, serialize_wiring


@keras.saving.register_keras_serializable(package="keras_lnn")
class LTC(LiquidRNN):
    """A liquid time-constant layer over a sequence (batch, steps, features).

    In the paper, a neuron's potential ``v`` is that of a leaky membrane which synapses pull towards their reversal
    potentials ``E``, so that inputs change not only its target but also its speed:

    ::

        c dv/dt = g (v_leak - v) + sum_j w_j sigmoid(s_j (x_j - mu_j)) (E_j - v)

    summed over all sensory inputs and neurons ``x_j`` that reach it. The layer computes it as follows:

    1. The sigmoids of the *inputs* do not depend on the state: they are evaluated for all steps before the scan.
    2. Only synapses that the wiring has are computed, in tables whose innermost axis is the batch: those of the inputs
       by target, those of the neurons in a list without padding.
    3. Each step is ``ode_unfolds`` fused Euler steps ``v = (c v + h sum(w E sigmoid)) / (c + h sum(w sigmoid))``, with
       ``h`` the elapsed time over the unfolds, and leak and inputs in both sums: stable for any ``h``, of first order.
    4. Both sums come from one table of ``w E`` and ``w``; ``s (x - mu)`` is one multiply-add, ``s x - s mu``, which
       also holds the scaling of the inputs.
    5. The forward pass stores potentials and denominators only. The backward pass recomputes the sigmoids of all
       unfolds of a step at once, while they fit the cache, runs the adjoint back through a sparse linear recurrence and
       adds up the gradients of the neurons' synapses on the way.
    6. The gradients of the inputs' synapses are computed after that, from sigmoids recomputed for a few steps at a
       time: memory does not grow with the number of steps.
    7. On TensorFlow all of this is one XLA program inside the model's graph; the layers around it are not compiled.

    First order means that twice the unfolds halve the error. With fresh weights of ``AutoNCP(21, 1)`` and
    ``AutoNCP(19, 2)``, random inputs and potentials from -1 to 1, the error of six unfolds after an elapsed time of
    1 is 0.016 in the median and at least 0.06 for one neuron in ten. After 10 or 100 most neurons have settled, but
    the error of single slow ones is up to 0.55 and 0.08 (0.03 and 0.0001 with 48 unfolds), so raise ``ode_unfolds``
    for long gaps; measured by ``python benchmarks/ltc_accuracy.py``. With trained weights errors can be larger.

    Elapsed times must not be negative, see :class:`~keras_lnn.layers.recurrence.LiquidRNN`.

    Args:
        units: Number of fully connected neurons, or a wiring of ``ncps`` such as ``AutoNCP(21, 1)``, or a wiring of
            your own class that extends ``ncps.wirings.Wiring``.
        mixed_memory: Whether an LSTM cell runs beside the liquid cell as its memory (Lechner & Hasani, 2020).
        input_mapping: ``affine`` or ``linear`` scaling of the inputs, or None.
        output_mapping: ``affine`` or ``linear`` scaling of the motor neurons' potentials, or None.
        ode_unfolds: Steps of the solver within one step of the sequence; use more for long elapsed times.
        epsilon: Added to the denominator, so that it is never zero.
        initialization_ranges: Maps a weight's name (``w``, ``sensory_sigma``, ...) to the smallest and largest initial
            value.
        return_sequences: Whether to return the output of every step instead of the last one.
        return_state: Whether to return the last state as well, float32 whatever the precision.
        go_backwards: Whether to begin with the last step.
        stateful: Whether a batch starts from the final states of the batch before. On JAX, Keras keeps them between
            calls of the layer, but not in ``fit`` and ``predict``.
        unroll: Whether to unroll the steps into one long program instead of a loop.
        zero_output_for_mask: Whether masked steps return zeros instead of the output of the step before.
        version: Version of mixed memory: ``paper``, as in ``ncps.torch``, where the memory's output is the state of the
            liquid cell, or ``ncps.keras``, where it is the input.
        **kwargs: Passed to :class:`keras.layers.Layer`.

    Example:
        >>> from ncps.wirings import AutoNCP
        >>> inputs, elapsed_time = keras.ops.ones((4, 28, 400)), keras.ops.ones((4, 28))
        >>> LTC(AutoNCP(21, 1), return_sequences=True)((inputs, elapsed_time)).shape
        (4, 28, 1)
    """

    def __init__(
        self,
        units: int | Wiring,
        mixed_memory: bool = False,
        input_mapping: Mapped = "affine",
        output_mapping: Mapped = "affine",
        ode_unfolds: int = 6,
        epsilon: float = 1e-8,
        initialization_ranges: Ranges | None = None,
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
        check_choice("version", version, VERSIONS)
        if not isinstance(units, Wiring):
            check_units(units)
        cell: LiquidCell = LTCCell(
            units if isinstance(units, Wiring) else FullyConnected(units),
            input_mapping,
            output_mapping,
            ode_unfolds,
            epsilon,
            initialization_ranges,
            dtype=kwargs.get("dtype"),
        )
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
        self.input_mapping = input_mapping
        self.output_mapping = output_mapping
        self.ode_unfolds = ode_unfolds
        self.epsilon = epsilon
        self.initialization_ranges = initialization_ranges
        self.version = version

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": serialize_wiring(self.units) if isinstance(self.units, Wiring) else self.units,
            "mixed_memory": self.mixed_memory,
            "input_mapping": self.input_mapping,
            "output_mapping": self.output_mapping,
            "ode_unfolds": self.ode_unfolds,
            "epsilon": self.epsilon,
            "initialization_ranges": plain_ranges(self.initialization_ranges),
            "version": self.version,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> "LTC":
        units = config["units"]
        arguments: dict[str, Any] = {**config, "units": deserialize_wiring(units) if isinstance(units, dict) else units}
        return cls(**arguments)
