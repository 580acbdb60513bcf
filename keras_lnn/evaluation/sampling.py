"""The rows of a table that shows a metric under different samplings of the same series."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from keras_lnn.statistics import Estimate


class SampledPredictions(NamedTuple):
    """What a model predicts for series that are sampled in one way.

    Args:
        kind: How frames are left out.
        amount: How many.
        frames: Mean number of frames that are left of a series.
        predicted: The predictions of the model.
    """

    kind: str
    amount: float
    frames: float
    predicted: np.ndarray


def sampling_row(
    model: str, sampled: SampledPredictions, seeds: int, metric: str, estimate: Estimate
) -> dict[str, Any]:
    """Returns the row of sampling.csv for one model under one sampling.

    Args:
        model: Name of the model.
        sampled: The sampling.
        seeds: Number of runs that the estimate is the mean of.
        metric: Name of the metric.
        estimate: Its value with its interval.
    """
    row: dict[str, Any] = {"model": model, "sampling": sampled.kind, "amount": sampled.amount}
    row |= {"mean_frames": round(sampled.frames, 2), "seeds": seeds, metric: estimate.value}
    return row | {f"{metric}_low": estimate.low, f"{metric}_high": estimate.high}
