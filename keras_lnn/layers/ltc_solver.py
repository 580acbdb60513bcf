"""The fused solver of liquid time-constant neurons: all steps of a sequence, with its own gradient."""

from collections.abc import Callable
from typing import Any

from keras import ops

from keras_lnn.layers.scanning import scan_steps
from keras_lnn.layers.synapses import LARGEST_PIECE, Synapses, Table, sum_rows, sum_synapses


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
    which leaves a sparse linear recurrence of the adjoint to scan. The same scan adds up the gradients of the synapses,
    from the sigmoids that it has recomputed for the slopes.

    Args:
        synapses: The synapses between the neurons.
        unfolds: Number of unfolds of each step.
        driving: :math:`I`, (steps, neurons, batch).
        conductance: :math:`g`, (steps, neurons, batch).
        capacitance: :math:`c`, (neurons,).
        time_step: :math:`h`, (steps, 1, batch); None where the time of each step is one.
        is_valid: (steps, 1, batch), zero where a step is masked and the potentials stay, else one; None if no step is.
        potential: Initial potentials, (neurons, batch).
        inner: sigma, threshold, weight and reversal of the synapses.
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

    Values for all unfolds of a step have the layout (neurons, unfolds, batch).
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
        self.table = Table(synapses.compact, *inner)
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
        synapses, by_target = self.synapses, self.synapses.by_target
        effects = Table(by_target, *self.inner).effects

        def step(first: Any, inputs: tuple[Any, ...]) -> tuple[Any, Any]:
            numerator, denominator, *rest = inputs
            time_step = rest.pop(0) if self.times else self.time_step[0]
            potential, potentials, denominators = first, [], []
            for _ in range(self.unfolds):
                opened = self.table.opened(synapses.at_sources(potential))
                received = sum_synapses(effects, synapses.by_rows(by_target, opened))
                received = time_step * by_target.to_neurons(received)
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
        inputs = (upstream, before, potentials, denominators)
        inputs += (self.driving, self.conductance, *self.times) if self.times else ()
        compact, nothing = self.synapses.compact, ops.zeros_like(potential)
        at_synapses = ops.zeros((*compact.in_weight.shape, ops.shape(potential)[-1]), potential.dtype)
        (potential_gradient, *sums), (driving_gradient, conductance_gradient, *time_gradient) = scan_steps(
            self._make_whole_step_back(),
            (nothing, nothing, *[at_synapses] * 4),
            (*inputs, *self.valid),
            like=(nothing, nothing, *[nothing[:1] for _ in self.times]),
            reverse=True,
            unroll=unroll,
            with_last=True,
        )
        capacitance_gradient, slope, offset, weight_gradient, opened = map(sum_rows, sums)
        inner_gradient = (slope, -offset, weight_gradient, opened * self.table.weight)
        return (
            driving_gradient,
            conductance_gradient,
            capacitance_gradient,
            time_gradient[0] if time_gradient else ops.zeros_like(self.time_step),
            potential_gradient,
            *map(compact.to_weight, inner_gradient),
        )

    def _make_whole_step_back(self) -> Callable[[Any, tuple[Any, ...]], tuple[Any, Any]]:
        """Returns one step of the backward scan, which also adds up gradients.

        Beside the adjoint, the scan carries the gradients of the capacitance and of the synapses, still one for each
        sample. It returns those of the driving current, the conductance and, if it is given, the time.
        """
        step_back, currents = self.make_step_back(), 2 if self.times else 0

        def step(carry: tuple[Any, ...], inputs: tuple[Any, ...]) -> tuple[Any, Any]:
            adjoint, *sums = carry
            (upstream, before, after, denominators), rest = inputs[:4], inputs[4 + currents :]
            adjoint, gradient = step_back(adjoint, (upstream, before, after, denominators, *rest))
            time_step = rest[0] if self.times else self.time_step[0]
            by_weight, added = self._add_synapses(before, after, gradient, time_step)
            sums = [total + values for total, values in zip(sums, added, strict=True)]
            by_driving, by_conductance = ops.sum(gradient, axis=1), -ops.sum(gradient * after, axis=1)
            results = [time_step * by_driving, time_step * by_conductance]
            if self.times:
                driving, conductance = inputs[4:6]
                by_time = ops.sum(by_driving * driving + by_conductance * conductance, axis=0)
                by_synapse = by_weight * self.table.weight[..., None]
                by_time = by_time + ops.sum(by_synapse, axis=tuple(range(len(by_synapse.shape) - 1)))
                results.append(by_time[None])
            return (adjoint, *sums), tuple(results)

        return step

    def _add_synapses(self, before: Any, after: Any, gradient: Any, time_step: Any) -> tuple[Any, tuple[Any, ...]]:
        """Returns what a step adds to the gradients of the capacitance and, by synapse and sample, of their weights.

        Before them, it returns the gradient of the weight w for a time of one.
        """
        added: list[list[Any]] = []
        for part in self._split_unfolds(before):
            at_sources, opened, slopes, towards = self._compute_slopes(before[:, part], after[:, part], time_step)
            at_targets = self.synapses.at_targets(gradient[:, part])
            terms = (slopes * at_targets * at_sources, slopes * at_targets, opened * at_targets * towards)
            added.append([ops.sum(values, axis=-2) for values in (*terms, opened * at_targets)])
        slope, offset, by_weight, by_opened = (sum(values[1:], values[0]) for values in zip(*added, strict=True))
        by_capacitance = ops.sum(gradient * (before - after), axis=1)
        return by_weight, (by_capacitance, slope, offset, time_step * by_weight, time_step * by_opened)

    def _split_unfolds(self, values: Any) -> list[slice]:
        """Returns the unfolds whose synapses are computed together: all, or where these leave the cache one by one."""
        batch = 64 if values.shape[-1] is None else values.shape[-1]
        if self.synapses.compact.size * self.unfolds * batch <= LARGEST_PIECE:
            return [slice(None)]
        return [slice(unfold, unfold + 1) for unfold in range(self.unfolds)]

    def _compute_slopes(self, before: Any, after: Any, time_step: Any) -> tuple[Any, ...]:
        """Returns the sources' potentials, sigmoids, slopes h w (E - v') sigmoid' and E - v', (..., unfolds, batch).

        A step calls it twice, which a compiler computes once.
        """
        # By synapse, unfold and sample: (..., unfolds, batch).
        weight, reversal = (values[..., None, None] for values in (self.table.weight, self.table.reversal))
        at_sources = self.synapses.at_sources(before)
        towards, opened = reversal - self.synapses.at_targets(after), self.table.opened(at_sources)
        slopes = weight * towards * (opened * (1.0 - opened)) * time_step[:, None]
        return at_sources, opened, slopes, towards

    def make_step_back(self) -> Callable[[Any, tuple[Any, ...]], tuple[Any, Any]]:
        """Returns one step of the backward scan, from the adjoint of the potential after a step to that before it.

        It also returns the adjoints of all numerators. That of an unfold's numerator is that of its potential over the
        denominator D. The potential before it is in the numerator with factor c and, through each synapse that it
        opens, with h w (E - v') times the sigmoid's slope.
        """
        synapses, by_source = self.synapses, self.synapses.by_source
        sigma = (by_source.from_weight(self.inner[0]) * by_source.is_real.astype("float32"))[..., None]

        def step(carry: Any, inputs: tuple[Any, ...]) -> tuple[Any, Any]:
            upstream, before, after, denominators, *rest = inputs
            time_step = rest.pop(0) if self.times else self.time_step[0]
            slopes = []
            for part in self._split_unfolds(before):
                _, _, found, _ = self._compute_slopes(before[:, part], after[:, part], time_step)
                slopes += [found[..., unfold, :] for unfold in range(found.shape[-2])]
            arrived = carry + upstream
            adjoint, numerators_gradient = arrived * rest[0] if rest else arrived, []
            for unfold in reversed(range(self.unfolds)):
                # The division comes last: XLA rates it expensive and computes it once, not again for each synapse.
                numerators_gradient.append(adjoint / denominators[:, unfold])
                pulled = synapses.by_rows(by_source, slopes[unfold]) * sigma
                pulled = pulled * synapses.gather_targets(numerators_gradient[-1])
                adjoint = self.capacitance * numerators_gradient[-1] + by_source.to_neurons(ops.sum(pulled, axis=1))
            adjoint = adjoint + arrived * (1.0 - rest[0]) if rest else adjoint
            return adjoint, ops.stack(numerators_gradient[::-1], axis=1)

        return step
