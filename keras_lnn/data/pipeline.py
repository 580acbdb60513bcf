"""Batches from arrays: tf.data over row numbers, so that images stay uint8, and on disk, until they are batched."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_lnn.data.arrays import Split, network_inputs
from keras_lnn.data.augment.operations import Augmentation, make_augmentation


def steps_per_epoch(split: Split, batch_size: int, devices: int = 1) -> int:
    """Returns the number of batches in one pass; the last one may be smaller, but has an image for each device."""
    return math.ceil((len(split) - len(split) % devices) / batch_size)


def training_batches(
    split: Split,
    *,
    batch_size: int,
    seed: int,
    epochs: int,
    first_epoch: int = 0,
    augmentation: str = "none",
    devices: int = 1,
    host: int = 0,
    hosts: int = 1,
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
        devices: Number of devices, of all hosts together, among which each batch is divided. It divides the batch size;
            each epoch leaves out as many images as it takes for the last batch, others in each epoch.
        host: Which of several hosts reads here, from 0. Each reads its own equal part of every batch, and all parts
            together are the batch of one host, augmented alike.
        hosts: Number of hosts, which divides that of the devices.

    Returns:
        Batches of float32 pixel values 0..255, and labels or, for masks, uint8 class indices. The images of
        series come with the times of their frames, float32 (series, frames).
    """
    steps = steps_per_epoch(split, batch_size, devices)

    @functools.lru_cache(maxsize=2)
    def order(epoch: int) -> np.ndarray:
        return _order(split, seed, epoch)[: len(split) - len(split) % devices]

    def rows(step: int) -> np.ndarray:
        epoch, batch = divmod(step, steps)
        whole = order(epoch)[batch * batch_size : (batch + 1) * batch_size]
        part = len(whole) // hosts
        return whole[host * part : (host + 1) * part]

    numbers = tf.data.Dataset.range(first_epoch * steps, epochs * steps)
    return _batches(split, numbers, rows, _make_augmentation(split, augmentation, seed, host, hosts))


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
        float32 (samples, epochs, ...shape of an image), and what changes with them, else None: the masks if each pixel
        has a label, uint8 (samples, epochs, ...shape of a mask); of series the times of their frames, float32 (samples,
        epochs, frames).
    """
    augment = _make_augmentation(split, augmentation, seed)
    steps = steps_per_epoch(split, batch_size)
    parts: list[np.ndarray] = []
    for epoch in range(epochs):
        order = _order(split, seed, epoch)
        batches, places = np.divmod(np.argsort(order)[list(samples)], batch_size)
        for batch in np.unique(batches):
            rows, chosen = order[batch * batch_size : (batch + 1) * batch_size], batches == batch
            images, *times = network_inputs(split.images, rows)
            beside = {"masks": split.labels[rows]} if split.labels_are_pixels else {}
            beside |= {"times": times[0]} if times else {}
            changed: Any = (images.astype(np.float32), *beside.values())
            if augment:
                changed = augment(images, epoch * steps + batch, **beside)
                changed = [part.numpy() for part in (changed if beside else [changed])]
            if not parts:
                parts = [np.zeros((len(samples), epochs, *part.shape[1:]), part.dtype) for part in changed]
            for seen, part in zip(parts, changed, strict=True):
                seen[chosen, epoch] = part[places[chosen]]
    return parts[0], parts[1] if len(parts) > 1 else None


def _make_augmentation(split: Split, name: str, seed: int, host: int = 0, hosts: int = 1) -> Augmentation | None:
    series = split.series is not None
    return make_augmentation(name, split.images.shape[1:], seed, series=series, host=host, hosts=hosts)


def _order(split: Split, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(len(split))


def _batches(
    split: Split, numbers: tf.data.Dataset, rows: Callable[[int], np.ndarray | slice], augment: Augmentation | None
) -> tf.data.Dataset:
    def read(step: np.int64) -> tuple[np.ndarray, ...]:
        chosen = rows(int(step))
        return *network_inputs(split.images, chosen), split.labels[chosen]

    def load(step: tf.Tensor) -> tuple[Any, tf.Tensor]:
        times = () if split.series is None else (tf.float32,)
        types = (tf.uint8, *times, tf.as_dtype(split.labels.dtype))
        images, *times, labels = tf.numpy_function(read, [step], types, stateful=False)
        images.set_shape((None, *split.images.shape[1:]))
        labels.set_shape((None, *split.labels.shape[1:]))
        images = tf.cast(images, tf.float32)
        if augment is not None and split.labels_are_pixels:
            return augment(images, step, labels)
        if not times:
            return (images if augment is None else augment(images, step)), labels
        times[0].set_shape((None, split.images.shape[1]))
        return ((images, *times) if augment is None else augment(images, step, times=times[0])), labels

    return numbers.map(load, num_parallel_calls=2, deterministic=True).prefetch(tf.data.AUTOTUNE)
