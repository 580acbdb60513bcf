"""Samples with their maps: what is predicted, what a table says of a map, and which examples are chosen."""

import dataclasses

import numpy as np
import pytest
from explained_models import draw_images, make_linear, make_predictor

from keras_lnn.data.arrays import Split
from keras_lnn.explaining.checked_maps import check_methods, find_lesions
from keras_lnn.explaining.examples import are_cheap, choose_examples, explain_examples, spread_over
from keras_lnn.explaining.explanations import Explained, concentration, explain_samples
from keras_lnn.explaining.maps import DEFAULT_METHOD, METHODS, describe_method, explain
from keras_lnn.tasks.kinds import make_task

IMAGES = draw_images(5, 6, 6, 1)


@pytest.fixture(scope="module")
def linear():
    return make_predictor(make_linear()[0])


def explained(values, image=None, **about):
    values = np.asarray(values, np.float32)
    image = np.zeros((*values.shape, 1), np.uint8) if image is None else image
    return Explained("a.png", image, "benign", 0.75, "benign", 0.75, {"occlusion": values}, **about)


def test_samples_have_the_prediction_of_the_model_and_the_maps_of_each_method(linear):
    methods = ("integrated-gradients", "occlusion")
    found = explain_samples(linear, IMAGES, list("vwxyz"), methods, truths=list("aabab"))
    probabilities = linear.predict(IMAGES)
    assert [each.name for each in found] == list("vwxyz")
    assert (
        [each.predicted for each in found]
        == [each.target for each in found]
        == ["ab"[row] for row in probabilities.argmax(axis=1)]
    )
    np.testing.assert_allclose([each.probability for each in found], probabilities.max(axis=1), rtol=1e-5)
    for method in methods:
        maps = np.stack([each.maps[method] for each in found])
        np.testing.assert_allclose(maps, explain(linear, IMAGES, method), rtol=1e-5, atol=1e-4)
    assert [each.truth for each in found] == list("aabab")


def test_a_target_is_explained_beside_what_is_predicted(linear):
    found = explain_samples(linear, IMAGES, list("vwxyz"), ["integrated-gradients"], "a")
    probabilities = linear.predict(IMAGES)
    assert {each.target for each in found} == {"a"}
    assert {each.predicted for each in found} == {"a", "b"}
    np.testing.assert_allclose([each.target_probability for each in found], probabilities[:, 0], rtol=1e-5)
    np.testing.assert_allclose([each.probability for each in found], probabilities.max(axis=1), rtol=1e-5)


def test_a_row_names_the_strongest_point_and_the_share_of_the_strongest_tenth():
    values = np.zeros((4, 5))
    values[2, 3], values[1, 1] = 3, 1
    (row,) = explained(values).to_rows()
    assert (row["strongest row"], row["strongest column"]) == (2, 3)
    assert row["share in strongest tenth"] == 1  # two of twenty pixels
    assert "truth" not in row


def test_places_in_volumes_and_series_name_their_slice_or_frame_and_time():
    values = np.zeros((3, 4, 5))
    values[1, 2, 4] = 1
    (row,) = explained(values).to_rows()
    assert [row[f"strongest {name}"] for name in ("slice", "row", "column")] == [1, 2, 4]
    (row,) = explained(values, times=np.array([0, 2.5, np.nan]), unit="minutes").to_rows()
    assert (row["strongest frame"], row["strongest time (minutes)"]) == (1, 2.5)


def test_an_empty_map_has_no_strongest_point():
    (row,) = explained(np.full((2, 2), -1.0)).to_rows()
    assert row["strongest row"] is None
    assert np.isnan(row["share in strongest tenth"])


def test_an_even_map_has_a_tenth_in_its_strongest_tenth():
    assert concentration(np.ones((10, 10))) == pytest.approx(0.1)


def test_examples_are_the_lowest_the_middle_and_the_highest_each_once():
    rows, kinds = spread_over(np.array([0.5, 0.1, 0.9, 0.4, 0.6, 0.2, 0.8]), 3)
    assert rows.tolist() == [1, 0, 2]
    assert kinds == ["worst", "typical", "best"]
    for count in range(1, 9):
        rows, kinds = spread_over(np.arange(7.0), count)
        assert len(set(rows.tolist())) == len(kinds) == min(count, 7)


