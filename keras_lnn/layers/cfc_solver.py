"""The closed form of CfC neurons over all steps of a sequence, with its own gradient."""

from dataclasses import dataclass
from typing import Any, Literal

from keras import ops

from keras_lnn.layers.scanning import scan_steps

Mode = Literal["default", "pure", "no_gate"]
MODES = ("default", "pure", "no_gate")


@dataclass(frozen=True)
class ClosedForm:
    """Computes a neuron's new state from its heads, for each mode and both published versions.

    Attributes:
        mode: ``default``, ``pure`` or ``no_gate``.
        is_paper: Whether tanh is applied to the two heads and ``t_a`` counts positively; ``ncps.keras`` does neither.
    """

    mode: Mode
    is_paper: bool = True

    def apply(self, heads: Any, elapsed_time: Any, constants: Any) -> tuple[Any, Any]:
        """Returns the new state (..., neurons, batch) and its elementwise derivatives by the heads, of their shape.

        Args:
            heads: (..., heads, neurons, batch): ``f1``, and except in mode ``pure`` ``f2`` and the gate's argument.
            elapsed_time: For mode ``pure``, (..., 1 or neurons, batch).
            constants: For mode ``pure``, the stack of ``w_tau`` and ``A``, (2, neurons, 1).
        """
        first = heads[..., 0, :, :]
        if self.mode == "pure":
            scale = constants[1]
            decay = scale * ops.exp(-elapsed_time * (ops.abs(constants[0]) + ops.abs(first)))
            by_first = decay * (elapsed_time * ops.abs(first) - 1.0)
            return scale - decay * first, ops.expand_dims(by_first, -3)
        second, gate = heads[..., 1, :, :], ops.sigmoid(heads[..., 2, :, :])
        if self.is_paper:
            first, second = ops.tanh(first), ops.tanh(second)
        towards = second if self.mode == "no_gate" else second - first
        by_first = ops.ones_like(gate) if self.mode == "no_gate" else 1.0 - gate
        by_second = gate
        if self.is_paper:
            by_first, by_second = by_first * (1.0 - first * first), by_second * (1.0 - second * second)
        slopes = ops.stack([by_first, by_second, towards * gate * (1.0 - gate)], axis=-3)
        return first + gate * towards, slopes

    def other_derivatives(self, heads: Any, elapsed_time: Any, constants: Any) -> tuple[Any, Any]:
        """Returns the derivatives of mode ``pure`` by the elapsed time, and by ``w_tau`` and ``A``."""
        rate, scale = constants[0], constants[1]
        first = heads[..., 0, :, :]
        speed = ops.abs(rate) + ops.abs(first)
        decay = ops.exp(-elapsed_time * speed)
        by_rate = scale * decay * first * elapsed_time * ops.sign(rate)
        return scale * decay * first * speed, ops.stack([by_rate, 1.0 - decay * first], axis=-3)


