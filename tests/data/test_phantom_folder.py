"""Tests of the embedded images written as a folder of one's own."""

import numpy as np
import pytest
from conftest import register_tiny_volumes

from benchmarks.phantom_folder import FolderCommand, write_folder
from keras_lnn.data import load_data
from keras_lnn.errors import InputError

pytestmark = pytest.mark.usefixtures("abdomens_drawn_once")


def test_the_folder_holds_the_images_and_their_classes(tmp_path):
    reported = write_folder(FolderCommand(folder=tmp_path / "images", images=30))
    phantom, read = load_data("phantom-breast").splits["val"], load_data(f"folder:{tmp_path / 'images'}", size=28)
    assert read.class_names == ("malignant", "normal-benign")
    assert reported.endswith(
        f"{30 - phantom.labels[:30].sum()} of malignant, {phantom.labels[:30].sum()} of normal-benign"
    )
    written = {
        image.tobytes(): int(label) for image, label in zip(phantom.images[:30], phantom.labels[:30], strict=True)
    }
    found = {
        np.asarray(image).tobytes(): int(label)
        for split in read.splits.values()
        for image, label in zip(split.images, split.labels, strict=True)
    }
    assert found == written


def test_images_with_masks_are_read_back_with_patients_and_splits(tmp_path):
    folder = tmp_path / "scans"
    reported = write_folder(FolderCommand(folder=folder, data="phantom-liver", splits="train,val,test", images=390))
    phantom, read = load_data("phantom-liver"), load_data(f"masks:{folder}", size=64)
    assert read.class_names == phantom.class_names
    assert not read.check.warnings
    assert [len(read.splits[name]) for name in ("train", "val", "test")] == [320, 60, 10]
    for name, split in read.splits.items():
        order = [int(file[-9:-4]) for file in split.names]
        assert sorted(order) == list(range(len(split)))
        assert np.array_equal(split.images[np.arange(len(split))], phantom.splits[name].images[order])
        assert np.array_equal(split.labels, phantom.splits[name].labels[order])
        assert list(split.groups) == [phantom.splits[name].groups[row] for row in order]
    assert reported.startswith(f"{folder}: 390 of background, ")


def test_only_images_with_one_class_can_be_written(tmp_path):
    for data in ("phantom-chest", register_tiny_volumes()):
        with pytest.raises(InputError, match="must be flat and have one class each, or masks"):
            write_folder(FolderCommand(folder=tmp_path / "new", data=data))
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_not_changed(tmp_path):
    with pytest.raises(InputError, match="must be new"):
        write_folder(FolderCommand(folder=tmp_path))
    assert not list(tmp_path.iterdir())
