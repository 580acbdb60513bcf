"""Augmentation: nothing where nothing is asked, a known change where one is, the same for the same step."""

import numpy as np
import pytest
import tensorflow as tf

from keras_lnn.data.augment import augmentation_names, make_augmentation
from keras_lnn.data.catalog import catalog
from keras_lnn.errors import InputError

IMAGES = np.random.default_rng(0).uniform(0, 255, (16, 20, 20, 3)).astype(np.float32)
SHAPE = IMAGES.shape[1:]


def apply(name: str, images: np.ndarray = IMAGES, seed: int = 0, step: int = 5) -> np.ndarray:
    augment = make_augmentation(name, images.shape[1:], seed)
    dataset = tf.data.Dataset.from_tensors((images, np.int64(step))).map(augment)
    return next(iter(dataset)).numpy()


def test_none_is_nothing():
    assert make_augmentation("none", SHAPE, 0) is None


@pytest.mark.parametrize("name", [name for name in augmentation_names() if name != "none"])
def test_it_follows_from_seed_and_step_alone(name):
    first = apply(name)
    np.testing.assert_array_equal(first, apply(name))
    assert not np.array_equal(first, apply(name, step=6))
    assert not np.array_equal(first, apply(name, seed=1))
    assert first.shape == IMAGES.shape
    assert first.min() >= 0
    assert first.max() <= 255.01


def test_it_is_the_same_eagerly_and_in_a_graph():
    augment = make_augmentation("mirror", SHAPE, 0)
    np.testing.assert_allclose(augment(tf.constant(IMAGES), tf.constant(5, tf.int64)), apply("mirror"), atol=1e-3)


def test_the_changes_are_small_and_different_for_each_image():
    image = np.zeros((32, 28, 28, 1), np.float32)
    image[:, 12:16, 12:16] = 200
    changed = apply("shift-rotate", image)
    rows = (changed[..., 0].sum(axis=2) * np.arange(28)).sum(axis=1) / changed[..., 0].sum(axis=(1, 2))
    assert np.abs(rows - 13.5).max() < 3.5
    assert rows.std() > 0.5


def test_only_mirror_mirrors():
    image = np.zeros((64, 28, 28, 1), np.float32)
    image[:, :, :10] = 200
    for name, mirrors in (("mirror", True), ("shift-rotate", False)):
        right = apply(name, image)[:, :, 18:].mean(axis=(1, 2, 3)) > 100
        assert right.any() == mirrors
        assert not right.all()


def test_all_slices_of_a_volume_move_together():
    volume = np.repeat(IMAGES[:4, None, :, :, :1], 6, axis=1)
    changed = apply("mirror", volume)
    assert changed.shape == volume.shape
    for depth in range(1, 6):
        np.testing.assert_allclose(changed[:, depth], changed[:, 0], atol=1e-3)
    assert not np.allclose(changed, volume)


@pytest.mark.parametrize("shape", [(5, 28, 12, 1), (28, 14, 2)])
def test_flip_shift_mirrors_and_moves_by_whole_pixels_along_every_axis(shape):
    # Every pixel says where it was, so that what happened along each axis can be read off.
    places = np.stack(np.meshgrid(*map(np.arange, shape[:-1]), indexing="ij"), axis=0)
    seen = [set() for _ in shape[:-1]]
    for axis, coordinates in enumerate(places):
        image = np.broadcast_to(coordinates[..., None], shape).astype(np.float32)
        changed = apply("flip-shift", np.repeat(image[None], 64, axis=0))
        lines = np.moveaxis(changed, axis + 1, -1).reshape(64, -1, shape[axis])
        assert (lines == lines[:, :1]).all()
        rows, most = np.arange(shape[axis]), round(0.08 * shape[axis])
        known = {
            tuple(order): (shift, flip)
            for shift in range(-most, most + 1)
            for flip, order in enumerate(
                (np.clip(rows + shift, 0, len(rows) - 1), len(rows) - 1 - np.clip(rows + shift, 0, len(rows) - 1))
            )
        }
        seen[axis] = {known[tuple(line.astype(int))] for line in lines[:, 0]}
        assert {flip for _, flip in seen[axis]} == {0, 1}
        assert len({shift for shift, _ in seen[axis]}) == 2 * most + 1


def test_every_data_set_names_one_that_exists():
    assert {entry.augmentation for entry in catalog().values()} <= set(augmentation_names())


def test_an_unknown_name_lists_the_nearest():
    with pytest.raises(InputError, match="Did you mean mirror"):
        make_augmentation("miror", SHAPE, 0)
