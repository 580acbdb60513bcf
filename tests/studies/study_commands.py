"""Commands that train small studies, and what the tests read of them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
from ray_clusters import WAIT_SECONDS

ROOT = Path(__file__).parents[2]
STUDY = """
title: Small networks
data: [phantom-breast]
seeds: 1
protocols:
  published: {epochs: 3, keep: last, batch_size: 128}
  long: {epochs: 120, keep: last, batch_size: 128}
networks:
  dnn: {model_args: {units: 4, second_units: 4}}
  wide: {model: dnn, model_args: {units: 8, second_units: 4}}
"""
# Columns with times, by the first word of their names.
TIMES = ("seconds",)


def wait_until(condition, process=None):
    deadline = time.monotonic() + WAIT_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None, process.communicate()[0]
        time.sleep(0.1)
    return found


def start(folder, *options, cluster=None, launch=subprocess.Popen):
    """Starts a study whose paths are the same wherever it runs.

    Args:
        folder: The current folder of the command.
        *options: Options of the command.
        cluster: The address of a cluster is among its values.
        launch: Starts a process, perhaps on another host.
    """
    folder.mkdir(exist_ok=True)
    (folder / "small.yaml").write_text(STUDY)
    if cluster is not None:
        options = ("--cluster", cluster["address"], *options)
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    variables.pop("KERAS_BACKEND", None)
    arguments = [sys.executable, "-m", "keras_lnn", "study", "small.yaml", "--study-dir", "study", *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return launch(arguments, env=variables, cwd=folder, **pipes)


def run(folder, *options, cluster=None, status=0):
    process = start(folder, *options, cluster=cluster)
    printed = process.communicate(timeout=WAIT_SECONDS)[0]
    assert process.returncode == status, printed
    return printed


def tables_of(folder):
    """Returns the tables of a study as they are written, without the columns of times."""
    found = {}
    study = folder / "study"
    assert (study / "results.csv").is_file()
    for path in [*study.glob("*.csv"), *study.glob("comparison-*/*.csv"), *study.rglob("predictions.csv")]:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        shown = table[[column for column in table if column.split("_")[0] not in TIMES]]
        found[str(path.relative_to(study))] = shown.to_csv()
    return found