def solve_steps(
    form: ClosedForm,
    inputs: Any,
    kernel: Any,
    time_kernel: Any,
    elapsed_time: Any,
    constants: Any,
    is_valid: Any,
    state: Any,
    unroll: bool = False,
) -> Any:
    r"""Returns the states after each step of neurons whose heads are linear in inputs and state.

    A step is :math:`h' = \varphi((W + t W_t) (x, h, 1))` with an elementwise :math:`\varphi`: one product for all heads
    of all neurons. The forward pass stores the states and the derivatives of :math:`\varphi`. With them, a backward
    step is one product for the gradient of the state; the gradients of inputs and kernel follow for all steps at once.
    The batch is the innermost axis.

    Args:
        form: The function :math:`\varphi`.
        inputs: :math:`x`, (steps, features, batch).
        kernel: :math:`W`, (heads, neurons, features + neurons + 1); the last column is the bias.
        time_kernel: :math:`W_t`, the part of the gate that is multiplied by the elapsed time, (neurons, features +
            neurons + 1); None if time enters otherwise.
        elapsed_time: (steps, 1 or neurons, batch); None where neither the mode nor a kernel needs it.
        constants: See :class:`ClosedForm`.
        is_valid: Zero where a state stays, of a shape that broadcasts with the states; None if every step is valid.
        state: Initial states, (neurons, batch).
        unroll: Whether to unroll the steps into one long program instead of a loop.

    Returns:
        States, (steps, neurons, batch).
    """
    heads, neurons, columns = kernel.shape
    rows = ops.reshape(kernel, (heads * neurons, columns))
    rows = rows if time_kernel is None else ops.concatenate([rows, time_kernel])
    product = _Product(heads, neurons, time_kernel is not None)
    has_times = elapsed_time is not None
    elapsed_time = elapsed_time if has_times else ops.ones_like(inputs[:1, :1, :1])
    valid = () if is_valid is None else (is_valid,)

    @ops.custom_gradient
    def solve(inputs: Any, rows: Any, elapsed_time: Any, constants: Any, state: Any, *valid: Any) -> tuple[Any, Any]:
        solver = _Solver(form, product, inputs, rows, elapsed_time, constants, valid, has_times)
        history, slopes = solver.run(state, unroll)

        def gradient(*args: Any, upstream: Any = None) -> tuple[Any, ...]:
            upstream = args[0] if upstream is None else upstream
            return *solver.gradients(state, history, slopes, upstream, unroll), *map(ops.zeros_like, valid)

        return history, gradient

    return solve(inputs, rows, elapsed_time, constants, state, *valid)


class _Solver:
    """Holds the constants of one call and runs the forward and the backward pass."""

    def __init__(
        self,
        form: ClosedForm,
        product: "_Product",
        inputs: Any,
        rows: Any,
        elapsed_time: Any,
        constants: Any,
        valid: tuple[Any, ...],
        has_times: bool,
    ) -> None:
        self.form, self.product = form, product
        self.inputs, self.rows, self.constants, self.valid = inputs, rows, constants, valid
        self.features = inputs.shape[1]
        self.elapsed_time = elapsed_time
        self.times = (elapsed_time,) if has_times else ()
        self.same_time = () if has_times else (elapsed_time[0],)

    def run(self, state: Any, unroll: bool) -> tuple[Any, Any]:
        """Returns the states after every step, (steps, neurons, batch), and the derivatives by the heads."""

        def step(state: Any, here: tuple[Any, ...]) -> tuple[Any, Any]:
            inputs, *rest = here
            elapsed_time, *valid = (*self.same_time, *rest)
            heads, _ = self.product.heads(self.rows, inputs, state, elapsed_time)
            after, slopes = self.form.apply(heads, elapsed_time, self.constants)
            after = ops.where(valid[0] > 0, after, state) if valid else after
            return after, (after, slopes)

        like = (state, ops.stack([state] * self.product.head_count))
        return scan_steps(step, state, (self.inputs, *self.times, *self.valid), like=like, unroll=unroll)

    def gradients(self, state: Any, history: Any, slopes: Any, upstream: Any, unroll: bool) -> tuple[Any, ...]:
        """Returns the gradients of the solver's arguments, in their order."""
        state_gradient, used = self._run_back(state, slopes, upstream, unroll)
        # The other gradients do not depend on the next step, so they are computed for all steps at once.
        before = ops.concatenate([state[None], history[:-1]])
        heads_gradient = slopes * used[:, None]
        product_gradient = self.product.gradient(heads_gradient, self.elapsed_time)
        inputs_gradient = ops.swapaxes(
            ops.tensordot(self.rows[:, : self.features], product_gradient, axes=((0,), (1,))), 0, 1
        )
        rows_gradient = ops.tensordot(product_gradient, _joined(self.inputs, before), axes=((0, 2), (0, 2)))
        return inputs_gradient, rows_gradient, *self._time_and_constants(before, heads_gradient, used), state_gradient

    def _run_back(self, state: Any, slopes: Any, upstream: Any, unroll: bool) -> tuple[Any, Any]:
        """Returns the gradients of the initial state, and of each step's new state before a mask."""
        to_states = ops.transpose(self.rows[:, self.features : -1])

        def step_back(adjoint: Any, here: tuple[Any, ...]) -> tuple[Any, Any]:
            upstream, slopes, *rest = here
            elapsed_time, *valid = (*self.same_time, *rest)
            arrived = adjoint + upstream
            used = arrived * valid[0] if valid else arrived
            earlier = ops.matmul(to_states, self.product.gradient(slopes * used, elapsed_time))
            return earlier + arrived * (1.0 - valid[0]) if valid else earlier, used

        here = (upstream, slopes, *self.times, *self.valid)
        first = ops.zeros_like(state)
        return scan_steps(step_back, first, here, like=state, reverse=True, unroll=unroll, with_last=True)

    def _time_and_constants(self, before: Any, heads_gradient: Any, used: Any) -> tuple[Any, Any]:
        """Returns the gradients of the elapsed time and of the constants, zeros where a step uses neither."""
        time_gradient, constants_gradient = ops.zeros_like(self.elapsed_time), ops.zeros_like(self.constants)
        is_pure = self.form.mode == "pure"
        if not self.times and not is_pure:
            return time_gradient, constants_gradient
        heads, by_time = self.product.heads(self.rows, self.inputs, before, self.elapsed_time)
        gate_gradient = heads_gradient[:, -1]
        if is_pure:
            by_time, by_constants = self.form.other_derivatives(heads, self.elapsed_time, self.constants)
            constants_gradient = ops.sum(by_constants * used[:, None], axis=(0, 3))[..., None]
            gate_gradient = used
        if self.times:
            time_gradient = by_time * gate_gradient
            is_shared = self.elapsed_time.shape[1] == 1
            time_gradient = ops.sum(time_gradient, axis=1, keepdims=True) if is_shared else time_gradient
        return time_gradient, constants_gradient


