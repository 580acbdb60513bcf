"""Tabulates what trained models cost and keep in each export format and precision: one row per model and export.

The models are trained first; nothing is trained here. The published table is made by these commands:

for model in lnn cnn; do keras-lnn train --model $model --data phantom-breast --run-dir runs/$model-1; done
keras-lnn train --model lnn-3d --data phantom-vessel --run-dir runs/lnn-3d-1
keras-lnn train --model unet --data phantom-liver --run-dir runs/unet-1
python benchmarks/runtimes.py --runs runs/lnn-1,runs/cnn-1,runs/lnn-3d-1,runs/unet-1 \
    --samples 100 --csv docs/results/tables/runtimes.csv --hardware "two CPU cores"

Each export predicts in a process of its own; run nothing beside it.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydantic

from keras_lnn.benchmarking.running import FLOAT32, Benchmark, list_installed, list_jobs, run_benchmark
from keras_lnn.cli.parsing import parse_command, run_main
from keras_lnn.errors import InputError
from keras_lnn.evaluation.metrics import metric_label
from keras_lnn.fields.values import Count
from keras_lnn.files.atomic import atomic_path
from keras_lnn.saved.formats import FORMATS, PRECISIONS
from keras_lnn.terminal import make_console, print_rows

_DIGITS = {"MiB": 2, "first prediction (s)": 2, "one sample (ms)": 2, "95% below (ms)": 2, "samples per second": 0}
_DIGITS |= {"memory (MiB)": 0, "largest difference": 6, "changed decisions": 4}
_ONLY_WRITTEN = {"value low", "value high", "loss low", "loss high", "95% below (ms)", "changed decisions", "batch"}


class RuntimesCommand(pydantic.BaseModel):
    """Tabulate the speed, memory, size and quality of trained models in each export format and precision."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    runs: str = pydantic.Field(description="folders of runs, as a,b")
    formats: str | None = pydantic.Field(None, description="formats, as a,b (default: all that are installed)")
    samples: Count | None = pydantic.Field(None, description="samples of each validation split (default: all)")
    hardware: str = pydantic.Field("not recorded", description="the machine, for the head of the table")
    csv: Path | None = pydantic.Field(None, description="file to write the table to")


def main(arguments: Sequence[str]) -> int:
    """Measures the runs and prints the table."""
    command = parse_command(RuntimesCommand, arguments, "benchmarks/runtimes.py")
    formats = list_installed() if command.formats is None else command.formats.split(",")
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise InputError(f"--formats takes {', '.join(FORMATS)}. Received: {unknown[0]}.")
    jobs, console = list_jobs(formats, [FLOAT32, *PRECISIONS]), make_console(stderr=True)
    found = []
    for run in command.runs.split(","):

        def report(fraction: float, what: str, run: str = run) -> None:
            console.print(f"{run}: {what} ({fraction:.0%})")

        found.append(run_benchmark(run, jobs, command.samples, report))
    rows = [row for one in found for row in tabulate(one)]
    for one in found:
        for note in one.notes:
            console.print(f"{one.signature.model}: {note}", soft_wrap=True)
    if command.csv is not None:
        write_table(rows, command, found, command.csv)
    # The intervals are in the table; with them a row is wider than a terminal.
    shown = [{name: row[name] for name in row if name not in _ONLY_WRITTEN} for row in rows]
    print_rows(shown, "models in each format and precision", digits=3)
    return 0


def tabulate(found: Benchmark) -> list[dict[str, Any]]:
    """Returns one row per export of a model."""
    label = metric_label(found.signature.get_task().leading)
    rows = []
    for one in found.rows:
        timing, fidelity = one.timing, one.fidelity
        name = f"{found.signature.model}, {one.format}, {one.precision}"
        row: dict[str, Any] = {"model, format, precision": name, "MiB": one.size_mib}
        row |= {"first prediction (s)": timing["first_seconds"], "one sample (ms)": timing["latency_ms"]}
        row |= {"95% below (ms)": timing["latency_p95_ms"], "samples per second": timing["samples_per_second"]}
        row |= {"batch": timing["batch"], "memory (MiB)": timing["memory_mib"]}
        row |= {"largest difference": fidelity.largest, "changed decisions": fidelity.changed, "metric": label}
        for name, value in (("value", fidelity.exported), ("loss", fidelity.loss)):
            row |= {name: value.value, f"{name} low": value.low, f"{name} high": value.high}
        rows.append(row)
    return rows


def write_table(
    rows: Sequence[dict[str, Any]], command: RuntimesCommand, found: Sequence[Benchmark], path: Path
) -> None:
    """Writes the table below the lines that say how it was made."""
    measured = [f"{one.signature.model}: {one.samples} of {one.signature.data}" for one in found]
    runs = ",".join(f"runs/{Path(run).name}" for run in command.runs.split(","))
    facts = {
        "title": "Exported models in each format and precision",
        "command": f"python benchmarks/runtimes.py --runs {runs}"
        + ("" if command.samples is None else f" --samples {command.samples}"),
        "protocol": f"each export in a process of its own, times are medians; validation split, {'; '.join(measured)}",
        "seeds": ", ".join(f"{one.signature.seed} ({one.signature.model})" for one in found),
        "intervals": "95%, over the validation samples; losses are paired",
        "hardware": f"{command.hardware}; {found[0].processor}, {found[0].threads} threads",
    }
    with atomic_path(path) as temporary:
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            file.writelines(f"# {name}: {value}\n" for name, value in facts.items())
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows({name: _write(name, value) for name, value in row.items()} for row in rows)


def _write(name: str, value: object) -> object:
    return f"{value:.{_DIGITS.get(name, 4)}f}" if isinstance(value, float) else value


if __name__ == "__main__":
    run_main(main)
