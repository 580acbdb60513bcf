"""What a run of masks leaves beside the files of every run: a row an image, and pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from keras_lnn import plots
from keras_lnn.evaluation.masks import metric_name
from keras_lnn.statistics.bootstrap import defined_mean

if TYPE_CHECKING:
    from keras_lnn.data.arrays import Split
    from keras_lnn.evaluation.mask_overlaps import MaskMeasures
    from keras_lnn.evaluation.masks import MaskEvaluation
    from keras_lnn.saved.signature import Signature


def measures_table(split: Split, measures: MaskMeasures, split_name: str) -> pd.DataFrame:
    """One row an image: its index, file and patient where known, what it measures, and of each class its pixels.

    Cells are empty where there is nothing to measure: Dice and IoU of a class that is neither there nor predicted, and
    distances of a class that is not both.
    """
    columns: dict[str, Any] = {"split": split_name, "index": np.arange(len(split))}
    if split.names is not None:
        columns["file"] = list(split.names)
    if split.groups is not None:
        columns["patient"] = list(split.groups)
    columns |= {"dice": measures.mean_dice(), "iou": defined_mean(measures.iou.T)}
    columns["pixel_error"] = measures.wrong / measures.pixels
    of_classes = {
        "dice": measures.dice,
        "iou": measures.iou,
        metric_name("hd95", measures): measures.hausdorff,
        metric_name("surface_distance", measures): measures.surface,
        "pixels": measures.truth.astype(np.int64),
        "predicted_pixels": measures.predicted.astype(np.int64),
        "common_pixels": measures.common.astype(np.int64),
    }
    for place, name in enumerate(measures.class_names):
        columns |= {f"{metric} {name}": values[:, place] for metric, values in of_classes.items()}
    return pd.DataFrame(columns)


def draw_masks(
    history: pd.DataFrame, signature: Signature, test: Split, answers: np.ndarray | None, found: MaskEvaluation | None
) -> dict[str, Any]:
    """Draws Dice of each class over the epochs and, where the run was tested, masks on their images and their Dice."""
    names = signature.class_names
    figures = {"dice": plots.plot_dice_history(history, names[1:], signature.best_epoch)}
    if answers is None or found is None:
        return figures
    dice = found.measures.dice
    cases = plots.MaskCases(test.images, test.labels, answers, names, dice, test.names)
    return figures | {
        "overlays": plots.plot_mask_overlays(cases),
        "gallery": plots.plot_mask_gallery(cases),
        "spread": plots.plot_dice_spread(dice, names[1:]),
    }
