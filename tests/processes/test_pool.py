"""The pool: which resource gets which job, how outcomes come back, and how it stops. The resources need no process."""

import threading
from pathlib import Path

import pytest

from keras_lnn.processes.pool import Job, NoJob, Pool
from keras_lnn.processes.runner import Outcome

WAIT_SECONDS = 60  # only against waiting for ever


def make_job(name):
    return Job(name=name, work="", order={}, folder=Path(name))


class Resource:
    """Runs a job by a function of the test, in the thread of the pool."""

    def __init__(self, name, act=lambda job, stop: Outcome(result={"done": job.name})):
        self.name = name
        self.act = act

    def run(self, job, stop):
        return self.act(job, stop)

    def shown(self, running):
        return running


class Supply:
    """Supplies jobs in order, separately for each kind of resource, and keeps the outcomes."""

    def __init__(self, jobs, chosen=lambda resource, job: True):
        self.waiting = list(jobs)
        self.chosen = chosen
        self.outcomes = {}
        self.lock = threading.Lock()

    def take(self, resource):
        with self.lock:
            for job in self.waiting:
                if isinstance(job, NoJob) or self.chosen(resource, job):
                    self.waiting.remove(job)
                    return job
            return NoJob.LEFT

    def finish(self, resource, job, outcome):
        with self.lock:
            assert job.name not in self.outcomes
            self.outcomes[job.name] = resource.name, outcome


def wait_for_stop(job, stop):
    assert stop.wait(WAIT_SECONDS)
    return Outcome(interrupted=True)


def test_every_job_runs_once_and_returns_its_outcome():
    supply = Supply([make_job(str(number)) for number in range(20)])
    Pool([Resource(name) for name in "abc"], supply).run()
    assert sorted(supply.outcomes, key=int) == [str(number) for number in range(20)]
    assert all(outcome.result == {"done": name} for name, (_, outcome) in supply.outcomes.items())


def test_one_resource_runs_the_jobs_in_the_order_of_the_supply():
    supply = Supply([make_job(name) for name in "cab"])
    Pool([Resource("one")], supply).run()
    assert list(supply.outcomes) == ["c", "a", "b"]


def test_the_supply_decides_which_resource_runs_a_job():
    supply = Supply(map(make_job, "abc"), chosen=lambda resource, job: job.name in resource.name)
    Pool([Resource("ac"), Resource("b")], supply).run()
    assert {name: resource for name, (resource, _) in supply.outcomes.items()} == {"a": "ac", "b": "b", "c": "ac"}


def test_a_supply_without_a_job_now_is_asked_again():
    supply = Supply([make_job("first"), NoJob.NOW, make_job("second")])
    Pool([Resource("one")], supply).run()
    assert list(supply.outcomes) == ["first", "second"]


def test_running_jobs_are_listed_by_resource_until_the_watch_stops_them():
    supply = Supply([make_job(name) for name in "abcdef"])
    pool = Pool([Resource("first", wait_for_stop), Resource("second", wait_for_stop)], supply)
    looks = []

    def watch():
        looks.append([one.job.name for one in pool.running()])
        return len(looks[-1]) < 2

    pool.run(watch)
    assert sorted(looks[-1]) == ["a", "b"]
    held = {resource: name for name, (resource, _) in supply.outcomes.items()}
    assert [held["first"], held["second"]] == looks[-1]
    assert all(outcome.interrupted for _, outcome in supply.outcomes.values())
    assert len(supply.waiting) == 4  # nothing begins after the stop
    assert pool.running() == []


@pytest.mark.parametrize("where", ["take", "run", "finish"])
def test_an_error_stops_the_other_resources_and_is_raised(where):
    def fail(*_):
        raise RuntimeError(f"built to fail in {where}")

    supply = Supply([make_job("bad"), make_job("good")], chosen=lambda resource, job: job.name == resource.name)
    bad = Resource("bad", fail) if where == "run" else Resource("bad")
    if where != "run":
        whole = getattr(supply, where)
        method = lambda resource, *rest: fail() if resource.name == "bad" else whole(resource, *rest)  # noqa: E731
        setattr(supply, where, method)
    with pytest.raises(RuntimeError, match=f"built to fail in {where}"):
        Pool([bad, Resource("good", wait_for_stop)], supply).run()
    assert supply.outcomes["good"][1].interrupted


def test_an_interruption_by_the_keyboard_stops_the_jobs():
    supply = Supply([make_job("long")])
    pool = Pool([Resource("one", wait_for_stop)], supply)

    def watch():
        if pool.running():
            raise KeyboardInterrupt
        return True

    with pytest.raises(KeyboardInterrupt):
        pool.run(watch)
    assert supply.outcomes["long"][1].interrupted
