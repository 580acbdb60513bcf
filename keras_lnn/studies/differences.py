"""Differences between a study's networks and its reference, with intervals, for fixed and for shuffled splits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from keras_lnn.comparing.compared_run import same_samples
from keras_lnn.comparing.comparison import Comparison, compare
from keras_lnn.comparing.runs import read_any_run
from keras_lnn.data.splitting import FRACTIONS
from keras_lnn.evaluation.metrics import metric_label
from keras_lnn.statistics.paired_tests import RESAMPLED, compare_resampled, holm
from keras_lnn.studies.declaration import path_name
from keras_lnn.studies.results import MASK_METRICS, METRICS, measured_metrics

SIGNIFICANT = 0.05


def compare_networks(
    results: pd.DataFrame, reference: str | None, progress: Callable[[float], None] | None = None
) -> tuple[Comparison | None, pd.DataFrame]:
    """Compares the networks of a study on one data set.

    Runs on the same test samples are compared sample by sample. Where each seed had its own shuffled split they are
    compared split by split, by :func:`~keras_lnn.statistics.paired_tests.compare_resampled`.

    Args:
        results: Rows of results.csv of the completed runs of one data set, for at least two networks.
        reference: The network that the others are compared with; if not given, the one with the best validation AUC, or
            Dice for segmentation.
        progress: Called with the fraction done.

    Returns:
        The comparison for a page, None where the samples differ; and one row per network and metric: the network's mean
        minus the reference's, its 95% interval, p, and p after Holm's correction for all networks.
    """
    names = list(dict.fromkeys(results["network"]))
    known = reference if reference in names else None
    runs = [read_any_run(Path(run)) for run in results["run"]]
    if same_samples(runs):
        comparison = compare(runs, None if known is None else path_name(known), progress=progress)
        return comparison, _compare_by_tests(comparison, names)
    return None, _compare_over_splits(results, known or _best(results))


def describe_differences(differences: pd.DataFrame) -> list[str]:
    """Returns sentences that say which networks differ from the reference."""
    sentences = []
    for key, rows in differences.groupby(["data", "metric"], sort=False):
        data, metric = cast("tuple[Any, Any]", key)
        label, reference = metric_label(str(metric)), rows["reference"].iloc[0]
        found = rows[rows["corrected"] < SIGNIFICANT]
        if len(rows) == 1:
            sentences.append(f"{data}, {label}: {_describe_one(next(iter(rows.itertuples())))}.")
            continue
        among = f"of {len(rows)} networks"
        if found.empty:
            widest = (rows["high"] - rows["low"]).max() / 2
            sentences.append(
                f"{data}, {label}: the data do not show that any {among} differs from {reference}"
                f" (p at least {rows['corrected'].min():.2f} after Holm's correction; half-widths of the intervals up"
                f" to {widest:.3f})."
            )
            continue
        parts = [
            f"{row.network} {row.difference:+.3f} ({row.low:+.3f} to {row.high:+.3f})" for row in found.itertuples()
        ]
        sentences.append(f"{data}, {label}: {len(found)} {among} differ from {reference}: {', '.join(parts)}.")
    return sentences


def _describe_one(row: Any) -> str:
    by = f"{row.difference:+.3f}, {row.low:+.3f} to {row.high:+.3f}; p {row.corrected:.2g}"
    if row.corrected < SIGNIFICANT:
        return f"{row.network} differs from {row.reference} ({by})"
    return f"the data do not show that {row.network} differs from {row.reference} ({by})"


def _compare_by_tests(comparison: Comparison, names: Sequence[str]) -> pd.DataFrame:
    by_path = {path_name(name): name for name in names}
    rows: list[dict[str, Any]] = []
    for metric in (*METRICS, *MASK_METRICS):
        pairs = [pair for pair in comparison.pairs if pair.metric == metric]
        for pair in pairs:
            if comparison.reference not in (pair.first, pair.second):
                continue
            pair = pair.seen_from(pair.second if pair.first == comparison.reference else pair.first)
            rows.append(
                {
                    "network": by_path.get(pair.first, pair.first),
                    "reference": by_path.get(pair.second, pair.second),
                    "metric": metric,
                    "difference": pair.difference.value,
                    "low": pair.difference.low,
                    "high": pair.difference.high,
                    "p": pair.difference.p,
                    "corrected": pair.corrected_against_reference,
                    "test": pair.test,
                }
            )
    return _in_order(rows, names)


def _compare_over_splits(results: pd.DataFrame, reference: str) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for metric in measured_metrics(results.dropna(axis="columns", how="all")):
        values = results.pivot_table(index="seed", columns="network", values=metric)
        found = {
            name: compare_resampled((values[name] - values[reference]).dropna().to_numpy(), FRACTIONS[2] / FRACTIONS[0])
            for name in values.columns
            if name != reference
        }
        corrected = holm(np.array([difference.p for difference in found.values()]))
        for (name, difference), p in zip(found.items(), corrected, strict=True):
            about = {"network": name, "reference": reference, "metric": metric, "difference": difference.value}
            about |= {"low": difference.low, "high": difference.high, "p": difference.p, "corrected": float(p)}
            rows.append({**about, "test": RESAMPLED})
    return _in_order(rows, list(dict.fromkeys(results["network"])))


def _in_order(rows: list[dict[str, Any]], names: Sequence[str]) -> pd.DataFrame:
    order = (*METRICS, *MASK_METRICS)
    return pd.DataFrame(sorted(rows, key=lambda row: (order.index(row["metric"]), names.index(row["network"]))))


def _best(results: pd.DataFrame) -> str:
    first = measured_metrics(results.dropna(axis="columns", how="all"), "")[0]
    return str(results.groupby("network", sort=False)[f"val_{first}"].mean().idxmax())
