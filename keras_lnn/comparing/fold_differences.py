"""Cross-validations compared on average over their folds, beside the comparison of all their predictions."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from keras_lnn.comparing.comparison import FOLD_COLUMNS, Comparison, FoldComparison, Model
from keras_lnn.comparing.cross_validations import CrossValidation
from keras_lnn.comparing.pairs import Pair, correct_pairs
from keras_lnn.statistics.folds import mean_over_folds
from keras_lnn.statistics.paired_tests import RESAMPLED, compare_resampled


def with_folds(comparison: Comparison) -> Comparison:
    """Returns a comparison of cross-validations with what the models are on average over the folds.

    On each fold both models are measured on the same samples after they learned from the same others, so the
    differences of the folds are those of two ways to train, on several splits.

    Args:
        comparison: The comparison of all predictions, whose runs are whole cross-validations.
    """
    metrics = [name for name in comparison.example.tested if name in comparison.metrics]
    values = {model.name: _measure_folds(model, comparison.positive_class, metrics) for model in comparison.models}
    ratio = float(np.mean([run.test_over_train for model in comparison.models for run in _cross_validations(model)]))
    highest = comparison.example.highest
    means = {
        name: {
            metric: mean_over_folds(table[metric].to_numpy(), ratio, highest=highest.get(metric, 1.0))
            for metric in metrics
        }
        for name, table in values.items()
    }
    pairs = []
    for metric in metrics:
        found = [_compare(metric, *two, values, ratio) for two in itertools.combinations(values, 2)]
        pairs += correct_pairs(found, comparison.reference)
    rows = pd.concat([table.reset_index().assign(model=name) for name, table in values.items()], ignore_index=True)
    rows = rows[["model", *FOLD_COLUMNS, *metrics]]
    return dataclasses.replace(comparison, over_folds=FoldComparison(rows, means, tuple(pairs), ratio))


def _measure_folds(model: Model, positive_class: str | None, metrics: Sequence[str]) -> pd.DataFrame:
    """Returns the metrics of a model on each fold; cross-validations with other seeds are averaged."""
    rows = []
    for run in _cross_validations(model):
        for repeat, part in enumerate(run.repeats):
            for place, fold in enumerate(part.folds):
                measured, _ = fold.kind.measure([fold], positive_class=positive_class)
                values = {metric: measured[metric].mean for metric in metrics}
                rows.append({"repeat": repeat + 1, "fold": place + 1, **values})
    return pd.DataFrame(rows).groupby(FOLD_COLUMNS).mean()


def _compare(metric: str, first: str, second: str, values: dict[str, pd.DataFrame], ratio: float) -> Pair:
    """Returns the mean difference of two models over the folds in which both have the metric."""
    both = pd.DataFrame({"one": values[first][metric], "other": values[second][metric]}).dropna()
    difference = compare_resampled((both["one"] - both["other"]).to_numpy(), ratio)
    return Pair(metric, first, second, float(both["one"].mean()), float(both["other"].mean()), difference, RESAMPLED)


def _cross_validations(model: Model) -> list[CrossValidation]:
    return [run for run in model.runs if isinstance(run, CrossValidation)]
