"""Differences between a study's networks and its reference, with intervals, for fixed and for shuffled splits."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from keras_lnn.comparing.compared_run import check_same_samples, same_samples
from keras_lnn.comparing.comparison import Comparison, compare
from keras_lnn.comparing.runs import read_any_run
from keras_lnn.data.splitting import FRACTIONS
from keras_lnn.evaluation.metrics import metric_label
from keras_lnn.statistics.paired_tests import RESAMPLED, compare_resampled, holm
from keras_lnn.studies.declaration import path_name
from keras_lnn.studies.fold_results import FOLD, RATIO, REPEAT, has_folds
from keras_lnn.studies.results import MASK_METRICS, METRICS, measured_metrics

SIGNIFICANT = 0.05


def compare_networks(
    results: pd.DataFrame, reference: str | None, progress: Callable[[float], None] | None = None
) -> tuple[Comparison | None, pd.DataFrame]:
    """Compares the networks of a study on one data set.

    Runs on the same test samples are compared sample by sample. Where each seed had its own shuffled split they are
    compared split by split, and in a study with folds fold by fold, by
    :func:`~keras_lnn.statistics.paired_tests.compare_resampled`.

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
    if has_folds(results):
        _check_same_folds(results)
        return None, _compare_over_splits(results, known or _best(results))
    runs = [read_any_run(Path(run)) for run in results["run"]]
    if same_samples(runs):
        comparison = compare(runs, None if known is None else path_name(known), progress=progress)
        return comparison, _compare_by_tests(comparison, names)
    return None, _compare_over_splits(results, known or _best(results))


def compare_pairs(results: pd.DataFrame) -> pd.DataFrame:
    """Compares every pair of networks of a study with folds on one data set, fold by fold.

    Args:
        results: Rows of results.csv of the completed runs of one data set, for at least two networks.

    Returns:
        The rows of :func:`compare_networks`: the first network of the pair minus the second as ``reference``; Holm's
        correction is for all pairs.
    """
    names = list(dict.fromkeys(results["network"]))
    return _compare_resampled(results, list(itertools.combinations(names, 2)))


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


def _check_same_folds(results: pd.DataFrame) -> None:
    """Checks that each fold of each repeat has the same samples for all networks."""
    for _, rows in results.groupby([REPEAT, FOLD]):
        check_same_samples([read_any_run(Path(run)) for run in rows["run"]])


def _compare_over_splits(results: pd.DataFrame, reference: str) -> pd.DataFrame:
    names = dict.fromkeys(results["network"])
    return _compare_resampled(results, [(name, reference) for name in names if name != reference])


def _compare_resampled(results: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Returns one row per metric and pair of networks, whose seeds had their own splits or whose runs are folds."""
    rows: list[dict[str, Any]] = []
    ratio = float(results[RATIO].mean()) if has_folds(results) else FRACTIONS[2] / FRACTIONS[0]
    splits = [REPEAT, FOLD] if has_folds(results) else ["seed"]
    for metric in measured_metrics(results.dropna(axis="columns", how="all")):
        values = results.pivot_table(index=splits, columns="network", values=metric)
        found = {
            pair: compare_resampled((values[pair[0]] - values[pair[1]]).dropna().to_numpy(), ratio)
            for pair in pairs
            if set(pair) <= set(values.columns)
        }
        corrected = holm(np.array([difference.p for difference in found.values()]))
        for ((name, reference), difference), p in zip(found.items(), corrected, strict=True):
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
