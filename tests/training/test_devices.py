"""One run on several devices: it learns what it learns on one. Two logical devices need a process of their own."""

import functools
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import TINY, register_tiny_data
from tiny_series import register_tiny_series

from keras_lnn.backend.devices import list_devices
from keras_lnn.cli.main import main
from keras_lnn.config import TrainConfig
from keras_lnn.errors import InputError
from keras_lnn.layers import LTC, Rows
from keras_lnn.registry import register_model
from keras_lnn.training.devices import require_devices
from keras_lnn.training.loop import resume, train
from keras_lnn.training.protocol import complete_config, is_run_of
from keras_lnn.training.recorder import Recorder

HAS_TWO = "KERAS_LNN_TEST_DEVICES" in os.environ
QUIET = {"export": "none", "explanations": False, "test": False}
SMALL = {"data": TINY, "batch_size": 20, "epochs": 2, "learning_rate": 0.01, "calibration": "none", **QUIET}
on_two = pytest.mark.skipif(not HAS_TWO, reason="it is run in a process with two devices")
if HAS_TWO and keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    halves = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], halves)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(HAS_TWO, reason="this is the process")
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_runs_are_the_same_on_two_devices(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    own = {"KERAS_BACKEND": backend, "KERAS_LNN_TEST_DEVICES": "2"}
    if backend == "jax":
        flags = "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0"
        own |= {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", __file__, "-m", "slow"]
    done = subprocess.run(
        command, env={**os.environ, **own}, capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert ", 2 skipped" in done.stdout  # those that start this process


@pytest.fixture(autouse=True)
def tiny_data(monkeypatch):
    register_tiny_data()
    monkeypatch.setattr("keras_lnn.training.report._draw", lambda *_: None)


def tiny_liquid(image_shape: tuple[int, ...], outputs: int) -> keras.Model:
    """Returns a network with an LTC over the rows of a small map."""
    inputs = keras.Input(image_shape)
    maps = keras.layers.AveragePooling2D(7)(keras.layers.Rescaling(1 / 255)(inputs))
    return keras.Model(inputs, keras.layers.Dense(outputs)(LTC(5, ode_unfolds=2)(Rows()(maps))))


def tiny_normalised(image_shape: tuple[int, ...], outputs: int) -> keras.Model:
    """Returns a network with batch normalisation."""
    inputs = keras.Input(image_shape)
    maps = keras.layers.BatchNormalization(momentum=0.9)(keras.layers.Conv2D(3, 5, strides=4)(inputs))
    return keras.Model(inputs, keras.layers.Dense(outputs)(keras.layers.Flatten()(keras.layers.ReLU()(maps))))


def tiny_dropped(image_shape: tuple[int, ...], outputs: int) -> keras.Model:
    """Returns a network with dropout."""
    inputs = keras.Input(image_shape)
    values = keras.layers.Dropout(0.5)(keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs)))
    return keras.Model(inputs, keras.layers.Dense(outputs)(values))


def history_of(folder: Path, **fields) -> list[dict[str, float]]:
    """Returns the epochs of a new run, without their seconds."""
    checkpoint = train(TrainConfig.create({**SMALL, "run_dir": folder, **fields})).folder.read_checkpoint()
    return [{name: value for name, value in row.items() if name != "seconds"} for row in checkpoint.history]


@functools.cache
def register(network) -> str:
    """Registers a network and returns its name."""
    register_model(family="test", reference_data="phantom-breast")(network)
    return network.__name__.replace("_", "-")


@on_two
@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "fields"),
    [
        (tiny_liquid, {"augmentation": "mirror+noise", "weight_average": 0.9}),
        (tiny_normalised, {"class_weight": "balanced", "optimizer": "sgd"}),
        (tiny_liquid, {"loss": "soft-f1"}),
        ("lnn-series", {"batch_size": 8, "model_args": {"dropout": 0.0, "features": 4, "units": 4}}),
    ],
    ids=["liquid", "normalised", "batch-loss", "series"],
)
def test_the_epochs_of_one_and_of_two_devices_agree(network, fields, tmp_path):
    if isinstance(network, str):
        fields = {"model": network, "data": register_tiny_series(), **fields}
    else:
        fields = {"model": register(network), **fields}
    one, two = (history_of(tmp_path / str(devices), devices=devices, **fields) for devices in (1, 2))
    assert [list(row) for row in one] == [list(row) for row in two]
    for expected, row in zip(one, two, strict=True):
        assert row == pytest.approx(expected, abs=1e-5)
    assert one[0]["loss"] != one[1]["loss"]


