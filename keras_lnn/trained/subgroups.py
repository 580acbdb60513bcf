"""A saved model in subgroups of its samples: metrics with intervals, and tests of the differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from keras_lnn.data.arrays import Split
from keras_lnn.data.sources.subgroups import Subgroups
from keras_lnn.evaluation.cautions import FEW_SAMPLES
from keras_lnn.evaluation.metrics import metric_label
from keras_lnn.evaluation.subgroups import compare_with_others
from keras_lnn.files.atomic import writing_to
from keras_lnn.files.csv_tables import to_csv
from keras_lnn.files.written import OTHER_FOLDER, WrittenFiles
from keras_lnn.plots.style import save_figure
from keras_lnn.plots.subgroups import plot_subgroups
from keras_lnn.saved.signature import Signature
from keras_lnn.statistics.measurements import Measurement
from keras_lnn.statistics.paired_tests import holm

# The first group, of all samples.
ALL_SAMPLES = "all samples"
_WHOLE = ("", 0, True)
# Shown beside the leading metric where they were measured, or accuracy in their place.
_DECISIONS, _WITHOUT_THRESHOLD = ("sensitivity_tuned", "specificity_tuned"), ("accuracy",)


def measure_subgroups(
    measured: Split, predicted: np.ndarray, signature: Signature, subgroups: Sequence[Subgroups]
) -> list[dict[str, Any]]:
    """Returns every metric in every group, as the rows of subgroups.csv; the first group is that of all samples.

    A group with too few samples, or with one class only, has one row with a note instead. Each metric of the others has
    its interval, how far it is from that of the other samples of the column, and p, also after Holm's correction for
    all groups of all columns.

    Args:
        measured: The samples.
        predicted: What the model predicts for them.
        signature: Signature of the model.
        subgroups: The groups of each column.
    """
    results, everything = _measure_parts(measured, predicted, signature, subgroups), np.ones(len(measured), bool)
    rows = [_metric_row("", ALL_SAMPLES, everything, measured, *entry) for entry in results[_WHOLE].items()]
    for found in subgroups:
        known = found.places >= 0
        for place, name in enumerate(found.names):
            chosen = found.places == place
            group, others = (results.get((found.column, place, is_group)) for is_group in (True, False))
            if group is None:
                fault = _find_fault(measured, chosen, signature)
                rows.append(_row(found.column, name, chosen, measured) | {"note": f"not measured: {fault}"})
                continue
            entries = [_metric_row(found.column, name, chosen, measured, *entry) for entry in group.items()]
            if others is not None:
                samples = measured.take_labels(known)
                for entry, metric in zip(entries, group, strict=True):
                    entry |= _compare(metric, group[metric], others[metric], chosen[known], samples)
            rows += entries
        if not known.all():
            rows.append(_row(found.column, "", ~known, measured) | {"note": "without a value, in no group"})
    _correct(rows, {found.column for found in subgroups if len(found.names) == 2})
    return rows


def write_subgroups(rows: Sequence[dict[str, Any]], metric: str, title: str, folder: Path) -> dict[str, Path]:
    """Writes subgroups.csv and subgroups.png to a folder, and returns their paths.

    Args:
        rows: The rows of the table.
        metric: The leading metric, which the picture shows first.
        title: Beginning of the picture's heading.
        folder: The folder; files that the package wrote there before are replaced.
    """
    written = {"subgroups": folder / "subgroups.csv", "picture": folder / "subgroups.png"}
    files = WrittenFiles(folder, OTHER_FOLDER)
    files.require_free(written.values())
    names = {row["metric"] for row in rows}
    shown = [metric, *([name for name in _DECISIONS if name in names] or _WITHOUT_THRESHOLD)]
    labels = {name: metric_label(name) for name in shown if name in names}
    with writing_to(folder):
        with files.write(written["picture"]) as temporary:
            save_figure(plot_subgroups(rows, labels, title), temporary)
        files.write_text(written["subgroups"], to_csv(pd.DataFrame(rows)))
    return written


def _measure_parts(
    measured: Split, predicted: np.ndarray, signature: Signature, subgroups: Sequence[Subgroups]
) -> dict[tuple[str, int, bool], dict[str, Measurement]]:
    """Returns the metrics of all samples, and of each group and the others of its column where they can be measured.

    The key is the column, the place of the group, and whether it is the group or the others.
    """
    parts = {_WHOLE: np.ones(len(measured), bool)}
    for found in subgroups:
        for place in range(len(found.names)):
            chosen = found.places == place
            for is_group, part in ((True, chosen), (False, (found.places >= 0) & ~chosen)):
                if not _find_fault(measured, part, signature):
                    parts[found.column, place, is_group] = part
    about = (signature.thresholds, signature.positive_class)
    results = signature.get_task().measure_parts(measured, predicted, list(parts.values()), *about)
    return dict(zip(parts, results, strict=True))


def _find_fault(measured: Split, chosen: np.ndarray, signature: Signature) -> str:
    """Returns why some samples cannot be measured, or nothing."""
    if chosen.sum() < FEW_SAMPLES:
        return f"fewer than {FEW_SAMPLES} samples"
    task, labels = signature.get_task(), measured.labels[chosen]
    if task.exclusive and not measured.labels_are_pixels and len(np.unique(labels)) < 2:
        return f"only the class {task.describe_label(labels[0])}"
    return ""


def _row(column: str, group: str, chosen: np.ndarray, measured: Split) -> dict[str, Any]:
    """Returns a row without a metric."""
    patients = None if measured.groups is None else len({measured.groups[row] for row in np.flatnonzero(chosen)})
    row: dict[str, Any] = {"column": column, "group": group, "samples": int(chosen.sum()), "patients": patients}
    names = ("value", "low", "high", "difference", "difference_low", "difference_high", "p", "corrected_p")
    return {**row, "metric": "", **dict.fromkeys(names), "note": ""}


def _metric_row(
    column: str, group: str, chosen: np.ndarray, measured: Split, metric: str, found: Measurement
) -> dict[str, Any]:
    return _row(column, group, chosen, measured) | {"metric": metric, **found.estimate.to_json()}


def _compare(
    metric: str, group: Measurement, others: Measurement, is_member: np.ndarray, measured: Split
) -> dict[str, float]:
    """Returns the cells of a row that say how far a metric is from that of the others."""
    classes = measured.labels if metric == "auc" and measured.labels.ndim == 1 else None
    found = compare_with_others(group, others, is_member, measured.groups, classes)
    return {"difference": found.value, "difference_low": found.low, "difference_high": found.high, "p": found.p}


def _correct(rows: list[dict[str, Any]], of_two: set[str]) -> None:
    """Writes p after Holm's correction to rows; the difference of two groups is one test, from either side."""
    for metric in dict.fromkeys(row["metric"] for row in rows):
        tested = [row for row in rows if row["metric"] == metric and row["p"] is not None and not math.isnan(row["p"])]
        tests = {(row["column"], "" if row["column"] in of_two else row["group"]): row["p"] for row in tested}
        corrected = dict(zip(tests, holm(list(tests.values())).tolist(), strict=True))
        for row in tested:
            row["corrected_p"] = corrected[row["column"], "" if row["column"] in of_two else row["group"]]
