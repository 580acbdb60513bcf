"""A run on JAX is that on TensorFlow but for rounding: its configuration, how it resumes, and what it leaves."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

BACKENDS = ("tensorflow", "jax")
# Trains a run, and another one that is stopped after its first epoch and resumed.
PROGRAM = """
import sys
from rich.console import Console
from keras_lnn.config import TrainConfig
from keras_lnn.runs.folder import RunFolder
from keras_lnn.training.loop import resume, train

fields = {"model": "dnn", "model_args": {"units": 16, "second_units": 8}, "data": "phantom-breast", "epochs": 2}
fields |= {"batch_size": 100, "export": "none", "tensorboard": False, "explanations": False}
whole, stopped = (TrainConfig.create(fields | {"run_dir": folder}) for folder in sys.argv[1:])
train(whole, Console())
write = RunFolder.write_checkpoint

def stop(*arguments):
    write(*arguments)
    raise KeyboardInterrupt

RunFolder.write_checkpoint = stop
try:
    train(stopped, Console())
except KeyboardInterrupt:
    RunFolder.write_checkpoint = write
resume(stopped.run_dir, Console())
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """Returns for each backend the folder of a whole and of a resumed run."""
    if importlib.util.find_spec("jax") is None:
        pytest.skip("JAX is not installed")
    places = {}
    for backend in BACKENDS:
        places[backend] = tmp_path_factory.mktemp(backend)
        command = [sys.executable, "-c", PROGRAM, *(str(places[backend] / name) for name in ("whole", "resumed"))]
        environment = {**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=Path(__file__).parents[2])
        assert done.returncode == 0, done.stderr[-4000:]
    return places


def read_of(places: dict[str, Path], name: str) -> list[str]:
    return [(places[backend] / "whole" / name).read_text(encoding="utf-8") for backend in BACKENDS]


@pytest.mark.slow
def test_the_configuration_is_the_same_on_each_backend(folders):
    ours, theirs = (yaml.safe_load(text) for text in read_of(folders, "config.yaml"))
    assert ours.pop("run_dir") != theirs.pop("run_dir")
    assert ours == theirs


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_resumed_run_is_bit_identical_on_each_backend(folders, backend):
    whole, resumed = (folders[backend] / name for name in ("whole", "resumed"))
    pd.testing.assert_frame_equal(
        *(pd.read_csv(folder / "history.csv").drop(columns="seconds") for folder in (whole, resumed))
    )
    assert (whole / "predictions.csv").read_bytes() == (resumed / "predictions.csv").read_bytes()


@pytest.mark.slow
def test_a_run_leaves_the_same_on_each_backend(folders):
    files = [
        {str(path.relative_to(folders[backend])) for path in folders[backend].rglob("*") if path.is_file()}
        for backend in BACKENDS
    ]
    assert files[0] == files[1]
    assert "whole/report.html" in files[0]
    tables = [path.name for path in (folders["jax"] / "whole").glob("*.csv")]
    assert {"history.csv", "predictions.csv"} <= set(tables)
    for name in tables:
        first, second = (pd.read_csv(folders[backend] / "whole" / name) for backend in BACKENDS)
        assert (list(first), len(first)) == (list(second), len(second)), name
    first, second = (list(flatten(json.loads(text))) for text in read_of(folders, "metrics.json"))
    assert first == second
    headings = [re.findall(r"<h[1-3][^>]*>(.*?)</h[1-3]>", text, re.DOTALL) for text in read_of(folders, "report.html")]
    assert headings[0] == headings[1] != []
    used = [json.loads(text)["backend"] for text in read_of(folders, "environment.json")]
    assert used == list(BACKENDS)


def flatten(content: object, name: str = ""):
    """Yields the names of all values, with those of the objects that hold them."""
    if not isinstance(content, dict):
        yield name
        return
    for key, value in content.items():
        yield from flatten(value, f"{name}/{key}")
