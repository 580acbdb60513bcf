"""A cluster as the place of runs: what a run is declared to need, what is checked first, and the work of a node."""

import dataclasses
import fcntl
import os
import socket
import sys
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from keras_lnn.errors import FullDiskError, InputError
from keras_lnn.fields.options import ClusterOptions
from keras_lnn.fields.values import validate
from keras_lnn.files.sources import describe_code
from keras_lnn.processes.cluster import RayCluster
from keras_lnn.processes.engines import ThisMachine, open_engine
from keras_lnn.processes.needs import Needs
from keras_lnn.processes.node_work import NodeTask, _is_overtaken, _remove_abandoned, work_on_node
from keras_lnn.processes.packing import pack_folder, unpack_folder
from keras_lnn.processes.pool import Job
from keras_lnn.processes.runner import Limits, Outcome
from tuning.settings import SearchSettings

NODE, GPU_NODE = {"CPU": 8.0, "memory": 2.0**34}, {"CPU": 12.0, "GPU": 2.0, "memory": 2.0**34}
NO_LIMITS = Limits()


def choose(nodes, limits=NO_LIMITS, **options):
    return Needs.choose(ClusterOptions(cluster="auto", **options), nodes, limits)


@pytest.mark.parametrize(
    ("nodes", "options", "needs", "places"),
    [
        ([NODE], {}, Needs(1, 0.0), [8]),
        ([NODE], {"cpus_per_run": 3}, Needs(3, 0.0), [2]),
        ([NODE, GPU_NODE], {}, Needs(6, 1.0), [0, 2]),
        ([NODE, GPU_NODE], {"gpus_per_run": 0}, Needs(1, 0.0), [8, 12]),
        ([GPU_NODE], {"gpus_per_run": 0.5}, Needs(3, 0.5), [4]),
        ([GPU_NODE], {"gpus_per_run": 0.4, "cpus_per_run": 1}, Needs(1, 0.4), [4]),
        ([GPU_NODE], {"gpus_per_run": 2, "cpus_per_run": 1}, Needs(1, 2.0), [1]),
        ([{"memory": 2.0**34}], {}, Needs(1, 0.0), [0]),
    ],
)
def test_a_run_is_declared_to_need_what_the_options_say_or_the_nodes_suggest(nodes, options, needs, places):
    assert choose(nodes, **options) == needs
    assert [needs.count_places(node) for node in nodes] == places


def test_the_limit_of_memory_is_declared_and_counts():
    needs = choose([NODE], Limits(memory_bytes=2.0**32))
    assert needs.count_places(NODE) == 4
    assert needs.as_ray_options() == {"num_cpus": 1, "num_gpus": 0.0, "memory": 2.0**32}
    assert needs.describe() == "1 processor, 4,096 MiB of memory"
    assert Needs(2, 0.5).describe() == "2 processors, 0.5 GPU"
    assert "memory" not in Needs().as_ray_options()


def test_without_ray_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "RAY_DEDUP_LOGS_SKIP_REGEX"):
        monkeypatch.setenv(name, "1")
    with pytest.raises(InputError, match=r"pip install keras-lnn\[cluster\]"):
        open_engine(ClusterOptions(cluster="auto"), None)
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def test_an_address_at_which_nothing_listens_is_reported_at_once():
    pytest.importorskip("ray", reason="needs Ray: pip install keras-lnn[cluster]")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(InputError, match=f"^--cluster must be auto or the address .* Received: {address}"):
        open_engine(ClusterOptions(cluster=address), None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cluster": "somewhere"}, "cluster must be auto or HOST:PORT, such as 10.0.0.5:6379, for Ray"),
        ({"cluster": "auto", "gpus_per_run": 1.5}, "gpus_per_run must be a whole number above 1"),
        ({"cluster": "auto", "cluster_folders": "lent"}, "cluster_folders must be 'shared' or 'sent'"),
        ({"cluster": "auto", "cpus_per_run": 0}, "cpus_per_run must be greater than or equal to 1"),
    ],
)
def test_wrong_options_are_reported(options, message):
    with pytest.raises(InputError, match=f"^{message}"):
        validate(ClusterOptions, options)


def test_options_of_a_cluster_need_one():
    with pytest.raises(InputError, match=r"^--gpus-per-run is for --cluster\. Received: no --cluster"):
        ClusterOptions(gpus_per_run=0.5).require_cluster()
    ClusterOptions(cluster="auto", gpus_per_run=0.5).require_cluster()


@pytest.mark.parametrize("option", ["serve", "chief"])
def test_a_search_has_a_cluster_or_a_chief(option):
    settings = SearchSettings(cluster="auto", **{option: "10.0.0.5:8000"})
    with pytest.raises(InputError, match=f"Received: --cluster and --{option}"):
        settings.role  # noqa: B018


def test_the_folders_of_a_job_are_those_that_are_within_no_other():
    trial = Job("t", "", {}, Path("s/trial"), runs=(Path("s/trial/seed-0"),), writes=(Path("s/b"), Path("s/b")))
    assert trial.own_folders == [Path("s/trial"), Path("s/b")]


