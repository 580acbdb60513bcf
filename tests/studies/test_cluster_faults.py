"""Studies on a Ray cluster of simulated hosts that fail: the tables are those of a study that nothing has disturbed."""

import contextlib
import importlib.util
import os
import signal
import time

import psutil
import pytest
from ray_clusters import WAIT_SECONDS
from simulated_hosts import RayNetwork, simulated_network, why_impossible
from study_commands import run, start, tables_of, wait_until

HELPER = "keras_lnn.processes.helper"
OPTIONS = ("--protocol", "long", "--seeds", "2", "--fields", "epochs=40")
SMALL_DISK = {"disk_mb": 64, "only_disk": True}
CUT_SECONDS = 20

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def running_hosts(folder, folders, **options):
    """Yields a cluster of two nodes, which see the folder of the study only if they share it, or cannot write to it."""
    if (reason := why_impossible()) is not None:
        pytest.skip(reason)
    if importlib.util.find_spec("ray") is None:
        pytest.skip("needs Ray: pip install keras-lnn[cluster]")
    hidden = [] if folders == "shared" or "only_disk" in options else [folder]
    with simulated_network() as network:
        yield RayNetwork(network, *[{"hidden": hidden, **options}] * 2)


def start_on(cluster, folder, folders):
    options = ("--cluster", cluster.address, "--cluster-folders", folders)
    return start(folder, *OPTIONS, *options, launch=cluster.head.start)


def finish(process, status=0):
    printed = process.communicate(timeout=WAIT_SECONDS)[0]
    assert process.returncode == status, printed
    return printed


def trainings_on(*hosts):
    """Returns the processes that train on hosts, by the file to which they print, which is that of their run."""
    found = {}
    for process in (one for host in hosts for one in host.find(HELPER)):
        with contextlib.suppress(OSError):
            printed = os.readlink(f"/proc/{process.pid}/fd/1")
            if printed.endswith("log.txt") and os.getsid(process.pid) == process.pid:
                found.setdefault(printed, []).append(process)
    return found


def done_in(folder):
    """Returns the files that finished runs have."""
    return list((folder / "study").glob("*/*/*/metrics.json"))


def is_begun(cluster, folder):
    """Returns whether a run has ended and another one trains on the second node."""
    return done_in(folder) and trainings_on(cluster.nodes[1])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    run(folder, *OPTIONS, "--workers", str(os.cpu_count()))
    return tables_of(folder)


@pytest.mark.parametrize("folders", ["shared", "sent"])
def test_a_node_that_is_killed_costs_no_run(undisturbed, tmp_path, folders):
    with running_hosts(tmp_path, folders) as cluster:
        process = start_on(cluster, tmp_path, folders)
        wait_until(lambda: is_begun(cluster, tmp_path), process)
        cluster.nodes[1].kill()
        printed = finish(process)
    assert "4 of 4 runs done, 0 failed" in printed
    assert tables_of(tmp_path) == undisturbed


@pytest.mark.parametrize("folders", ["shared", "sent"])
def test_a_network_that_is_cut_for_a_while_costs_no_run(undisturbed, tmp_path, folders):
    with running_hosts(tmp_path, folders) as cluster:
        process = start_on(cluster, tmp_path, folders)
        wait_until(lambda: is_begun(cluster, tmp_path), process)
        cluster.network.connect(cluster.nodes[1], False)
        time.sleep(CUT_SECONDS)
        cluster.network.connect(cluster.nodes[1], True)
        printed = finish(process)
    assert "4 of 4 runs done, 0 failed" in printed
    assert tables_of(tmp_path) == undisturbed


def test_a_run_whose_node_is_cut_off_begins_elsewhere_and_no_longer_goes_on_there(undisturbed, tmp_path):
    with running_hosts(tmp_path, "shared") as cluster:
        whole, cut = cluster.nodes
        process = start_on(cluster, tmp_path, "shared")
        wait_until(lambda: is_begun(cluster, tmp_path), process)
        cluster.network.connect(cut, False)
        ((log, (slow,)),) = trainings_on(cut).items()
        slow.suspend()  # so that it cannot end before the other one begins
        wait_until(lambda: log in trainings_on(whole), process)
        wait_until(lambda: not slow.is_running() or slow.status() == psutil.STATUS_ZOMBIE)
        printed = finish(process)
    assert "4 of 4 runs done, 0 failed" in printed
    assert not list((tmp_path / "study").rglob(".attempt"))
    assert tables_of(tmp_path) == undisturbed


def fill(host):
    """Fills the disk of a host except for one block, and returns the file that does."""
    filler = host.disk / "filler"
    host.run("sh", "-c", f"cat /dev/zero > {filler} 2> /dev/null; test -s {filler}")
    return filler


def test_a_node_whose_disk_is_full_costs_no_run_and_gets_no_more(undisturbed, tmp_path):
    with running_hosts(tmp_path, "sent", **SMALL_DISK) as cluster:
        process = start_on(cluster, tmp_path, "sent")
        wait_until(lambda: trainings_on(cluster.nodes[1]), process)
        fill(cluster.nodes[1])
        wait_until(lambda: not trainings_on(cluster.nodes[1]), process)
        while process.poll() is None:
            assert not trainings_on(cluster.nodes[1])
            time.sleep(0.5)
        printed = finish(process)
    assert "4 of 4 runs done, 0 failed" in printed
    assert tables_of(tmp_path) == undisturbed


def test_runs_fail_with_the_reason_if_all_disks_are_full_and_the_same_command_goes_on(undisturbed, tmp_path):
    with running_hosts(tmp_path, "sent", **SMALL_DISK) as cluster:
        fillers = {host: fill(host) for host in cluster.nodes}
        printed = finish(start_on(cluster, tmp_path, "sent"), status=2)
        failed = [line for line in printed.splitlines() if " failed: " in line]
        assert "4 failed runs" in printed
        assert all("the disk is full" in line for line in failed)
        for host, filler in fillers.items():
            host.run("rm", str(filler))
        assert "4 of 4 runs done, 0 failed" in finish(start_on(cluster, tmp_path, "sent"))
    assert tables_of(tmp_path) == undisturbed


def list_temporary_folders(node):
    return node.run("find", str(node.disk), "-maxdepth", "1", "-name", "keras-lnn-job-*").split()


@pytest.mark.parametrize("folders", ["shared", "sent"])
def test_a_command_that_is_killed_leaves_nothing_on_the_nodes_and_goes_on(undisturbed, tmp_path, folders):
    with running_hosts(tmp_path, folders) as cluster:
        process = start_on(cluster, tmp_path, folders)
        wait_until(lambda: is_begun(cluster, tmp_path), process)
        (command,) = cluster.head.find("study small.yaml")
        command.kill()
        finish(process, status=-signal.SIGKILL)
        done = len(done_in(tmp_path))
        wait_until(lambda: not any(node.find(HELPER) for node in cluster.nodes))
        printed = finish(start_on(cluster, tmp_path, folders))
        # Ray kills the processes on the nodes before they can remove their folders; the next jobs do.
        assert [list_temporary_folders(node) for node in cluster.nodes] == [[], []]
    assert f"{done} done before" in printed
    assert tables_of(tmp_path) == undisturbed
