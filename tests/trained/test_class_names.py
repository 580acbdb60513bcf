"""The classes of other data under the names and in the order of a model."""

import dataclasses

import numpy as np
import pytest
from conftest import tiny_stripes

from keras_lnn.data import ImageData, Split
from keras_lnn.errors import InputError
from keras_lnn.fields.values import parse_classes
from keras_lnn.saved.signature import Signature
from keras_lnn.trained.class_names import with_classes_of


def signature(task, class_names, image_shape=(28, 28, 1)):
    known = {"model": "cnn", "model_args": {}, "data": "x", "size": None, "checksum": "", "licence": ""}
    known |= {"parameters": 1, "seed": 0, "best_epoch": 1, "trained_by": "test"}
    return Signature(task=task, class_names=class_names, image_shape=image_shape, **known)


def data_of(task, class_names, labels):
    images = np.zeros((len(labels), 28, 28, 1), np.uint8)
    splits = {name: Split(images, np.array(labels)) for name in ("train", "val", "test")}
    return ImageData("other", task, class_names, splits, "none")


def test_classes_in_another_order_are_matched_by_name():
    data = tiny_stripes()
    turned = with_classes_of(signature("binary", ("upright", "level")), data, {})
    assert turned.class_names == ("upright", "level")
    for name, split in data.splits.items():
        np.testing.assert_array_equal(turned.splits[name].labels, 1 - split.labels)
    same = with_classes_of(signature("binary", ("level", "upright")), data, {})
    assert all(same.splits[name] is split for name, split in data.splits.items())


def test_several_classes_can_be_merged():
    data = data_of("multi-class", ("grade 1", "grade 2", "healthy"), [0, 1, 2, 2])
    found = with_classes_of(signature("binary", ("healthy", "ill")), data, {"grade 1": "ill", "grade 2": "ill"})
    assert (found.task, found.class_names) == ("binary", ("healthy", "ill"))
    np.testing.assert_array_equal(found.splits["test"].labels, [1, 1, 0, 0])
    ordered = data_of("multi-class", ("0", "1", "2"), [2, 1, 0])
    assert with_classes_of(signature("ordinal", ("0", "1", "2")), ordered, {}).task == "ordinal"


def test_several_labels_can_be_merged():
    table = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 1], [0, 0, 0]], np.uint8)
    found = with_classes_of(
        signature("multi-label", ("mass", "edema")),
        data_of("multi-label", ("Oedema", "nodule", "tumour"), table),
        {"Oedema": "edema", "nodule": "mass", "tumour": "mass"},
    )
    np.testing.assert_array_equal(found.splits["test"].labels, [[0, 1], [1, 0], [1, 1], [0, 0]])
    assert found.splits["test"].labels.dtype == np.uint8


def test_mask_pixels_are_renumbered():
    data = data_of("segmentation", ("background", "tumour", "liver"), [0])
    masks = np.array([[[0, 1], [2, 1]]], np.uint8)
    data = dataclasses.replace(data, splits={"test": Split(np.zeros((1, 28, 28, 1), np.uint8), masks)})
    found = with_classes_of(signature("segmentation", ("background", "liver", "tumour")), data, {})
    np.testing.assert_array_equal(found.splits["test"].labels, [[[0, 2], [1, 2]]])
    assert found.splits["test"].labels.dtype == np.uint8


@pytest.mark.parametrize(
    ("task", "names", "renamed", "message"),
    [
        ("binary", ("a", "b"), {}, r"binary with a \| b\. Received: binary with level \| upright\. Match them with"),
        (
            "binary",
            ("a", "b"),
            {"levle": "a"},
            r"a class of tiny-stripes to the left of =\. Received: levle\. Did you mean level",
        ),
        ("binary", ("a", "b"), {"level": "c"}, r"a class of the model to the right of =\. Received: c"),
        ("binary", ("a", "b"), {"level": "a"}, r"Received: binary with level \| upright"),
        ("multi-label", ("level", "upright"), {}, r"multi-label with level \| upright\. .* Choose other data"),
    ],
)
def test_classes_that_do_not_fit_are_one_line(task, names, renamed, message):
    with pytest.raises(InputError, match=message) as caught:
        with_classes_of(signature(task, names), tiny_stripes(), renamed)
    assert "\n" not in str(caught.value)


def test_images_of_another_shape_are_refused():
    with pytest.raises(InputError, match=r"images of the model's shape, \(14, 14, 1\)"):
        with_classes_of(signature("binary", ("level", "upright"), (14, 14, 1)), tiny_stripes(), {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, {}),
        ("a=b", {"a": "b"}),
        ("benigno = benign, maligno=malignant", {"benigno": "benign", "maligno": "malignant"}),
        ('"ok=normal, benign",bad=malignant', {"ok": "normal, benign", "bad": "malignant"}),
        ("x=y=z", {"x": "y=z"}),
    ],
)
def test_class_pairs_are_parsed(text, expected):
    assert parse_classes(text) == expected


@pytest.mark.parametrize("text", ["", "a", "a=", "=b", "a=b,", "a=b,c"])
def test_invalid_class_pairs_are_refused(text):
    with pytest.raises(ValueError, match="must be THEIRS=OURS"):
        parse_classes(text)


def test_a_model_of_series_is_not_measured_on_images():
    of_series = dataclasses.replace(
        signature("binary", ("a", "b")), image_shape=(4, 28, 28, 1), time_unit="minutes", median_interval=1.0
    )
    with pytest.raises(InputError, match=r"must have series, which the model reads\. Received: images\. Choose"):
        with_classes_of(of_series, data_of("binary", ("a", "b"), [0, 1]), {})
