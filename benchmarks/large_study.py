"""Measures what runs on a cluster need of its head, its disks and its network, and what thousands would need of them.

python benchmarks/large_study.py --csv docs/results/tables/large-study.csv --hardware "two CPU cores"

The cluster is a head and a node, which are simulated as hosts with disks and networks of their own: this needs root on
Linux, and the extra ``cluster``. The node has one processor. First as many runs wait for room as are asked for, then
short trainings are run one after the other, in shared folders and in ones that are sent. Traffic is what the head
receives and sends, without that of idle times. What runs write to a shared disk does not pass it here, but would pass
the network of a real one, so what is on the disk is added.
"""

import json
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import PIPE
from typing import Any, Literal

import psutil
import pydantic

from keras_lnn.cli.parsing import parse_command, run_main
from keras_lnn.errors import InputError
from keras_lnn.fields.options import ClusterOptions
from keras_lnn.fields.values import MOST_WORKERS
from keras_lnn.files.atomic import atomic_path
from keras_lnn.terminal import loading, make_console, print_rows

_HERE = Path(__file__).resolve()
# The study that the figures are extrapolated to, and the network of its head.
RUNS, NODES, AT_A_TIME, NETWORK_BYTES = 10_000, 100, 1_000, 125e6
KINDS = {
    "weights and checkpoints": (".keras", ".npz"),
    "pictures": (".png", ".svg"),
    "pages": (".html",),
}
_OTHER = "tables, settings and logs"
_IDLE_SECONDS, _SETTLE_SECONDS = 10.0, 15.0
_MEBIBYTE = 2**20


class LargeStudyCommand(pydantic.BaseModel):
    """Measure what runs on a cluster need of its head, its disks and its network."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    waiting: int = pydantic.Field(1000, ge=10, le=MOST_WORKERS, description="number of runs that wait for room")
    trainings: int = pydantic.Field(6, ge=2, description="number of short trainings for each kind of folders")
    epochs: int = pydantic.Field(2, ge=1, description="epochs of each training")
    hardware: str = pydantic.Field("not recorded", description="the machine, for the head of the table")
    csv: Path | None = pydantic.Field(None, description="file to write the table to")


def main(arguments: Sequence[str]) -> int:
    """Measures the runs and prints the results."""
    if arguments[:1] == ["on-head"]:
        address, folder, order = arguments[1:]
        print(json.dumps(_measure_on_head(address, Path(folder), json.loads(order))))
        return 0
    command = parse_command(LargeStudyCommand, arguments, "benchmarks/large_study.py")
    with loading(make_console(stderr=True), "running"):
        found = measure(command)
    rows = tabulate(found)
    if command.csv is not None:
        write_table(rows, find_limit(found), command)
    print_rows(rows, f"A study of {RUNS:,} runs on {NODES} nodes", digits=2)
    make_console().print(find_limit(found), soft_wrap=True, markup=False)
    return 0


def measure(command: LargeStudyCommand) -> dict[str, Any]:
    """Returns what was measured, by name, in bytes and seconds."""
    sys.path.insert(0, str(_HERE.parents[1] / "tests"))
    from simulated_hosts import (  # ty: ignore[import-not-found] beside the tests
        RayNetwork,
        simulated_network,
        why_impossible,
    )

    if (reason := why_impossible()) is not None:
        raise InputError(reason)
    order = command.model_dump(mode="json", include={"waiting", "trainings", "epochs"})
    with tempfile.TemporaryDirectory() as folder, simulated_network() as network:
        cluster = RayNetwork(network, {})
        arguments = [sys.executable, str(_HERE), "on-head", cluster.address, folder, json.dumps(order)]
        process = cluster.head.start(arguments, stdout=PIPE)
        printed = process.communicate()[0]
    if process.returncode:
        raise RuntimeError("The runs could not be measured.")
    return json.loads(printed.splitlines()[-1])


def _measure_on_head(address: str, folder: Path, order: Mapping[str, int]) -> dict[str, Any]:
    """Returns what was measured; this runs on the head."""
    found: dict[str, Any] = _measure_waiting(address, folder, order["waiting"])
    kinds: tuple[Literal["shared", "sent"], ...] = ("shared", "sent")
    for folders in kinds:
        found[folders] = _measure_trainings(address, folder / folders, folders, order)
    found["kinds"] = _measure_disk(folder / "sent" / "run-0")
    return found


def _measure_waiting(address: str, folder: Path, count: int) -> dict[str, Any]:
    """Returns the memory and the processor time of the command and the head while runs wait for room."""
    from keras_lnn.processes.engines import open_engine
    from keras_lnn.processes.pool import Job, NoJob, Pool

    engine = open_engine(ClusterOptions(cluster=address), count)
    before = _measure_processes(1.0)
    # The first one takes the only processor until it is stopped.
    jobs = [Job(str(number), "time:sleep", 3600, folder / "waiting" / str(number)) for number in range(count)]  # ty: ignore[invalid-argument-type] any JSON content

    class Waiting:
        def take(self, resource: Any) -> Any:
            return jobs.pop() if jobs else NoJob.LEFT

        def finish(self, resource: Any, job: Any, outcome: Any) -> None:
            if outcome.failure is not None:
                raise RuntimeError(outcome.failure)

    pool = Pool(engine.resources(), Waiting())
    thread = threading.Thread(target=pool.run)
    thread.start()
    while jobs:
        time.sleep(0.1)
    time.sleep(_SETTLE_SECONDS)
    after = _measure_processes(_IDLE_SECONDS)
    pool.stop.set()
    thread.join()
    engine.close()
    return {"waiting": count, "without": before, "with": after}


def _measure_processes(seconds: float) -> dict[str, float]:
    """Returns the resident memory of this process and of Ray's head, and their processor seconds per second."""
    own = psutil.Process()
    head = [one for one in psutil.process_iter() if one.name() in ("gcs_server", "raylet")]
    used = [sum(_processor_seconds(one) for one in group) for group in ([own], head)]
    time.sleep(seconds)
    shares = [
        (sum(_processor_seconds(one) for one in group) - first) / seconds
        for group, first in zip(([own], head), used, strict=True)
    ]
    memory = [sum(one.memory_info().rss for one in group) for group in ([own], head)]
    names = ("command memory", "head memory", "command processors", "head processors")
    return dict(zip(names, (*memory, *shares), strict=True))


