"""Segmentation: a class for each pixel, with the background as class 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from keras_lnn.tasks.calibration import METHODS
from keras_lnn.tasks.decisions import decide_likeliest
from keras_lnn.tasks.task import LabelColumns, Task, build_metric

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure

    from keras_lnn.data.arrays import Split
    from keras_lnn.evaluation.class_curves import ClassCurves
    from keras_lnn.evaluation.mask_overlaps import MaskMeasures
    from keras_lnn.evaluation.masks import MaskEvaluation
    from keras_lnn.evaluation.predictions import Evaluation
    from keras_lnn.statistics import Estimate
    from keras_lnn.statistics.measurements import Measurement

# A background of nine tenths would leave a rare class a weight of hundreds, and its few pixels nearly all of the loss.
MOST_PIXEL_WEIGHT = 10.0


class SegmentationTask(Task):
    """A softmax for each pixel."""

    predicts = "masks"
    file_writer = "keras_lnn.saved.file_writers:MaskWriter"
    run_kind = "keras_lnn.comparing.mask_runs:MASK_RUNS"
    fold_kind = "keras_lnn.folds.mask_folds:MaskFolds"
    labels_are = "masks"
    resizes_labels = True
    monitors = ("val_loss", "val_dice", "val_iou", "val_accuracy")
    defaults: ClassVar[Mapping[str, Any]] = {"monitor": "val_dice", "calibration": METHODS[1]}
    # Each image has thousands of labels here, and volumes fill the memory.
    search_ranges: ClassVar[Mapping[str, tuple[Any, ...]]] = {"batch_size": (4, 8, 16, 32)}
    # One temperature, which changes no mask; a scale for each class would move the edges between them.
    calibrations = METHODS[:2]
    calibrated_samples = "pixels"
    without_sets = "neighbouring pixels depend on each other, so that nothing can be promised of each of them"
    keeps_logits = False
    prediction_noun = "masks"
    leading = "dice"
    hub_pipeline = "image-segmentation"
    hub_metrics = ("dice", "mean_iou")
    interval_words = "resampled over"
    interval_method = (
        "Intervals rest on how a metric varies over resampled images, or over resampled patients where they are known,"
        " with the quantile of Student's t."
    )
    usage: ClassVar[Mapping[str, str]] = {
        "outputs": """result["mask"]  # uint8, {pixels}: the index of each pixel's class in result["class_names"]
