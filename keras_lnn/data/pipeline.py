"""Batches from arrays: tf.data over row numbers, so that images stay uint8, and on disk, until they are batched."""

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from keras_lnn.data.arrays import Split
from keras_lnn.data.augment.operations import Augmentation, make_augmentation


def steps_per_epoch(split: Split, batch_size: int) -> int:
    """Returns the number of batches in one pass; the last one may be smaller."""
    return math.ceil(len(split) / batch_size)


def training_batches(
    split: Split, *, batch_size: int, seed: int, epochs: int, first_epoch: int = 0, augmentation: str = "none"
) -> tf.data.Dataset:
    """Returns all batches of a run in one stream, with ``steps_per_epoch`` batches per epoch.

    Order and augmentation depend on (seed, epoch) and (seed, step) alone, so a stream that begins at a later epoch
    continues exactly as the whole one would have. One stream for all epochs lets the reader prefetch across the ends of
    epochs.

    Args:
        split: Images and labels, or masks.
        batch_size: Images per batch.
        seed: Seed of order and augmentation.
        epochs: Epochs of the whole run.
        first_epoch: The epoch at which the stream begins, from 0.
        augmentation: Names of :mod:`keras_lnn.data.augment.operations`, joined by ``+``.

    Returns:
        Batches of float32 pixel values 0..255, and labels or, for masks, uint8 class indices.
    """
    steps = steps_per_epoch(split, batch_size)

    @functools.lru_cache(maxsize=2)
    def order(epoch: int) -> np.ndarray:
        return _order(split, seed, epoch)

    def rows(step: int) -> np.ndarray:
        epoch, batch = divmod(step, steps)
        return order(epoch)[batch * batch_size : (batch + 1) * batch_size]

    numbers = tf.data.Dataset.range(first_epoch * steps, epochs * steps)
    return _batches(split, numbers, rows, make_augmentation(augmentation, split.images.shape[1:], seed))


def evaluation_batches(split: Split, batch_size: int) -> tf.data.Dataset:
    """Returns one pass over a split in its own order, without augmentation."""

    def rows(step: int) -> slice:
        return slice(step * batch_size, (step + 1) * batch_size)

    return _batches(split, tf.data.Dataset.range(steps_per_epoch(split, batch_size)), rows, None)


def seen_in_training(
    split: Split, samples: Sequence[int], *, batch_size: int, seed: int, epochs: int, augmentation: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns some images as :func:`training_batches` augments them in the first epochs of a run.

    Args:
        split: Images and labels.
        samples: Indices of the images.
        batch_size: Images per batch.
        seed: Seed of order and augmentation.
        epochs: Number of epochs.
        augmentation: Names of :mod:`keras_lnn.data.augment.operations`, joined by ``+``.

    Returns:
        float32 (samples, epochs, ...shape of an image), and the masks if each pixel has a label, uint8 (samples,
        epochs, ...shape of a mask), else None.
    """
    augment = make_augmentation(augmentation, split.images.shape[1:], seed)
    steps = steps_per_epoch(split, batch_size)
    seen = np.zeros((len(samples), epochs, *split.images.shape[1:]), np.float32)
    masks = np.zeros((*seen.shape[:2], *split.labels.shape[1:]), np.uint8) if split.labels_are_pixels else None
    for epoch in range(epochs):
        order = _order(split, seed, epoch)
        batches, places = np.divmod(np.argsort(order)[list(samples)], batch_size)
        for batch in np.unique(batches):
            rows, chosen = order[batch * batch_size : (batch + 1) * batch_size], batches == batch
            images, labels = split.images[rows].astype(np.float32), split.labels[rows]
            if augment and masks is not None:
                images, labels = (part.numpy() for part in augment(images, epoch * steps + batch, labels))
            elif augment:
                images = augment(images, epoch * steps + batch).numpy()
            seen[chosen, epoch] = images[places[chosen]]
            if masks is not None:
                masks[chosen, epoch] = labels[places[chosen]]
    return seen, masks


def _order(split: Split, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(len(split))


def _batches(
    split: Split, numbers: tf.data.Dataset, rows: Callable[[int], np.ndarray | slice], augment: Augmentation | None
) -> tf.data.Dataset:
    def read(step: np.int64) -> tuple[np.ndarray, np.ndarray]:
        chosen = rows(int(step))
        return np.ascontiguousarray(split.images[chosen]), split.labels[chosen]

    def load(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        types = (tf.uint8, tf.as_dtype(split.labels.dtype))
        images, labels = tf.numpy_function(read, [step], types, stateful=False)
        images.set_shape((None, *split.images.shape[1:]))
        labels.set_shape((None, *split.labels.shape[1:]))
        images = tf.cast(images, tf.float32)
        if augment is None:
            return images, labels
        return augment(images, step, labels) if split.labels_are_pixels else (augment(images, step), labels)

    return numbers.map(load, num_parallel_calls=2, deterministic=True).prefetch(tf.data.AUTOTUNE)