def _processor_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _measure_trainings(
    address: str, folder: Path, folders: Literal["shared", "sent"], order: Mapping[str, int]
) -> dict[str, float]:
    """Returns the traffic of the head and the processor time of the command for each training."""
    from cluster import make_training, run_jobs

    from keras_lnn.processes.engines import open_engine

    folder.mkdir()
    count = order["trainings"] - 1  # without the first, which loads what all share
    engine = open_engine(ClusterOptions(cluster=address, cluster_folders=folders), None)
    try:
        jobs = [
            make_training(folder / f"run-{number}", number, order["epochs"]) for number in range(order["trainings"])
        ]
        run_jobs(engine, jobs[:1])
        idle = _count_bytes()
        time.sleep(_IDLE_SECONDS)
        idle = [(now - then) / _IDLE_SECONDS for now, then in zip(_count_bytes(), idle, strict=True)]
        begun, used, counted = time.monotonic(), time.process_time(), _count_bytes()
        run_jobs(engine, jobs[1:])
        seconds, used = time.monotonic() - begun, time.process_time() - used
        moved = [now - then - rate * seconds for now, then, rate in zip(_count_bytes(), counted, idle, strict=True)]
    finally:
        engine.close()
    on_disk = sum(kind["bytes"] for kind in _measure_disk(folder / "run-0").values())
    written = on_disk if folders == "shared" else 0
    received, sent = (max(0.0, one / count) for one in moved)
    return {"received": received + written, "sent": sent, "processor": used / count, "idle": sum(idle)}


def _count_bytes() -> tuple[int, int]:
    """Returns the bytes that this host has received and sent."""
    lines = Path("/proc/net/dev").read_text(encoding="utf-8").splitlines()
    counts = next(line.split(":")[1].split() for line in lines if line.strip().startswith("eth0:"))
    return int(counts[0]), int(counts[8])


def _measure_disk(run: Path) -> dict[str, dict[str, int]]:
    """Returns the files and bytes of a run by kind, with the log of its process."""
    sizes: Counter[str] = Counter()
    files: Counter[str] = Counter()
    for path in [*run.rglob("*"), *run.with_name(f"{run.name}-process").rglob("*")]:
        if path.is_file():
            kind = next((name for name, endings in KINDS.items() if path.name.endswith(endings)), _OTHER)
            sizes[kind] += path.stat().st_size
            files[kind] += 1
    return {kind: {"bytes": sizes[kind], "files": files[kind]} for kind in (*KINDS, _OTHER)}


