"""Cross-validation of segmentations: what is pooled are the measures of each image, as a run measures its own."""

import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from mask_run_samples import NAMES, answer, make_truth, write_mask_fold
from rich.console import Console

from keras_lnn.comparing.mask_runs import read_mask_run
from keras_lnn.config import TrainConfig
from keras_lnn.evaluation.cautions import Basis
from keras_lnn.evaluation.mask_overlaps import measure_masks
from keras_lnn.evaluation.masks import evaluate_masks, evaluate_measures
from keras_lnn.fields.options import FoldOptions
from keras_lnn.folds.layout import begin_folder, lay_out_folds
from keras_lnn.folds.results import read_folds, write_folds
from keras_lnn.saved.results import describe_metric

SIZE, SPACING = 8, (0.5, 2.0)


def fold_masks(place):
    """Returns the masks of a fold, what its model predicts, and the patient of each image."""
    truth = make_truth(SIZE, seed=place)
    return truth, answer(truth, 0.1 + 0.1 * place, place), [f"p{place}-{row % 4}" for row in range(SIZE)]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Returns the folder of three complete folds, and what was written of them."""
    folder = tmp_path_factory.mktemp("folds") / "unet"
    config, options = TrainConfig(model="unet", data="phantom-liver", epochs=2, run_dir=folder), FoldOptions(folds=3)
    runs = lay_out_folds(config, options)
    folder.mkdir()
    begin_folder(folder, config, options)
    for place, run in enumerate(runs):
        write_mask_fold(run.folder, *fold_masks(place)[:2], place, spacing=SPACING)
    return folder, runs, write_folds(folder, runs, Console(quiet=True))


def test_all_images_are_measured_as_one_set_with_intervals_by_patient(done):
    _, _, found = done
    truth, predicted = (np.concatenate([fold_masks(place)[part] for place in range(3)]) for part in (0, 1))
    groups = [patient for place in range(3) for patient in fold_masks(place)[2]]
    expected = evaluate_masks(truth, predicted, class_names=NAMES, groups=groups, spacing=SPACING)
    assert found["pooled"].keys() == expected.metrics.keys()
    for name, estimate in expected.metrics.items():
        assert list(found["pooled"][name].values()) == pytest.approx(list(estimate.to_json().values())), name
    assert found["per_class"]["pooled"]["liver"]["missed"] == expected.per_class["liver"]["missed"]
    assert found["intervals_over"]["pooled"] == {"unit": "patients", "count": 12, "images": 24, "samples": "images"}
    assert found["classes"] == list(NAMES)


def test_means_over_folds_are_those_of_the_runs(done):
    folder, runs, found = done
    dice = [json.loads((run.folder / "metrics.json").read_text())["test"]["dice"]["value"] for run in runs]
    assert found["mean"]["dice"]["value"] == pytest.approx(np.mean(dice))
    assert pd.read_csv(folder / "folds.csv")["dice"].tolist() == pytest.approx(dice)
    # Distances are in millimetres, of which an interval can hold more than one.
    assert found["mean"]["hd95_mm"]["high"] > found["mean"]["hd95_mm"]["value"] > 1
    longest = read_folds(runs)[0].read.highest["hd95_mm"]
    assert longest == pytest.approx(np.hypot(12 * 0.5, 12 * 2.0))
    assert found["mean"]["hd95_mm"]["high"] <= longest


def test_predictions_have_a_row_per_image_with_its_scores_and_its_fold(done):
    folder, _, _ = done
    table = pd.read_csv(folder / "predictions.csv")
    assert table["fold"].tolist() == np.repeat([1, 2, 3], SIZE).tolist()
    assert table["file"].is_unique
    truth, predicted, _ = fold_masks(1)
    measures = measure_masks(truth, predicted, NAMES, SPACING)
    of_fold = table[table["fold"] == 2]
    for column, values in (("dice liver", measures.dice[:, 0]), ("hd95_mm tumour", measures.hausdorff[:, 1])):
        np.testing.assert_allclose(of_fold[column], values)


def test_the_page_shows_masks_and_not_probabilities(done):
    folder, _, found = done
    page = (folder / "folds.html").read_text()
    chosen = "the next fold chose the epoch, and the others trained"
    for text in (
        "unet on phantom-liver, 3 folds",
        "Nadeau and Bengio",
        "fold-2/report.html",
        "surface distance",
        chosen,
    ):
        assert text in page
    for text in ("AUC", "probabilities", "thresholds", "oubtful"):
        assert text not in re.sub(r"data:[^\"]*", "", page)
    dice = json.loads((folder / "fold-1" / "metrics.json").read_text())["test"]["iou"]["value"]
    assert f">{describe_metric(dice)}<" in page
    assert {path.stem for path in (folder / "plots").iterdir()} == {"dice", "spread"}
    assert not (folder / "doubtful_labels.csv").exists()
    assert json.loads((folder / "folds.json").read_text()) == found


def test_repeats_are_means_over_the_same_images_and_count_no_image_twice(done):
    _, runs, _ = done
    measures = read_mask_run(runs[0].folder).measures
    order = np.arange(SIZE)[::-1]
    names = [f"{row}.png" for row in range(SIZE)]
    truth, predicted, _ = fold_masks(2)
    other = measure_masks(truth, predicted, NAMES, SPACING)
    basis = Basis.of(SIZE, None)
    once = evaluate_measures([measures], [names], background="background", basis=basis)
    turned = measure_masks(*(part[order] for part in fold_masks(0)[:2]), NAMES, SPACING)
    same = evaluate_measures(
        [measures, turned], [names, [names[row] for row in order]], background="background", basis=basis
    )
    for name, estimate in once.metrics.items():
        assert list(same.metrics[name].to_json().values()) == pytest.approx(list(estimate.to_json().values())), name
    assert same.per_class["tumour"]["support"] == once.per_class["tumour"]["support"]
    both = evaluate_measures([measures, other], [names, names], background="background", basis=basis)
    alone = evaluate_measures([other], [names], background="background", basis=basis)
    assert both.metrics["dice"].value == pytest.approx((once.metrics["dice"].value + alone.metrics["dice"].value) / 2)


@pytest.mark.slow
def test_folds_of_masks_and_their_ensemble_end_to_end(tmp_path):
    def run(*arguments):
        command = [sys.executable, "-m", "keras_lnn", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    folder = tmp_path / "folds"
    options = ("--epochs", 1, "--size", 32, "--model-args", "width=2,depth=1", "--no-explanations", "--no-tensorboard")
    text = run("train", "--model", "unet", "--data", "phantom-liver", "--folds", 3, *options, "--run-dir", folder)
    assert "380 images of 38 patients, who are not divided: 3 folds" in text
    table = pd.read_csv(folder / "predictions.csv")
    assert len(table) == 380
    assert table["file"].is_unique
    assert (table.groupby("patient")["fold"].nunique() == 1).all()
    found = json.loads((folder / "folds.json").read_text())
    assert found["intervals_over"]["pooled"]["count"] == 38
    run("ensemble", folder, "--output", tmp_path / "ensemble")
    measured = json.loads(run("evaluate", tmp_path / "ensemble", "--json"))
    assert measured["test"]["dice"]["value"] is not None
