"""MedMNIST files: read correctly, and every fault of a file reported in one line."""

import dataclasses
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from keras_lnn.data.catalog import DataEntry, get_entry
from keras_lnn.data.disk import DiskArray
from keras_lnn.data.sources.medmnist import load_medmnist, medmnist_file
from keras_lnn.errors import InputError
from keras_lnn.files.atomic import cache_folder, file_digest

ENTRY = get_entry("breastmnist")


def make_arrays(count: int = 6) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    arrays = {}
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(count, dtype=np.uint8).reshape(-1, 1) % 2
    return arrays


@pytest.fixture
def load(tmp_path):
    """Loads arrays that were written as the set's file, with any checksum."""

    def load_arrays(arrays: dict, entry: DataEntry = ENTRY, **options):
        np.savez_compressed(tmp_path / "breastmnist.npz", **arrays)
        return load_medmnist(entry, 28, tmp_path, accept_checksum=True, **options)

    return load_arrays


def test_arrays_are_read_unchanged(load):
    arrays = make_arrays()
    data = load(arrays)
    for split in ("train", "val", "test"):
        np.testing.assert_array_equal(data.splits[split].images[..., 0], arrays[f"{split}_images"])
        np.testing.assert_array_equal(data.splits[split].labels, arrays[f"{split}_labels"][:, 0])
    assert data.splits["train"].labels.dtype == np.int64
    assert data.image_shape == (28, 28, 1)


def test_several_labels_per_image_stay_a_table(load):
    entry = dataclasses.replace(ENTRY, task="multi-label", class_names=("a", "b", "c"))
    arrays = make_arrays() | {f"{s}_labels": np.ones((6, 3), np.uint8) for s in ("train", "val", "test")}
    assert load(arrays, entry).splits["val"].labels.shape == (6, 3)


def test_a_large_file_is_read_from_disk_with_equal_content(load):
    arrays = make_arrays(50)
    fractions = []
    first = load(arrays, memory_limit_bytes=1000, progress=fractions.append)
    assert fractions[-1] == 1.0
    again = load(arrays, memory_limit_bytes=1000)
    whole = load(arrays)
    rows = np.array([41, 3, 3, 17])
    for data in (first, again):
        images = data.splits["train"].images
        assert isinstance(images, DiskArray)
        assert data.image_shape == (28, 28, 1)
        np.testing.assert_array_equal(images[rows], whole.splits["train"].images[rows])
        np.testing.assert_array_equal(images[10:20], whole.splits["train"].images[10:20])


@pytest.mark.parametrize("name", ["train_images", "test_labels", "stamp"])
def test_unpacked_files_that_were_overwritten_are_unpacked_again(load, name):
    arrays = make_arrays(50)
    load(arrays, memory_limit_bytes=1000)
    (folder,) = Path(os.environ["KERAS_LNN_CACHE"], "medmnist").iterdir()
    file = next(folder.glob(f"{name}.*"))
    for content in (bytes(file.stat().st_size), b"{}"):
        file.write_bytes(content)
        again = load(arrays, memory_limit_bytes=1000)
        for split in ("train", "test"):
            np.testing.assert_array_equal(again.splits[split].images[:][..., 0], arrays[f"{split}_images"])
            np.testing.assert_array_equal(again.splits[split].labels, arrays[f"{split}_labels"][:, 0])


def test_the_file_is_searched_in_its_documented_places(monkeypatch, tmp_path):
    assert medmnist_file(ENTRY, 28) == tmp_path.__class__(os.environ["HOME"], ".medmnist", "breastmnist.npz")
    monkeypatch.setenv("MEDMNIST_ROOT", str(tmp_path / "root"))
    assert medmnist_file(ENTRY, 64) == tmp_path / "root" / "breastmnist_64.npz"
    assert medmnist_file(ENTRY, 28, tmp_path) == tmp_path / "breastmnist.npz"


def drop(name):
    return lambda arrays: arrays.pop(name)


def put(name, value):
    return lambda arrays: arrays.update({name: value})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop("val_labels"), "must hold the array val_labels"),
        (put("test_images", np.zeros((0, 28, 28), np.uint8)), "with none in test"),
        (put("train_images", np.zeros((6, 27, 28), np.uint8)), r"uint8 of shape \(28, 28\).*\(27, 28\) in train"),
        (put("train_images", np.zeros((6, 28, 28), np.float32)), "uint8 of shape.*float32"),
        (put("val_labels", np.zeros((5, 1), np.uint8)), "6 images and 5 labels in val"),
        (put("val_labels", np.zeros((6, 2), np.uint8)), "1 per image"),
        (put("val_labels", np.zeros((6, 1), np.float32)), "whole numbers"),
        (put("test_labels", np.full((6, 1), 2, np.uint8)), "between 0 and 1. Received: 2 to 2 in test"),
        (put("test_labels", np.full((6, 1), -1, np.int8)), "between 0 and 1. Received: -1 to -1"),
        (put("train_images", np.asfortranarray(np.zeros((6, 28, 28), np.uint8))), "C order"),
    ],
)
def test_wrong_contents(load, damage, message):
    from keras_lnn.data.sources.loading import check_data

    arrays = make_arrays()
    damage(arrays)
    with pytest.raises(InputError, match=message) as caught:
        check_data(load(arrays))
    assert "\n" not in str(caught.value)


def test_pickled_arrays_are_never_read(tmp_path):
    np.savez(tmp_path / "breastmnist.npz", **(make_arrays() | {"val_labels": np.array([object()] * 6)}))
    with pytest.raises(InputError, match="plain numbers"):
        load_medmnist(ENTRY, 28, tmp_path, accept_checksum=True)


def test_a_wrong_checksum_names_both_and_can_be_accepted(tmp_path):
    path = tmp_path / "breastmnist.npz"
    np.savez(path, **make_arrays())
    found = file_digest(path, "md5")
    with pytest.raises(InputError, match=f"{ENTRY.sources[28][1]}. Received: {found}.*--accept-checksum"):
        load_medmnist(ENTRY, 28, tmp_path)
    assert load_medmnist(ENTRY, 28, tmp_path, accept_checksum=True).checksum == f"md5:{found}"


@pytest.mark.parametrize("limit", [1000, 2**30])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "no zip"])
def test_a_damaged_file_leaves_no_unpacked_arrays(tmp_path, damage, limit):
    path = tmp_path / "breastmnist.npz"
    np.savez_compressed(path, **make_arrays(50))
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        content = content[: len(content) // 2]
    elif damage == "flipped":
        with zipfile.ZipFile(path) as archive:
            content[archive.getinfo("train_images.npy").header_offset + 5000] ^= 0xFF
    else:
        content = b"hello"
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match="must be a whole"):
        load_medmnist(ENTRY, 28, tmp_path, accept_checksum=True, memory_limit_bytes=limit)
    assert [file for file in cache_folder().rglob("*") if file.is_file()] == []


def test_the_published_breastmnist_file_is_read(real_data_dir):
    data = load_medmnist(ENTRY, 28, real_data_dir)
    assert [len(data.splits[name]) for name in ("train", "val", "test")] == [546, 78, 156]
    assert data.splits["test"].labels.mean() == pytest.approx(0.7308, abs=1e-4)


def test_published_volumes_are_read(real_data_dir):
    data = load_medmnist(get_entry("adrenalmnist3d"), 28, real_data_dir)
    assert data.image_shape == (28, 28, 28, 1)
