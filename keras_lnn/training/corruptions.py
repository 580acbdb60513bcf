"""Robustness to corruptions: what a saved model predicts for noisy, blurred and otherwise damaged images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from keras_lnn.data.arrays import Split
from keras_lnn.data.corruptions import CORRUPTIONS, STRENGTHS, corrupt_images
from keras_lnn.evaluation.metrics import metric_label
from keras_lnn.files.atomic import writing_to
from keras_lnn.files.csv_tables import to_csv
from keras_lnn.files.written import OTHER_FOLDER, WrittenFiles
from keras_lnn.plots.sampling import plot_corruptions
from keras_lnn.plots.style import save_figure
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


def write_corruptions(rows: Sequence[dict[str, Any]], metric: str, title: str, folder: Path) -> dict[str, Path]:
    """Writes corruptions.csv and corruptions.png to a folder, and returns their paths.

    Args:
        rows: The rows of the table.
        metric: Name of its metric.
        title: Beginning of the picture's heading.
        folder: The folder; files that the package wrote there before are replaced.
    """
    columns = (metric, f"{metric}_low", f"{metric}_high", "relative_loss")
    table = pd.DataFrame(rows).astype(dict.fromkeys(columns, float))
    written = {"corruptions": folder / "corruptions.csv", "picture": folder / "corruptions.png"}
    files = WrittenFiles(folder, OTHER_FOLDER)
    files.require_free(written.values())
    labels = {kind: known.label for kind, known in CORRUPTIONS.items()}
    with writing_to(folder):
        with files.write(written["picture"]) as temporary:
            save_figure(plot_corruptions(table, metric, metric_label(metric), labels, title), temporary)
        files.write_text(written["corruptions"], to_csv(table))
    return written
