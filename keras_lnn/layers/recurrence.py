"""The base classes of all liquid layers: cells that take one step or a whole sequence, and the layer that runs them."""

import json
import weakref
from typing import Any, Literal

import keras
from keras import ops
from ncps.wirings import Wiring

from keras_lnn.backend.loops import scan_states
from keras_lnn.backend.programs import builds_plain_graphs, call_compiled, call_filled, compiles_separately
from keras_lnn.layers.custom_wirings import MissingWiring
from keras_lnn.layers.scanning import scan_steps
from keras_lnn.layers.step_times import add_last_axis, require_not_negative, split_elapsed_time
from keras_lnn.layers.traces import Trace, flip_steps, hide_masked, to_numpy
from keras_lnn.layers.wiring import BuiltWiring, build_wiring, deserialize_wiring, is_custom, serialize_wiring

Version = Literal["paper", "ncps.keras"]
VERSIONS = ("paper", "ncps.keras")
_HALF_PRECISION = ("float16", "bfloat16")
# By layer and its settings the values of its variables and its compiled programs; Keras would save attributes with it.
_programs: weakref.WeakKeyDictionary[Any, dict[str, tuple[list[Any], dict[Any, Any]]]] = weakref.WeakKeyDictionary()


def check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Raises an error that lists the choices if a value is none of them."""
    if value not in choices:
        listed = ", ".join(map(str, choices))
        raise ValueError(f"{name} must be one of {listed}. Received: {value!r}.")


def check_units(units: int) -> None:
    """Raises an error if the number of neurons is below one."""
    if units < 1:
        raise ValueError(f"units must be at least 1. Received: {units}.")


class LiquidCell(keras.layers.Layer):
    """Base class of cells that compute one step of a liquid network, or all steps of a sequence at once.

    A subclass declares ``state_size`` and ``output_size``, prepares what does not depend on the states for all steps
    together, computes a step, and reads the outputs from the states. State and solver are float32 (or wider) whatever
    the dtype policy: half precision loses small changes of a state.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._saved_wiring: Wiring | None = None
        if self.compute_dtype in _HALF_PRECISION:
            self.dtype_policy = keras.dtype_policies.DTypePolicy("float32")

    def read(self, weight: Any) -> Any:
        """Returns a weight as a tensor in the compute dtype."""
        return ops.cast(weight, self.compute_dtype)

    def find_wired_cell(self) -> "LiquidCell | None":
        """Returns the cell whose neurons a wiring connects (this one or one within it), or None."""
        return self if hasattr(self, "wiring") else None

    def build_own_wiring(self, input_features: int) -> Wiring:
        """Returns the cell's wiring for this number of inputs, with the saved synapses if it was loaded from a file."""
        saved = self._saved_wiring
        return saved if saved is not None else build_wiring(self.wiring, input_features)

    def get_build_config(self) -> dict[str, Any] | None:
        return with_synapses(super().get_build_config(), self)

    def build_from_config(self, config: dict[str, Any]) -> None:
        super().build_from_config(take_synapses(config, self))

    def draw_noise(self, batch: Any, steps: Any, training: bool | None) -> tuple[Any, ...]:
        """Draws the random values of every step outside the scan, steps first; an empty tuple by default."""
        return ()

    def draws_noise(self, training: bool | None) -> bool:
        """Returns whether :meth:`draw_noise` draws random values, which depend on the size of the batch."""
        return False

    def fold_inputs(self) -> dict[str, Any]:
        """Returns the weights in the form that :meth:`prepare` needs."""
        return {}

    def prepare(self, inputs: Any, elapsed_time: Any, noise: tuple[Any, ...], folded: dict[str, Any]) -> Any:
        """Computes what the steps need besides states and weights, as a structure of tensors with the steps first.

        Args:
            inputs: (batch, steps, features).
            elapsed_time: (batch, steps, 1), or None where every step takes a time of one.
            noise: Result of :meth:`draw_noise`.
            folded: Result of :meth:`fold_inputs`.
        """
        raise NotImplementedError

    def fold(self, is_timed: bool) -> dict[str, Any]:
        """Computes the weights in the form that the steps need, once per call.

        Args:
            is_timed: Whether an elapsed time is given.
        """
        raise NotImplementedError

    def step(self, prepared: Any, folded: dict[str, Any], states: list[Any]) -> list[Any]:
        """Returns the states (batch, size) after one step."""
        raise NotImplementedError

    def read_out(self, states: list[Any]) -> Any:
        """Returns the outputs (..., output_size) for states (..., size)."""
        return states[0]

    def trace_steps(self, inputs: Any, elapsed_time: Any, before: list[Any], after: list[Any]) -> dict[str, Any]:
        """Returns the values of a :class:`~keras_lnn.layers.traces.Trace` that the cell knows, by name.

        Args:
            inputs: (batch, steps, features).
            elapsed_time: (batch, steps, 1), or None where every step takes a time of one.
            before: States (batch, steps, size) before each step.
            after: States after each step.
        """
        raise NotImplementedError

    def run(self, prepared: Any, folded: dict[str, Any], is_valid: Any, states: list[Any], unroll: bool) -> list[Any]:
        """Returns the states (batch, steps, size) after each step.

        Args:
            prepared: Result of :meth:`prepare`.
            folded: Result of :meth:`fold`.
            is_valid: (steps, batch, 1), zero where a step is masked and the states stay; None if no step is masked.
            states: Initial states, (batch, size).
            unroll: Whether to unroll the steps into one long program instead of a loop.
        """

        def step(states: list[Any], inputs: tuple[Any, ...], folded: dict[str, Any]) -> list[Any]:
            after = self.step(inputs[0], folded, states)
            if len(inputs) == 2:
                after = [ops.where(inputs[1] > 0, new, old) for new, old in zip(after, states, strict=True)]
            return after

        inputs = (prepared,) if is_valid is None else (prepared, is_valid)
        if unroll or builds_plain_graphs():

            def step_on(before: Any, here: Any) -> tuple[Any, Any]:
                after = step(before, here, folded)
                return after, after

            history = scan_steps(step_on, states, inputs, unroll=True)
        else:
            history = scan_states(step, states, inputs, folded)
        return [ops.swapaxes(values, 0, 1) for values in history]

    def step_of_run(self, prepared: Any, folded: dict[str, Any], states: list[Any]) -> list[Any]:
        """Computes a step as a run over a sequence of one, for cells that have their own solver."""
        one_step = keras.tree.map_structure(lambda values: values[None], prepared)
        return [history[:, 0] for history in self.run(one_step, folded, None, states, unroll=True)]

    def call(self, inputs: Any, states: Any, training: bool | None = None) -> tuple[Any, list[Any]]:
        inputs, elapsed_time = split_elapsed_time(inputs, self.compute_dtype)
        if elapsed_time is not None:
            elapsed_time = require_not_negative(ops.reshape(elapsed_time, (-1, 1, 1)))
        states = list(states) if isinstance(states, list | tuple) else [states]
        states = [ops.cast(state, self.compute_dtype) for state in states]
        noise = self.draw_noise(ops.shape(inputs)[0], 1, training)
        prepared = self.prepare(inputs[:, None], elapsed_time, noise, self.fold_inputs())
        prepared = keras.tree.map_structure(lambda values: values[0], prepared)
        states = self.step(prepared, self.fold(elapsed_time is not None), states)
        return self.read_out(states), states


