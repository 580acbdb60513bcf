"""Results in subgroups and under corruptions in words; without Keras, so that files of them are soon described."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from keras_lnn.data.corruptions import STRENGTHS
from keras_lnn.evaluation.metrics import metric_label
from keras_lnn.statistics.texts import p_value, signed

_SIGNIFICANT = 0.05
# A sentence names so many metrics that differ.
_NAMED = 3


def describe_subgroups(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Returns sentences on the differences that the data show, and on the groups that were not measured.

    Args:
        rows: As :func:`~keras_lnn.trained.subgroups.measure_subgroups` returns them.
    """
    tested = [row for row in rows if row["corrected_p"] is not None]
    shown: dict[tuple[str, str], list[str]] = {}
    for row in tested:
        if row["corrected_p"] < _SIGNIFICANT:
            text = f"{metric_label(row['metric'])} {signed(row['difference'])} ({p_value(row['corrected_p'])})"
            shown.setdefault((row["column"], row["group"]), []).append(text)
    found, groups = [], _count_groups(rows)
    for (column, group), texts in shown.items():
        # What differs between two groups is said of the first one.
        if groups[column] == 2 and any(text.startswith(f"{column} ") for text in found):
            continue
        more = len(texts) - _NAMED
        rest = f" and {more} more metrics" if more > 0 else ""
        named = ", ".join(texts[:_NAMED])
        found.append(f"{column} {group} differs from the others, with p after Holm's correction: {named}{rest}.")
    if tested and not found:
        found.append(
            "No difference between groups is shown at 5% after Holm's correction; with few samples that does not mean"
            " that there is none."
        )
    if not tested:
        found.append("No difference between groups could be tested.")
    for row in rows:
        if row["note"]:
            found.append(f"{row['column']} {row['group'] or '-'} ({row['samples']} samples): {row['note']}.")
    return found


def _count_groups(rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Returns the number of groups of each column."""
    groups = {(row["column"], row["group"]) for row in rows if row["group"]}
    return {column: sum(other == column for other, _ in groups) for column, _ in groups}


def mean_losses(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Returns the relative loss of each corruption, the mean over its strengths, the largest one first."""
    table = pd.DataFrame([row for row in rows if row["strength"]])
    losses = table.astype({"relative_loss": float}).groupby("corruption")["relative_loss"].mean()
    return losses.sort_values(ascending=False, kind="stable").to_dict()


def describe_corruptions(rows: Sequence[dict[str, Any]], metric: str) -> str:
    """Returns a sentence on how much of a metric corruptions cost, and which ones cost most.

    Args:
        rows: As :func:`~keras_lnn.trained.corruptions.measure_corruptions` returns them.
        metric: The metric.
    """
    losses = mean_losses(rows)
    worst = ", ".join(f"{kind} {loss:.1%}" for kind, loss in list(losses.items())[:3])
    return (
        f"Corruptions cost {np.mean(list(losses.values())):.1%} of the {metric_label(metric)}, the mean over"
        f" {len(losses)} kinds and {len(STRENGTHS)} strengths; most: {worst}."
    )
