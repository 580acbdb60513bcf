"""Studies in the queue of Slurm, and as processes of this machine that start and end in the same way.

Tests with Slurm itself run where its commands are and its nodes share this machine's disk.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess

import psutil
import pytest
from ray_clusters import WAIT_SECONDS
from study_commands import run, start, tables_of, wait_until
from test_study_on_cluster import epochs_of, helpers_in

pytestmark = pytest.mark.slow
LONG = ("--protocol", "long", "--models", "dnn")
LOG = "study/phantom-breast/dnn/seed-0-process/log.txt"


@pytest.fixture(params=["slurm-local", "slurm"])
def options(request):
    pytest.importorskip("submitit", reason="needs submitit: pip install keras-lnn[slurm]")
    if request.param == "slurm" and shutil.which("sbatch") is None:
        pytest.skip("needs Slurm")
    return ("--cluster", request.param, "--workers", "2")


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    folder = tmp_path_factory.mktemp("local")
    run(folder, "--workers", str(os.cpu_count()))  # so that each computes on one processor
    return tables_of(folder)


@pytest.fixture(scope="module")
def local_long(tmp_path_factory):
    folder = tmp_path_factory.mktemp("local-long")
    run(folder, *LONG, "--workers", str(os.cpu_count()))
    return tables_of(folder)


def tasks_in(folder):
    """Returns the processes of submitit that do the tasks of a study."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if "submitit.core._submit" in line and str(folder / "study" / "slurm") in line and "srun" not in line[0]:
            found.append(process)
    return found


def number_of_task(folder):
    (file,) = (folder / "study" / "slurm").glob("*.queued.json")
    return json.loads(file.read_text())["number"]


def stop_for_later(folder, options):
    """Sends what Slurm sends before the time limit of the only task."""
    if "slurm" in options:
        subprocess.run(["scancel", "--signal=USR2", number_of_task(folder)], check=True)
    else:
        (task,) = tasks_in(folder)
        task.send_signal(signal.SIGUSR2)


def test_the_tables_are_those_of_the_local_pool(local, options, tmp_path):
    printed = run(tmp_path, *options)
    assert "2 runs at a time, each with 1 processor for 1h; keras-lnn" in printed
    assert "2 of 2 runs done, 0 failed" in printed
    assert "submitit" not in printed
    assert tables_of(tmp_path) == local
    assert not (tmp_path / "study" / "slurm").exists()
    assert "2 done before, 0 left" in run(tmp_path, *options)


def test_a_run_that_is_put_back_goes_on_after_its_last_checkpoint(local_long, options, tmp_path):
    process = start(tmp_path, *LONG, *options)
    wait_until(lambda: epochs_of(tmp_path) > 3, process)
    stop_for_later(tmp_path, options)
    printed = process.communicate(timeout=WAIT_SECONDS)[0]
    assert process.returncode == 0, printed
    assert "1 of 1 run done, 0 failed" in printed
    assert tables_of(tmp_path) == local_long
    log = (tmp_path / LOG).read_text()
    assert "epoch 120/120 " in log
    assert "epoch 1/120 " not in log


def test_a_command_that_is_killed_finds_its_run_again(local_long, options, tmp_path):
    process = start(tmp_path, *LONG, *options)
    wait_until(lambda: epochs_of(tmp_path) > 3, process)
    (task,) = tasks_in(tmp_path)
    with process:  # whose output the task may hold open
        process.kill()
    reached = epochs_of(tmp_path)
    wait_until(lambda: epochs_of(tmp_path) > reached + 2)  # without the command
    assert "1 of 1 run done, 0 failed" in run(tmp_path, *LONG, *options)
    assert tables_of(tmp_path) == local_long
    assert "epoch 1/120 " in (tmp_path / LOG).read_text()  # it has never begun anew
    assert not task.is_running()


def test_a_command_that_is_interrupted_ends_its_run_and_goes_on(local_long, options, tmp_path):
    process = start(tmp_path, *LONG, *options)
    wait_until(lambda: epochs_of(tmp_path) > 3, process)
    process.send_signal(signal.SIGINT)
    printed = process.communicate(timeout=WAIT_SECONDS)[0]
    assert "stopped; the same command continues the study" in printed
    assert process.returncode != 0
    assert not tasks_in(tmp_path)
    wait_until(lambda: not helpers_in(tmp_path))
    assert not (tmp_path / "study" / "slurm").exists()
    assert 3 < epochs_of(tmp_path) < 120
    run(tmp_path, *LONG, *options)
    assert tables_of(tmp_path) == local_long
    assert "epoch 1/120 " not in (tmp_path / LOG).read_text()


def test_a_run_that_fails_or_is_lost_has_its_reason_and_log(options, tmp_path):
    printed = run(tmp_path, "--models", "dnn", *options, "--run-timeout", "0.1s", status=2)
    assert "dnn on phantom-breast, seed 0 failed: took longer than its limit of 0.1 s" in printed
    assert (tmp_path / LOG).is_file()
    process = start(tmp_path, *LONG, *options)
    wait_until(lambda: tasks_in(tmp_path) and helpers_in(tmp_path), process)
    with contextlib.suppress(psutil.NoSuchProcess):
        for task in tasks_in(tmp_path):
            task.kill()
    printed = process.communicate(timeout=WAIT_SECONDS)[0]
    assert process.returncode == 2
    assert "dnn on phantom-breast, seed 0 failed: left the queue on " in printed
    assert (tmp_path / LOG).with_name("slurm.txt").is_file()
    wait_until(lambda: not helpers_in(tmp_path))
