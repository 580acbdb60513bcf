"""Measures what a run costs beside its training, and how long short trainings take: on this machine, and on a cluster.

python benchmarks/cluster.py --csv docs/results/tables/cluster.csv --hardware "two CPU cores"

Empty runs do nothing, so what is measured is to hand them out, to start their processes and to receive their outcomes.
Trainings are short ones of the smallest network, each on one processor. The cluster has one node and then two, on this
machine, with one processor each. Needs the extra ``cluster``.
"""

import contextlib
import dataclasses
import json
import os
import tempfile
import threading
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pydantic

from keras_lnn.cli.parsing import parse_command, run_main
from keras_lnn.config import TrainConfig
from keras_lnn.fields.options import ClusterOptions
from keras_lnn.files.atomic import atomic_path
from keras_lnn.processes.cluster import import_ray
from keras_lnn.processes.engines import Engine, ThisMachine, open_engine
from keras_lnn.processes.pool import Job, NoJob, Pool, Resource
from keras_lnn.processes.runner import Outcome
from keras_lnn.processes.sharing import limit_threads
from keras_lnn.studies import running
from keras_lnn.terminal import loading, make_console, print_rows

_STORE_BYTES = 100 * 2**20
_MODEL, _DATA = "dnn", "phantom-breast"


class ClusterCommand(pydantic.BaseModel):
    """Measure what runs on a cluster cost beside their training, and how long short trainings take there."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    runs: int = pydantic.Field(6, ge=1, description="number of empty runs in each place")
    trainings: int = pydantic.Field(24, ge=1, description="number of short trainings in each place")
    epochs: int = pydantic.Field(2, ge=1, description="epochs of each training")
    hardware: str = pydantic.Field("not recorded", description="the machine, for the head of the table")
    csv: Path | None = pydantic.Field(None, description="file to write the table to")
    json_output: bool = pydantic.Field(False, alias="json", description="print one JSON object instead of the table")


def main(arguments: Sequence[str]) -> int:
    """Measures the runs and prints the results."""
    command = parse_command(ClusterCommand, arguments, "benchmarks/cluster.py")
    with loading(make_console(stderr=True), "running"):
        rows = measure_places(command)
    if command.csv is not None:
        write_table(rows, command, command.csv)
    if command.json_output:
        print(json.dumps(rows, indent=2))
        return 0
    title = f"{command.runs} empty runs, and {command.trainings} of {_MODEL} on {_DATA} with {command.epochs} epochs"
    print_rows(rows, title, digits=2)
    return 0


def measure_places(command: ClusterCommand) -> list[dict[str, Any]]:
    """Returns one row per place."""
    rows = []
    for workers in (1, 2):
        engine = ThisMachine(workers, limit_threads(1))
        rows.append(measure(f"this machine, {_count(workers, 'run')} at a time", engine, command))
    for nodes in (1, 2):
        with start_cluster(nodes) as address:
            for folders in ("shared", "sent"):
                engine = open_engine(ClusterOptions(cluster=address, cluster_folders=folders), None)
                rows.append(measure(f"cluster of {_count(nodes, 'node')}, folders {folders}", engine, command))
    for row in rows:
        row["times as fast"] = round(rows[0]["trainings, s"] / row["trainings, s"], 2)
    return rows


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
    """Supplies runs, and keeps the time at which each has ended.

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


def measure(place: str, engine: Engine, command: ClusterCommand) -> dict[str, Any]:
    """Returns how long runs take in one place: empty ones until the first and for each further one, and trainings."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            empty = [make_empty_job(Path(folder, f"empty-{number}")) for number in range(command.runs)]
            ended = run_jobs(engine, empty)
            numbers = range(command.trainings)
            jobs = [make_training(Path(folder, f"run-{number}"), number, command.epochs) for number in numbers]
            trained = run_jobs(engine, jobs)
    finally:
        engine.close()
    return {
        "place": place,
        "first empty run, s": round(ended[0], 2),
        "further empty run, s": round((ended[-1] - ended[0]) / max(1, command.runs - 1), 2),
        "trainings, s": round(trained[-1], 1),
    }


def run_jobs(engine: Engine, jobs: list[Job]) -> list[float]:
    """Runs jobs and returns the seconds from the begin until each has ended, in the order of their ends."""
    runs = Runs(jobs)
    begun = time.monotonic()
    Pool(engine.resources(), runs).run()
    return sorted(ended - begun for ended in runs.ended)


def make_empty_job(folder: Path) -> Job:
    """Returns a job that does nothing."""
    return Job(folder.name, "builtins:dict", {}, folder)


def make_training(folder: Path, seed: int, epochs: int) -> Job:
    """Returns the job of a short training, as a study makes it."""
    fields = {"model": _MODEL, "data": _DATA, "epochs": epochs, "seed": seed, "run_dir": folder}
    config = TrainConfig.create(fields).model_dump(mode="json")
    work = f"{running.__name__}:{running.run_one.__name__}"
    return Job(folder.name, work, {"config": config}, folder.with_name(f"{folder.name}-process"), runs=(folder,))


def write_table(rows: Sequence[dict[str, Any]], command: ClusterCommand, path: Path) -> None:
    """Writes the table as a CSV file that says in its first lines how it was made."""
    import pandas as pd

    numbers = f"--runs {command.runs} --trainings {command.trainings} --epochs {command.epochs}"
    about = {
        "title": "Runs on a cluster beside the pool of one machine",
        "command": f"python benchmarks/cluster.py {numbers}",
        "protocol": f"{command.runs} empty runs, of which the first waits for the processes to start;"
        f" {command.trainings} trainings of {_MODEL} on {_DATA}, {command.epochs} epochs; each on one processor;"
        " the nodes are simulated on one machine",
        "seeds": f"0 to {command.trainings - 1}",
        "hardware": command.hardware,
    }
    head = "".join(f"# {name}: {text}\n" for name, text in about.items())
    with atomic_path(path) as temporary:
        temporary.write_text(head + pd.DataFrame(rows).to_csv(index=False), encoding="utf-8")


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' if number > 1 else ''}"


if __name__ == "__main__":
    run_main(main)
