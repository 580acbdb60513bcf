"""The files of a benchmark: its table, its numbers, its page and its picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from keras_lnn.benchmarking.running import Benchmark, Measured
from keras_lnn.evaluation.metrics import metric_label
from keras_lnn.files.atomic import without_nan, write_json, write_text
from keras_lnn.files.csv_tables import to_csv
from keras_lnn.pages.rendering import Picture, Table, render
from keras_lnn.plots.runtimes import plot_quality_latency
from keras_lnn.plots.style import save_figure
from keras_lnn.saved.formats import FORMATS
from keras_lnn.statistics.texts import interval, number, signed

TABLE_FILE, RESULTS_FILE, PAGE_FILE, PICTURE_FILE = (
    "benchmark.csv",
    "benchmark.json",
    "benchmark.html",
    "quality_latency.png",
)
_READING = (
    "Each mark is the model in one format and precision, with the 95% interval of its metric. Marks at one height"
    " predict the same; those further left need less time."
)


def write_benchmark(found: Benchmark, folder: Path) -> dict[str, Path]:
    """Writes the table, the numbers, the page and the picture of a benchmark, and returns their paths.

    Args:
        found: What was measured.
        folder: The folder, which is made where it is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows, metric = [one.to_row() for one in found.rows], found.signature.get_task().leading
    write_text(folder / TABLE_FILE, to_csv(pd.DataFrame(rows)))
    write_json(folder / RESULTS_FILE, without_nan(found.to_json()))
    figure = plot_quality_latency(rows, metric, metric_label(metric), name_sample(found))
    save_figure(figure, folder / PICTURE_FILE)
    write_text(folder / PAGE_FILE, benchmark_page(found, Picture.of_file(folder / PICTURE_FILE, _READING)))
    files = {"page": PAGE_FILE, "table": TABLE_FILE, "numbers": RESULTS_FILE, "picture": PICTURE_FILE}
    return {name: folder / file for name, file in files.items()}


def name_sample(found: Benchmark) -> str:
    """Returns what one sample is: ``image`` or ``series``."""
    return "image" if found.signature.time_unit is None else "series"


def benchmark_table(found: Benchmark) -> Table:
    """Returns the table of the page and of the terminal: one row per export."""
    label = metric_label(found.signature.get_task().leading)
    sample = name_sample(found)
    head = [
        "format",
        "MiB",
        f"first {sample} (s)",
        f"one {sample} (ms)\np95",
        f"{found.signature.samples} per s\nbatch",
        "memory (MiB)",
        "difference",
        f"{label}\n95% interval",
        "loss\n95% interval",
    ]
    caption = f"{found.signature.model} on {found.processor}, {found.threads} threads"
    return Table(caption, [name.partition("\n")[0] for name in head], [_list_cells(one) for one in found.rows])


def _list_cells(one: Measured) -> list[str]:
    timing, fidelity = one.timing, one.fidelity
    value, _, ends = interval(fidelity.exported).partition(" ")
    known = fidelity.loss.low == fidelity.loss.low
    loss_ends = f"\n{signed(fidelity.loss.low)} to {signed(fidelity.loss.high)}" if known else ""
    return [
        one.name,
        f"{one.size_mib:.2f}",
        f"{timing['first_seconds']:.1f}",
        f"{timing['latency_ms']:.2f}\np95 {timing['latency_p95_ms']:.2f}",
        f"{timing['samples_per_second']:,.0f}\nbatch {timing['batch']}",
        f"{timing['memory_mib']:,.0f}",
        f"{fidelity.largest:.2g}",
        value + (f"\n{ends.strip('()')}" if ends else ""),
        (signed(fidelity.loss.value) if abs(fidelity.loss.value) >= 0.0005 else number(0.0)) + loss_ends,
    ]


def describe_measuring(found: Benchmark) -> list[str]:
    """Returns sentences that say how the numbers of a benchmark came about."""
    samples, sample = found.signature.samples, name_sample(found)
    return [
        "Each row is measured in a process of its own, which imports its runtime, loads the model and predicts,"
        " one after the other. Times are of this processor, if nothing else ran there: they compare formats, not"
        " machines.",
        f"The time of the first {sample} is from the start of the process to its first prediction. That of one {sample}"
        f" is the median of many, with the time that 95% of them stay below. {samples.capitalize()} per second are"
        " those of the fastest batch of 1 to 256.",
        f"Memory is the largest that the process had resident while it predicted one {sample} at a time.",
        "The difference is the largest between probabilities of the export and of the Keras model. The loss is the"
        " metric of the Keras model minus that of the export on the same samples, with the interval of a paired test.",
    ]


def benchmark_page(found: Benchmark, picture: Picture) -> str:
    """Returns the page of a benchmark.

    Args:
        found: What was measured.
        picture: Its picture.
    """
    known = found.signature
    return render(
        "benchmark.html",
        title=f"{known.model} on {known.data} in other formats",
        about=f"Measured on {found.samples} of the validation split, by {found.threads} threads of {found.processor}.",
        notes=found.notes,
        table=benchmark_table(found),
        picture=picture,
        methods=describe_measuring(found),
        formats=_describe_formats(found),
    )


def _describe_formats(found: Benchmark) -> list[Any]:
    names = dict.fromkeys(one.format for one in found.rows)
    return [f"{name} is {FORMATS[name].article}." for name in names]