def test_examples_are_chosen_by_how_probable_the_truth_was(linear):
    labels = np.array([0, 1, 0, 1, 0])
    rows, kinds = choose_examples(linear, Split(IMAGES, labels), 3)
    found = linear.predict(IMAGES)[np.arange(5), labels]
    order = np.argsort(found)
    assert rows.tolist() == [order[0], order[2], order[4]]
    assert kinds == ["worst", "typical", "best"]


def test_examples_of_a_report_are_explained_from_the_worst_to_the_best(linear):
    labels = np.array([0, 1, 0, 1, 0])
    probabilities = linear.predict(IMAGES)
    found = explain_examples(linear, Split(IMAGES, labels), probabilities)
    order = np.argsort(probabilities[np.arange(5), labels])
    # As many of each kind as possible: two worst, two typical, one best.
    assert [each.name for each in found] == [f"#{row}" for row in order]
    assert [each.why for each in found] == ["worst", "worst", "typical", "typical", "best"]
    assert [each.truth for each in found] == ["ab"[labels[row]] for row in order]
    np.testing.assert_allclose(found[0].maps[DEFAULT_METHOD], explain(linear, IMAGES)[order[0]], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "parameters", "cheap"),
    [
        ((28, 28, 1), 300_000, True),
        ((64, 64, 3), 1_000_000, True),
        ((65, 65, 1), 300_000, False),
        ((28, 28, 1), 1_000_001, False),
        ((8, 8, 8, 1), 300_000, False),
    ],
)
def test_only_small_images_and_networks_are_explained_in_a_report(linear, shape, parameters, cheap):
    signature = dataclasses.replace(linear.signature, image_shape=shape, parameters=parameters)
    assert are_cheap(signature) is cheap


def test_the_truth_of_labels_and_of_masks_has_a_mean_probability():
    labels = make_task("multi-label", ["a", "b"])
    found = labels.truth_probabilities(np.array([[1, 0]], np.uint8), np.array([[0.8, 0.4]]))
    np.testing.assert_allclose(found, [0.7])
    masks = make_task("segmentation", ["background", "a"])
    found = masks.truth_probabilities(np.array([[[0, 1]]], np.uint8), np.array([[[[0.9, 0.1], [0.5, 0.5]]]]))
    np.testing.assert_allclose(found, [0.7])


def test_the_default_method_works_for_networks_without_convolutions():
    assert METHODS[DEFAULT_METHOD].looks_at == "pixels"


@pytest.mark.parametrize("name", METHODS)
def test_each_method_is_described_with_its_source(name):
    assert len(describe_method(name)) > 100


def test_lesions_are_known_for_the_generated_images_in_their_size_only():
    rows = np.array([3, 5])
    known = find_lesions("phantom-breast", "test", (400, 28, 28, 1), rows)
    assert known is not None
    assert known.shape == (2, 28, 28)
    assert find_lesions("phantom-breast", "test", (400, 56, 56, 1), rows) is None
    assert find_lesions("phantom-breast", "test", (399, 28, 28, 1), rows) is None
    assert find_lesions("folder:mine", "test", (400, 28, 28, 1), rows) is None


def test_methods_are_checked_on_the_same_samples_beside_lesions(linear):
    lesions = np.zeros((5, 6, 6), bool)
    lesions[:4, 2:4, 2:4] = True
    split = Split(IMAGES, np.zeros(5, np.int64))
    check = check_methods(linear, split, ["integrated-gradients"], samples_are="5 images", lesions=lesions)
    (found,) = check.methods
    assert found.deletion.value > 0  # of a linear network such a map is exact
    assert found.insertion.value > 0
    assert 0 < found.fall <= 2
    assert check.with_lesion == 4
    assert check.by_chance == pytest.approx(24 / 36)  # four pixels, enlarged twice by those beside them
    assert 0 <= found.pointing.value <= 1
