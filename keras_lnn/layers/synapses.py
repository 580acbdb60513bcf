"""The chemical synapses of an LTC, laid out so that only existing ones are computed, and their currents."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lnn.backend.programs import builds_plain_graphs

# The size of work that fits the cache of one core; larger work is split, and its steps are computed in turn.
LARGEST_PIECE = 2**18
# The greatest number of synapses of a row that are added up by a loop, not by a matrix product.
_LONGEST_SUM = 32


class Synapses:
    """The synapses of an adjacency matrix in two grids, with a row per target or per source, and without padding.

    By target, what a neuron receives is a matrix product. By source, the gradient of a source is a sum along a row, and
    the source's own value a broadcast. Where rows are short and of different lengths, sigmoids are computed in a list
    of the synapses, which has no padding, and only their sums run over a grid.

    Attributes:
        by_target: The grid with a row per target.
        by_source: The grid with a row per source.
        compact: A layout without padding: the list, or the grid by source if every synapse exists.
        is_full: Whether every possible synapse exists.

    Args:
        adjacency: (sources, neurons); a synapse exists wherever it is not zero.
    """

    def __init__(self, adjacency: np.ndarray) -> None:
        exists = np.asarray(adjacency) != 0
        self.is_full = bool(exists.all())
        self.by_target = Grid(exists, rows="targets")
        self.by_source = Grid(exists, rows="sources")
        self.compact: Any = self.by_source if self.is_full else SynapseList(exists)
        place = self.by_target.place.reshape(-1)[self.by_source.in_weight]
        self._reordered = np.where(self.by_source.is_real, place, self.by_target.size)

    def gather_sources(self, values: Any, axis: int = 0) -> Any:
        """Returns the value of each synapse's source in the grid by target, for values of all sources along ``axis``.

        Where every synapse exists this is only a broadcast, and the grid's first axis has length one.
        """
        if self.is_full:
            return ops.expand_dims(values, axis)
        return ops.take(values, self.by_target.others, axis=axis)

    def gather_targets(self, values: Any) -> Any:
        """Returns the value of each synapse's target in the grid by source, for values (neurons, ...)."""
        return values[None] if self.is_full else ops.take(values, self.by_source.others, axis=0)

    def at_sources(self, values: Any) -> Any:
        """Returns the value of each synapse's source in the compact layout, for values (neurons, ...)."""
        return values[:, None] if self.is_full else ops.take(values, self.compact.sources, axis=0)

    def at_targets(self, values: Any) -> Any:
        """Returns the value of each synapse's target in the compact layout, for values (neurons, ...)."""
        return values[None] if self.is_full else ops.take(values, self.compact.targets, axis=0)

    def by_rows(self, grid: "Grid", values: Any) -> Any:
        """Moves values from the compact layout to a grid; what they are multiplied by must be zero as padding."""
        if self.is_full:
            return values if grid is self.by_source else ops.swapaxes(values, 0, 1)
        return ops.take(values, self.compact.number.reshape(-1)[grid.in_weight], axis=0)

    def reorder_by_source(self, values: Any) -> Any:
        """Moves values by target (targets, synapses, batch) to the grid by source, with zeros as padding."""
        values = ops.reshape(values, (self.by_target.size, -1))
        if (self._reordered == self.by_target.size).any():
            values = ops.concatenate([values, ops.zeros_like(values[:1])])
        return ops.take(values, self._reordered, axis=0)


class Layout:
    """Places for the synapses of a weight (sources, neurons).

    Attributes:
        in_weight: The position of each synapse in the flat weight.
        is_real: False where there is only padding, of the same shape.
        size: The number of places, padding included.
        place: The position of each value of a weight in the flat layout, (sources, neurons); ``size`` if it has none.
    """

    def __init__(self, exists: np.ndarray, in_weight: np.ndarray, is_real: np.ndarray) -> None:
        self.in_weight, self.is_real, self.size = in_weight, is_real, in_weight.size
        self.place = np.full(exists.shape, self.size, "int32")
        self.place.reshape(-1)[in_weight[is_real]] = np.flatnonzero(is_real)

    def from_weight(self, weight: Any) -> Any:
        """Returns the values of a weight (sources, neurons) at the synapses."""
        return ops.take(ops.reshape(weight, (-1,)), self.in_weight, axis=0)

    def to_weight(self, values: Any) -> Any:
        """Returns the values at the synapses as a weight (sources, neurons), zero where there is no synapse."""
        values = ops.reshape(values, (-1,))
        return ops.take(ops.concatenate([values, ops.zeros_like(values[:1])]), self.place, axis=0)


class SynapseList(Layout):
    """All synapses, one after another in the order of their sources.

    Args:
        exists: Whether there is a synapse, (sources, neurons).

    Attributes:
        sources: The neuron that each synapse comes from.
        targets: The neuron that it reaches.
        number: The number of each synapse in the list, (sources, neurons); 0 where there is none.
    """

    def __init__(self, exists: np.ndarray) -> None:
        in_weight = np.flatnonzero(exists).astype("int32")
        is_real = np.ones(in_weight.shape, "bool")
        if not in_weight.size:
            # It must not be empty: a place without a synapse has no effect.
            in_weight, is_real = np.zeros(1, "int32"), np.zeros(1, "bool")
        super().__init__(exists, in_weight, is_real)
        self.sources, self.targets = in_weight // exists.shape[1], in_weight % exists.shape[1]
        self.number = np.where(self.place == self.size, 0, self.place)


