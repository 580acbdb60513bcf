"""The results of a study: one row per run, and one per network with mean, spread, intervals and published figure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from keras_lnn.fields.values import parse_fold
from keras_lnn.files.atomic import as_text
from keras_lnn.runs.folder import RunFolder
from keras_lnn.studies.declaration import Study, StudyRun
from keras_lnn.studies.fold_results import FOLD, RATIO, REPEAT, has_folds, summarise_folds

# The metrics of classification and of segmentation.
METRICS, MASK_METRICS = ("auc", "accuracy"), ("dice", "iou")
_CONFIDENCE = 0.95


def measured_metrics(columns: Iterable[str], ending: str = "") -> tuple[str, ...]:
    """Returns the metrics of a study that occur among the column names, with an ending such as ``_mean``."""
    known = set(columns)
    return tuple(name for name in (*METRICS, *MASK_METRICS) if name + ending in known)


def results_table(runs: Sequence[StudyRun], failures: dict[Path, str]) -> pd.DataFrame:
    """Returns one row per run: its test metrics with intervals, its cost, and the reason if it failed."""
    return pd.DataFrame([_row(run, failures.get(run.folder)) for run in runs])


def _row(run: StudyRun, failure: str | None) -> dict[str, Any]:
    metrics = RunFolder(run.folder).read_metrics()
    status = "done" if metrics else "failed" if failure else "left"
    row: dict[str, Any] = {
        "data": as_text(run.config.data),
        "network": run.network,
        "seed": run.config.seed,
        "status": status,
    }
    if run.of_fold:
        row |= {REPEAT: run.config.seed + 1, FOLD: parse_fold(str(run.config.fold))[0]}
    # What was declared, and the values of the grid, by which the rows are sorted.
    row |= {"base": run.base, **run.point.values}
    if metrics:
        for name, estimate in metrics["test"].items():
            row |= {name: estimate["value"], f"{name}_low": estimate["low"], f"{name}_high": estimate["high"]}
        row |= {f"val_{name}": metrics["val"][name]["value"] for name in measured_metrics(metrics["val"])}
        row |= {name: metrics[name] for name in ("parameters", "best_epoch", "seconds")}
        row["epochs_trained"] = metrics.get("epochs_trained", metrics["epochs"])
        row["seconds_an_epoch"] = _seconds_an_epoch(pd.read_csv(RunFolder(run.folder).history))
        row["collapsed"] = any("collapsed" in warning for warning in metrics["warnings"])
        if run.of_fold:
            row[RATIO] = metrics["splits"]["test"]["images"] / metrics["splits"]["train"]["images"]
    return row | {"failure": failure, "run": as_text(run.folder)}


def _seconds_an_epoch(history: pd.DataFrame) -> float:
    """Returns the median over whole epochs, since the first one includes compilation; nan if none is whole."""
    whole = ~history["fraction"].lt(1.0) if "fraction" in history else pd.Series(True, index=history.index)
    return float(history["seconds"][whole].median())


def summary_table(results: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Returns one row per data set and network, over the completed runs.

    ``low`` and ``high`` of a metric are the 95% interval of the mean over seeds, by Student's t: what other seeds would
    give on the same test samples; with folds it is that of :func:`~keras_lnn.statistics.folds.mean_over_folds`.
    ``published_fits`` says whether the published figure, which is of a single run, lies in the 95% prediction interval
    of one more run.
    """
    done = results[results["status"] == "done"]
    rows = []
    for (data, network), group in done.groupby(["data", "network"], sort=False):
        row: dict[str, Any] = {"data": data, "network": network, "runs": len(group)}
        row |= {"folds": study.folds} if has_folds(group) else {}
        row["parameters"] = int(group["parameters"].iloc[0])
        base = group["base"].iloc[0] if "base" in group else network
        row["published_parameters"] = study.parameters.get(network, study.parameters.get(base))
        figures, of_these_images = study.published_for(str(data))
        for metric in measured_metrics(group.dropna(axis="columns", how="all")):
            published = figures.get(network, {}).get(metric)
            found = summarise(group[metric], published)
            if has_folds(group):
                found |= summarise_folds(group[metric], group[RATIO])
            row |= {f"{metric}_{name}": value for name, value in found.items()}
            # A figure that was measured on other images can neither agree nor disagree.
            row |= {} if of_these_images else {f"{metric}_published_fits": None}
        row["seconds_an_epoch"] = group["seconds_an_epoch"].median()
        row["epochs"] = group["epochs_trained"].mean()
        row["seconds"] = group["seconds"].sum()
        row["collapsed"] = int(group["collapsed"].astype(bool).sum())
        rows.append(row)
    return pd.DataFrame(rows)


def summarise(values: Sequence[float], published: float | None = None) -> dict[str, Any]:
    """Returns mean, spread and intervals of one metric over seeds; nan or None where there are too few seeds."""
    from scipy import stats

    numbers = np.asarray(values, dtype=np.float64)
    numbers = numbers[~np.isnan(numbers)]
    count = len(numbers)
    mean = float(numbers.mean()) if count else math.nan
    summary: dict[str, Any] = {"mean": mean, "sd": math.nan, "low": math.nan, "high": math.nan}
    summary |= {"published": published, "published_fits": None}
    if count > 1:
        deviation = float(numbers.std(ddof=1))
        reach = float(stats.t.ppf(0.5 + _CONFIDENCE / 2, count - 1)) * deviation
        half = reach / math.sqrt(count)
        low, high = mean - half, mean + half
        if numbers.min() >= 0 and numbers.max() <= 1:
            # These metrics lie between 0 and 1, and so does the interval of their mean.
            low, high = max(low, 0.0), min(high, 1.0)
        summary |= {"sd": deviation, "low": low, "high": high}
        if published is not None:
            summary["published_fits"] = bool(abs(published - mean) <= reach * math.sqrt(1 + 1 / count))
    return summary
