"""The interface of a task, which training, evaluation, prediction and export use."""

from __future__ import annotations

import abc
import dataclasses
import pkgutil
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from keras_lnn.errors import InputError
from keras_lnn.tasks.calibration import METHODS, Calibration
from keras_lnn.tasks.decisions import are_thresholds, positive_index, require_positive_class

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure

    from keras_lnn.data.arrays import Split
    from keras_lnn.evaluation.class_curves import ClassCurves
    from keras_lnn.evaluation.predictions import Evaluation
    from keras_lnn.statistics import Estimate
    from keras_lnn.statistics.measurements import Measurement

# Losses of probabilities, with their classes in keras_lnn.losses; these weigh the classes themselves.
PROBABILITY_LOSSES = {
    "bce-dice": "keras_lnn.losses:BinaryCrossentropyDice",
    "focal-tversky": "keras_lnn.losses:FocalTversky",
    "soft-f1": "keras_lnn.losses:SoftF1",
    "mean-squared-error": "keras_lnn.losses:ProbabilitySquaredError",
}
# Losses of logits, which tasks know themselves.
LOSSES = ("cross-entropy", "focal", "asymmetric")


def list_losses() -> tuple[str, ...]:
    """Returns the names of all losses."""
    return (*LOSSES, *PROBABILITY_LOSSES)


