"""What people see on the terminal: what is going on, how far it is, and results with their intervals."""

import contextlib
import importlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from keras_lnn.saved.card import shown_metrics
from keras_lnn.tasks.kinds import find_kind
from keras_lnn.tasks.thresholds import TUNED, describe_rule

if TYPE_CHECKING:
    from keras_lnn.data.checking import DataCheck

# Where nobody watches a bar move (a log file), a line at most this often says how far it is.
_LOG_EVERY_SECONDS = 10.0


def make_console(stderr: bool = False) -> Console:
    """The console for results, or for progress alone; wide enough in files that lines stay whole.

    Without markup: paths and class names may hold brackets.
    """
    console = Console(highlight=False, markup=False, stderr=stderr)
    if console.is_terminal:
        return console
    return Console(highlight=False, markup=False, stderr=stderr, width=140, soft_wrap=True)


@contextlib.contextmanager
def loading(console: Console, what: str) -> Generator[Callable[[float], None]]:
    """Shows that something is being loaded, with a fraction where one is known."""
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
    """Imports Keras, which takes seconds, and shows it; before anything is imported that is built on it."""
    if "keras" in sys.modules:
        return
    with loading(console, "starting Keras"), _quiet_errors():
        importlib.import_module("keras")


def print_rows(rows: list[dict[str, Any]], title: str, digits: int) -> None:
    """A table of what was measured, with a column a key; text stands at the left, numbers at the right."""
    table = Table(title=title, title_justify="left")
    for name, value in rows[0].items():
        table.add_column(name.replace("_", " "), justify="left" if isinstance(value, str) else "right")
    for row in rows:
        table.add_row(*(f"{value:,.{digits}f}" if isinstance(value, float) else str(value) for value in row.values()))
    make_console().print(table)


def print_metrics(console: Console, metrics: dict[str, Any], title: str) -> None:
    """The warnings, then one table of metrics with intervals, and what decisions the numbers are of."""
    for warning in metrics["warnings"]:
        console.print(Text.assemble(("warning: ", "bold yellow"), warning))
    split = next(name for name in ("test", "val", "train", "all") if name in metrics)
    found = metrics[split]
    tuned = any(name.endswith(TUNED) for name in found)
    interval = f"95% interval{_describe_basis(metrics, split)}"
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("metric")
    for name in ("at 0.5" if tuned else "value", interval, *(("at threshold", "95% interval") if tuned else ())):
        table.add_column(name, justify="right")
    for name, label in shown_metrics(metrics, split).items():
        if name.endswith(TUNED):
            continue
        cells = [label + _of_class(name, metrics.get("positive_class")), *_cells_of(found[name])]
        if tuned:
            cells += _cells_of(found[name + TUNED]) if name + TUNED in found else ["", ""]
        table.add_row(*cells)
    console.print(table)
    if tuned:
        console.print(_describe_thresholds(metrics, split))


def _of_class(metric: str, positive_class: str | None) -> str:
    of_one_class = ("f1", "precision", "sensitivity", "specificity", "average_precision")
    return f" ({positive_class})" if positive_class and metric in of_one_class else ""


def _cells_of(estimate: dict[str, float | None]) -> tuple[str, str]:
    value, low, high = ("-" if estimate[key] is None else f"{estimate[key]:.4f}" for key in ("value", "low", "high"))
    return value, "-" if low == "-" else f"{low} .. {high}"


def _describe_thresholds(metrics: dict[str, Any], split: str) -> str:
    """Returns a sentence on the thresholds of decisions, and how they were chosen."""
    how, positive = describe_rule(metrics.get("threshold_rule")), metrics.get("positive_class")
    if positive is None:
        return f"Decisions go by a threshold for each label, {how}."
    threshold = metrics["per_class"][split][positive]["threshold"]
    return f"Decisions go by the threshold: {positive} above {threshold:.3f}, {how}."


def _describe_basis(metrics: dict[str, Any], split: str) -> str:
    """Returns what intervals rest on; nothing where an older version has not written it down."""
    basis = metrics.get("intervals_over", {}).get(split)
    return "" if basis is None else f" over {basis['count']:,} {basis['unit']}"


def print_check(console: Console, check: "DataCheck") -> None:
    """A row a class with its images in each split, then what was decided and what may be wrong."""
    table = Table(title="images of each class", title_justify="left", title_style="bold")
    table.add_column("class", overflow="fold")
    for split, samples in check.samples.items():
        patients = "" if check.patients is None else f"\n{check.patients[split]:,} patients"
        table.add_column(f"{split}\n{samples:,} images{patients}", justify="right")
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
        console: Where to.
        metrics: Content of a metrics.json.
        split: Which of its splits.
    """
    per_class = metrics["per_class"][split]
    first = next(iter(per_class.values()))
    columns, tuned = find_kind(metrics["task"]).label_columns(first), "threshold" in first
    table = Table(title=f"each {columns.noun}, with 95% intervals", title_justify="left", title_style="bold")
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


def print_written(console: Console, written: dict[str, Path]) -> None:
    """The paths of what was written."""
    width = max(map(len, written))
    for name, path in written.items():
        console.print(f"{name.ljust(width)}  {path}")


@contextlib.contextmanager
def _quiet_errors() -> Generator[None]:
    """Keeps the start-up lines of TensorFlow's core away from people while it is imported.

    They are written by compiled code before any setting of TensorFlow can reach it, so the stream itself is turned to
    a file; where the import fails, what was written is shown.
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
