"""Subgroups of segmentations: metrics of the images of each group alone, and tests of their differences."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mask_run_samples import NAMES, answer, make_truth, signature

from keras_lnn.cli import main as program
from keras_lnn.cli.parsing import run_main
from keras_lnn.data.arrays import Split
from keras_lnn.data.sources.subgroups import Subgroups
from keras_lnn.evaluation.mask_overlaps import measure_masks
from keras_lnn.evaluation.masks import GroupedMeasures, evaluate_masks, measure_with_deviations
from keras_lnn.evaluation.subgroups import compare_with_others
from keras_lnn.statistics import Estimate
from keras_lnn.statistics.deviations import jackknife_deviations
from keras_lnn.statistics.measurements import Measurement
from keras_lnn.statistics.paired_tests import holm
from keras_lnn.trained.measured_words import describe_subgroups
from keras_lnn.trained.subgroups import measure_subgroups, write_subgroups

SAMPLES = 60


@pytest.fixture(scope="module")
def drawn():
    """Returns images of 30 patients, and masks that are worse in the second half of them."""
    truth = make_truth(SAMPLES)
    noise = np.where(np.arange(SAMPLES) < 30, 0.05, 0.3)[:, None, None]
    groups = [f"p{row // 2}" for row in range(SAMPLES)]
    return Split(np.zeros((*truth.shape, 1), np.uint8), truth, groups=groups), answer(truth, noise, 1)


@pytest.fixture(scope="module")
def rows(drawn):
    scanner = Subgroups("scanner", ("old", "new"), (np.arange(SAMPLES) >= 30).astype(int))
    places = np.arange(SAMPLES) // 2 % 3
    places[:8] = -1
    hospital = Subgroups("hospital", ("A", "B", "few"), np.where((places == 2) & (np.arange(SAMPLES) > 30), -1, places))
    return measure_subgroups(*drawn, signature(), [scanner, hospital])


def rows_of(rows, **wanted):
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def test_metrics_of_a_group_are_those_of_its_images_alone(drawn, rows):
    split, predicted = drawn
    parts = [slice(0, 30), slice(30, None)]
    alone = [
        evaluate_masks(split.labels[part], predicted[part], class_names=NAMES, groups=split.groups[part])
        for part in parts
    ]
    for name, estimate in alone[0].metrics.items():
        (row,) = rows_of(rows, group="old", metric=name)
        ends = [row[end] for end in ("value", "low", "high")]
        assert ends == pytest.approx(list(estimate.to_json().values()), nan_ok=True), name
        assert row["difference"] == pytest.approx(estimate.value - alone[1].metrics[name].value)
    assert (row["samples"], row["patients"]) == (30, 15)


def test_differences_are_tested_and_corrected_for_all_groups(rows):
    old, new = rows_of(rows, column="scanner", metric="dice")
    assert old["difference"] == pytest.approx(-new["difference"])
    assert old["p"] == pytest.approx(new["p"])
    assert 0 < old["difference_low"] < old["difference"] < old["difference_high"]
    tested = [row["p"] for row in rows_of(rows, column="hospital", metric="dice")]
    assert len(tested) == 2
    expected = holm([old["p"], *tested])
    assert old["corrected_p"] == pytest.approx(expected[0])
    assert old["corrected_p"] < 0.001
    sentences = describe_subgroups(rows)
    assert sentences[0].startswith("scanner old differs from the others, with p after Holm's correction: Dice +")
    (few,) = rows_of(rows, group="few")
    assert few["note"] == "not measured: fewer than 10 samples"
    assert any(sentence.startswith("hospital few (") for sentence in sentences)


def test_deviations_are_those_of_leaving_out_each_patient(drawn):
    some_rows = slice(20, 40)
    truth, predicted, groups = drawn[0].labels[some_rows], drawn[1][some_rows], drawn[0].groups[some_rows]
    measures = measure_masks(truth, predicted, NAMES)
    found = measure_with_deviations(measures, groups)
    left_out = []
    for name in sorted(set(groups)):
        kept = np.array(groups) != name
        some = evaluate_masks(truth[kept], predicted[kept], class_names=NAMES, resamples=1)
        left_out.append([some.metrics[metric].value for metric in ("dice", "hd95", "iou_tumour")])
    expected = (np.mean(left_out, axis=0) - left_out).T * np.sqrt(9 / 10)
    for metric, deviations in zip(("dice", "hd95", "iou_tumour"), expected, strict=True):
        np.testing.assert_allclose(found[metric].deviations, deviations, atol=1e-12)
    # The pixel error of images of one size is a mean, whose deviations are known.
    alone = measure_with_deviations(measures)["pixel_error"].deviations
    errors = measures.wrong / measures.pixels
    np.testing.assert_allclose(alone, (errors - errors.mean()) / np.sqrt(20 * 19), atol=1e-12)


def test_the_table_and_the_picture_are_written(rows, tmp_path):
    written = write_subgroups(rows, "dice", "unet on mine", tmp_path)
    table = pd.read_csv(written["subgroups"])
    assert {"dice", "hd95", "dice_liver"} <= set(table["metric"])
    assert written["picture"].stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.parametrize("patients", [None, 40])
def test_random_groups_of_masks_seldom_differ(patients):
    found = []
    for seed in range(600):
        generator = np.random.default_rng(seed)
        truth = make_truth(120, seed=seed)
        patient = np.arange(120) if patients is None else np.arange(120) % patients
        noise = generator.uniform(0.05, 0.4, 120)[patient][:, None, None]
        measures = measure_masks(truth, answer(truth, noise, seed), NAMES, with_distances=False)
        chosen = generator.integers(0, 2, 120)[patient].astype(bool)
        groups = None if patients is None else np.array([f"p{one}" for one in patient])
        sides = []
        for side in (chosen, ~chosen):
            statistics = GroupedMeasures(measures.take(side), None if groups is None else groups[side])
            sides.append(_measure_first(statistics))
        found.append(compare_with_others(*sides, chosen, groups).p < 0.05)
    print(np.mean(found))
    assert 0.02 < np.mean(found) < 0.08


def _measure_first(statistics):
    value = float(statistics(np.ones((1, statistics.groups)))[0, 0])
    return Measurement(Estimate(value), jackknife_deviations(statistics.leave_out_each()[0]))


@pytest.mark.slow
def test_the_command_measures_subgroups_and_corruptions_of_masks(tmp_path, monkeypatch, capfd):
    shutil.copytree(Path(__file__).parents[1] / "previous" / "masks", tmp_path / "unet")
    monkeypatch.chdir(tmp_path)
    table = pd.read_csv("unet/predictions.csv")
    table = table[table["split"] == "test"].reset_index(drop=True)
    groups = table[["file"]].assign(table=np.where(table.index < 60, "old", "new"), hand="left")
    groups.loc[:4, "hand"] = "right"
    groups.to_csv("groups.csv", index=False)
    options = ["--subgroups", "table,hand", "--subgroup-table", "groups.csv", "--corruptions"]
    monkeypatch.setattr(sys, "argv", ["program", "evaluate", "unet", *options])
    with pytest.raises(SystemExit) as caught:
        run_main(program.main)
    output = capfd.readouterr().out
    assert caught.value.code in (0, None)
    assert "Dice by subgroup" in output
    assert "hand right (5 samples): not measured: fewer than 10 samples." in output
    found = pd.read_csv("evaluations/phantom-liver-unet/subgroups.csv")
    dice = found[(found["metric"] == "dice") & (found["column"] == "table")]
    assert dice["patients"].tolist() == [6, 6]
    assert dice["corrected_p"].between(0, 1).all()
    assert "Dice by strength of corruption" in output
    corrupted = pd.read_csv("evaluations/phantom-liver-unet/corruptions.csv")
    assert len(corrupted) == 12 * 6
    assert corrupted["dice_low"].notna().any()
