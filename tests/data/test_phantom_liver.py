"""The embedded abdomens: the same bytes everywhere, masks that lie where the densities say, patients in one split."""

import dataclasses
import functools

import numpy as np
import pytest

from keras_lnn import TrainConfig, train
from keras_lnn.data import load_data
from keras_lnn.data.arrays import Split
from keras_lnn.data.catalog import get_entry
from keras_lnn.data.phantoms.abdomen import draw_patient, render
from keras_lnn.data.phantoms.shapes import make_generator
from keras_lnn.data.pipeline import evaluation_batches, training_batches
from keras_lnn.data.sources.loading import check_data
from keras_lnn.errors import InputError
from keras_lnn.saved.torch_weights import import_weights

pytestmark = pytest.mark.usefixtures("abdomens_drawn_once")
NAMES = ("phantom-liver", "phantom-liver-volumes", "phantom-liver-classes")


# Each patient is drawn anew, which takes a second or two.
load_once = functools.cache(load_data)


@pytest.fixture(scope="module")
def slices():
    return load_once("phantom-liver", size=None)


@pytest.fixture(scope="module")
def volumes():
    return load_once("phantom-liver-volumes", size=None)


def test_the_bytes_are_reproducible(slices, volumes):
    assert slices.checksum == "sha256:f79cba77e936e93cae85baaf24e45dd87fc3606007bc05356b7f6897e808474e"
    assert volumes.checksum == "sha256:855fbb90ff63831527d64b84d10d685c31dc104781959174a7fcb16caa67e56b"


@pytest.mark.parametrize(
    ("name", "size"),
    [
        *((name, None) for name in NAMES),
        ("phantom-liver", 32),
        *(pytest.param(name, 32, marks=pytest.mark.slow) for name in NAMES if name != "phantom-liver"),
    ],
)
def test_the_phantom_matches_the_catalog(name, size):
    entry, data = get_entry(name), load_once(name, size=size)
    assert (data.task, data.class_names) == (entry.task, entry.class_names)
    assert {split: len(part) for split, part in data.splits.items()} == dict(entry.samples)
    assert data.image_shape == entry.image_shape(size)
    for split in data.splits.values():
        assert len(set(split.names)) == len(split.names) == len(split)
        assert set(np.unique(split.labels)) == {0, 1, 2}


@pytest.mark.parametrize("name", NAMES)
def test_a_patient_is_in_one_split(name):
    groups = [set(split.groups) for split in load_once(name, size=None).splits.values()]
    assert [len(patients) for patients in groups] == [32, 6, 12]
    assert len(set.union(*groups)) == 50


def test_masks_match_the_densities():
    """Without noise the liver differs from the fat, air and bone around it, and each tumour from the liver."""
    tumours = 0
    for number in range(12):
        patient = draw_patient(make_generator(7, number))
        anatomy = render(patient, np.arange(-10.0, 190.0, 10.0), 64, 346.0)
        liver = (anatomy.liver > 0.99) & (anatomy.tumour < 0.01)
        expected = patient.lobes[0].density
        assert abs(np.median(anatomy.density[liver]) - expected) < 5
        assert (np.abs(anatomy.density[liver] - expected) < 45).mean() > 0.99
        assert anatomy.density[anatomy.liver < 0.01].std() > 300
        if patient.tumours:
            inside = anatomy.tumour > 0.99
            differences = np.abs(anatomy.density[inside] - expected)
            assert np.median(differences) > 25
            tumours += 1
        else:
            assert anatomy.tumour.max() == 0
    assert 5 < tumours < 12


def test_images_match_their_masks(slices):
    split = slices.splits["train"]
    pixels, masks = split.images[..., 0].astype(float), split.labels
    for row in np.flatnonzero((masks == 1).sum(axis=(1, 2)) > 300):
        liver = pixels[row][masks[row] == 1]
        shifted = pixels[row][np.roll(masks[row] == 1, 12, axis=0)]
        assert liver.std() < 0.6 * shifted.std()


def test_neither_brightness_nor_position_predicts_the_class(slices):
    split = slices.splits["train"]
    pixels, masks = split.images[..., 0], split.labels
    low, high = np.percentile(pixels[masks == 1], [5, 95])
    as_bright = (pixels >= low) & (pixels <= high)
    assert (masks[as_bright] >= 1).mean() < 0.6
    place = (masks >= 1).mean(axis=0) > 0.4
    overlap = 2 * (place & (masks >= 1)).sum() / (place.sum() * len(masks) + (masks >= 1).sum())
    assert overlap < 0.75


