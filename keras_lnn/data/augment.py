"""Augmentation by Keras's own layers, the same for the same (seed, step) wherever a run was resumed."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_lnn.errors import InputError, suggest

# Small enough that a lesion at the border stays in the image.
_SHIFT_FRACTION = 0.08
_ROTATION_TURNS = 15 / 360
_FLIP_SHIFT = "flip-shift"

Augmentation = Callable[[Any, Any], Any]


def augmentation_names() -> list[str]:
    """The names that ``--augmentation`` takes, besides ``auto``."""
    return [*_RECIPES, _FLIP_SHIFT]


def make_augmentation(name: str, image_shape: tuple[int, ...], seed: int) -> Augmentation | None:
    """A function of a batch of images (float32) and the number of the training step, for use in tf.data.

    Volumes are turned as a whole: all slices of one get the same random change.

    Args:
        name: ``none``; ``shift-rotate``; ``mirror`` (left-right as well); ``any-orientation`` (both mirrors and any
            rotation); ``flip-shift`` (mirrors and shifts by whole pixels along every axis, the slices' too: quick, and
            masks stay masks).
        image_shape: (height, width, channels) or (depth, height, width, channels).
        seed: With the step, all that the result depends on.

    Returns:
        The function, or None where nothing is done.
    """
    if name not in augmentation_names():
        raise InputError(f"There is no augmentation {name!r}. {suggest(name, [*augmentation_names(), 'auto'])}")
    generator = _StepSeed(seed)
    if name == _FLIP_SHIFT:
        return lambda images, step: _flip_and_shift(images, image_shape, generator.begin(step))
    chain = _RECIPES[name]()
    if not chain:
        return None
    height, width = image_shape[-3:-1]

    def augment(images: Any, step: Any) -> Any:
        generator.begin(step)
        if len(image_shape) == 4:
            folded = _swap_depth_and_width(images, image_shape)
            changed = _apply(chain, folded, generator)
            return _restore_depth(changed, image_shape)
        images.set_shape((None, height, width, image_shape[-1]))
        return _apply(chain, images, generator)

    return augment


class _StepSeed(keras.random.SeedGenerator):
    """Seeds that follow from the run's seed and the step alone; Keras's own generator remembers its calls instead."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.seed = seed
        self.step = 0
        self.calls = 0

    def begin(self, step: Any) -> "_StepSeed":
        self.step = step
        self.calls = 0
        return self

    def next(self, ordered: bool = True) -> Any:
        import tensorflow as tf

        self.calls += 1
        seeds = tf.stack([tf.cast(self.seed, tf.int32), tf.cast(self.step, tf.int32)])
        return tf.cast(tf.random.experimental.stateless_fold_in(seeds, self.calls), tf.int32)


def _apply(chain: Sequence[Any], images: Any, generator: _StepSeed) -> Any:
    for layer in chain:
        # Inside tf.data the layers compute with TensorFlow whatever backend trains the model.
        layer.backend.set_backend("tensorflow")
        try:
            change = layer.get_random_transformation(images, training=True, seed=generator)
            images = layer.transform_images(images, change, training=True)
        finally:
            layer.backend.reset()
    return images


def _flip_and_shift(images: Any, shape: tuple[int, ...], generator: _StepSeed) -> Any:
    """Each image by its own chance: along every axis its rows in this or that order, from a place near the first."""
    import tensorflow as tf

    count = tf.shape(images)[0]
    for axis, side in enumerate(shape[:-1], start=1):
        most = round(_SHIFT_FRACTION * side)
        shift = tf.random.stateless_uniform((count, 1), generator.next(), -most, most + 1, tf.int32)
        flipped = tf.random.stateless_uniform((count, 1), generator.next()) < 0.5
        place = tf.clip_by_value(tf.range(side)[None] + shift, 0, side - 1)
        images = tf.gather(images, tf.where(flipped, side - 1 - place, place), axis=axis, batch_dims=1)
    return tf.ensure_shape(images, (None, *shape))


def _swap_depth_and_width(images: Any, shape: tuple[int, ...]) -> Any:
    import tensorflow as tf

    depth, height, width, channels = shape
    return tf.reshape(tf.transpose(images, (0, 2, 3, 1, 4)), (-1, height, width, depth * channels))


def _restore_depth(images: Any, shape: tuple[int, ...]) -> Any:
    import tensorflow as tf

    depth, height, width, channels = shape
    return tf.transpose(tf.reshape(images, (-1, height, width, depth, channels)), (0, 3, 1, 2, 4))


def _shift() -> Any:
    return keras.layers.RandomTranslation(_SHIFT_FRACTION, _SHIFT_FRACTION, fill_mode="nearest", dtype="float32")


def _rotate(turns: float) -> Any:
    return keras.layers.RandomRotation(turns, fill_mode="nearest", dtype="float32")


_RECIPES: dict[str, Callable[[], list[Any]]] = {
    "none": list,
    "shift-rotate": lambda: [_shift(), _rotate(_ROTATION_TURNS)],
    "mirror": lambda: [keras.layers.RandomFlip("horizontal", dtype="float32"), _shift(), _rotate(_ROTATION_TURNS)],
    "any-orientation": lambda: [
        keras.layers.RandomFlip("horizontal_and_vertical", dtype="float32"),
        _shift(),
        _rotate(0.5),
    ],
}
