"""Where the cells of feature maps lie in the image, and maps that are interpolated at other positions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

_CONVOLUTIONS = keras.layers.Conv2D | keras.layers.Conv3D | keras.layers.DepthwiseConv2D | keras.layers.SeparableConv2D
_POOLINGS = (
    keras.layers.MaxPooling2D
    | keras.layers.MaxPooling3D
    | keras.layers.AveragePooling2D
    | keras.layers.AveragePooling3D
)
_PADDINGS = keras.layers.ZeroPadding2D | keras.layers.ZeroPadding3D
_CROPPINGS = keras.layers.Cropping2D | keras.layers.Cropping3D


@dataclasses.dataclass(frozen=True)
class Axis:
    """The centres of a map's cells along one axis, in pixels of the image, whose first pixel is at 0.

    Args:
        cells: Number of cells.
        start: Centre of the first cell.
        step: Distance from one centre to the next.
    """

    cells: int
    start: float = 0.0
    step: float = 1.0

    def centres(self) -> np.ndarray:
        """Returns the centre of each cell."""
        return self.start + self.step * np.arange(self.cells)

    def after_window(self, cells: int, size: int, stride: int, before: int) -> Axis:
        """Returns the axis after a window has moved along this one.

        Args:
            cells: Number of cells after it.
            size: Side of the window, in cells.
            stride: Distance from one window to the next.
            before: Number of padded cells before the first one.
        """
        return Axis(cells, self.start + self.step * ((size - 1) / 2 - before), self.step * stride)

    def resized(self, cells: int) -> Axis:
        """Returns the axis with another number of cells over the same extent."""
        step = self.step * self.cells / cells
        return Axis(cells, self.start + (step - self.step) / 2, step)


Axes = tuple[Axis, ...]


def axes_after(operation: Any, axes: Axes, sides: Sequence[int]) -> Axes:
    """Returns the axes of an operation's output, exactly for convolutions, pooling, padding and cropping.

    After any other operation, sides that change are taken to cover the same extent.

    Args:
        operation: A layer or another operation.
        axes: The axes of its input; an axis of slices that are read one by one may come first.
        sides: The sides of its output.
    """
    axes = axes[len(axes) - len(sides) :]
    if isinstance(operation, _CONVOLUTIONS):
        sizes = [(kernel - 1) * rate + 1 for kernel, rate in _pairs(operation.kernel_size, operation.dilation_rate)]
        windows = zip(sizes, _as_tuple(operation.strides, len(sides)), strict=True)
        return _after_windows(axes, sides, windows, operation.padding)
    if isinstance(operation, _POOLINGS):
        windows = zip(operation.pool_size, operation.strides, strict=True)
        return _after_windows(axes, sides, windows, operation.padding)
    if isinstance(operation, _PADDINGS | _CROPPINGS):
        sign = -1 if isinstance(operation, _PADDINGS) else 1
        removed = operation.padding if isinstance(operation, _PADDINGS) else operation.cropping
        return tuple(
            Axis(side, axis.start + sign * before * axis.step, axis.step)
            for axis, side, (before, _) in zip(axes, sides, removed, strict=True)
        )
    return tuple(axis.resized(side) if side != axis.cells else axis for axis, side in zip(axes, sides, strict=True))


def _after_windows(axes: Axes, sides: Sequence[int], windows: Any, padding: str) -> Axes:
    found = []
    for axis, side, (size, stride) in zip(axes, sides, windows, strict=True):
        # TensorFlow's "same" padding: one more cell after than before where the number is odd.
        before = max((side - 1) * stride + size - axis.cells, 0) // 2 if padding == "same" else 0
        found.append(axis.after_window(side, size, stride, before))
    return tuple(found)


def _pairs(first: Any, second: Any) -> Any:
    return zip(first, _as_tuple(second, len(first)), strict=True)


def _as_tuple(value: Any, length: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,) * length


def interpolate(maps: np.ndarray, axes: Axes, onto: Axes) -> np.ndarray:
    """Returns maps at the cells of other axes, linear between the centres of cells and constant beyond the outermost.

    Args:
        maps: (samples, ..., sides), whose last axes are those in space.
        axes: The axes of the maps.
        onto: As many axes, whose centres are the positions of the result.
    """
    first = maps.ndim - len(axes)
    for place, (axis, wanted) in enumerate(zip(axes, onto, strict=True), start=first):
        if axis != wanted:
            weights = _linear_weights(axis, wanted).astype(maps.dtype)
            maps = np.moveaxis(np.tensordot(maps, weights, axes=(place, 1)), -1, place)
    return maps


def _linear_weights(axis: Axis, wanted: Axis) -> np.ndarray:
    """Returns how much each cell counts at each wanted position, (positions, cells)."""
    place = np.clip((wanted.centres() - axis.start) / axis.step, 0, axis.cells - 1)
    return np.maximum(1 - np.abs(place[:, None] - np.arange(axis.cells)), 0)