def test_neighbouring_slices_reveal_what_noise_hides(volumes):
    split = volumes.splits["train"]
    pixels, masks = split.images[..., 0].astype(float), split.labels
    same = masks[:, 1:] == masks[:, :-1]
    assert same.mean() > 0.97
    in_tumour = (masks[:, 1:] == 2) & (masks[:, :-1] == 2)
    assert in_tumour.sum() > 0.5 * (masks[:, 1:] == 2).sum()
    middle = (masks == 1)[:, 2:-2].copy()
    for offset in range(5):
        middle &= (masks == 1)[:, offset : offset + 4]
    one, mean = pixels[:, 2:-2], np.mean([pixels[:, offset : offset + 4] for offset in range(5)], axis=0)
    assert mean[middle].std() < 0.65 * one[middle].std()


def test_slices_and_volumes_show_the_same_patients(slices, volumes):
    for name in ("train", "val", "test"):
        assert set(slices.splits[name].groups) == set(volumes.splits[name].groups)


def test_the_classes_follow_from_the_masks(slices):
    classes = load_once("phantom-liver-classes", size=None)
    for name, split in slices.splits.items():
        expected = [2 if (mask == 2).any() else int((mask == 1).any()) for mask in split.labels]
        assert classes.splits[name].labels.tolist() == expected
        assert classes.splits[name].labels.dtype == np.int64
        assert np.array_equal(classes.splits[name].images, split.images)
        assert min(np.bincount(expected, minlength=3)) >= 5
    assert classes.checksum != slices.checksum


@pytest.mark.parametrize(("name", "size"), [("phantom-liver", 32), ("phantom-liver-volumes", None)])
def test_masks_come_in_batches_with_their_images(name, size):
    split = load_once(name, size=size).splits["val"]
    images, masks = next(iter(evaluation_batches(split, 4)))
    assert masks.dtype == "uint8"
    assert np.array_equal(masks, split.labels[:4])
    for images, masks in training_batches(split, batch_size=4, seed=1, epochs=1).take(2):
        for image, mask in zip(images.numpy(), masks.numpy(), strict=True):
            same = np.all(np.equal(split.images, image.astype(np.uint8)), axis=tuple(range(1, image.ndim + 1)))
            (row,) = np.flatnonzero(same)
            assert np.array_equal(split.labels[row], mask)


def test_invalid_masks_are_refused(slices):
    def check(split_changes=None, **changes):
        splits = dict(slices.splits)
        splits["val"] = dataclasses.replace(splits["val"], **split_changes or {})
        check_data(dataclasses.replace(slices, splits=splits, **changes))

    check()
    labels = slices.splits["val"].labels
    with pytest.raises(InputError, match=r"as large as their images, \(60, 64, 64\).*\(60, 63, 64\) in val"):
        check({"labels": labels[:, 1:]})
    with pytest.raises(InputError, match=r"must be uint8.*int64 of \(60, 64, 64\)"):
        check({"labels": labels.astype(np.int64)})
    with pytest.raises(InputError, match=r"between 0 and 2. Received: 0 to 3 in val"):
        check({"labels": np.where(labels == 2, np.uint8(3), labels)})
    with pytest.raises(InputError, match=r"59 groups of 60 images in val"):
        check({"groups": slices.splits["val"].groups[1:]})
    with pytest.raises(
        InputError, match=r"spacing must have one row per image .*\(60, 2\). Received: .*\(60, 3\) in val"
    ):
        check({"spacing": np.ones((60, 3))})
    with pytest.raises(InputError, match=r"for the task segmentation. Received: phantom-liver, multi-class"):
        check(task="multi-class")


def test_a_classification_model_cannot_be_trained_on_masks(slices, tmp_path, monkeypatch):
    # What is loaded is the same each time.
    monkeypatch.setattr("keras_lnn.data.phantoms.liver.phantom_liver", lambda: slices)
    with pytest.raises(InputError, match=r"needs a model that predicts masks. Received: cnn"):
        train(TrainConfig(model="cnn", data="phantom-liver", run_dir=tmp_path / "run"))
    with pytest.raises(InputError, match=r"Received: "):
        import_weights(tmp_path / "none.npz", TrainConfig(model="cnn", data="phantom-liver", run_dir=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_augmentation_moves_image_and_mask_together(slices):
    """Images that show their masks still show them after augmentation."""
    labels = slices.splits["val"].labels
    split = Split((labels * 100)[..., None], labels)
    batches = training_batches(split, batch_size=20, seed=0, epochs=1, augmentation="flip-shift")
    moved = 0
    for images, masks in batches:
        np.testing.assert_array_equal(images.numpy()[..., 0], masks.numpy() * 100.0)
        moved += sum(not (labels == mask).all(axis=(1, 2)).any() for mask in masks.numpy())
    assert moved > 30
