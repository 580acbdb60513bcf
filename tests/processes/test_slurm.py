"""Runs in the queue of Slurm: what is declared, what is submitted, and what follows from what the queue says."""

import os
import pickletools
import sys
import threading
import time

import pytest

from keras_lnn.errors import InputError
from keras_lnn.fields.options import ClusterOptions
from keras_lnn.fields.slurm_values import parse_slurm_options, parse_slurm_time
from keras_lnn.fields.values import validate
from keras_lnn.files.atomic import write_json
from keras_lnn.processes import slurm, slurm_dispatcher
from keras_lnn.processes.engines import open_engine
from keras_lnn.processes.needs import Needs
from keras_lnn.processes.node_work import NodeTask
from keras_lnn.processes.pool import Job, RunningJob
from keras_lnn.processes.runner import Limits, Outcome
from keras_lnn.processes.slurm_dispatcher import Dispatcher
from keras_lnn.processes.slurm_queue import SlurmQueue, State, choose_parameters, make_private, read_states
from keras_lnn.processes.slurm_task import MOST_FRUITLESS, TaskFiles, describe_order, put_back, read_json, work_in_task

WAIT_SECONDS = 60  # only against waiting for ever


@pytest.mark.parametrize(
    ("text", "seconds"), [("30m", 1800), ("4h", 14400), ("300s", 300), ("00:05:00", 300), ("1-12:00:00", 129600)]
)
def test_a_time_limit_has_a_unit_or_is_written_as_slurm_does(text, seconds):
    assert parse_slurm_time(text) == seconds


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"cluster": "slrum"},
            "cluster must be auto or HOST:PORT, such as 10.0.0.5:6379, for Ray, or slurm or slurm-l",
        ),
        ({"slurm_time": "60"}, "slurm_time must be a number followed by m or h"),
        ({"slurm_time": "4m"}, "slurm_time must be at least 5m"),
        ({"slurm_time": "1:2"}, "slurm_time must be a number followed by m or h"),
        ({"slurm_partition": "gpu\n#SBATCH"}, "slurm_partition must be the name of a partition"),
        ({"slurm_options": "-A med"}, "slurm_options must be long options of sbatch"),
        ({"slurm_options": "account="}, "slurm_options must be long options of sbatch"),
        ({"slurm_options": "comment='a\nb'"}, "slurm_options must be long options of sbatch"),
        ({"slurm_options": "comment='a"}, "slurm_options must have a second quote"),
        ({"slurm_options": "--time=1"}, "slurm_options must not have time, .* give --slurm-time instead"),
        ({"slurm_options": "array=1-2"}, "slurm_options must not have array, .* give --workers instead"),
        ({"slurm_options": "wrap=ls"}, "slurm_options must not have wrap, .* leave it out"),
    ],
)
def test_wrong_options_are_reported(options, message):
    with pytest.raises(InputError, match=f"^{message}"):
        validate(ClusterOptions, options)


def test_further_options_are_those_of_sbatch():
    found = parse_slurm_options("account=med --constraint='a100&ib' exclusive")
    assert found == {"account": "med", "constraint": "a100&ib", "exclusive": True}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slurm_time": "2h"}, "--slurm-time is for --cluster. Received: no --cluster"),
        ({"cluster": "auto", "slurm_partition": "gpu"}, "--slurm-partition is for --cluster slurm. Received: --clus"),
        ({"cluster": "slurm", "cluster_folders": "sent"}, "The nodes of Slurm must share a disk"),
        ({"cluster": "slurm-local", "gpus_per_run": 0.5}, "Slurm gives whole GPUs to a run"),
        ({"cluster": "slurm", "slurm_partition": "gpu", "gpus_per_run": 1}, None),
    ],
)
def test_options_of_slurm_need_it_and_those_of_ray_do_not_go_with_it(options, message):
    found = validate(ClusterOptions, options)
    if message is None:
        found.require_cluster()
        return
    with pytest.raises(InputError, match=f"^{message}"):
        found.require_cluster()


def test_what_slurm_needs_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"needs the largest number of runs at a time\. Received: no --workers"):
        open_engine(ClusterOptions(cluster="slurm"), None)
    pytest.importorskip("submitit", reason="needs submitit: pip install keras-lnn[slurm]")
    with pytest.raises(InputError, match=r"where Slurm's commands are\. Received: no command sbatch"):
        open_engine(ClusterOptions(cluster="slurm"), 2)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(InputError, match=r"pip install keras-lnn\[slurm\]"):
        open_engine(ClusterOptions(cluster="slurm-local"), 2)


OPTIONS = ClusterOptions(
    cluster="slurm", slurm_partition="gpu", slurm_time="90m", slurm_options="account=med constraint='a100&ib' exclusive"
)


