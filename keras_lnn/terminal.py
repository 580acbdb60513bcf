"""Output on the terminal: progress, and results with their confidence intervals."""

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from keras_lnn.evaluation.metrics import metric_label
from keras_lnn.saved.card import shown_metrics
from keras_lnn.saved.results import (
    describe_calibration,
    describe_decisions,
    describe_promised,
    measured_split,
    name_class,
)
from keras_lnn.starting.importing import import_keras
from keras_lnn.tasks.kinds import find_kind
from keras_lnn.tasks.thresholds import TUNED

if TYPE_CHECKING:
    from keras_lnn.data.checking import DataCheck
    from keras_lnn.pages.rendering import Table as PageTable

# In a log file there is no progress bar: lines report the progress, at most this often.
_LOG_EVERY_SECONDS = 10.0


def make_console(stderr: bool = False) -> Console:
    """Returns a console; where its output goes to a file, it is so wide that lines stay whole.

    Markup is off, because paths and class names may hold brackets.
    """
    console = Console(highlight=False, markup=False, stderr=stderr)
    if console.is_terminal:
        return console
    return Console(highlight=False, markup=False, stderr=stderr, width=140, soft_wrap=True)


@contextlib.contextmanager
def loading(console: Console, what: str) -> Generator[Callable[[float], None]]:
    """Shows that something is being loaded; the yielded function takes the fraction done and shows it."""
    shown = [time.monotonic()]
    spinner = "dots" if console.encoding.startswith("utf") else "line"
    with console.status(Text(f"{what} ..."), spinner=spinner) as status:

        def progress(fraction: float) -> None:
            status.update(Text(f"{what} ... {fraction:.0%}"))
            if not console.is_terminal and time.monotonic() - shown[0] > _LOG_EVERY_SECONDS:
                shown[0] = time.monotonic()
                console.print(f"{what} ... {fraction:.0%}")

        yield progress


def start_keras(console: Console) -> None:
    """Imports Keras, which takes seconds, and shows so; call it before importing anything that needs Keras."""
    if "keras" in sys.modules:
        return
    with loading(console, "starting Keras"), _quiet_errors():
        import_keras()


def print_rows(rows: list[dict[str, Any]], title: str, digits: int) -> None:
    """Prints a table with one column per key; text is aligned to the left, numbers to the right."""
    head = {name.replace("_", " "): isinstance(value, str) for name, value in rows[0].items()}
    cells = [
        [f"{value:,.{digits}f}" if isinstance(value, float) else str(value) for value in row.values()] for row in rows
    ]
    _print_cells(make_console(), title, list(head.items()), cells)


def print_metrics(console: Console, metrics: dict[str, Any], title: str) -> None:
    """Prints the warnings, a table of metrics with intervals, and how decisions were made."""
    for warning in metrics["warnings"]:
        console.print(Text.assemble(("warning: ", "bold yellow"), warning))
    split = measured_split(metrics)
    found = metrics[split]
    tuned = any(name.endswith(TUNED) for name in found)
    interval = f"95% interval{_over(metrics, split)}"
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("metric")
    for name in ("at 0.5" if tuned else "value", interval, *(("at threshold", "95% interval") if tuned else ())):
        table.add_column(name, justify="right")
    for name, label in shown_metrics(metrics, split).items():
        if name.endswith(TUNED):
            continue
        cells = [label + name_class(name, metrics.get("positive_class")), *_estimate_cells(found[name])]
        if tuned:
            cells += _estimate_cells(found[name + TUNED]) if name + TUNED in found else ["", ""]
        table.add_row(*cells)
    console.print(table)
    sentences = (describe_decisions(metrics, split) if tuned else "", describe_calibration(metrics, split))
    for sentence in (*sentences, *describe_promised(metrics, split)):
        if sentence:
            console.print(sentence)


def print_sampling(console: Console, rows: Sequence[dict[str, Any]], metric: str) -> None:
    """Prints a metric under each sampling, one column per model.

    Args:
        console: Console that is printed to.
        rows: The rows of sampling.csv.
        metric: Name of the metric.
    """
    models = dict.fromkeys(row["model"] for row in rows)
    title = f"{metric_label(metric)} by sampling, with 95% intervals"
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("sampling")
    for name in ("amount", "frames", *models):
        table.add_column(Text(name), justify="right", overflow="fold")
    for kind, amount in dict.fromkeys((row["sampling"], row["amount"]) for row in rows):
        found = {row["model"]: row for row in rows if (row["sampling"], row["amount"]) == (kind, amount)}
        names = {"value": metric, "low": f"{metric}_low", "high": f"{metric}_high"}
        cells = [_short_estimate({end: found[model][name] for end, name in names.items()}) for model in models]
        table.add_row(kind, f"{amount:g}", f"{next(iter(found.values()))['mean_frames']:.1f}", *cells)
    console.print(table)


def print_corruptions(console: Console, rows: Sequence[dict[str, Any]], metric: str) -> None:
    """Prints a metric under each corruption, one column per strength.

    Args:
        console: Console that is printed to.
        rows: The rows of corruptions.csv.
        metric: Name of the metric.
    """
    title = f"{metric_label(metric)} by strength of corruption"
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("corruption")
    for strength in dict.fromkeys(row["strength"] for row in rows):
        table.add_column(str(strength), justify="right")
    for kind in dict.fromkeys(row["corruption"] for row in rows):
        values = [row[metric] for row in rows if row["corruption"] == kind]
        table.add_row(kind, *("-" if value is None else f"{value:.3f}" for value in values))
    console.print(table)


