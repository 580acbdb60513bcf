"""The results of a comparison: every number of every model and of every pair, computed once."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from keras_lnn.comparing.compared_run import ComparedRun, check_same_samples, with_known_patients
from keras_lnn.comparing.groups import Group, group_runs
from keras_lnn.comparing.pairs import Pair, correct_pairs
from keras_lnn.comparing.runs import as_decided
from keras_lnn.errors import InputError, suggest
from keras_lnn.evaluation.metrics import is_lower_better
from keras_lnn.files.atomic import without_nan
from keras_lnn.statistics import Estimate
from keras_lnn.statistics.paired_tests import Measured, mean_over_runs

# Up to this many models, each pair is described in words; beyond, each model is compared with the reference.
MOST_TOLD_ALL = 5
SIGNIFICANT = 0.05
# What distinguishes the folds of all repeats.
FOLD_COLUMNS = ["repeat", "fold"]


@dataclasses.dataclass(frozen=True)
class Model:
    """One model with the numbers of all its runs.

    Args:
        name: Name that distinguishes it from the other models.
        runs: One run per seed.
        settings: Settings in which it differs from the other models, as text by field.
        measured: Every metric of every run.
        metrics: Mean over the runs with its 95% interval.
        labels: For multi-label tasks, some metrics of each label for every run.
    """

    name: str
    runs: tuple[ComparedRun, ...]
    settings: dict[str, str]
    measured: dict[str, Measured]
    metrics: dict[str, Estimate]
    labels: dict[str, dict[str, Measured]] = dataclasses.field(default_factory=dict)

    @property
    def seeds(self) -> int:
        """Returns the number of runs."""
        return len(self.runs)

    @property
    def collapsed(self) -> int:
        """Returns the number of runs that have collapsed to a constant prediction."""
        return sum(run.collapsed for run in self.runs)

    @property
    def validation_value(self) -> float:
        """Returns the leading metric on validation, as the mean over the runs; nan if any run has none."""
        return float(np.mean([run.validation_value for run in self.runs]))

    @property
    def seconds(self) -> float:
        """Returns the training time, as the mean over the runs."""
        return float(np.mean([run.seconds for run in self.runs]))

    @property
    def seconds_an_epoch(self) -> float:
        """Returns the training time per epoch, as the mean over the runs."""
        return float(np.mean([run.seconds / max(run.epochs, 1) for run in self.runs]))

    @property
    def file_bytes(self) -> int | None:
        """Returns the largest size of best.keras among the runs; None if no run has the file."""
        return max((run.file_bytes for run in self.runs if run.file_bytes is not None), default=None)

    def spread(self, metric: str) -> float:
        """Returns the standard deviation between the seeds; nan for a single seed."""
        values = self.measured[metric].values
        return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan

    def to_row(self) -> dict[str, Any]:
        """Returns the row of comparison.csv."""
        row: dict[str, Any] = {"model": self.name, "seeds": self.seeds, "collapsed": self.collapsed}
        for name, estimate in self.metrics.items():
            row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
            row[f"{name}_between_seeds"] = self.spread(name)
        row |= {f"validation_{self.runs[0].leading}": self.validation_value, "parameters": self.runs[0].parameters}
        row |= {"seconds": self.seconds, "seconds_an_epoch": self.seconds_an_epoch, "best_keras_bytes": self.file_bytes}
        return row | self.settings


@dataclasses.dataclass(frozen=True)
class FoldComparison:
    """Models on average over the same folds.

    Args:
        values: The metrics of each model on each fold of each repeat, one row each.
        means: The mean of each metric over the folds with its interval, by model.
        pairs: Each pair of models with each metric that is tested, by the corrected resampled t.
        test_over_train: Ratio of the test samples of a fold to its training samples.
    """

    values: pd.DataFrame
    means: dict[str, dict[str, Estimate]]
    pairs: tuple[Pair, ...]
    test_over_train: float

    @property
    def folds(self) -> int:
        """Returns the number of folds of all repeats."""
        return len(self.values[FOLD_COLUMNS].drop_duplicates())

    def to_tables(self) -> dict[str, pd.DataFrame]:
        """Returns the tables that are written, by their names."""
        return {"fold_values": self.values, "fold_pairs": pd.DataFrame([pair.to_row() for pair in self.pairs])}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Models on the same samples.

    Args:
        models: The models, the best by their leading metric first.
        pairs: Each pair of models with each metric that is tested.
        reference: Name of the model that the others are compared with.
        reference_given: Whether a user chose the reference; otherwise it is the best model on validation.
        left_out: Runs that repeat a seed of their model.
        positive_class: The class that sensitivity, precision and F1 refer to in a binary task; None for other tasks.
        label_pairs: Each pair of models with each metric of each label; empty unless the task is multi-label.
        sampling: For series, the leading metric of each model under each sampling; None where that was not measured.
        sampling_differences: Each model minus the reference under each sampling; None where that was not measured.
        over_folds: For cross-validations, the models on average over the folds; None for runs.
    """

    models: tuple[Model, ...]
    pairs: tuple[Pair, ...]
    reference: str
    reference_given: bool
    left_out: tuple[ComparedRun, ...]
    positive_class: str | None = None
    label_pairs: tuple[Pair, ...] = ()
    sampling: pd.DataFrame | None = None
    sampling_differences: pd.DataFrame | None = None
    over_folds: FoldComparison | None = None

    @property
    def example(self) -> ComparedRun:
        """Returns any run: its facts about the data and the samples hold for all runs."""
        return self.models[0].runs[0]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Returns the names of the metrics that every model has."""
        return tuple(name for name in self.models[0].metrics if all(name in model.metrics for model in self.models))

    @property
    def headline(self) -> tuple[str, ...]:
        """Returns the names of the metrics that are shown first."""
        return self.example.choose_headline(self.metrics)

    @property
    def reported_metrics(self) -> tuple[str, ...]:
        """Returns the names of the metrics that are described in words; all others are in the tables only."""
        return self.headline[:2]

    def as_decided(self, metric: str) -> str:
        """Returns the name of a metric at the thresholds of the models where all have some, else its own name."""
        return as_decided(metric, self.metrics)

    @property
    def reports_all_pairs(self) -> bool:
        """Returns whether every pair is described in words, not only each model against the reference."""
        return len(self.models) <= MOST_TOLD_ALL and not self.reference_given

    def comparisons(self, metric: str) -> int:
        """Returns the number of comparisons for which the reported p-values of a metric are corrected."""
        return sum(not math.isnan(pair.difference.p) for pair in self.reported_pairs(metric))

    def reported_pairs(self, metric: str) -> list[Pair]:
        """Returns the pairs of one metric that are described in words; in pairs with the reference it comes second."""
        return self._reported([pair for pair in self.pairs if pair.metric == metric])

    def reported_label_pairs(self, metric: str) -> list[Pair]:
        """Returns the pairs of one metric that are described in words, for each label of a multi-label task."""
        return self._reported([pair for pair in self.label_pairs if pair.metric == metric])

    def reported_fold_pairs(self, metric: str) -> list[Pair]:
        """Returns the pairs of one metric on average over the folds that are described in words."""
        found = () if self.over_folds is None else self.over_folds.pairs
        return self._reported([pair for pair in found if pair.metric == metric])

    def _reported(self, pairs: list[Pair]) -> list[Pair]:
        if self.reports_all_pairs:
            return pairs
        chosen = [pair for pair in pairs if self.reference in (pair.first, pair.second)]
        return [pair.seen_from(pair.second if pair.first == self.reference else pair.first) for pair in chosen]

    def reported_p(self, pair: Pair) -> float:
        """Returns the p-value of a pair, corrected for the pairs that are described in words."""
        return pair.corrected if self.reports_all_pairs else pair.corrected_against_reference

    def models_table(self) -> pd.DataFrame:
        """Returns one row per model."""
        return pd.DataFrame([model.to_row() for model in self.models])

    def pairs_table(self) -> pd.DataFrame:
        """Returns one row per pair and metric."""
        return pd.DataFrame([pair.to_row() for pair in self.pairs])

    def label_pairs_table(self) -> pd.DataFrame:
        """Returns one row per pair, metric and label."""
        return pd.DataFrame([pair.to_row() for pair in self.label_pairs])

    def sampling_tables(self) -> dict[str, pd.DataFrame]:
        """Returns the tables about other samplings by their names, where they were measured."""
        tables = {"sampling": self.sampling, "sampling_differences": self.sampling_differences}
        return {name: table for name, table in tables.items() if table is not None and not table.empty}

    def fold_tables(self) -> dict[str, pd.DataFrame]:
        """Returns the tables about the folds of cross-validations by their names; none for runs."""
        return {} if self.over_folds is None else self.over_folds.to_tables()

    def to_json(self) -> dict[str, Any]:
        """Returns everything as plain JSON content."""
        example = self.example
        return without_nan(
            {
                "data": example.config.data,
                "split": example.split,
                "samples": example.samples,
                "intervals_over": {"unit": example.basis.unit, "count": example.basis.count},
                "reference": self.reference,
                "positive_class": self.positive_class,
                "models": [{**model.to_row(), "runs": [str(run.path) for run in model.runs]} for model in self.models],
                "pairs": [pair.to_row() for pair in self.pairs],
                "label_pairs": [pair.to_row() for pair in self.label_pairs],
                "left_out": [str(run.path) for run in self.left_out],
                **{
                    name: table.to_dict("records")
                    for name, table in (self.sampling_tables() | self.fold_tables()).items()
                },
            }
        )


def compare(
    runs: Sequence[ComparedRun],
    reference: str | None = None,
    *,
    progress: Callable[[float], None] | None = None,
) -> Comparison:
    """Measures every model and tests every pair.

    Args:
        runs: Runs that ``load_runs`` returned.
        reference: Name of the model that the others are compared with; if not given, the one with the best mean of the
            leading metric on validation, a choice that does not depend on the test split.
        progress: Called with the fraction done.

    Raises:
        InputError: If there is no run, the runs' samples differ or no model has the name of the reference.
    """
    if not runs:
        raise InputError("There must be a run to compare. Received: none. Give what load_runs returns.")
    check_same_samples(runs)
    groups = group_runs(with_known_patients(runs))
    names = [group.name for group in groups]
    if reference is not None and reference not in names:
        raise InputError(f"The reference must be one of the models. Received: {reference}. {suggest(reference, names)}")
    models = []
    for place, group in enumerate(groups):
        models.append(_measure(group, runs[0].positive_class, _part(progress, place, len(groups))))
    chosen = reference or max(models, key=lambda model: _or_lowest(model.validation_value)).name
    leading = runs[0].leading
    models.sort(key=lambda model: (-_or_lowest(model.metrics[leading].value), model.name))
    return Comparison(
        models=tuple(models),
        pairs=tuple(_test_all(models, chosen)),
        reference=chosen,
        reference_given=reference is not None,
        left_out=tuple(run for group in groups for run in group.left_out),
        positive_class=runs[0].positive_class,
        label_pairs=tuple(_test_labels(models, chosen)),
    )


def _measure(group: Group, positive_class: str | None, progress: Callable[[float], None] | None) -> Model:
    measured, labels = group.runs[0].kind.measure(group.runs, positive_class=positive_class, progress=progress)
    highest = group.runs[0].highest
    metrics = {name: mean_over_runs(found, highest=highest.get(name, 1.0)) for name, found in measured.items()}
    return Model(group.name, group.runs, group.settings, measured, metrics, labels)


def _test_all(models: Sequence[Model], reference: str) -> list[Pair]:
    """Tests every pair of models on each metric that all of them have, corrected within each metric."""
    shared = [metric for metric in models[0].runs[0].tested if all(metric in model.measured for model in models)]
    return [pair for metric in shared for pair in compare_pairs(metric, ("",), models, reference)]


def _test_labels(models: Sequence[Model], reference: str) -> list[Pair]:
    """Tests every pair of models on each label, corrected within each metric for all labels together."""
    labels = tuple(models[0].labels)
    known = [set(metrics) for model in models for metrics in model.labels.values()]
    shared = sorted(set.intersection(*known)) if known else []
    return [pair for metric in shared for pair in compare_pairs(metric, labels, models, reference)]


def compare_pairs(metric: str, labels: Sequence[str], models: Sequence[Model], reference: str) -> list[Pair]:
    """Returns every pair of models with one metric, with corrected p.

    Args:
        metric: Name of the metric.
        labels: The labels to compare on; one empty name for the metric over all labels or classes.
        models: The models.
        reference: Name of one of them.
    """
    model_pairs = list(itertools.combinations(models, 2))
    return correct_pairs([_test(metric, *two, label) for label in labels for two in model_pairs], reference)


def _test(metric: str, first: Model, second: Model, label: str = "") -> Pair:
    one, other = (model.labels[label][metric] if label else model.measured[metric] for model in (first, second))
    difference, test = first.runs[0].kind.test(metric, first.runs, one, second.runs, other, label)
    return Pair(metric, first.name, second.name, one.mean, other.mean, difference, test, label=label)


def is_better(metric: str, value: float, than: float) -> bool:
    """Returns whether one value of a metric is better than another."""
    return value < than if is_lower_better(metric) else value > than


def _part(progress: Callable[[float], None] | None, place: int, count: int) -> Callable[[float], None] | None:
    return None if progress is None else lambda done: progress((place + done) / count)


def _or_lowest(value: float) -> float:
    return -math.inf if math.isnan(value) else value
