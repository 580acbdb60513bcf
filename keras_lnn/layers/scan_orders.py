"""The orders in which the cells of a grid can be scanned, in two and three dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

ScanOrder = Literal["rows", "columns", "zigzag", "hilbert"]


def scan_order(grid: tuple[int, ...], order: ScanOrder) -> np.ndarray:
    """Returns the flat indices of a grid's cells in the order of a scan.

    Args:
        grid: (rows, columns) or (slices, rows, columns).
        order: ``rows`` goes row by row, ``columns`` column by column, ``zigzag`` turns round at the end of each row
            (and of each slice), so that each cell is next to the one before it. ``hilbert`` follows Hilbert's curve, on
            which cells that are close in the sequence are close in the grid; if the sides are not one power of two, it
            follows the curve of the next larger square or cube and skips cells outside the grid.

    Returns:
        Each index once, as int64.
    """
    cells = np.arange(math.prod(grid)).reshape(grid)
    return _SCANS[order](cells)


def _by_columns(cells: np.ndarray) -> np.ndarray:
    return np.swapaxes(cells, -1, -2).reshape(-1)


def _zigzag(cells: np.ndarray) -> np.ndarray:
    if cells.ndim == 1:
        return cells
    return np.concatenate([_zigzag(part)[:: -1 if place % 2 else 1] for place, part in enumerate(cells)])


def _by_hilbert(cells: np.ndarray) -> np.ndarray:
    bits = max(1, math.ceil(math.log2(max(cells.shape))))
    places = np.argwhere(np.ones(cells.shape, bool))
    return cells.reshape(-1)[np.argsort(_hilbert_distance(places, bits))]


def _hilbert_distance(places: np.ndarray, bits: int) -> np.ndarray:
    """Returns the distance of each cell along Hilbert's curve.

    The algorithm is that of Skilling, "Programming the Hilbert curve", AIP Conference Proceedings 707, 2004.

    Args:
        places: Coordinates, (cells, axes).
        bits: Bits of each coordinate.
    """
    x = places.T.astype(np.int64).copy()
    axes = len(x)
    # From coordinates to the bits of the distance: undo the rotations of the curve, the largest squares first.
    for bit in (1 << np.arange(bits)[::-1])[:-1]:
        below = bit - 1
        for axis in range(axes):
            turned = (x[axis] & bit) != 0
            exchanged = np.where(turned, 0, (x[0] ^ x[axis]) & below)
            x[0] ^= np.where(turned, below, exchanged)
            x[axis] ^= exchanged
    for axis in range(1, axes):
        x[axis] ^= x[axis - 1]
    flips = np.zeros_like(x[0])
    for bit in (1 << np.arange(bits)[::-1])[:-1]:
        flips ^= np.where((x[-1] & bit) != 0, bit - 1, 0)
    x ^= flips
    distance = np.zeros_like(x[0])
    for bit in range(bits)[::-1]:
        for axis in range(axes):
            distance = distance << 1 | (x[axis] >> bit) & 1
    return distance


_SCANS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "rows": lambda cells: cells.reshape(-1),
    "columns": _by_columns,
    "zigzag": _zigzag,
    "hilbert": _by_hilbert,
}
