"""An LTC on JAX whose unfolds of a step are one kernel for a GPU, to be compared with the layer's own loop.

Each program of the kernel takes all unfolds of a step for some samples: potentials stay on the chip, and nothing is
launched in between. Every pair of neurons is computed, since a kernel of Triton cannot gather; the gradient has a
kernel of the same kind. The rest is the layer's own solver.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from keras_lnn.layers import ltc_solver
from keras_lnn.layers.ltc_solver import Solver

# Values of a program: neurons x neurons x samples. They stay in registers, where there are few enough neurons.
_VALUES = 2048
# Triton's arrays have sizes that are powers of two; its smallest blocks need some values for each thread.
_FEWEST_ROWS = 16


class FusedSolver(Solver):
    """Solves the steps of an LTC by one kernel per step and direction."""

    # Where there is no GPU, kernels are interpreted, which is only good for tests.
    interpret = False

    def make_step(self) -> Callable[[Any, tuple[Any, ...]], tuple[Any, Any]]:
        """Returns one step of the forward scan, see :class:`keras_lnn.layers.ltc_solver.Solver`."""
        weights = self._pad_weights()

        def step(first: Any, inputs: tuple[Any, ...]) -> tuple[Any, Any]:
            numerator, denominator, *rest = inputs
            time_step = self._read_time(rest, first.shape[1])
            values = (first, numerator, denominator, time_step)
            shape = jax.ShapeDtypeStruct((first.shape[0], self.unfolds, first.shape[1]), first.dtype)
            potentials, denominators = self._call(_take_unfolds, [shape, shape], values, weights)
            after = potentials[:, -1]
            after = jnp.where(rest[0] > 0, after, first) if rest else after
            return after, (after, potentials, denominators)

        return step

    def make_step_back(self) -> Callable[[Any, tuple[Any, ...]], tuple[Any, Any]]:
        """Returns one step of the backward scan, see :class:`keras_lnn.layers.ltc_solver.Solver`."""
        weights = self._pad_weights()

        def step(carry: Any, inputs: tuple[Any, ...]) -> tuple[Any, Any]:
            upstream, before, after, denominators, *rest = inputs
            time_step = self._read_time(rest, carry.shape[1])
            arrived = carry + upstream
            given = arrived * rest[0] if rest else arrived
            shapes = [jax.ShapeDtypeStruct(values.shape, values.dtype) for values in (given, before)]
            adjoint, numerators_gradient = self._call(
                _take_unfolds_back, shapes, (given, before, after, denominators, time_step), weights
            )
            adjoint = adjoint + arrived * (1.0 - rest[0]) if rest else adjoint
            return adjoint, numerators_gradient

        return step

    def _read_time(self, rest: list[Any], batch: int) -> Any:
        time_step = rest.pop(0) if self.times else self.time_step[0]
        return jnp.broadcast_to(time_step, (1, batch))

    def _pad_weights(self) -> tuple[Any, ...]:
        """Returns capacitances, and constants of each pair of neurons as (target, source), padded to powers of two."""
        exists = (self.synapses.by_target.place < self.synapses.by_target.size).astype("float32")
        neurons = len(exists)
        rows = _pad_size(neurons)
        sigma, threshold, weight, reversal = self.inner
        weight = weight * exists
        pairs = [
            jnp.pad(values.T, ((0, rows - neurons),) * 2) for values in (sigma, threshold, weight, weight * reversal)
        ]
        capacitance = jnp.pad(jnp.reshape(self.capacitance, -1), (0, rows - neurons), constant_values=1.0)
        return capacitance, *pairs

    def _call(self, kernel: Callable[..., None], shapes: list[Any], values: tuple[Any, ...], weights: Any) -> Any:
        neurons, batch = values[0].shape
        rows = weights[0].shape[0]
        samples = max(1, _VALUES // rows**2)
        sizes = {"neurons": neurons, "batch": batch, "rows": rows, "samples": samples, "unfolds": self.unfolds}
        return pl.pallas_call(
            functools.partial(kernel, **sizes),
            out_shape=shapes,
            grid=(pl.cdiv(batch, samples),),
            interpret=self.interpret,
            # Names the compiler as well: Triton.
            compiler_params=triton.CompilerParams(num_warps=4, num_stages=1),
        )(*values, *weights)


def _pad_size(neurons: int) -> int:
    return max(_FEWEST_ROWS, 1 << (neurons - 1).bit_length())


class _Block:
    """What a program of a kernel reads and writes: all neurons of its samples, without what is beyond their number."""

    def __init__(self, neurons: int, batch: int, rows: int, samples: int) -> None:
        self.rows = jnp.arange(rows)[:, None]
        self.columns = (pl.program_id(0) * samples + jnp.arange(samples))[None, :]
        self.mask = (self.rows < neurons) & (self.columns < batch)
        self.row_mask = self.columns < batch

    def load(self, ref: Any, *unfold: int, other: float = 0.0) -> Any:
        return triton.load(ref.at[(self.rows, *unfold, self.columns)], mask=self.mask, other=other)

    def load_row(self, ref: Any) -> Any:
        return triton.load(ref.at[jnp.zeros_like(self.columns), self.columns], mask=self.row_mask, other=0.0)

    def store(self, ref: Any, values: Any, *unfold: int) -> None:
        triton.store(ref.at[(self.rows, *unfold, self.columns)], values, mask=self.mask)


def _opened(sigma: Any, threshold: Any, potential: Any) -> Any:
    """Returns how far each synapse is open, (target, source, samples)."""
    return 1.0 / (1.0 + jnp.exp(threshold[:, :, None] - sigma[:, :, None] * potential[None]))


def _take_unfolds(*refs: Any, neurons: int, batch: int, rows: int, samples: int, unfolds: int) -> None:
    """Computes potentials and denominators of all unfolds of a step."""
    first, numerator, denominator, time_step, capacitance, *pairs, potentials, denominators = refs
    block = _Block(neurons, batch, rows, samples)
    potential, numerator = block.load(first), block.load(numerator)
    denominator, time_step = block.load(denominator, other=1.0), block.load_row(time_step)
    capacitance = capacitance[...][:, None]
    sigma, threshold, weight, effect = (pair[...] for pair in pairs)
    for unfold in range(unfolds):
        opened = _opened(sigma, threshold, potential)
        divisor = denominator + time_step * jnp.sum(weight[:, :, None] * opened, axis=1)
        driven = time_step * jnp.sum(effect[:, :, None] * opened, axis=1)
        potential = (capacitance * potential + numerator + driven) / divisor
        block.store(potentials, potential, unfold)
        block.store(denominators, divisor, unfold)


def _take_unfolds_back(*refs: Any, neurons: int, batch: int, rows: int, samples: int, unfolds: int) -> None:
    """Computes the adjoint of the potential before a step, and those of the numerators of all unfolds."""
    arrived, before, after, denominators, time_step, capacitance, *pairs, adjoints, numerators = refs
    block = _Block(neurons, batch, rows, samples)
    adjoint, time_step = block.load(arrived), block.load_row(time_step)
    capacitance = capacitance[...][:, None]
    sigma, threshold, weight, effect = (pair[...] for pair in pairs)
    for unfold in reversed(range(unfolds)):
        numerator = adjoint / block.load(denominators, unfold, other=1.0)
        block.store(numerators, numerator, unfold)
        opened = _opened(sigma, threshold, block.load(before, unfold))
        pull = effect[:, :, None] - weight[:, :, None] * block.load(after, unfold)[:, None, :]
        slopes = sigma[:, :, None] * pull * opened * (1.0 - opened)
        adjoint = capacitance * numerator + time_step * jnp.sum(slopes * numerator[:, None, :], axis=0)
    block.store(adjoints, adjoint)


def use_fused_solver(interpret: bool) -> None:
    """Makes the LTC layers of this process use the kernels; layers that were traced before keep their loop.

    Args:
        interpret: Whether to interpret the kernels, where there is no GPU.
    """
    FusedSolver.interpret = interpret
    # The layer has no option for it, as long as no GPU has shown that it pays.
    ltc_solver.Solver = FusedSolver  # ty: ignore[invalid-assignment]
