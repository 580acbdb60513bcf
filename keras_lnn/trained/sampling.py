"""Robustness to sampling: what saved models predict for series of which frames are left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_lnn.data.arrays import SeriesArray, Split
from keras_lnn.data.thinning import list_samplings
from keras_lnn.errors import InputError
from keras_lnn.evaluation.sampling import SampledPredictions, sampling_row
from keras_lnn.saved.predictor import Predictor, read_as_steps
from keras_lnn.saved.signature import Signature
from keras_lnn.training.report import measure_leading


def predict_samplings(
    predictor: Predictor,
    parts: Sequence[Split],
    predicted: np.ndarray | None = None,
    denser: SeriesArray | None = None,
) -> list[SampledPredictions]:
    """Returns what a model predicts for series under each sampling.

    Args:
        predictor: The model.
        parts: Its samples, in one part or several.
        predicted: What it predicts for them with all frames; predicted if not given.
        denser: The same series at twice the frame rate, where there are some.
    """
    series = [part.series for part in parts if part.series is not None]
    if len(series) < len(parts):
        raise InputError("--sampling is for data of series of images in time. Received: images. Leave it out.")

    def predict(sampled: Sequence[SeriesArray]) -> np.ndarray:
        return np.concatenate([predictor.predict_compact(images) for images in sampled])

    whole = predict(series) if predicted is None else predicted
    found = []
    for sampling in list_samplings(denser=denser is not None):
        is_denser = sampling.needs_denser and denser is not None
        sampled = [denser] if is_denser else [sampling.apply(images) for images in series]
        frames = float(np.concatenate([images.lengths for images in sampled]).mean())
        if is_denser:
            result = read_as_steps(predictor, denser.steps).predict_compact(denser)
        else:
            result = whole if sampling.keeps_all else predict(sampled)
        found.append(SampledPredictions(sampling.kind, sampling.amount, frames, result))
    return found


def measure_samplings(
    model: str, measured: Split, signature: Signature, samplings: Sequence[SampledPredictions]
) -> list[dict[str, Any]]:
    """Returns the leading metric of one model under each sampling, as the rows of sampling.csv.

    Args:
        model: Name of the model.
        measured: The labels, and the patients where they are known.
        signature: Signature of the model.
        samplings: What the model predicts.
    """
    metric, rows = signature.get_task().leading, []
    for sampled in samplings:
        estimate = measure_leading(measured, sampled.predicted, signature)
        rows.append(sampling_row(model, sampled, 1, metric, estimate))
    return rows
