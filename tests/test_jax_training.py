"""Training on the JAX backend, in a process of its own: a step of every layer with weights, and a whole run."""

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
from conftest import tiny_stripes
from ncps.wirings import AutoNCP

import train
from keras_lnn.errors import InputError
from keras_lnn.export import export_model
from keras_lnn.inference import load_predictor
from keras_lnn.layers import LTC, CfC, Channels, Columns, Patches, Rows
from keras_lnn.run import RunFolder

IS_JAX = keras.backend.backend() == "jax"
on_jax = pytest.mark.skipif(not IS_JAX, reason="it is run in the process with JAX")


@pytest.mark.timeout(900)
@pytest.mark.skipif(IS_JAX, reason="this is the process")
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_layers_and_runs_are_trained_on_jax():
    # Programs that run once are compiled without optimisation.
    jax = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_backend_optimization_level=0"}
    environment = {**os.environ, **jax}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stdout[-4000:]
    assert "2 passed" in done.stdout


def make_layers() -> dict[str, keras.layers.Layer]:
    """Layers that together have every kind of weights."""
    return {
        "ltc-wired-mixed": keras.layers.Bidirectional(LTC(AutoNCP(5, 1), dtype="mixed_bfloat16")),
        "ltc-memory": LTC(3, mixed_memory=True),
        "cfc": CfC(3, backbone_units=4),
        "cfc-wired": CfC(AutoNCP(5, 1)),
        "cfc-memory-of-ncps": CfC(3, backbone_layers=0, mixed_memory=True, version="ncps.keras"),
    }


@on_jax
def test_a_step_of_fit_trains_every_layer():
    keras.utils.set_random_seed(0)
    images, layers = keras.Input((2, 2, 2)), make_layers()
    # One model of them all, since most of the time goes into compiling.
    sequences = itertools.cycle([Rows(), Columns(), Channels(), Patches(1)])
    read = [layer(sequence(images)) for layer, sequence in zip(layers.values(), sequences, strict=False)]
    model = keras.Model(images, keras.layers.Add()([keras.layers.Dense(1)(features) for features in read]))
    before = {weight.path: np.array(weight) for weight in model.trainable_weights}
    model.compile(keras.optimizers.Adam(0.01), "mse")
    generator = np.random.default_rng(0)
    model.fit(generator.normal(size=(2, 2, 2, 2)), generator.normal(size=(2, 1)), verbose=0)
    assert all(np.isfinite(weight).all() for weight in model.trainable_weights)
    for name, layer in layers.items():
        assert {weight.dtype for weight in layer.weights} == {"float32"}, name
        kept = [weight.path for weight in layer.trainable_weights if (np.array(weight) == before[weight.path]).all()]
        assert not kept, name


@on_jax
def test_a_whole_run_of_an_ltc_is_trained_and_exported(tiny_data, tmp_path):
    network = "--model crnet --model-args backbone=none,map_side=2,map_channels=2,sequence=rows"
    folders = f"--run-dir {tmp_path / 'run'} --export-dir {tmp_path / 'exported'}"
    simple = "--epochs 1 --batch-size 64 --loss cross-entropy --monitor val_auc --no-tensorboard"
    options = f"{network} --data {tiny_data} {simple} {folders}".split()
    with pytest.raises(InputError, match=r"needs the TensorFlow backend. Received: jax. Give --export keras or"):
        train.main(options)
    assert not list(tmp_path.iterdir())
    assert train.main([*options, "--export", "keras"]) == 0
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["epochs"] == 1
    images = tiny_stripes().splits["test"].images
    kept, exported = (load_predictor(tmp_path / name).predict(images) for name in ("run", "exported/run"))
    np.testing.assert_allclose(exported, kept, atol=1e-6)
    with pytest.raises(InputError, match="Give --format keras"):
        export_model(tmp_path / "run", tmp_path / "again")
    run = RunFolder.open(tmp_path / "run")
    run.metrics.unlink()
    run.config.write_text(run.config.read_text().replace("export: keras", "export: saved_model"))
    with pytest.raises(InputError, match=r"Write export: keras or export: none to .*config\.yaml"):
        train.main(["--resume", str(run.path)])
