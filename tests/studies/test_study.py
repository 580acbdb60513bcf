"""Whole studies with real processes: their files, and that kills, failures and changed options lose no results."""

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from keras_lnn.cli.main import main
from keras_lnn.cli.parsing import run_main
from keras_lnn.cli.study import StudyCommand, run_study
from keras_lnn.errors import InputError
from keras_lnn.files.atomic import hold_folder

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
STUDY = """
title: Small networks
data: [phantom-breast]
seeds: 2
protocols:
  published: {epochs: 3, keep: last, batch_size: 128}
networks:
  dnn: {model_args: {units: 4, second_units: 4}}
  wide: {model: dnn, model_args: {units: 8, second_units: 4}}
published:
  phantom-breast:
    dnn: {auc: 0.9, accuracy: 0.8}
benchmarks:
  phantom-breast:
    ResNet: {auc: 0.95, accuracy: 0.9}
"""
TIMES = """
title: Networks by time
data: [phantom-breast]
seeds: 1
protocols:
  fixed-time:
    epochs: 100000
    batch_size: 64
    model_args: {units: 4, second_units: 4}
    grid: {learning_rate: [1.0e-2, 1.0e-3], time_budget: [1s]}
    figures: [time_budget, classes]
    note: A note of the protocol.
networks:
  dnn: {}
published:
  elsewhere:
    dnn 1e-3 1s: {accuracy: 0.9}
"""
SAME = ["data", "network", "seed", "status", "auc", "accuracy", "f1", "best_epoch", "parameters"]


def arguments_for(folder, *options, study=STUDY):
    file = folder.parent / "small.yaml"
    file.write_text(study)
    return ["study", str(file), "--study-dir", str(folder), *options]


def command(folder, *options, study=STUDY):
    arguments = [sys.executable, "-m", "keras_lnn", *arguments_for(folder, *options, study=study)]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    variables.pop("KERAS_BACKEND", None)
    return {"args": arguments, "env": variables, "cwd": folder.parent, "stdout": subprocess.PIPE, "text": True}


