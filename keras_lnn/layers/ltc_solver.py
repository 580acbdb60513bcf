"""The fused solver of liquid time-constant neurons: all steps of a sequence, with a gradient of its own."""

from typing import Any

from keras import ops

from keras_lnn.layers.scanning import scan_steps
from keras_lnn.layers.synapses import Synapses, Table


def solve_steps(
    synapses: Synapses,
    unfolds: int,
    driving: Any,
    conductance: Any,
    capacitance: Any,
    time_step: Any,
    is_valid: Any,
    potential: Any,
    inner: tuple[Any, Any, Any, Any],
    unroll: bool = False,
) -> Any:
    r"""The neurons' potentials after each step of a sequence.

    A step over the time :math:`\Delta t` is taken in :math:`n` unfolds of :math:`h = \Delta t / n`, each the fused
    (semi-implicit) Euler step of the paper,

    .. math:: v' = \frac{c v + h (I + \sum_j w_j E_j \sigma_j(v))}{c + h (g + \sum_j w_j \sigma_j(v))}

    with what does not depend on the potentials, leak and inputs, in :math:`I` and :math:`g`. The forward pass keeps
    nothing but the potentials. Given them, the derivatives of every unfold are known without going through time, so
    the backward pass computes them all at once, and what is left to scan is a sparse linear recurrence of the
    adjoint; the gradients of the weights are then sums over all unfolds.

    Args:
        synapses: Between the neurons.
        unfolds: Of each step.
        driving: :math:`I`, (steps, neurons, batch).
        conductance: :math:`g`, (steps, neurons, batch).
        capacitance: :math:`c`, (neurons,).
        time_step: :math:`h`, (steps, 1, batch) or (1, 1, 1).
        is_valid: (steps, 1, batch) of ones, and zeros where a step is masked and the potentials stay; None for all.
        potential: At the beginning, (neurons, batch).
        inner: sigma, mu, weight and reversal of the synapses.
        unroll: Whether the steps become one long program instead of a loop.

    Returns:
        (steps, neurons, batch).
    """

    valid = () if is_valid is None else (is_valid,)

    @ops.custom_gradient
    def solve(driving: Any, conductance: Any, capacitance: Any, time_step: Any, potential: Any, *others: Any) -> tuple:
        inner, valid = others[:4], others[4:]
        is_valid = valid[0] if valid else None
        solver = _Solver(Table(synapses, *inner), unfolds, driving, conductance, capacitance, time_step, is_valid)
        history = solver.run(potential, unroll)

        def gradient(*args: Any, upstream: Any = None) -> tuple[Any, ...]:
            upstream = args[0] if upstream is None else upstream
            return *solver.gradients(potential, history, upstream, unroll), *map(ops.zeros_like, valid)

        return history[:, -1], gradient

    return solve(driving, conductance, capacitance, time_step, potential, *inner, *valid)