class Grid(Layout):
    """A table with the synapses of one neuron in each row, padded to the longest row.

    Every array of activations is (rows, synapses of a row, batch), so that a synapse's constants stay fixed while the
    innermost loop runs over the batch.

    Args:
        exists: Whether there is a synapse, (sources, neurons).
        rows: What a row belongs to: ``targets`` or ``sources``.

    Attributes:
        heads: The neurons that have a row: those with synapses.
        others: The neuron at the other end of each synapse, (rows, synapses of a row).
    """

    def __init__(self, exists: np.ndarray, rows: str) -> None:
        in_weight = np.arange(exists.size, dtype="int32").reshape(exists.shape)
        if rows == "targets":
            in_weight = in_weight.T
        synapses_of = [np.flatnonzero(row) for row in exists.reshape(-1)[in_weight]]
        self.heads = np.flatnonzero([row.size for row in synapses_of])
        if not self.heads.size:
            # A grid must not be empty: a single cell without a synapse has no effect.
            self.heads = np.array([0])
        lengths = np.array([synapses_of[head].size for head in self.heads])
        self.others = np.zeros((self.heads.size, max(1, lengths.max())), "int32")
        is_real = np.arange(self.others.shape[1]) < lengths[:, None]
        self.others[is_real] = np.concatenate([synapses_of[head] for head in self.heads])
        super().__init__(exists, in_weight[self.heads[:, None], self.others], is_real)
        self._all = len(synapses_of)
        self._rows = np.full(self._all, self.heads.size, "int32")
        self._rows[self.heads] = np.arange(self.heads.size)

    def to_rows(self, values: Any, axis: int = 0) -> Any:
        """Selects the values of the neurons that have a row, along ``axis``."""
        return values if self.heads.size == self._all else ops.take(values, self.heads, axis=axis)

    def to_neurons(self, values: Any, axis: int = 0) -> Any:
        """Expands one value per row to one per neuron along ``axis``; neurons without synapses get zeros."""
        if self.heads.size == self._all:
            return values
        padding = ops.zeros_like(ops.take(values, np.array([0]), axis=axis))
        return ops.take(ops.concatenate([values, padding], axis=axis), self._rows, axis=axis)


class Table:
    """The weights of synapses in the places of a layout, with constants computed once per call.

    A synapse opens by sigmoid(sigma (x - mu)) = sigmoid(sigma x - threshold); its effects are w E and w.
    """

    def __init__(self, layout: Layout, sigma: Any, threshold: Any, weight: Any, reversal: Any) -> None:
        weights = map(layout.from_weight, (sigma, threshold, weight, reversal))
        self.sigma, self.threshold, weight, self.reversal = weights
        self.is_real = layout.is_real.astype("float32")
        self.weight = weight * self.is_real
        self.effects = ops.stack([self.weight * self.reversal, self.weight], axis=1)

    def opened(self, at_synapses: Any) -> Any:
        """Returns how far each synapse is open for the values of its source, of the layout's shape and (..., batch)."""
        shape = (*self.is_real.shape, *[1] * (len(at_synapses.shape) - len(self.is_real.shape)))
        return ops.sigmoid(at_synapses * ops.reshape(self.sigma, shape) - ops.reshape(self.threshold, shape))


def apply_synapses(synapses: Synapses, sources: Any, sigma: Any, threshold: Any, weight: Any, reversal: Any) -> Any:
    r"""Computes :math:`\sum_i w_i E_i \sigma_i(x_i)` and :math:`\sum_i w_i \sigma_i(x_i)`, which each neuron receives.

    Neither depends on a state, so all steps are computed together. For the gradient only the inputs are stored:
    recomputing a sigmoid takes less time than reading it from memory.

    Args:
        synapses: The existing synapses.
        sources: (steps, sources, batch).
        sigma: Steepness of each synapse, (sources, neurons), like the following weights.
        threshold: The steepness times the potential at which a synapse is half open.
        weight: The greatest conductance of a synapse.
        reversal: The potential towards which a synapse drives its target.

    Returns:
        (steps, neurons, 2, batch): the driving current, then the conductance.
    """

    @ops.custom_gradient
    def pass_on(sources: Any, *weights: Any) -> tuple[Any, Any]:
        table = Table(synapses.by_target, *weights)

        def gradient(*args: Any, upstream: Any = None) -> tuple[Any, ...]:
            upstream = args[0] if upstream is None else upstream
            return receive_back(synapses, table, sources, synapses.by_target.to_rows(upstream, axis=1))

        return synapses.by_target.to_neurons(receive(synapses, table, sources), axis=1), gradient

    return pass_on(sources, sigma, threshold, weight, reversal)


