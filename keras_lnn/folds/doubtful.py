"""The labels that the predictions of all folds contradict: their table, and a sheet of the most doubtful samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from keras_lnn.data.arrays import ImageData
from keras_lnn.errors import InputError
from keras_lnn.evaluation.doubtful_labels import DoubtfulLabel, find_doubtful_labels
from keras_lnn.files.atomic import as_text
from keras_lnn.folds.pooling import FoldPredictions
from keras_lnn.plots.folds import plot_doubtful_labels
from keras_lnn.plots.views import view_samples

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The sheet has so many rows of images or of series.
_ROWS = 3


def tabulate_doubtful(repeats: Sequence[Sequence[FoldPredictions]], found: Mapping[str, Any]) -> pd.DataFrame:
    """Returns one row per doubtful label, the most doubtful first; several repeats count with their mean probability.

    Args:
        repeats: The predictions of each fold, for each repeat.
        found: Content of folds.json, whose AUCs say which classes or labels are distinguished from the others.
    """
    first, class_names = repeats[0], found["classes"]
    names = [name for fold in first for name in fold.names]
    truth = np.concatenate([fold.truth for fold in first])
    measured = found["per_class"]["pooled"]
    informed = [(measured[name]["auc"]["low"] or 0) > 0.5 for name in class_names]
    doubtful = find_doubtful_labels(truth, _average(repeats, names), informed)
    groups = [group for fold in first for group in fold.groups or ()]
    columns: dict[str, list[Any]] = {
        "rank": list(range(1, len(doubtful) + 1)),
        "file": [names[one.sample] for one in doubtful],
    }
    if len(groups) == len(names):
        columns["patient"] = [groups[one.sample] for one in doubtful]
    if truth.ndim == 2:
        columns["label"] = [class_names[one.label] for one in doubtful if one.label is not None]
    columns["given"], columns["suggested"] = _name_both(doubtful, class_names)
    columns["given_probability"] = [one.given_probability for one in doubtful]
    columns["suggested_probability"] = [one.suggested_probability for one in doubtful]
    return pd.DataFrame(columns)


def draw_doubtful(table: pd.DataFrame, data: ImageData) -> Figure:
    """Draws the samples of the first rows of the table.

    Args:
        table: What :func:`tabulate_doubtful` returns.
        data: The data in the splits of one of the folds, which have all samples.
    """
    places = {
        as_text(name): (split, place)
        for split, part in data.splits.items()
        for place, name in enumerate(part.names or ())
    }
    views = {split: view_samples(part.images) for split, part in data.splits.items()}
    view = next(iter(views.values()))
    shown = table.head(_ROWS * view.of_a_kind)
    missing = [name for name in shown["file"] if name not in places]
    if missing:
        raise InputError(f"The data must still have all samples. Received: {data.name} without {missing[0]}.")
    of = f"{len(shown)} of {len(table):,}" if len(shown) < len(table) else f"{len(table)}"
    heading = f"Labels that predictions contradict: {of}, the most doubtful first{view.note}"
    return plot_doubtful_labels(shown, [(views[places[name][0]], places[name][1]) for name in shown["file"]], heading)


def describe_doubtful(found: Mapping[str, Any]) -> str:
    """Returns how many labels are doubtful, in a sentence; empty for results without a search for them.

    Args:
        found: Content of a folds.json.
    """
    doubtful = found.get("doubtful_labels")
    if doubtful is None:
        return ""
    samples = found["intervals_over"]["pooled"]["samples"]
    sample = {"images": "image"}.get(samples, samples)
    if not doubtful["count"]:
        return f"None of {doubtful['of']:,} labels is contradicted by the models that have not seen the {sample}."
    return (
        f"{doubtful['count']:,} of {doubtful['of']:,} labels are contradicted by models that have not seen the {sample}"
        " (doubtful_labels.csv). Look at them: a doubtful label is not a wrong one."
    )


def count_doubtful(table: pd.DataFrame, found: Mapping[str, Any]) -> dict[str, int]:
    """Returns the number of doubtful labels and of labels that were looked at.

    Args:
        table: What :func:`tabulate_doubtful` returns.
        found: Content of folds.json.
    """
    each = len(found["classes"]) if "label" in table else 1
    return {"count": len(table), "of": found["intervals_over"]["pooled"]["images"] * each}


def _average(repeats: Sequence[Sequence[FoldPredictions]], names: Sequence[str]) -> np.ndarray:
    """Returns the mean over the repeats of the probabilities of each sample, (samples, classes or labels)."""
    total: Any = 0.0
    for folds in repeats:
        rows = {name: row for row, name in enumerate(name for fold in folds for name in fold.names)}
        probabilities = np.concatenate([fold.probabilities for fold in folds])
        total = total + probabilities[[rows[name] for name in names]]
    return total / len(repeats)


def _name_both(doubtful: Sequence[DoubtfulLabel], class_names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the names of what is given and of what is suggested."""

    def name(one: DoubtfulLabel, place: int) -> str:
        return class_names[place] if one.label is None else ("absent", "present")[place]

    return [name(one, one.given) for one in doubtful], [name(one, one.suggested) for one in doubtful]
