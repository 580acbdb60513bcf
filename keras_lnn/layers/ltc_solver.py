"""The fused solver of liquid time-constant neurons: all steps of a sequence, with its own gradient."""

from collections.abc import Callable
from typing import Any

from keras import ops

from keras_lnn.layers.scanning import scan_steps
from keras_lnn.layers.synapses import Synapses, Table, receive, receive_back


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
    r"""Returns the neurons' potentials after each step of a sequence.

    A step over the time :math:`\Delta t` is taken in :math:`n` unfolds of :math:`h = \Delta t / n`, each the fused
    (semi-implicit) Euler step of the paper,

    .. math:: v' = \frac{c v + h (I + \sum_j w_j E_j \sigma_j(v))}{c + h (g + \sum_j w_j \sigma_j(v))}

    where :math:`I` and :math:`g` hold what does not depend on the potentials: leak and inputs. The forward pass stores
    the potentials and denominators only. They determine the derivatives of every unfold without going through time,
    which leaves a sparse linear recurrence of the adjoint to scan. After it, the gradients of the synapses are computed
    as for synapses from the inputs, since the values of all sources are known.

    Args:
        synapses: The synapses between the neurons.
        unfolds: Number of unfolds of each step.
        driving: :math:`I`, (steps, neurons, batch).
        conductance: :math:`g`, (steps, neurons, batch).
        capacitance: :math:`c`, (neurons,).
        time_step: :math:`h`, (steps, 1, batch); None where the time of each step is one.
        is_valid: (steps, 1, batch), zero where a step is masked and the potentials stay, else one; None if no step is.
        potential: Initial potentials, (neurons, batch).
        inner: sigma, mu, weight and reversal of the synapses.
        unroll: Whether to unroll the steps into one long program instead of a loop.

    Returns:
        Potentials, (steps, neurons, batch).
    """
    valid = () if is_valid is None else (is_valid,)
    # The shape does not show this: (1, 1, 1) is also the shape of the times of one sample with one step.
    is_timed = time_step is not None
    time_step = time_step if is_timed else ops.full((1, 1, 1), 1 / unfolds, dtype=driving.dtype)

    @ops.custom_gradient
    def solve(driving: Any, conductance: Any, capacitance: Any, time_step: Any, potential: Any, *others: Any) -> tuple:
        inner, valid = others[:4], others[4:]
        solver = Solver(synapses, inner, unfolds, driving, conductance, capacitance, time_step, valid, is_timed)
        after, passed = solver.run(potential, unroll)

        def gradient(*args: Any, upstream: Any = None) -> tuple[Any, ...]:
            upstream = args[0] if upstream is None else upstream
            return *solver.gradients(potential, after, passed, upstream, unroll), *map(ops.zeros_like, valid)

        return after, gradient

    return solve(driving, conductance, capacitance, time_step, potential, *inner, *valid)


