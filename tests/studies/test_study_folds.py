"""Studies with folds: their runs, what does not go with folds, and their tables from the predictions of each fold."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import trial_models  # noqa: F401  registers the quick network
from recorded_samples import draw_table
from rich.console import Console
from run_samples import binary_probabilities, make_truth, write_run

from keras_lnn.comparing.runs import read_run
from keras_lnn.errors import InputError
from keras_lnn.statistics.folds import mean_over_folds
from keras_lnn.statistics.paired_tests import compare_resampled, holm
from keras_lnn.studies.declaration import Study, lay_out, load_study
from keras_lnn.studies.fold_results import pool_networks
from keras_lnn.studies.memory import recall, remember
from keras_lnn.studies.output import write_results
from keras_lnn.studies.results import results_table

ROOT = Path(__file__).parents[2]
FOLDED = """
title: Small networks
data: [breastmnist]
folds: 3
repeats: 2
reference: lnn
networks:
  lnn: {}
  cnn: {}
  dnn: {}
published:
  breastmnist:
    lnn: {auc: 0.9, accuracy: 0.8}
"""
SIZE = 40
RATIO = 40 / 120


def read_study(folder, text=FOLDED):
    path = folder / "folded.yaml"
    path.write_text(text)
    return load_study(str(path))


def test_every_network_is_trained_on_every_fold_of_every_repeat(tmp_path):
    study = read_study(tmp_path)
    runs = lay_out(study, Path("x"))
    assert len(runs) == 2 * 3 * 3
    assert [run.network for run in runs[:3]] == ["lnn", "cnn", "dnn"]
    assert [(run.config.fold, run.config.seed, run.config.split_seed) for run in runs[::3]] == [
        (f"{fold}/3", seed, seed) for seed in (0, 1) for fold in (1, 2, 3)
    ]
    assert runs[0].folder == Path("x/breastmnist/lnn/repeat-1/fold-1")
    assert runs[-1].name == "dnn on breastmnist, repeat 2, fold 3/3"
    assert len({run.folder for run in runs}) == len(runs)
    assert len(lay_out(study, Path("x"), quick=True)) == 3 * 3
    assert len(lay_out(study, Path("x"), seeds=3)) == 3 * 3 * 3
    # One fold for all runs is a study as any other.
    (single,) = lay_out(Study(title="t", data=["d"], seeds=1, networks={"dnn": {"fold": "2/5"}}), Path("x"))
    assert (single.name, single.folder) == ("dnn on d, seed 0", Path("x/d/dnn/seed-0"))


def test_runs_of_other_folds_are_forgotten(tmp_path):
    study = read_study(tmp_path)
    runs = lay_out(study, tmp_path)
    remember(tmp_path, runs)
    assert recall(study, tmp_path) == runs
    for change in ({"folds": 4}, {"folds": None, "repeats": 1}):
        assert recall(Study(**study.model_dump() | change), tmp_path) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("folds: 3", "folds: 2", "folds must be greater than or equal to 3"),
        ("folds: 3\n", "", "must have folds if it has repeats"),
        ("repeats: 2", "seeds: 2", "must have repeats in place of seeds if it has folds"),
        ("repeats: 2", "shuffled_splits: true", "must not have both folds and shuffled_splits"),
        ("repeats: 2", "sampling: true", "must not have both folds and sampling, which is compared on the same test"),
        ("lnn: {}", "lnn: {fold: 1/3}", "must not have both folds and the training field fold"),
    ],
)
def test_what_does_not_go_with_folds_is_one_line(tmp_path, old, new, message):
    with pytest.raises(InputError, match=message) as caught:
        read_study(tmp_path, FOLDED.replace(old, new, 1))
    assert "\n" not in str(caught.value)


def test_no_fold_is_given_to_a_study_with_folds(tmp_path):
    with pytest.raises(InputError, match=r"trains on each of them\. Received: fold '1/3' and 3 folds\. Leave fold out"):
        lay_out(read_study(tmp_path), Path("x"), fields={"fold": "1/3"})


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished study: its folder, runs and results."""
    folder = tmp_path_factory.mktemp("folded")
    study = read_study(folder)
    runs = lay_out(study, folder)
    for place, run in enumerate(runs):
        truth = make_truth(SIZE, 25)
        strength = {"lnn": 1.0, "cnn": 2.0, "dnn": 1.0}[run.network]
        names = [f"{run.config.fold}-{row}.png" for row in range(SIZE)]
        own = {name: getattr(run.config, name) for name in ("model", "seed", "split_seed", "fold")}
        probabilities = binary_probabilities(truth, strength, place)
        write_run(run.folder, truth, probabilities, names=names, thresholds=(0.4, 0.6), **own)
        path = run.folder / "metrics.json"
        splits = {"train": {"images": 3 * SIZE}, "test": {"images": SIZE}}
        path.write_text(json.dumps(json.loads(path.read_text()) | {"splits": splits}))
        (run.folder / "history.csv").write_text("epoch,seconds\n1,2.0\n2,1.0\n")
    write_results(folder, study, runs, {}, Console(quiet=True))
    return folder, study, runs, pd.read_csv(folder / "results.csv")


def test_means_over_folds_have_corrected_intervals(done):
    folder, _, _, results = done
    assert results[["repeat", "fold"]].drop_duplicates().to_numpy().tolist() == [
        [r, k] for r in (1, 2) for k in (1, 2, 3)
    ]
    summary = pd.read_csv(folder / "summary.csv").set_index("network")
    assert list(summary.index) == ["lnn", "cnn", "dnn"]
    for network, rows in results.groupby("network"):
        expected = mean_over_folds(rows["auc"], RATIO)
        found = summary.loc[network]
        assert (found["auc_mean"], found["auc_low"], found["auc_high"]) == pytest.approx(
            (expected.value, expected.low, expected.high)
        )
        assert found["auc_sd"] == pytest.approx(rows["auc"].std())
        assert found["runs"] == 6
    assert summary["auc_published_fits"].isna().all()  # it is of the test split, which is in no fold


