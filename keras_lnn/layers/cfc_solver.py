"""The closed form of CfC neurons over all steps of a sequence, with a gradient of its own."""

from dataclasses import dataclass
from typing import Any, Literal

from keras import ops

from keras_lnn.layers.scanning import scan_steps

Mode = Literal["default", "pure", "no_gate"]
MODES = ("default", "pure", "no_gate")


@dataclass(frozen=True)
class ClosedForm:
    """What a neuron makes of its heads, for each mode and both published versions.

    Attributes:
        mode: ``default``, ``pure`` or ``no_gate``.
        is_paper: Whether the two heads go through tanh and ``t_a`` counts positively; ``ncps.keras`` does neither.
    """

    mode: Mode
    is_paper: bool = True

    def apply(self, heads: Any, elapsed_time: Any, constants: Any) -> tuple[Any, Any]:
        """The new state (..., neurons, batch), and its derivatives by the heads, elementwise and of their shape.

        Args:
            heads: (..., heads, neurons, batch): ``f1``, and but for mode ``pure`` ``f2`` and the argument of the gate.
            elapsed_time: For mode ``pure``, (..., 1 or neurons, batch).
            constants: For mode ``pure``, the stack of ``w_tau`` and ``A``, (2, neurons, 1).
        """
        first = heads[..., 0, :, :]
        if self.mode == "pure":
            scale = constants[1]
            decay = scale * ops.exp(-elapsed_time * (ops.abs(constants[0]) + ops.abs(first)))
            by_first = decay * (elapsed_time * ops.abs(first) - 1.0)
            return scale - decay * first, by_first[..., None, :, :]
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
        """Those of mode ``pure`` by the elapsed time, and by ``w_tau`` and ``A``; elsewhere there are none."""
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
    r"""The states after each step of neurons whose heads are linear in inputs and state.

    A step is :math:`h' = \varphi((W + t W_t) (x, h, 1))` with an elementwise :math:`\varphi`: one product for all heads
    of all neurons. The forward pass keeps the states and the derivatives of :math:`\varphi`; with them a step back is
    one product for the gradient of the state; those of inputs and kernel follow for all steps at once. The batch is
    the innermost axis.

    Args:
        form: :math:`\varphi`.
        inputs: :math:`x`, (steps, features, batch).
        kernel: :math:`W`, (heads, neurons, features + neurons + 1); the last column is the bias.
        time_kernel: :math:`W_t`, what counts by the elapsed time in the gate, (neurons, features + neurons + 1); None
            if time enters otherwise.
        elapsed_time: (steps, 1 or neurons, batch); None where neither the mode nor a kernel asks for it.
        constants: See :class:`ClosedForm`.
        is_valid: Of a shape that goes with it, zero where a state stays; None for nowhere.
        state: At the beginning, (neurons, batch).
        unroll: Whether the steps become one long program instead of a loop.

    Returns:
        (steps, neurons, batch).
    """
    heads, neurons, columns = kernel.shape
    rows = ops.reshape(kernel, (heads * neurons, columns))
    rows = rows if time_kernel is None else ops.concatenate([rows, time_kernel])
    product = _Product(heads, neurons, time_kernel is not None)
    is_needed = elapsed_time is not None
    elapsed_time = elapsed_time if is_needed else ops.ones_like(inputs[:1, :1, :1])
    valid = () if is_valid is None else (is_valid,)

    @ops.custom_gradient
    def solve(inputs: Any, rows: Any, elapsed_time: Any, constants: Any, state: Any, *valid: Any) -> tuple[Any, Any]:
        def step(state: Any, here: tuple[Any, ...]) -> tuple[Any, Any]:
            inputs, elapsed_time, *valid = here if is_needed else (here[0], one, *here[1:])
            given, _ = product.heads(rows, inputs, state, elapsed_time)
            after, slopes = form.apply(given, elapsed_time, constants)
            after = ops.where(valid[0] > 0, after, state) if valid else after
            return after, (after, slopes)

        times, one = ((elapsed_time,), None) if is_needed else ((), elapsed_time[0])
        like = (state, ops.stack([state] * heads))
        history, slopes = scan_steps(step, state, (inputs, *times, *valid), like=like, unroll=unroll)

        def gradient(*args: Any, upstream: Any = None) -> tuple[Any, ...]:
            upstream = args[0] if upstream is None else upstream
            features = inputs.shape[1]
            to_states = ops.transpose(rows[:, features:-1])

            def step_back(adjoint: Any, here: tuple[Any, ...]) -> tuple[Any, Any]:
                upstream, slopes, *rest = here
                elapsed_time, *valid = rest if is_needed else (one, *rest)
                arrived = adjoint + upstream
                used = arrived * valid[0] if valid else arrived
                earlier = ops.matmul(to_states, product.gradient(slopes * used, elapsed_time))
                return earlier + arrived * (1.0 - valid[0]) if valid else earlier, used

            here = (upstream, slopes, *times, *valid)
            of_state, used = scan_steps(
                step_back, ops.zeros_like(state), here, like=state, reverse=True, unroll=unroll, with_last=True
            )
            # Nothing else waits for the step behind it.
            before = ops.concatenate([state[None], history[:-1]])
            of_heads = slopes * used[:, None]
            of_product = product.gradient(of_heads, elapsed_time)
            of_inputs = ops.swapaxes(ops.tensordot(rows[:, :features], of_product, axes=((0,), (1,))), 0, 1)
            of_rows = ops.tensordot(of_product, _joined(inputs, before), axes=((0, 2), (0, 2)))
            of_time, of_constants = ops.zeros_like(elapsed_time), ops.zeros_like(constants)
            if is_needed or form.mode == "pure":
                given, by_time = product.heads(rows, inputs, before, elapsed_time)
                of_gate = of_heads[:, -1]
                if form.mode == "pure":
                    by_time, by_constants = form.other_derivatives(given, elapsed_time, constants)
                    of_constants = ops.sum(by_constants * used[:, None], axis=(0, 3))[..., None]
                    of_gate = used
                if is_needed:
                    of_time = by_time * of_gate
                    of_time = ops.sum(of_time, axis=1, keepdims=True) if elapsed_time.shape[1] == 1 else of_time
            return of_inputs, of_rows, of_time, of_constants, of_state, *map(ops.zeros_like, valid)

        return history, gradient

    return solve(inputs, rows, elapsed_time, constants, state, *valid)