@dataclass(frozen=True)
class _Product:
    """The product of all kernels with inputs, state and one, and its split into heads."""

    head_count: int
    neurons: int
    is_timed: bool

    def heads(self, rows: Any, inputs: Any, state: Any, elapsed_time: Any) -> tuple[Any, Any]:
        """Returns the heads (..., heads, neurons, batch), and the factor of the elapsed time."""
        product = ops.matmul(rows, _joined(inputs, state))
        size = self.head_count * self.neurons
        *steps, _, batch = ops.shape(product)
        heads = ops.reshape(product[..., :size, :], (*steps, self.head_count, self.neurons, batch))
        if not self.is_timed:
            return heads, None
        by_time = product[..., size:, :]
        gate = ops.expand_dims(heads[..., -1, :, :] + elapsed_time * by_time, -3)
        return ops.concatenate([heads[..., :-1, :, :], gate], axis=-3), by_time

    def gradient(self, heads_gradient: Any, elapsed_time: Any) -> Any:
        """Returns the gradient of the product from the gradient of the heads."""
        *steps, _, _, batch = ops.shape(heads_gradient)
        flat = ops.reshape(heads_gradient, (*steps, self.head_count * self.neurons, batch))
        return ops.concatenate([flat, elapsed_time * heads_gradient[..., -1, :, :]], axis=-2) if self.is_timed else flat


def with_ones(values: Any) -> Any:
    """Appends a row of ones, which the bias is multiplied by, to values (..., features, batch)."""
    return ops.concatenate([values, ops.ones_like(values[..., :1, :])], axis=-2)


def _joined(inputs: Any, state: Any) -> Any:
    """Concatenates inputs, state and a row of ones to (..., features + neurons + 1, batch)."""
    return with_ones(ops.concatenate([inputs, state], axis=-2))