def test_the_needs_of_a_run_are_parameters_of_submitit():
    found = choose_parameters(OPTIONS, Needs(4, 2.0, 3 * 2.0**30), 8)
    assert found["time"] == 90
    assert found["mem"] == "4096M"  # beside the run, there are the processes that start it
    assert (found["cpus_per_task"], found["gpus_per_node"], found["array_parallelism"]) == (4, 2, 8)
    assert found["additional_parameters"] == {
        "requeue": True, "account": "med", "constraint": "a100&ib", "exclusive": True,
    }  # fmt: skip
    plain = choose_parameters(ClusterOptions(cluster="slurm"), Needs(), 1)
    assert not {"mem", "gpus_per_node", "partition"} & set(plain)
    assert plain["time"] == 60


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """The commands of Slurm in a folder: sbatch keeps its script, and the others do nothing."""
    folder = tmp_path / "commands"
    folder.mkdir()
    scripts = {"sbatch": f'cat "$1" > {folder}/script; echo Submitted batch job 12', "srun": "", "squeue": ""}
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def test_orders_that_are_submitted_together_are_one_array(commands, tmp_path):
    pytest.importorskip("submitit", reason="needs submitit: pip install keras-lnn[slurm]")
    queue = SlurmQueue(tmp_path / "tasks", choose_parameters(OPTIONS, Needs(4, 2.0, 3 * 2.0**30), 2))
    orders = [tmp_path / f"{name}.order.json" for name in "abc"]
    assert queue.submit(orders) == ["12_0", "12_1", "12_2"]
    script = (commands / "script").read_text()
    for line in (
        "array=0-2%2", "time=90", "cpus-per-task=4", "gpus-per-node=2", "mem=4096M", "partition=gpu", "account=med",
        "constraint='a100&ib'", "exclusive", "requeue", "signal=USR2@90", "job-name=keras-lnn",
    ):  # fmt: skip
        assert f"#SBATCH --{line}\n" in script
    assert "wckey" not in script
    assert " --cpus-per-task 4 env -u KERAS_BACKEND PYTHONPATH=" in script.replace("'", "")  # of srun
    assert queue.submit(orders[:1]) == ["12"]
    assert "array" not in (commands / "script").read_text()


def test_what_is_pickled_is_the_name_of_a_function_and_a_path(commands, tmp_path):
    pytest.importorskip("submitit", reason="needs submitit: pip install keras-lnn[slurm]")
    SlurmQueue(tmp_path / "tasks", choose_parameters(OPTIONS, Needs(), 2)).submit([tmp_path / "a.order.json"])
    (pickled,) = (tmp_path / "tasks").glob("*.pkl")
    texts = [argument for _, argument, _ in pickletools.genops(pickled.read_bytes()) if isinstance(argument, str)]
    expected = {"submitit.core.utils", "DelayedSubmission", "keras_lnn.processes.slurm_task", "work_in_task"}
    expected |= {"function", "args", "kwargs", "_result", "_done", "_timeout_min", "_timeout_countdown"}
    assert set(texts) == expected | {str(tmp_path / "a.order.json")}


def test_what_sbatch_says_is_reported_in_one_line(commands, tmp_path, capfd):
    pytest.importorskip("submitit", reason="needs submitit: pip install keras-lnn[slurm]")
    (commands / "sbatch").write_text("#!/bin/sh\necho sbatch: error: invalid partition specified: gpu >&2; exit 1\n")
    queue = SlurmQueue(tmp_path / "tasks", choose_parameters(OPTIONS, Needs(), 2))
    with pytest.raises(InputError, match=r"^Slurm must accept the runs\. Received: sbatch: error: invalid partition"):
        queue.submit([tmp_path / "a", tmp_path / "b"])
    assert capfd.readouterr() == ("", "")


def test_the_states_are_those_that_squeue_prints(commands, tmp_path):
    listed = "12_0|RUNNING|None\n12_1|PENDING|Resources\n13|TIMEOUT|TimeLimit\n"
    assert read_states(listed) == {
        "12_0": State("RUNNING"), "12_1": State("PENDING", "Resources"), "13": State("TIMEOUT", "TimeLimit"),
    }  # fmt: skip
    assert [state.has_ended for state in read_states(listed).values()] == [False, False, True]


