"""The prediction sets and the referral of all folds: each model's own rule, measured on what it has not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_lnn.evaluation.prediction_sets import measure_referral, measure_sets
from keras_lnn.folds.pooling import FoldPredictions, find_units, list_groups
from keras_lnn.tasks.prediction_sets import PredictionSets
from keras_lnn.tasks.referral import Referral

# The metrics of sets and of referral, by their names in folds.csv.
_COLUMNS = {"sets": {"coverage": "coverage", "mean_size": "mean_set_size"}, "referral": {"decided": "decided"}}


def decide_promised(
    metrics: Mapping[str, Any], probabilities: np.ndarray, decided: np.ndarray, thresholds: Sequence[float] | None
) -> dict[str, np.ndarray]:
    """Returns the sets of a run and whether it refers each sample, by the rules in its metrics.json.

    Args:
        metrics: Content of its metrics.json.
        probabilities: (samples, classes).
        decided: The index of the predicted class, (samples,).
        thresholds: By which it was predicted; None for the likeliest class.

    Returns:
        ``set``, bool (samples, classes), and ``refer``, bool (samples,), where the run has them.
    """
    found, sets, referral = {}, metrics.get("sets"), metrics.get("referral")
    if sets:
        rule = PredictionSets(sets["coverage"], sets["by_class"], tuple(sets["levels"]))
        found["set"] = rule.decide(probabilities, decided, thresholds)
    if referral:
        found["refer"] = Referral(referral["risk"], referral["confidence"]).decide(probabilities, decided, thresholds)
    return found


def list_promised(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """Returns coverage, mean size of the sets and share of decisions on the fold of a run, as columns of folds.csv.

    Args:
        metrics: Content of its metrics.json.
    """
    row: dict[str, float | None] = {}
    for part, columns in _COLUMNS.items():
        for name, column in columns.items():
            if metrics.get(part):
                estimate = metrics[part]["test"][name]
                row |= {column: estimate["value"], f"{column}_low": estimate["low"], f"{column}_high": estimate["high"]}
    return row


def measure_promised_folds(
    repeats: Sequence[Sequence[FoldPredictions]],
    metrics: Sequence[Mapping[str, Any]],
    right: Sequence[np.ndarray],
    promised: Sequence[Mapping[str, np.ndarray]],
    class_names: Sequence[str],
) -> dict[str, Any]:
    """Returns what the sets and the referral of all folds do together, in the form of metrics.json.

    Args:
        repeats: The predictions of each fold, for each repeat.
        metrics: Content of the metrics.json of each fold, in the same order, as what follows.
        right: Whether the model of each fold decides rightly about each of its samples.
        promised: What :func:`decide_promised` returns of each fold.
        class_names: One name for each class.

    Returns:
        ``sets`` and ``referral`` with the promise and, as ``pooled``, what was measured; empty where folds have none.
    """
    patients = [list_groups([fold.groups for fold in folds]) for folds in repeats]
    units = find_units(patients, [[name for fold in folds for name in fold.names] for folds in repeats])
    groups = [unit for of_repeat in units for unit in of_repeat or ()] or None
    found: dict[str, Any] = {}
    if all("set" in one for one in promised):
        sets = np.concatenate([one["set"] for one in promised])
        truth = np.concatenate([fold.truth for folds in repeats for fold in folds])
        promise = {name: metrics[0]["sets"][name] for name in ("coverage", "by_class")}
        found["sets"] = promise | {"pooled": measure_sets(sets, truth, class_names, groups)}
    if all("refer" in one for one in promised):
        referred = np.concatenate([one["refer"] for one in promised])
        confidences = [one["referral"]["confidence"] for one in metrics]
        promise = {"risk": metrics[0]["referral"]["risk"], "confidences": confidences}
        found["referral"] = promise | {"pooled": measure_referral(referred, np.concatenate(right), groups)}
    return found
