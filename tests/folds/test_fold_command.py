"""``keras-lnn train --folds`` with real processes: all images are tested once, and the same command goes on."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import trial_models  # noqa: F401  registers the quick network
from recorded_samples import draw_table

from keras_lnn.files.csv_tables import plain_cell
from keras_lnn.runs.folder import RunFolder
from keras_lnn.trained.evaluate import evaluate_model

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def run(table, folder, *options):
    arguments = ["--imports", "trial_models", "--model", "quick-net", "--data", f"table:{table}", "--size", "8"]
    arguments += ["--image-dir", str(table.parent / "images"), "--file-column", "scan", "--label-columns", "kind"]
    arguments += ["--group-column", "case_no", "--epochs", "1", "--batch-size", "8"]
    arguments += ["--no-tensorboard", "--no-explanations"]
    command = [sys.executable, "-m", "keras_lnn", "train", *arguments, "--run-dir", str(folder), *options]
    variables = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests"), *sys.path])}
    variables |= {"KERAS_LNN_CACHE": str(table.parent.parent / "cache")}
    return subprocess.run(command, env=variables, capture_output=True, text=True, cwd=table.parent.parent)


def test_folds_of_own_images(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_LNN_CACHE", str(tmp_path / "cache"))
    table, folder = draw_table(tmp_path / "data"), tmp_path / "runs"
    done = run(table, folder, "--folds", "3", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert "patients, who are not divided: 3 folds" in done.stdout
    predicted = pd.read_csv(folder / "predictions.csv", dtype=str)
    assert sorted(map(plain_cell, predicted["file"])) == sorted(pd.read_csv(table, dtype=str)["scan"])
    assert (predicted.groupby("patient")["fold"].nunique() == 1).all()
    metrics = RunFolder(folder / "fold-2").read_metrics()
    again = evaluate_model(folder / "fold-2")
    assert again["test"]["auc"] == pytest.approx(metrics["test"]["auc"])
    assert again["missing_images"] == again["new_images"] == 0
    # A fold that was not finished is trained again, and the others are left as they are.
    first = (folder / "fold-1" / "metrics.json").stat().st_mtime_ns
    pooled = (folder / "predictions.csv").read_bytes()
    (folder / "fold-2" / "metrics.json").unlink()
    (folder / "folds.json").unlink()
    resumed = run(table, folder, "--folds", "3")
    assert resumed.returncode == 0, resumed.stderr
    assert "2 done before, 1 left" in resumed.stdout
    assert (folder / "fold-1" / "metrics.json").stat().st_mtime_ns == first
    assert (folder / "predictions.csv").read_bytes() == pooled
    assert (folder / "folds.json").is_file()
    for options, message in (
        (("--folds", "4"), "A cross-validation must continue with the configuration that it began with"),
        (("--folds", "3", "--seed", "5"), "A cross-validation must continue with the configuration"),
    ):
        other = run(table, folder, *options)
        assert other.returncode == 2
        assert message in other.stderr
    few = run(table, tmp_path / "few", "--folds", "90")
    assert few.returncode == 2
    assert "90 folds need at least 90 patients" in few.stderr
    assert not list((tmp_path / "few").glob("fold-*"))
