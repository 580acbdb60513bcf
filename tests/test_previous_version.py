"""Files of the previous version (``tests/previous``) are resumed, compared, evaluated and used for predictions."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from keras_lnn.cli.main import main
from keras_lnn.data import load_data
from keras_lnn.saved.predictor import load_predictor
from keras_lnn.trained.evaluate import evaluate_model
from keras_lnn.training.loop import resume

PREVIOUS = Path(__file__).parent / "previous"
RUNS_OF_DNN = ("finished", "study/phantom-breast/dnn/seed-0")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A copy of the folders, from which relative names are read."""
    shutil.copytree(PREVIOUS, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr("keras_lnn.training.report._draw", lambda *_: None)
    return tmp_path / "work"


def test_files_of_the_previous_version_are_small():
    assert sum(file.stat().st_size for file in PREVIOUS.rglob("*")) < 2 * 2**20


def test_a_stopped_run_of_the_previous_version_is_resumed(place):
    result = resume(Path("stopped"))
    history = pd.read_csv("stopped/history.csv")
    assert list(history["epoch"]) == [1, 2, 3]
    assert result.metrics["test"]["auc"]["value"] > 0.5


@pytest.mark.parametrize("name", ["finished", "masks"])
def test_a_complete_run_of_the_previous_version_gets_a_page(place, name):
    before = (place / name / "metrics.json").read_bytes()
    resume(Path(name))
    assert "95% interval" in (place / name / "report.html").read_text(encoding="utf-8")
    assert (place / name / "metrics.json").read_bytes() == before


@pytest.mark.parametrize("name", ["finished", "own-images", "masks"])
def test_runs_of_the_previous_version_keep_their_metrics(place, name):
    kept = json.loads((place / name / "metrics.json").read_text())["test"]
    found = evaluate_model(name)["test"]
    assert {metric: found[metric]["value"] for metric in kept} == pytest.approx(
        {metric: entry["value"] for metric, entry in kept.items()}, abs=1e-6
    )


@pytest.mark.parametrize("name", ["exported/saved_model", "exported/keras", "finished"])
def test_models_of_the_previous_version_keep_their_predictions(place, name):
    table = pd.read_csv("finished/predictions.csv")
    table = table[table["split"] == "test"]
    expected = table[[column for column in table.columns if column.startswith("probability")]].to_numpy()
    images = load_data("phantom-breast").splits["test"].images
    np.testing.assert_allclose(load_predictor(name).predict(images), expected, atol=1e-5)


def test_models_of_the_previous_version_predict_files(place):
    Image.fromarray(np.full((28, 28), 90, np.uint8)).save("scan.png")
    assert main(["predict", "exported/keras", "scan.png", "--output", "found.csv"]) == 0
    assert len(pd.read_csv("found.csv")) == 1


def test_runs_of_the_previous_version_are_compared(place):
    assert main(["compare", "finished", "study", "--output", "comparison"]) == 0
    models = pd.read_csv("comparison/comparison.csv")
    tested = [json.loads(Path(run, "metrics.json").read_text())["test"]["auc"]["value"] for run in RUNS_OF_DNN]
    assert len(models) == 2
    assert sorted(models["auc"]) == pytest.approx(sorted(tested))
    assert (place / "comparison" / "comparison.html").is_file()


def test_a_study_of_the_previous_version_retrains_no_run(place, capsys):
    before = {path: path.stat().st_mtime_ns for path in place.rglob("metrics.json")}
    assert main(["study", "small.yaml", "--study-dir", "study", "--show"]) == 0
    assert "1 done before, 0 left" in " ".join(capsys.readouterr().out.split())
    assert before == {path: path.stat().st_mtime_ns for path in place.rglob("metrics.json")}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:(currentThread|getName)\\(\\) is deprecated:DeprecationWarning")
def test_a_search_of_the_previous_version_is_resumed(place):
    options = "--model dnn --data phantom-breast --model-args units=4,second_units=4 --epochs 1 --tuner random"
    assert main(["tune", *options.split(), "--batch-size", "128", "--max-trials", "3"]) == 0
    trials = pd.read_csv("searches/dnn-phantom-breast-random/trials.csv")
    assert list(trials["status"]) == ["completed"] * 3
    before = pd.read_csv(PREVIOUS / "searches" / "dnn-phantom-breast-random" / "trials.csv")
    assert list(trials["val_auc"][:2]) == list(before["val_auc"])
