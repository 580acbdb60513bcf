"""Folds of classifications: probabilities are pooled, and decisions are made at each model's own thresholds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from keras_lnn.comparing.measuring import pool_class_runs, predictions_of
from keras_lnn.comparing.runs import Run
from keras_lnn.evaluation.metrics import CALIBRATION_METRICS
from keras_lnn.evaluation.predictions import Evaluation
from keras_lnn.folds.doubtful import tabulate_doubtful
from keras_lnn.folds.finished import FinishedFold
from keras_lnn.folds.kinds import FoldKind
from keras_lnn.folds.pooling import FoldPredictions
from keras_lnn.folds.promised import decide_promised, measure_promised_folds
from keras_lnn.saved.prediction_columns import name_promised
from keras_lnn.tasks.calibration import Calibration
from keras_lnn.tasks.kinds import make_task

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# An AUC of pooled probabilities that differs more from the mean over the folds says that their scales differ.
_DIFFERENT_SCALES = 0.02


class ClassFolds(FoldKind):
    """Folds of models that give a class or labels to each sample."""

    shown = ("auc", "accuracy")
    readings: ClassVar[Mapping[str, str]] = {
        "roc": "Each fold's model on its own fold. Curves far apart mean that the result depends on which patients"
        " trained and which tested.",
        "reliability": "All predictions together: on the diagonal probabilities mean what they say. Below it the models"
        " are too sure.",
    }
    predictions_are = "truth, probabilities and decision for each sample, with its fold"
    chosen = "the epoch, the thresholds and the calibration"
    pooling = (
        "Probabilities of different models are pooled {calibrated}, and decisions are made at each model's own"
        " thresholds."
    )
    advice = (
        "For AUC and average precision read the mean over folds, because ranks across models depend on their scales"
        " (Forman and Scholz 2010, Airola et al. 2011). For F1 read the column of all predictions, because a mean of F1"
        " over folds with few of a class is biased (Forman and Scholz 2010)."
    )

    def measure_further(self, repeats: Sequence[Sequence[FinishedFold]]) -> dict[str, Any]:
        """Returns what prediction sets and referral do in all folds, and the calibration metrics before calibration."""
        folds, first = [fold for part in repeats for fold in part], _read(repeats[0][0])
        promised = measure_promised_folds(
            _list_predictions(repeats),
            [fold.metrics for fold in folds],
            [_decide(fold) == _read(fold).truth for fold in folds],
            [_promise(fold) for fold in folds],
            first.class_names,
        )
        plain = _without_calibration(repeats)
        before = {} if plain is None else pool_class_runs(plain).to_json()
        return promised | {"before_calibration": {name: before[name] for name in CALIBRATION_METRICS if before}}

    def tabulate_doubtful(self, repeats: Sequence[Sequence[FinishedFold]], found: Mapping[str, Any]) -> pd.DataFrame:
        """Returns the labels that the probabilities contradict, the most doubtful first."""
        return tabulate_doubtful(_list_predictions(repeats), found)

    def with_decisions(self, table: pd.DataFrame, fold: FinishedFold) -> pd.DataFrame:
        """Returns the predictions with the class that the fold's model decides for, or one column per label.

        Prediction sets and referral are added too: folds that were trained before runs wrote them have only the rules.
        """
        one = _read(fold)
        task = make_task(one.task, one.class_names)
        decided = _decide(fold)
        if task.exclusive:
            columns: dict[str, Any] = {"predicted": task.name_decision(decided)}
        else:
            columns = {f"predicted {name}": decided[:, place].astype(int) for place, name in enumerate(one.class_names)}
        return table.assign(**columns, **name_promised(_promise(fold), one.class_names))

    def caution(
        self, folds: Sequence[FinishedFold], pooled: Evaluation, means: Mapping[str, Mapping[str, float]]
    ) -> list[str]:
        """Returns sentences on probabilities that may not mean the same in different folds."""
        found = []
        if not all(fold.metrics.get("calibration") for fold in folds):
            found.append(
                "The probabilities of the folds' models are not calibrated, so those of different folds may not mean"
                " the same: read the means over the folds, or train with --calibration temperature."
            )
        areas = pooled.metrics["auc"].value, means["auc"]["value"]
        if abs(areas[0] - areas[1]) > _DIFFERENT_SCALES:
            found.append(
                f"The AUC of all predictions together is {areas[0]:.3f}, but {areas[1]:.3f} on average within a fold:"
                " the probabilities of the folds' models are on different scales. The mean over the folds says how well"
                " they rank."
            )
        return found

    def draw(self, folds: Sequence[FinishedFold], found: Mapping[str, Any]) -> dict[str, Figure]:
        """Draws the ROC curve of each fold, and the reliability of all probabilities."""
        from keras_lnn import plots
        from keras_lnn.plots.folds import plot_fold_roc

        runs = [_read(fold) for fold in folds]
        plain = _without_calibration([folds])
        truth = np.concatenate([run.truth for run in runs])
        probabilities = np.concatenate([run.probabilities for run in runs])
        about = (found["task"], found["classes"])
        error = found["pooled"]["expected_calibration_error"]["value"]
        return {
            "roc": plot_fold_roc([(run.truth, run.probabilities) for run in runs], *about, found["positive_class"]),
            "reliability": plots.plot_reliability(
                truth,
                probabilities,
                *about,
                expected_calibration_error=error,
                uncalibrated=None if plain is None else np.concatenate([one.probabilities for one in plain[0]]),
                groups=[group for run in runs for group in run.groups or ()] or None,
            ),
        }


def _read(fold: FinishedFold) -> Run:
    if not isinstance(fold.read, Run):
        raise ValueError(f"Folds of classes must be runs of classes. Received: {type(fold.read).__name__}.")
    return fold.read


def _list_predictions(repeats: Sequence[Sequence[FinishedFold]]) -> list[list[FoldPredictions]]:
    """Returns what is pooled of each fold."""
    return [[predictions_of(_read(fold)) for fold in folds] for folds in repeats]


def _without_calibration(repeats: Sequence[Sequence[FinishedFold]]) -> list[list[Run]] | None:
    """Returns the runs of the folds as if no model had been calibrated; None where one of them is not known."""
    found = [[_undo_calibration(fold) for fold in folds] for folds in repeats]
    known = [[one for one in part if one is not None] for part in found]
    return known if all(map(len, known)) and list(map(len, known)) == list(map(len, found)) else None


def _undo_calibration(fold: FinishedFold) -> Run | None:
    """Returns the run with the probabilities before calibration; None where they are not known."""
    found, one = fold.metrics.get("calibration"), _read(fold)
    if not found:
        return None
    calibration = Calibration(found["method"], tuple(found["scales"]), tuple(found["offsets"]))
    plain = calibration.undo(one.probabilities, make_task(one.task, one.class_names).exclusive)
    return None if plain is None else dataclasses.replace(one, probabilities=plain, thresholds=None)


def _decide(fold: FinishedFold) -> np.ndarray:
    """Returns the classes or labels that the model decides on, at its own thresholds."""
    one = _read(fold)
    return np.asarray(make_task(one.task, one.class_names).decide(one.probabilities, one.thresholds))


def _promise(fold: FinishedFold) -> dict[str, np.ndarray]:
    """Returns the prediction sets and the referral of the model, where it has them."""
    one = _read(fold)
    return decide_promised(fold.metrics, one.probabilities, _decide(fold), one.thresholds)
