"""Batches: every image once per epoch, in an order that depends only on (seed, epoch)."""

import numpy as np
import pytest

from keras_lnn.data import Split
from keras_lnn.data.pipeline import evaluation_batches, seen_in_training, steps_per_epoch, training_batches


def make_split(count: int = 23, shape: tuple[int, ...] = (12, 12, 1)) -> Split:
    images = np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)
    images.reshape(count, -1)[:, 0] = np.arange(count)
    return Split(images, np.arange(count, dtype=np.int64))


def collect(batches):
    return [(images.numpy(), labels.numpy()) for images, labels in batches]


def test_an_epoch_holds_every_image_once_with_its_label():
    split = make_split()
    batches = collect(training_batches(split, batch_size=5, seed=3, epochs=2))
    assert steps_per_epoch(split, 5) == 5
    assert [len(labels) for _, labels in batches] == [5, 5, 5, 5, 3] * 2
    for epoch in (batches[:5], batches[5:]):
        labels = np.concatenate([part for _, part in epoch])
        images = np.concatenate([part for part, _ in epoch])
        assert sorted(labels) == list(range(23))
        np.testing.assert_array_equal(images, split.images[labels].astype(np.float32))
    assert not np.array_equal(batches[0][1], batches[5][1])


@pytest.mark.parametrize("augmentation", ["none", "mirror"])
def test_a_stream_resumed_at_a_later_epoch_equals_the_whole_stream(augmentation):
    split = make_split()
    options = {"batch_size": 5, "seed": 3, "epochs": 3, "augmentation": augmentation}
    whole = collect(training_batches(split, **options))
    rest = collect(training_batches(split, first_epoch=1, **options))
    for (images, labels), (later_images, later_labels) in zip(whole[5:], rest, strict=True):
        np.testing.assert_array_equal(labels, later_labels)
        np.testing.assert_array_equal(images, later_images)


def test_devices_leave_out_the_images_of_the_last_batch_that_they_cannot_divide():
    split = make_split()
    whole = collect(training_batches(split, batch_size=6, seed=3, epochs=2))
    batches = collect(training_batches(split, batch_size=6, seed=3, epochs=2, devices=3))
    assert [len(labels) for _, labels in batches] == [6, 6, 6, 3] * 2
    for (_, all_labels), (_, labels) in zip(whole, batches, strict=True):
        np.testing.assert_array_equal(labels, all_labels[: len(labels)])
    assert [steps_per_epoch(split, 22, devices) for devices in (1, 2, 11)] == [2, 1, 1]


@pytest.mark.parametrize("augmentation", ["none", "noise"])
def test_the_parts_of_all_hosts_are_the_batches_of_one(augmentation):
    split, fields = make_split(), {"batch_size": 8, "seed": 3, "epochs": 2, "augmentation": augmentation, "devices": 4}
    whole = collect(training_batches(split, **fields))
    parts = [collect(training_batches(split, **fields, host=host, hosts=2)) for host in range(2)]
    assert [len(labels) for _, labels in parts[0]] == [4, 4, 2] * 2
    for batch, *shares in zip(whole, *parts, strict=True):
        images, labels = (np.concatenate(found) for found in zip(*shares, strict=True))
        np.testing.assert_allclose(images, batch[0], atol=1e-3)
        np.testing.assert_array_equal(labels, batch[1])


def test_another_seed_gives_another_order():
    split = make_split()
    first, second = (collect(training_batches(split, batch_size=23, seed=seed, epochs=1))[0][1] for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_evaluation_keeps_the_order():
    split = make_split()
    batches = collect(evaluation_batches(split, 10))
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in batches]), np.arange(23))
    assert batches[0][0].dtype == np.float32


def test_several_labels_stay_a_table():
    split = Split(make_split().images, np.ones((23, 4), np.uint8))
    images, labels = next(iter(training_batches(split, batch_size=5, seed=0, epochs=1)))
    assert labels.shape == (5, 4)
    assert images.shape == (5, 12, 12, 1)


@pytest.mark.parametrize("augmentation", ["none", "mirror+noise"])
def test_the_preview_shows_the_images_of_the_training_stream(augmentation):
    split = make_split()
    samples, options = [0, 7, 22], {"batch_size": 5, "seed": 3, "epochs": 3, "augmentation": augmentation}
    seen, masks = seen_in_training(split, samples, **options)
    assert masks is None
    assert seen.shape == (3, 3, 12, 12, 1)
    stream = collect(training_batches(split, **options))
    for epoch in range(3):
        images, labels = (np.concatenate(parts) for parts in zip(*stream[5 * epoch : 5 * epoch + 5], strict=True))
        np.testing.assert_allclose(seen[:, epoch], images[np.argsort(labels)][samples], atol=1e-3)


@pytest.mark.parametrize("augmentation", ["none", "flip-shift", "shift-rotate"])
def test_the_preview_shows_masks_with_their_images(augmentation):
    images = make_split().images
    split = Split(images, (images[..., 0] % 3).astype(np.uint8))
    samples, options = [0, 7, 22], {"batch_size": 5, "seed": 3, "epochs": 2, "augmentation": augmentation}
    seen, masks = seen_in_training(split, samples, **options)
    stream = collect(training_batches(split, **options))
    for epoch in range(2):
        streamed = [np.concatenate(parts) for parts in zip(*stream[5 * epoch : 5 * epoch + 5], strict=True)]
        order = np.random.default_rng([3, epoch]).permutation(23)
        rows = np.argsort(order)[samples]
        np.testing.assert_allclose(seen[:, epoch], streamed[0][rows], atol=1e-3)
        np.testing.assert_array_equal(masks[:, epoch], streamed[1][rows])
    if augmentation == "none":
        np.testing.assert_array_equal(masks[:, 0], split.labels[samples])