def test_the_folder_of_the_tasks_is_private(tmp_path):
    folder = tmp_path / "study" / "slurm"
    make_private(folder)
    folder.chmod(0o755)
    make_private(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(InputError, match="must be your own"):
        make_private(tmp_path / "link")


def make_job(folder, name):
    return Job(name, "work_samples:misbehave", {"fault": "none"}, folder / f"{name}-process", runs=(folder / name,))


def order_of(job):
    return NodeTask.for_job(job, Limits(), {"KERAS_BACKEND": "numpy"})


def test_a_task_is_put_back_as_long_as_epochs_end(tmp_path):
    pytest.importorskip("submitit", reason="needs submitit: pip install keras-lnn[slurm]")
    job = make_job(tmp_path, "run")
    files = TaskFiles(tmp_path, "a")
    write_json(files.order, describe_order(order_of(job)))
    history = job.runs[0] / "history.csv"
    history.parent.mkdir()
    for began_with, epochs, fruitless, expected in [(0, 1, 0, 0), (1, 2, 2, 0), (2, 2, 0, 1), (2, 2, 1, 2)]:
        write_json(files.place, {"number": "1", "node": "n", "epochs": began_with})
        history.write_text("epoch\n" + "1\n" * epochs)
        again = put_back(str(files.order), fruitless)
        assert (again.function, again.args) == (work_in_task, (str(files.order), expected))
        assert not files.place.exists()  # it waits again
    write_json(files.place, {"number": "1", "node": "n", "epochs": 2})
    assert put_back(str(files.order), MOST_FRUITLESS - 1) is None
    assert files.read_outcome().failure.startswith("was stopped 3 times in a row")
    files.remove()
    assert put_back(str(files.order)) is None  # nobody wants it any more
    work_in_task(str(files.order))
    assert not files.outcome.exists()


class FakeQueue:
    """A queue in memory, whose tasks run and end as a test says."""

    look_seconds = 0.02

    def __init__(self, limits_tasks=True):
        self.limits_tasks = limits_tasks
        self.arrays = []
        self.known = {}
        self.files = {}
        self.cancelled = []

    def submit(self, orders):
        numbers = [f"{len(self.arrays)}_{place}" for place, _ in enumerate(orders)]
        self.arrays.append(len(orders))
        for number, order in zip(numbers, orders, strict=True):
            self.files[number] = TaskFiles(order.parent, order.name.removesuffix(".order.json"))
            self.known[number] = State("PENDING", "Resources")
        return numbers

    def states(self, numbers):
        return dict(self.known)

    def cancel(self, numbers):
        self.cancelled += numbers
        self.known |= {number: State("CANCELLED") for number in numbers}

    kill = cancel

    def begin(self, number):
        write_json(self.files[number].place, {"number": number, "node": "node-7", "epochs": 0})
        self.known[number] = State("RUNNING")

    def end(self, number):
        write_json(self.files[number].outcome, {"result": {"done": number}})
        self.known[number] = State("COMPLETED")


def wait_until(condition):
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def dispatch(tmp_path, monkeypatch):
    """Starts dispatchers in one folder, and ends them."""
    monkeypatch.setattr(slurm_dispatcher, "_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(slurm, "_LOOK_SECONDS", 0.02)
    started = []

    def start(queue, workers=2):
        make_private(tmp_path / "slurm")
        started.append(Dispatcher(queue, tmp_path / "slurm", workers))
        return started[-1]

    yield start
    for one in started:
        one.close()


def add(dispatcher, folder, *names):
    return [dispatcher.add(job, order_of(job)) for job in (make_job(folder, name) for name in names)]


def test_known_jobs_are_one_array_and_later_ones_wait_for_room(dispatch, tmp_path):
    queue = FakeQueue()
    dispatcher = dispatch(queue)
    first = add(dispatcher, tmp_path, *"abcde")
    wait_until(lambda: queue.arrays)
    assert queue.arrays == [5]  # Slurm runs two of them at a time
    later = add(dispatcher, tmp_path, "f")
    for number in ("0_0", "0_1", "0_2"):
        queue.end(number)
    wait_until(lambda: all(one.done.is_set() for one in first[:3]))
    assert [one.outcome for one in first[:3]] == [Outcome(result={"done": f"0_{place}"}) for place in range(3)]
    assert queue.arrays == [5]  # as many as may run at a time are left
    queue.end("0_3")
    wait_until(lambda: len(queue.arrays) == 2)
    queue.begin("1_0")
    wait_until(lambda: later[0].node == "node-7")
    assert [one.job.name for one in dispatcher.list_waiting()] == ["e"]


def test_a_queue_without_limits_gets_as_many_as_run_at_a_time(dispatch, tmp_path):
    queue = FakeQueue(limits_tasks=False)
    add(dispatch(queue), tmp_path, *"abc")
    wait_until(lambda: queue.arrays)
    assert queue.arrays == [2]
    queue.end("0_0")
    wait_until(lambda: queue.arrays == [2, 1])


def test_a_task_that_leaves_the_queue_without_an_outcome_is_lost(dispatch, tmp_path):
    queue = FakeQueue()
    dispatcher = dispatch(queue)
    timed, gone = add(dispatcher, tmp_path, "timed", "gone")
    wait_until(lambda: queue.arrays)
    queue.begin("0_0")
    wait_until(lambda: timed.node)
    (tmp_path / "slurm" / "0_0_0_log.out").write_text("starts\nslurmstepd: error: cancelled\n")
    queue.known = {"0_0": State("TIMEOUT", "TimeLimit")}
    wait_until(lambda: timed.done.is_set() and gone.done.is_set())
    kept = tmp_path / "timed-process" / "slurm.txt"
    assert timed.outcome.failure == (
        "left the queue on node-7 without an outcome (TIMEOUT, TimeLimit);"
        f" {kept} ends with: slurmstepd: error: cancelled"
    )
    assert kept.read_text().startswith("starts\n")
    assert gone.outcome.failure == "left the queue without an outcome"


def test_the_same_command_finds_its_tasks_again_and_cancels_others(dispatch, tmp_path):
    queue = FakeQueue()
    killed = dispatch(queue)
    add(killed, tmp_path, "runs", "waits", "ended", "other")
    wait_until(lambda: queue.arrays and all(files.queued.exists() for files in queue.files.values()))
    killed._stop.set()
    killed._thread.join()  # as if the command were killed
    queue.begin("0_0")
    queue.end("0_2")
    again = dispatch(queue)
    tasks = add(again, tmp_path, "runs", "waits", "ended", "new")
    wait_until(lambda: len(queue.arrays) == 1 and tasks[2].done.is_set() and tasks[0].node)
    assert tasks[2].outcome == Outcome(result={"done": "0_2"})
    assert queue.cancelled == ["0_3"]
    assert read_json(queue.files["0_3"].order) is None
    queue.end("0_1")
    wait_until(lambda: queue.arrays == [4, 1])  # there is room for the new one
    killed._queued.clear()


def test_what_stops_is_cancelled_and_its_outcome_does_not_count(dispatch, tmp_path):
    queue = FakeQueue()
    dispatcher = dispatch(queue)
    resources = [slurm.SlurmResource(name, dispatcher, Limits(), {}) for name in "ab"]
    stop, outcomes = threading.Event(), []
    jobs = [make_job(tmp_path, name) for name in "ab"]

    def work(resource, job):
        outcomes.append(resource.run(job, stop))

    threads = [threading.Thread(target=work, args=pair) for pair in zip(resources, jobs, strict=True)]
    for thread in threads:
        thread.start()
    wait_until(lambda: queue.arrays)
    wait_until(lambda: all(one.number and one.reason for one in dispatcher.list_waiting()))
    shown = [one.shown(RunningJob(job, 1.0)) for one, job in zip(resources, jobs, strict=True)]
    (first,) = (one for one in shown if one is not None)  # one line stands for all that wait
    assert (first.job.name, first.begun) == ("2 more, in the queue (Resources)", None)
    running = next(place for place, one in enumerate(resources) if one._task.number == "0_0")
    queue.begin("0_0")
    wait_until(lambda: resources[running]._task.node)
    assert resources[running].shown(RunningJob(jobs[running], 1.0)).job.name == f"{jobs[running].name}, on node-7"
    stop.set()
    for thread in threads:
        thread.join()
    assert [outcome.interrupted for outcome in outcomes] == [True, True]
    assert sorted(queue.cancelled) == ["0_0", "0_1"]
    dispatcher.close()
    assert not (tmp_path / "slurm").exists()


def test_an_error_of_the_queue_ends_the_command(dispatch, tmp_path):
    queue = FakeQueue()

    def refuse(orders):
        raise InputError("Slurm must accept the runs.")

    queue.submit = refuse
    resource = slurm.SlurmResource("a", dispatch(queue), Limits(), {})
    with pytest.raises(InputError, match="must accept the runs"):
        resource.run(make_job(tmp_path, "a"), threading.Event())


def test_tasks_of_an_earlier_command_that_nobody_asks_for_are_cancelled(dispatch, tmp_path):
    queue = FakeQueue()
    killed = dispatch(queue)
    add(killed, tmp_path, "a")
    wait_until(lambda: queue.files and all(files.queued.exists() for files in queue.files.values()))
    killed._stop.set()
    killed._thread.join()
    killed._queued.clear()
    dispatch(queue).close()
    assert queue.cancelled == ["0_0"]
    assert not (tmp_path / "slurm").exists()


def test_without_jobs_there_are_no_resources():
    pytest.importorskip("submitit", reason="needs submitit: pip install keras-lnn[slurm]")
    engine = open_engine(ClusterOptions(cluster="slurm-local"), 2)
    assert list(engine.resources(jobs=0)) == []  # where nothing is left, nothing begins
    engine.close()