def run(folder, *options, status=0, study=STUDY):
    done = subprocess.run(**command(folder, *options, study=study), stderr=subprocess.PIPE)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def run_here(folder, *options, status=0):
    """Runs the study from this process, which has imported what another one would import first."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("KERAS_BACKEND", "")  # the study sets it, and it is put back
        patched.delenv("KERAS_BACKEND")
        patched.setattr(sys, "argv", ["keras-lnn", *arguments_for(folder, *options)])
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            with pytest.raises(SystemExit) as ended:
                run_main(main)
    assert (ended.value.code or 0) == status, printed.getvalue()
    return printed.getvalue()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "study"
    return folder, run(folder, "--workers", "2")


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    folder = tmp_path_factory.mktemp("few") / "study"
    return folder, run_here(folder, "--workers", "2", "--seeds", "1")


@pytest.mark.parametrize(("study", "seeds"), [("few", 1), pytest.param("whole", 2, marks=pytest.mark.slow)])
def test_a_study_writes_tables_pictures_and_a_comparison(study, seeds, request):
    folder, printed = request.getfixturevalue(study)
    results = pd.read_csv(folder / "results.csv")
    assert len(results) == 2 * seeds
    assert (results["status"] == "done").all()
    for row in results.to_dict("records"):
        metrics = json.loads((Path(row["run"]) / "metrics.json").read_text())
        assert row["auc"] == pytest.approx(metrics["test"]["auc"]["value"])
        assert row["best_epoch"] == 3
    summary = pd.read_csv(folder / "summary.csv")
    assert list(summary["network"]) == ["dnn", "wide"]
    assert summary["auc_mean"].iloc[0] == pytest.approx(results[results["network"] == "dnn"]["auc"].mean())
    assert {path.name for path in folder.glob("table.*")} == {"table.txt", "table.md", "table.tex"}
    page = (folder / "study.html").read_text(encoding="utf-8")
    for row in results.to_dict("records"):
        link = Path(row["run"]).relative_to(folder) / "report.html"
        assert (folder / link).is_file()
        assert f'href="{link}"' in page
    assert {path.name for path in (folder / "plots").iterdir()} == {
        f"phantom-breast-{name}.png" for name in ("roc", "size", "seeds")
    }
    assert (folder / "comparison-phantom-breast" / "comparison.html").is_file()
    assert f"Small networks: {2 * seeds} runs" in printed
    assert f"wide on phantom-breast, seed {seeds - 1}: AUC" in printed
    assert f"{2 * seeds} of {2 * seeds} runs done, 0 failed" in printed


@pytest.mark.slow
def test_repeating_a_study_retrains_no_run(whole, tmp_path):
    folder, _ = whole
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("metrics.json")}
    printed = run(folder, "--show")
    assert "4 done before, 0 left" in printed
    printed = run(folder, "--models", "dnn")
    assert "2 done before, 0 left" in printed
    assert len(pd.read_csv(folder / "results.csv")) == 4  # what was done before stays in the tables
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("metrics.json")}
    copy = tmp_path / "study"
    shutil.copytree(folder, copy)
    run(copy, "--models", "dnn", "--seeds", "3")
    run(copy, "--seeds", "1")
    assert len(pd.read_csv(copy / "results.csv")) == 5  # nor are seeds beyond those that are asked for now


def test_the_folder_of_a_running_study_is_not_changed(tmp_path):
    file = tmp_path / "small.yaml"
    file.write_text(STUDY)
    folder = tmp_path / "study"
    with hold_folder(folder, "A study", ""), pytest.raises(InputError, match="A study must run once at a time"):
        run_study(StudyCommand(study=str(file), study_dir=folder))
    assert [path.name for path in folder.iterdir()] == [".lock"]


@pytest.mark.slow
def test_changed_options_are_reported_and_no_result_is_lost(whole):
    folder, _ = whole
    before = sorted(folder.rglob("*"))
    printed = run(folder, "--quick", status=2)  # other epochs
    assert "must continue with the configuration that it began with" in printed
    assert sorted(folder.rglob("*")) == before


@pytest.mark.slow
def test_a_grid_of_times_runs_and_is_drawn(tmp_path):
    folder = tmp_path / "study"
    options = ("--workers", "2", "--grid", "time_budget=2s", "--fields", "size=28")
    printed = run(folder, *options, study=TIMES)
    assert "2 runs at a time share the processors" in printed
    results = pd.read_csv(folder / "results.csv")
    assert list(results["network"]) == ["dnn 1e-2 2s", "dnn 1e-3 2s"]
    assert list(results["base"]) == ["dnn", "dnn"]
    assert list(results["learning_rate"]) == [1e-2, 1e-3]
    assert (results["seconds"] >= 2).all()
    for row in results.to_dict("records"):
        metrics = json.loads((Path(row["run"]) / "metrics.json").read_text())
        assert metrics["stopped_because"].startswith("the time budget of 2 s is spent: ")
        assert row["epochs_trained"] == metrics["epochs_trained"]
        assert (Path(row["run"]) / "confusion.csv").is_file()
    names = {path.name for path in (folder / "plots").iterdir()}
    assert {"phantom-breast-time_budget.png", "phantom-breast-classes.png"} <= names
    table = (folder / "table.txt").read_text()
    assert "A note of the protocol." in table
    assert "2 runs at a time share the processors" in table
    assert "published" not in table  # of another time


def assert_same_table(folder, whole):
    first, second = (
        pd.read_csv(path / "results.csv").sort_values(["network", "seed"], ignore_index=True)[SAME]
        for path in (folder, whole)
    )
    pd.testing.assert_frame_equal(first, second)


def kill_after(folder, seconds):
    """Starts the study and kills it with its processes some time after its first run's beginning."""
    process = subprocess.Popen(**command(folder), stderr=subprocess.STDOUT, start_new_session=True)
    deadline = time.monotonic() + 1500  # only against waiting for ever
    while not list(folder.rglob("environment.json")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.slow
def test_a_killed_study_gives_the_table_of_one_that_was_not(whole, tmp_path):
    folder = tmp_path / "study"
    kill_after(folder, 0.0)
    assert not (folder / "results.csv").exists()
    run(folder)
    assert_same_table(folder, whole[0])


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.2, 1.0, 4.0, 6.0, 9.0])
def test_a_study_killed_at_any_time_gives_the_same_table(whole, tmp_path, seconds):
    folder = tmp_path / "study"
    kill_after(folder, seconds)
    kill_after(folder, seconds / 2)
    run(folder)
    assert_same_table(folder, whole[0])


@pytest.mark.slow
def test_a_run_that_fails_is_named_and_tried_again(tmp_path):
    folder = tmp_path / "study"
    printed = run(folder, "--run-timeout", "0.1s", "--models", "dnn", "--seeds", "1", status=2)
    assert "dnn on phantom-breast, seed 0 failed: took longer than its limit of 0.1 s" in printed
    assert "Received: 1 that failed" in printed
    results = pd.read_csv(folder / "results.csv")
    assert list(results["status"]) == ["failed"]
    printed = run(folder, "--models", "dnn", "--seeds", "1")
    assert "1 of 1 runs done, 0 failed" in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--models", "wyde"), "error: The study has no network 'wyde'. Did you mean wide?"),
        (("--data", "breastmist"), "error: There is no data set 'breastmist'. Did you mean breastmnist"),
        (("--memory-limit", "much"), "memory_limit must be a number of bytes"),
        (("--seeds", "0"), "seeds must be greater than or equal to 1"),
        (("--grid", "epochs"), "error: --grid must be FIELD=VALUE,VALUE"),
        (("--grid", "time_budget=soon"), "time_budget must be a number of seconds, or a number followed by s, m or h"),
        (("--fields", "seed=3"), "itself. Received: seed."),
    ],
)
def test_a_user_error_is_one_line_and_writes_no_files(tmp_path, options, message):
    folder = tmp_path / "study"
    printed = run_here(folder, *options, status=2)
    assert message in printed
    assert printed.count("\n") == 1
    assert not folder.exists()