def receive(synapses: Synapses, table: Table, sources: Any) -> Any:
    """Returns what each target receives, (steps, targets, 2, batch), from sources (steps, sources, batch)."""

    def forward(piece: Any) -> Any:
        return ops.matmul(table.effects, table.opened(synapses.gather_sources(piece)))

    together = _steps_together(synapses, sources)
    return _from_pieces(_map(forward, _to_pieces(sources, together), together, sources), together)


def receive_back(synapses: Synapses, table: Table, sources: Any, upstream: Any) -> tuple[Any, ...]:
    """Returns the gradients of sources, sigma, threshold, weight and reversal.

    Args:
        synapses: The existing synapses.
        table: Their weights by target.
        sources: (steps, sources, batch).
        upstream: Gradient of what the targets receive, (steps, targets, 2, batch).
    """
    by_target, by_source, is_full = synapses.by_target, synapses.by_source, synapses.is_full

    def backward(piece: Any) -> tuple[Any, ...]:
        values, upstream = piece
        at_synapses = synapses.gather_sources(values)
        opened = table.opened(at_synapses)
        effects_gradient = ops.matmul(opened, ops.transpose(upstream, (0, 2, 1)))
        pulled = ops.matmul(ops.transpose(table.effects, (0, 2, 1)), upstream) * (opened * (1.0 - opened))
        if is_full:
            slope_gradient = pulled * at_synapses
            sources_gradient = ops.sum(pulled * table.sigma[..., None], axis=0)
        else:
            # In the grid by source the values are a broadcast; gathered again, they would have to be written to memory.
            slope_gradient = synapses.reorder_by_source(pulled) * by_source.to_rows(values)[:, None]
            sources_gradient = ops.sum(synapses.reorder_by_source(pulled * table.sigma[..., None]), axis=1)
            sources_gradient = by_source.to_neurons(sources_gradient)
        return sources_gradient, effects_gradient, sum_rows(pulled), sum_rows(slope_gradient)

    together = _steps_together(synapses, sources)
    pieces = (_to_pieces(sources, together), _to_pieces(upstream, together))
    sources_gradient, *others = _map(backward, pieces, together, sources)
    effects_gradient, offset_gradient, slope_gradient = (ops.sum(values, axis=0) for values in others)
    driving_gradient, conductance_gradient = effects_gradient[..., 0], effects_gradient[..., 1]
    return (
        _from_pieces(sources_gradient, together),
        (by_target if is_full else by_source).to_weight(slope_gradient),
        by_target.to_weight(-offset_gradient),
        by_target.to_weight((driving_gradient * table.reversal + conductance_gradient) * table.is_real),
        by_target.to_weight(driving_gradient * table.weight),
    )


def sum_synapses(effects: Any, opened: Any) -> Any:
    """Returns the sums of the effects (rows, 2, synapses) of open synapses (rows, synapses, batch), (rows, 2, batch).

    XLA unrolls a short sum on a CPU, which then runs over the batch, while a product is faster for a long one.
    """
    if opened.shape[1] > _LONGEST_SUM:
        return ops.matmul(effects, opened)
    return ops.sum(effects[..., None] * opened[:, None], axis=2)


def sum_rows(values: Any) -> Any:
    """Returns sums over the last axis as a matrix product, which XLA computes faster than a reduction on a CPU."""
    ones = ops.ones((ops.shape(values)[-1], 1), dtype=values.dtype)
    return ops.matmul(values, ones)[..., 0]


def _steps_together(synapses: Synapses, sources: Any) -> int:
    """Returns the largest divisor of the steps whose activations fit the cache, or one if the steps are not known."""
    steps, _, batch = sources.shape
    if steps is None or builds_plain_graphs():
        return steps or 1
    size = synapses.by_target.size * (64 if batch is None else batch)
    fitting = [count for count in range(1, steps + 1) if steps % count == 0 and count * size <= LARGEST_PIECE]
    return max(fitting, default=1)


def _to_pieces(values: Any, together: int) -> Any:
    """Splits (steps, ..., batch) into (pieces, ..., steps of a piece x batch)."""
    if together == 1:
        return values
    shape = ops.shape(values)
    values = ops.reshape(values, (shape[0] // together, together, *shape[1:]))
    rank = len(values.shape)
    values = ops.transpose(values, (0, *range(2, rank - 1), 1, rank - 1))
    return ops.reshape(values, (shape[0] // together, *shape[1:-1], -1))


def _from_pieces(values: Any, together: int) -> Any:
    """Undoes :func:`_to_pieces`."""
    if together == 1:
        return values
    pieces, *middle, last = ops.shape(values)
    values = ops.reshape(values, (pieces, *middle, together, last // together))
    rank = len(values.shape)
    values = ops.transpose(values, (0, rank - 2, *range(1, rank - 2), rank - 1))
    return ops.reshape(values, (pieces * together, *middle, -1))


def _map(function: Callable[[Any], Any], pieces: Any, together: int, sources: Any) -> Any:
    """Applies the function along the first axis of the pieces, one after another."""
    if together != sources.shape[0]:
        return ops.map(function, pieces)
    outputs = function(keras.tree.map_structure(lambda values: values[0], pieces))
    return keras.tree.map_structure(lambda values: values[None], outputs)
