"""The tables of metrics: an entry is measured, reported for each class, shown by its label and compared."""

import numpy as np
import pytest
from run_samples import binary_probabilities, make_truth, write_breast_runs

from keras_lnn.comparing.measuring import measure_model
from keras_lnn.comparing.runs import load_runs
from keras_lnn.evaluation.masks import evaluate_masks
from keras_lnn.evaluation.metrics import (
    MASK_METRICS,
    METRICS,
    ClassMetric,
    MaskMetric,
    is_lower_better,
    list_compared_metrics,
    list_tested_metrics,
    metric_label,
)
from keras_lnn.evaluation.predictions import evaluate_predictions
from keras_lnn.saved.card import shown_metrics
from keras_lnn.tasks.thresholds import TUNED

NEGATIVES = ClassMetric(
    label="negative predictive value",
    of_class=lambda scored, k: scored.share(~scored.predictions.positive[:, k], ~scored.decided[:, k]),
    of_decisions=True,
)


def test_a_new_metric_is_measured_labelled_and_compared(monkeypatch, tmp_path):
    monkeypatch.setitem(METRICS, "npv", NEGATIVES)
    truth = make_truth()
    probabilities = binary_probabilities(truth, 1.0, 0)
    names = ("malignant", "normal, benign")
    found = evaluate_predictions(truth, probabilities, task="binary", class_names=names, thresholds=(0.6, 0.4))
    for name, level in (("npv", 0.5), (f"npv{TUNED}", 0.4)):
        rejected = probabilities[:, 1] <= level
        assert found.metrics[name].value == pytest.approx((truth[rejected] == 0).mean())
        assert found.metrics[name].low < found.metrics[name].value < found.metrics[name].high
    assert found.per_class["malignant"]["npv"].value == pytest.approx((truth[probabilities[:, 1] > 0.5] == 1).mean())
    labels = shown_metrics({"task": "binary", "test": found.to_json()}, "test")
    assert labels["npv"] == "negative predictive value"
    assert labels[f"npv{TUNED}"] == "negative predictive value at the threshold"
    runs = load_runs([write_breast_runs(tmp_path / "runs", {"lnn": 1.0})])
    overall, _ = measure_model(runs)
    assert 0 < overall["npv"].mean < 1
    assert list_tested_metrics(METRICS)[-1] == f"npv{TUNED}"


def test_a_new_segmentation_metric_is_measured_and_labelled(monkeypatch):
    missed = MaskMetric(
        label="missed pixels",
        of_class=lambda counts: (counts.truth - counts.common) / counts.truth,
        shown_by_class=True,
        lower_is_better=True,
    )
    monkeypatch.setitem(MASK_METRICS, "missed_pixels", missed)
    generator = np.random.default_rng(0)
    truth, predicted = (generator.integers(0, 3, (6, 8, 8), dtype=np.uint8) for _ in range(2))
    found = evaluate_masks(truth, predicted, class_names=("background", "liver", "lesion"), resamples=50)
    shares = [float(((truth == k) & (predicted != k)).sum() / (truth == k).sum()) for k in (1, 2)]
    assert found.metrics["missed_pixels"].value == pytest.approx(np.mean(shares))
    assert found.per_class["lesion"]["missed_pixels"].value == pytest.approx(shares[1])
    assert found.metrics["missed_pixels_liver"].value == pytest.approx(shares[0])
    assert metric_label("missed_pixels") == "missed pixels"
    assert is_lower_better("missed_pixels")


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("auc", "AUC"),
        ("f1_tuned", "F1 at the threshold"),
        ("dice_liver", "Dice liver"),
        ("iou_left_lung", "IoU left_lung"),
        ("hd95", "Hausdorff distance, 95th percentile (pixels)"),
        ("surface_distance_mm", "mean surface distance (mm)"),
        ("dice_per_image", "Dice, mean over images"),
        ("parameters_learned", "parameters learned"),
    ],
)
def test_metric_labels_are_readable(name, label):
    assert metric_label(name) == label


def test_metrics_know_whether_they_are_compared_and_which_way_is_better():
    assert list_compared_metrics(MASK_METRICS) == ("dice", "iou", "dice_per_image")
    assert list_tested_metrics(MASK_METRICS) == ("dice", "iou")
    assert set(METRICS) - set(list_compared_metrics(METRICS)) == {"log_loss", "expected_calibration_error"}
    assert [name for name in METRICS if not METRICS[name].tested] == ["f1_macro", "precision", "log_loss"]
    assert [name for name in ("auc", "brier", "hd95_mm", "accuracy_tuned", "dice_liver") if is_lower_better(name)] == [
        "brier",
        "hd95_mm",
    ]
