"""The tables on the page of a run: data, metrics, classes and the images that the model is most wrong about."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_lnn.files.atomic import DAMAGED_FILE_ERRORS
from keras_lnn.pages.rendering import Table
from keras_lnn.saved.card import shown_metrics
from keras_lnn.saved.results import (
    describe_basis,
    describe_decisions,
    name_class,
    name_samples,
    read_estimate,
    split_in_words,
)
from keras_lnn.saved.signature import Signature
from keras_lnn.statistics import Estimate
from keras_lnn.statistics.texts import number
from keras_lnn.tasks.kinds import find_kind_of
from keras_lnn.tasks.task import Task
from keras_lnn.tasks.thresholds import TUNED

# Longer tables of classes are folded.
_MOST_CLASSES_OPEN = 20
# The columns of hard cases that hold words; numbers follow them.
_WORDS = ("image", "series", "patient", "label", "truth", "predicted")


def splits_table(metrics: Mapping[str, Any]) -> Table | None:
    """Returns the images and patients of each split and class; None where an older version has not counted them."""
    splits = metrics.get("splits")
    if not splits:
        return None
    samples = name_samples(metrics)
    rows = [[f"all {samples}", *(f"{split['images']:,}" for split in splits.values())]]
    if all(split["patients"] is not None for split in splits.values()):
        rows.append(["patients", *(f"{split['patients']:,}" for split in splits.values())])
    for name in next(iter(splits.values()))["classes"]:
        rows.append([name, *(_share(split["classes"][name], split["images"]) for split in splits.values())])
    return Table(f"{samples.capitalize()} per split and class", ["", *map(split_in_words, splits)], rows)


def _share(count: int, samples: int) -> str:
    return f"{count:,}" if samples == 0 else f"{count:,}\n{count / samples:.1%}"


def metrics_table(metrics: dict[str, Any], split: str) -> Table:
    """Returns every metric with its interval; with thresholds also at them."""
    found, positive = metrics[split], metrics.get("positive_class")
    tuned = any(name.endswith(TUNED) for name in found)
    rows = []
    for name, label in shown_metrics(metrics, split).items():
        if not name.endswith(TUNED):
            row = [label + name_class(name, positive), estimate_cell(found[name])]
            rows.append([*row, estimate_cell(found.get(name + TUNED))] if tuned else row)
    head = ["metric", "at 0.5", "at the threshold"] if tuned else ["metric", "value"]
    caption = f"Metrics on the {split_in_words(split)} split with 95% intervals, {describe_basis(metrics, split)}"
    return Table(caption, head, rows)


def describe_decisions_of(metrics: Mapping[str, Any], split: str) -> str:
    """Returns a sentence on the thresholds of decisions; empty where there are none."""
    return describe_decisions(metrics, split) if any(name.endswith(TUNED) for name in metrics[split]) else ""


def labels_table(metrics: Mapping[str, Any], split: str) -> Table:
    """Returns one row per class or label with its intervals."""
    per_class = metrics["per_class"][split]
    first = next(iter(per_class.values()))
    columns, tuned = find_kind_of(metrics).label_columns(first), "threshold" in first
    rows = []
    for name, entries in per_class.items():
        row = [name, *(f"{entries[count]:,}" for count in columns.counts)]
        row += [estimate_cell(entries[metric]) for metric in columns.estimates]
        rows.append([*row, f"{entries['threshold']:.3f}"] if tuned else row)
    head = [columns.noun, *columns.counts.values(), *columns.estimates.values(), *(["threshold"] if tuned else [])]
    folded = f"{len(rows)} rows" if len(rows) > _MOST_CLASSES_OPEN else ""
    return Table(f"Each {columns.noun}, with 95% intervals", head, rows, folded=folded)


def hard_cases_table(predictions: Path, task: Task, split: str, signature: Signature | None) -> Table | None:
    """Returns the samples that the model is most wrong about; None where it is wrong about none or nobody knows.

    Args:
        predictions: The table of predictions.
        task: What the model predicts.
        split: The split whose samples are looked at.
        signature: The signature of the model; None if it is missing.
    """
    try:
        thresholds = None if signature is None else signature.thresholds
        cases = task.find_hard_cases(predictions, split, thresholds)
    except DAMAGED_FILE_ERRORS:
        return None
    if not cases:
        return None
    noun = "case" if len(cases) == 1 else "cases"
    caption = f"The {len(cases)} {noun} that the model is most wrong about; {predictions.name} has all"
    words = sum(name in _WORDS for name in cases[0])
    is_series = signature is not None and signature.samples == "series"
    head = ["series" if is_series and name == "image" else name for name in cases[0]]
    return Table(caption, head, [list(case.values()) for case in cases], texts=words)


def estimate_cell(estimate: Mapping[str, Any] | None) -> str:
    """Returns an estimate with its interval in small text below."""
    if estimate is None:
        return ""
    found = Estimate(*read_estimate(estimate))
    return number(found.value) + (f"\n{number(found.low)} to {number(found.high)}" if found.low == found.low else "")
