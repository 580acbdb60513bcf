"""The public interface: each name is there, nothing is imported for it before, and a wheel holds all that it needs."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import keras_lnn

ROOT = Path(__file__).parents[1]


def test_every_public_name_can_be_imported():
    assert set(keras_lnn.__all__) - {"__version__"} == set(keras_lnn._PUBLIC)
    for name in keras_lnn.__all__:
        assert getattr(keras_lnn, name) is not None
        assert name in dir(keras_lnn)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        keras_lnn.trian  # noqa: B018


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The files of a wheel, unpacked outside the repository."""
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"  # building leaves files beside the sources
    for name in ("keras_lnn", "tuning"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("custom_metrics.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = f"from setuptools import build_meta; build_meta.build_wheel({str(place)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (file,) = place.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        archive.extractall(place / "installed")
    return place / "installed"


@pytest.mark.slow
def test_a_wheel_trains_tunes_and_predicts_elsewhere(wheel, tmp_path):
    scripts = next(wheel.glob("*.dist-info/entry_points.txt")).read_text()
    assert "keras-lnn = keras_lnn.cli.main:run" in scripts
    assert (wheel / "keras_lnn" / "py.typed").is_file()
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(wheel), *sys.path])}

    def call(*arguments):
        command = [sys.executable, "-c", "from keras_lnn.cli.main import run; run()", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    where = "import keras_lnn; print(keras_lnn.__file__)"
    found = subprocess.run([sys.executable, "-c", where], cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert found.stdout.startswith(str(wheel))
    quick = ["--model", "dnn", "--data", "phantom-breast", "--epochs", "1"]
    call("train", *quick, "--run-dir", "run", "--no-tensorboard")
    assert (tmp_path / "run" / "report.html").is_file()
    call("tune", *quick, "--max-trials", "2", "--tuner", "random")
    phantom = "from keras_lnn import load_data; from PIL import Image; "
    phantom += "Image.fromarray(load_data('phantom-breast').splits['test'].images[0, ..., 0]).save('scan.png')"
    subprocess.run([sys.executable, "-c", phantom], cwd=tmp_path, env=variables, check=True)
    assert "1 prediction" in call("predict", "run", "scan.png")
