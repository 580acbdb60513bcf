"""Operations on planes as affine transforms; consecutive ones are combined, so that pixels are interpolated once.

Each operation returns a matrix for every image, (count, 3, 3), that maps the new position of a pixel, (x, y, 1) counted
from the middle of the image, to its position before.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from keras_lnn.data.augment.step_seed import StepSeed

# Small enough to keep a lesion at the border in the image.
SHIFT_FRACTION = 0.08
_ROTATION = math.radians(15)
_CROP_AREA = 0.8

Operation = Callable[["StepSeed", Any, tuple[int, int]], Any]


def affine_stage(names: Sequence[str]) -> Callable[[Any, Any, "StepSeed"], tuple[Any, Any]]:
    """Returns a function of images, masks and a :class:`StepSeed` that applies operations of this module at once.

    Beyond the border a pixel gets the value of the nearest one inside.

    Args:
        names: Names of the operations, first to last.

    Returns:
        A function from images (batch, height, width, channels) or (batch, depth, height, width, channels), float32, and
        masks of one channel, int32, or None to both.
    """
    operations = [AFFINE_OPERATIONS[name] for name in names]

    def apply(images: Any, masks: Any, draw: "StepSeed") -> tuple[Any, Any]:
        import tensorflow as tf

        sides, count = tuple(images.shape[-3:-1]), tf.shape(images)[0]
        matrices = functools.reduce(tf.matmul, [operation(draw, count, sides) for operation in operations])
        middle = np.eye(3, dtype=np.float32)
        middle[:2, 2] = (sides[1] - 1) / 2, (sides[0] - 1) / 2
        transforms = tf.reshape(middle @ matrices @ np.linalg.inv(middle), (-1, 9))[:, :8]
        images = _interpolate(images, transforms, "BILINEAR")
        return images, None if masks is None else _interpolate(masks, transforms, "NEAREST")

    return apply


def _interpolate(images: Any, transforms: Any, interpolation: str) -> Any:
    import tensorflow as tf

    shape = images.shape
    if len(shape) == 5:
        images = tf.reshape(images, (-1, *shape[2:]))
        transforms = tf.repeat(transforms, shape[1], axis=0)
    changed = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=shape[-3:-1],
        fill_value=0.0,
        interpolation=interpolation,
        fill_mode="NEAREST",
    )
    return tf.reshape(changed, (-1, *shape[1:]))


def _shift(draw: "StepSeed", count: Any, sides: tuple[int, int]) -> Any:
    down, right = (draw.uniform((count,), -SHIFT_FRACTION, SHIFT_FRACTION) * side for side in sides)
    return _matrices({(0, 2): -right, (1, 2): -down})


def _rotate(draw: "StepSeed", count: Any, sides: tuple[int, int], most: float = _ROTATION) -> Any:
    import tensorflow as tf

    angle = draw.uniform((count,), -most, most)
    cosine, sine = tf.cos(angle), tf.sin(angle)
    return _matrices({(0, 0): cosine, (0, 1): -sine, (1, 0): sine, (1, 1): cosine})


def _turn(draw: "StepSeed", count: Any, sides: tuple[int, int]) -> Any:
    return _rotate(draw, count, sides, math.pi)


def _flip(draw: "StepSeed", count: Any, sides: tuple[int, int]) -> Any:
    return _matrices({(0, 0): _signs(draw, count)})


def _flip_both(draw: "StepSeed", count: Any, sides: tuple[int, int]) -> Any:
    # Keras's RandomFlip mirrors along both axes or none, which is half a turn and no mirror image.
    return _matrices({(0, 0): _signs(draw, count), (1, 1): _signs(draw, count)})


def _resized_crop(draw: "StepSeed", count: Any, sides: tuple[int, int]) -> Any:
    height, width = sides
    area = draw.uniform((count,), _CROP_AREA, 1.0)
    # The logarithm of the area is divided at random between the sides, so neither side exceeds the image's.
    across = area ** draw.uniform((count,))
    down = area / across
    x = draw.uniform((count,), -0.5, 0.5) * (1 - across) * width
    y = draw.uniform((count,), -0.5, 0.5) * (1 - down) * height
    return _matrices({(0, 0): across, (1, 1): down, (0, 2): x, (1, 2): y})


def _signs(draw: "StepSeed", count: Any) -> Any:
    import tensorflow as tf

    return tf.where(draw.uniform((count,)) <= 0.5, -1.0, 1.0)


def _matrices(entries: Mapping[tuple[int, int], Any]) -> Any:
    """Returns matrices (count, 3, 3) that equal the identity except for these entries (count,), by row and column."""
    import tensorflow as tf

    places = np.zeros((len(entries), 3, 3), np.float32)
    rest = np.eye(3, dtype=np.float32)
    for number, place in enumerate(entries):
        places[(number, *place)] = 1
        rest[place] = 0
    values = tf.stack(list(entries.values()), axis=1)
    return tf.reshape(values @ places.reshape(-1, 9) + rest.ravel(), (-1, 3, 3))


AFFINE_OPERATIONS: dict[str, Operation] = {
    "shift": _shift,
    "rotate": _rotate,
    "turn": _turn,
    "flip": _flip,
    "flip-both": _flip_both,
    "resized-crop": _resized_crop,
}