def test_all_predictions_are_measured_together(done):
    folder, _, runs, _ = done
    pooled = pd.read_csv(folder / "pooled.csv").set_index(["network", "metric"])
    read = [read_run(run.folder) for run in runs if run.network == "cnn"]
    truth, decided = (
        np.concatenate(parts)
        for parts in zip(*((one.truth, one.probabilities.argmax(axis=1)) for one in read), strict=True)
    )
    row = pooled.loc["cnn", "accuracy"]
    assert row["value"] == pytest.approx(np.mean(truth == decided))
    assert (row["low"] < row["value"] < row["high"], row["repeats"], row["count"]) == (True, 2, 3 * SIZE)
    summary = pd.read_csv(folder / "summary.csv").set_index("network")
    assert summary.loc["cnn", "accuracy_pooled"] == pytest.approx(row["value"])
    assert {"f1", "brier"} <= set(pooled.loc["cnn"].index)


def test_a_repeat_that_lacks_a_fold_is_not_pooled(done):
    _, study, runs, _ = done
    results = results_table([run for run in runs if run.network == "dnn"], {})
    results.loc[results.index[-1], "status"] = "left"
    assert set(pool_networks(results, study.folds)["repeats"]) == {1}


def test_networks_are_compared_on_the_same_folds(done):
    folder, _, _, results = done
    values = results.pivot(index=["repeat", "fold"], columns="network", values="auc")
    expected = {
        pair: compare_resampled((values[pair[0]] - values[pair[1]]).to_numpy(), RATIO)
        for pair in (("lnn", "cnn"), ("lnn", "dnn"), ("cnn", "dnn"))
    }
    pairs = pd.read_csv(folder / "pairs.csv").query("metric == 'auc'")
    assert list(zip(pairs["network"], pairs["reference"], strict=True)) == list(expected)
    assert pairs["difference"].tolist() == pytest.approx([found.value for found in expected.values()])
    assert pairs["corrected"].tolist() == pytest.approx(holm([found.p for found in expected.values()]))
    against = pd.read_csv(folder / "differences.csv").query("metric == 'auc'").set_index("network")
    assert list(against.index) == ["cnn", "dnn"]
    assert against.loc["cnn", "difference"] == pytest.approx(-expected["lnn", "cnn"].value)
    two = holm([expected["lnn", name].p for name in ("cnn", "dnn")])
    assert against["corrected"].tolist() == pytest.approx(two)
    assert set(against["test"]) == {"corrected resampled t"}


def test_tables_and_page_say_what_the_numbers_are(done):
    folder, _, _, _ = done
    page, text = (folder / "study.html").read_text(), (folder / "table.txt").read_text()
    for shown in ("Means over the folds", "Nadeau and Bengio", "all predictions", "measured on other images"):
        assert shown in page
        assert shown in text
    assert "minus lnn" in text
    assert "over the seeds" not in page + text
    assert "Every pair of networks on the same folds" in page
    assert "by their folds" not in page
    assert "read the differences on the same folds" in page
    assert {path.stem for path in (folder / "plots").iterdir()} == {
        f"breastmnist-{name}" for name in ("size", "folds", "roc")
    }


OWN = """
title: Own images
data: ["table:{table}"]
folds: 3
protocols:
  short: {{epochs: 1, batch_size: 8, size: 12, image_dir: {images}, file_column: scan, label_columns: kind,
          group_column: case_no, imports: [trial_models]}}
networks:
  quick-net: {{}}
  wide: {{model: quick-net, model_args: {{units: 8}}}}
"""


@pytest.mark.slow
def test_a_study_with_folds_of_own_images_goes_on(tmp_path):
    table = draw_table(tmp_path / "data")
    file = tmp_path / "own.yaml"
    file.write_text(OWN.format(table=table, images=table.parent / "images"))

    def run(*options):
        command = [
            sys.executable,
            "-m",
            "keras_lnn",
            "study",
            str(file),
            "--study-dir",
            str(tmp_path / "study"),
            *options,
        ]
        variables = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests"), *sys.path])}
        variables |= {"KERAS_LNN_CACHE": str(tmp_path / "cache")}
        return subprocess.run(command, env=variables, capture_output=True, text=True, cwd=tmp_path)

    first = run("--workers", "2")
    assert first.returncode == 0, first.stderr
    assert "patients, who are not divided: 3 folds" in first.stdout
    results = pd.read_csv(tmp_path / "study" / "results.csv")
    assert (results["status"] == "done").all()
    pooled = pd.read_csv(tmp_path / "study" / "pooled.csv")
    assert set(pooled["intervals_over"]) == {"patients"}
    assert set(pooled["count"]) == {16}
    # A fold that was not finished is trained again, and the others are left as they are.
    unfinished = Path(results["run"].iloc[2])
    (unfinished / "metrics.json").unlink()
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "study").rglob("metrics.json")}
    shown = run("--show")
    assert "5 done before, 1 left" in shown.stdout
    assert ", repeat 1, fold 3/3" in shown.stdout
    again = run()
    assert again.returncode == 0, again.stderr
    assert times == {path: path.stat().st_mtime_ns for path in times}
    same = ["network", "fold", "auc", "accuracy"]
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "study" / "results.csv")[same], results[same])
    file.write_text(file.read_text().replace("folds: 3", "folds: 90"))
    few = run("--study-dir", str(tmp_path / "few"))
    assert few.returncode == 2
    assert "90 folds need at least 90 patients" in few.stderr
