"""Every metric of a run with its deviations, so that runs on the same samples can be compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from keras_lnn.comparing.runs import Run
from keras_lnn.evaluation import METRICS, TUNED_METRICS, CheckedPredictions, measure_predictions
from keras_lnn.statistics.deviations import Units, welch_degrees
from keras_lnn.statistics.paired_tests import Measured
from keras_lnn.thresholds import TUNED

# The calibration error is left out: it has no interval.
COMPARED = tuple(name for name in METRICS if name != "expected_calibration_error")
COMPARED_TUNED = tuple(name + TUNED for name in TUNED_METRICS)
LOWER_IS_BETTER = frozenset({"brier"})


def correct_answers(run: Run) -> np.ndarray:
    """Returns whether each sample is predicted right, (samples,); of several labels the share that is."""
    predictions = _checked(run)
    right = predictions.predicted == predictions.positive
    return right.mean(axis=1) if run.task == "multi-label" else right.all(axis=1)


def measure_model(
    runs: Sequence[Run], *, positive_class: str | None = None, progress: Callable[[float], None] | None = None
) -> dict[str, Measured]:
    """Measures all metrics of the runs of one model.

    Args:
        runs: One for each seed, on the same samples.
        positive_class: Which of two classes sensitivity speaks of; the second one if not given.
        progress: Called with the fraction done.

    Returns:
        By the metric's name. The deviations are those of patients where they are known.
    """
    names = (*COMPARED, *(COMPARED_TUNED if all(run.thresholds for run in runs) else ()))
    measured = []
    for place, run in enumerate(runs):
        measured.append(measure_predictions(_checked(run, positive_class), run.groups)[0])
        if progress is not None:
            progress((place + 1) / len(runs))
    found = {}
    for name in names:
        deviations = np.stack([run[name].deviations for run in measured])
        degrees = degrees_of_samples(name, deviations.mean(axis=0), runs[0])
        found[name] = Measured([run[name].estimate for run in measured], deviations, degrees)
    return found


def degrees_of_samples(metric: str, deviations: np.ndarray, run: Run) -> float:
    """Returns the degrees of freedom of what the choice of the samples does: for AUC Welch's over the true classes."""
    units = Units(run.samples, run.groups)
    if metric == "auc" and run.task != "multi-label":
        strata = units.strata(run.truth)
        if strata is not None:
            return welch_degrees(deviations, strata)
    return float(max(units.count - 1, 1))


def _checked(run: Run, positive_class: str | None = None) -> CheckedPredictions:
    about = (run.truth, run.probabilities, run.task, run.class_names, run.thresholds)
    return CheckedPredictions.checked(*about, positive_class)
