"""Robustness to corruptions: what a saved model predicts for noisy, blurred and otherwise damaged images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_lnn.data.arrays import Split
from keras_lnn.data.corruptions import CORRUPTIONS, STRENGTHS, corrupt_images
from keras_lnn.saved.predictor import Predictor
from keras_lnn.saved.signature import Signature
from keras_lnn.training.report import measure_leading


def measure_corruptions(
    model: str,
    predictor: Predictor,
    parts: Sequence[Split],
    measured: Split,
    predicted: np.ndarray,
    signature: Signature,
    *,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> list[dict[str, Any]]:
    """Returns the leading metric of one model under each corruption at each strength, as the rows of corruptions.csv.

    Args:
        model: Name of the model.
        predictor: The model.
        parts: Its samples, in one part or several.
        measured: The labels of all parts, and the patients where they are known.
        predicted: What the model predicts for the images as they are, which is strength 0.
        signature: Signature of the model.
        seed: Seed of what is random in corruptions.
        progress: Called with the fraction done.

    Returns:
        One row per corruption and strength, with the metric, its interval and ``relative_loss``, the share of the
        metric that is lost.
    """
    metric, rows = signature.get_task().leading, []
    whole = measure_leading(measured, predicted, signature)
    for number, kind in enumerate(CORRUPTIONS):
        for strength in (0, *STRENGTHS):
            estimate = whole
            if strength:
                found = [predictor.predict_compact(corrupt_images(part.images, kind, strength, seed)) for part in parts]
                estimate = measure_leading(measured, np.concatenate(found), signature)
            if progress is not None:
                progress((number + strength / len(STRENGTHS)) / len(CORRUPTIONS))
            row = {"model": model, "corruption": kind, "strength": strength, metric: estimate.value}
            row |= {f"{metric}_low": estimate.low, f"{metric}_high": estimate.high}
            rows.append(row | {"relative_loss": 1 - estimate.value / whole.value if whole.value else None})
    return rows
