import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_lnn.data.splitting import complete_splits, place_images, split_indices, split_off
from keras_lnn.errors import InputError

FRACTIONS = st.sampled_from(
    [(0.7, 0.1, 0.2), (0.8, 0.1, 0.1), (0.34, 0.33, 0.33), (0.5, 0.25, 0.25), (0.9, 0.05, 0.05), (0.05, 0.05, 0.9)]
)


@st.composite
def class_labels(draw, smallest=3):
    sizes = draw(st.lists(st.integers(smallest, 60), min_size=1, max_size=12))
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return np.random.default_rng(draw(st.integers(0, 99))).permutation(labels)


@settings(max_examples=200, deadline=None)
@given(class_labels(), FRACTIONS, st.integers(0, 2**32 - 1))
def test_splits_are_disjoint_complete_stratified_and_deterministic(labels, fractions, seed):
    parts = split_indices(labels, fractions, seed)
    assert list(parts) == ["train", "val", "test"]
    assert np.array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(len(labels)))
    again = split_indices(labels, fractions, seed)
    for part, fraction in zip(parts, fractions, strict=True):
        assert np.array_equal(parts[part], again[part])
        assert np.array_equal(parts[part], np.sort(parts[part]))
        for label, size in enumerate(np.bincount(labels)):
            count = np.sum(labels[parts[part]] == label)
            assert count >= 1
            # The other parts of a small class take one sample each even where their fraction is less.
            forced = sum(max(0.0, 1 - size * other) for other in fractions)
            assert abs(count - size * fraction) <= 1 + forced + 1e-9
            if min(fractions) * size >= 1:
                assert abs(count - size * fraction) < 1 + 1e-9


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 80), st.integers(10, 40))
def test_rounding_errors_of_many_classes_do_not_add_up(classes, size):
    labels = np.repeat(np.arange(classes), size)
    parts = split_indices(labels)
    for part, fraction in zip(parts.values(), (0.7, 0.1, 0.2), strict=True):
        assert abs(len(part) - fraction * len(labels)) <= 2


def test_seeds_give_other_splits_and_order_of_samples_is_mixed():
    labels = np.repeat([0, 1], 50)
    first, second = split_indices(labels, seed=0), split_indices(labels, seed=1)
    assert not np.array_equal(first["test"], second["test"])
    assert first["test"].tolist() != list(range(10)) + list(range(50, 60))


def test_named_labels_are_split_into_the_expected_counts():
    parts = split_indices(["benign"] * 40 + ["malignant"] * 10)
    assert [len(parts[name]) for name in parts] == [35, 5, 10]
    assert np.sum(parts["test"] >= 40) == 2


def test_a_class_that_is_too_small_is_named():
    labels = [0] * 10 + [1] * 2 + [2] * 1
    with pytest.raises(InputError, match=r"at least 3 samples.*Received: too few of 1 \(2\), 2 \(1\)\."):
        split_indices(labels)
    with pytest.raises(InputError, match=r"too few of scar \(2\), graft \(1\)"):
        split_indices(labels, class_names=["well", "scar", "graft"])
    with pytest.raises(InputError, match="no samples"):
        split_indices([])


@pytest.mark.parametrize("fractions", [(0.7, 0.2, 0.2), (0.5, 0.5), (1.0, 0.0, 0.0), (1.2, -0.4, 0.2)])
def test_invalid_split_fractions_are_refused(fractions):
    with pytest.raises(InputError, match="fraction"):
        split_indices([0] * 9, fractions)


@settings(max_examples=100, deadline=None)
@given(class_labels(smallest=2), st.floats(0.05, 0.95), st.integers(0, 99))
def test_split_off_moves_a_stratified_part(labels, fraction, seed):
    kept, taken = split_off(labels, fraction, seed)
    assert np.array_equal(np.sort(np.concatenate([kept, taken])), np.arange(len(labels)))
    for label, size in enumerate(np.bincount(labels)):
        count = np.sum(labels[taken] == label)
        assert 1 <= count < size
        assert abs(count - size * fraction) < 1 + 1e-9


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5])
def test_split_off_needs_a_fraction(fraction):
    with pytest.raises(InputError, match="between 0 and 1"):
        split_off([0, 0, 0], fraction)


