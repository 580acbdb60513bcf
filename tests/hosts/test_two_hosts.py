"""One run on two hosts, here two processes: it learns what one learns, and none waits for a lost one."""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console

from keras_lnn.errors import InputError
from keras_lnn.hosts.joining import open_hosts
from keras_lnn.hosts.place import Place
from keras_lnn.runs.folder import RunFolder

NETWORK = "--imports trial_models --model quick-net --data tiny-stripes --epochs 40 --batch-size 22"
LEARNING = (
    "--augmentation mirror+noise --class-weight balanced --weight-average .9 --early-stopping 30 --time-budget 1h"
)
WRITING = "--export none --calibration none --no-explanations --no-test"
NEW = f"{NETWORK} {LEARNING} {WRITING}"
# A host that waits for a lost one would wait longer.
PATIENCE = 300
needs_jax = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")


def start(options: str, folder: Path, devices: int = 1) -> subprocess.Popen:
    """Starts a training on JAX in a folder."""
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
    own = {
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": flags,
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    command = [sys.executable, "-m", "keras_lnn", "train", *options.split()]
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        command, env={**os.environ, **own}, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def start_hosts(options: str, folder: Path, *more: str) -> list[subprocess.Popen]:
    """Starts the same command on two hosts; ``more`` has options of each."""
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
    place = f"--hosts 2 --coordinator 127.0.0.1:{port}"
    return [
        start(f"{options} {place} --host-rank {rank} {more[rank] if more else ''}", folder / f"host-{rank}")
        for rank in range(2)
    ]


def finish(host: subprocess.Popen) -> str:
    """Returns what a host printed, after it ended."""
    try:
        return host.communicate(timeout=PATIENCE)[0]
    finally:
        host.kill()


def kill_after_epoch(host: subprocess.Popen, folder: RunFolder, epoch: int) -> None:
    """Kills a host once the checkpoint of an epoch is there."""
    until = time.monotonic() + PATIENCE
    while folder.last_epoch() < epoch and host.poll() is None and time.monotonic() < until:
        time.sleep(0.005)
    host.send_signal(signal.SIGKILL)
    shown = finish(host)
    assert host.returncode == -signal.SIGKILL, shown


def errors_of(text: str) -> list[str]:
    """Returns the lines with an error in what a program printed."""
    assert "Traceback" not in text, text
    return [line for line in text.splitlines() if line.startswith("error: ")]


@needs_jax
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_of_two_hosts_is_that_of_two_devices_and_continues_bit_for_bit(tmp_path):
    single = start(f"{NEW} --devices 2 --run-dir {tmp_path / 'single'}", tmp_path / "one", devices=2)
    assert "Reached AUC" in finish(single)
    hosts = start_hosts(f"{NEW} --run-dir {tmp_path / 'pair'}", tmp_path)
    shown = [finish(host) for host in hosts]
    assert [host.returncode for host in hosts] == [0, 0], shown
    assert "11 images of each batch on each of cpu:0 on each of 2 hosts" in shown[0]
    assert "epoch" not in shown[1]
    folders = [RunFolder(tmp_path / name) for name in ("single", "pair")]
    single_rows, rows = (pd.read_csv(folder.history).drop(columns="seconds") for folder in folders)
    np.testing.assert_allclose(rows, single_rows, atol=1e-5)
    assert len(rows) == 40
    files = [{path.name for path in folder.path.rglob("*.*") if "tfevents" not in path.name} for folder in folders]
    assert files[0] == files[1]
    configs = [yaml.safe_load(folder.config.read_text()) for folder in folders]
    assert {name for name in configs[0] if configs[0][name] != configs[1][name]} == {"devices", "run_dir"}
    assert json.loads(folders[1].environment.read_text())["hosts"] == 2
    assert list(tmp_path.glob("host-*/*")) == []  # neither host writes anything elsewhere

    killed, options = RunFolder(tmp_path / "killed"), f"--resume {tmp_path / 'killed'}"
    hosts = start_hosts(f"{NEW} --run-dir {killed.path}", tmp_path)
    for lost, epoch in ((1, 3), (0, 8)):
        kill_after_epoch(hosts[lost], killed, epoch)
        (line,) = errors_of(finish(hosts[1 - lost]))
        assert f"Received: host {lost} was lost. Start the command with --resume" in line
        assert hosts[1 - lost].returncode == 2
        hosts = start_hosts(options, tmp_path)
    shown = [finish(host) for host in hosts]
    assert [host.returncode for host in hosts] == [0, 0], shown
    ours, expected = (folder.read_checkpoint() for folder in (killed, folders[1]))
    assert ours.epoch == expected.epoch == 40
    for name in ("model", "optimizer", "average", "confusion"):
        pairs = zip(getattr(ours, name), getattr(expected, name), strict=True)
        assert all((one == other).all() for one, other in pairs), name


@needs_jax
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_differs_between_hosts_is_said_before_anything_is_written(tmp_path):
    hosts = start_hosts(f"{NEW} --run-dir {tmp_path / 'run'}", tmp_path, "--seed 1", "--seed 2")
    for host in hosts:
        (line,) = errors_of(finish(host))
        assert "All hosts must have the same --seed. Received: 1 on host 0 and 2 on host 1." in line
        assert host.returncode == 2
    assert not (tmp_path / "run").exists()


@needs_jax
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_all_hosts_end_with_the_reason_of_the_one_that_fails(tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    hosts = start_hosts(f"{NEW} --run-dir {tmp_path / 'taken'}", tmp_path)
    lines = [errors_of(finish(host)) for host in hosts]
    assert [host.returncode for host in hosts] == [2, 2]
    assert [len(found) for found in lines] == [1, 1], lines
    assert "The run's folder must be new" in lines[0][0]
    assert "Received: host 0 failed: The run's folder must be new" in lines[1][0]


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX trains on several hosts")
def test_another_backend_is_refused_at_once():
    refused = pytest.raises(InputError, match=r"--hosts needs JAX\. Received: 2 on .* Set KERAS_BACKEND=jax")
    with refused, open_hosts(Place(2, 0, "127.0.0.1", 9), Console(quiet=True)):
        pass
