"""Augmentation by named pipelines, the same for the same (seed, step) wherever a run was resumed."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from keras_lnn.data.augment.affine import AFFINE_OPERATIONS, affine_stage
from keras_lnn.data.augment.grid import GRID_OPERATIONS, RIGHT_ANGLES, equal_axes, grid_stage
from keras_lnn.data.augment.values import VALUE_OPERATIONS, value_stage
from keras_lnn.errors import InputError, suggest

RECIPES = {
    "shift-rotate": "shift+rotate",
    "mirror": "flip+shift+rotate",
    "any-orientation": "flip-both+shift+turn",
    "crnet": "resized-crop+flip+rotate+noise+blur+brightness+contrast",
    "flip-turn-shift": "turn-right-angles+flip-shift",
}
# Operations by name and what does neighbours of one kind.
_STAGES = ((AFFINE_OPERATIONS, affine_stage), (GRID_OPERATIONS, grid_stage), (VALUE_OPERATIONS, value_stage))
_OPERATIONS = {name: make_stage for operations, make_stage in _STAGES for name in operations}
_MOST_OPERATIONS = 32
_NONE, _AUTO = "none", "auto"

Augmentation = Callable[..., Any]


def augmentation_names() -> list[str]:
    """The names that ``--augmentation`` takes, besides ``auto``; all but ``none`` can be joined by ``+``."""
    return [_NONE, *RECIPES, *_OPERATIONS]


def list_operations(name: str) -> list[str]:
    """The single operations, in their order, of a name of :func:`augmentation_names` or several joined by ``+``."""
    parts = [part.strip() for part in name.split("+")]
    if parts == [_NONE]:
        return []
    for part in parts:
        if len(parts) > 1 and part in (_NONE, _AUTO):
            raise InputError(
                f"The augmentation {part} stands alone. Received: {name!r}. Leave out {part}, or what stands beside it."
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


def make_augmentation(name: str, image_shape: tuple[int, ...], seed: int) -> Augmentation | None:
    """A function that changes a batch of images by chance, for use in tf.data.

    Operations:
        ``shift`` by up to 8% of the side; ``rotate`` by up to 15 degrees; ``turn`` by any angle; ``flip`` left and
        right; ``flip-both`` left and right, top and bottom; ``resized-crop`` of 80 to 100% of the area, brought back
        to the image's size; ``noise`` of up to 5% of the range; ``blur`` over 3, 5 or 7 pixels; ``brightness`` and
        ``contrast`` by up to 20%; ``flip-shift``, mirrors and shifts by whole pixels along every axis, the slices'
        too; ``turn-right-angles`` between all axes of equal length.

    Recipes:
        ``shift-rotate``; ``mirror`` (left and right as well); ``any-orientation`` (both mirrors and any angle);
        ``crnet`` (resized crop, flip, rotation, noise, blur, brightness and contrast); ``flip-turn-shift`` (every
        mirror image and rotation of a volume that keeps its voxels whole).

    Neighbours among the operations that move pixels are done as one, so pixels are interpolated once. In a volume
    each slice gets the change of its volume.

    Args:
        name: ``none``, or operations and recipes joined by ``+``, which are done in this order.
        image_shape: (height, width, channels) or (depth, height, width, channels).
        seed: With the step, all that the result depends on.

    Returns:
        None where nothing is done, else ``augment(images, step, masks=None)``: of a batch of images with values 0..255
        and the number of the training step it makes the changed images, float32. With integer masks, of the images'
        shape without channels, it makes (images, masks): what moves pixels moves the masks alike, by their nearest
        values, and what changes values leaves them alone.

    Raises:
        InputError: If there is no such name, or an operation makes no sense for images of this shape.
    """
    operations = list_operations(name)
    if len(image_shape) not in (3, 4):
        raise InputError(
            "Images must be (height, width, channels) or (depth, height, width, channels). Received: "
            f"{tuple(image_shape)}. Reshape them."
        )
    if RIGHT_ANGLES in operations and not equal_axes(image_shape[:-1]):
        raise InputError(
            f"{RIGHT_ANGLES} needs two axes of equal length. Received: images of {'x'.join(map(str, image_shape))}. "
            "Give another --augmentation, or square images."
        )
    if not operations:
        return None
    return _pipeline(operations, tuple(image_shape), seed)


def _pipeline(operations: Sequence[str], shape: tuple[int, ...], seed: int) -> Augmentation:
    from keras_lnn.data.augment.step_seed import StepSeed

    stages = [make_stage(list(names)) for make_stage, names in itertools.groupby(operations, _OPERATIONS.__getitem__)]
    draw = StepSeed(seed)

    def augment(images: Any, step: Any, masks: Any = None) -> Any:
        import tensorflow as tf

        # tf.data computes on the processor: elsewhere the same call would differ in its last bits.
        with tf.device("CPU:0"):
            draw.begin(step)
            images = tf.ensure_shape(tf.cast(images, tf.float32), (None, *shape))
            marks = None if masks is None else _take_masks(masks, shape)
            for apply in stages:
                images, marks = apply(images, marks, draw)
            images = tf.ensure_shape(images, (None, *shape))
            return images if masks is None else (images, _give_masks(marks, masks, shape))

    return augment


def _take_masks(masks: Any, shape: tuple[int, ...]) -> Any:
    """The masks as images of one channel, of a type that every operation takes."""
    import tensorflow as tf

    masks = tf.convert_to_tensor(masks)
    if not masks.dtype.is_integer or not masks.shape.is_compatible_with((None, *shape[:-1])):
        raise InputError(
            f"Masks must be whole numbers of the shape (batch, {', '.join(map(str, shape[:-1]))}). Received: "
            f"{masks.dtype.name} of {tuple(masks.shape)}. Give one label a pixel."
        )
    return tf.ensure_shape(tf.cast(masks, tf.int32), (None, *shape[:-1]))[..., None]


def _give_masks(marks: Any, masks: Any, shape: tuple[int, ...]) -> Any:
    import tensorflow as tf

    return tf.ensure_shape(tf.cast(marks[..., 0], tf.convert_to_tensor(masks).dtype), (None, *shape[:-1]))
