"""NumPy arrays as a data set: splits, checks, and a run on them."""

import sys

import numpy as np
import pytest
import tiny_models  # noqa: F401, registers tiny-dense

from keras_lnn import TrainConfig, load_data, register_arrays, train
from keras_lnn.data import catalog
from keras_lnn.data.sources.loading import check_data
from keras_lnn.errors import InputError
from keras_lnn.terminal import make_console
from keras_lnn.training.loop import load_images
from keras_lnn.training.protocol import complete_config

IMAGES = np.random.default_rng(0).integers(0, 256, (60, 8, 8), np.uint8)
LABELS = np.arange(60) % 2


@pytest.fixture(autouse=True)
def empty_catalog(monkeypatch):
    monkeypatch.setattr(sys.modules["keras_lnn.data.catalog"], "_REGISTERED", {})
    monkeypatch.setattr("keras_lnn.data.sources.own_arrays._REGISTERED", {})


def test_a_configuration_takes_arrays_by_name():
    config = complete_config(TrainConfig(model="tiny-dense", data=register_arrays("mine", IMAGES, LABELS)))
    assert len(load_images(config, make_console()).splits["train"]) == 42


@pytest.mark.slow
def test_a_model_is_trained_on_arrays(tmp_path):
    data = register_arrays("mine", IMAGES, LABELS, class_names=("benign", "malignant"))
    fields = {"epochs": 1, "export": "none", "tensorboard": False, "test": False, "run_dir": tmp_path / "run"}
    result = train(TrainConfig(model="tiny-dense", data=data, **fields))
    assert result.metrics["classes"] == ["benign", "malignant"]
    assert (tmp_path / "run" / "best.keras").is_file()


def test_every_image_keeps_its_label_and_no_patient_is_divided():
    patients = np.arange(60) // 3
    data = load_data(register_arrays("mine", IMAGES, LABELS, patients=patients))
    check_data(data)
    assert (data.task, data.class_names) == ("binary", ("0", "1"))
    seen = set()
    for split in data.splits.values():
        for image, label, patient in zip(split.images[:], split.labels, split.groups, strict=True):
            (row,) = np.flatnonzero((image[..., 0] == IMAGES).all(axis=(1, 2)))
            assert (LABELS[row], str(patients[row])) == (label, patient)
            seen.add(row)
        others = [other for other in data.splits.values() if other is not split]
        assert not {name for other in others for name in other.groups} & set(split.groups)
    assert len(seen) == 60


def test_the_seed_determines_the_splits_and_given_ones_are_kept():
    name = register_arrays("mine", IMAGES, LABELS)
    first, again, other = (load_data(name, seed=seed).splits["test"].images[:] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    splits = np.array(["train", "val", "test"]).repeat(20)
    data = load_data(register_arrays("given", IMAGES, LABELS, splits=splits))
    assert np.array_equal(data.splits["val"].images[:][..., 0], IMAGES[20:40])
    assert data.given_splits == ("train", "val", "test")


@pytest.mark.parametrize(
    ("images", "labels", "class_names", "task"),
    [
        (IMAGES, np.array(["b", "a", "c"] * 20), None, "multi-class"),
        (IMAGES, np.stack([LABELS, 1 - LABELS, LABELS], axis=1), ("x", "y", "z"), "multi-label"),
        (IMAGES, (IMAGES > 200).astype(int), ("background", "bright"), "segmentation"),
        (np.stack([IMAGES] * 3, axis=-1), LABELS, None, "binary"),
        (np.stack([IMAGES[..., None]] * 4, axis=1), LABELS, None, "binary"),
    ],
)
def test_the_task_follows_from_the_shape_of_the_labels(images, labels, class_names, task):
    data = load_data(register_arrays("mine", images, labels, class_names=class_names))
    check_data(data)
    assert data.task == task
    assert catalog()["mine"].image_shape() == data.image_shape


def test_label_names_follow_the_order_of_the_class_names():
    names = np.array(["ill", "healthy"])[LABELS]
    data = load_data(register_arrays("mine", IMAGES, names, class_names=("healthy", "ill")))
    for split in data.splits.values():
        for image, label in zip(split.images[:], split.labels, strict=True):
            (row,) = np.flatnonzero((image[..., 0] == IMAGES).all(axis=(1, 2)))
            assert data.class_names[label] == names[row]


def test_repeated_registration_is_idempotent_and_other_data_need_another_name():
    register_arrays("mine", IMAGES, LABELS)
    checksum = load_data("mine").checksum
    register_arrays("mine", IMAGES.copy(), LABELS.copy())
    assert load_data("mine").checksum == checksum
    with pytest.raises(InputError, match="Received: mine, which is of other data"):
        register_arrays("mine", IMAGES[::-1], LABELS)
    with pytest.raises(InputError, match="Received: breastmnist"):
        register_arrays("breastmnist", IMAGES, LABELS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "a:b"}, "of letters, digits"),
        ({"images": IMAGES / 255}, "Images must be uint8, 0 to 255. Received: float64"),
        ({"images": IMAGES[..., None].repeat(2, axis=-1)}, r"with 1 or 3 channels. Received: \(60, 8, 8, 2\)"),
        ({"labels": LABELS[1:]}, "one of labels for each image. Received: 59 for 60"),
        ({"labels": LABELS - 1}, "Labels must be class indices from 0"),
        ({"labels": LABELS * 0}, "Received: 0 to 0 of shape"),
        ({"labels": LABELS * 0.5}, "Labels must be whole numbers or names. Received: float64"),
        ({"labels": IMAGES, "class_names": ("a", "b")}, "Labels must be class indices from 0"),
        ({"labels": (IMAGES > 9)[:, 1:]}, r"Masks must be as large as their images, \(60, 8, 8\)"),
        ({"class_names": ("a", "b", "c"), "labels": np.stack([LABELS] * 2, axis=1)}, "and 3 names"),
        ({"class_names": ("a", "b"), "labels": np.array(["a", "c"])[LABELS]}, "must be those of the labels, a, c"),
        ({"class_names": ("a", "b", "c")}, "Every class must have images in train"),
        ({"patients": ["x"]}, "one of patients for each image"),
        ({"splits": ["tain"] * 60}, "Each split must be train, val or test. Received: 'tain'"),
        (
            {"patients": ["x"] * 60, "splits": ["train", "val", "test"] * 20},
            "All images of a group must be in one split",
        ),
        ({"patients": ["x"] * 60}, "at least 3 groups"),
    ],
)
def test_invalid_arrays_are_refused_without_registering_them(change, message):
    arguments = {"name": "mine", "images": IMAGES, "labels": LABELS} | change
    with pytest.raises(InputError, match=message):
        register_arrays(**arguments)
    assert "mine" not in catalog()