@dataclass(frozen=True)
class _Product:
    """The product of all kernels with inputs, state and one, and its rows as heads."""

    head_count: int
    neurons: int
    is_timed: bool

    def heads(self, rows: Any, inputs: Any, state: Any, elapsed_time: Any) -> tuple[Any, Any]:
        """The heads (..., heads, neurons, batch), and what the elapsed time is multiplied by."""
        product = ops.matmul(rows, _joined(inputs, state))
        size = self.head_count * self.neurons
        *steps, _, batch = ops.shape(product)
        heads = ops.reshape(product[..., :size, :], (*steps, self.head_count, self.neurons, batch))
        if not self.is_timed:
            return heads, None
        by_time = product[..., size:, :]
        gate = (heads[..., -1, :, :] + elapsed_time * by_time)[..., None, :, :]
        return ops.concatenate([heads[..., :-1, :, :], gate], axis=-3), by_time

    def gradient(self, of_heads: Any, elapsed_time: Any) -> Any:
        """That of the product from that of the heads."""
        *steps, _, _, batch = ops.shape(of_heads)
        flat = ops.reshape(of_heads, (*steps, self.head_count * self.neurons, batch))
        return ops.concatenate([flat, elapsed_time * of_heads[..., -1, :, :]], axis=-2) if self.is_timed else flat


def with_ones(values: Any) -> Any:
    """Values (..., features, batch) and a row of ones, which the bias is multiplied by."""
    return ops.concatenate([values, ops.ones_like(values[..., :1, :])], axis=-2)


def _joined(inputs: Any, state: Any) -> Any:
    """Inputs, state and a row of ones, (..., features + neurons + 1, batch)."""
    return with_ones(ops.concatenate([inputs, state], axis=-2))
