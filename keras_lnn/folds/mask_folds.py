"""Folds of segmentations: what is pooled are the measures of each image, since masks of whole data sets are large."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from keras_lnn.comparing.compared_run import ComparedRun
from keras_lnn.comparing.mask_runs import MaskRun
from keras_lnn.folds.finished import FinishedFold
from keras_lnn.folds.kinds import FoldKind

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# More boxes than these are joined by repeat.
_MOST_BOXES = 20


class MaskFolds(FoldKind):
    """Folds of models that give a class to each pixel."""

    shown = ("dice", "iou")
    readings: ClassVar[Mapping[str, str]] = {
        "dice": "Each fold's model on its own fold, a dot for each image. Boxes far apart mean that the result depends"
        " on which patients trained and which tested.",
        "spread": "The Dice of each image, all folds together. The images with the lowest ones are on the pages of the"
        " folds.",
    }
    predictions_are = "Dice, IoU, distances and pixels of each class for each image, with its fold"
    chosen = "the epoch"
    pooling = "What is pooled are the pixels and the distances of each image; masks are those of each model."
    advice = (
        "Dice and IoU of all predictions are over the pixels of all images together; within a fold they are over fewer,"
        " so that rare classes make the mean over folds less certain."
    )

    def draw(self, folds: Sequence[FinishedFold], found: Mapping[str, Any]) -> dict[str, Figure]:
        """Draws the Dice of each class and fold, and its spread over all images."""
        from keras_lnn import plots

        names = _require_masks(folds[0].read).class_names
        by_repeat = len(folds) > _MOST_BOXES
        boxes: dict[str, list[np.ndarray]] = {}
        for fold in folds:
            box = f"repeat {fold.run.repeat}" if by_repeat else fold.run.name
            boxes.setdefault(box, []).append(_require_masks(fold.read).measures.dice)
        dice = {name: np.concatenate(values) for name, values in boxes.items()}
        return {
            "dice": plots.plot_dice_by_model(dice, names),
            "spread": plots.plot_dice_spread(np.concatenate(list(dice.values())), names),
        }


def _require_masks(run: ComparedRun) -> MaskRun:
    if not isinstance(run, MaskRun):
        raise ValueError(f"Folds must be runs of segmentation models. Received: {type(run).__name__}.")
    return run