def tabulate(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """Returns one row per figure: what was measured, and what it makes of a large study."""
    rows = []

    def add(what: str, measured: str, whole: str) -> None:
        rows.append({"what": what, "measured": measured, f"{RUNS:,} runs on {NODES} nodes": whole})

    kinds = found["kinds"]
    for kind, one in kinds.items():
        add(f"{kind} of a run, in files", f"{_size(one['bytes'])} in {one['files']}", _size(one["bytes"] * RUNS))
    files, size = (sum(one[part] for one in kinds.values()) for part in ("files", "bytes"))
    add("disk of a run, in files", f"{_size(size)} in {files}", f"{_size(size * RUNS)} in {files * RUNS:,}")
    for folders in ("shared", "sent"):
        one = found[folders]
        moved = one["received"] + one["sent"]
        add(f"traffic of a run, folders {folders}", _size(moved), _size(moved * RUNS))
        processor = one["processor"]
        add(
            f"processor of the command per run, folders {folders}",
            f"{processor:.2f} s",
            f"{processor * RUNS / 60:.0f} min",
        )
    for place, name in (("command", "the command"), ("head", "Ray's head")):
        add(f"memory of {name} without runs", _size(found["without"][f"{place} memory"]), "the same")
        add(f"memory of {name} per run that waits or is trained", *_each(found, f"{place} memory", _size))
        share = f"{place} processors"
        add(
            f"processors of {name} per run that waits or is trained",
            *_each(found, share, lambda each: f"{round(each, 5):g}"),
        )
    return rows


def _each(found: Mapping[str, Any], name: str, show: Any) -> tuple[str, str]:
    each = max(0.0, found["with"][name] - found["without"][name]) / found["waiting"]
    return show(each), f"{show(each * AT_A_TIME)} for {AT_A_TIME:,} at a time"


def find_limit(found: Mapping[str, Any]) -> str:
    """Returns a sentence with the limits in runs per minute, the lowest one first."""
    left = 1.0 - AT_A_TIME * max(0.0, found["with"]["command processors"]) / found["waiting"]
    sent = found["sent"]
    most = {
        "the processor of the command": 60 * max(0.0, left) / sent["processor"],
        "a network of 1 Gbit/s at the head": 60 * NETWORK_BYTES / max(sent["received"], sent["sent"]),
    }
    first, second = sorted(most, key=lambda name: most[name])
    return (
        f"With sent folders and {AT_A_TIME:,} runs at a time the first limit is {first}, which suffices for"
        f" {most[first]:,.0f} runs per minute; {second} would for {most[second]:,.0f}."
    )


def _size(count: float) -> str:
    """Returns a number of bytes in words."""
    unit, *larger = ("bytes", "kB", "MB", "GB", "TB")
    while count >= 1000 and larger:
        count, unit, *larger = count / 1000, *larger
    return f"{count:.3g} {unit}"


def write_table(rows: Sequence[Mapping[str, str]], findings: str, command: LargeStudyCommand) -> None:
    """Writes the table as a CSV file that says in its first lines how it was made."""
    import pandas as pd

    assert command.csv is not None
    numbers = f"--waiting {command.waiting} --trainings {command.trainings} --epochs {command.epochs}"
    about = {
        "title": f"What a study of {RUNS:,} runs on {NODES} nodes needs",
        "command": f"python benchmarks/large_study.py {numbers}",
        "protocol": f"{command.waiting:,} runs that wait; {command.trainings - 1} trainings of dnn on phantom-breast"
        f" for each kind of folders, {command.epochs} epochs; a head and a node, simulated with networks of their own;"
        " traffic is that of the head without that of idle times, with what runs write to a shared disk",
        "seeds": f"0 to {command.trainings - 1}",
        "hardware": command.hardware,
        "findings": findings,
    }
    head = "".join(f"# {name}: {text}\n" for name, text in about.items())
    with atomic_path(command.csv) as temporary:
        temporary.write_text(head + pd.DataFrame(rows).to_csv(index=False), encoding="utf-8")


if __name__ == "__main__":
    run_main(main)