def shape_of_inputs(shape: Any) -> tuple[Any, ...]:
    """Returns the shape of the inputs alone from the shape of ``inputs`` or ``(inputs, elapsed_time)``."""
    nested = isinstance(shape[0], list | tuple)
    return tuple(shape[0]) if nested else tuple(shape)


def with_synapses(build_config: dict[str, Any] | None, cell: LiquidCell) -> dict[str, Any] | None:
    """Adds to a build configuration the synapses of a built cell whose wiring is of a user's class.

    The cell's configuration describes how to recreate the wiring; these synapses are used instead, so that the layer
    loads even if the class is missing or has changed.
    """
    wired = cell.find_wired_cell()
    if not build_config or wired is None or wired.built_wiring is None or not is_custom(wired.wiring):
        return build_config
    return {**build_config, "wiring": serialize_wiring(BuiltWiring.of(wired.built_wiring))}


def take_synapses(build_config: dict[str, Any] | None, cell: LiquidCell) -> dict[str, Any] | None:
    """Gives a cell the synapses that :func:`with_synapses` saved and returns the rest of the build configuration."""
    if not build_config or "wiring" not in build_config:
        return build_config
    wired, saved = cell.find_wired_cell(), deserialize_wiring(build_config["wiring"])
    if wired is None:
        raise ValueError(f"Only a cell with a wiring takes synapses. Received: {type(cell).__name__}. Save it again.")
    wired._saved_wiring = saved
    if isinstance(wired.wiring, MissingWiring):
        wired.wiring.built = saved
    return {name: value for name, value in build_config.items() if name != "wiring"}


