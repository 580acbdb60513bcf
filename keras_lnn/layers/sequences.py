"""Layers that turn images, feature maps and volumes into sequences, and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lnn.errors import InputError
from keras_lnn.layers.scan_orders import ScanOrder, scan_order


def apply_to_slices(block: Callable[[Any], Any], volumes: Any) -> Any:
    """Applies a 2D block to every slice of volumes, with one set of weights.

    The slices are folded into the batch, which is several times faster than the loop of ``TimeDistributed``.

    Args:
        block: Function from images (batch, height, width, channels) to a tensor whose first axis is the batch.
        volumes: (batch, depth, height, width, channels).

    Returns:
        (batch, depth, ...) with the block's result for each slice.
    """
    depth = volumes.shape[1]
    slices = block(ops.reshape(volumes, (-1, *volumes.shape[2:])))
    return ops.reshape(slices, (-1, depth, *slices.shape[1:]))


class SequenceLayer(keras.layers.Layer):
    """Reads maps (batch, height, width, channels) or (batch, depth, height, width, channels) as a sequence.

    The result (batch, steps, features) holds the same values in another order. Subclasses define what a step is.

    Args:
        reverse: Whether the last step comes first.
        **kwargs: Passed to :class:`keras.layers.Layer`.
    """

    def __init__(self, *, reverse: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reverse = reverse

    def count_steps(self, map_shape: tuple[int, ...]) -> tuple[int, int]:
        """Returns the number of steps of a map and of features per step; raises an InputError if it does not fit."""
        raise NotImplementedError

    def read_steps(self, maps: Any) -> Any:
        """Returns the steps in their order, before they are reversed."""
        raise NotImplementedError

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.compute_output_shape(input_shape)  # so that a wrong shape is reported as such, not as an error of a call
        super().build(input_shape)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        if len(input_shape) not in (4, 5) or None in input_shape[1:]:
            raise InputError(
                f"{type(self).__name__} reads maps of known size, (batch, height, width, channels) or (batch, depth, "
                f"height, width, channels). Received: {tuple(input_shape)}."
            )
        return (input_shape[0], *self.count_steps(tuple(side for side in input_shape[1:] if side is not None)))

    def call(self, maps: Any) -> Any:
        steps = self.read_steps(maps)
        return ops.flip(steps, axis=1) if self.reverse else steps

    def positions(self, map_shape: Sequence[int]) -> np.ndarray:
        """Returns the position in the map of each value of the sequence.

        Args:
            map_shape: Shape of one map, (height, width, channels) or (depth, height, width, channels).

        Returns:
            Flat indices into the map, (steps, features).
        """
        self.compute_output_shape((1, *map_shape))
        numbered = np.arange(math.prod(map_shape), dtype="int32").reshape(1, *map_shape)
        return ops.convert_to_numpy(self.call(ops.convert_to_tensor(numbered)))[0]

    def inverse(self, map_shape: Sequence[int]) -> RestoreMaps:
        """Returns the layer that restores maps from this sequence.

        It raises an InputError if steps overlap or leave something out.

        Args:
            map_shape: Shape of one map, (height, width, channels) or (depth, height, width, channels).
        """
        return RestoreMaps(self, map_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "reverse": self.reverse}


class _Lines(SequenceLayer):
    """Reads everything at one position of one axis as a step."""

    axis_from_the_end = -3

    def count_steps(self, map_shape: tuple[int, ...]) -> tuple[int, int]:
        if len(map_shape) < -self.axis_from_the_end:
            raise InputError(
                f"{type(self).__name__} reads volumes (depth, height, width, channels). Received: maps of shape "
                f"{map_shape}. Read rows or columns."
            )
        steps = map_shape[self.axis_from_the_end]
        return steps, math.prod(map_shape) // steps

    def read_steps(self, maps: Any) -> Any:
        axis = len(maps.shape) + self.axis_from_the_end
        others = [other for other in range(1, len(maps.shape)) if other != axis]
        moved = maps if axis == 1 else ops.transpose(maps, (0, axis, *others))
        return ops.reshape(moved, (-1, moved.shape[1], math.prod(moved.shape[2:])))


@keras.saving.register_keras_serializable(package="keras_lnn")
class Rows(_Lines):
    """Reads each row as a step; in a volume, the rows of all its slices at the same height.

    (batch, height, width, channels) to (batch, height, width * channels).

    Example:
        >>> Rows()(keras.ops.ones((2, 8, 6, 4))).shape
        (2, 8, 24)
    """


@keras.saving.register_keras_serializable(package="keras_lnn")
class Columns(_Lines):
    """Reads each column as a step; in a volume, the columns of all its slices at the same position.

    (batch, height, width, channels) to (batch, width, height * channels).

    Example:
        >>> Columns()(keras.ops.ones((2, 8, 6, 4))).shape
        (2, 6, 32)
    """

    axis_from_the_end = -2


@keras.saving.register_keras_serializable(package="keras_lnn")
class Slices(_Lines):
    """Reads each slice of a volume along its depth as a step; :class:`Rows` and :class:`Columns` read the other axes.

    (batch, depth, height, width, channels) to (batch, depth, height * width * channels).

    Example:
        >>> Slices()(keras.ops.ones((2, 5, 8, 6, 4))).shape
        (2, 5, 192)
    """

    axis_from_the_end = -4


@keras.saving.register_keras_serializable(package="keras_lnn")
class Channels(SequenceLayer):
    """Reads each channel, or each group of consecutive channels, as a step.

    (batch, height, width, channels) to (batch, steps, channels / steps * height * width).

    Args:
        steps: Length of the sequence, which must divide the number of channels; that number if not given.
        reverse: Whether the last step comes first.
        **kwargs: Passed to :class:`keras.layers.Layer`.

    Example:
        >>> Channels(steps=16)(keras.ops.ones((2, 2, 2, 128))).shape
        (2, 16, 32)
    """

    def __init__(self, steps: int | None = None, *, reverse: bool = False, **kwargs: Any) -> None:
        super().__init__(reverse=reverse, **kwargs)
        self.steps = steps

    def count_steps(self, map_shape: tuple[int, ...]) -> tuple[int, int]:
        channels = map_shape[-1]
        steps = channels if self.steps is None else self.steps
        if steps < 1 or channels % steps:
            raise InputError(f"The sequence length must divide the {channels} channels. Received: {steps}.")
        return steps, math.prod(map_shape) // steps

    def read_steps(self, maps: Any) -> Any:
        steps, features = self.count_steps(tuple(maps.shape[1:]))
        places = range(1, len(maps.shape) - 1)
        maps = ops.transpose(maps, (0, len(maps.shape) - 1, *places))
        return ops.reshape(maps, (-1, steps, features))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "steps": self.steps}


@keras.saving.register_keras_serializable(package="keras_lnn")
class Patches(SequenceLayer):
    """Reads each patch as a step; in a volume, each cube.

    (batch, height, width, channels) to (batch, patches, size * size * channels). Patches that do not lie wholly inside
    the map are left out, as in a convolution without padding.

    Args:
        size: Side of a patch.
        stride: Distance from one patch to the next, the size if not given; with less, patches overlap.
        order: Order of the patches, see :func:`~keras_lnn.layers.scan_orders.scan_order`.
        reverse: Whether the last step comes first.
        **kwargs: Passed to :class:`keras.layers.Layer`.

    Example:
        >>> Patches(4)(keras.ops.ones((2, 8, 8, 3))).shape
        (2, 4, 48)
        >>> Patches(2, stride=1, order="zigzag")(keras.ops.ones((2, 7, 7, 8))).shape
        (2, 36, 32)
    """

    def __init__(
        self,
        size: int,
        stride: int | None = None,
        order: ScanOrder = "rows",
        *,
        reverse: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(reverse=reverse, **kwargs)
        if size < 1 or (stride is not None and stride < 1):
            raise InputError(f"Size and stride of patches must be at least 1. Received: {size} and {stride}.")
        self.size = size
        self.stride = stride
        self.order = order

    def grid(self, map_shape: Sequence[int]) -> tuple[int, ...]:
        """Returns the number of patches along each axis of a map (..., channels)."""
        sides = tuple(map_shape[:-1])
        if self.size > min(sides):
            raise InputError(
                f"A patch must not be larger than the map. Received: patches of {self.size} on a map of "
                f"{'x'.join(map(str, sides))}. Choose smaller patches or a larger map."
            )
        return tuple((side - self.size) // (self.stride or self.size) + 1 for side in sides)

    def count_steps(self, map_shape: tuple[int, ...]) -> tuple[int, int]:
        grid = self.grid(map_shape)
        return math.prod(grid), self.size ** len(grid) * map_shape[-1]

    def read_steps(self, maps: Any) -> Any:
        grid = self.grid(maps.shape[1:])
        stride, axes = self.stride or self.size, len(grid)
        for axis, count in enumerate(grid):
            place = 1 + 2 * axis
            if stride == self.size:  # slicing costs nothing, gathering would
                shape = maps.shape
                kept = (slice(None),) * place + (slice(0, count * self.size),)
                maps = ops.reshape(maps[kept], (-1, *shape[1:place], count, self.size, *shape[place + 1 :]))
            else:
                rows = np.arange(count)[:, None] * stride + np.arange(self.size)
                maps = ops.take(maps, rows, axis=place)
        inside = [2 + 2 * axis for axis in range(axes)]
        maps = ops.transpose(maps, (0, *(index - 1 for index in inside), *inside, 1 + 2 * axes))
        steps = ops.reshape(maps, (-1, math.prod(grid), self.size**axes * maps.shape[-1]))
        order = scan_order(grid, self.order)
        return steps if self.order == "rows" else ops.take(steps, order, axis=1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size, "stride": self.stride, "order": self.order}


@keras.saving.register_keras_serializable(package="keras_lnn")
class RestoreMaps(keras.layers.Layer):
    """Restores maps from a sequence: puts each value that a :class:`SequenceLayer` read back in its place.

    (batch, steps, features) to (batch, *map_shape).

    Args:
        sequence: The layer that read the maps; its sequence must hold each value of a map exactly once.
        map_shape: Shape of one map.
        **kwargs: Passed to :class:`keras.layers.Layer`.

    Example:
        >>> maps = keras.random.uniform((2, 8, 8, 3))
        >>> patches = Patches(4, order="zigzag")
        >>> bool((patches.inverse((8, 8, 3))(patches(maps)) == maps).numpy().all())
        True
    """

    def __init__(self, sequence: SequenceLayer | dict[str, Any], map_shape: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sequence = keras.saving.deserialize_keras_object(sequence) if isinstance(sequence, dict) else sequence
        self.map_shape = tuple(map_shape)
        positions = self.sequence.positions(self.map_shape).reshape(-1)
        if not np.array_equal(np.sort(positions), np.arange(math.prod(self.map_shape))):
            raise InputError(
                f"Maps can be made again of steps that hold each value once. Received: "
                f"{type(self.sequence).__name__} of a map of {'x'.join(map(str, self.map_shape))}, which overlaps or "
                "leaves something out. Choose a stride equal to the size, and a size that divides the sides."
            )
        self._order = np.argsort(positions)

    def call(self, steps: Any) -> Any:
        values = ops.reshape(steps, (-1, len(self._order)))
        return ops.reshape(ops.take(values, self._order, axis=1), (-1, *self.map_shape))

    def get_config(self) -> dict[str, Any]:
        sequence = keras.saving.serialize_keras_object(self.sequence)
        return {**super().get_config(), "sequence": sequence, "map_shape": list(self.map_shape)}
