"""What is measured of an ensemble on its test split, in the form of metrics.json, and its pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_lnn.data.arrays import Split
from keras_lnn.ensembles.gains import Gain, measure_gain
from keras_lnn.evaluation.metrics import CALIBRATION_METRICS
from keras_lnn.evaluation.predictions import Evaluation
from keras_lnn.files.atomic import atomic_path, without_nan, write_text
from keras_lnn.files.csv_tables import to_csv
from keras_lnn.saved.signature import Signature
from keras_lnn.training.promised import measure_promised
from keras_lnn.training.report import draw_referral, measure_split, metrics_of_split


@dataclasses.dataclass(frozen=True)
class TestPredictions:
    """What an ensemble and its members predict for samples that none of them has seen.

    Args:
        split: The samples.
        ensemble: What the ensemble predicts, as :meth:`Task.compact` returns it.
        members: The name and the signature of each member, and what it predicts.
        uncalibrated: What the ensemble would predict without the calibration of its members; None where none of them
            is calibrated.
    """

    __test__ = False  # no class of tests

    split: Split
    ensemble: np.ndarray
    members: Sequence[tuple[str, Signature, np.ndarray]]
    uncalibrated: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Results:
    """What was measured of an ensemble.

    Args:
        gain: What it gains over its members.
        evaluation: Its metrics.
        content: The metrics in the form of metrics.json, with sets and referral where the ensemble has them;
            ``mean_of_members`` has the mean of each metric over the members, and ``uncalibrated`` the metrics of
            probabilities that the ensemble would have without the calibration of its members.
    """

    gain: Gain
    evaluation: Evaluation
    content: dict[str, Any]


def measure_ensemble(signature: Signature, found: TestPredictions) -> Results:
    """Measures an ensemble on its test split.

    Args:
        signature: The signature of the ensemble.
        found: Its predictions.
    """
    split, task = found.split, signature.get_task()
    gain = measure_gain(signature, split, found.ensemble, [(name, one) for name, _, one in found.members])
    evaluation = measure_split(split, found.ensemble, signature)
    content = metrics_of_split(evaluation, signature, "test")
    content |= measure_promised({"test": (split, found.ensemble)}, signature)
    means = {task.leading: gain.mean.estimate.value}
    if task.keeps_logits:  # distances between masks would be measured anew for each member
        measured = [measure_split(split, predicted, known).metrics for _, known, predicted in found.members]
        shared = [name for name in measured[0] if all(name in one for one in measured)]
        means |= {name: float(np.mean([one[name].value for one in measured])) for name in shared}
    before = {}
    if found.uncalibrated is not None:
        plain = measure_split(split, found.uncalibrated, signature).to_json()
        before = {name: plain[name] for name in CALIBRATION_METRICS if name in plain}
    content |= without_nan({"mean_of_members": means, "uncalibrated": before})
    return Results(gain, evaluation, content)


def write_pictures(folder: Path, signature: Signature, found: TestPredictions, evaluation: Evaluation) -> None:
    """Writes the pictures of an ensemble.

    Args:
        folder: The folder of the pictures, which is replaced.
        signature: The signature of the ensemble.
        found: Its predictions.
        evaluation: Its metrics.
    """
    from keras_lnn import plots

    task, split = signature.get_task(), found.split
    members = [predicted for _, _, predicted in found.members]
    positive = task.choose_positive_class(evaluation.positive_class)
    figures = task.draw_ensemble(split, found.ensemble, evaluation, members, positive, found.uncalibrated)
    if signature.referral is not None:
        figures["referral"] = draw_referral(split, found.ensemble, signature)
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        for name, figure in figures.items():
            plots.save_figure(figure, temporary / f"{name}.png")


def write_predictions(path: Path, signature: Signature, found: TestPredictions, evaluation: Evaluation) -> None:
    """Writes the table of what an ensemble predicts for its test split; arguments as in :func:`write_pictures`."""
    write_text(path, to_csv(signature.get_task().tabulate(found.split, found.ensemble, evaluation, "test")))
