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
    one product for the gradients of inputs and state and one for that of the kernel. The batch is the innermost axis.

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
            before = ops.concatenate([state[None], history[:-1]])
            columns = ops.transpose(rows[:, :-1])

            def step_back(carry: tuple[Any, ...], here: tuple[Any, ...]) -> tuple[Any, Any]:
                (adjoint, of_rows, of_constants), (upstream, slopes, inputs, before, *rest) = carry, here
                elapsed_time, *valid = rest if is_needed else (one, *rest)
                arrived = adjoint + upstream
                used = arrived * valid[0] if valid else arrived
                of_heads = slopes * used
                of_product = product.gradient(of_heads, elapsed_time)
                of_joined = ops.matmul(columns, of_product)
                of_rows = of_rows + ops.matmul(of_product, ops.transpose(_joined(inputs, before)))
                features = inputs.shape[0]
                earlier = of_joined[features:]
                earlier = earlier + arrived * (1.0 - valid[0]) if valid else earlier
                of_time: tuple[Any, ...] = ()
                given, by_time = None, None
                if is_needed or form.mode == "pure":
                    given, by_time = product.heads(rows, inputs, before, elapsed_time)
                if form.mode == "pure":
                    by_time, by_constants = form.other_derivatives(given, elapsed_time, constants)
                    of_constants = of_constants + ops.sum(by_constants * used, axis=-1, keepdims=True)
                if is_needed:
                    by_time = by_time * (used if form.mode == "pure" else of_heads[-1])
                    of_time = (ops.sum(by_time, axis=0, keepdims=True) if elapsed_time.shape[0] == 1 else by_time,)
                return (earlier, of_rows, of_constants), (of_joined[:features], *of_time)

            start = tuple(map(ops.zeros_like, (state, rows, constants)))
            here = (upstream, slopes, inputs, before, *times, *valid)
            like = (inputs[0], *(values[0] for values in times))
            (of_state, of_rows, of_constants), (of_inputs, *of_time) = scan_steps(
                step_back, start, here, like=like, reverse=True, unroll=unroll, with_last=True
            )
            of_time = of_time[0] if is_needed else ops.zeros_like(elapsed_time)
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
        """The heads (heads, neurons, batch), and what the elapsed time is multiplied by."""
        product = ops.matmul(rows, _joined(inputs, state))
        size = self.head_count * self.neurons
        heads = ops.reshape(product[:size], (self.head_count, self.neurons, -1))
        if not self.is_timed:
            return heads, None
        by_time = product[size:]
        return ops.concatenate([heads[:-1], (heads[-1] + elapsed_time * by_time)[None]]), by_time

    def gradient(self, of_heads: Any, elapsed_time: Any) -> Any:
        """That of the product from that of the heads."""
        flat = ops.reshape(of_heads, (self.head_count * self.neurons, -1))
        return ops.concatenate([flat, elapsed_time * of_heads[-1]]) if self.is_timed else flat


def with_ones(values: Any) -> Any:
    """Values (features, batch) and a row of ones, which the bias is multiplied by."""
    return ops.concatenate([values, ops.ones_like(values[:1])])


def _joined(inputs: Any, state: Any) -> Any:
    """Inputs, state and a row of ones, (features + neurons + 1, batch)."""
    return with_ones(ops.concatenate([inputs, state]))
