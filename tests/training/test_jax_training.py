"""Training on the JAX backend, in a process of its own: a step of layers with weights, whole runs, losses."""

import importlib.util
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from ncps.wirings import AutoNCP

import train
from keras_lnn.config import TrainConfig
from keras_lnn.errors import InputError
from keras_lnn.layers import LTC, CfC, Channels, Columns, Rows
from keras_lnn.registry import register_model
from keras_lnn.saved.export import export_model
from keras_lnn.training.compiling import compiles_whole_step

IS_JAX = keras.backend.backend() == "jax"
# The slow tests of this file, and what every backend is tested for.
SLOW_ON_JAX = ["-m", "slow or not slow", "tests/losses/test_focal_losses.py"]
on_jax = pytest.mark.skipif(not IS_JAX, reason="it is run in the process with JAX")


@pytest.mark.timeout(900)
@pytest.mark.skipif(IS_JAX, reason="this is the process")
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
@pytest.mark.parametrize(
    ("more", "skipped"), [([], 1), pytest.param(SLOW_ON_JAX, 2, marks=pytest.mark.slow)], ids=["few", "all"]
)
def test_layers_and_runs_are_trained_on_jax(more, skipped):
    # Programs that run once are compiled without optimisation.
    jax = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_backend_optimization_level=0"}
    environment = {**os.environ, **jax}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", __file__, *more]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stdout[-4000:]
    assert f", {skipped} skipped" in done.stdout  # those that start this process


def make_layers() -> dict[str, keras.layers.Layer]:
    """Returns layers with every kind of weights; each unfold is compiled, and two suffice to find faults of several."""
    return {
        "ltc-wired-mixed": LTC(AutoNCP(5, 1), ode_unfolds=2, dtype="mixed_bfloat16"),
        "ltc-memory": LTC(3, ode_unfolds=2, mixed_memory=True),
        "cfc": CfC(3, backbone_units=4),
        "cfc-wired": CfC(AutoNCP(5, 1)),
        "cfc-memory-of-ncps": CfC(3, backbone_layers=0, mixed_memory=True, version="ncps.keras"),
        "both-ways": keras.layers.Bidirectional(LTC(3, ode_unfolds=2)),
    }


# Compiling takes most of the time, so that the other layers are trained with the slow tests.
FEW_LAYERS = ("ltc-wired-mixed", "cfc-wired")


def tiny_linear(image_shape: tuple[int, ...], outputs: int) -> keras.Model:
    """Returns a linear network, which is compiled quickly."""
    inputs = keras.Input(image_shape)
    return keras.Model(inputs, keras.layers.Dense(outputs)(keras.layers.Flatten()(inputs)))


def tiny_ltc(image_shape: tuple[int, ...], outputs: int) -> keras.Model:
    """Returns a network with an LTC over the rows of a small map."""
    inputs = keras.Input(image_shape)
    maps = keras.layers.AveragePooling2D(14)(keras.layers.Rescaling(1 / 255)(inputs))
    return keras.Model(inputs, keras.layers.Dense(outputs)(LTC(AutoNCP(5, 1), ode_unfolds=2)(Rows()(maps))))


@on_jax
@pytest.mark.parametrize("names", [FEW_LAYERS, pytest.param(tuple(make_layers()), marks=pytest.mark.slow)], ids=len)
def test_a_step_of_fit_trains_every_layer(names):
    keras.utils.set_random_seed(0)
    images, times, mask = keras.Input((2, 2, 2)), keras.Input((2,)), keras.Input((2,), dtype="bool")
    layers, features = {name: layer for name, layer in make_layers().items() if name in names}, []
    # One model of them all, since most of the time goes into compiling.
    for (name, layer), sequence in zip(layers.items(), itertools.cycle([Rows(), Columns(), Channels()]), strict=False):
        steps = sequence(images)
        features.append(layer(steps if name == "both-ways" else (steps, times), mask=mask))
    model = keras.Model([images, times, mask], keras.layers.Add()([keras.layers.Dense(1)(part) for part in features]))
    before = {weight.path: np.array(weight) for weight in model.trainable_weights}
    model.compile(keras.optimizers.SGD(1.0), "mse")  # each operation on a weight is compiled for each of them
    generator = np.random.default_rng(0)
    given = [
        generator.normal(size=(2, 2, 2, 2)),
        np.array([[1.0, 2.0], [0.5, np.nan]]),
        np.array([[1, 1], [1, 0]], bool),
    ]
    model.fit(given, generator.normal(size=(2, 1)), verbose=0)
    assert all(np.isfinite(weight).all() for weight in model.trainable_weights)
    for name, layer in layers.items():
        assert {weight.dtype for weight in layer.weights} == {"float32"}, name
        kept = [weight.path for weight in layer.trainable_weights if (np.array(weight) == before[weight.path]).all()]
        assert not kept, name


@on_jax
@pytest.mark.parametrize("network", [tiny_linear, pytest.param(tiny_ltc, marks=pytest.mark.slow)])
def test_a_whole_run_is_trained_and_exported(network, tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr("keras_lnn.training.report._draw", lambda *_: None)  # NumPy draws, whatever the backend is
    register_model(family="test", reference_data="phantom-breast", epochs=1, batch_size=16)(network)
    folders = f"--run-dir {tmp_path / 'run'} --export-dir {tmp_path / 'exported'}"
    simple = "--epochs 1 --batch-size 10 --augmentation none --loss cross-entropy --monitor val_auc --no-tensorboard"
    simple += " --no-explanations"
    options = f"--model {network.__name__.replace('_', '-')} --data {tiny_data} {simple} {folders}".split()
    assert train.main([*options, "--export", "keras"]) == 0
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["epochs"] == 1
    # The slow tests compare them with those of a run on TensorFlow.
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"config.yaml", "environment.json", "history.csv", "predictions.csv", "report.html", "best.keras"} <= left
    # Else each operation would be compiled and run by itself.
    assert compiles_whole_step(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]), TrainConfig())
    # It is there only if its probabilities were those of the run.
    assert (tmp_path / "exported" / "run" / "model.keras").is_file()


@on_jax
@pytest.mark.slow
def test_a_run_is_exported_by_a_process_with_tensorflow(tiny_data, tmp_path):
    options = (
        f"--model lnn --data {tiny_data} --epochs 1 --no-tensorboard --no-explanations --run-dir {tmp_path / 'run'}"
    )
    assert train.main([*options.split(), "--export", "onnx", "--export-dir", str(tmp_path)]) == 0
    # Each is there only if its probabilities were those of the run.
    assert (tmp_path / "run-2" / "model.onnx").is_file()
    assert (export_model(tmp_path / "run", tmp_path / "saved") / "saved_model.pb").is_file()
    (tmp_path / "run" / "best.keras").write_bytes(b"damaged")
    with pytest.raises(InputError, match="must be a whole one"):
        export_model(tmp_path / "run", tmp_path / "again")
