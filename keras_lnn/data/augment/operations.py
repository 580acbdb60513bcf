"""Named augmentation pipelines, whose results depend on (seed, step) alone, also in a resumed run."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keras_lnn.data.augment.affine import AFFINE_OPERATIONS, affine_stage
from keras_lnn.data.augment.grid import GRID_OPERATIONS, RIGHT_ANGLES, equal_axes, grid_stage
from keras_lnn.data.augment.times import TIME_OPERATIONS, time_stage
from keras_lnn.data.augment.values import VALUE_OPERATIONS, value_stage
from keras_lnn.errors import InputError, suggest

if TYPE_CHECKING:
    from keras_lnn.data.augment.step_seed import StepSeed

RECIPES = {
    "shift-rotate": "shift+rotate",
    "mirror": "flip+shift+rotate",
    "any-orientation": "flip-both+shift+turn",
    "crnet": "resized-crop+flip+rotate+noise+blur+brightness+contrast",
    "flip-turn-shift": "turn-right-angles+flip-shift",
}
# Operations by name, with the function that combines consecutive operations of one kind.
_STAGES: tuple[tuple[Mapping[str, Any], Any], ...] = (
    (AFFINE_OPERATIONS, affine_stage),
    (GRID_OPERATIONS, grid_stage),
    (VALUE_OPERATIONS, value_stage),
    (TIME_OPERATIONS, time_stage),
)
_MOST_OPERATIONS = 32
_NONE, _AUTO = "none", "auto"

Augmentation = Callable[..., Any]


def _stages_by_name() -> dict[str, Any]:
    """Returns for each operation the function that makes the stage that it belongs to."""
    return {name: make_stage for operations, make_stage in _STAGES for name in operations}


def augmentation_names() -> list[str]:
    """Returns the names for ``--augmentation`` except ``auto``; all but ``none`` can be joined by ``+``."""
    return [_NONE, *RECIPES, *_stages_by_name()]


def list_operations(name: str) -> list[str]:
    """Returns the single operations, in order, of a name of :func:`augmentation_names` or several joined by ``+``."""
    parts = [part.strip() for part in name.split("+")]
    if parts == [_NONE]:
        return []
    for part in parts:
        if len(parts) > 1 and part in (_NONE, _AUTO):
            raise InputError(
                f"The augmentation {part} cannot be combined with others. Received: {name!r}. Leave out {part}, or the"
                " others."
            )
        if part not in augmentation_names():
            choices = {*augmentation_names(), _AUTO} - {part}
            raise InputError(f"There is no augmentation {part!r}. {suggest(part, choices)}")
    operations = [operation for part in parts for operation in RECIPES.get(part, part).split("+")]
    if len(operations) > _MOST_OPERATIONS:
        raise InputError(
            f"An augmentation must have at most {_MOST_OPERATIONS} operations. Received: {len(operations):,} of them."
            " Leave some out."
        )
    return operations


def find_mirrors(name: str, image_shape: tuple[int, ...], *, series: bool = False) -> tuple[int, ...]:
    """Returns the axes, counted from 1, along which an augmentation mirrors images, so that mirror images are alike.

    Args:
        name: As for :func:`make_augmentation`.
        image_shape: As for :func:`make_augmentation`.
        series: Whether the images are series of frames, whose order is never reversed.
    """
    width = len(image_shape) - 1
    mirrored = {"flip": {width}, "flip-both": {width - 1, width}, "flip-shift": set(range(1, width + 1))}
    found = set().union(*(mirrored.get(operation, set()) for operation in list_operations(name)))
    return tuple(sorted(found - {1} if series else found))


def make_augmentation(
    name: str, image_shape: tuple[int, ...], seed: int, *, series: bool = False, host: int = 0, hosts: int = 1
) -> Augmentation | None:
    """Returns a function that augments a batch of images at random, for use in tf.data.

    Operations:
        ``shift`` by up to 8% of the side; ``rotate`` by up to 15 degrees; ``turn`` by any angle; ``flip`` left and
        right; ``flip-both`` left and right, top and bottom; ``resized-crop`` of 80 to 100% of the area, resized to the
        image's size; ``noise`` of up to 5% of the range; ``blur`` over 3, 5 or 7 pixels; ``brightness`` and
        ``contrast`` by up to 20%; ``flip-shift``, mirrors and shifts by whole pixels along every axis, including the
        slices'; ``turn-right-angles`` between all axes of equal length; of series alone: ``drop-frames``, up to half of
        them; ``jitter-times`` by up to a tenth of the median interval; ``start-later``, at a frame of the first half;
        ``frame-rate``, all frames, every second or every third one.

    Recipes:
        ``shift-rotate``; ``mirror`` (left and right as well); ``any-orientation`` (both mirrors and any angle);
        ``crnet`` (resized crop, flip, rotation, noise, blur, brightness and contrast); ``flip-turn-shift`` (every
        mirror image and rotation of a volume that keeps its voxels whole).

    Consecutive operations that move pixels are combined, so pixels are interpolated once. All slices of a volume and
    all frames of a series change in the same way. The last frame of a series stays, and so do at least two frames.

    Args:
        name: ``none``, or operations and recipes joined by ``+``, which are applied in this order.
        image_shape: (height, width, channels), (depth, height, width, channels) or, for series, (frames, height, width,
            channels).
        seed: Seed; the result depends on it and on the step alone.
        series: Whether the images are series of frames.
        host: Which of several hosts augments here, from 0; each gives its equal part of every batch.
        hosts: Number of hosts. All together give what one host gives for the whole batch.

    Returns:
        None if there are no operations, else ``augment(images, step, masks=None, times=None)``: it takes a batch of
        images with values 0..255 and the number of the training step, and returns the augmented images, float32. With
        integer masks of the images' shape without channels, it returns (images, masks): operations that move pixels
        move the masks alike, by nearest neighbours, and operations that change values leave them unchanged. Series
        need the times of their frames, float32 (batch, frames) with NaN where there is no frame; it returns (images,
        times).

    Raises:
        InputError: If there is no such name, or an operation does not apply to images of this shape.
    """
    operations = list_operations(name)
    if len(image_shape) not in (3, 4):
        raise InputError(
            "Images must be (height, width, channels) or (depth, height, width, channels). Received: "
            f"{tuple(image_shape)}. Reshape them."
        )
    _require_suitable(operations, tuple(image_shape), series)
    if RIGHT_ANGLES in operations and not equal_axes(image_shape[:-1]):
        raise InputError(
            f"{RIGHT_ANGLES} needs two axes of equal length. Received: images of {'x'.join(map(str, image_shape))}. "
            "Give another --augmentation, or square images."
        )
    if not operations:
        return None
    from keras_lnn.data.augment.step_seed import StepSeed

    return _pipeline(operations, tuple(image_shape), StepSeed(seed, host, hosts))


def _require_suitable(operations: Sequence[str], shape: tuple[int, ...], series: bool) -> None:
    """Checks that operations in time are for series, and those that exchange or move frames for others."""
    unsuited, reason, given = GRID_OPERATIONS, "moves along the first axis, which in series is time", "series"
    if not series:
        unsuited, reason = TIME_OPERATIONS, "changes the frames and times of series"
        given = f"images of {'x'.join(map(str, shape))}"
    found = next((name for name in operations if name in unsuited), None)
    if found is not None:
        raise InputError(f"{found} {reason}. Received: {given}. Leave it out of --augmentation.")


def _pipeline(operations: Sequence[str], shape: tuple[int, ...], draw: "StepSeed") -> Augmentation:
    stages = [
        (make_stage is time_stage, make_stage(list(names)))
        for make_stage, names in itertools.groupby(operations, _stages_by_name().__getitem__)
    ]

    def augment(images: Any, step: Any, masks: Any = None, times: Any = None) -> Any:
        import tensorflow as tf

        # tf.data computes on the CPU; on another device the same call would differ in its last bits.
        with tf.device("CPU:0"):
            draw.begin(step)
            images = tf.ensure_shape(tf.cast(images, tf.float32), (None, *shape))
            marks = None if masks is None else _take_masks(masks, shape)
            if times is not None:
                times = tf.ensure_shape(tf.cast(times, tf.float32), (None, shape[0]))
            for is_of_times, apply in stages:
                if is_of_times:
                    images, times = apply(images, times, draw)
                else:
                    images, marks = apply(images, marks, draw)
            images = tf.ensure_shape(images, (None, *shape))
            if times is not None:
                return images, times
            return images if masks is None else (images, _give_masks(marks, masks, shape))

    return augment


def _take_masks(masks: Any, shape: tuple[int, ...]) -> Any:
    """Returns the masks as images of one channel, of a type that every operation accepts."""
    import tensorflow as tf

    masks = tf.convert_to_tensor(masks)
    if not masks.dtype.is_integer or not masks.shape.is_compatible_with((None, *shape[:-1])):
        raise InputError(
            f"Masks must be whole numbers of the shape (batch, {', '.join(map(str, shape[:-1]))}). Received: "
            f"{masks.dtype.name} of {tuple(masks.shape)}. Give one label per pixel."
        )
    return tf.ensure_shape(tf.cast(masks, tf.int32), (None, *shape[:-1]))[..., None]


def _give_masks(marks: Any, masks: Any, shape: tuple[int, ...]) -> Any:
    import tensorflow as tf

    return tf.ensure_shape(tf.cast(marks[..., 0], tf.convert_to_tensor(masks).dtype), (None, *shape[:-1]))
