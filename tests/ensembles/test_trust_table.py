"""The benchmark that tabulates cross-validations beside their ensembles."""

import math
from pathlib import Path

import pytest

from benchmarks.trust import find_folds, find_gains, name_protocol, tabulate
from keras_lnn.errors import InputError
from keras_lnn.files.atomic import file_digest

ERROR = {"expected_calibration_error": {"value": 0.1, "low": 0.05, "high": 0.15}}
FOLDS = {"model": "cnn", "data": "breastmnist", "mean": {"auc": {"value": 0.9, "low": 0.8, "high": 0.95}}}
FOLDS |= {"pooled": ERROR, "before_calibration": {"expected_calibration_error": {"value": 0.2}}}


def estimate(value, low=None, high=None):
    return {"value": value, "low": low, "high": high}


def ensemble(gain=0.02, coverage=0.95):
    mean = {"estimate": estimate(0.9), "difference": estimate(gain, gain - 0.01, gain + 0.01)}
    test = {"auc": estimate(0.92, 0.9, 0.94), "accuracy": estimate(0.8, 0.7, 0.9)}
    sets = {"coverage_of": {"malignant": estimate(0.85, 0.7, 0.9), "benign": estimate(0.97)}}
    sets |= {"coverage": estimate(coverage, coverage - 0.03, coverage + 0.03), "mean_size": estimate(1.2, 1.1, 1.3)}
    return {
        "members": [{"model": "cnn"}] * 3,
        "data": "breastmnist",
        "positive_class": "malignant",
        "gain": {"mean": mean},
        "test": test | {"expected_calibration_error": estimate(0.11), "log_loss": estimate(0.3, 0.2, 0.4)},
        "uncalibrated": {"expected_calibration_error": estimate(0.05), "log_loss": estimate(0.4, 0.2, 0.6)},
        "sets": {"coverage": 0.9, "test": sets},
    }


def test_a_row_has_the_folds_the_ensemble_and_its_sets():
    row = tabulate(FOLDS, "cnn, mirrored in predicting", ensemble())
    assert (row["model"], row["members"], row["AUC over the folds low"]) == ("cnn, mirrored in predicting", 3, 0.8)
    assert (row["calibration error in the folds, before"], row["calibration error in the folds, after high"]) == (
        0.2,
        0.15,
    )
    assert (row["gain in AUC"], row["gain in AUC low"]) == (0.02, 0.01)
    assert (row["calibration error without calibration"], row["calibration error"]) == (0.05, 0.11)
    assert (row["log loss without calibration high"], row["log loss low"]) == (0.6, 0.2)
    assert (row["coverage of sets"], row["classes in a set high"]) == (0.95, 1.3)
    assert row["coverage, positive class low"] == 0.7
    bare = ensemble() | {"uncalibrated": {}}
    del bare["sets"]
    row = tabulate(FOLDS, "cnn", bare)
    assert row["model"] == "cnn"
    assert math.isnan(row["coverage of sets"])
    assert math.isnan(row["calibration error without calibration"])


def test_findings_name_the_models_that_the_intervals_show():
    found = find_gains([tabulate(FOLDS, "cnn", ensemble()), tabulate(FOLDS, "lnn", ensemble(gain=0.0, coverage=0.85))])
    assert "by an interval that excludes 0, for `cnn`." in found
    assert "than without it for `cnn`, `lnn`." in found
    assert "reaches the promised 0.9 for `cnn`." in found


def test_an_ensemble_finds_its_cross_validation_by_the_models(tmp_path):
    folds = []
    for name, augmentation in (("plain", "none"), ("flipped", "mirror")):
        for fold in ("fold-1", "fold-2"):
            folder = tmp_path / name / fold
            folder.mkdir(parents=True)
            (folder / "best.keras").write_text(f"{name} {fold}")
            (folder / "config.yaml").write_text(f"model: cnn\ndata: breastmnist\naugmentation: {augmentation}\n")
        folds.append((tmp_path / name, FOLDS))
    digests = [file_digest(path) for path in (tmp_path / "flipped").glob("*/best.keras")]
    joined = ensemble() | {"members": [{"model": "cnn", "digest": digest} for digest in digests]}
    assert find_folds(Path("joined"), joined, folds) == folds[1]
    assert name_protocol(folds[0][0], False) == "cnn"
    assert name_protocol(folds[1][0], True) == "cnn, mirrored in training and predicting"
    for others in (folds[:1], folds[1:] * 2):
        with pytest.raises(InputError, match=r"joined, which fits [02] of them"):
            find_folds(Path("joined"), joined, others)
