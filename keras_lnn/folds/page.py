"""The page of a cross-validation, which links the page of each fold."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_lnn.evaluation.metrics import metric_label
from keras_lnn.files.atomic import write_text
from keras_lnn.folds.doubtful import describe_doubtful
from keras_lnn.folds.kinds import FoldKind
from keras_lnn.folds.layout import FoldRun
from keras_lnn.folds.words import (
    describe_calibration,
    describe_folds,
    describe_methods,
    describe_outcome,
    list_metrics,
    spell,
)
from keras_lnn.pages.rendering import Link, Picture, Table, relative_link, render
from keras_lnn.pages.run_tables import labels_table
from keras_lnn.runs.finding import FOLDS_FILE
from keras_lnn.runs.folder import RunFolder
from keras_lnn.saved.results import describe_metric, describe_promised, name_samples, split_in_words
from keras_lnn.tasks.kinds import find_kind_of

_SHEET = (
    "The most doubtful first. The models were not trained on these and are confident of another label: the label may be"
    " wrong, the case rare, or the models wrong."
)
_DOUBTFUL = {"doubtful_labels.csv": "the labels that predictions contradict, the most doubtful first"}
_FILES = {
    "folds.json": "everything on this page as numbers; written last, so that it marks a complete cross-validation",
    FOLDS_FILE: "the options: keras-lnn train --config goes on with the same folds",
}
# Longer tables of folds are folded.
_MOST_FOLDS_OPEN = 20


def write_folds_page(folder: Path, found: dict[str, Any], runs: Sequence[FoldRun]) -> Path:
    """Writes the page of a complete cross-validation, and returns its path.

    Args:
        folder: Its folder, which holds the pictures.
        found: Content of its folds.json, which need not be written yet.
        runs: Its runs.
    """
    path = folder / "folds.html"
    write_text(path, folds_page(folder, found, runs))
    return path


def folds_page(folder: Path, found: dict[str, Any], runs: Sequence[FoldRun]) -> str:
    """Returns the page; arguments as in :func:`write_folds_page`."""
    kind = FoldKind.of(find_kind_of(found))
    pictures = [Picture.of_file(folder / "plots" / f"{name}.png", text) for name, text in kind.readings.items()]
    sheet = folder / "plots" / "doubtful_labels.png"
    files = {"folds.csv": "the metrics of each fold", "predictions.csv": kind.predictions_are}
    files |= _DOUBTFUL if "doubtful_labels" in found else {}
    head = ["metric", "mean over folds", "spread", "all predictions"]
    caption = "Metrics with 95% intervals"
    rows = [[label, *(_small(cell) for cell in cells)] for label, *cells in list_metrics(found)]
    return render(
        "folds.html",
        title=describe_folds(found),
        result=describe_outcome(found),
        cautions=found["warnings"],
        metrics=Table(caption, head, rows),
        promised=[*filter(None, [describe_calibration(found)]), *describe_promised(found, "pooled")],
        labels=labels_table(found, "pooled"),
        methods=describe_methods(found),
        pictures=pictures,
        doubtful=describe_doubtful(found),
        sheet=Picture.of_file(sheet, _SHEET) if sheet.exists() else None,
        folds=_folds_table(folder, found, runs),
        commands=_list_commands(folder, runs, name_samples(found)),
        files=[(Link(name, name), what) for name, what in (files | _FILES).items()],
    )


def _small(cell: str) -> str:
    """Returns an estimate with its interval in small text below."""
    return cell.replace(" (", "\n", 1).rstrip(")")


def _folds_table(folder: Path, found: dict[str, Any], runs: Sequence[FoldRun]) -> Table:
    shown = FoldKind.of(find_kind_of(found)).shown
    rows = []
    for run in runs:
        metrics = RunFolder(run.folder).read_metrics() or {}
        splits = metrics["splits"]
        counts = [f"{splits[name]['images']:,}" for name in ("test", "val", "train")]
        first, second = (metrics["test"][name] for name in shown)
        values = [_small(spell(first)), describe_metric(second["value"])]
        page = Link("report.html", relative_link(RunFolder(run.folder).report, folder))
        rows.append([run.name, *values, *counts, f"{metrics['best_epoch']} of {metrics['epochs']}", page])
    splits = [f"{split_in_words(name)} {name_samples(found)}" for name in ("test", "val", "train")]
    head = ["fold", *map(metric_label, shown), *splits, "best epoch", "page"]
    folded = f"{len(rows)} folds" if len(rows) > _MOST_FOLDS_OPEN else ""
    return Table("Each fold's model on its fold; its page has the curves and the wrong images", head, rows, 1, folded)


def _list_commands(folder: Path, runs: Sequence[FoldRun], samples: str) -> list[tuple[str, str]]:
    """Returns what each command does, and the command."""
    one = shlex.quote(str(runs[0].folder))
    return [
        ("Join the models of all folds into one, and test it", f"keras-lnn ensemble {shlex.quote(str(folder))}"),
        (f"Measure a fold's model again, or with --data on other {samples}", f"keras-lnn evaluate {one}"),
        ("Deal the same data anew, in another folder", _again(folder, runs[-1].config.seed_of_splits + 1)),
    ]


def _again(folder: Path, seed: int) -> str:
    config = shlex.quote(str(folder / FOLDS_FILE))
    other = shlex.quote(str(folder.with_name(f"{folder.name}-again")))
    return f"keras-lnn train --config {config} --split-seed {seed} --run-dir {other}"
