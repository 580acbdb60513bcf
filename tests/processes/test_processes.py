"""Trial processes with every kind of end."""

import contextlib
import errno
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import trial_models

from keras_lnn.errors import FullDiskError, InputError
from keras_lnn.processes.helper import describe_failure
from keras_lnn.processes.pool import Job, NoJob, Pool, local_resources
from keras_lnn.processes.runner import Limits, ProcessRunner, _describe_end
from keras_lnn.processes.sharing import keep_this_process_small, list_gpus, share_gpus, share_processors

NO_LIMITS = Limits()


@pytest.fixture(scope="module")
def runner():
    # What Keras makes of a home folder is not the tests'.
    runner = ProcessRunner({"KERAS_BACKEND": None})
    yield runner
    runner.close()


def order_for(folder):
    return {
        "config": {
            "model": "faulty-net",
            "data": "tiny-stripes",
            "epochs": 1,
            "test": False,
            "export": "none",
            "tensorboard": False,
            "imports": ["trial_models"],
        },
        "seeds": [3],
        "folds": [None],
        "folders": [str(folder / "seed-3")],
        "starts": None,
        "cutoffs": None,
    }


def run(runner, folder, fault, limits=NO_LIMITS, stop=None, **more):
    order = {"fault": fault, **more}
    return runner.run("work_samples:misbehave", order, folder, limits=limits, stop=stop or threading.Event())


def run_trial(runner, folder, order):
    return runner.run("tuning.trial:run_trial", order, folder, limits=NO_LIMITS, stop=threading.Event())


@pytest.fixture(scope="module")
def trial(runner, tmp_path_factory):
    """The folder of a good trial in the place of one killed before it had a configuration, and how it ended."""
    folder = tmp_path_factory.mktemp("trial")
    (folder / "seed-3").mkdir()
    (folder / "seed-3" / "environment.json").write_text("{}")
    return folder, run_trial(runner, folder, order_for(folder))


def test_a_successful_trial_returns_its_result(trial):
    folder, outcome = trial
    assert outcome.failure is None
    (found,) = outcome.result["runs"]
    assert found["seed"] == 3
    assert 0.0 <= found["objective"] <= 1.0
    assert (found["epochs"], found["best_epoch"], found["parameters"]) == (1, 1, 2 * 784 + 2)
    assert (folder / "seed-3" / "metrics.json").is_file()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("raise", "^RuntimeError: built to fail$"),
        ("exit", "^ended with exit status 1, without a result"),
        ("kill", r"^was killed by the system \(SIGKILL\)"),
    ],
)
def test_a_failure_has_its_reason_and_the_next_trial_runs(runner, tmp_path, fault, message):
    outcome = run(runner, tmp_path / fault, fault)
    assert outcome.result is None
    assert not outcome.interrupted
    assert re.search(message, outcome.failure)
    assert run(runner, tmp_path / "next", "none").failure is None


def test_the_log_has_the_traceback(runner, tmp_path):
    run(runner, tmp_path, "raise")
    log = (tmp_path / "log.txt").read_text()
    assert "Traceback" in log
    assert 'raise RuntimeError("built to fail")' in log


def sleepers():
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if process.info["cmdline"] and process.info["cmdline"][-1] == trial_models.SLEEPER
    ]


def wait_until(condition):
    deadline = time.monotonic() + 600  # only against waiting for ever
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def assert_no_sleepers():
    wait_until(lambda: not sleepers())


@contextlib.contextmanager
def once_it_hangs(act):
    """Acts as soon as a trial hangs and has a child."""

    def wait_and_act():
        wait_until(sleepers)
        act()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    yield
    thread.join()


def test_a_trial_that_hangs_is_killed_with_its_children(runner, tmp_path):
    outcome = run(runner, tmp_path, "hang", Limits(seconds=3.0))
    assert outcome.failure == "took longer than its limit of 3 s"
    assert_no_sleepers()
    assert run(runner, tmp_path / "next", "none").failure is None


def test_a_trial_above_its_memory_limit_is_killed(runner, tmp_path):
    outcome = run(runner, tmp_path, "memory", Limits(memory_bytes=1.5 * 2**30))
    assert re.fullmatch(r"used [\d,]+ MiB, more than its limit of 1,536 MiB", outcome.failure)
    assert run(runner, tmp_path / "next", "none").failure is None


def test_stopping_kills_the_trial_silently(runner, tmp_path):
    stop = threading.Event()
    with once_it_hangs(stop.set):
        outcome = run(runner, tmp_path, "hang", stop=stop)
    assert outcome.interrupted
    assert outcome.failure is None
    assert_no_sleepers()
    assert run(runner, tmp_path / "next", "none").failure is None


def test_an_interrupted_trial_resumes_from_its_folder(runner, trial):
    folder, first = trial
    again = run_trial(runner, folder, order_for(folder))
    assert first.result == again.result


class Faults:
    """Supplies one job per fault to a pool, and keeps the outcomes."""

    def __init__(self, folder, faults):
        orders = ({"fault": fault, "seconds": 1.0} for fault in faults)
        jobs = [Job(order["fault"], "work_samples:misbehave", order, folder / order["fault"]) for order in orders]
        self.waiting = iter(jobs)
        self.lock = threading.Lock()
        self.outcomes = {}

    def take(self, resource):
        with self.lock:
            return next(self.waiting, NoJob.LEFT)

    def finish(self, resource, job, outcome):
        self.outcomes[job.name] = outcome


def test_parallel_trials_do_not_mix_their_results(runner, tmp_path):
    supply = Faults(tmp_path, ("none", "raise", "exit", "kill"))
    Pool(local_resources(runner, 4), supply).run()
    outcomes = supply.outcomes
    assert outcomes["none"].failure is None
    assert outcomes["raise"].failure == "RuntimeError: built to fail"
    assert "exit status 1" in outcomes["exit"].failure
    assert "SIGKILL" in outcomes["kill"].failure


