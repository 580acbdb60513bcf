"""The results of a study with folds: means over the folds, and metrics of the predictions for all folds together."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from keras_lnn.comparing.runs import read_any_run
from keras_lnn.statistics.folds import mean_over_folds

# Columns of results.csv that a study without folds does not have.
REPEAT, FOLD, RATIO = "repeat", "fold", "test_over_train"


def has_folds(results: pd.DataFrame) -> bool:
    """Returns whether the runs are those of folds."""
    return FOLD in results


def name_draws(results: pd.DataFrame, count: int = 2) -> str:
    """Returns what the runs of one network differ by, folds or seeds, in the singular for a count of one."""
    return ("fold" if has_folds(results) else "seed") + ("" if count == 1 else "s")


def summarise_folds(values: pd.Series, ratios: pd.Series) -> dict[str, float]:
    """Returns mean, spread and interval of one metric over folds, like ``summarise`` of ``results.py`` over seeds.

    Args:
        values: The metric of each fold of each repeat.
        ratios: Ratio of the test samples to the training samples of each of them.
    """
    mean = mean_over_folds(values.to_numpy(np.float64), float(ratios.mean()))
    deviation = float(values.std(ddof=1)) if values.count() > 1 else math.nan
    return {"mean": mean.value, "sd": deviation, "low": mean.low, "high": mean.high}


def pool_networks(results: pd.DataFrame, folds: int) -> pd.DataFrame:
    """Returns the metrics of the predictions for all folds together, with intervals over patients or samples.

    Args:
        results: Rows of ``results.csv`` of a study with folds. Repeats of which a fold is not done are left out, and so
            are networks of a kind of task that does not pool its runs.
        folds: Number of folds.

    Returns:
        One row per data set, network and metric.
    """
    rows: list[dict[str, Any]] = []
    done = results[results["status"] == "done"]
    for key, group in done.groupby(["data", "network"], sort=False):
        data, network = cast("tuple[Any, Any]", key)
        repeats = [part for _, part in group.groupby(REPEAT) if len(part) == folds]
        if not repeats:
            continue
        runs = [[read_any_run(Path(run)) for run in part.sort_values(FOLD)["run"]] for part in repeats]
        pool = runs[0][0].kind.pool
        if pool is None:
            continue
        measured = pool(runs)
        about = {"data": data, "network": network, "repeats": len(runs)}
        over = {"intervals_over": measured.basis.unit, "count": measured.basis.count}
        for metric, estimate in measured.metrics.items():
            rows.append({**about, "metric": metric, **estimate.to_json(), **over})
    return pd.DataFrame(rows)


def add_pooled(summary: pd.DataFrame, pooled: pd.DataFrame) -> pd.DataFrame:
    """Returns the summary with the columns ``METRIC_pooled``, ``METRIC_pooled_low`` and ``METRIC_pooled_high``.

    Args:
        summary: One row per data set and network.
        pooled: The result of :func:`pool_networks`.
    """
    if pooled.empty:
        return summary
    known = pooled[[f"{name}_mean" in summary for name in pooled["metric"]]]
    wide = known.pivot(index=["data", "network"], columns="metric", values=["value", "low", "high"])
    names = {"value": "pooled", "low": "pooled_low", "high": "pooled_high"}
    wide.columns = [f"{metric}_{names[part]}" for part, metric in wide.columns]
    return summary.merge(wide.reset_index(), on=["data", "network"], how="left")
