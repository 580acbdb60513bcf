"""Operations that change the values of pixels but not their positions, and so leave masks unchanged."""

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from keras_lnn.data.augment.step_seed import StepSeed

_RANGE = 255.0
_NOISE = 0.05 * _RANGE
_BLUR_RADIUS = 3
_BLUR_SIGMA = (0.1, 1.5)
_FRACTION = 0.2

Operation = Callable[["StepSeed", Any], Any]


def value_stage(names: Sequence[str]) -> Callable[[Any, Any, "StepSeed"], tuple[Any, Any]]:
    """Returns a function of images, masks and a :class:`StepSeed` that applies operations of this module in order.

    Args:
        names: Names of the operations, first to last.

    Returns:
        A function from images (batch, height, width, channels) or (batch, depth, height, width, channels), float32, and
        masks or None to both; the masks are unchanged.
    """
    operations = [VALUE_OPERATIONS[name]() for name in names]

    def apply(images: Any, masks: Any, draw: "StepSeed") -> tuple[Any, Any]:
        for operation in operations:
            images = operation(draw, images)
        return images, masks

    return apply


def _noise(draw: "StepSeed", images: Any) -> Any:
    """Adds Gaussian noise with a random strength for each image."""
    import tensorflow as tf

    strength = draw.uniform([tf.shape(images)[0]] + [1] * (len(images.shape) - 1), 0.0, _NOISE)
    return tf.clip_by_value(images + strength * _normal(draw, tf.shape(images)), 0.0, _RANGE)


def _normal(draw: "StepSeed", shape: Any) -> Any:
    """Returns normal numbers of 16 bits; TensorFlow's own take twice the time, more than the rest for a small image."""
    import tensorflow as tf

    whole = draw.of_all_hosts(shape)
    count = tf.reduce_prod(whole)
    bits = tf.random.stateless_uniform(((count + 1) // 2,), draw.next(), None, None, tf.int32)
    ranks = tf.reshape(tf.reshape(tf.bitcast(bits, tf.uint16), (-1,))[:count], whole)
    return tf.gather(_quantiles(), tf.cast(draw.take_part(ranks, shape), tf.int32))


@functools.cache
def _quantiles() -> np.ndarray:
    from scipy.special import ndtri

    return ndtri((np.arange(2**16) + 0.5) / 2**16).astype(np.float32)


def _blur(draw: "StepSeed", images: Any) -> Any:
    """Blurs each image with a Gaussian of random width, as channels of one image in one convolution per axis."""
    import tensorflow as tf

    shape, count = images.shape, tf.shape(images)[0]
    height, width = shape[-3:-1]
    offsets = np.arange(-_BLUR_RADIUS, _BLUR_RADIUS + 1, dtype=np.float32)
    radius = draw.integers((count, 1), 1, _BLUR_RADIUS)
    kernels = tf.exp(-0.5 * (offsets / draw.uniform((count, 1), *_BLUR_SIGMA)) ** 2)
    kernels = tf.where(np.abs(offsets) <= tf.cast(radius, tf.float32), kernels, 0.0)
    kernels /= tf.reduce_sum(kernels, axis=1, keepdims=True)
    kernels = tf.repeat(tf.transpose(kernels), int(np.prod(shape[1:-3])) * shape[-1], axis=1)
    planes = tf.reshape(images, (-1, height, width, shape[-1]))
    border = [[0, 0]] + [[_BLUR_RADIUS] * 2] * 2 + [[0, 0]]
    together = tf.reshape(tf.transpose(planes, (1, 2, 0, 3)), (1, height, width, -1))
    together = tf.pad(together, border, "SYMMETRIC")
    for kernel in (kernels[:, None, :, None], kernels[None, :, :, None]):
        together = tf.nn.depthwise_conv2d(together, kernel, (1, 1, 1, 1), "VALID")
    planes = tf.transpose(tf.reshape(together, (height, width, -1, shape[-1])), (2, 0, 1, 3))
    return tf.reshape(planes, (-1, *shape[1:]))


def _brightness() -> Operation:
    import keras

    layer = keras.layers.RandomBrightness(_FRACTION, (0, _RANGE), dtype="float32")
    return functools.partial(_apply_layer, layer)


def _contrast() -> Operation:
    import keras

    # With a single number the layer only increases the contrast.
    layer = keras.layers.RandomContrast((_FRACTION, _FRACTION), (0, _RANGE), dtype="float32")
    return functools.partial(_apply_layer, layer)


def _apply_layer(layer: Any, draw: "StepSeed", images: Any) -> Any:
    """Applies a Keras layer to images, with the slices of a volume as one long image."""
    import tensorflow as tf

    shape = images.shape
    images = tf.reshape(images, (-1, int(np.prod(shape[1:-2])), *shape[-2:]))
    # Inside tf.data the layers compute with TensorFlow whatever backend trains the model.
    layer.backend.set_backend("tensorflow")
    try:
        count = tf.shape(images)[:1]
        whole = tf.zeros([*draw.of_all_hosts(count), 1, 1, 1])  # the layer looks at nothing but the number of images
        drawn = layer.get_random_transformation(whole, training=True, seed=draw)
        change = {name: draw.take_part(values, count) for name, values in drawn.items()}
        images = layer.transform_images(images, change, training=True)
    finally:
        layer.backend.reset()
    return tf.reshape(images, (-1, *shape[1:]))


# Creates each operation once per pipeline: a layer has variables, which cannot be created inside tf.data.
VALUE_OPERATIONS: dict[str, Callable[[], Operation]] = {
    "noise": lambda: _noise,
    "blur": lambda: _blur,
    "brightness": _brightness,
    "contrast": _contrast,
}