def test_missing_splits_are_taken_from_train_and_given_ones_stay():
    train, test = np.repeat([0, 1], 40), np.repeat([0, 1], 5)
    rows = complete_splits({"train": train, "test": test})
    assert rows["test"].tolist() == list(range(80, 90))
    assert len(rows["val"]) == 10
    assert np.array_equal(np.sort(np.concatenate([rows["train"], rows["val"]])), np.arange(80))

    rows = complete_splits({"train": np.repeat([0, 1], 45), "val": test})
    assert rows["val"].tolist() == list(range(90, 100))
    assert len(rows["test"]) == 20

    rows = complete_splits({"train": np.repeat([0, 1], 50)}, seed=3)
    expected = split_indices(np.repeat([0, 1], 50), seed=3)
    assert all(np.array_equal(rows[name], expected[name]) for name in expected)

    rows = complete_splits({"train": train, "val": test, "test": test})
    assert [rows[name].tolist() for name in rows] == [list(range(80)), list(range(80, 85 + 5)), list(range(90, 100))]


def numbered(count):
    """Image k is filled with k."""
    return np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 3, 1), np.uint8)


@pytest.mark.parametrize("limit_bytes", [10**6, 0])
def test_images_land_in_their_splits_in_memory_and_on_disk(tmp_path, limit_bytes):
    source = numbered(20)
    splits = {
        "train": np.array([0, 3, 7, 19]),
        "val": np.array([2, 5]),
        "test": np.setdiff1d(range(20), [0, 3, 7, 19, 2, 5]),
    }
    fills = []

    def fill(images, positions):
        fills.append(len(images))
        images[positions] = source

    file = tmp_path / "deep" / "images.npy"
    for _ in range(2):
        placed = place_images((2, 3, 1), splits, fill, cache_file=file, limit_bytes=limit_bytes)
        for name, rows in splits.items():
            images = placed[name]
            assert images.shape == (len(rows), 2, 3, 1)
            assert images.dtype == np.uint8
            assert len(images) == len(rows)
            assert np.array_equal(images[:], source[rows])
            assert np.array_equal(images[0], source[rows[0]])
            assert np.array_equal(images[-1], source[rows[-1]])
            assert np.array_equal(images[np.array([1, 0, 1])], source[rows[[1, 0, 1]]])
            assert np.array_equal(images[1:99], source[rows[1:]])
    assert file.exists() == (limit_bytes == 0)
    assert len(fills) == (1 if limit_bytes == 0 else 2)


def test_an_overwritten_cache_file_is_rebuilt(tmp_path):
    def fill(images, positions):
        images[positions] = numbered(4)

    file = tmp_path / "deep" / "images.npy"
    for content in (None, b"rubbish", b"\xff" * (128 + 24), None):
        if content is not None:
            file.write_bytes(content)
        placed = place_images((2, 3, 1), {"train": np.arange(4)}, fill, cache_file=file, limit_bytes=0)
        assert np.array_equal(placed["train"][:], numbered(4))
    np.save(file, numbered(4)[::-1])
    placed = place_images((2, 3, 1), {"train": np.arange(4)}, fill, cache_file=file, limit_bytes=0)
    assert np.array_equal(placed["train"][:], numbered(4))


def test_a_failed_fill_leaves_no_file(tmp_path):
    def fill(images, positions):
        images[0] = 1
        raise InputError("Every image file must be readable.")

    with pytest.raises(InputError, match="readable"):
        place_images((2, 2, 1), {"train": np.arange(3)}, fill, cache_file=tmp_path / "images.npy", limit_bytes=0)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_reported_before_the_map_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(InputError, match="KERAS_LNN_CACHE"):
        place_images((2, 2, 1), {"train": np.arange(3)}, None, cache_file=tmp_path / "images.npy", limit_bytes=0)
