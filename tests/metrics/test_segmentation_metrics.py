"""Segmentation metrics against plain NumPy, with classes that images lack."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_metrics import SegmentationMetrics

NAMES = ("background", "liver", "tumour")
OVERLAPS = [f"{base}{how}" for base in ("dice", "iou") for how in ("", "_per_image")]
RESULTS = ["accuracy", "pixel_error", "class_error", "class_error_per_class"]
RESULTS += [f"{result}{per_class}" for result in OVERLAPS for per_class in ("", "_per_class")]


def draw(images, shape, classes, seed):
    """Returns true and predicted masks; some images lack classes in one of the two, or in both."""
    generator = np.random.default_rng(seed)
    truth, predicted = generator.integers(0, classes, (2, images, *shape))
    for masks in (truth, predicted):
        for mask in masks:
            mask[mask >= generator.integers(1, classes + 1)] = 0
    noise = generator.normal(0, 0.2, (*predicted.shape, classes))
    return truth, predicted, (np.eye(classes)[predicted] + np.clip(noise, -0.4, 0.4)).astype(np.float32)


def overlap(base, truth, predicted, label):
    here, there = truth == label, predicted == label
    common, both = (here & there).sum(), here.sum() + there.sum()
    if not both:
        return np.nan
    return 2 * common / both if base == "dice" else common / (both - common)


def mean(values):
    counted = [value for value in values if not np.isnan(value)]
    return np.mean(counted) if counted else np.nan


def expected(truth, predicted, labels, names):
    found = {"accuracy": (truth == predicted).mean(), "pixel_error": (truth != predicted).mean()}
    wrong = {label: ((truth == label) != (predicted == label)).mean() for label in labels}
    found["class_error"] = mean(wrong.values())
    found |= {f"class_error_{names[label]}": wrong[label] for label in labels}
    for base in ("dice", "iou"):
        of_all = {label: overlap(base, truth, predicted, label) for label in labels}
        of_each = {
            label: mean([overlap(base, one, answer, label) for one, answer in zip(truth, predicted, strict=True)])
            for label in labels
        }
        for result, values in ((base, of_all), (f"{base}_per_image", of_each)):
            found[result] = mean(values.values())
            found |= {f"{result}_{names[label]}": values[label] for label in labels}
    return found


def assert_equal(metric, wanted):
    found = {name: float(value) for name, value in metric.result().items()}
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, abs=2e-6, nan_ok=True), name


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    images=st.integers(1, 9),
    parts=st.integers(1, 3),
    shape=st.sampled_from([(3, 2), (6, 5), (2, 3, 4)]),
    background=st.sampled_from([0, None, 2]),
)
def test_results_equal_those_of_numpy(seed, images, parts, shape, background):
    truth, predicted, logits = draw(images, shape, 3, seed)
    metric = SegmentationMetrics(RESULTS, class_names=NAMES, background=background)
    for part in np.array_split(np.arange(images), min(parts, images)):
        metric.update_state(truth[part].astype(np.uint8), logits[part])
    labels = [label for label in range(3) if label != background]
    assert_equal(metric, expected(truth, predicted, labels, NAMES))


def test_an_absent_class_is_left_out_of_the_mean():
    truth, answer = np.zeros((2, 2, 2), int), np.zeros((2, 2, 2), int)
    truth[0, 0, 0] = 1
    answer[0, 0, 0] = 1
    metric = SegmentationMetrics(RESULTS, class_names=NAMES)
    metric.update_state(truth, np.eye(3)[answer])
    found = {name: float(value) for name, value in metric.result().items()}
    # The second image has no liver and no tumour in either, and none has a tumour.
    for name in ("dice", "dice_per_image", "iou_liver", "dice_per_image_liver"):
        assert found[name] == 1.0
    assert np.isnan(found["dice_tumour"])
    assert np.isnan(found["iou_per_image_tumour"])
    # A tumour where there is none is wrong, in that image alone.
    answer[1, 0, 0] = 2
    metric.update_state(truth, np.eye(3)[answer])
    found = {name: float(value) for name, value in metric.result().items()}
    assert (found["dice_tumour"], found["dice_per_image_tumour"], found["dice_liver"]) == (0.0, 0.0, 1.0)


def test_the_mean_over_no_class_is_nan():
    metric = SegmentationMetrics(["dice", "iou_per_image", "accuracy"])
    metric.update_state(np.zeros((1, 2, 2), int), np.eye(3)[np.zeros((1, 2, 2), int)])
    found = {name: float(value) for name, value in metric.result().items()}
    assert np.isnan(found["dice"])
    assert np.isnan(found["iou_per_image"])
    assert found["accuracy"] == 1.0


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="graphs and XLA programs of TensorFlow")
@pytest.mark.parametrize("jit_compile", [False, True])
def test_results_are_equal_in_graphs_and_under_xla(jit_compile):
    import tensorflow as tf

    truth, predicted, logits = draw(6, (5, 4), 3, 3)
    metric = SegmentationMetrics(RESULTS, class_names=NAMES)
    metric.build(3)
    signature = [tf.TensorSpec((None, 5, 4), tf.int64), tf.TensorSpec((None, 5, 4, 3), tf.float32)]
    update = tf.function(metric.update_state, input_signature=signature, jit_compile=jit_compile)
    update(truth[:4], logits[:4])
    update(truth[4:], logits[4:])
    assert_equal(metric, expected(truth, predicted, [1, 2], NAMES))


NAN = float("nan")
UNUSABLE = {
    "a prediction that is NaN": ("logits", NAN, r"Predictions must be numbers\. Received: \["),
    "a class that does not exist": ("truth", 3, r"Masks must hold classes from 0 to 2\. Received: \["),
    "a negative class": ("truth", -1, "Masks must hold classes from 0 to 2"),
    "a negative weight": ("weights", -1.0, r"Weights of images .* Received: \[-1\.0\], the first of 1 such of 4\."),
    "a weight that is NaN": ("weights", NAN, "Weights of images must be finite"),
}


def spoil(case):
    truth, _, logits = draw(4, (5, 4), 3, 4)
    batch = {"truth": truth, "logits": logits, "weights": np.ones(4, np.float32)}
    name, value, message = UNUSABLE[case]
    batch[name][2:3, ...].flat[0] = value
    return batch, message


@pytest.mark.parametrize("case", UNUSABLE)
def test_invalid_inputs_raise_an_error(case):
    batch, message = spoil(case)
    with pytest.raises(ValueError, match=message):
        SegmentationMetrics(RESULTS).update_state(*batch.values())


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="graphs and XLA programs of TensorFlow")
@pytest.mark.parametrize(
    ("case", "jit_compile"),
    [
        ("a class that does not exist", False),
        ("a weight that is NaN", True),
        *(
            pytest.param(case, index % 2 == 0, marks=pytest.mark.slow)
            for index, case in enumerate(UNUSABLE)
            if case not in ("a class that does not exist", "a weight that is NaN")
        ),
    ],
)
def test_invalid_inputs_make_all_results_nan_in_graphs(case, jit_compile):
    import tensorflow as tf

    batch, _ = spoil(case)
    metric = SegmentationMetrics(RESULTS)
    tf.function(metric.update_state, jit_compile=jit_compile)(*batch.values())
    assert all(np.isnan(float(value)) for value in metric.result().values())
    metric.reset_state()
    truth, _, logits = draw(4, (5, 4), 3, 4)
    metric.update_state(truth, logits)
    assert 0 < float(metric.result()["accuracy"]) < 1


def test_masks_that_are_not_one_hot_are_an_error():
    truth, _, logits = draw(2, (5, 4), 3, 6)
    one_hot = np.eye(3)[truth]
    one_hot[1, 0, 0] = 1
    with pytest.raises(ValueError, match=r"Masks must hold classes .*, the first of 1 such of 2\."):
        SegmentationMetrics(RESULTS).update_state(one_hot, logits)


def test_images_of_weight_zero_are_ignored():
    truth, _, logits = draw(4, (5, 4), 3, 5)
    some, all_of_them = (SegmentationMetrics(RESULTS) for _ in range(2))
    some.update_state(truth[:2], logits[:2])
    truth[2], logits[3] = 255, np.nan
    all_of_them.update_state(truth, logits, sample_weight=[1, 1, 0, 0])
    assert_equal(all_of_them, {name: float(value) for name, value in some.result().items()})


def test_results_before_the_first_update_equal_those_after_a_reset():
    metric = SegmentationMetrics(RESULTS, class_names=NAMES)
    before = {name: float(value) for name, value in metric.result().items()}
    assert all(np.isnan(value) == name.startswith(("dice", "iou")) for name, value in before.items())
    assert before["accuracy"] == before["pixel_error"] == 0.0
    metric.update_state(np.zeros((1, 2, 2), int), np.eye(3)[np.zeros((1, 2, 2), int)])
    metric.reset_state()
    assert_equal(metric, before)
    unknown = SegmentationMetrics(RESULTS, background=2).result()
    assert set(unknown) == {name for name in RESULTS if "per_class" not in name}


def test_weights_count_as_repeats():
    truth, _, logits = draw(4, (5, 4), 3, 5)
    weighted, repeated = (SegmentationMetrics(RESULTS) for _ in range(2))
    weighted.update_state(truth, logits, sample_weight=np.array([3, 0, 1, 2]))
    rows = [0, 0, 0, 2, 3, 3]
    repeated.update_state(truth[rows], logits[rows])
    assert_equal(weighted, {name: float(value) for name, value in repeated.result().items()})


def test_targets_may_be_one_hot_or_have_an_axis_of_one():
    truth, predicted, logits = draw(4, (5, 4), 3, 6)
    for target in (truth[..., None], np.eye(3, dtype=np.uint8)[truth]):
        metric = SegmentationMetrics(RESULTS, class_names=NAMES)
        metric.update_state(target, logits)
        assert_equal(metric, expected(truth, predicted, [1, 2], NAMES))
    metric.reset_state()
    assert float(metric.result()["accuracy"]) == 0.0


def test_counts_too_large_for_float32_are_exact():
    metric = SegmentationMetrics(["pixel_error"])
    metric.build(2)
    right = np.zeros((1, 1000, 1000), np.uint8)
    logits = np.eye(2, dtype=np.float32)[right]
    for _ in range(17):  # over 2 ** 24
        metric.update_state(right, logits)
    one = right[:, :1, :1]
    for _ in range(30):
        metric.update_state(one + 1, logits[:, :1, :1])
    assert float(metric.result()["pixel_error"]) == pytest.approx(30 / 17_000_030, rel=1e-3)


def test_all_arguments_are_saved_and_loaded():
    metric = SegmentationMetrics(["dice_per_class"], background=1, class_names=NAMES, name="masks")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert again.get_config() == metric.get_config()
    truth, _, logits = draw(4, (5, 4), 3, 7)
    again.update_state(truth, logits)
    assert list(again.result()) == ["dice_background", "dice_tumour"]


@pytest.mark.parametrize("result", ["f1", "accuracy_per_class", "class_error_per_image", "dice_macro", "_per_class"])
def test_an_unknown_result_is_reported(result):
    with pytest.raises(ValueError, match=f"results must be of accuracy.* Received: '{result}'"):
        SegmentationMetrics([result])


def test_arguments_that_do_not_fit_are_reported():
    truth, _, logits = draw(2, (5, 4), 3, 8)
    with pytest.raises(ValueError, match=r"class_names must have one name per class, 3 in all\. Received: 2"):
        SegmentationMetrics(class_names=("a", "b")).update_state(truth, logits)
    with pytest.raises(ValueError, match=r"background must be a class from 0 to 2\. Received: 3"):
        SegmentationMetrics(background=3).update_state(truth, logits)
    with pytest.raises(ValueError, match=r"sample_weight must have one weight per image\. Received: shape \(2, 5, 4\)"):
        SegmentationMetrics().update_state(truth, logits, sample_weight=np.ones((2, 5, 4)))
