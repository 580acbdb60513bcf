"""The neurons and synapses of a liquid layer by its weights, so that any of them can be removed."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Generator, Iterable
from typing import Any

import numpy as np
from keras import ops

from keras_lnn.layers import CfCCell, LTCCell, MixedMemoryCell, WiredCfCCell
from keras_lnn.layers.recurrence import LiquidRNN
from keras_lnn.layers.wiring import BuiltWiring

# The number of rows and columns that belong to no single neuron, such as those of a backbone.
_NOBODY = np.iinfo(np.int64).min


@dataclasses.dataclass(frozen=True, order=True)
class Neuron:
    """A neuron of a layer by its number in the wiring."""

    index: int

    def __str__(self) -> str:
        return f"neuron {self.index}"


@dataclasses.dataclass(frozen=True, order=True)
class Synapse:
    """A synapse of a layer.

    Args:
        source: Number of the neuron, or of the input, that it starts from.
        target: Number of the neuron that it ends at.
        from_input: Whether it starts from an input.
    """

    source: int
    target: int
    from_input: bool = False

    def __str__(self) -> str:
        return f"{'input' if self.from_input else 'synapse'} {self.source} to {self.target}"


Part = Neuron | Synapse


@dataclasses.dataclass(frozen=True)
class _Block:
    """Weights (sources, targets) that have the same rows and columns.

    Args:
        variables: The weights.
        sources: The neuron of each row, -1 - i for input i, or ``_NOBODY``.
        targets: The neuron of each column, or ``_NOBODY``.
        exists: Which of them are synapses, (sources, targets).
    """

    variables: list[Any]
    sources: np.ndarray
    targets: np.ndarray
    exists: np.ndarray | None = None


class Circuit:
    """The neurons and synapses of a built liquid layer.

    A neuron is silenced by removing all that it receives and all that it gives, from and to inputs, neurons and the
    memory: it rests. A synapse is silenced by setting its weights to zero. The gates of a wired CfC read all neurons of
    their layer and the one before, whatever the wiring; silencing a synapse removes its part of the gate, too. A dense
    CfC with a backbone has neurons, but no synapses between two of them.

    Args:
        layer: A built LTC or CfC.
    """

    def __init__(self, layer: LiquidRNN) -> None:
        self.layer = layer
        cell: Any = layer.cell
        memory = cell if isinstance(cell, MixedMemoryCell) else None
        cell = cell if memory is None else memory.rnn_cell
        self.neurons: int = cell.state_size
        self._order = np.arange(self.neurons)
        if isinstance(cell, LTCCell):
            self._blocks = _blocks_of_ltc(cell)
        elif isinstance(cell, WiredCfCCell):
            wiring: Any = cell.built_wiring
            layers = [np.asarray(wiring.get_neurons_of_layer(index)) for index in range(wiring.num_layers)]
            self._order = np.concatenate(layers)
            self._blocks = _blocks_of_wired(cell, layers)
        else:
            self._blocks = _blocks_of_dense(cell)
        self._memory_blocks = [] if memory is None else _blocks_of_memory(memory, self._order)
        wiring = layer.built_wiring
        types = None if wiring is None else [wiring.get_type_of_neuron(neuron) for neuron in range(self.neurons)]
        self.types: tuple[str, ...] = ("motor",) * self.neurons if types is None else tuple(types)

    def list_neurons(self) -> list[Neuron]:
        """Returns all neurons."""
        return [Neuron(index) for index in range(self.neurons)]

    def list_synapses(self, from_inputs: bool = False) -> list[Synapse]:
        """Returns the synapses between neurons, or those from inputs, sorted by source and target."""
        found = []
        for block in self._blocks:
            for row, column in np.argwhere(block.exists) if block.exists is not None else ():
                source, target = int(block.sources[row]), int(block.targets[column])
                if (source < 0) == from_inputs:
                    found.append(Synapse(-1 - source if from_inputs else source, target, from_inputs))
        return sorted(found)

    def without(self, parts: Iterable[Part]) -> list[tuple[Any, np.ndarray]]:
        """Returns the variables that change if some parts are silenced, with their new values."""
        parts = list(parts)
        neurons = np.array([part.index for part in parts if isinstance(part, Neuron)], "int64")
        pairs = {
            (-1 - part.source if part.from_input else part.source, part.target)
            for part in parts
            if isinstance(part, Synapse)
        }
        changed = []
        for block in [*self._blocks, *self._memory_blocks]:
            removed = np.isin(block.sources, neurons)[:, None] | np.isin(block.targets, neurons)[None]
            rows = {source: row for row, source in enumerate(block.sources.tolist())}
            columns = {target: column for column, target in enumerate(block.targets.tolist())}
            for source, target in pairs:
                if block.exists is not None and source in rows and target in columns:
                    removed[rows[source], columns[target]] = True
            if removed.any():
                for variable in block.variables:
                    value = ops.convert_to_numpy(variable)
                    changed.append((variable, np.where(removed.reshape(value.shape), 0, value)))
        return changed

    @contextlib.contextmanager
    def silenced(self, parts: Iterable[Part]) -> Generator[None]:
        """Silences parts of the layer within a context and restores its weights after it."""
        changed = self.without(parts)
        before = [(variable, ops.convert_to_numpy(variable).copy()) for variable, _ in changed]
        try:
            for variable, value in changed:
                variable.assign(value)
            yield
        finally:
            for variable, value in before:
                variable.assign(value)

    def prune_wiring(self, removed: Iterable[Synapse]) -> BuiltWiring | None:
        """Returns the layer's wiring without some synapses; None for a layer without a wiring."""
        if self.layer.built_wiring is None:
            return None
        pruned = BuiltWiring.of(self.layer.built_wiring)
        pruned.adjacency_matrix = pruned.adjacency_matrix.copy()
        pruned.sensory_adjacency_matrix = pruned.sensory_adjacency_matrix.copy()
        for synapse in removed:
            matrix = pruned.sensory_adjacency_matrix if synapse.from_input else pruned.adjacency_matrix
            matrix[synapse.source, synapse.target] = 0
        return pruned


