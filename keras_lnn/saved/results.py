"""Results of a metrics.json in words: the main one in a sentence, what intervals rest on and how decisions are made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from keras_lnn.saved.card import metric_label
from keras_lnn.saved.ensembles import APPROXIMATE, ON_FOLDS, ON_VALIDATION
from keras_lnn.statistics import Estimate
from keras_lnn.statistics.texts import interval, number
from keras_lnn.tasks.calibration import Calibration
from keras_lnn.tasks.kinds import find_kind_of
from keras_lnn.tasks.thresholds import describe_rule

_SPLITS = ("test", "val", "train", "all")
_IN_WORDS = {"val": "validation"}
_PARTS = ("value", "low", "high")
# Of more classes or labels a sentence does not give the numbers of each.
_MOST_SCALES = 5
_OF_ONE_CLASS = ("f1", "precision", "sensitivity", "specificity", "average_precision")


def measured_split(metrics: Mapping[str, Any]) -> str:
    """Returns the split that results are reported of: ``test`` if it was measured."""
    return next(name for name in _SPLITS if name in metrics)


def split_in_words(split: str) -> str:
    """Returns the name of a split as people write it."""
    return _IN_WORDS.get(split, split)


def read_estimate(estimate: Mapping[str, Any]) -> tuple[float, float, float]:
    """Returns value, low and high of an estimate; nan where it is not defined."""
    value, low, high = (math.nan if estimate.get(key) is None else float(estimate[key]) for key in _PARTS)
    return value, low, high


def describe_metric(value: float | None) -> str:
    """Returns a metric without its interval; a dash where it is not defined."""
    return number(math.nan if value is None else float(value))


def main_result(metrics: Mapping[str, Any]) -> str:
    """Returns the leading metric with its interval, such as ``AUC .751 (.698 to .796)``."""
    name = find_kind_of(metrics).leading
    value, low, high = read_estimate(metrics[measured_split(metrics)][name])
    ends = "" if math.isnan(low) else f" ({number(low)} to {number(high)})"
    return f"{metric_label(name)} {number(value)}{ends}"


def describe_result(metrics: Mapping[str, Any]) -> str:
    """Returns the leading metric in words, such as ``AUC .751; 95% interval .698 to .796, over 400 test images``."""
    task, split = find_kind_of(metrics), measured_split(metrics)
    value, low, high = read_estimate(metrics[split][task.leading])
    found = f"{metric_label(task.leading)} {'not defined' if math.isnan(value) else number(value)}"
    if not math.isnan(low):
        found += f"; 95% interval {number(low)} to {number(high)}"
    return f"{found}, {describe_basis(metrics, split)}"


def describe_basis(metrics: Mapping[str, Any], split: str) -> str:
    """Returns what the intervals of a split rest on, such as ``resampled over 12 test patients (120 images)``."""
    basis = metrics.get("intervals_over", {}).get(split)
    name, how = split_in_words(split), find_kind_of(metrics).interval_words
    if basis is None:  # an older version has not written it down
        return f"{how} the {name} split"
    whole = f" ({basis['images']:,} {name_samples(metrics)})" if basis["unit"] == "patients" else ""
    return f"{how} {basis['count']:,} {name} {basis['unit']}{whole}"


def name_samples(metrics: Mapping[str, Any]) -> str:
    """Returns what the samples of a run are, in the plural: ``images`` or ``series``."""
    bases = metrics.get("intervals_over") or {}
    return next((basis["samples"] for basis in bases.values() if "samples" in basis), "images")


def name_class(metric: str, positive_class: str | None) -> str:
    """Returns the class that a metric is of, in brackets; empty for metrics of all classes."""
    return f" ({positive_class})" if positive_class and metric in _OF_ONE_CLASS else ""


def describe_calibration(metrics: Mapping[str, Any], split: str) -> str:
    """Returns a sentence on how probabilities were calibrated and what that changed; empty where they were not."""
    found = metrics.get("calibration")
    if not found:
        return ""
    calibration = Calibration(found["method"], tuple(found["scales"]), tuple(found["offsets"]))
    numbers = calibration.describe(metrics["classes"]) if len(calibration.scales) < _MOST_SCALES else "one scale each"
    samples = find_kind_of(metrics).calibrated_samples or name_samples(metrics)
    text = f"Probabilities are calibrated on {found['fitted_on']:,} validation {samples} ({numbers})"
    before = found["before"].get(split, {})
    changes = [
        f"{metric_label(name)} {_short(estimate)} before, {_short(metrics[split][name])} after"
        for name, estimate in before.items()
    ]
    return text + (f": {'; '.join(changes)}." if changes else ".")


def describe_promised(metrics: Mapping[str, Any], split: str) -> list[str]:
    """Returns sentences on prediction sets and referral: what they promise, and what they did on a split."""
    found = [text for text in (_describe_sets(metrics, split), _describe_referral(metrics, split)) if text]
    if found and metrics.get("thresholds_on") == ON_FOLDS:
        found.append(f"As in cross-conformal prediction this promise comes {APPROXIMATE}.")
    return found


def _describe_sets(metrics: Mapping[str, Any], split: str) -> str:
    sets, samples = metrics.get("sets") or {}, name_samples(metrics)
    if split not in sets:
        return ""
    measured = sets[split]
    of_class = " of each class" if sets["by_class"] else ""
    return (
        f"Prediction sets are chosen on {_chosen_on(metrics)} to contain the true class of {sets['coverage']:.4g} of"
        f" all {samples}{of_class}, on average over new patients of the same kind and not for each single one;"
        f" {_on(split)} they do for {_short(measured['coverage'])} of the {samples}, with"
        f" {_short(measured['mean_size'])} classes each on average."
    )


def _describe_referral(metrics: Mapping[str, Any], split: str) -> str:
    referral, samples = metrics.get("referral") or {}, name_samples(metrics)
    if split not in referral:
        return ""
    # Each fold of a cross-validation has a confidence of its own.
    measured, on = referral[split], _chosen_on(metrics)
    confidences = referral.get("confidences") or [referral["confidence"]]
    if all(confidence is None for confidence in confidences):
        return (
            f"Every one of the {samples} is referred to a human, because a risk of at most {referral['risk']:.4g} was"
            f" shown at no confidence on {on}."
        )
    level = f"a confidence of {confidences[0]:.3f}" if len(confidences) == 1 else "the confidence that each fold chose,"
    text = (
        f"Below {level} {samples} are referred to a human: chosen on {on} so that, with"
        f" a certainty of 95%, at most {referral['risk']:.4g} of the others are decided wrongly; {_on(split)} the model"
        f" decides {_short(measured['decided'])} of the {samples} itself"
    )
    if measured["risk"] is None:
        return f"{text}."
    return (
        f"{text} and is wrong about {_short(measured['risk'])} of these, against {_short(measured['risk_of_all'])}"
        + (" of all.")
    )


def _chosen_on(metrics: Mapping[str, Any]) -> str:
    return metrics.get("thresholds_on", ON_VALIDATION)


def _on(split: str) -> str:
    """Returns where something was measured, in words; all folds of a cross-validation are ``pooled``."""
    if split == "pooled":
        return "in all folds together"
    same = ", on which they were chosen," if split == "val" else ""
    return f"on the {split_in_words(split)} split{same}"


def _short(estimate: Mapping[str, Any]) -> str:
    return interval(Estimate(*read_estimate(estimate)))


def describe_decisions(metrics: Mapping[str, Any], split: str) -> str:
    """Returns a sentence on the thresholds of decisions, and how they were chosen."""
    how = describe_rule(metrics.get("threshold_rule"), metrics.get("thresholds_on", ON_VALIDATION))
    positive = metrics.get("positive_class")
    if positive is None:
        return f"Each label is predicted above its own threshold, {how}."
    threshold = metrics["per_class"][split][positive]["threshold"]
    return f"The class {positive} is predicted above a threshold of {threshold:.3f}, {how}."