def print_subgroups(console: Console, rows: Sequence[dict[str, Any]], metric: str) -> None:
    """Prints a metric in each group, and how far it is from that of the other samples.

    Args:
        console: Console that is printed to.
        rows: The rows of subgroups.csv.
        metric: Name of the metric.
    """
    title = f"{metric_label(metric)} by subgroup, with 95% intervals"
    table = Table(title=title, title_justify="left", title_style="bold")
    for name in ("column", "group"):
        table.add_column(name, overflow="fold")
    for name in ("samples", metric_label(metric), "minus the others", "p", "corrected p"):
        table.add_column(name, justify="right")
    for row in rows:
        if row["metric"] == metric:
            ends = {"value": "difference", "low": "difference_low", "high": "difference_high"}
            cells = [_short_estimate(row), _short_estimate({end: row[name] for end, name in ends.items()})]
            cells += ["-" if row[name] is None else f"{row[name]:.3f}" for name in ("p", "corrected_p")]
            table.add_row(Text(row["column"]), Text(row["group"]), f"{row['samples']:,}", *cells)
    console.print(table)


def _estimate_cells(estimate: dict[str, float | None]) -> tuple[str, str]:
    value, low, high = ("-" if estimate[key] is None else f"{estimate[key]:.4f}" for key in ("value", "low", "high"))
    return value, "-" if low == "-" else f"{low} to {high}"


def _over(metrics: dict[str, Any], split: str) -> str:
    """Returns the number of units that intervals rest on, or nothing if an older version did not record it."""
    basis = metrics.get("intervals_over", {}).get(split)
    return "" if basis is None else f" over {basis['count']:,} {basis['unit']}"


def print_check(console: Console, check: "DataCheck") -> None:
    """Prints one row per class with its samples in each split, then notes and warnings."""
    table = Table(title=f"{check.noun} per class and split", title_justify="left", title_style="bold")
    table.add_column("class", overflow="fold")
    for split, samples in check.samples.items():
        patients = "" if check.patients is None else f"\n{check.patients[split]:,} patients"
        table.add_column(f"{split}\n{samples:,} {check.noun}{patients}", justify="right")
    for name in next(iter(check.counts.values())):
        table.add_row(Text(name), *(f"{counts[name]:,}" for counts in check.counts.values()))
    console.print(table)
    for note in check.notes:
        console.print(note)
    for warning in check.warnings:
        console.print(Text.assemble(("warning: ", "bold yellow"), warning))


def print_labels(console: Console, metrics: dict[str, Any], split: str) -> None:
    """Prints one row per class or label with its intervals.

    Args:
        console: Console that is printed to.
        metrics: Content of a metrics.json.
        split: Name of one of its splits.
    """
    per_class = metrics["per_class"][split]
    first = next(iter(per_class.values()))
    columns, tuned = find_kind(metrics["task"]).label_columns(first), "threshold" in first
    table = Table(title=f"metrics of each {columns.noun} with 95% intervals", title_justify="left", title_style="bold")
    table.add_column(columns.noun, overflow="fold")
    for name in (*columns.counts.values(), *columns.estimates.values()):
        table.add_column(name, justify="right")
    if tuned:
        table.add_column("threshold", justify="right")
    for label, entries in per_class.items():
        cells = [f"{entries[name]:,}" for name in columns.counts]
        cells += [_short_estimate(entries[name]) for name in columns.estimates]
        cells += [f"{entries['threshold']:.3f}"] if tuned else []
        table.add_row(Text(label), *cells)
    console.print(table)


def _short_estimate(estimate: dict[str, float | None]) -> str:
    if estimate["value"] is None:
        return "-"
    numbers = ["-" if estimate[key] is None else f"{estimate[key]:.2f}" for key in ("low", "high")]
    return f"{estimate['value']:.3f} ({numbers[0]}-{numbers[1]})"


def print_table(console: Console, table: "PageTable") -> None:
    """Prints a table of a page.

    Args:
        console: Console that is printed to.
        table: The table; what stands below in a cell is printed in parentheses.
    """
    parts = [[str(cell).partition("\n") for cell in row] for row in table.rows]
    cells = [[f"{first} ({below})" if below else first for first, _, below in row] for row in parts]
    head = [(name, place < table.texts) for place, name in enumerate(table.head)]
    _print_cells(console, table.caption, head, cells)


def _print_cells(console: Console, title: str, head: Sequence[tuple[str, bool]], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table of texts; the head says of each column its name and whether it is aligned to the left."""
    shown = Table(title=title, title_justify="left", title_style="bold")
    for name, is_left in head:
        shown.add_column(name, justify="left" if is_left else "right", overflow="fold")
    for row in rows:
        shown.add_row(*map(Text, row))
    console.print(shown)


def print_written(console: Console, written: dict[str, Path]) -> None:
    """Prints the path of each file or folder that was written."""
    width = max(map(len, written))
    for name, path in written.items():
        console.print(f"{name.ljust(width)}  {path}")


@contextlib.contextmanager
def _quiet_errors() -> Generator[None]:
    """Hides the start-up messages of TensorFlow's core while it is imported.

    Compiled code writes them before any setting of TensorFlow takes effect, so the stream itself is redirected to a
    file; if the import fails, its content is shown.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            yield
        except Exception:
            os.dup2(kept, 2)
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