class Solver:
    """Holds the constants of one call and runs the forward and the backward pass.

    Values for all unfolds of a step have the layout (neurons, unfolds, batch), or (neurons, unfolds x batch), that of
    activations.
    """

    def __init__(
        self,
        synapses: Synapses,
        inner: tuple[Any, ...],
        unfolds: int,
        driving: Any,
        conductance: Any,
        capacitance: Any,
        time_step: Any,
        valid: tuple[Any, ...],
        is_timed: bool,
    ) -> None:
        self.synapses, self.inner, self.unfolds = synapses, inner, unfolds
        self.table = Table(synapses.by_target, *inner)
        self.driving, self.conductance, self.valid = driving, conductance, valid
        self.capacitance, self.time_step = capacitance[:, None], time_step
        self.numerator = time_step * driving
        self.denominator = self.capacitance + time_step * conductance
        self.times = (time_step,) if is_timed else ()

    def run(self, potential: Any, unroll: bool) -> tuple[Any, tuple[Any, Any]]:
        """Returns the potentials after every step, (steps, neurons, batch), and what the gradient needs.

        The latter are the potentials after every unfold and the denominators that they were divided by.
        """
        inputs = (self.numerator, self.denominator, *self.times, *self.valid)
        rows = ops.stack([potential] * self.unfolds, axis=1)
        after, *passed = scan_steps(self.make_step(), potential, inputs, like=(potential, rows, rows), unroll=unroll)
        return after, tuple(passed)

    def make_step(self) -> Callable[[Any, tuple[Any, ...]], tuple[Any, Any]]:
        """Returns one step of the forward scan, from the potential before a step to that after it.

        It also returns the potentials after every unfold and the denominators.
        """
        effects, by_target = self.table.effects[..., None], self.synapses.by_target

        def step(first: Any, inputs: tuple[Any, ...]) -> tuple[Any, Any]:
            numerator, denominator, *rest = inputs
            time_step = rest.pop(0) if self.times else self.time_step[0]
            potential, potentials, denominators = first, [], []
            for _ in range(self.unfolds):
                opened = self.table.opened(self.synapses.gather_sources(potential))
                received = time_step * by_target.to_neurons(ops.sum(effects * opened[:, None], axis=2))
                denominators.append(denominator + received[:, 1])
                potential = (self.capacitance * potential + numerator + received[:, 0]) / denominators[-1]
                potentials.append(potential)
            after = ops.where(rest[0] > 0, potential, first) if rest else potential
            return after, (after, ops.stack(potentials, axis=1), ops.stack(denominators, axis=1))

        return step

    def gradients(
        self, potential: Any, after: Any, passed: tuple[Any, Any], upstream: Any, unroll: bool
    ) -> tuple[Any, ...]:
        """Returns the gradients of the solver's arguments, in their order."""
        potentials, denominators = passed
        first = ops.concatenate([potential[None], after[:-1]])
        before = ops.concatenate([first[:, :, None], potentials[:, :, :-1]], axis=2)
        inputs = (upstream, before, potentials, denominators, *self.times, *self.valid)
        potential_gradient, numerator_gradient = scan_steps(
            self.make_step_back(),
            ops.zeros_like(potential),
            inputs,
            like=before[0],
            reverse=True,
            unroll=unroll,
            with_last=True,
        )
        denominator_gradient = -numerator_gradient * potentials
        # What the neurons receive is multiplied by the time of an unfold.
        time_step = ops.expand_dims(self.time_step, 2)
        driving_gradient, conductance_gradient = time_step * numerator_gradient, time_step * denominator_gradient
        received_gradient = ops.stack([driving_gradient, conductance_gradient], axis=2)
        steps, neurons, _, _, batch = ops.shape(received_gradient)
        received_gradient = ops.reshape(received_gradient, (steps, neurons, 2, -1))
        sources = ops.reshape(before, (steps, neurons, -1))
        inner_gradient = receive_back(
            self.synapses,
            self.table,
            sources,
            self.synapses.by_target.to_rows(received_gradient, axis=1),
            to_sources=False,
        )
        time_step_gradient = ops.zeros_like(self.time_step)
        if self.times:
            received = receive(self.synapses, self.table, sources)
            received = self.synapses.by_target.to_neurons(received, axis=1)
            received = ops.reshape(received, (steps, neurons, 2, self.unfolds, batch))
            by_time = numerator_gradient * (self.driving[:, :, None] + received[:, :, 0])
            by_time = by_time + denominator_gradient * (self.conductance[:, :, None] + received[:, :, 1])
            time_step_gradient = ops.sum(by_time, axis=(1, 2))[:, None]
        return (
            ops.sum(driving_gradient, axis=2),
            ops.sum(conductance_gradient, axis=2),
            ops.sum(numerator_gradient * before + denominator_gradient, axis=(0, 2, 3)),
            time_step_gradient,
            potential_gradient,
            *inner_gradient,
        )

    def make_step_back(self) -> Callable[[Any, tuple[Any, ...]], tuple[Any, Any]]:
        """Returns one step of the backward scan, from the adjoint of the potential after a step to that before it.

        It also returns the adjoints of all numerators. That of an unfold's numerator is that of its potential over the
        denominator D. The potential before it is in the numerator with factor c and, through each synapse that it
        opens, with h w (E - v') times the sigmoid's slope.
        """
        synapses, by_source = self.synapses, self.synapses.by_source
        table = Table(by_source, *self.inner)
        pull, reversal = (table.weight * table.sigma)[..., None], table.reversal[..., None]

        def step(carry: Any, inputs: tuple[Any, ...]) -> tuple[Any, Any]:
            upstream, before, after, denominators, *rest = inputs
            time_step = ops.expand_dims(rest.pop(0) if self.times else self.time_step[0], 1)
            neurons, unfolds, batch = ops.shape(before)
            rows = (neurons, unfolds * batch)
            opened = table.opened(by_source.to_rows(ops.reshape(before, rows))[:, None])
            slopes = pull * (reversal - synapses.gather_targets(ops.reshape(after, rows))) * (opened * (1.0 - opened))
            slopes = ops.reshape(slopes, (*by_source.others.shape, unfolds, batch)) * time_step
            arrived = carry + upstream
            adjoint, numerators_gradient = arrived * rest[0] if rest else arrived, []
            for unfold in reversed(range(self.unfolds)):
                # The division comes last: XLA rates it expensive and computes it once, not again for each synapse.
                numerators_gradient.append(adjoint / denominators[:, unfold])
                pulled = ops.sum(slopes[:, :, unfold] * synapses.gather_targets(numerators_gradient[-1]), axis=1)
                adjoint = self.capacitance * numerators_gradient[-1] + by_source.to_neurons(pulled)
            adjoint = adjoint + arrived * (1.0 - rest[0]) if rest else adjoint
            return adjoint, ops.stack(numerators_gradient[::-1], axis=1)

        return step