@dataclasses.dataclass(frozen=True)
class LabelColumns:
    """The columns of the table of classes or labels on the terminal.

    Args:
        noun: The heading of the rows, ``class`` or ``label``.
        counts: Heading of each count by its name in the results.
        estimates: Heading of each metric by its name in the results.
    """

    noun: str
    counts: Mapping[str, str]
    estimates: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Task(abc.ABC):
    """What a network learns; models give logits, which a softmax turns into probabilities if a task says nothing else.

    A task of a new kind is a subclass in a file of this package and a line in the table of ``keras_lnn.tasks.kinds``,
    which is also where tasks are made.

    Args:
        kind: The name of the kind in the table.
        class_names: One name for each class or label.
        calibration: What is done to the logits of a model before they become probabilities; None for nothing.

    Attributes:
        predicts: What a model must give a class to: to whole images (``classes``) or to each pixel (``masks``).
        file_writer: The class of ``keras_lnn.saved.file_writers`` that writes its predictions for image files, as
            ``module:name``, since only prediction imports it.
        run_kind: How a comparison reads and measures its runs, the ``module:name`` of a
            :class:`~keras_lnn.comparing.compared_run.RunKind`, which only a comparison imports.
        labels_are: What an image is labelled with, in words; data are measured by models of the same words only.
        monitors: The values of each epoch that can choose the best one.
        defaults: What the configuration says where neither the user nor the model's protocol does.
        search_ranges: What a search chooses from in the place of its ranges for every model.
        fewest_classes: The fewest classes or labels that it can have.
        most_classes: The most classes that it can have; None for any number.
        calibrations: The methods by which its probabilities can be calibrated.
        calibrated_samples: What a calibration is fitted on, in the plural; None for the samples themselves.
        keeps_logits: Whether the logits of a whole split are few enough to keep.
        fold_kind: How a cross-validation pools and draws its folds, the ``module:name`` of a
            :class:`~keras_lnn.folds.kinds.FoldKind`, which only a cross-validation imports.
        threshold_rule: How the thresholds of its decisions are chosen on validation where nobody says how; None where
            decisions are made without.
        without_sets: Why its predictions have neither sets of classes nor a referral; None where they can have both.
        exclusive: Whether an image or a pixel has exactly one of the classes.
        resizes_labels: Whether labels get the size of the images, so that they depend on how these are fitted to it.
        has_positive_class: Whether sensitivity, precision and F1 speak of one of its classes.
        prediction_noun: What it predicts, in the plural.
        leading: The metric that says most of a model, by which models are sorted.
        hub_pipeline: What model hubs call the task, and ``hub_metrics`` the metrics that they know of it.
        interval_words: How intervals come about, before ``400 test images``.
        interval_method: By which methods intervals come about, in a sentence.
        usage: What follows the loading of an exported model in an example of its use, for a model that gives named
            ``outputs`` and for a ``predictor`` of this package.
        note_on_results: A sentence below the table of results; None where there is nothing to say.
    """

    kind: str
    class_names: tuple[str, ...]
    calibration: Calibration | None = None

    predicts: ClassVar[str] = "classes"
    file_writer: ClassVar[str] = "keras_lnn.saved.file_writers:TableWriter"
    run_kind: ClassVar[str] = "keras_lnn.comparing.measuring:CLASS_RUNS"
    labels_are: ClassVar[str]
    monitors: ClassVar[tuple[str, ...]]
    defaults: ClassVar[Mapping[str, Any]] = types.MappingProxyType({})
    search_ranges: ClassVar[Mapping[str, tuple[Any, ...]]] = types.MappingProxyType({})
    fewest_classes: ClassVar[int] = 2
    most_classes: ClassVar[int | None] = None
    calibrations: ClassVar[tuple[str, ...]] = METHODS[:1]
    keeps_logits: ClassVar[bool] = True
    fold_kind: ClassVar[str] = "keras_lnn.folds.class_folds:ClassFolds"
    calibrated_samples: ClassVar[str | None] = None
    threshold_rule: ClassVar[str | None] = None
    without_sets: ClassVar[str | None] = None
    exclusive: ClassVar[bool] = True
    resizes_labels: ClassVar[bool] = False
    has_positive_class: ClassVar[bool] = False
    prediction_noun: ClassVar[str] = "probabilities"
    leading: ClassVar[str] = "auc"
    hub_pipeline: ClassVar[str] = "image-classification"
    hub_metrics: ClassVar[tuple[str, ...]] = ("roc_auc", "accuracy", "f1")
    interval_words: ClassVar[str] = "over"
    interval_method: ClassVar[str] = (
        "Areas under the ROC curve have intervals by DeLong's variance (that of Obuchowski, 1997, where patients are"
        " known) and method 5 of Newcombe (2006), shares those of Agresti and Coull (1998), and other metrics those by"
        " the variance that resampling tends to. The lower end for the expected calibration error is that without what"
        " chance adds to it (Kumar et al., 2019)."
    )
    usage: ClassVar[Mapping[str, str]]
    note_on_results: ClassVar[str | None] = None

    # How it is trained.

    @classmethod
    def can_have(cls, classes: int) -> bool:
        """Returns whether there can be a task of this kind with so many classes or labels."""
        return classes >= cls.fewest_classes and (cls.most_classes is None or classes <= cls.most_classes)

    @property
    def outputs(self) -> int:
        """Returns the number of logits that a model outputs per image or pixel."""
        return len(self.class_names)

    def loss(self, name: str = "cross-entropy", weights: np.ndarray | None = None) -> Any:
        """Returns the training loss, from logits.

        ``bce-dice``, ``focal-tversky``, ``soft-f1`` and ``mean-squared-error`` are computed from the probabilities: the
        softmax of classes, the sigmoid of each label. The published BCE-Dice of two classes took the sigmoid of each
        logit instead, which leaves the sum of the two probabilities open.

        Args:
            name: ``cross-entropy``, ``focal``, for several labels ``asymmetric``, or a loss of probabilities.
            weights: How much each class counts, or for several labels a positive of each; classes of whole images get
                theirs for cross-entropy and focal from ``fit``.
        """
        weights = None if weights is None else weights.tolist()
        if name in PROBABILITY_LOSSES:
            return pkgutil.resolve_name(PROBABILITY_LOSSES[name])(self.activation, weights)
        return self._loss_of_logits(name, weights)

    @property
    def activation(self) -> str:
        """Returns what turns logits into probabilities, ``softmax`` or ``sigmoid``."""
        return "softmax"

    def _loss_of_logits(self, name: str, weights: list[float] | None) -> Any:
        import keras

        from keras_lnn import losses

        if name == "asymmetric":
            raise InputError(
                f"The asymmetric loss is for several labels per image. Received: a {self.kind} task. "
                f"Choose --loss focal or cross-entropy."
            )
        if name == "focal":
            return losses.FocalCrossentropy(class_weights=weights)
        if weights is not None:
            return losses.FocalCrossentropy(0.0, weights)
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True, name="loss")

    @abc.abstractmethod
    def metrics(self, validation_samples: int = 4096, training_samples: int = 0) -> list[Any]:
        """Returns what is shown and kept each epoch, from one state.

        Args:
            validation_samples: Size of the validation split.
            training_samples: Size of the training split.
        """

    @abc.abstractmethod
    def balanced_weights(
        self, labels: np.ndarray, loss: str = "cross-entropy"
    ) -> tuple[dict[int, float] | None, np.ndarray | None]:
        """Returns weights under which rare classes count as much as frequent ones.

        Args:
            labels: The labels of the training split.
            loss: The name of the loss to be weighted.

        Returns:
            Class weights for ``fit``, which multiplies the loss of each sample, and weights for :meth:`loss`, where a
            batch has one loss or a sample many labels or pixels; one of the two is None.
        """

    def _class_weights(self, labels: np.ndarray) -> np.ndarray:
        """Returns weights that are in inverse proportion to how often each class index occurs."""
        import numpy as np

        counts = np.bincount(labels.reshape(-1), minlength=self.outputs)
        return labels.size / (self.outputs * np.maximum(counts, 1))

    def renumber(self, labels: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Returns labels with each class at its new place, (classes,); several classes may share one."""
        return places.astype(labels.dtype)[labels]

    # What it predicts.

    def probabilities(self, logits: Any) -> Any:
        """Returns calibrated probabilities, in float32 whatever the precision of the model; tensors of any backend.

        Nothing else turns logits into probabilities: what is measured, written, served and exported comes from here.

        Args:
            logits: (..., classes or labels).
        """
        from keras import ops

        return ops.softmax(self._calibrated(logits), axis=-1)

    def _calibrated(self, logits: Any) -> Any:
        from keras import ops

        logits = ops.cast(logits, "float32")
        return logits if self.calibration is None else self.calibration.apply(logits)

    @abc.abstractmethod
    def decide(self, probabilities: Any, thresholds: Sequence[float] | None = None) -> Any:
        """Returns what is predicted, by one of the rules of ``keras_lnn.tasks.decisions``.

        Args:
            probabilities: (..., classes or labels), a NumPy array or a tensor, also within a graph.
            thresholds: One for each of two classes, which sum to one, or for each of several labels; one half if not
                given. More than two classes have none.

        Returns:
            Class indices (...), or for several labels whether each is predicted (..., labels).
        """

    def target_weights(
        self, logits: np.ndarray, target: int | None = None, thresholds: Sequence[float] | None = None
    ) -> np.ndarray:
        """Returns the weights of the logits in the number that an explanation is about, of the shape of the logits.

        That number is the logit of the class.

        Args:
            logits: (samples, ..., classes or labels).
            target: Index of a class or label; None for what is predicted for each sample.
            thresholds: By which decisions are made; None for one half.
        """
        import numpy as np

        if target is not None:
            chosen = np.full(logits.shape[:-1], target)
        else:
            chosen = self._predicted_target(logits, thresholds)
        return np.eye(logits.shape[-1], dtype=np.float32)[chosen]

    def _predicted_target(self, logits: np.ndarray, thresholds: Sequence[float] | None) -> np.ndarray:
        """Returns the index of the class that is predicted for each sample."""
        from keras import ops

        return self.decide(ops.convert_to_numpy(self.probabilities(logits)), thresholds)

    def truth_probabilities(self, labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """Returns how probable a model found what is true of each sample; of masks, the mean over the pixels.

        Args:
            labels: True labels, as a split has them.
            probabilities: (samples, ..., classes or labels).
        """
        import numpy as np

        found = np.take_along_axis(probabilities, labels[..., None].astype(np.int64), axis=-1)
        return found.reshape(len(found), -1).mean(axis=1)

    def name_decision(self, decision: Any) -> Any:
        """Returns the names of what :meth:`decide` gives for some images, one text for each class index."""
        import numpy as np

        return np.array(self.class_names)[decision]

    @abc.abstractmethod
    def describe_label(self, label: Any) -> str:
        """Returns in words the label of one image as the data have it."""

    @property
    def has_thresholds(self) -> bool:
        """Returns whether decisions are made by thresholds that can be chosen."""
        return self.threshold_rule is not None

    def are_thresholds(self, values: Sequence[float]) -> bool:
        """Returns whether decisions can be made by these numbers."""
        return are_thresholds(self.kind, self.outputs, values)

    def require_positive_class(self, name: str | None) -> None:
        """Checks that what sensitivity is to speak of is one of two classes; None is the second one."""
        require_positive_class(name, self.kind, self.class_names)

    def choose_positive_class(self, *names: str | None) -> str | None:
        """Returns the first class that is named, else the second class; None where the task has no positive class."""
        if not self.has_positive_class:
            return None
        return next((name for name in names if name), self.class_names[1])

    def positive_index(self, positive_class: str | None = None) -> int:
        """Returns which of two classes sensitivity, precision and F1 speak of: the second one where none is named."""
        return positive_index(self.class_names, positive_class)

    def described_classes(self, positive_class: str | None) -> list[int]:
        """Returns the classes that curves are drawn of: the positive one, or of other tasks each one."""
        if not self.has_positive_class:
            return list(range(self.outputs))
        return [self.positive_index(positive_class)]

    # How it is measured, tabled and drawn.

    @abc.abstractmethod
    def measure(
        self,
        split: Split,
        predicted: np.ndarray,
        thresholds: Sequence[float] | None = None,
        positive_class: str | None = None,
    ) -> Evaluation:
        """Measures the predictions for one split.

        Args:
            split: The samples.
            predicted: What :meth:`compact` gives for them.
            thresholds: By which decisions are made; None for one half.
            positive_class: Which of two classes sensitivity speaks of; None for the second one.
        """

    def measure_leading(
        self,
        split: Split,
        predicted: np.ndarray,
        thresholds: Sequence[float] | None = None,
        positive_class: str | None = None,
    ) -> Estimate:
        """Returns the metric ``leading`` with its interval as :meth:`measure` does, without what takes longer.

        Arguments as in :meth:`measure`.
        """
        return self.measure(split, predicted, thresholds, positive_class).metrics[self.leading]

    @abc.abstractmethod
    def measure_with_deviations(
        self,
        split: Split,
        predicted: np.ndarray,
        thresholds: Sequence[float] | None = None,
        positive_class: str | None = None,
    ) -> dict[str, Measurement]:
        """Returns each metric with the contribution of each sample or patient to its uncertainty.

        Arguments as in :meth:`measure`.
        """

    def measure_parts(
        self,
        split: Split,
        predicted: np.ndarray,
        parts: Sequence[np.ndarray],
        thresholds: Sequence[float] | None = None,
        positive_class: str | None = None,
    ) -> list[dict[str, Measurement]]:
        """Returns what :meth:`measure_with_deviations` does for several parts of a split.

        Args:
            split: The samples.
            predicted: What :meth:`compact` gives for them.
            parts: Whether each sample is in the part, (samples,) each.
            thresholds: By which decisions are made; None for one half.
            positive_class: Which of two classes sensitivity speaks of; None for the second one.
        """
        about = (thresholds, positive_class)
        return [self.measure_with_deviations(split.take_labels(part), predicted[part], *about) for part in parts]

    @abc.abstractmethod
    def tabulate(self, split: Split, predicted: np.ndarray, found: Evaluation | None, split_name: str) -> pd.DataFrame:
        """Returns the table of predictions: one row per sample, its names, the truth and what is predicted.

        Args:
            split: The samples.
            predicted: What :meth:`compact` gives for them.
            found: What :meth:`measure` found.
            split_name: The split's name, for the first column.
        """

    @abc.abstractmethod
    def count_labels(self, labels: np.ndarray) -> dict[str, int]:
        """Returns for each class or label the number of images that have it.

        Args:
            labels: Those of a split.
        """

    @abc.abstractmethod
    def find_hard_cases(
        self, path: Path, split_name: str, thresholds: Sequence[float] | None = None, count: int = 10
    ) -> list[dict[str, str]]:
        """Returns the images that a model is most wrong about, as text by the name of each column.

        Args:
            path: The ``predictions.csv`` of a run.
            split_name: The split whose samples are looked at.
            thresholds: By which decisions are made; None for one half.
            count: At most so many images.
        """

    def count_epochs(self, confusion: Sequence[np.ndarray], last_epoch: int) -> ClassCurves | None:
        """Returns which class was taken for which after each epoch; None where that was not counted.

        Args:
            confusion: The counts of each epoch, the last one last.
            last_epoch: The number of the last epoch.
        """
        return None

    @abc.abstractmethod
    def draw_epochs(
        self, history: pd.DataFrame, best_epoch: int | None, curves: ClassCurves | None
    ) -> dict[str, Figure]:
        """Draws the classes or labels over the epochs, by the name of each picture.

        Args:
            history: One row per epoch.
            best_epoch: The epoch that is kept.
            curves: What :meth:`count_epochs` returns.
        """

    @abc.abstractmethod
    def draw_images(self, split: Split) -> Figure:
        """Draws a few images with their labels."""

    @abc.abstractmethod
    def draw_test(
        self,
        split: Split,
        predicted: np.ndarray,
        found: Evaluation,
        thresholds: Sequence[float] | None = None,
        positive_class: str | None = None,
        uncalibrated: np.ndarray | None = None,
    ) -> dict[str, Figure]:
        """Draws the predictions for the test split, by the name of each picture; arguments as in :meth:`measure`.

        Args:
            split: The samples.
            predicted: What :meth:`compact` gives for them.
            found: What :meth:`measure` found.
            thresholds: By which decisions are made; None for one half.
            positive_class: Which of two classes the curves speak of; None for the second one.
            uncalibrated: What would be predicted without calibration; None where nothing was calibrated.
        """

    @abc.abstractmethod
    def draw_ensemble(
        self,
        split: Split,
        predicted: np.ndarray,
        found: Evaluation,
        members: Sequence[np.ndarray],
        positive_class: str | None = None,
        uncalibrated: np.ndarray | None = None,
    ) -> dict[str, Figure]:
        """Draws what an ensemble predicts for the test split; arguments as in :meth:`draw_test`.

        Args:
            split: The samples.
            predicted: What the ensemble predicts for them.
            found: What :meth:`measure` found for the ensemble.
            members: What each member predicts for them.
            positive_class: Which of two classes the curves speak of.
            uncalibrated: What the ensemble would predict without the calibration of its members.
        """

    @classmethod
    @abc.abstractmethod
    def label_columns(cls, entries: Mapping[str, Any]) -> LabelColumns:
        """Returns what the terminal shows of each class or label.

        Args:
            entries: What was measured of one of them.
        """

    @classmethod
    def show_metrics(cls, labels: dict[str, str], metrics: Mapping[str, Any], split: str) -> dict[str, str]:
        """Returns the labels of what people are shown of one split, the most telling first.

        Args:
            labels: A label by the name of each metric.
            metrics: Content of a metrics.json.
            split: Which of its splits.
        """
        return labels

    # How it is served.

    def compact(self, probabilities: Any) -> np.ndarray:
        """Returns what is evaluated and written of a batch, from its probabilities."""
        import numpy as np
        from keras import ops

        return ops.convert_to_numpy(probabilities).astype(np.float64)

    def output_shape(self, image_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of a model's outputs for one image."""
        return (self.outputs,)

    def describe_decision(self, image_shape: tuple[int, ...]) -> dict[str, Any]:
        """Returns what a signature says of the decision for a batch of images."""
        return {"name": "predicted", "dtype": "bool", "shape": [None, self.outputs]}

    def serve(self, probabilities: Any, thresholds: Sequence[float] | None) -> dict[str, Any]:
        """Returns the decisions for a batch, under the name that they have in an exported model."""
        from keras import ops

        decision = ops.expand_dims(self.decide(probabilities, thresholds), -1)
        return {"predicted": ops.equal(decision, ops.arange(self.outputs, dtype=decision.dtype))}

    def read_served(self, served: Mapping[str, Any]) -> np.ndarray:
        """Returns what :meth:`compact` gives, from the outputs of an exported model."""
        import numpy as np

        return np.asarray(served["probabilities"]).astype(np.float64)


def build_metric(metric: Any, labels: int) -> Any:
    """Returns the metric with its variables: TensorFlow traces a step twice in which variables are made."""
    metric.build(labels)
    return metric
