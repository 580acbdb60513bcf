"""Measures what a run costs beside its training: in the pool of this machine, and on a Ray cluster.

python benchmarks/cluster.py --runs 6

The runs do nothing, so what is measured is to hand them out, to start their processes and to receive their outcomes.
The cluster has one node and then two, on this machine, with one processor each. Needs the extra ``cluster``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import tempfile
import threading
import time
from collections.abc import Generator, Sequence
from pathlib import Path

import pydantic

from keras_lnn.cli.parsing import parse_command, run_main
from keras_lnn.fields.options import ClusterOptions
from keras_lnn.processes.cluster import import_ray
from keras_lnn.processes.engines import Engine, open_engine
from keras_lnn.processes.pool import Job, NoJob, Pool, Resource
from keras_lnn.processes.runner import Outcome
from keras_lnn.terminal import loading, make_console, print_rows

_STORE_BYTES = 100 * 2**20


class ClusterCommand(pydantic.BaseModel):
    """Measure what runs on a cluster cost beside their training."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    runs: int = pydantic.Field(6, ge=1, description="number of runs in each place")
    json_output: bool = pydantic.Field(False, alias="json", description="print one JSON object instead of the table")


def main(arguments: Sequence[str]) -> int:
    """Measures the runs and prints the results."""
    command = parse_command(ClusterCommand, arguments, "benchmarks/cluster.py")
    with loading(make_console(stderr=True), "running"):
        rows = [measure("this machine, one run at a time", open_engine(ClusterOptions(), 1), command.runs)]
        for nodes in (1, 2):
            with start_cluster(nodes) as address:
                for folders in ("shared", "sent"):
                    options = ClusterOptions(cluster=address, cluster_folders=folders)
                    place = f"cluster of {nodes} node{'s' if nodes > 1 else ''}, folders {folders}"
                    rows.append(measure(place, open_engine(options, None), command.runs))
    if command.json_output:
        print(json.dumps(rows, indent=2))
        return 0
    print_rows(rows, f"{command.runs} runs that do nothing", digits=2)
    return 0


@contextlib.contextmanager
def start_cluster(nodes: int) -> Generator[str]:
    """Yields the address of a cluster on this machine, whose head trains nothing."""
    import_ray()
    # Ray would give its workers the lowest priority.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112, this is its name
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": _STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(nodes):
            cluster.add_node(num_cpus=1, object_store_memory=_STORE_BYTES)
        yield cluster.address
    finally:
        cluster.shutdown()


@dataclasses.dataclass
class Runs:
    """Supplies runs that do nothing, and keeps the time at which each has ended.

    Args:
        jobs: The runs.
        ended: The times, by the monotonic clock.
    """

    jobs: list[Job]
    ended: list[float] = dataclasses.field(default_factory=list)
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    def take(self, resource: Resource) -> Job | NoJob:
        """Returns the next run."""
        with self.lock:
            return self.jobs.pop(0) if self.jobs else NoJob.LEFT

    def finish(self, resource: Resource, job: Job, outcome: Outcome) -> None:
        """Notes that a run has ended; one that failed is no measurement."""
        if outcome.failure is not None:
            raise RuntimeError(outcome.failure)
        with self.lock:
            self.ended.append(time.monotonic())


def measure(place: str, engine: Engine, count: int) -> dict[str, str | int | float]:
    """Returns how long runs take in one place: until the first has ended, and for each further one."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            jobs = [Job(str(number), "builtins:dict", {}, Path(folder, str(number))) for number in range(count)]
            runs = Runs(jobs)
            begun = time.monotonic()
            Pool(engine.resources(), runs).run()
            first, last = min(runs.ended), max(runs.ended)
            return {
                "place": place,
                "at a time": engine.workers,
                "first after s": round(first - begun, 2),
                "s per further run": round((last - first) / max(1, count - 1), 2),
                "s in all": round(last - begun, 2),
            }
    finally:
        engine.close()


if __name__ == "__main__":
    run_main(main)
