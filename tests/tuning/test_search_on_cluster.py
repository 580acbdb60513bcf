"""Searches and folds on a Ray cluster of two nodes, which are separate processes of this machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from ray_clusters import WAIT_SECONDS, running_cluster

ROOT = Path(__file__).parents[2]
SPACE = """
units: [4, 6, 8, 10]
second_units: [4, 8]
learning_rate: [0.01, 0.001]
dropout: 0.0
weight_decay: 0.0
batch_size: 128
optimizer: adam
schedule: constant
augmentation: none
"""
NETWORK = ("--model", "dnn", "--data", "phantom-breast", "--epochs", "2")
# Each run computes on one processor, as on a node of the cluster.
ONE_PROCESSOR = {"TF_NUM_INTRAOP_THREADS": "1", "OMP_NUM_THREADS": "1"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster():
    with running_cluster() as found:
        yield found


def run(folder, *command, cluster=None):
    """Runs a command whose paths are the same wherever it runs, and returns what it printed."""
    folder.mkdir(exist_ok=True)
    (folder / "space.yaml").write_text(SPACE)
    where = () if cluster is None else ("--cluster", cluster["address"])
    variables = {**os.environ, **ONE_PROCESSOR, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    variables.pop("KERAS_BACKEND", None)
    arguments = [sys.executable, "-m", "keras_lnn", *command, *NETWORK, *where]
    done = subprocess.run(
        arguments, env=variables, cwd=folder, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def search(folder, *options, cluster=None):
    return run(folder, "tune", "--space", "space.yaml", "--search-dir", "search", *options, cluster=cluster)


def trials_of(folder):
    """Returns the table of the trials as it is written, without the columns of times."""
    table = pd.read_csv(folder / "search/trials.csv", dtype=str, keep_default_na=False)
    return table.drop(columns=["seconds", "process_seconds"]).to_csv()


def files_of(folder):
    """Returns the files of a search, without times."""
    state = json.loads((folder / "search/oracle.json").read_text())
    for name in ("seconds", "elapsed_seconds"):
        del state[name]
    for trial in state["trials"].values():
        del trial["metrics"]["metrics"]["seconds"]
    predictions = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("predictions.csv")}
    found = {name: (folder / "search" / name).read_text() for name in ("best.yaml", "search.yaml")}
    return {**found, **predictions, "trials.csv": trials_of(folder), "oracle.json": state}


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A search of five random trials and two that are chosen from the results."""
    folder = tmp_path_factory.mktemp("local")
    search(folder, "--max-trials", "7")
    return files_of(folder)


@pytest.mark.parametrize("folders", ["shared", "sent"])
def test_one_trial_at_a_time_gives_the_files_of_a_search_on_this_machine(local, cluster, tmp_path, folders):
    options = ("--max-trials", "7", "--workers", "1", "--cluster-folders", folders)
    printed = search(tmp_path, *options, cluster=cluster)
    assert "cluster of 2 nodes, 1 runs at a time, each with 1 processor; keras-lnn" in printed
    assert "7 trials succeeded, 0 failed" in printed
    assert files_of(tmp_path) == local
    assert "search: 7 trials are done" in search(tmp_path, *options, cluster=cluster)
    assert files_of(tmp_path) == local


def test_two_trials_at_a_time_are_as_many_and_try_no_values_twice(local, cluster, tmp_path):
    assert "2 runs at a time" in search(tmp_path, "--max-trials", "7", cluster=cluster)
    table = pd.read_csv(tmp_path / "search/trials.csv")
    assert list(table["status"]) == ["completed"] * 7
    values = list(table[["units", "second_units", "learning_rate"]].itertuples(index=False, name=None))
    assert len(set(values)) == 7
    # The first five are random, so they are those of one trial at a time, with the same results.
    assert trials_of(tmp_path).splitlines()[:6] == local["trials.csv"].splitlines()[:6]


def test_a_search_prunes_the_same_trials_on_the_cluster(cluster, tmp_path):
    options = ("--max-trials", "5", "--workers", "1", "--prune", "halving", "--factor", "2")
    search(tmp_path / "local", *options)
    search(tmp_path / "cluster", *options, "--cluster-folders", "sent", cluster=cluster)
    assert files_of(tmp_path / "cluster") == files_of(tmp_path / "local")
    assert set(pd.read_csv(tmp_path / "cluster/search/trials.csv")["status"]) == {"completed", "pruned"}


def test_a_search_trains_its_folds_on_the_cluster_as_on_this_machine(cluster, tmp_path):
    # Of two trials at a time either could end first.
    options = ("--folds", "3", "--max-trials", "2", "--workers", "1")
    search(tmp_path / "local", *options)
    printed = search(tmp_path / "cluster", *options, cluster=cluster)
    assert "3 folds each" in printed
    assert files_of(tmp_path / "cluster") == files_of(tmp_path / "local")


def test_a_cross_validation_on_the_cluster_gives_the_tables_of_this_machine(cluster, tmp_path):
    tables = []
    for name, place in (("local", None), ("cluster", cluster)):
        folder = tmp_path / name
        options = ("--run-dir", "folds", "--no-tensorboard", "--no-explanations")
        run(folder, "train", "--folds", "3", *options, cluster=place)
        found = {}
        for path in (folder / "folds").rglob("*.csv"):
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
            times = [column for column in table if column.split("_")[0] == "seconds"]
            found[str(path.relative_to(folder))] = table.drop(columns=times).to_csv()
        tables.append(found)
    assert {"folds/folds.csv", "folds/predictions.csv"} <= set(tables[0])
    assert tables[1] == tables[0]
