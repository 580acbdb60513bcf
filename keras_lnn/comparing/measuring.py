"""Every metric of a run with its deviations, so that runs on the same samples can be compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from keras_lnn.comparing.runs import Run
from keras_lnn.evaluation import METRICS, TUNED, CheckedPredictions, WeightedMetrics
from keras_lnn.paired_tests import (
    Measured,
    macro_auc_deviations,
    mean_deviations,
    resampled_deviations,
    welch_degrees,
)
from keras_lnn.statistics import resample_weights

# The calibration error is left out: resampling adds to it, so its interval may lie beside the value.
COMPARED = tuple(name for name in METRICS if name != "expected_calibration_error")
LOWER_IS_BETTER = frozenset({"brier"})
RESAMPLES = 2000


def correct_answers(run: Run) -> np.ndarray:
    """Whether each sample was answered right, (samples,); of several labels the share that was."""
    predictions = _checked(run)
    right = predictions.predicted == predictions.positive
    return right.mean(axis=1) if run.task == "multi-label" else right.all(axis=1)


def measure_model(
    runs: Sequence[Run], *, resamples: int = RESAMPLES, progress: Callable[[float], None] | None = None
) -> dict[str, Measured]:
    """All metrics of the runs of one model.

    Args:
        runs: One a seed, on the same samples.
        resamples: Bootstrap resamples of the samples, the same ones for every run that answered as many.
        progress: Called with the fraction done.

    Returns:
        By the metric's name. The deviations of AUC are DeLong's and those of accuracy exact, the others are
        bootstrapped.
    """
    samples = runs[0].samples
    names = (*COMPARED, *((TUNED,) if all(run.thresholds for run in runs) else ()))
    values: dict[str, list[float]] = {name: [] for name in names}
    deviations: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for place, run in enumerate(runs):
        statistics = WeightedMetrics(_checked(run))
        places = {name: (*METRICS, TUNED).index(name) for name in names}
        whole, chunks, done = statistics(np.ones((1, samples)))[:, 0], [], 0
        for weights in resample_weights(samples, resamples, seed=0):
            chunks.append(statistics(weights)[: len(METRICS) + 1])
            done += len(weights)
            if progress is not None:
                progress((place + done / resamples) / len(runs))
        rows = np.concatenate(chunks, axis=1)
        exact = {"auc": _auc_deviations(run), "accuracy": mean_deviations(correct_answers(run))[1]}
        for name in names:
            values[name].append(whole[places[name]])
            deviations[name].append(exact[name] if name in exact else resampled_deviations(rows[places[name]]))
    found = {}
    for name in names:
        stacked = np.stack(deviations[name])
        degrees = degrees_of_samples(name, stacked.mean(axis=0), runs[0])
        found[name] = Measured(np.array(values[name]), stacked, degrees)
    return found


def degrees_of_samples(metric: str, deviations: np.ndarray, run: Run) -> float:
    """Degrees of freedom of what the choice of the samples does: for AUC Welch's over the true classes."""
    if metric == "auc" and run.task != "multi-label":
        return welch_degrees(deviations, run.truth)
    return float(max(run.samples - 1, 1))


def _auc_deviations(run: Run) -> np.ndarray:
    chosen = slice(1, 2) if run.task == "binary" else slice(None)
    return macro_auc_deviations(run.positive[:, chosen], run.probabilities[:, chosen])[1]


def _checked(run: Run) -> CheckedPredictions:
    return CheckedPredictions.checked(run.truth, run.probabilities, run.task, run.class_names, run.thresholds)