def test_a_pool_that_is_stopped_kills_its_processes(runner, tmp_path):
    supply = Faults(tmp_path, ("hang", "none"))
    Pool(local_resources(runner, 1), supply).run(watch=lambda: not sleepers())
    assert {name: outcome.interrupted for name, outcome in supply.outcomes.items()} == {"hang": True}
    assert_no_sleepers()


def test_the_processes_of_a_pool_have_limits_and_share_the_gpus(runner, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    resources = local_resources(runner, 3, Limits(seconds=0.5), "here")
    assert [(one.name, one.environment["CUDA_VISIBLE_DEVICES"]) for one in resources] == [
        ("here-0", "4"), ("here-1", "6"), ("here-2", "4"),
    ]  # fmt: skip
    assert [one.name for one in local_resources(runner, 1, name="here")] == ["here"]
    supply = Faults(tmp_path, ("hang",))
    Pool(resources, supply).run()
    assert supply.outcomes["hang"].failure == "took longer than its limit of 0.5 s"
    assert_no_sleepers()


def test_a_process_has_its_own_environment_variables(runner, tmp_path):
    given = {"KERAS_LNN_TEST": "7", "HOME": None}
    run_work = {"limits": NO_LIMITS, "stop": threading.Event()}
    outcome = runner.run("work_samples:tell_variables", {}, tmp_path, environment=given, **run_work)
    assert outcome.result["KERAS_LNN_TEST"] == "7"
    assert "HOME" not in outcome.result
    outcome = runner.run("work_samples:tell_variables", {}, tmp_path, **run_work)
    assert "KERAS_LNN_TEST" not in outcome.result


@pytest.mark.parametrize("installed", [True, False])
def test_a_waiting_process_takes_the_numpy_backend_only_with_jax(monkeypatch, installed):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if installed else None)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    keep_this_process_small()
    assert os.environ.pop("KERAS_BACKEND", None) == ("numpy" if installed else None)


def test_processors_and_gpus_are_shared(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 9)
    assert share_processors(2)["TF_NUM_INTRAOP_THREADS"] == "4"
    assert share_processors(20)["OMP_NUM_THREADS"] == "1"
    assert "OMP_NUM_THREADS" not in share_processors(1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert list_gpus() == ["4", "6"]
    assert share_gpus(3) == [{"CUDA_VISIBLE_DEVICES": number} for number in ("4", "6", "4")]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert share_gpus(2) == [{}, {}]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/t/a"),
            "the disk is full: [Errno 28] No space left on device",
        ),
        (RuntimeError("RESOURCE_EXHAUSTED: a.tmp; No space left on device"), "the disk is full: RESOURCE_EXHAUSTED"),
        (FullDiskError("The images need 1.0 GiB."), "the disk is full: The images need 1.0 GiB."),
        (
            InputError(f"The folder must be writable ({os.strerror(errno.EDQUOT)})."),
            "the disk is full: The folder must",
        ),
        (InputError("The folder must be writable."), "The folder must be writable."),
        (RuntimeError("RESOURCE_EXHAUSTED: 3 GiB"), "out of memory: RESOURCE_EXHAUSTED"),
    ],
)
def test_a_full_disk_is_named_and_is_no_lack_of_memory(error, message):
    assert describe_failure(error).startswith(message)


def test_a_process_that_cannot_even_write_its_result_reports_a_full_disk(tmp_path):
    assert _describe_end(errno.ENOSPC, tmp_path / "log.txt").startswith("the disk is full: No space left on device")


@pytest.mark.slow
def test_a_helper_that_is_killed_takes_its_trial_along_and_another_takes_its_place(tmp_path):
    runner = ProcessRunner({"KERAS_BACKEND": None})
    try:
        assert run(runner, tmp_path / "first", "none").failure is None
        with once_it_hangs(runner._helper.process.kill):
            outcome = run(runner, tmp_path / "second", "hang")
        assert outcome.failure.startswith("was killed by the system")
        assert_no_sleepers()
        assert run(runner, tmp_path / "third", "none").failure is None
    finally:
        runner.close()


SCRIPT = """
import sys, threading
from pathlib import Path
sys.path[:0] = {paths!r}
from test_processes import run
from keras_lnn.processes.runner import ProcessRunner
print("begun", flush=True)
run(ProcessRunner(), Path({folder!r}), "hang")
"""


@pytest.mark.slow
def test_all_processes_end_when_the_search_is_killed(tmp_path):
    script = SCRIPT.format(paths=[str(Path(__file__).parents[1]), *sys.path], folder=str(tmp_path))
    search = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, start_new_session=True)
    assert search.stdout.readline() == b"begun\n"
    wait_until(sleepers)
    os.kill(search.pid, signal.SIGKILL)
    search.wait()
    search.stdout.close()
    assert_no_sleepers()


def test_a_helper_that_cannot_start_reports_the_reason(tmp_path):
    runner = ProcessRunner({"KERAS_BACKEND": "no-such-backend"})
    try:
        outcome = run(runner, tmp_path, "none")
    finally:
        runner.close()
    assert outcome.failure.startswith("could not start: ")
    assert "no-such-backend" in outcome.failure


def test_results_of_another_search_are_ignored(runner, trial):
    folder, first = trial
    other = order_for(folder) | {"seeds": [4], "folders": [str(folder / "seed-3")]}
    again = run_trial(runner, folder, other)
    assert first.result["runs"][0]["objective"] != again.result["runs"][0]["objective"]
    assert again.result["runs"][0]["seed"] == 4
