"""Studies with folds of segmentations: means over folds, all images together, and networks on the same folds."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from mask_run_samples import NAMES, answer, make_truth, write_mask_fold
from rich.console import Console

from keras_lnn.evaluation.masks import evaluate_masks
from keras_lnn.statistics.folds import mean_over_folds
from keras_lnn.statistics.paired_tests import compare_resampled
from keras_lnn.studies.declaration import Study, lay_out
from keras_lnn.studies.output import write_results

SIZE = 8
WRONG = {"unet": 0.1, "wide": 0.3}
RATIO = 0.5


def fold_masks(network, place):
    truth = make_truth(SIZE, seed=place)
    return truth, answer(truth, WRONG[network] + 0.05 * place, place)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Returns the folder of a finished study of two networks, and its table of results."""
    folder = tmp_path_factory.mktemp("folded")
    networks = {"unet": {}, "wide": {"model": "unet", "model_args": {"width": 32}}}
    study = Study(title="Masks", data=["phantom-liver"], folds=3, reference="unet", networks=networks)
    runs = lay_out(study, folder)
    for run in runs:
        place = int(run.config.fold[0]) - 1
        own = {"model_args": run.config.model_args}
        write_mask_fold(run.folder, *fold_masks(run.network, place), place, **own)
    write_results(folder, study, runs, {}, Console(quiet=True))
    return folder, pd.read_csv(folder / "results.csv")


def test_dice_is_a_mean_over_folds_and_is_measured_of_all_images(done):
    folder, results = done
    summary = pd.read_csv(folder / "summary.csv").set_index("network")
    pooled = pd.read_csv(folder / "pooled.csv").set_index(["network", "metric"])
    for network, rows in results.groupby("network"):
        expected, found = mean_over_folds(rows["dice"].to_numpy(), RATIO), summary.loc[network]
        assert (found["dice_mean"], found["dice_low"], found["dice_high"]) == pytest.approx(
            (expected.value, expected.low, expected.high)
        )
        truth, predicted = (np.concatenate([fold_masks(network, place)[part] for place in range(3)]) for part in (0, 1))
        patients = [f"{place}-{row % 4}" for place in range(3) for row in range(SIZE)]
        of_all = evaluate_masks(truth, predicted, class_names=NAMES, groups=patients).metrics["dice"]
        row = pooled.loc[network, "dice"]
        assert (row["value"], row["low"], row["high"]) == pytest.approx((of_all.value, of_all.low, of_all.high))
        assert (row["intervals_over"], row["count"]) == ("patients", 12)
        assert found["dice_pooled"] == pytest.approx(of_all.value)


def test_networks_of_masks_are_compared_on_the_same_folds(done):
    folder, results = done
    values = results.pivot(index="fold", columns="network", values="dice")
    expected = compare_resampled((values["wide"] - values["unet"]).to_numpy(), RATIO)
    row = pd.read_csv(folder / "differences.csv").query("metric == 'dice'").iloc[0]
    assert (row["network"], row["reference"], row["test"]) == ("wide", "unet", "corrected resampled t")
    assert (row["difference"], row["low"], row["p"]) == pytest.approx((expected.value, expected.low, expected.p))
    assert set(pd.read_csv(folder / "pairs.csv")["metric"]) == {"dice", "iou"}


def test_tables_and_page_of_masks_do_not_speak_of_probabilities(done):
    folder, _ = done
    page, text = (folder / "study.html").read_text(), (folder / "table.txt").read_text()
    for shown in ("Means over the folds", "all predictions", "Dice"):
        assert shown in page
        assert shown in text
    assert "AUC" not in text
    assert "probabilities" not in text
    assert {path.stem for path in (folder / "plots").iterdir()} == {"phantom-liver-size", "phantom-liver-folds"}


SMALL = """
title: Small U-Nets on all scans
data: [phantom-liver]
folds: 3
protocols:
  short: {epochs: 1, size: 32}
networks:
  unet: {model_args: {width: 2, depth: 1}}
  wide: {model: unet, model_args: {width: 4, depth: 1}}
"""


@pytest.mark.slow
def test_a_study_with_folds_of_masks_end_to_end(tmp_path):
    (tmp_path / "small.yaml").write_text(SMALL)
    command = [sys.executable, "-m", "keras_lnn", "study", "small.yaml", "--study-dir", "study"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "380 images of 38 patients, who are not divided: 3 folds" in ended.stdout
    assert (pd.read_csv(tmp_path / "study" / "results.csv")["status"] == "done").all()
    pooled = pd.read_csv(tmp_path / "study" / "pooled.csv")
    assert {"dice", "iou"} <= set(pooled["metric"])
    assert set(pooled["count"]) == {38}
    one = tmp_path / "study" / "phantom-liver" / "wide" / "repeat-1" / "fold-2"
    assert json.loads((one / "metrics.json").read_text())["task"] == "segmentation"
