"""Measures what compiling the training step costs or saves: each network by default, with ``--xla`` and fully compiled.

python benchmarks/xla.py --models LiqExp4N2,lnn,cnn,resnet18
python benchmarks/xla.py --kept xla.json --csv docs/results/tables/xla.csv --hardware "two CPU cores"

Each network has a process of its own with a time limit; in it, the ways take their steps alternately, so that a noisy
machine affects them alike. ``--xla`` leaves networks with convolutions as they are on a CPU: there it is the default,
and has no row of its own. A stopped measurement goes on from the file of ``--kept``.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pydantic

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.measuring import list_processors, measure_parts, write_table
from keras_lnn.cli.parsing import parse_command, run_main
from keras_lnn.registry import model_names, require_model
from keras_lnn.terminal import make_console, print_rows, start_keras

# The promise to users: with --xla a step takes at most so many times as long as by default.
MOST_RATIO = 1.5
_SAME = "the same program"
# Ways that together take longer than this get fewer rounds.
_SECONDS_OF_ROUNDS = 60.0


class XlaCommand(pydantic.BaseModel):
    """Measure training steps with and without XLA, one row per network."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    models: str = pydantic.Field("", description="models to time, as a,b (default: all)")
    size: int = pydantic.Field(
        0, ge=0, description="side of the images in pixels (default: the reference data of each model)"
    )
    batch_size: int = pydantic.Field(16, ge=1, description="samples per step")
    rounds: int = pydantic.Field(5, ge=1, description="steps timed of each way, fewer where they take long")
    seconds: float = pydantic.Field(600.0, gt=0, description="time limit of each network")
    kept: Path | None = pydantic.Field(None, description="file of finished measurements, to go on after a stop")
    hardware: str = pydantic.Field("not recorded", description="the machine, for the head of the table")
    csv: Path | None = pydantic.Field(None, description="file to write the table to")
    part: str | None = pydantic.Field(None, description="one measurement as JSON, as this script calls itself")


def main(arguments: Sequence[str]) -> int:
    """Measures the networks, prints the results, and returns 1 if ``--xla`` is slower than it may be."""
    command = parse_command(XlaCommand, arguments, "benchmarks/xla.py")
    if command.part is not None:
        for results in measure(json.loads(command.part)):
            print(json.dumps(results), flush=True)
        return 0
    console = make_console(stderr=True)
    names = command.models.split(",") if command.models else model_names()
    for name in names:
        require_model(name)
    shared: dict[str, Any] = {"backend": "tensorflow", "processor": list_processors()[-1]}
    shared |= {"size": command.size, "batch": command.batch_size, "rounds": command.rounds}
    parts = [{"network": name} | shared for name in names]
    rows = [
        tabulate(name, results)
        for name, results in zip(
            names, measure_parts(__file__, parts, command.seconds, command.kept, console.print), strict=True
        )
    ]
    print_rows(rows, f"training steps of {command.batch_size} samples; ratios to the default", digits=2)
    if command.csv is not None:
        written = [
            {key: f"{value:.2f}" if isinstance(value, float) else value for key, value in row.items()} for row in rows
        ]
        write_table(written, describe(command, rows), command.csv)
    print(find_slowest(rows))
    return int(any(ratio > MOST_RATIO for ratio in _ratios(rows, "--xla / default").values()))


