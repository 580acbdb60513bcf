"""The report on own images: counts of images and patients, and splits that are unlike the others."""

import numpy as np
import pytest

from keras_lnn.data.checking import Copies, check_splits, require_different_names
from keras_lnn.errors import InputError

NAMES = [f"{k:03}.png" for k in range(400)]


def check(classes, rows, groups=None):
    labels = np.asarray(classes)[:, None] == np.arange(2)
    names = NAMES[: len(classes)]
    return check_splits(labels.astype(np.uint8), rows, ("well", "ill"), names=names, digests=names, groups=groups)


def split(*sizes):
    stops = np.cumsum(sizes)
    return {
        name: np.arange(stop - size, stop)
        for name, size, stop in zip(("train", "val", "test"), sizes, stops, strict=True)
    }


def test_images_patients_and_classes_are_counted_per_split():
    groups = [f"p{k // 2}" for k in range(20)]
    found = check([0, 1] * 10, split(12, 2, 6), groups)
    assert found.describe_splits() == {
        "train": {"images": 12, "patients": 6, "classes": {"well": 6, "ill": 6}},
        "val": {"images": 2, "patients": 1, "classes": {"well": 1, "ill": 1}},
        "test": {"images": 6, "patients": 3, "classes": {"well": 3, "ill": 3}},
    }
    assert check([0, 1] * 10, split(12, 2, 6)).describe_splits()["val"]["patients"] is None
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("ill", "expected"),
    [
        ((35, 5, 10), None),  # alike
        ((37, 3, 10), None),  # 2 of 20 images: chance
        (
            (39, 1, 10),
            "val is unlike the other splits: well is in 95.0% of its images, but in 75.0% of all images, ill is",
        ),
        ((33, 4, 13), None),
        ((26, 4, 20), "test is unlike the other splits: well is in 50.0% of its images"),
    ],
)
def test_a_split_of_other_classes_is_named(ill, expected):
    sizes = (140, 20, 40)
    classes = [k < some for some, size in zip(ill, sizes, strict=True) for k in range(size)]
    warnings = check(np.array(classes, int), split(*sizes)).warnings
    assert len(warnings) == (expected is not None)
    assert all(warning.startswith(expected) for warning in warnings)


def test_the_report_on_series_calls_them_series():
    names = list("abcdef")
    rows = {"train": np.arange(2), "val": np.arange(2, 4), "test": np.arange(4, 6)}
    labels = np.array([0, 1, 0, 0, 1, 1])[:, None] == np.arange(2)
    about = {"names": names, "digests": list("122345"), "near": [(0, 2)], "noun": "series"}
    found = check_splits(labels.astype(np.uint8), rows, ("well", "ill"), **about)
    assert found.warnings == (
        "1 pair of identical series is in two splits, so the results are too good: b (train) = c (val)",
        "1 pair of series with nearly identical images is in two splits, so the results may be too good: a (train) ~ c"
        " (val)",
        "1 pair of identical series has different labels: b (ill) = c (well)",
        "no series of val has ill: its metrics are not defined there",
        "no series of test has well: its metrics are not defined there",
    )
    assert found.copies == (
        Copies(("b", "c"), ("train", "val"), (1, 0), identical=True),
        Copies(("a", "c"), ("train", "val"), (0, 0), identical=False),
    )


def test_a_rare_class_that_is_more_frequent_in_a_split_is_named():
    classes = np.zeros(400, int)
    classes[:13] = classes[320:332] = 1
    absent, warning = check(classes, split(280, 40, 80)).warnings
    assert absent.startswith("no image of val has ill")
    assert warning == "test is unlike the other splits: ill is in 15.0% of its images, but in 6.2% of all images"


def test_a_split_of_few_large_patients_is_named():
    groups = [f"p{k}" for k in range(140)] + ["q"] * 20 + [f"r{k}" for k in range(40)]
    (warning,) = check([0, 1] * 100, split(140, 20, 40), groups).warnings
    assert warning == "val is unlike the other splits: it has 20.0 images per patient, but all splits together have 1.1"


@pytest.mark.parametrize(
    "names",
    [("a", "A"), ("grade 1", "grade 2"), ("1", "-1"), ("0", "1", "10"), ("1", "1a"), ("nan", "inf"), ("b", "ß")],
)
def test_distinct_class_names_are_accepted(names):
    require_different_names(names, "a table")


@pytest.mark.parametrize("names", [("benign", "Benign"), ("grade  1", "Grade 1"), ("1", "x", "1.0"), ("1e1", "10")])
def test_one_class_in_two_spellings_is_reported(names):
    with pytest.raises(InputError, match=f"Received: {names[0]} and {names[-1]} in a table"):
        require_different_names(names, "a table")
