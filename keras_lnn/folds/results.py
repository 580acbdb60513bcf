"""The files that a cross-validation leaves: one row per fold, all predictions, and what they show together."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from keras_lnn.comparing.runs import read_any_run
from keras_lnn.errors import InputError
from keras_lnn.files.atomic import atomic_path, remove_partial_files, without_nan, write_json, write_text
from keras_lnn.files.csv_tables import plain_cell, to_csv
from keras_lnn.folds.display import load_pool
from keras_lnn.folds.doubtful import count_doubtful, describe_doubtful, draw_doubtful
from keras_lnn.folds.finished import FinishedFold
from keras_lnn.folds.kinds import FoldKind
from keras_lnn.folds.layout import FoldRun
from keras_lnn.folds.page import write_folds_page
from keras_lnn.folds.promised import list_promised
from keras_lnn.folds.words import describe_calibration, describe_folds, describe_outcome, list_metrics
from keras_lnn.runs.folder import RunFolder
from keras_lnn.saved.results import describe_promised
from keras_lnn.saved.signature import short_data_name
from keras_lnn.statistics import Estimate
from keras_lnn.statistics.folds import mean_over_folds
from keras_lnn.tasks.kinds import find_kind
from keras_lnn.terminal import loading

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_folds(folder: Path, runs: Sequence[FoldRun], console: Console) -> dict[str, Any]:
    """Writes the results of a cross-validation of which all runs are complete, and prints them.

    Args:
        folder: Its folder.
        runs: Its runs.
        console: Console that is printed to.

    Returns:
        The content of folds.json, which is written last.
    """
    remove_partial_files(folder)
    with loading(console, "measuring all folds"):
        folds = read_folds(runs)
        write_text(folder / "folds.csv", to_csv(tabulate_folds(folds)))
        write_text(folder / "predictions.csv", to_csv(tabulate_predictions(folds)))
        found = gather_results(folds)
        doubtful = kind_of(folds).tabulate_doubtful(_by_repeat(folds), found)
        if doubtful is not None:
            found["doubtful_labels"] = count_doubtful(doubtful, found)
            write_text(folder / "doubtful_labels.csv", to_csv(doubtful))
    sheet = _draw_sheet(doubtful, runs[0], console)
    with loading(console, "drawing"):
        _draw(folder / "plots", folds, found, sheet)
        page = write_folds_page(folder, found, runs)
        write_json(folder / "folds.json", found)
    for warning in found["warnings"]:
        console.print(Text.assemble(("warning: ", "bold yellow"), warning))
    _print_metrics(console, found)
    for text in (describe_calibration(found), *describe_promised(found, "pooled"), describe_doubtful(found)):
        if text:
            console.print(text, soft_wrap=True)
    console.print(f"{describe_outcome(found)}; its page is {page}", soft_wrap=True)
    return found


def read_folds(runs: Sequence[FoldRun]) -> list[FinishedFold]:
    """Returns complete runs with their metrics and predictions."""
    found = []
    for run in runs:
        metrics = RunFolder(run.folder).read_metrics()
        if metrics is None:
            raise InputError(f"All folds must be complete. Received: {run.folder} without metrics. Continue it first.")
        found.append(FinishedFold(run, metrics, read_any_run(run.folder, "test")))
    return found


def tabulate_folds(folds: Sequence[FinishedFold]) -> pd.DataFrame:
    """Returns one row per fold: its samples, its test metrics with intervals, and what it cost."""
    rows = []
    for fold in folds:
        test = fold.metrics["splits"]["test"]
        row: dict[str, Any] = {"repeat": fold.run.repeat, "fold": fold.run.fold, "seed": fold.run.config.seed}
        row |= {"images": test["images"], "patients": test["patients"]}
        for name, estimate in fold.metrics["test"].items():
            row |= {name: estimate["value"], f"{name}_low": estimate["low"], f"{name}_high": estimate["high"]}
        row |= list_promised(fold.metrics)
        row |= {name: fold.metrics[name] for name in ("best_epoch", "epochs", "seconds")}
        rows.append(row | {"run": fold.run.place})
    return pd.DataFrame(rows)


def tabulate_predictions(folds: Sequence[FinishedFold]) -> pd.DataFrame:
    """Returns one row per sample and repeat: its fold, the truth, the probabilities and what its model decides."""
    tables = []
    for fold in folds:
        table = pd.read_csv(
            RunFolder(fold.run.folder).predictions, dtype={"file": str, "patient": str}, low_memory=False
        )
        table = table[table["split"] == "test"].drop(columns="split")
        for name in {"file", "patient"} & set(table):
            table[name] = table[name].map(plain_cell, na_action="ignore")
        table = kind_of(folds).with_decisions(table, fold)
        table.insert(0, "repeat", fold.run.repeat)
        table.insert(1, "fold", fold.run.fold)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def gather_results(folds: Sequence[FinishedFold]) -> dict[str, Any]:
    """Returns the content of folds.json: means over the folds, metrics of all predictions, and cautions."""
    first, config = folds[0].read, folds[0].run.config
    repeats, kind = _by_repeat(folds), kind_of(folds)
    pool = first.kind.pool
    if pool is None:
        raise ValueError(
            f"Only kinds of tasks whose runs can be pooled can be cross-validated. Received: {first.task}."
        )
    pooled = pool([[fold.read for fold in part] for part in repeats])
    ratio = float(np.mean([fold.test_over_train for fold in folds]))
    limits = {name: max(fold.read.highest[name] for fold in folds) for name in first.highest}
    means = average_metrics([fold.metrics["test"] for fold in folds], ratio, limits)
    return without_nan(
        {
            "model": config.model,
            "data": short_data_name(config.data),
            "folds": max(fold.run.fold for fold in folds),
            "repeats": len(repeats),
            "task": first.task,
            "classes": folds[0].metrics["classes"],
            "positive_class": pooled.positive_class,
            "mean": means,
            "pooled": pooled.to_json(),
            "per_class": {"pooled": pooled.per_class_to_json()},
            "intervals_over": {"pooled": dataclasses.asdict(pooled.basis)},
            "test_over_train": round(ratio, 6),
            **kind.measure_further(repeats),
            "calibrated": all(bool(fold.metrics.get("calibration")) for fold in folds),
            "warnings": [*pooled.warnings, *_caution(folds), *kind.caution(folds, pooled, means)],
        }
    )


def _by_repeat(folds: Sequence[FinishedFold]) -> list[list[FinishedFold]]:
    """Returns the folds of each repeat."""
    repeats = sorted({fold.run.repeat for fold in folds})
    return [[fold for fold in folds if fold.run.repeat == repeat] for repeat in repeats]


def average_metrics(
    measured: Sequence[Mapping[str, Mapping[str, Any]]], test_over_train: float, highest: Mapping[str, float]
) -> dict[str, dict[str, float]]:
    """Returns the mean of each metric over the folds with its interval and the standard deviation of the folds.

    Args:
        measured: The test metrics of each fold, as in metrics.json.
        test_over_train: Ratio of the test samples of a fold to its training samples.
        highest: Upper limits of the metrics that can exceed one.
    """
    found = {}
    for name in measured[0]:
        values = np.array([math.nan if fold[name]["value"] is None else fold[name]["value"] for fold in measured])
        limit = math.inf if name == "log_loss" else highest.get(name, 1.0)
        mean = mean_over_folds(values, test_over_train, highest=limit)
        if name == "expected_calibration_error" or all(fold[name]["low"] is None for fold in measured):
            # What has no interval in a fold has none here, nor has the calibration error, which is larger in a part.
            mean = Estimate(mean.value)
        known = values[~np.isnan(values)]
        found[name] = mean.to_json() | {"sd": float(known.std(ddof=1)) if len(known) > 1 else math.nan}
    return found


def kind_of(folds: Sequence[FinishedFold]) -> FoldKind:
    """Returns how the folds are described and drawn."""
    return FoldKind.of(find_kind(folds[0].read.task))


def _caution(folds: Sequence[FinishedFold]) -> list[str]:
    """Returns a sentence on the models that always predict the same; nothing where none does."""
    collapsed = [fold.run.name for fold in folds if any("has collapsed" in text for text in fold.metrics["warnings"])]
    if not collapsed:
        return []
    return [f"The models of {len(collapsed)} of {len(folds)} folds have collapsed: {', '.join(collapsed)}."]


def _draw_sheet(doubtful: pd.DataFrame | None, run: FoldRun, console: Console) -> Figure | None:
    """Returns the sheet of doubtful labels, for which the data are read again; None without such labels or data."""
    if doubtful is None or doubtful.empty:
        return None
    try:
        return draw_doubtful(doubtful, load_pool(run, console))
    except (InputError, OSError) as error:
        console.print(Text.assemble(("warning: ", "bold yellow"), f"doubtful labels are not drawn: {error}"))
        return None


def _draw(path: Path, folds: Sequence[FinishedFold], found: Mapping[str, Any], sheet: Figure | None) -> None:
    from keras_lnn import plots

    figures = kind_of(folds).draw(folds, found) | ({} if sheet is None else {"doubtful_labels": sheet})
    with atomic_path(path) as temporary:
        temporary.mkdir()
        for name, figure in figures.items():
            plots.save_figure(figure, temporary / f"{name}.png")


def _print_metrics(console: Console, found: dict[str, Any]) -> None:
    table = Table(title=describe_folds(found), title_justify="left", title_style="bold")
    table.add_column("metric")
    for name in ("mean over folds", "spread", "all predictions"):
        table.add_column(name, justify="right")
    for label, *cells in list_metrics(found):
        table.add_row(label, *cells)
    console.print(table)