def _blocks_of_ltc(cell: LTCCell) -> list[_Block]:
    wiring: Any = cell.built_wiring
    neurons = np.arange(wiring.units)
    sensory = wiring.sensory_adjacency_matrix
    return [
        _Block([cell.w], neurons, neurons, wiring.adjacency_matrix != 0),
        _Block([cell.sensory_w], -1 - np.arange(len(sensory)), neurons, sensory != 0),
    ]


def _kernels(cell: CfCCell) -> list[Any]:
    """Returns the kernels of the heads."""
    if cell.mode == "pure":
        return [cell.ff1_kernel]
    return [cell.ff1_kernel, cell.ff2_kernel, cell.time_a.kernel, cell.time_b.kernel]


def _blocks_of_wired(cell: WiredCfCCell, layers: list[np.ndarray]) -> list[_Block]:
    blocks: list[_Block] = []
    for part, neurons in zip(cell.layer_cells, layers, strict=True):
        mask = np.asarray(part.sparsity_mask)
        count = mask.shape[0] - len(neurons)
        sources = layers[len(blocks) - 1] if blocks else -1 - np.arange(count)
        blocks.append(_Block(_kernels(part), np.concatenate([sources, neurons]), neurons, mask != 0))
    return blocks


def _blocks_of_dense(cell: CfCCell) -> list[_Block]:
    neurons, kernels = np.arange(cell.units), _kernels(cell)
    if cell.backbone_fn is not None:
        first = cell.backbone_fn.layers[0].kernel
        inputs, width = first.shape[0] - cell.units, first.shape[1]
        sources = np.concatenate([-1 - np.arange(inputs), neurons])
        nobody = np.full(kernels[0].shape[0], _NOBODY)
        return [_Block([first], sources, np.full(width, _NOBODY)), _Block(kernels, nobody, neurons)]
    sources = np.concatenate([-1 - np.arange(kernels[0].shape[0] - cell.units), neurons])
    mask = np.ones(kernels[0].shape) if cell.sparsity_mask is None else np.asarray(cell.sparsity_mask)
    return [_Block(kernels, sources, neurons, mask != 0)]


def _blocks_of_memory(memory: MixedMemoryCell, order: np.ndarray) -> list[_Block]:
    """Returns the weights of the memory: it reads each neuron, and in the paper's version a neuron has a cell of it."""
    targets = np.full(4 * len(order), _NOBODY)
    if memory.version == "paper":
        # Without candidate the cell stays empty, whatever its gates do.
        targets[: len(order)] = order
    inputs = np.full(memory.input_kernel.shape[0], _NOBODY)
    return [
        _Block([memory.recurrent_kernel], order, targets),
        _Block([memory.input_kernel], inputs, targets),
        _Block([memory.bias], np.array([_NOBODY]), targets),
    ]
