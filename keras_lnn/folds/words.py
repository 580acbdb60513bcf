"""Results of a cross-validation in words, for the terminal and for its page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras_lnn.evaluation.metrics import metric_label
from keras_lnn.folds.kinds import FoldKind
from keras_lnn.saved.card import shown_metrics
from keras_lnn.saved.results import name_class, read_estimate
from keras_lnn.statistics import Estimate
from keras_lnn.statistics.texts import interval, number
from keras_lnn.tasks.kinds import find_kind_of


def describe_folds(found: Mapping[str, Any]) -> str:
    """Returns what was cross-validated how, such as ``lnn on breastmnist, 5 folds, 2 repeats``.

    Args:
        found: Content of a folds.json.
    """
    repeats = "" if found["repeats"] == 1 else f", {found['repeats']} repeats"
    return f"{found['model']} on {found['data']}, {found['folds']} folds{repeats}"


def describe_outcome(found: Mapping[str, Any]) -> str:
    """Returns the leading metric in words, such as ``AUC .751 on average over 5 folds; 95% interval .698 to .796``."""
    name = find_kind_of(found).leading
    mean = Estimate(*read_estimate(found["mean"][name]))
    count = found["folds"] * found["repeats"]
    ends = "" if mean.low != mean.low else f"; 95% interval {number(mean.low)} to {number(mean.high)}"
    return f"{metric_label(name)} {number(mean.value)} on average over {count} folds{ends}"


def list_metrics(found: dict[str, Any]) -> list[list[str]]:
    """Returns for each metric its label, its mean over the folds, their spread, and its value for all predictions."""
    rows = []
    for name, label in shown_metrics(found, "pooled").items():
        mean = found["mean"][name]
        values = spell(mean), number(read_estimate({"value": mean["sd"]})[0]), spell(found["pooled"][name])
        rows.append([label + name_class(name, found["positive_class"]), *values])
    return rows


def spell(estimate: Mapping[str, Any]) -> str:
    """Returns an estimate with its interval as text."""
    return interval(Estimate(*read_estimate(estimate)))


def describe_calibration(found: Mapping[str, Any]) -> str:
    """Returns a sentence on what calibration changed in all predictions together; empty where nothing is known."""
    before = found.get("before_calibration")
    if not before:
        return ""
    changes = [
        f"{metric_label(name)} {spell(estimate)} before, {spell(found['pooled'][name])} after"
        for name, estimate in before.items()
    ]
    return f"Each model is calibrated on its own validation, which changes all predictions: {'; '.join(changes)}."


def describe_methods(found: Mapping[str, Any]) -> list[str]:
    """Returns sentences on how the numbers came about and what they stand for."""
    basis = found["intervals_over"]["pooled"]
    over = f"{basis['count']:,} {basis['unit']}"
    once = found["repeats"] == 1
    calibrated = "after each was calibrated on its own validation" if found["calibrated"] else "as they are"
    times = "once" if once else f"{found['repeats']} times, once per repeat,"
    means = "" if once else " Of repeats it is the mean."
    patients = "Patients are not divided." if basis["unit"] == "patients" else "Patients are not known."
    kind = FoldKind.of(find_kind_of(found))
    return [
        f"Each of {basis['images']:,} {basis['samples']} was predicted {times} by a model that was"
        f" neither trained on its fold nor chosen by it: the next fold chose {kind.chosen}, and the others"
        f" trained. {patients}",
        "The mean over folds says how well networks trained like these do on average. Its interval is that of the"
        " corrected resampled t (Nadeau and Bengio 2003, Bouckaert and Frank 2004), with"
        f" {found['test_over_train']:.2f} test {basis['samples']} per training one, because the models share training"
        f" {basis['samples']}. Spread is the standard deviation of the folds.",
        f"The column of all predictions measures them as one set, with intervals over {over}.{means} They cover the"
        f" choice of the {basis['unit']} but not that of the training {basis['samples']}."
        f" {kind.pooling.format(calibrated=calibrated)}",
        kind.advice,
    ]
