"""Every metric of a run with its deviations, so that runs on the same samples can be compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from keras_lnn.comparing.compared_run import RunKind
from keras_lnn.comparing.runs import Run, read_run
from keras_lnn.data.arrays import Split
from keras_lnn.evaluation.metrics import METRICS, list_compared_metrics, list_tuned_metrics
from keras_lnn.evaluation.predictions import Evaluation
from keras_lnn.folds.pooling import FoldPredictions, measure_pooled
from keras_lnn.statistics.deviations import Units, auc_degrees
from keras_lnn.statistics.measurements import Measurement
from keras_lnn.statistics.paired_tests import Difference, Measured, compare_accuracy, compare_means
from keras_lnn.tasks.kinds import find_kind
from keras_lnn.tasks.task import Task
from keras_lnn.tasks.thresholds import TUNED


def correct_predictions(run: Run) -> np.ndarray:
    """Returns whether each sample is predicted correctly, (samples,); for multi-label the share of correct labels."""
    predictions = run.check()
    right = predictions.predicted == predictions.positive
    return right.all(axis=1) if find_kind(run.task).exclusive else right.mean(axis=1)


def measure_model(
    runs: Sequence[Run], *, positive_class: str | None = None, progress: Callable[[float], None] | None = None
) -> tuple[dict[str, Measured], dict[str, dict[str, Measured]]]:
    """Measures all metrics of the runs of one model.

    Args:
        runs: One run per seed, on the same samples.
        positive_class: The class that sensitivity refers to in a binary task; the second one if not given.
        progress: Called with the fraction done.

    Returns:
        The metrics over all classes or labels by name; and those of each label by label and name, which is empty unless
        the task is multi-label. The deviations are those of patients where the patients are known.
    """
    tuned = all(run.has_thresholds for run in runs)
    measured = []
    for place, run in enumerate(runs):
        measured.append(run.measure(positive_class))
        if progress is not None:
            progress((place + 1) / len(runs))
    names = (*list_compared_metrics(METRICS), *((name + TUNED for name in list_tuned_metrics()) if tuned else ()))
    overall = {name: _join([found[name] for found, _ in measured], name, runs[0]) for name in names}
    if find_kind(runs[0].task).exclusive:
        return overall, {}
    label_metrics = ("auc", f"f1{TUNED}" if tuned else "f1")
    labels = {
        label: {
            name: _join([found[name][place] for _, found in measured], name, runs[0], place) for name in label_metrics
        }
        for place, label in enumerate(runs[0].class_names)
    }
    return overall, labels


def compare_models(
    metric: str, first: Sequence[Run], one: Measured, second: Sequence[Run], other: Measured, label: str = ""
) -> tuple[Difference, str]:
    """Returns the difference of a metric between two models, and the name of the test.

    Args:
        metric: Name of the metric.
        first: The runs of one model.
        one: The metric of the first model's runs.
        second: The runs of the other model.
        other: The metric of the second model's runs.
        label: The label that the metric was measured on; empty for the metric over all labels or classes.
    """
    run = first[0]
    single = one.runs == other.runs == 1
    independent = run.groups is None and len(run.parts) == 1
    if metric == "accuracy" and single and independent and find_kind(run.task).exclusive:
        return compare_accuracy(correct_predictions(run), correct_predictions(second[0])), "McNemar, mid-p"
    apart = one.deviations.mean(axis=0) - other.deviations.mean(axis=0)
    place = run.class_names.index(label) if label else None
    difference = compare_means(one, other, degrees=degrees_of_samples(metric, apart, run, place))
    return difference, _name_test(metric, by_patient=run.groups is not None, single=single)


def _name_test(metric: str, *, by_patient: bool, single: bool) -> str:
    """Returns the name of the test of two means: DeLong's over the images of patients is Obuchowski's."""
    if metric == "auc":
        test = "Obuchowski" if by_patient else "DeLong"
    else:
        test = "paired t, by patient" if by_patient else "paired t"
    return test if single else f"{test}, with seeds"


def _join(found: Sequence[Measurement], metric: str, run: Run, label: int | None = None) -> Measured:
    deviations = np.mean([one.deviations for one in found], axis=0)
    return Measured.of(found, degrees_of_samples(metric, deviations, run, label))


def degrees_of_samples(metric: str, deviations: np.ndarray, run: Run, label: int | None = None) -> float:
    """Returns the degrees of freedom of the variance due to the samples: for AUC, Welch's over the true classes."""
    has_strata = find_kind(run.task).exclusive or label is not None
    truth = run.truth if label is None else run.truth[:, label]
    return _degrees(metric, deviations, truth if has_strata else None, Units(run.samples, run.groups))


def measure_class_split(
    metric: str, task: Task, split: Split, predicted: Sequence[np.ndarray]
) -> tuple[list[Measurement], Callable[[np.ndarray], float]]:
    """Returns a metric of the probabilities of several models; see :attr:`RunKind.measure_split`."""
    truth, units = split.labels if task.exclusive else None, Units(len(split), split.groups)
    measured = [task.measure_with_deviations(split, probabilities)[metric] for probabilities in predicted]
    return measured, lambda deviations: _degrees(metric, deviations, truth, units)


def pool_class_runs(repeats: Sequence[Sequence[Run]]) -> Evaluation:
    """Returns the metrics of the probabilities of all folds as those of one set of samples.

    Args:
        repeats: The run of each fold, for each repeat.
    """
    first = repeats[0][0]
    return measure_pooled(
        [[predictions_of(run) for run in folds] for folds in repeats],
        task=first.task,
        class_names=first.class_names,
        positive_class=first.positive_class,
        samples=first.noun,
    )


def predictions_of(run: Run) -> FoldPredictions:
    """Returns what is pooled of the run of a fold."""
    return FoldPredictions(run.truth, run.probabilities, run.files, run.thresholds, run.groups)


def _degrees(metric: str, deviations: np.ndarray, classes: np.ndarray | None, units: Units) -> float:
    """Returns the degrees of freedom of a variance; for AUC Welch's over the classes, unless there are none."""
    if metric == "auc" and classes is not None:
        return auc_degrees(deviations, classes, units)
    return float(max(units.count - 1, 1))


CLASS_RUNS = RunKind(read_run, measure_model, compare_models, measure_class_split, pool_class_runs)