class LiquidRNN(keras.layers.RNN):
    """Runs a liquid cell over sequences: regular or irregular, masked, in any precision, compiled where that is faster.

    Beyond :class:`keras.layers.RNN`, inputs can be ``(inputs, elapsed_time)`` with the time since the step before,
    (batch, steps) or (batch, steps, 1). At a masked step neither inputs nor time are read, so they can be NaN. At any
    other step a negative time is an error: called with values, the layer raises it; in compiled programs (``fit``,
    ``predict``, ``tf.function``, ``jax.jit``, exported models), which cannot raise on every backend, all outputs of
    that sequence are NaN, and so is the loss.

    On TensorFlow the recurrence is an XLA program of its own inside whatever graph the layer is called in, and part of
    the program where that graph is compiled as a whole (``jit_compile``); called eagerly it runs operation by
    operation.
    """

    def __init__(self, cell: LiquidCell, **kwargs: Any) -> None:
        # Elapsed times and states must not be rounded to half precision on the way in.
        super().__init__(cell, autocast=False, **kwargs)

    @property
    def built_wiring(self) -> Wiring | None:
        """Returns the wiring of a built layer, to be plotted, or None for a dense layer."""
        return getattr(self.cell, "built_wiring", None)

    @property
    def variable_dtype(self) -> str:
        """Returns the dtype of the cell's variables, which states keep from one batch to the next."""
        cell = getattr(self, "cell", None)
        return super().variable_dtype if cell is None else cell.variable_dtype

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        super().build(shape_of_inputs(sequences_shape))
        for state in keras.tree.flatten(self.states) if self.stateful else []:
            # By default, Keras would round these variables to half precision when they are read.
            state._autocast = False

    def get_build_config(self) -> dict[str, Any] | None:
        return with_synapses(super().get_build_config(), self.cell)

    def build_from_config(self, config: dict[str, Any]) -> None:
        super().build_from_config(take_synapses(config, self.cell))

    def compute_output_shape(self, sequences_shape: Any, initial_state_shape: Any = None) -> Any:
        return super().compute_output_shape(shape_of_inputs(sequences_shape))

    def compute_output_spec(self, sequences: Any, *args: Any, **kwargs: Any) -> Any:
        shapes = keras.tree.map_structure(lambda tensor: tuple(tensor.shape), sequences)
        nested = isinstance(sequences, list | tuple)
        shapes = self.compute_output_shape(shapes if not nested else tuple(shapes))
        if not self.return_state:
            return keras.KerasTensor(shapes, dtype=self.compute_dtype)
        states = [keras.KerasTensor(shape, dtype=self.cell.compute_dtype) for shape in shapes[1:]]
        return keras.KerasTensor(shapes[0], dtype=self.compute_dtype), *states

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
        inputs, elapsed_time = split_elapsed_time(sequences, self.cell.compute_dtype)
        if elapsed_time is not None:
            elapsed_time = add_last_axis(elapsed_time, inputs)
        mask = next((part for part in keras.tree.flatten(mask) if part is not None), None)
        # States of zeros are made within the program: whatever is constant would be compiled into one of its own.
        states = None if initial_state is None and not self.stateful else self._first_states(inputs, initial_state)
        outputs, states = self._call_run(training, inputs, elapsed_time, mask, states)
        if self.stateful:
            for variable, state in zip(keras.tree.flatten(self.states), states, strict=True):
                variable.assign(state)
        outputs = ops.cast(outputs, self.compute_dtype)
        return (outputs, *states) if self.return_state else outputs

    def _call_run(self, training: bool, inputs: Any, *others: Any) -> tuple[Any, list[Any]]:
        """Returns the result of :meth:`_run`, computed as the backend does it fastest, with states if they are used."""
        # A program is compiled for one length: where lengths vary, compiling for each costs more than it saves.
        if inputs.shape[1] is None or not compiles_separately():
            return self._run(inputs, *others, training=training)
        layer: Any = weakref.proxy(self)  # its programs are kept as long as the layer, so they must not keep it
        with_states = self.stateful or self.return_state

        def run(*arguments: Any) -> tuple[Any, list[Any]]:
            outputs, states = layer._run(*arguments, training=training)
            return outputs, states if with_states else []

        call = call_compiled if self.stateful or self.cell.draws_noise(training) else call_filled
        return call(run, inputs, *others, programs=self._find_programs(training))

    def _find_programs(self, training: bool) -> dict[Any, Any] | None:
        """Returns the compiled programs that fit the settings and variables of the layer, None if they are not known.

        Both can have changed since a program was compiled; within ``stateless_call`` a variable has another value.
        """
        try:
            configs = [self.get_config(), self.cell.get_config()]
        except NotImplementedError:  # a cell of a user's own need not have one
            return None
        settings = json.dumps([bool(training), *configs], sort_keys=True, default=str)
        values = [variable.value for variable in self.variables]
        known, programs = _programs.setdefault(self, {}).get(settings, ([], {}))
        if len(known) != len(values) or any(one is not other for one, other in zip(known, values, strict=True)):
            programs = {}
        _programs[self][settings] = (values, programs)
        return programs

    def _first_states(self, inputs: Any, given: Any) -> list[Any]:
        if given is None:
            if self.stateful:
                self._check_batch(inputs)
            given = self.states if self.stateful else self.get_initial_state(batch_size=ops.shape(inputs)[0])
        given = list(given) if isinstance(given, list | tuple) else [given]
        return [ops.cast(state, self.cell.compute_dtype) for state in given]

    def _check_batch(self, inputs: Any) -> None:
        expected, received = self._expected_batch_size, inputs.shape[0]
        if None not in (expected, received) and expected != received:
            raise ValueError(
                f"A stateful layer needs the batch size that it was built with, {expected}. Received: {received}."
            )

    def trace(self, sequences: Any, mask: Any = None, initial_state: Any = None) -> Trace:
        """Returns the inner values of the layer for some sequences: what each neuron and each synapse did at each step.

        The layer is not changed, nor is a state that it keeps. Currents need memory for each synapse, step and
        sequence, so trace a few sequences at a time.

        Args:
            sequences: ``inputs`` (batch, steps, features) or ``(inputs, elapsed_time)``, as for a call of the layer.
            mask: (batch, steps), false where a step is not read; None if every step is.
            initial_state: The states before the first step, as for a call of the layer.

        Returns:
            NumPy arrays, with the steps in the order of the inputs, even if the layer goes backwards.

        Raises:
            ValueError: If the layer has not been built.
        """
        if not self.built:
            raise ValueError(
                f"A layer must be built before it is traced. Received: {self.name}, which has no weights yet. "
                f"Call it or load them first."
            )
        inputs, elapsed_time = split_elapsed_time(sequences, self.cell.compute_dtype)
        elapsed_time = None if elapsed_time is None else add_last_axis(elapsed_time, inputs)
        first = self._first_states(inputs, initial_state)
        inputs, elapsed_time, mask = self._order_steps(inputs, elapsed_time, mask)
        after = self._run_cell(inputs, elapsed_time, mask, first, training=False)
        before = [
            ops.concatenate([state[:, None], states[:, :-1]], axis=1)
            for state, states in zip(first, after, strict=True)
        ]
        values = self.cell.trace_steps(inputs, elapsed_time, before, after)
        values |= {"outputs": to_numpy(self.cell.read_out(after))}
        values = values if mask is None else hide_masked(values, to_numpy(mask))
        return Trace(**(flip_steps(values) if self.go_backwards else values))

    def _order_steps(self, inputs: Any, elapsed_time: Any, mask: Any) -> tuple[Any, Any, Any]:
        """Returns inputs, times and mask in the order of reading, without the values of masked steps."""
        if mask is not None:
            mask = ops.reshape(ops.cast(mask, "bool"), ops.shape(inputs)[:2])
            # The value of a masked step, even NaN, must reach neither outputs nor gradients.
            inputs = ops.where(mask[..., None], inputs, ops.zeros_like(inputs))
            if elapsed_time is not None:
                elapsed_time = ops.where(mask[..., None], elapsed_time, ops.ones_like(elapsed_time))
        if elapsed_time is not None:
            elapsed_time = require_not_negative(elapsed_time)
        if not self.go_backwards:
            return inputs, elapsed_time, mask
        inputs, elapsed_time, mask = (
            part if part is None else ops.flip(part, axis=1) for part in (inputs, elapsed_time, mask)
        )
        return inputs, elapsed_time, mask

    def _run_cell(self, inputs: Any, elapsed_time: Any, mask: Any, states: list[Any], training: bool) -> list[Any]:
        """Returns the states (batch, steps, size) after each step, in the order of reading."""
        is_valid = None if mask is None else ops.cast(ops.transpose(mask)[..., None], inputs.dtype)
        batch, steps, _ = ops.shape(inputs)
        noise = self.cell.draw_noise(batch, steps, training)
        prepared = self.cell.prepare(inputs, elapsed_time, noise, self.cell.fold_inputs())
        folded = self.cell.fold(elapsed_time is not None)
        return self.cell.run(prepared, folded, is_valid, states, self.unroll)

    def _run(
        self, inputs: Any, elapsed_time: Any, mask: Any, states: list[Any] | None, training: bool
    ) -> tuple[Any, list[Any]]:
        states = self._first_states(inputs, None) if states is None else states
        inputs, elapsed_time, mask = self._order_steps(inputs, elapsed_time, mask)
        history = self._run_cell(inputs, elapsed_time, mask, states, training)
        last = [states[:, -1] for states in history]
        if not self.return_sequences and mask is None:
            return self.cell.read_out(last), last
        outputs = self.cell.read_out(history)
        if mask is not None:
            shown = mask if self.zero_output_for_mask else ops.cumsum(ops.cast(mask, "int32"), axis=1) > 0
            outputs = ops.where(shown[..., None], outputs, ops.zeros_like(outputs))
        return outputs if self.return_sequences else outputs[:, -1], last

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["cell"]
        return config
