"""The chemical synapses of an LTC: which exist, laid out so that no absent one is computed, and what they pass on."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lnn.backend import builds_plain_graphs

# A piece of work that stays in the cache of one core: above it, steps are taken one after another.
_LARGEST_PIECE = 2**18


class Synapses:
    """The synapses of an adjacency matrix as two padded tables, one row a target neuron and one row a source.

    Every array of activations is (targets, synapses of a target, batch), so that a synapse's constants stay fixed
    while the innermost loop runs over the batch. The table by source is what the gradient of the sources needs.

    Args:
        adjacency: (sources, neurons); a synapse wherever it is not zero.
    """

    def __init__(self, adjacency: np.ndarray) -> None:
        exists = np.asarray(adjacency) != 0
        self.source_count, self.neuron_count = exists.shape
        self.is_full = bool(exists.all())
        self.targets = _any(exists.any(axis=0))
        self.sources = _any(exists.any(axis=1))
        self.source_of = _padded([np.flatnonzero(exists[:, target]) for target in self.targets])
        lengths = exists[:, self.targets].sum(axis=0)
        self.is_real = (np.arange(self.source_of.shape[1]) < lengths[:, None]).astype("float32")
        # Where each synapse stands in a weight (sources, neurons), and where each weight's synapse stands in the table.
        self._in_weight = self.source_of * self.neuron_count + self.targets[:, None]
        self.size = self.source_of.size
        place = np.full(exists.shape, self.size, "int32")
        rows, columns = np.nonzero(self.is_real)
        place[self.source_of[rows, columns], self.targets[rows]] = rows * self.source_of.shape[1] + columns
        self._in_table = place
        of_source = [np.flatnonzero(exists[source]) for source in self.sources]
        self.target_of = _padded(of_source)
        self._by_source = _padded([place[s, t] for s, t in zip(self.sources, of_source, strict=True)], self.size)
        self._rows_of_targets = _positions(self.targets, self.neuron_count)
        self._rows_of_sources = _positions(self.sources, self.source_count)

    def from_weight(self, weight: Any) -> Any:
        """The values of a weight (sources, neurons) at the synapses, (targets, synapses of a target)."""
        return ops.take(ops.reshape(weight, (-1,)), self._in_weight, axis=0)

    def to_weight(self, values: Any) -> Any:
        """The values at the synapses as a weight (sources, neurons), zero where there is no synapse."""
        values = ops.reshape(values, (-1,))
        return ops.take(ops.concatenate([values, ops.zeros_like(values[:1])]), self._in_table, axis=0)

    def of_sources(self, values: Any, axis: int = 0) -> Any:
        """The value of each synapse's source, for values of all sources along ``axis``.

        Where every synapse exists this is no more than a broadcast, and the first axis of the table has length one.
        """
        if self.is_full:
            return ops.expand_dims(values, axis)
        return ops.take(values, self.source_of, axis=axis)

    def sum_by_source(self, values: Any) -> Any:
        """The sums (sources, batch) of values at the synapses (targets, synapses of a target, batch)."""
        if self.is_full:
            return ops.sum(values, axis=0)
        flat = ops.reshape(values, (self.size, -1))
        return _spread(ops.sum(self.by_source(flat), axis=1), self._rows_of_sources, 0)

    def by_source(self, values: Any, axis: int = 0) -> Any:
        """Values at the synapses in the order of their sources.

        Args:
            values: The table (targets, synapses of a target) flattened along ``axis``.
            axis: Where that is.

        Returns:
            The same with (sources with synapses, synapses of a source) in its place, padded by zeros.
        """
        if (self._by_source == self.size).any():
            padding = ops.zeros_like(ops.take(values, np.array([0]), axis=axis))
            values = ops.concatenate([values, padding], axis=axis)
        return ops.take(values, self._by_source, axis=axis)

    def to_neurons(self, rows: Any, axis: int = 0) -> Any:
        """One row a target to one row a neuron; a neuron without synapses gets zeros."""
        return _spread(rows, self._rows_of_targets, axis)

    def to_sources(self, rows: Any) -> Any:
        """One row a source that has synapses to one row a source; the others get zeros."""
        return _spread(rows, self._rows_of_sources, 0)


def apply_synapses(synapses: Synapses, sources: Any, sigma: Any, mu: Any, weight: Any, reversal: Any) -> Any:
    r"""What each neuron receives: :math:`\sum_i w_i E_i \sigma_i(x_i)` and :math:`\sum_i w_i \sigma_i(x_i)`.

    Nothing here depends on a state, so all steps are computed together. For the gradient nothing but the inputs is
    kept: to evaluate a sigmoid again takes less time than to read it back.

    Args:
        synapses: Those that exist.
        sources: (steps, sources, batch).
        sigma: (sources, neurons), as are the following.
        mu: The potential at which a synapse is half open.
        weight: Its greatest conductance.
        reversal: The potential towards which it drives its target.

    Returns:
        (steps, 2, neurons, batch): the driving current, then the conductance.
    """
    steps = sources.shape[0]
    together = steps if builds_plain_graphs() else _steps_together(synapses.size, steps, sources.shape[-1])

    @ops.custom_gradient
    def pass_on(sources: Any, sigma: Any, mu: Any, weight: Any, reversal: Any) -> tuple[Any, Any]:
        table = Table(synapses, sigma, mu, weight, reversal)

        def forward(piece: Any) -> Any:
            return ops.matmul(table.effects, table.open_fraction(piece, axis=0))

        def gradient(*args: Any, upstream: Any = None) -> tuple[Any, ...]:
            upstream = args[0] if upstream is None else upstream

            def backward(piece: Any) -> tuple[Any, Any, Any, Any]:
                values, upstream = piece
                at_synapses = synapses.of_sources(values)
                opened = table.opened(at_synapses)
                of_effects = ops.matmul(opened, ops.transpose(upstream, (0, 2, 1)))
                pulled = ops.matmul(ops.transpose(table.effects, (0, 2, 1)), upstream) * (opened * (1.0 - opened))
                of_sources = synapses.sum_by_source(pulled * table.sigma[..., None])
                return of_sources, of_effects, ops.sum(pulled, axis=-1), ops.sum(pulled * at_synapses, axis=-1)

            pieces = (_to_pieces(sources, together), _to_pieces(upstream, together))
            of_sources, *of_table = _map(backward, pieces, together == steps)
            of_effects, of_offset, of_slope = (ops.sum(values, axis=0) for values in of_table)
            return _from_pieces(of_sources, together), *table.gradients(
                of_effects[..., 0], of_effects[..., 1], of_offset, of_slope
            )

        pieces = _map(forward, _to_pieces(sources, together), together == steps)
        return _from_pieces(pieces, together), gradient

    received = pass_on(sources, sigma, mu, weight, reversal)
    return ops.transpose(synapses.to_neurons(received, axis=1), (0, 2, 1, 3))


class Table:
    """The weights of synapses, laid out like :class:`Synapses`, with what is folded once per call.

    A synapse is open by sigmoid(sigma (x - mu)) = sigmoid(sigma x - sigma mu); its effects are w E and w.
    """

    def __init__(self, synapses: Synapses, sigma: Any, mu: Any, weight: Any, reversal: Any) -> None:
        self.synapses = synapses
        self.sigma, self.mu, weight, self.reversal = map(synapses.from_weight, (sigma, mu, weight, reversal))
        self.weight = weight * synapses.is_real
        self.threshold = self.sigma * self.mu
        self.effects = ops.stack([self.weight * self.reversal, self.weight], axis=1)

    def open_fraction(self, values: Any, axis: int) -> Any:
        """How far each synapse is open for values of the sources, which are along ``axis``, the batch last."""
        return self.opened(self.synapses.of_sources(values, axis))

    def opened(self, at_synapses: Any) -> Any:
        """The same for the sources' values at each synapse."""
        return ops.sigmoid(at_synapses * self.sigma[..., None] - self.threshold[..., None])

    def gradients(self, of_driving: Any, of_conductance: Any, of_offset: Any, of_slope: Any) -> tuple[Any, ...]:
        """The gradients of sigma, mu, weight and reversal as weights (sources, neurons).

        Args:
            of_driving: With respect to ``w E``, all arrays (targets, synapses of a target).
            of_conductance: With respect to the second effect, ``w``.
            of_offset: With respect to the sigmoid's argument.
            of_slope: The same times the source's value, summed.
        """
        values = (
            of_slope - self.mu * of_offset,
            -self.sigma * of_offset,
            (of_driving * self.reversal + of_conductance) * self.synapses.is_real,
            of_driving * self.weight,
        )
        return tuple(map(self.synapses.to_weight, values))