@on_two
@pytest.mark.slow
def test_a_run_of_two_devices_that_was_killed_ends_with_the_same_weights(tmp_path, monkeypatch):
    fields = {"model": register(tiny_dropped), "devices": 2}
    history_of(tmp_path / "whole", **fields)

    def stop(self, epoch, logs=None):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        begin = Recorder.on_epoch_begin
        patched.setattr(Recorder, "on_epoch_begin", lambda *given: stop(*given) if given[1] else begin(*given))
        with pytest.raises(KeyboardInterrupt):
            history_of(tmp_path / "killed", **fields)
    folders = [resume(tmp_path / "killed").folder, resume(tmp_path / "whole").folder]
    ours, expected = (folder.read_last() for folder in folders)
    assert all((one == other).all() for one, other in zip(ours, expected, strict=True))


@on_two
@pytest.mark.slow
def test_mixed_precision_is_trained_on_two_devices(tmp_path):
    rows = history_of(tmp_path / "run", model=register(tiny_liquid), devices=2, precision="mixed_float16")
    assert np.isfinite([row["loss"] for row in rows]).all()


def config_of(**fields) -> TrainConfig:
    return complete_config(TrainConfig.create({"model": "dnn", "data": TINY, **fields}))


def test_a_batch_must_be_divided_evenly():
    with pytest.raises(InputError, match=r"divide the batch size\. Received: 3 devices for batches of 20\. Give.* 21"):
        config_of(devices=3, batch_size=20)


def test_a_batch_must_be_divided_evenly_among_all_devices_of_all_hosts():
    wanted = r"must divide the batch size\. Received: 3 hosts with 2 each for batches of 20\. Give --batch-size 18"
    with pytest.raises(InputError, match=wanted):
        require_devices(config_of(devices=2, batch_size=20), hosts=3)
    require_devices(config_of(batch_size=21), hosts=3)


def test_more_devices_than_there_are_are_refused():
    count = len(list_devices())
    wanted = rf"at most the number of this machine's devices, {count} \(.*\). Received: {count + 1}\. Lower it"
    with pytest.raises(InputError, match=wanted):
        require_devices(config_of(devices=count + 1, batch_size=4 * (count + 1)))
    require_devices(config_of(batch_size=7))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX compiles whole steps in any case")
def test_a_step_that_is_compiled_as_a_whole_is_refused_on_several_devices():
    with pytest.raises(InputError, match=r"Received: --devices 2\. Leave one out"):
        require_devices(config_of(devices=2, batch_size=4, xla=True, deterministic=False))


def test_another_number_of_devices_is_the_same_run(tmp_path):
    (tmp_path / "config.yaml").write_text(config_of(devices=2, batch_size=20).to_yaml())
    assert is_run_of(tmp_path, config_of(batch_size=20))
    assert not is_run_of(tmp_path, config_of(batch_size=21))


@pytest.mark.parametrize(
    "command", ["tune --devices 2", "train --folds 3 --devices 2", "study term-paper --fields devices=2"]
)
def test_one_of_several_runs_uses_one_device(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"uses one device\. Received: --devices 2\. Leave it out"):
        main(command.split())
    assert not list(tmp_path.iterdir())