def task_for(folder, work, order, **options):
    runs = (folder / "run",)
    task = NodeTask(
        work=work,
        order=order,
        folder=str(folder / "run-process"),
        own_folders=(str(folder / "run-process"), *map(str, runs)),
        runs=tuple(map(str, runs)),
        limits=NO_LIMITS,
        environment={"KERAS_BACKEND": "numpy"},
        working_folder=os.getcwd(),
        code=describe_code(),
    )
    return dataclasses.replace(task, **options)


def test_a_node_with_other_code_runs_nothing(tmp_path):
    task = task_for(tmp_path, "work_samples:write_run", {}, code="keras-lnn 0.0.1 (sources 0), Python 3.0.0")
    first, last = work_on_node(task)
    assert list(first) == ["node"]
    assert "must have keras-lnn 0.0.1 (sources 0), Python 3.0.0" in last["outcome"]["failure"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("written", "overtaken"), [(None, False), ("", False), ("first", False), ("second", True)])
def test_an_attempt_is_overtaken_by_a_later_one_in_the_same_folder(tmp_path, written, overtaken):
    mark = tmp_path / ".attempt"
    if written is not None:
        mark.write_text(written)
    assert _is_overtaken(task_for(tmp_path, "builtins:dict", {}, attempt="first"), mark) == overtaken


def test_a_node_without_room_for_temporary_files_is_one_with_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "numpy")  # as the task will
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "missing")])
    with pytest.raises(
        FullDiskError, match=r"^A node needs a disk with room for temporary files\. Received: No usable"
    ):
        list(work_on_node(task_for(tmp_path, "builtins:dict", {}, sends=True)))


def test_nodes_with_full_disks_are_avoided_as_long_as_there_are_others():
    states = {"a": True, "b": True, "lost": False}
    nodes = [{"NodeID": name, "Alive": alive, "Resources": NODE} for name, alive in states.items()]
    small = {"NodeID": "small", "Alive": True, "Resources": {"CPU": 0.0}}
    cluster = RayCluster.__new__(RayCluster)  # without a connection
    cluster.ray, cluster.needs, cluster._full = SimpleNamespace(nodes=lambda: [*nodes, small]), Needs(), set()
    assert cluster._choose_nodes() == {}
    assert cluster.avoid("a")
    assert cluster._choose_nodes() == {"label_selector": {"ray.io/node-id": "!in(a)"}}
    assert not cluster.avoid("b")
    assert cluster._choose_nodes() == {}


def test_the_version_of_the_code_knows_its_sources():
    assert describe_code().startswith("keras-lnn ")
    assert f"Python {sys.version.split()[0]}" in describe_code()


@pytest.mark.slow
@pytest.mark.parametrize("sends", [False, True])
def test_a_node_works_in_the_folders_or_sends_them_back(tmp_path, monkeypatch, sends):
    monkeypatch.setenv("KERAS_BACKEND", "numpy")
    folder = tmp_path / "study"
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "history.csv").write_text("epoch,val_auc\n1,0.5\n")
    if not sends:
        begun.rename((folder / "run").parent.mkdir() or folder / "run")
    inputs = {str(folder / "run"): pack_folder(begun)} if sends else {}
    order = {"run_dir": str(folder / "run")}
    messages = list(work_on_node(task_for(folder, "work_samples:write_run", order, sends=sends, inputs=inputs)))
    outcome = Outcome(**messages[-1]["outcome"])
    assert outcome.failure is None
    assert folder.exists() != sends
    for path, content in messages[-1]["folders"].items():
        unpack_folder(content, Path(path))
    assert yaml.safe_load((folder / "run" / "config.yaml").read_text()) == {"run_dir": str(folder / "run")}
    assert (folder / "run" / "history.csv").read_text() == "epoch,val_auc\n1,0.5\n2,0.75\n"  # it went on
    assert "written" in (folder / "run-process" / "log.txt").read_text()
    assert (outcome.result["folder"] == str(folder / "run")) != sends
    assert not sends or not os.path.exists(outcome.result["folder"])
    assert any("histories" in message for message in messages) == sends


@pytest.mark.slow
def test_the_local_engine_runs_jobs_of_its_own(tmp_path):
    engine = ThisMachine(2, {"KERAS_BACKEND": "numpy"})
    try:
        names = [resource.name for resource in engine.resources(name="here")]
        assert names == ["here-0", "here-1"]
        job = Job("one", "work_samples:tell_variables", {}, tmp_path)
        found = engine.resources()[0].run(job, threading.Event()).result
    finally:
        engine.close()
    assert found["KERAS_BACKEND"] == "numpy"


def test_folders_that_killed_jobs_left_on_a_node_are_removed(tmp_path):
    folders = {name: tmp_path / f"keras-lnn-job-{name}" for name in ("abandoned", "new", "held")}
    for name, folder in folders.items():
        folder.mkdir()
        (folder / ".lock").touch()
        if name != "new":
            os.utime(folder / ".lock", (0, 0))
    with open(folders["held"] / ".lock") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        _remove_abandoned(tmp_path)
    assert {name for name, folder in folders.items() if folder.is_dir()} == {"new", "held"}