def _any(present: np.ndarray) -> np.ndarray:
    """Indices of what is present, or the first where nothing is: a table must not be empty."""
    indices = np.flatnonzero(present)
    return indices if indices.size else np.array([0])


def _padded(rows: list[np.ndarray], padding: int = 0) -> np.ndarray:
    table = np.full((len(rows), max(1, *(row.size for row in rows))), padding, "int32")
    for row, values in zip(table, rows, strict=True):
        row[: values.size] = values
    return table


def _positions(present: np.ndarray, count: int) -> np.ndarray | None:
    if present.size == count:
        return None
    positions = np.full(count, present.size, "int32")
    positions[present] = np.arange(present.size)
    return positions


def _spread(rows: Any, positions: np.ndarray | None, axis: int) -> Any:
    if positions is None:
        return rows
    padding = ops.zeros_like(ops.take(rows, np.array([0]), axis=axis))
    return ops.take(ops.concatenate([rows, padding], axis=axis), positions, axis=axis)


def _steps_together(synapses: int, steps: int | None, batch: int | None) -> int:
    """The largest divisor of the steps whose activations stay in a cache; one where the steps are not known."""
    if steps is None:
        return 1
    batch = 64 if batch is None else batch
    fitting = [size for size in range(1, steps + 1) if steps % size == 0 and size * batch * synapses <= _LARGEST_PIECE]
    return max(fitting, default=1)


def _to_pieces(values: Any, together: int) -> Any:
    """(steps, ..., batch) to (pieces, ..., steps of a piece x batch)."""
    if together == 1:
        return values
    shape = ops.shape(values)
    values = ops.reshape(values, (shape[0] // together, together, *shape[1:]))
    rank = len(values.shape)
    values = ops.transpose(values, (0, *range(2, rank - 1), 1, rank - 1))
    return ops.reshape(values, (shape[0] // together, *shape[1:-1], -1))


def _from_pieces(values: Any, together: int) -> Any:
    """The inverse of :func:`_to_pieces`."""
    if together == 1:
        return values
    pieces, *middle, last = ops.shape(values)
    values = ops.reshape(values, (pieces, *middle, together, last // together))
    rank = len(values.shape)
    values = ops.transpose(values, (0, rank - 2, *range(1, rank - 2), rank - 1))
    return ops.reshape(values, (pieces * together, *middle, -1))


def _map(function: Callable[[Any], Any], pieces: Any, at_once: bool) -> Any:
    """The function over the first axis of the pieces, one after another."""
    if not at_once:
        return ops.map(function, pieces)
    outputs = function(keras.tree.map_structure(lambda values: values[0], pieces))
    return keras.tree.map_structure(lambda values: values[None], outputs)