result["probabilities"]  # {pixels_of_classes}""",
        "predictor": "model.predict_compact(images)  # uint8, {shape}, pixel values as they are; "
        "gives class indices {pixels}, uint8\n"
        "model.predict(images)  # the probabilities, {pixels_of_classes}",
    }
    note_on_results = (
        "Means over the classes without the background; Dice and IoU are over all pixels of the split together."
    )

    def metrics(self, validation_samples: int = 4096, training_samples: int = 0) -> list[Any]:
        """Returns accuracy, pixel error, Dice and IoU, and the Dice of each class."""
        from custom_metrics import SegmentationMetrics

        results = ["accuracy", "pixel_error", "dice", "iou", "dice_per_class"]
        return [build_metric(SegmentationMetrics(results, class_names=self.class_names), self.outputs)]

    def balanced_weights(
        self, labels: np.ndarray, loss: str = "cross-entropy"
    ) -> tuple[dict[int, float] | None, np.ndarray | None]:
        """Returns for the loss how much a pixel of each class counts, at most ten times as much as without weights."""
        import numpy as np

        return None, np.minimum(self._class_weights(labels), MOST_PIXEL_WEIGHT)

    def decide(self, probabilities: Any, thresholds: Sequence[float] | None = None) -> Any:
        """Returns the likeliest class of each pixel, (...)."""
        return decide_likeliest(probabilities)

    def target_weights(
        self, logits: np.ndarray, target: int | None = None, thresholds: Sequence[float] | None = None
    ) -> np.ndarray:
        """Returns weights for the sum of a class's logits over the pixels where it is predicted, else over all pixels.

        If no class is given, it is the class beside the background that is predicted for most pixels of an image.
        """
        import numpy as np

        samples = np.arange(len(logits))
        predicted = super().target_weights(logits).reshape(len(logits), -1, logits.shape[-1])
        counts = predicted.sum(axis=1)
        chosen = np.full(len(logits), target) if target is not None else 1 + counts[:, 1:].argmax(axis=1)
        nowhere = counts[samples, chosen] == 0
        weights = np.zeros_like(predicted)
        weights[samples, :, chosen] = np.where(nowhere[:, None], 1, predicted[samples, :, chosen])
        return weights.reshape(logits.shape)

    def describe_label(self, label: Any) -> str:
        """Returns the names of the classes besides the background that a mask has."""
        import numpy as np

        return ", ".join(self.class_names[index] for index in np.unique(label[label > 0])) or "-"

    def measure(
        self,
        split: Split,
        predicted: np.ndarray,
        thresholds: Sequence[float] | None = None,
        positive_class: str | None = None,
    ) -> MaskEvaluation:
        """Measures masks, of the shape of the images without their channels."""
        from keras_lnn.evaluation.masks import evaluate_masks

        return evaluate_masks(
            split.labels, predicted, class_names=self.class_names, groups=split.groups, spacing=split.spacing
        )

    def measure_leading(
        self,
        split: Split,
        predicted: np.ndarray,
        thresholds: Sequence[float] | None = None,
        positive_class: str | None = None,
    ) -> Estimate:
        """Returns Dice with its interval, without measuring the distances between surfaces."""
        from keras_lnn.evaluation.cautions import Basis
        from keras_lnn.evaluation.mask_overlaps import measure_masks
        from keras_lnn.evaluation.masks import evaluate_measures

        measures = measure_masks(split.labels, predicted, self.class_names, with_distances=False)
        basis = Basis.of(len(split), split.groups)
        found = evaluate_measures([measures], [split.groups], background=self.class_names[0], basis=basis)
        return found.metrics[self.leading]

    def measure_with_deviations(
        self,
        split: Split,
        predicted: np.ndarray,
        thresholds: Sequence[float] | None = None,
        positive_class: str | None = None,
    ) -> dict[str, Measurement]:
        """Returns each metric with the contribution of each image or patient to its uncertainty."""
        import numpy as np

        return self.measure_parts(split, predicted, [np.ones(len(split), bool)])[0]

    def measure_parts(
        self,
        split: Split,
        predicted: np.ndarray,
        parts: Sequence[np.ndarray],
        thresholds: Sequence[float] | None = None,
        positive_class: str | None = None,
    ) -> list[dict[str, Measurement]]:
        """Returns the metrics of several parts of a split, whose images are measured once."""
        from keras_lnn.evaluation.mask_overlaps import measure_masks
        from keras_lnn.evaluation.masks import measure_with_deviations

        measures = measure_masks(split.labels, predicted, self.class_names, split.spacing)
        return [measure_with_deviations(measures.take(part), split.take_labels(part).groups) for part in parts]

    def tabulate(self, split: Split, predicted: np.ndarray, found: Evaluation | None, split_name: str) -> pd.DataFrame:
        """Returns one row per image with its measures and its pixels of each class; masks are not kept."""
        from keras_lnn.tasks.prediction_tables import tabulate_measures

        return tabulate_measures(split, measures_of(found), split_name)

    def count_labels(self, labels: np.ndarray) -> dict[str, int]:
        """Returns the number of images that show each class besides the background."""
        pixels = labels.reshape(len(labels), -1)
        return {name: int((pixels == place).any(axis=1).sum()) for place, name in enumerate(self.class_names) if place}

    def find_hard_cases(
        self, path: Path, split_name: str, thresholds: Sequence[float] | None = None, count: int = 10
    ) -> list[dict[str, str]]:
        """Returns the images with the lowest mean Dice of their classes, and the Dice of each class."""
        from keras_lnn.tasks.hard_cases import find_worst_masks

        return find_worst_masks(path, split_name, self.class_names[1:], count)

    def draw_images(self, split: Split) -> Figure:
        """Draws a few images and their masks."""
        from keras_lnn import plots

        return plots.plot_mask_samples(split.images, split.labels, self.class_names, split.names)

    def draw_epochs(
        self, history: pd.DataFrame, best_epoch: int | None, curves: ClassCurves | None
    ) -> dict[str, Figure]:
        """Draws Dice of each class over the epochs."""
        from keras_lnn import plots

        return {"dice": plots.plot_dice_history(history, self.class_names[1:], best_epoch)}

    def draw_test(
        self,
        split: Split,
        predicted: np.ndarray,
        found: Evaluation,
        thresholds: Sequence[float] | None = None,
        positive_class: str | None = None,
        uncalibrated: np.ndarray | None = None,
    ) -> dict[str, Figure]:
        """Draws masks on their images, the best and the worst ones, and how their Dice is spread."""
        from keras_lnn import plots

        dice = measures_of(found).dice
        cases = plots.MaskCases(split.images, split.labels, predicted, self.class_names, dice, split.names)
        return {
            "overlays": plots.plot_mask_overlays(cases),
            "gallery": plots.plot_mask_gallery(cases),
            "spread": plots.plot_dice_spread(dice, self.class_names[1:]),
        }

    def draw_ensemble(
        self,
        split: Split,
        predicted: np.ndarray,
        found: Evaluation,
        members: Sequence[np.ndarray],
        positive_class: str | None = None,
        uncalibrated: np.ndarray | None = None,
    ) -> dict[str, Figure]:
        """Draws what :meth:`draw_test` draws: the masks of the members are not compared in pictures."""
        return self.draw_test(split, predicted, found, positive_class=positive_class)

    @classmethod
    def label_columns(cls, entries: Mapping[str, Any]) -> LabelColumns:
        """Returns overlap and distance of a class, and in how many images it is missed or invented."""
        distance = {"hd95_mm": "HD95 (mm)"} if "hd95_mm" in entries else {"hd95": "HD95 (pixels)"}
        return LabelColumns(
            "class",
            {"support": "images", "missed": "missed", "invented": "invented"},
            {"dice": "Dice", "dice_per_image": "Dice by image", "iou": "IoU", **distance},
        )

    def compact(self, probabilities: Any) -> np.ndarray:
        """Returns the likeliest class of each pixel, uint8.

        The probabilities of all pixels of a split would be some dozen times as large.
        """
        import numpy as np
        from keras import ops

        return ops.convert_to_numpy(self.decide(probabilities)).astype(np.uint8)

    def output_shape(self, image_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of the image with the classes in the place of its channels."""
        return (*image_shape[:-1], self.outputs)

    def describe_decision(self, image_shape: tuple[int, ...]) -> dict[str, Any]:
        """Returns what a signature says of masks."""
        return {"name": "mask", "dtype": "uint8", "shape": [None, *image_shape[:-1]], "values": "class indices"}

    def serve(self, probabilities: Any, thresholds: Sequence[float] | None) -> dict[str, Any]:
        """Returns the masks, uint8."""
        from keras import ops

        return {"mask": ops.cast(self.decide(probabilities), "uint8")}

    def read_served(self, served: Mapping[str, Any]) -> np.ndarray:
        """Returns the masks of an exported model."""
        import numpy as np

        return np.asarray(served["mask"])


def measures_of(found: Evaluation | None) -> MaskMeasures:
    """Returns what was measured of each image; raises an error where no masks were measured."""
    from keras_lnn.evaluation.masks import MaskEvaluation

    if not isinstance(found, MaskEvaluation):
        raise ValueError(f"Masks must have been measured. Received: {type(found).__name__}. Call measure first.")
    return found.measures
