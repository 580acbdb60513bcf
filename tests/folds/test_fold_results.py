"""The files of a cross-validation, from complete runs of its folds, without training."""

import json

import numpy as np
import pandas as pd
import pytest
from conftest import register_tiny_data, tiny_stripes
from rich.console import Console
from run_samples import BREAST, CHEST, binary_probabilities, label_probabilities, make_truth, write_run

from keras_lnn.cli.run_list import find_runs
from keras_lnn.comparing.compared_run import check_same_samples
from keras_lnn.comparing.runs import read_run
from keras_lnn.config import TrainConfig
from keras_lnn.data.folds import take_fold
from keras_lnn.errors import InputError
from keras_lnn.fields.options import FoldOptions
from keras_lnn.folds.layout import begin_folder, lay_out_folds
from keras_lnn.folds.results import gather_results, read_folds, tabulate_folds, tabulate_predictions, write_folds
from keras_lnn.folds.words import list_metrics
from keras_lnn.runs.folder import RunFolder
from keras_lnn.saved.predictor import find_model
from keras_lnn.saved.results import describe_promised

SIZE = 40


def write_folds_of(folder, repeats=1, shift=0.0, calibrated=True, data="breastmnist"):
    """Writes three complete folds, whose scores differ by a shift from fold to fold, and returns their runs."""
    config = TrainConfig(model="lnn", data=data, epochs=3, run_dir=folder)
    options = FoldOptions(folds=3, repeats=repeats)
    runs = lay_out_folds(config, options)
    folder.mkdir()
    begin_folder(folder, config, options)
    for place, run in enumerate(runs):
        truth = make_truth(SIZE, 25)
        probabilities = binary_probabilities(truth, 1.0, place)
        odds = np.log(probabilities[:, 1] / probabilities[:, 0]) + shift * place
        probabilities = np.column_stack([1 / (1 + np.exp(odds)), 1 / (1 + np.exp(-odds))])
        names = [f"{run.fold}-{row}.png" for row in range(SIZE)]
        own = {name: getattr(run.config, name) for name in ("data", "seed", "split_seed", "fold")}
        write_run(run.folder, truth, probabilities, names=names, thresholds=(0.4, 0.6), export="none", **own)
        complete(run, calibrated)
    return runs


def complete(run, calibrated=True):
    """Adds to the metrics of a run what a training writes and the other tests need not have."""
    path = run.folder / "metrics.json"
    counts = {name: {"images": SIZE, "patients": None, "classes": {}} for name in ("train", "val", "test")}
    calibration = {"method": "temperature", "scales": [0.5], "offsets": []} if calibrated else None
    path.write_text(json.dumps(json.loads(path.read_text()) | {"splits": counts, "calibration": calibration}))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folds") / "lnn"
    runs = write_folds_of(folder, data=register_tiny_data())
    return folder, runs, write_folds(folder, runs, Console(quiet=True))


def test_each_fold_has_a_row_with_its_metrics(done):
    folder, runs, found = done
    table = pd.read_csv(folder / "folds.csv")
    assert table[["repeat", "fold", "images"]].to_numpy().tolist() == [[1, k, SIZE] for k in (1, 2, 3)]
    assert table["run"].tolist() == ["fold-1", "fold-2", "fold-3"]
    areas = [RunFolder(run.folder).read_metrics()["test"]["auc"]["value"] for run in runs]
    assert table["auc"].tolist() == pytest.approx(areas)
    assert found["mean"]["auc"]["value"] == pytest.approx(np.mean(areas))
    assert found["mean"]["auc"]["sd"] == pytest.approx(np.std(areas, ddof=1))
    assert found["mean"]["auc"]["low"] < np.mean(areas) < found["mean"]["auc"]["high"]
    assert found["mean"]["expected_calibration_error"]["low"] is None


def test_all_predictions_have_their_fold_and_the_decision_of_their_model(done):
    folder, runs, _ = done
    table = pd.read_csv(folder / "predictions.csv")
    assert len(table) == 3 * SIZE
    assert table["file"].is_unique
    assert "split" not in table
    decided = np.where(table[f"probability {BREAST[1]}"] > 0.6, BREAST[1], BREAST[0])
    assert table["predicted"].tolist() == decided.tolist()
    own = pd.read_csv(runs[1].folder / "predictions.csv")
    own = own[own["split"] == "test"]
    assert table[table["fold"] == 2]["file"].tolist() == own["file"].tolist()


