"""Segmentation metrics against scikit-learn, hand-computed values, and over resampled patients."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, jaccard_score

from keras_lnn.data.arrays import Split
from keras_lnn.errors import InputError
from keras_lnn.evaluation.mask_overlaps import measure_masks
from keras_lnn.evaluation.masks import evaluate_masks
from keras_lnn.evaluation.metrics import MASK_METRICS
from keras_lnn.evaluation.surfaces import surface_distances
from keras_lnn.statistics.bootstrap import resample_weights
from keras_lnn.tasks.kinds import make_task

NAMES = ("background", "liver", "tumour")


def random_masks(seed, samples=6, shape=(9, 8), empty=0.3):
    """True and predicted masks, some of them empty on one side or both."""
    generator = np.random.default_rng(seed)
    truth = generator.choice(3, (samples, *shape), p=[0.6, 0.3, 0.1])
    predicted = np.where(generator.random(truth.shape) < 0.7, truth, generator.integers(0, 3, truth.shape))
    for masks in (truth, predicted):
        for index in (1, 2):
            masks[(masks == index) & (generator.random(samples) < empty).reshape(-1, *(1,) * len(shape))] = 0
    return truth.astype(np.uint8), predicted.astype(np.uint8)


def same(value, expected):
    return value == pytest.approx(expected, abs=1e-12, nan_ok=True)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(9, 8), (3, 6, 5)]))
def test_overlap_agrees_with_scikit_learn(seed, shape):
    truth, predicted = random_masks(seed, shape=shape)
    found = evaluate_masks(truth, predicted, class_names=NAMES, resamples=1)
    dices, per_image = [], []
    for index, name in ((1, "liver"), (2, "tumour")):
        of_class = found.per_class[name]
        pooled = {"labels": [index], "average": "macro", "zero_division": np.nan}
        dices.append(f1_score(truth.ravel(), predicted.ravel(), **pooled))
        assert same(of_class["dice"].value, dices[-1])
        assert same(of_class["iou"].value, dices[-1] / (2 - dices[-1]))
        assert same(of_class["pixel_error"].value, np.mean((truth == index) != (predicted == index)))
        images = [
            f1_score((one == index).ravel(), (other == index).ravel(), zero_division=np.nan)
            for one, other in zip(truth, predicted, strict=True)
        ]
        overlaps = [
            jaccard_score((one == index).ravel(), (other == index).ravel())
            for one, other in zip(truth, predicted, strict=True)
            if (one == index).any() or (other == index).any()
        ]
        defined = [value for value in images if not np.isnan(value)]
        per_image.append(np.mean(defined) if defined else np.nan)
        assert same(found.measures.dice[:, index - 1].tolist(), images)
        assert same(of_class["dice_per_image"].value, per_image[-1])
        assert same(of_class["iou_per_image"].value, np.mean(overlaps) if overlaps else np.nan)
        distances = [
            surface_distances(one == index, other == index)
            for one, other in zip(truth, predicted, strict=True)
            if (one == index).any() and (other == index).any()
        ]
        kept = np.array(distances).reshape(-1, 2)
        assert same(of_class["hd95"].value, kept[:, 0].mean() if len(kept) else np.nan)
        assert same(of_class["surface_distance"].value, kept[:, 1].mean() if len(kept) else np.nan)
    known = [dice for dice in dices if not np.isnan(dice)]
    assert same(found.metrics["dice"].value, np.mean(known) if known else np.nan)
    assert same(found.metrics["dice_liver"].value, dices[0])
    assert same(found.metrics["pixel_error"].value, np.mean(truth != predicted))


def test_metrics_of_two_images_equal_hand_computed_values():
    truth, predicted = np.zeros((2, 2, 4, 4), np.uint8)
    truth[0, :2], predicted[0, 1:3] = 1, 1  # 8 pixels each, 4 in common
    truth[1, 0, 0] = 2  # missed
    found = evaluate_masks(truth, predicted, class_names=NAMES, resamples=5)
    assert found.metrics["dice_liver"].value == pytest.approx(0.5)
    assert found.metrics["iou_liver"].value == pytest.approx(1 / 3)
    assert found.metrics["dice"].value == pytest.approx(0.25)
    assert found.metrics["pixel_error"].value == pytest.approx(9 / 32)
    assert found.per_class["liver"]["hd95"].value == pytest.approx(1.0)
    tumour = found.per_class["tumour"]
    assert (tumour["support"], tumour["missed"], tumour["invented"]) == (1, 1, 0)
    assert tumour["dice_per_image"].value == 0
    assert np.isnan(tumour["hd95"].value)
    assert np.isnan(found.measures.dice[1, 0])
    assert any("'tumour' in 1 of 2 images" in warning for warning in found.warnings)


def test_intervals_draw_whole_patients():
    truth, predicted = random_masks(5, samples=12, empty=0.1)
    patients = [f"p{index // 3}" for index in range(12)]
    found = evaluate_masks(truth, predicted, class_names=NAMES, groups=patients, resamples=40, seed=3)
    drawn = []
    for weights in resample_weights(4, 40, seed=3):
        for row in weights.astype(int):
            images = np.repeat(np.arange(12), np.repeat(row, 3))
            drawn.append(f1_score((truth[images] == 1).ravel(), (predicted[images] == 1).ravel()))
    value, spread = found.metrics["dice_liver"].value, np.std(drawn, ddof=1)
    # Student's quantile of three degrees of freedom, and the correction of a variance of four patients.
    reach = 3.182446 * np.sqrt(4 / 3) * spread / (value * (1 - value))
    low, high = 1 / (1 + np.exp(-(np.log(value / (1 - value)) + np.array([-reach, reach]))))
    assert found.metrics["dice_liver"].low == pytest.approx(low, abs=1e-6)
    assert found.metrics["dice_liver"].high == pytest.approx(high, abs=1e-6)
    alone = evaluate_masks(truth, predicted, class_names=NAMES, resamples=40, seed=3)
    assert alone.metrics["dice_liver"].value == value
    assert alone.metrics["dice_liver"].low != found.metrics["dice_liver"].low


def test_intervals_of_distances_stay_within_the_image():
    truth, predicted = random_masks(8, samples=10, shape=(30, 20), empty=0.0)
    found = evaluate_masks(truth, predicted, class_names=NAMES, spacing=(2.0, 3.0), resamples=100)
    for name in ("hd95_mm", "surface_distance_mm"):
        estimate = found.metrics[name]
        assert 0 < estimate.low < estimate.value < estimate.high < np.hypot(60, 60)
    pixels = evaluate_masks(truth, predicted, class_names=NAMES, resamples=1)
    assert pixels.metrics["hd95"].value != pytest.approx(found.metrics["hd95_mm"].value)
    assert "hd95_mm" not in pixels.metrics
    assert "hd95" not in found.metrics


def test_dice_alone_is_that_of_all_metrics_without_distances():
    truth, predicted = random_masks(4, samples=12)
    split = Split(truth[..., None], truth, groups=[f"p{row // 2}" for row in range(12)])
    task = make_task("segmentation", NAMES)
    alone = task.measure_leading(split, predicted)
    assert alone == task.measure(split, predicted).metrics["dice"]
    measures = measure_masks(truth, predicted, NAMES, with_distances=False)
    assert np.isnan([measures.hausdorff, measures.surface]).all()


def test_each_image_is_measured_by_its_own_spacing():
    truth, predicted = random_masks(8, samples=4, shape=(3, 12, 10), empty=0.2)
    spacing = np.array([[5.0, 1.0, 1.0], [2.0, 0.5, 0.7], [1.0, 1.0, 1.0], [3.0, 2.0, 1.0]])
    found = evaluate_masks(truth, predicted, class_names=NAMES, spacing=spacing, resamples=1)
    for row, size in enumerate(spacing):
        alone = measure_masks(truth[row : row + 1], predicted[row : row + 1], NAMES, size)
        assert same(found.measures.hausdorff[row].tolist(), alone.hausdorff[0].tolist())
        assert same(found.measures.surface[row].tolist(), alone.surface[0].tolist())
    assert found.per_class["liver"]["hd95_mm"].value == pytest.approx(np.nanmean(found.measures.hausdorff[:, 0]))
    assert len({tuple(size) for size in spacing}) == len(spacing)


def test_a_perfect_segmentation_is_written_to_json():
    truth, _ = random_masks(2, empty=0.0)
    found = evaluate_masks(truth, truth, class_names=NAMES, resamples=20)
    content = found.to_json()
    # Six perfect images are no proof of perfection.
    assert content["dice"] == {"value": 1.0, "low": pytest.approx(0.4196, abs=1e-3), "high": 1.0}
    assert content["hd95"]["value"] == 0.0
    assert np.isnan([content["hd95"]["low"], content["hd95"]["high"]]).all()
    assert list(content)[: len(MASK_METRICS)] == list(MASK_METRICS)
    assert found.per_class_to_json()["tumour"]["dice"]["value"] == 1.0
    assert found.warnings == ("There are 6 images: intervals that rest on fewer than 10 are unreliable.",)


@pytest.mark.parametrize(
    ("answer", "reported"),
    [
        (0, "collapsed: it predicts 'background'"),
        (1, "collapsed: it predicts 'liver'"),
        (None, "never predicts 'tumour'"),
    ],
)
def test_classes_that_are_never_predicted_are_reported(answer, reported):
    truth, _ = random_masks(4, samples=12, empty=0.0)
    predicted = np.where(truth == 2, 1, truth) if answer is None else np.full_like(truth, answer)
    found = evaluate_masks(truth, predicted, class_names=NAMES, resamples=5)
    assert any(reported in warning for warning in found.warnings)
    assert sum("collapsed" in warning for warning in found.warnings) == (answer is not None)


def test_a_class_that_no_mask_holds_is_reported_and_left_out():
    truth, _ = random_masks(4, samples=12, empty=0.0)
    truth[truth == 2] = 0
    found = evaluate_masks(truth, truth, class_names=NAMES, resamples=5)
    assert np.isnan(found.metrics["dice_tumour"].value)
    assert found.metrics["dice"].value == 1.0
    assert found.warnings == ("No mask contains 'tumour': their overlap cannot be measured here.",)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda given: given | {"predicted": given["predicted"][:3]}, "as large as the truth"),
        (lambda given: given | {"predicted": given["predicted"] + 1}, "indices from 0 to 2"),
        (lambda given: given | {"predicted": given["predicted"].astype(float)}, "Take the argmax"),
        (lambda given: given | {"class_names": ("background",)}, "at least one other class"),
        (lambda given: given | {"spacing": (1.0,)}, "one size above 0"),
        (lambda given: given | {"spacing": (1.0, 0.0)}, "one size above 0"),
        (lambda given: given | {"spacing": np.ones((2, 2))}, r"each of the 6 images\. Received: \[\[1"),
    ],
)
def test_masks_that_do_not_match_are_refused(change, rule):
    truth, predicted = random_masks(1, empty=0.0)
    with pytest.raises(InputError, match=rule):
        measure_masks(**change({"truth": truth, "predicted": predicted, "class_names": NAMES}))