def measure(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the results of the default and of ``--xla``, then these with the step that is compiled as a whole.

    A ratio compares the fastest steps; ``cpu`` compares the least processor time.
    """
    start_keras(make_console(stderr=True))
    from benchmarks.training_steps import make_training_step
    from keras_lnn.backend.process import prepare_backend

    prepare_backend(0, deterministic=False, precision="float32")

    def make(**how: bool) -> tuple[Callable[[], Any], Any]:
        return make_training_step(part["network"], part["batch"], part["size"] or None, **how)

    steps, (with_xla, model) = {"default": make()[0]}, make(xla=True)
    if model.jit_compile:
        steps["--xla"] = with_xla
    results = compare(steps, part["rounds"])
    if not model.jit_compile:
        yield results
        # The first step of the default is that from before.
        results = compare({"default": steps["default"], "whole": make(whole=True)[0]}, part["rounds"]) | results
    yield results


def compare(steps: dict[str, Callable[[], Any]], rounds: int) -> dict[str, Any]:
    """Returns milliseconds by default, seconds of each first step, and each way's ratios to the default."""
    results: dict[str, Any] = {}
    for way, step in steps.items():
        begun = time.perf_counter()
        step()
        results[f"{way}_first_s"] = time.perf_counter() - begun
        step()  # Memory grows in the first steps, so the second one is not timed.
    times: dict[str, list[tuple[float, float]]] = {way: [] for way in steps}
    started = time.perf_counter()
    for turn in range(rounds):
        for way in list(steps) if turn % 2 == 0 else list(steps)[::-1]:
            begun = time.perf_counter(), time.process_time()
            steps[way]()
            times[way].append((time.perf_counter() - begun[0], time.process_time() - begun[1]))
        if time.perf_counter() - started > _SECONDS_OF_ROUNDS:
            break
    clock, cpu = ({way: min(pair[part] for pair in times[way]) for way in steps} for part in (0, 1))
    results["default_ms"] = 1e3 * clock["default"]
    for way in steps:
        if way != "default":
            results |= {f"{way}_ratio": clock[way] / clock["default"], f"{way}_cpu": cpu[way] / cpu["default"]}
    return results


def tabulate(name: str, results: dict[str, Any]) -> dict[str, Any]:
    """Returns the row of a network; what was not measured says why."""
    failure = results.get("failure", "")
    same = "default_ms" in results and "--xla_ratio" not in results
    # With --xla a step is compiled as a whole, except where it would slow down convolutions.
    whole = "whole" if same else "--xla"
    return {
        "network": name,
        "default (ms)": results.get("default_ms", failure),
        "--xla / default": _SAME if same else results.get("--xla_ratio", failure),
        "whole step / default": results.get(f"{whole}_ratio", failure),
        "first step (s)": results.get("default_first_s", failure),
        "first step, whole (s)": results.get(f"{whole}_first_s", failure),
    }


def _ratios(rows: Sequence[dict[str, Any]], column: str) -> dict[str, float]:
    return {row["network"]: row[column] for row in rows if isinstance(row[column], float)}


def find_slowest(rows: Sequence[dict[str, Any]]) -> str:
    """Returns in words how much ``--xla`` costs at most, how often it compiles, and what it does not compile."""
    given, whole = _ratios(rows, "--xla / default"), _ratios(rows, "whole step / default")
    spared = {name: ratio for name, ratio in whole.items() if name not in given}
    sentences = []
    if given:
        slowest = max(given, key=lambda name: given[name])
        kept = "within" if given[slowest] <= MOST_RATIO else "more than"
        sentences.append(
            f"--xla compiles the whole step of {_count(given)}, which takes {min(given.values()):.2f} to"
            f" {given[slowest]:.2f} times as long as by default ({slowest}), {kept} the promised {MOST_RATIO}."
        )
    if spared:
        slowest = max(spared, key=lambda name: spared[name])
        sentences.append(
            f"It leaves {_count(spared)} with convolutions as they are, whose step compiled as a whole takes"
            f" {min(spared.values()):.2f} to {spared[slowest]:.2f} times as long ({slowest})."
        )
    missing = [row["network"] for row in rows if not isinstance(row["default (ms)"], float)]
    return " ".join([*sentences, *([f"Not measured: {', '.join(missing)}."] if missing else [])])


def _count(networks: dict[str, float]) -> str:
    return f"{len(networks)} network{'s' * (len(networks) != 1)}"


def describe(command: XlaCommand, rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Returns the lines at the head of the table."""
    options = f" --models {command.models}" if command.models else ""
    options += f" --size {command.size}" if command.size else ""
    options += "" if command.batch_size == 16 else f" --batch-size {command.batch_size}"
    return {
        "title": "Training steps by default, with --xla, and compiled as a whole",
        "command": f"python benchmarks/xla.py{options}",
        "protocol": f"each network in a process of its own of at most {command.seconds:.0f} s, random data as in its"
        f" reference data, batch {command.batch_size}; the fastest of up to {command.rounds} steps of each way in turn",
        "seeds": "0",
        "hardware": command.hardware,
        "findings": find_slowest(rows),
    }


if __name__ == "__main__":
    run_main(main)
