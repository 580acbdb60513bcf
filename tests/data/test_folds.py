"""Folds for cross-validation: stratified, by patient, the same for the same seed, and each sample in exactly one."""

import itertools

import numpy as np
import pytest

from keras_lnn.data.arrays import ImageData, SeriesArray, Split
from keras_lnn.data.folds import choose_fold, partition_folds, take_fold
from keras_lnn.data.joining import JoinedImages, join_splits
from keras_lnn.errors import InputError
from keras_lnn.fields.values import parse_fold

GENERATOR = np.random.default_rng(0)


def one_hot(classes, count=3):
    return (np.asarray(classes)[:, None] == np.arange(count)).astype(np.uint8)


@pytest.mark.parametrize("count", [3, 5, 10])
def test_each_fold_has_its_share_of_each_class_to_within_one_image(count):
    labels = one_hot(GENERATOR.permutation(np.repeat([0, 1, 2], [101, 37, 13])))
    folds = partition_folds(labels, count, 4, class_names=("a", "b", "c"))
    sizes = np.array([labels[folds == number].sum(axis=0) for number in range(count)])
    assert np.ptp(sizes, axis=0).max() <= 1
    assert np.ptp(sizes.sum(axis=1)) <= 1


def test_no_patient_is_divided_and_every_fold_has_its_share():
    patients = np.repeat(np.arange(90), GENERATOR.integers(1, 8, 90))
    labels = one_hot(np.where(patients % 9 == 0, 2, patients % 2))
    folds = partition_folds(labels, 5, 0, groups=patients.tolist(), class_names=("a", "b", "c"))
    assert all(len(set(folds[patients == patient])) == 1 for patient in range(90))
    shares = np.array([labels[folds == number].sum(axis=0) for number in range(5)]) / labels.sum(axis=0)
    assert np.abs(shares - 0.2).max() < 0.1


def test_the_seed_alone_determines_the_folds():
    labels = one_hot(np.arange(60) % 3)
    first, again, other = (partition_folds(labels, 5, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_each_sample_is_tested_once_validates_once_and_trains_otherwise():
    folds = partition_folds(one_hot(np.arange(61) % 3), 5, 0)
    runs = [choose_fold(folds, f"{number}/5") for number in range(1, 6)]
    for split, times in (("test", 1), ("val", 1), ("train", 3)):
        seen = np.concatenate([run[split] for run in runs])
        assert np.bincount(seen, minlength=61).tolist() == [times] * 61
    for run in runs:
        assert sum(len(rows) for rows in run.values()) == 61
        assert all(not set(a) & set(b) for a, b in itertools.combinations(run.values(), 2))
    # The validation of the last run is the first fold.
    assert np.array_equal(runs[4]["val"], runs[0]["test"])


@pytest.mark.parametrize(
    ("classes", "groups", "received"),
    [
        ([0] * 20 + [1] * 4, None, r"at least 5 samples of each class. Received: too few of b \(4\)"),
        ([0] * 20 + [1] * 6, [*range(20), 90, 90, 91, 91, 92, 93], r"5 patients of each class. .* of b \(4\)"),
        ([0, 1] * 2, None, "at least 5 samples. Received: 4"),
    ],
)
def test_too_few_of_a_class_for_the_folds_is_one_line(classes, groups, received):
    with pytest.raises(InputError, match=received):
        partition_folds(one_hot(classes, 2), 5, groups=groups, class_names=("a", "b"))


def test_patients_with_several_classes_are_dealt_so_that_no_fold_lacks_one():
    groups = ["both"] * 2 + ["a1", "a2", "b1", "b2"]
    folds = partition_folds(one_hot([0, 1, 0, 0, 1, 1], 2), 3, groups=groups, class_names=("a", "b"))
    assert len(set(zip(folds.tolist(), [0, 1, 0, 0, 1, 1], strict=True))) == 6


def test_patients_who_cannot_be_dealt_are_reported():
    # a keeps one, two and three apart, b then puts four with three, but c would have to keep these apart.
    held = {"one": "ab", "two": "ab", "three": "ac", "four": "bc", "five": "c"}
    groups = [patient for patient, classes in held.items() for _ in classes]
    labels = one_hot(["abc".index(name) for classes in held.values() for name in classes])
    with pytest.raises(InputError, match=r"in each of the 3 folds\. .* fold \d has [abc]\. Use fewer"):
        partition_folds(labels, 3, groups=groups, class_names=("a", "b", "c"))


@pytest.mark.parametrize("text", ["0/5", "6/5", "1/2", "1", "a/5", "1/101", "-1/5"])
def test_a_fold_is_one_of_at_least_three(text):
    with pytest.raises(ValueError, match="must be"):
        parse_fold(text)


def make_data(given_splits, names=None):
    images = np.arange(40, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 1), np.uint8)
    rows = {"train": range(24), "val": range(24, 30), "test": range(30, 40)}
    splits = {
        name: Split(images[part], np.array(part) % 2, names=None if names is None else [names[row] for row in part])
        for name, part in rows.items()
    }
    return ImageData("mine", "binary", ("a", "b"), splits, "sha256:0", given_splits=given_splits)


@pytest.mark.parametrize(("given", "pooled"), [(("train", "val", "test"), 30), (("train",), 40), ((), 40)])
def test_a_given_test_split_stays_out_of_the_folds(given, pooled):
    runs = [take_fold(make_data(given), f"{number}/5", 3).splits for number in range(1, 6)]
    tested = np.concatenate([run["test"].images[:][:, 0, 0, 0] for run in runs])
    assert sorted(tested.tolist()) == list(range(pooled))
    for run in runs:
        for part in run.values():
            assert np.array_equal(part.images[:][:, 0, 0, 0] % 2, part.labels)
    # A sample has one name in all runs, by which it is found again.
    known = {}
    for run in runs:
        for part in run.values():
            for name, image in zip(part.names, part.images[:][:, 0, 0, 0].tolist(), strict=True):
                assert known.setdefault(name, image) == image
    assert known["train 3"] == 3
    assert known["val 0"] == 24


def test_own_names_are_kept():
    names = [f"{row:02d}.png" for row in range(40)]
    run = take_fold(make_data((), names), "1/4", 0).splits
    assert {name for part in run.values() for name in part.names} == set(names)


def test_joined_images_read_like_one_array():
    parts = [GENERATOR.integers(0, 256, (count, 3, 3, 1), np.uint8) for count in (4, 1, 6)]
    joined, whole = JoinedImages(parts), np.concatenate(parts)
    assert joined.shape == whole.shape
    for rows in (3, slice(2, 9), np.array([10, 0, 4, 4]), np.array([[1, 5], [9, 2]]), slice(0, 0)):
        assert np.array_equal(joined[rows], whole[rows])


def test_joined_series_keep_their_frames_and_times():
    def make(lengths, first):
        frames = [np.full((length, 2, 2, 1), first + place, np.uint8) for place, length in enumerate(lengths)]
        return SeriesArray.join(frames, [np.arange(length) * 2.0 for length in lengths], "days", steps=max(lengths))

    parts = [Split(make([2, 3], 10), np.array([0, 1])), Split(make([4], 20), np.array([1]))]
    joined = join_splits(parts).series
    assert joined.shape == (3, 4, 2, 2, 1)
    assert joined[:][:, 0, 0, 0, 0].tolist() == [10, 11, 20]
    assert joined.lengths.tolist() == [2, 3, 4]
    np.testing.assert_array_equal(joined.times()[2], [0, 2, 4, 6])
