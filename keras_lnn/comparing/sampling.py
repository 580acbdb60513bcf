"""Models compared under different samplings of the same series."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from keras_lnn.comparing.comparison import Comparison, Model
from keras_lnn.evaluation.sampling import SampledPredictions, sampling_row
from keras_lnn.statistics.paired_tests import mean_over_runs


def with_sampling(comparison: Comparison, predicted: Mapping[Path, Sequence[SampledPredictions]]) -> Comparison:
    """Returns a comparison with the leading metric of each model under each sampling, as the mean over its seeds.

    Args:
        comparison: The comparison of the models.
        predicted: What each run predicts, by its folder, for the same samplings in the same order.
    """
    rows = [row for model in comparison.models for row in _measure(model, comparison.positive_class, predicted)]
    return dataclasses.replace(comparison, sampling=pd.DataFrame(rows))


def _measure(
    model: Model, positive_class: str | None, predicted: Mapping[Path, Sequence[SampledPredictions]]
) -> list[dict[str, Any]]:
    rows, example = [], model.runs[0]
    for every in zip(*(predicted[run.path] for run in model.runs), strict=True):
        runs = [
            dataclasses.replace(run, probabilities=one.predicted) for run, one in zip(model.runs, every, strict=True)
        ]
        measured, _ = example.kind.measure(runs, positive_class=positive_class)
        highest = example.highest.get(example.leading, 1.0)
        estimate = mean_over_runs(measured[example.leading], highest=highest)
        rows.append(sampling_row(model.name, every[0], model.seeds, example.leading, estimate))
    return rows