def test_the_page_links_every_fold_and_says_how_the_numbers_came_about(done):
    folder, _, found = done
    page = (folder / "folds.html").read_text()
    for text in (
        "lnn on tiny-stripes, 3 folds",
        "Nadeau and Bengio",
        "mean over folds",
        "fold 2/3",
        "fold-2/report.html",
    ):
        assert text in page
    assert found["warnings"] == []
    assert json.loads((folder / "folds.json").read_text()) == found
    assert {path.stem for path in (folder / "plots").iterdir()} == {"roc", "reliability"}


def test_several_labels_are_cross_validated_too(tmp_path):
    folder = tmp_path / "lnn"
    runs = lay_out_folds(TrainConfig(data="chestmnist", run_dir=folder), FoldOptions(folds=3))
    for place, run in enumerate(runs):
        truth = (np.random.default_rng(place).random((SIZE, 4)) < 0.3).astype(np.uint8)
        about = {"class_names": CHEST, "task": "multi-label", "thresholds": (0.3, 0.4, 0.5, 0.6)}
        names = [f"{place}-{row}" for row in range(SIZE)]
        write_run(run.folder, truth, label_probabilities(truth, 1.0, place), names=names, fold=run.config.fold, **about)
        complete(run)
    folds = read_folds(runs)
    found, table = gather_results(folds), tabulate_predictions(folds)
    assert (table["predicted mass"] == (table["probability mass"] > 0.5)).all()
    assert list(found["per_class"]["pooled"]) == list(CHEST)
    assert found["positive_class"] is None
    assert any("if none is ever predicted" in row[0] for row in list_metrics(found))


def test_what_calibration_changed_is_measured_of_all_predictions(done):
    folder, _, found = done
    table = pd.read_csv(folder / "predictions.csv")
    # The scale of one half is undone: the odds are squared.
    positive = table[f"probability {BREAST[1]}"].to_numpy() ** 2
    negative = table[f"probability {BREAST[0]}"].to_numpy() ** 2
    brier = np.mean((positive / (positive + negative) - table["truth"]) ** 2)
    assert found["before_calibration"]["brier"]["value"] == pytest.approx(brier)
    assert list(found["before_calibration"]) == ["brier", "log_loss", "expected_calibration_error"]
    assert f"Brier score {brier:.3f}".replace("0.", ".") in (folder / "folds.html").read_text()


def test_scales_that_differ_between_folds_are_reported(tmp_path):
    runs = write_folds_of(tmp_path / "lnn", shift=2.0, calibrated=False)
    found = gather_results(read_folds(runs))
    for text in ("not calibrated", "on different scales"):
        assert any(text in warning for warning in found["warnings"])
    assert found["pooled"]["auc"]["value"] < found["mean"]["auc"]["value"] - 0.02


def test_labels_that_the_predictions_contradict_are_listed_and_drawn(tmp_path):
    folder, wrong = tmp_path / "lnn", {"train 3": 1, "train 40": 0, "val 7": 1}
    runs = lay_out_folds(TrainConfig(data=register_tiny_data(), run_dir=folder), FoldOptions(folds=3, repeats=2))
    for place, run in enumerate(runs):
        test = take_fold(tiny_stripes(), run.config.fold, run.config.split_seed).splits["test"]
        flipped = np.isin(test.names, list(wrong))
        sure = np.where(flipped, 0.95, 0.8) + np.random.default_rng(place).uniform(-0.04, 0.04, len(flipped))
        positive = np.where(test.labels ^ flipped, sure, 1 - sure)
        own = {name: getattr(run.config, name) for name in ("data", "seed", "split_seed", "fold")}
        about = {"class_names": ("level", "upright"), "names": test.names}
        write_run(run.folder, test.labels, np.column_stack([1 - positive, positive]), **about, **own)
        complete(run)
    console = Console(record=True, width=200)
    found = write_folds(folder, runs, console)
    table = pd.read_csv(folder / "doubtful_labels.csv")
    assert dict(zip(table["file"], table["given"] == "upright", strict=True)) == wrong
    assert table["rank"].tolist() == [1, 2, 3]
    # The mean of both repeats, which list the samples in another order.
    predictions = pd.read_csv(folder / "predictions.csv").set_index("file")
    for row in table.to_dict("records"):
        mean = predictions.loc[row["file"], f"probability {row['suggested']}"].mean()
        assert row["suggested_probability"] == pytest.approx(mean) == 1 - row["given_probability"]
    assert found["doubtful_labels"] == {"count": 3, "of": 80}
    assert "3 of 80 labels are contradicted" in console.export_text()
    assert (folder / "plots" / "doubtful_labels.png").is_file()
    assert "a doubtful label is not a wrong one" in (folder / "folds.html").read_text()


