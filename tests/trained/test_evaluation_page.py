"""The page of an evaluation: what it shows, what it links, and that it replaces nothing but its own files."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from quick_predictors import make_signature
from scipy.special import expit

from keras_lnn.data.arrays import Split
from keras_lnn.data.sources.subgroups import Subgroups
from keras_lnn.errors import InputError
from keras_lnn.files.atomic import without_nan
from keras_lnn.trained.evaluation_page import Evaluated, write_evaluation
from keras_lnn.trained.subgroups import measure_subgroups
from keras_lnn.training.promised import measure_promised
from keras_lnn.training.report import measure_split, metrics_of_split

HOSTILE = "<b>yes</b>"


def evaluate():
    signature = make_signature(model="cnn", task="binary", class_names=("no", HOSTILE), thresholds=(0.6, 0.4))
    generator = np.random.default_rng(5)
    labels = np.arange(60) % 2
    scores = expit(2 * labels - 1 + generator.standard_normal(60))
    predicted = np.stack([1 - scores, scores], axis=1)
    split = Split(np.zeros((60, 4, 4, 1), np.uint8), labels, names=[f"{row}.png" for row in range(60)])
    found = measure_split(split, predicted, signature)
    metrics = metrics_of_split(found, signature, "all") | measure_promised({"all": (split, predicted)}, signature)
    metrics |= {"model": "mine", "data": "folder:/secret/theirs", "split": "all", "left_out_training_images": 7}
    metrics |= {"new_images": 0, "missing_images": 0, "warnings": ["Few images."]}
    groups = [Subgroups("hand", ("left", "right"), np.arange(60) // 30)]
    metrics["subgroups"] = without_nan(measure_subgroups(split, predicted, signature, groups))
    return Evaluated(signature, split, predicted, found, metrics)


def test_a_page_shows_what_was_measured_and_replaces_only_its_own_files(tmp_path):
    evaluated = evaluate()
    written = write_evaluation(evaluated, "mine on all images", tmp_path / "out")
    assert list(written) == ["page", "predictions", "subgroups"]
    page = written["page"].read_text()
    assert HOSTILE not in page
    assert "/secret" not in page
    assert "7 images were left out, because the model was trained or chosen by them." in page
    assert "Few images." in page
    assert 'id="subgroups"' in page
    assert 'id="corruptions"' not in page
    files = re.findall(r'<dt><a href="([^"]+)"', page)
    assert {path.name for path in (tmp_path / "out").iterdir()} - {".keras-lnn-written", "subgroups.png"} == set(files)
    table = pd.read_csv(written["predictions"])
    assert len(table) == 60
    np.testing.assert_allclose(table[f"probability {HOSTILE}"], evaluated.predicted[:, 1], atol=1e-5)
    kept = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert kept["all"]["auc"] == evaluated.metrics["all"]["auc"]
    written["predictions"].write_text("corrected by hand")
    with pytest.raises(InputError, match=r"evaluation_predictions\.csv"):
        write_evaluation(evaluated, "mine on all images", tmp_path / "out")
    assert written["predictions"].read_text() == "corrected by hand"
