"""Classification of whole images: one class of two, of several or of ordered ones, or several labels to an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from keras_lnn.tasks.calibration import METHODS
from keras_lnn.tasks.decisions import CLASSIFICATIONS
from keras_lnn.tasks.task import PROBABILITY_LOSSES, LabelColumns, Task, build_metric
from keras_lnn.tasks.thresholds import TUNED

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure

    from keras_lnn.data.arrays import Split
    from keras_lnn.evaluation.class_curves import ClassCurves
    from keras_lnn.evaluation.predictions import Evaluation
    from keras_lnn.statistics.measurements import Measurement

# A look at the training images shows so many.
_IMAGES_SHOWN, _OF_A_CLASS_SHOWN, _CLASSES_SHOWN = 24, 6, 24
# Of series, each of which takes a row of frames, so many.
_SERIES_SHOWN, _SERIES_OF_A_CLASS_SHOWN, _CLASSES_OF_SERIES_SHOWN = 12, 3, 12
# An update of the metrics copies all scores that are kept: so many, 8 MiB with their labels, take it 1 to 2 ms.
MOST_KEPT_SCORES = 2**20


class SingleLabelTask(Task):
    """One class to an image; ordered classes are treated like others, as MedMNIST's evaluator does."""

    labels_are = "classes"
    # What is recorded after each epoch, results of ``custom_metrics``; each can be monitored.
    epoch_results = ("accuracy", "f1", "auc")
    monitors = ("val_loss", *(f"val_{name}" for name in epoch_results), "val_score")
    defaults: ClassVar[Mapping[str, Any]] = {"monitor": "val_auc", "calibration": METHODS[1]}
    calibrations = METHODS
    usage: ClassVar[Mapping[str, str]] = {
        "outputs": """result["probabilities"]  # (samples, {classes}), in the order of result["class_names"]
result["predicted"]  # bool, of the same shape: whether each class is predicted, by the thresholds above or 0.5""",
        "predictor": "model.predict(images)  # uint8, {shape}, pixel values as they are; gives (samples, {classes})",
    }

    def metrics(self, validation_samples: int = 4096, training_samples: int = 0) -> list[Any]:
        """Returns accuracy, F1, AUC and score, and the counts of classes.

        The AUC of validation, which chooses the best epoch, is exact for up to a million scores (samples times outputs,
        one for two classes); that of training for up to an eighth of it. Beyond, it comes from a histogram.

        Args:
            validation_samples: Size of the validation split.
            training_samples: Size of the training split.
        """
        from keras_lnn.tasks.score import ScoredMetrics

        # Ordered classes have no metrics of their own.
        kind = "multi-class" if self.kind == "ordinal" else self.kind
        most = MOST_KEPT_SCORES // self._scores()
        limits = (validation_samples, most), (training_samples, most // 8)
        exact = max((samples for samples, limit in limits if samples <= limit), default=0)
        options: dict[str, Any] = {"from_logits": True, "keep_confusion": True, "exact_samples": exact}
        metric = ScoredMetrics(kind, list(self.epoch_results), **options)
        return [build_metric(metric, self._scores())]

    def _scores(self) -> int:
        """Returns how many scores of an image the metrics keep."""
        return self.outputs

    def balanced_weights(
        self, labels: np.ndarray, loss: str = "cross-entropy"
    ) -> tuple[dict[int, float] | None, np.ndarray | None]:
        """Returns class weights for ``fit``; weights for the loss where it is one of the probabilities of a batch."""
        weights = self._class_weights(labels)
        return (None, weights) if loss in PROBABILITY_LOSSES else (dict(enumerate(weights.tolist())), None)

    def decide(self, probabilities: Any, thresholds: Sequence[float] | None = None) -> Any:
        """Returns the class (...), or for several labels whether each is predicted (..., labels)."""
        return CLASSIFICATIONS[self.kind](probabilities, thresholds)

    def describe_label(self, label: Any) -> str:
        """Returns the name of the class."""
        return self.class_names[label]

    def measure(
        self,
        split: Split,
        predicted: np.ndarray,
        thresholds: Sequence[float] | None = None,
        positive_class: str | None = None,
    ) -> Evaluation:
        """Measures probabilities, (samples, classes or labels)."""
        from keras_lnn.data.arrays import name_samples
        from keras_lnn.evaluation.predictions import evaluate_predictions

        return evaluate_predictions(
            split.labels,
            predicted,
            task=self.kind,
            class_names=self.class_names,
            thresholds=thresholds,
            groups=split.groups,
            positive_class=positive_class,
            samples=name_samples(split.images),
        )

    def measure_with_deviations(
        self,
        split: Split,
        predicted: np.ndarray,
        thresholds: Sequence[float] | None = None,
        positive_class: str | None = None,
    ) -> dict[str, Measurement]:
        """Returns each metric with the contribution of each sample or patient to its uncertainty."""
        from keras_lnn.evaluation.checked import CheckedPredictions
        from keras_lnn.evaluation.predictions import measure_predictions

        about = (self.kind, self.class_names, thresholds, positive_class)
        return measure_predictions(CheckedPredictions.checked(split.labels, predicted, *about), split.groups)[0]

    def tabulate(self, split: Split, predicted: np.ndarray, found: Evaluation | None, split_name: str) -> pd.DataFrame:
        """Returns one row per sample with the truth and the probability of each class or label."""
        from keras_lnn.tasks.prediction_tables import tabulate_probabilities

        return tabulate_probabilities(split, predicted, self.class_names, split_name, self.exclusive)

    def count_labels(self, labels: np.ndarray) -> dict[str, int]:
        """Returns the number of images of each class."""
        return {name: int((labels == place).sum()) for place, name in enumerate(self.class_names)}

    def find_hard_cases(
        self, path: Path, split_name: str, thresholds: Sequence[float] | None = None, count: int = 10
    ) -> list[dict[str, str]]:
        """Returns the surest wrong predictions; for several labels the labels that are most surely wrong."""
        from keras_lnn.tasks.hard_cases import find_wrong_predictions

        return find_wrong_predictions(path, split_name, self.kind, self.class_names, thresholds, count)

    def count_epochs(self, confusion: Sequence[np.ndarray], last_epoch: int) -> ClassCurves | None:
        """Returns which class was taken for which after each epoch; None where that was not counted."""
        from keras_lnn.evaluation.class_curves import ClassCurves

        return ClassCurves(confusion, last_epoch, self.class_names) if confusion else None

    def draw_epochs(
        self, history: pd.DataFrame, best_epoch: int | None, curves: ClassCurves | None
    ) -> dict[str, Figure]:
        """Draws the accuracy of each class or label over the epochs, and how they correlate."""
        from keras_lnn import plots

        if curves is None:
            return {}
        accuracy = curves.accuracy()
        return {
            "class_accuracy": plots.plot_class_accuracy(accuracy, best_epoch, curves.multi_label),
            "class_correlation": plots.plot_class_correlation(curves.correlation(), len(accuracy)),
        }

    def draw_images(self, split: Split) -> Figure:
        """Draws a few images of each class or label."""
        from keras_lnn import plots

        shown, of_a_class, classes = _IMAGES_SHOWN, _OF_A_CLASS_SHOWN, _CLASSES_SHOWN
        if split.series is not None:
            shown, of_a_class, classes = _SERIES_SHOWN, _SERIES_OF_A_CLASS_SHOWN, _CLASSES_OF_SERIES_SHOWN
        limits = {"count": max(1, min(of_a_class, shown // self.outputs)), "most_classes": classes}
        return plots.plot_contact_sheet(split.images, split.labels, self.class_names, title="Training", **limits)

    def draw_test(
        self,
        split: Split,
        predicted: np.ndarray,
        found: Evaluation,
        thresholds: Sequence[float] | None = None,
        positive_class: str | None = None,
        uncalibrated: np.ndarray | None = None,
    ) -> dict[str, Figure]:
        """Draws curves, confusion, calibration and examples of the test split."""
        from keras_lnn import plots
        from keras_lnn.data.arrays import name_samples
        from keras_lnn.files.atomic import without_nan

        examples = "series" if name_samples(split.images) == "series" else "examples"
        about = (split.labels, predicted, self.kind, self.class_names)
        calibration = found.metrics["expected_calibration_error"].value
        return {
            "labels": plots.plot_labels(without_nan(found.per_class_to_json()), len(split)),
            "roc": plots.plot_roc(*about, positive_class),
            "precision_recall": plots.plot_precision_recall(*about, positive_class),
            "confusion": plots.plot_confusion(*about, thresholds),
            "reliability": plots.plot_reliability(
                *about, expected_calibration_error=calibration, uncalibrated=uncalibrated, groups=split.groups
            ),
            examples: plots.plot_examples(split.images, *about, names=split.names, thresholds=thresholds),
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
        """Draws the ROC curve over those of the members, and the calibration."""
        from keras_lnn import plots
        from keras_lnn.plots.ensembles import plot_ensemble_roc

        about = (self.kind, self.class_names)
        error = found.metrics["expected_calibration_error"].value
        return {
            "roc": plot_ensemble_roc(split.labels, predicted, members, *about, positive_class),
            "reliability": plots.plot_reliability(
                split.labels, predicted, *about, expected_calibration_error=error, uncalibrated=uncalibrated
            ),
        }

    @classmethod
    def label_columns(cls, entries: Mapping[str, Any]) -> LabelColumns:
        """Returns AUC, average precision and F1; with thresholds F1 at them too."""
        tuned = "threshold" in entries
        columns = {"auc": "AUC", "average_precision": "AP", "f1": "F1 above 0.5" if tuned else "F1"}
        columns |= {f"f1{TUNED}": "F1 above threshold"} if tuned else {}
        return LabelColumns("label", {"support": "samples"}, columns)


class BinaryTask(SingleLabelTask):
    """One of two classes, which are two softmax outputs, as in the published networks."""

    most_classes = 2
    # The point farthest from chance.
    threshold_rule = "youden"
    has_positive_class = True

    def _scores(self) -> int:
        return 1

    def target_weights(
        self, logits: np.ndarray, target: int | None = None, thresholds: Sequence[float] | None = None
    ) -> np.ndarray:
        """Returns weights of 1 and -1: the number that is explained is the class's logit minus that of the other."""
        return 2 * super().target_weights(logits, target, thresholds) - 1


class MultiLabelTask(SingleLabelTask):
    """Several labels to an image, one sigmoid each."""

    labels_are = "several labels"
    fewest_classes = 1
    without_sets = "each label is predicted on its own, so that there is no one class that a set could contain"
    exclusive = False
    # A label that is rare has so many negatives that specificity hides false alarms.
    threshold_rule = "f1"

    @property
    def activation(self) -> str:
        """Returns what turns logits into probabilities, ``softmax`` or ``sigmoid``."""
        return "sigmoid"

    def _loss_of_logits(self, name: str, weights: list[float] | None) -> Any:
        from keras_lnn import losses

        shape = {"cross-entropy": (), "focal": losses.FOCAL, "asymmetric": losses.ASYMMETRIC}[name]
        return losses.MultiLabelCrossentropy(*shape, positive_weights=weights)

    def balanced_weights(
        self, labels: np.ndarray, loss: str = "cross-entropy"
    ) -> tuple[dict[int, float] | None, np.ndarray | None]:
        """Returns for the loss how much a positive of each label counts: its negatives by its positives."""
        import numpy as np

        positives = labels.sum(axis=0)
        return None, (len(labels) - positives) / np.maximum(positives, 1)

    def renumber(self, labels: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Returns labels with each one in its new column, (labels,); one that stands for several is there with any."""
        import numpy as np

        renumbered = np.zeros((len(labels), places.max() + 1), labels.dtype)
        for column, place in enumerate(places):
            renumbered[:, place] |= labels[:, column]
        return renumbered

    def probabilities(self, logits: Any) -> Any:
        """Returns the sigmoid of each calibrated logit, in float32."""
        from keras import ops

        return ops.sigmoid(self._calibrated(logits))

    def target_weights(
        self, logits: np.ndarray, target: int | None = None, thresholds: Sequence[float] | None = None
    ) -> np.ndarray:
        """Returns weights for the logit of a label, of the most probable one if none is given.

        With one label only, the predicted side is explained: where the label is not predicted, its weight is -1.
        """
        weights = super().target_weights(logits, target, thresholds)
        if target is not None or self.outputs > 1:
            return weights
        return weights * (2 * super()._predicted_target(logits, thresholds) - 1).astype(weights.dtype)

    def _predicted_target(self, logits: np.ndarray, thresholds: Sequence[float] | None) -> np.ndarray:
        return logits.argmax(axis=-1)

    def truth_probabilities(self, labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """Returns the mean over the labels of how probable their presence or absence was found."""
        import numpy as np

        return np.where(labels.astype(bool), probabilities, 1 - probabilities).mean(axis=1)

    def name_decision(self, decision: Any) -> Any:
        """Returns the names of the labels that each image has, with | between them."""
        import numpy as np

        names = np.array(self.class_names)
        return ["|".join(names[row]) for row in decision]

    def describe_label(self, label: Any) -> str:
        """Returns the names of the labels."""
        import numpy as np

        return ", ".join(self.class_names[index] for index in np.flatnonzero(label)) or "no label"

    def count_labels(self, labels: np.ndarray) -> dict[str, int]:
        """Returns the number of images with each label."""
        return {name: int(count) for name, count in zip(self.class_names, labels.astype(int).sum(axis=0), strict=True)}

    def count_epochs(self, confusion: Sequence[np.ndarray], last_epoch: int) -> ClassCurves | None:
        """Returns for how many images each label was rightly given after each epoch; None where not counted."""
        from keras_lnn.evaluation.class_curves import ClassCurves

        return ClassCurves(confusion, last_epoch, self.class_names, multi_label=True) if confusion else None

    @classmethod
    def show_metrics(cls, labels: dict[str, str], metrics: Mapping[str, Any], split: str) -> dict[str, str]:
        """Returns accuracy last, beside that of never predicting any label: rare labels make it look good."""
        supports = [entries["support"] for entries in metrics["per_class"][split].values()]
        never = 1 - sum(supports) / (len(supports) * metrics["intervals_over"][split]["images"])
        for name in [name for name in labels if name.removesuffix(TUNED) == "accuracy"]:
            labels[name] = f"{labels.pop(name)}, over all labels"
        labels["accuracy"] += f" (if none is ever predicted: {never:.4f})"
        return labels

    def serve(self, probabilities: Any, thresholds: Sequence[float] | None) -> dict[str, Any]:
        """Returns whether each label is predicted."""
        return {"predicted": self.decide(probabilities, thresholds)}
