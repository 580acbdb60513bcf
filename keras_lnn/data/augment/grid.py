"""Operations that move whole pixels along every axis, including the slices', and so without interpolation."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_lnn.data.augment.affine import SHIFT_FRACTION

if TYPE_CHECKING:
    from keras_lnn.data.augment.step_seed import StepSeed

RIGHT_ANGLES = "turn-right-angles"


@dataclasses.dataclass(frozen=True)
class Grid:
    """The positions in the original images from which the pixels are taken.

    Args:
        sides: Lengths of the axes, the same as in the original.
        places: The coordinates (batch, side) in the original for each axis, int32.
        sources: The axis of the original to which each axis corresponds, (batch, axes), int32; None if no axes are
            exchanged.
            is its own.
    """

    sides: tuple[int, ...]
    places: tuple[Any, ...]
    sources: Any = None


Operation = Callable[["StepSeed", Any, Grid], Grid]


def grid_stage(names: Sequence[str]) -> Callable[[Any, Any, "StepSeed"], tuple[Any, Any]]:
    """Returns a function of images, masks and a :class:`StepSeed` that applies operations of this module at once.

    Args:
        names: Names of the operations, first to last.

    Returns:
        A function from images (batch, ...axes, channels), float32, and masks of one channel, int32, or None to both.
    """
    operations = [GRID_OPERATIONS[name] for name in names]

    def apply(images: Any, masks: Any, draw: "StepSeed") -> tuple[Any, Any]:
        import tensorflow as tf

        sides, count = tuple(images.shape[1:-1]), tf.shape(images)[0]
        grid = Grid(sides, tuple(tf.tile(tf.range(side)[None], (count, 1)) for side in sides))
        for operation in operations:
            grid = operation(draw, count, grid)
        gather = _gather_lines if grid.sources is None else _gather_pixels
        return gather(images, grid), None if masks is None else gather(masks, grid)

    return apply


def equal_axes(sides: Sequence[int]) -> list[int]:
    """Returns the axes that are as long as another one; of three axes, at most one group has equal lengths."""
    return [axis for axis, side in enumerate(sides) if list(sides).count(side) > 1]


def _flip_shift(draw: "StepSeed", count: Any, grid: Grid) -> Grid:
    """Flips and shifts the rows along every axis at random."""
    import tensorflow as tf

    places = []
    for side, place in zip(grid.sides, grid.places, strict=True):
        most = round(SHIFT_FRACTION * side)
        shift = draw.integers((count, 1), -most, most)
        flipped = draw.uniform((count, 1)) < 0.5
        chosen = tf.clip_by_value(tf.range(side)[None] + shift, 0, side - 1)
        places.append(tf.gather(place, tf.where(flipped, side - 1 - chosen, chosen), batch_dims=1))
    return dataclasses.replace(grid, places=tuple(places))


def _turn_right_angles(draw: "StepSeed", count: Any, grid: Grid) -> Grid:
    """Exchanges and reverses axes of equal length so that images are rotated, never mirrored."""
    import tensorflow as tf

    axes = equal_axes(grid.sides)
    order = tf.argsort(draw.uniform((count, len(axes))), axis=1)
    signs = tf.where(draw.uniform((count, len(axes))) < 0.5, -1, 1)
    # An exchange of two axes mirrors the image, and so does the reversal of one axis.
    mirrored = tf.reduce_prod(signs, axis=1)
    for first, second in zip(*np.triu_indices(len(axes), 1), strict=True):
        mirrored *= tf.sign(order[:, second] - order[:, first])
    signs = tf.concat([signs[:, :1] * mirrored[:, None], signs[:, 1:]], axis=1)
    lines = tf.gather(tf.stack([grid.places[axis] for axis in axes], axis=1), order, batch_dims=1)
    lines = tf.where(signs[..., None] < 0, lines[..., ::-1], lines)
    known = tf.tile(tf.range(len(grid.sides))[None], (count, 1)) if grid.sources is None else grid.sources
    moved = tf.gather(tf.gather(known, axes, axis=1), order, batch_dims=1)
    places, sources = list(grid.places), tf.unstack(known, axis=1)
    for number, axis in enumerate(axes):
        places[axis], sources[axis] = lines[:, number], moved[:, number]
    return dataclasses.replace(grid, places=tuple(places), sources=tf.stack(sources, axis=1))


def _gather_lines(images: Any, grid: Grid) -> Any:
    import tensorflow as tf

    for axis, place in enumerate(grid.places, start=1):
        images = tf.gather(images, place, axis=axis, batch_dims=1)
    return images


def _gather_pixels(images: Any, grid: Grid) -> Any:
    import tensorflow as tf

    axes, pixels = len(grid.sides), int(np.prod(grid.sides))
    strides = np.cumprod([1, *grid.sides[:0:-1]])[::-1].astype(np.int32)
    steps = tf.gather(tf.constant(strides), grid.sources)
    number = 0
    for axis, place in enumerate(grid.places):
        shape = [-1 if other == axis else 1 for other in range(axes)]
        number += tf.reshape(place * steps[:, axis, None], (tf.shape(place)[0], *shape))
    flat = tf.reshape(images, (-1, pixels, images.shape[-1]))
    moved = tf.gather(flat, tf.reshape(number, (-1, pixels)), batch_dims=1)
    return tf.reshape(moved, (-1, *images.shape[1:]))


GRID_OPERATIONS: dict[str, Operation] = {
    "flip-shift": _flip_shift,
    RIGHT_ANGLES: _turn_right_angles,
}
