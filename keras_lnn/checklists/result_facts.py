"""What a run has recorded of its results, and what was measured beside it."""

from __future__ import annotations

import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pandas as pd

from keras_lnn.checklists.described_run import DescribedRun
from keras_lnn.files.atomic import DAMAGED_FILE_ERRORS
from keras_lnn.folds.words import describe_folds, describe_outcome
from keras_lnn.pages.rendering import Table
from keras_lnn.pages.run_tables import hard_cases_table, labels_table, metrics_table
from keras_lnn.runs.finding import FOLDS_FILE
from keras_lnn.saved.card import shown_metrics
from keras_lnn.saved.results import describe_basis, describe_calibration, describe_result, split_in_words
from keras_lnn.trained.measured_words import describe_corruptions, describe_subgroups

_UNREADABLE = (*DAMAGED_FILE_ERRORS, pd.errors.ParserError, pd.errors.EmptyDataError, AttributeError)
_WORDS_OF_SUBGROUPS = ("column", "group", "metric", "note")


def state_result(run: DescribedRun) -> list[str]:
    """Returns the main result in words."""
    return [describe_result(run.metrics)]


def show_metrics(run: DescribedRun) -> list[str | Table]:
    """Returns every metric with its interval."""
    note = run.task.note_on_results
    return [metrics_table(run.metrics, run.split), *([note] if note else [])]


def show_classes(run: DescribedRun) -> list[str | Table]:
    """Returns the metrics of each class or label."""
    return [labels_table(run.metrics, run.split)]


def list_measures(run: DescribedRun) -> list[str]:
    """Returns the names of the metrics."""
    return [f"Metrics: {'; '.join(shown_metrics(run.metrics, run.split).values())}"]


def describe_intervals(run: DescribedRun) -> list[str]:
    """Returns what intervals rest on and how they came about."""
    return [f"95% intervals, {describe_basis(run.metrics, run.split)}.", run.task.interval_method]


def describe_calibrated(run: DescribedRun) -> list[str]:
    """Returns how probabilities were calibrated, with the metrics before and after."""
    return [describe_calibration(run.metrics, run.split) or "Probabilities were not calibrated after training."]


def describe_tested(run: DescribedRun) -> list[str]:
    """Returns on which samples the result was measured, and when."""
    if run.split != "test":
        return [f"The model was measured on the {split_in_words(run.split)} split only, and not tested."]
    return [
        "The kept epoch was measured on the test split of the same data after training ended:"
        f" {describe_result(run.metrics)}"
    ]


def describe_external(run: DescribedRun) -> list[str]:
    """Returns what the run knows of data from elsewhere."""
    return [
        "The run holds results on its own data only; keras-lnn evaluate RUN --data measures the model on other data."
    ]


def list_warnings(run: DescribedRun) -> list[str]:
    """Returns the warnings of the program on data and results."""
    found = [*run.metrics["warnings"], *run.metrics.get("data_check", {}).get("warnings", [])]
    return [f"Warning: {text}" for text in found] or ["The program gave no warning."]


def show_failures(run: DescribedRun) -> list[str | Table]:
    """Returns the samples that the model is most wrong about."""
    if not run.folder.predictions.is_file():
        return []
    table = hard_cases_table(run.folder.predictions, run.task, run.split, run.signature)
    return ["The model is wrong about no sample."] if table is None else [table]


def describe_groups(run: DescribedRun) -> list[str]:
    """Returns differences between subgroups, if they were measured in the run's folder."""
    path = _find(run, "subgroups")
    if path is None:
        return [_how_to_measure("Subgroups", "--subgroups COLUMNS")]
    types: dict[Hashable, type] = dict.fromkeys(_WORDS_OF_SUBGROUPS, str)
    try:
        header = pd.read_csv(path, nrows=0).columns
        empty = {name: [""] for name in header if name not in types}
        table = pd.read_csv(path, dtype=types, keep_default_na=False, na_values=empty)
        rows: list[dict[str, Any]] = table.astype(object).where(table.notna(), None).to_dict("records")
        groups = "; ".join(f"{column} {', '.join(names)}" for column, names in _name_groups(rows).items())
        return [
            f"Groups in {path.name} in the run's folder: {groups}",
            *(f"Subgroups: {text}" for text in describe_subgroups(rows)),
        ]
    except _UNREADABLE:
        return ["subgroups.csv is there, but cannot be read."]


def _name_groups(rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Returns the groups of each column with their sizes."""
    found: dict[str, dict[str, None]] = {}
    for row in rows:
        if row["column"]:
            found.setdefault(row["column"], {})[f"{row['group'] or '-'} ({row['samples']} samples)"] = None
    return {column: list(names) for column, names in found.items()}


def describe_robustness(run: DescribedRun) -> list[str]:
    """Returns what corruptions cost, if they were measured in the run's folder."""
    path = _find(run, "corruptions")
    if path is None:
        return [_how_to_measure("Corrupted images", "--corruptions")]
    try:
        return [describe_corruptions(pd.read_csv(path).to_dict("records"), run.task.leading)]
    except (*_UNREADABLE, IndexError):
        return ["corruptions.csv is there, but cannot be read."]


def describe_cross_validation(run: DescribedRun) -> list[str]:
    """Returns the outcome of the cross-validation that the run belongs to."""
    if run.config.fold is None:
        return ["The run is not one of a cross-validation."]
    for folder in list(run.folder.path.absolute().parents)[:2]:
        if (folder / FOLDS_FILE).is_file():
            try:
                found = json.loads((folder / "folds.json").read_text(encoding="utf-8"))
                return [f"Cross-validation: {describe_folds(found)}: {describe_outcome(found)}"]
            except DAMAGED_FILE_ERRORS:
                break
    return [f"The run is fold {run.config.fold} of a cross-validation, whose results are not beside it."]


def _find(run: DescribedRun, kind: str) -> Path | None:
    """Returns the table of a measurement in the run's folder, or in a folder of its name there; None if none is."""
    places = (run.folder.path / f"{kind}.csv", run.folder.path / kind / f"{kind}.csv")
    return next((path for path in places if path.is_file()), None)


def _how_to_measure(what: str, option: str) -> str:
    return f"{what} were not measured here: keras-lnn evaluate RUN {option} --output RUN measures them."
