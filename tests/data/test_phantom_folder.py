"""Tests of the embedded images written as a folder of one's own."""

import numpy as np
import pytest

from benchmarks.phantom_folder import FolderCommand, write_folder
from keras_lnn.data import load_data
from keras_lnn.errors import InputError


def test_the_folder_holds_the_images_and_their_classes(tmp_path):
    told = write_folder(FolderCommand(folder=tmp_path / "images", images=30))
    phantom, read = load_data("phantom-breast").splits["val"], load_data(f"folder:{tmp_path / 'images'}", size=28)
    assert read.class_names == ("malignant", "normal-benign")
    assert told.endswith(f"{30 - phantom.labels[:30].sum()} of malignant, {phantom.labels[:30].sum()} of normal-benign")
    written = {
        image.tobytes(): int(label) for image, label in zip(phantom.images[:30], phantom.labels[:30], strict=True)
    }
    found = {
        np.asarray(image).tobytes(): int(label)
        for split in read.splits.values()
        for image, label in zip(split.images, split.labels, strict=True)
    }
    assert found == written


def test_a_folder_that_exists_is_left_alone(tmp_path):
    with pytest.raises(InputError, match="must be new"):
        write_folder(FolderCommand(folder=tmp_path))
    assert not list(tmp_path.iterdir())