class _Solver:
    """One call's constants, and the two passes over them."""

    def __init__(
        self, table: Table, unfolds: int, driving: Any, conductance: Any, capacitance: Any, time_step: Any, valid: Any
    ) -> None:
        self.table, self.synapses, self.unfolds = table, table.synapses, unfolds
        self.driving, self.conductance, self.valid = driving, conductance, valid
        self.capacitance, self.time_step = capacitance[:, None], time_step
        self.numerator = time_step * driving
        self.denominator = self.capacitance + time_step * conductance
        self.regular = tuple(time_step.shape) == (1, 1, 1)

    def run(self, potential: Any, unroll: bool) -> Any:
        """The potentials after every unfold, (steps, unfolds, neurons, batch).

        At a masked step the last of them is the potential before it.
        """
        effects = self.table.effects[..., None]

        def step(first: Any, inputs: tuple[Any, ...]) -> tuple[Any, Any]:
            numerator, denominator, *rest = inputs
            time_step = self.time_step[0] if self.regular else rest.pop(0)
            potential, after = first, []
            for _ in range(self.unfolds):
                opened = self.table.open_fraction(potential, axis=0)
                received = time_step * self.synapses.to_neurons(ops.sum(effects * opened[:, None], axis=2))
                potential = (self.capacitance * potential + numerator + received[:, 0]) / (denominator + received[:, 1])
                after.append(potential)
            if rest:
                after[-1] = ops.where(rest[0] > 0, potential, first)
            return after[-1], ops.stack(after)

        inputs = [self.numerator, self.denominator]
        inputs += [] if self.regular else [self.time_step]
        inputs += [] if self.valid is None else [self.valid]
        like = ops.stack([potential] * self.unfolds)
        return scan_steps(step, potential, tuple(inputs), like=like, unroll=unroll)

    def gradients(self, potential: Any, history: Any, upstream: Any, unroll: bool) -> tuple[Any, ...]:
        """The gradients of what the solver was given, in the order of its arguments."""
        nothing, of_synapses = ops.zeros_like(potential), ops.zeros_like(self.table.weight)
        of_pairs = ops.stack([of_synapses, of_synapses], axis=-1)
        like = (nothing, nothing, nothing, nothing[:1], nothing[:, 0], of_pairs, of_synapses, of_synapses)
        first = ops.concatenate([potential[None], history[:-1, -1]])
        inputs = [upstream, first, history, self.driving, self.conductance, self.denominator]
        inputs += [] if self.regular else [self.time_step]
        inputs += [] if self.valid is None else [self.valid]
        of_steps = scan_steps(self._step_back, nothing, tuple(inputs), like=like, reverse=True, unroll=unroll)
        of_potential, of_driving, of_conductance, of_time_step, *summed = of_steps
        of_capacitance, of_effects, of_offset, of_slope = (ops.sum(values, axis=0) for values in summed)
        if self.regular:
            of_time_step = ops.reshape(ops.sum(of_time_step), (1, 1, 1))
        of_table = self.table.gradients(of_effects[..., 0], of_effects[..., 1], of_offset, of_slope)
        return of_driving, of_conductance, of_capacitance, of_time_step, of_potential[0], *of_table

    def _step_back(self, carry: Any, inputs: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
        upstream, first, after, driving, conductance, denominator, *rest = inputs
        time_step = self.time_step[0] if self.regular else rest.pop(0)
        synapses, table, unfolds = self.synapses, self.table, self.unfolds
        before = _rows(ops.concatenate([first[None], after[:-1]]))
        after = _rows(after)
        repeated = [ops.tile(values, (1, unfolds)) for values in (driving, conductance, denominator)]
        driving, conductance, denominator = repeated
        if not self.regular:
            time_step = ops.tile(time_step, (1, unfolds))
        at_synapses = synapses.of_sources(before)
        opened = table.opened(at_synapses)
        received = synapses.to_neurons(ops.matmul(table.effects, opened))
        inverse = 1.0 / (denominator + time_step * received[:, 1])
        # What opening a synapse does to its target, but for the target's 1 / D.
        pull = table.weight[..., None] * (
            table.reversal[..., None] - ops.take(after, synapses.targets, axis=0)[:, None]
        )
        pull = pull * (opened * (1.0 - opened)) * time_step
        arrived = carry + upstream
        valid = rest[0] if rest else None
        of_first, adjoint = self._unfold_back(pull, inverse, arrived if valid is None else arrived * valid)
        of_first = of_first if valid is None else of_first + arrived * (1.0 - valid)
        of_numerator = adjoint * inverse
        of_denominator = -of_numerator * after
        of_received = ops.stack([of_numerator, of_denominator], axis=-1) * ops.reshape(time_step, (1, -1, 1))
        of_effects = ops.matmul(opened, ops.take(of_received, synapses.targets, axis=0))
        of_arguments = pull * ops.take(of_numerator, synapses.targets, axis=0)[:, None]
        of_time_step = of_numerator * (driving + received[:, 0]) + of_denominator * (conductance + received[:, 1])
        return of_first, (
            of_first,
            self._sum_unfolds(of_received[..., 0]),
            self._sum_unfolds(of_received[..., 1]),
            ops.sum(self._sum_unfolds(of_time_step), axis=0, keepdims=True),
            ops.sum(of_numerator * before + of_denominator, axis=-1),
            of_effects,
            ops.sum(of_arguments, axis=-1),
            ops.sum(of_arguments * at_synapses, axis=-1),
        )

    def _unfold_back(self, pull: Any, inverse: Any, adjoint: Any) -> tuple[Any, Any]:
        """The adjoint of a step's first potential, and in rows that of the potential after every unfold.

        The adjoint before an unfold is J^T times the one after it, where J has c / D on its diagonal and, for each
        synapse, sigma pull / D of its target.
        """
        synapses, unfolds = self.synapses, self.unfolds
        slopes = pull * self.table.sigma[..., None] * ops.take(inverse, synapses.targets, axis=0)[:, None]
        slopes = synapses.by_source(ops.reshape(slopes, (synapses.size, -1)))
        batch = ops.shape(adjoint)[-1]
        slopes = ops.reshape(slopes, (*synapses.target_of.shape, unfolds, batch))
        kept = ops.reshape(self.capacitance * inverse, (-1, unfolds, batch))
        after = []
        for unfold in reversed(range(unfolds)):
            after.append(adjoint)
            pulled = ops.sum(slopes[:, :, unfold] * ops.take(adjoint, synapses.target_of, axis=0), axis=1)
            adjoint = kept[:, unfold] * adjoint + synapses.to_sources(pulled)
        return adjoint, ops.concatenate(after[::-1], axis=-1)

    def _sum_unfolds(self, rows: Any) -> Any:
        return ops.sum(ops.reshape(rows, (ops.shape(rows)[0], self.unfolds, -1)), axis=1)


def _rows(history: Any) -> Any:
    """(unfolds, neurons, batch) to (neurons, unfolds x batch), the layout of the activations."""
    history = ops.transpose(history, (1, 0, 2))
    return ops.reshape(history, (ops.shape(history)[0], -1))