def test_sets_and_referral_of_all_folds_are_measured_together(tmp_path):
    runs = write_folds_of(tmp_path / "lnn", repeats=2)
    for place, run in enumerate(runs):
        path = run.folder / "metrics.json"
        measured = {"value": 0.5, "low": 0.4, "high": 0.6}
        sets = {"coverage": 0.9, "by_class": False, "levels": [0.2, 0.1 + place / 20]}
        referral = {"risk": 0.1, "confidence": 0.7, "test": {"decided": measured}}
        sets["test"] = {"coverage": measured, "mean_size": measured}
        path.write_text(json.dumps(json.loads(path.read_text()) | {"sets": sets, "referral": referral}))
    folds = read_folds(runs)
    found, table = gather_results(folds), tabulate_predictions(folds)
    levels = table[["repeat", "fold"]].apply(lambda row: 0.1 + (3 * (row["repeat"] - 1) + row["fold"] - 1) / 20, axis=1)
    chance = table[f"probability {BREAST[1]}"]
    first = (1 - chance >= 0.2) | (table["predicted"] == BREAST[0])
    second = (chance >= levels) | (table["predicted"] == BREAST[1])
    assert table["set"].tolist() == [
        "|".join(name for name, held in zip(BREAST, row, strict=True) if held)
        for row in zip(first, second, strict=True)
    ]
    covered = np.where(table["truth"] == 0, first, second)
    coverage = found["sets"]["pooled"]["coverage"]
    assert coverage["value"] == pytest.approx(covered.mean())
    assert found["sets"]["pooled"]["mean_size"]["value"] == pytest.approx((first + 0 + second).mean())
    # Twice the same samples are not twice as many.
    assert coverage["high"] - coverage["low"] > 2 * np.sqrt(covered.mean() * (1 - covered.mean()) / (3 * SIZE))
    assert found["referral"]["pooled"]["decided"]["value"] == pytest.approx(1 - table["refer"].mean())
    right = table["predicted"] == table["truth_name"]
    assert found["referral"]["pooled"]["risk"]["value"] == pytest.approx(1 - right[~table["refer"]].mean())
    assert tabulate_folds(folds)["mean_set_size_high"].tolist() == [0.6] * 6
    sentences = describe_promised(found, "pooled")
    assert "in all folds together they do for" in sentences[0]
    assert sentences[1].startswith("Below the confidence that each fold chose, images are referred")


def test_other_commands_say_what_the_folder_is(done):
    folder, _, _ = done
    with pytest.raises(InputError, match=r"A run must be a single one. Received: .*, a cross-validation. Name the run"):
        find_model(folder)
    assert [row.name for row in find_runs(folder.parent)] == [f"lnn/fold-{k}" for k in (1, 2, 3)]


def test_runs_of_different_folds_are_not_compared(done):
    _, runs, _ = done
    with pytest.raises(InputError, match=r"and of one fold \(these are of folds 1/3 and 3/3\)\.$"):
        check_same_samples([read_run(runs[0].folder), read_run(runs[2].folder)])


def test_a_cross_validation_goes_on_with_its_own_options(done, tmp_path):
    folder, _, _ = done
    config = TrainConfig(model="lnn", data="tiny-stripes", run_dir=folder)
    with pytest.raises(InputError, match=r"began with, --folds 3 --repeats 1, or .* Received: --folds 4 --repeats 1"):
        begin_folder(folder, config, FoldOptions(folds=4))
