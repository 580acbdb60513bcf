"""Studies on a Ray cluster of two nodes, which are separate processes of this machine: same tables, nothing is lost."""

import contextlib
import os
import signal

import psutil
import pytest
from ray_clusters import WAIT_SECONDS, running_cluster
from study_commands import run, start, tables_of, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster():
    with running_cluster() as found:
        yield found


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    folder = tmp_path_factory.mktemp("local")
    # As many runs at a time as the cluster has nodes, so that each computes on as many processors.
    run(folder, "--workers", str(os.cpu_count()))
    return tables_of(folder)


@pytest.fixture(scope="module")
def local_long(tmp_path_factory):
    folder = tmp_path_factory.mktemp("local-long")
    run(folder, "--protocol", "long", "--models", "dnn", "--workers", str(os.cpu_count()))
    return tables_of(folder)


@pytest.mark.parametrize("folders", ["shared", "sent"])
def test_the_tables_are_those_of_one_machine(local, cluster, tmp_path, folders):
    printed = run(tmp_path, "--cluster-folders", folders, cluster=cluster)
    assert "cluster of 2 nodes, 2 runs at a time, each with 1 processor; keras-lnn" in printed
    assert "2 of 2 runs done, 0 failed" in printed
    assert "ray" not in printed.lower().replace("grayscale", "")
    assert tables_of(tmp_path) == local
    for page in (tmp_path / "study").rglob("report.html"):
        assert "keras-lnn-" not in page.read_text()  # the temporary folder
    assert not list((tmp_path / "study").glob(".seen-by-nodes-*"))
    printed = run(tmp_path, "--cluster-folders", folders, cluster=cluster)
    assert "2 done before, 0 left" in printed


def node_that_trains(cluster):
    """Returns the process of the node on which a run trains."""
    (found,) = (
        raylet
        for raylet in map(psutil.Process, cluster["raylets"])
        if any("keras_lnn.processes.helper" in " ".join(one.cmdline()) for one in raylet.children(recursive=True))
    )
    return found


def epochs_of(folder):
    try:
        return len((folder / "study/phantom-breast/dnn/seed-0/history.csv").read_text().splitlines()) - 1
    except FileNotFoundError:
        return 0


def helpers_in(folder):
    """Returns the processes that train in a folder, wherever their parents are."""
    found = []
    for process in psutil.process_iter(["cwd", "cmdline"]):
        if process.info["cwd"] == str(folder) and "keras_lnn.processes.helper" in " ".join(process.info["cmdline"]):
            found.append(process)
    return found


def test_a_run_goes_on_on_another_node_if_its_own_is_lost(local_long, tmp_path):
    with running_cluster() as cluster:
        process = start(tmp_path, "--protocol", "long", "--models", "dnn", cluster=cluster)
        wait_until(lambda: epochs_of(tmp_path) > 3, process)
        node = node_that_trains(cluster)
        reached = epochs_of(tmp_path)
        for one in [node, *node.children(recursive=True)]:  # a whole node is lost, not its processes one by one
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        printed = process.communicate(timeout=WAIT_SECONDS)[0]
    assert process.returncode == 0, printed
    assert "1 of 1 run done, 0 failed" in printed
    assert "raylet" not in printed.lower()
    assert tables_of(tmp_path) == local_long
    log = (tmp_path / "study/phantom-breast/dnn/seed-0-process/log.txt").read_text()
    assert "epoch 1/120 " not in log  # the second node went on after the last checkpoint
    assert f"epoch {reached - 1}/120 " not in log


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_study_leaves_no_process_and_goes_on(local_long, cluster, tmp_path, end):
    options = ("--protocol", "long", "--models", "dnn")
    process = start(tmp_path, *options, cluster=cluster)
    wait_until(lambda: epochs_of(tmp_path) > 3, process)
    assert helpers_in(tmp_path)
    process.send_signal(end)
    printed = process.communicate(timeout=WAIT_SECONDS)[0]
    assert process.returncode != 0
    assert ("stopped; the same command continues the study" in printed) == (end == signal.SIGINT)
    wait_until(lambda: not helpers_in(tmp_path))
    reached = epochs_of(tmp_path)
    assert 3 < reached < 120
    run(tmp_path, *options, cluster=cluster)
    assert tables_of(tmp_path) == local_long
    log = (tmp_path / "study/phantom-breast/dnn/seed-0-process/log.txt").read_text()
    assert "epoch 1/120 " not in log


def test_a_missing_cluster_and_one_without_room_are_reported(cluster, tmp_path):
    printed = run(tmp_path, "--cluster", "127.0.0.1:1", status=2)
    assert printed.count("\n") == 1
    assert "--cluster must be auto or the address of a Ray cluster" in printed
    printed = run(tmp_path, "--cpus-per-run", "2", cluster=cluster, status=2)
    assert printed.count("\n") == 1
    assert "must have room for a run, which needs 2 processors" in printed


def test_a_run_that_fails_keeps_its_reason_and_log(cluster, tmp_path):
    options = ("--models", "dnn", "--cluster-folders", "sent")
    printed = run(tmp_path, *options, "--run-timeout", "0.1s", cluster=cluster, status=2)
    assert "dnn on phantom-breast, seed 0 failed: took longer than its limit of 0.1 s" in printed
    assert (tmp_path / "study/phantom-breast/dnn/seed-0-process/log.txt").is_file()
    assert "1 of 1 run done, 0 failed" in run(tmp_path, *options, cluster=cluster)
