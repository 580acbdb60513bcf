"""Finding and reading complete runs; the runs of classifications."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from keras_lnn.comparing.compared_run import ComparedRun, RunKind, check_same_samples
from keras_lnn.config import TrainConfig
from keras_lnn.errors import InputError
from keras_lnn.evaluation.checked import CheckedPredictions
from keras_lnn.evaluation.metrics import METRICS, list_tested_metrics
from keras_lnn.evaluation.predictions import Evaluation, evaluate_predictions, measure_predictions
from keras_lnn.files.atomic import DAMAGED_FILE_ERRORS
from keras_lnn.runs.finding import find_run_folders
from keras_lnn.runs.folder import RunFolder
from keras_lnn.saved.results import name_samples
from keras_lnn.statistics.measurements import Measurement
from keras_lnn.tasks.kinds import find_kind, find_kind_of
from keras_lnn.tasks.prediction_tables import SampleNames, read_probabilities
from keras_lnn.tasks.thresholds import TUNED

# Tolerance between predictions.csv and metrics.json of one run: both come from the same float32 probabilities.
_SAME_ACCURACY = 1e-6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run(ComparedRun):
    """A run of a classification, with its predictions for the samples of one split.

    Args:
        truth: Class indices (samples,), or 0/1 (samples, labels).
        probabilities: (samples, classes or labels).
        thresholds: Thresholds of two classes or of several labels, chosen on validation; None means 0.5.
        validation_auc: Validation AUC of the epoch that was kept; nan where it is not defined.
    """

    probabilities: np.ndarray
    thresholds: tuple[float, ...] | None
    validation_auc: float

    tested = list_tested_metrics(METRICS)
    pictures = ("roc", "metrics")

    @property
    def validation_value(self) -> float:
        """Returns the AUC on validation."""
        return self.validation_auc

    @property
    def highest(self) -> dict[str, float]:
        """Returns the upper limit of the Brier score of several classes, whose sum of squares is at most two."""
        return {"brier": 2.0} if find_kind(self.task).exclusive and len(self.class_names) > 2 else {}

    @property
    def positive(self) -> np.ndarray:
        """Returns whether each sample belongs to each class or has each label, (samples, classes)."""
        if find_kind(self.task).exclusive:
            return self.truth[:, None] == np.arange(len(self.class_names))
        return self.truth.astype(bool)

    @property
    def parts(self) -> tuple[Run, ...]:
        """Returns the run itself, or the repeats of a cross-validation, which predict the same samples each."""
        return (self,)

    @property
    def has_thresholds(self) -> bool:
        """Returns whether decisions are also made at thresholds that were chosen on validation."""
        return self.thresholds is not None

    def check(self, positive_class: str | None = None) -> CheckedPredictions:
        """Returns the predictions and what is decided of them.

        Args:
            positive_class: The class that sensitivity refers to in a binary task; the second one if not given.
        """
        about = (self.truth, self.probabilities, self.task, self.class_names, self.thresholds)
        return CheckedPredictions.checked(*about, positive_class)

    def measure(self, positive_class: str | None = None) -> tuple[dict[str, Measurement], dict[str, list[Measurement]]]:
        """Returns the metrics over all classes or labels, and those of each; the argument is that of ``check``."""
        return measure_predictions(self.check(positive_class), self.groups)

    def count_classes(self) -> list[int]:
        """Returns the number of samples of each class or label."""
        return self.positive.sum(axis=0).tolist()

    def choose_headline(self, known: Sequence[str]) -> tuple[str, ...]:
        """Returns the metrics that are shown first.

        For multi-label tasks accuracy over all labels is not among them, since never predicting any label wins it. The
        quality of decisions is shown at the thresholds by which they are made.
        """
        if find_kind(self.task).exclusive:
            return ("auc", "accuracy", "f1", "balanced_accuracy")
        f1, balanced = (as_decided(name, known) for name in ("f1", "balanced_accuracy"))
        return ("auc", f1, balanced, "average_precision")

    def describe_methods(self) -> list[str]:
        """Returns sentences about the intervals and tests of classifications."""
        by_patient = self.groups is not None
        over_classes = "" if find_kind(self.task).has_positive_class else ", for the mean over the classes or labels"
        by_samples = (
            "Accuracy and the other metrics are compared by a paired t-test on the contribution of each patient to the "
            "difference."
            if by_patient
            else "Accuracy of two single runs is compared by McNemar's test (mid-p), with Bonett and Price's interval. "
            "The other metrics are compared by a paired t-test on the contribution of each sample to the difference."
        )
        return [
            "They contain the true value in about 95% of cases: proportions such as accuracy have the interval of "
            "Agresti and Coull, AUC has an interval of Newcombe's type with DeLong's variance, and the interval of a "
            "mean over classes combines those of the classes.",
            f"AUC is compared by {'Obuchowski' if by_patient else 'DeLong'}'s test on the same samples{over_classes}. "
            f"{by_samples}",
        ]


def as_decided(metric: str, known: Sequence[str]) -> str:
    """Returns the name of a metric at the models' thresholds if all models have them, otherwise its own name.

    Args:
        metric: Name of the metric.
        known: The metrics that every model has.
    """
    return metric + TUNED if metric + TUNED in known else metric


def load_runs(paths: Iterable[str | os.PathLike], *, split: str = "test") -> list[ComparedRun]:
    """Reads all complete runs in the given folders.

    Args:
        paths: Runs, or folders that are searched for runs at any depth.
        split: The split whose samples are compared, ``test`` or ``val``.

    Returns:
        The runs in the order of the paths, each once.

    Raises:
        InputError: If a folder holds no complete run, a file is damaged, or the samples differ between runs.
    """
    if split not in ("test", "val"):
        raise InputError(f"split must be test or val. Received: {split}.")
    runs = [read_any_run(folder, split) for folder in find_all_runs(paths)]
    check_same_samples(runs)
    return runs


def find_all_runs(paths: Iterable[str | os.PathLike]) -> list[Path]:
    """Returns the folders of the complete runs at or below the given paths, in the order of the paths, each once."""
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        for folder in find_runs(path):
            found.setdefault(folder.resolve(), folder)
    if not found:
        raise InputError("There must be a run. Received: no path. Name folders of runs.")
    return list(found.values())


def find_runs(path: Path) -> list[Path]:
    """Returns the folders of the complete runs at or below a path, sorted."""
    if not path.is_dir():
        raise InputError(f"Runs must be given as folders. Received: {path}, which is not a folder.")
    unfinished, complete = [], []
    for place, files in find_run_folders(path):
        if "config.yaml" in files:
            (complete if {"metrics.json", "predictions.csv"} <= files else unfinished).append(place)
    if not complete:
        there = f"{len(unfinished)} without metrics.json or predictions.csv" if unfinished else "none"
        raise InputError(
            f"A folder must hold complete runs (config.yaml, metrics.json, predictions.csv). Received: {path} with "
            f"{there}. {'Continue them with train.py --resume.' if unfinished else 'Train some with train.py.'}"
        )
    return sorted(complete)


def read_any_run(path: Path, split: str = "test") -> ComparedRun:
    """Reads one complete run of any kind of task; the arguments are those of :func:`read_run`."""
    metrics = RunFolder(path).read_metrics()
    return read_run(path, split) if metrics is None else RunKind.of(find_kind_of(metrics)).read(path, split)


def read_run(path: Path, split: str = "test") -> Run:
    """Reads one complete run of a classification; a damaged or inconsistent file raises a one-line error."""
    folder = RunFolder.open(path)
    config = TrainConfig.from_yaml(folder.config)
    metrics = folder.read_metrics()
    if metrics is None:
        raise InputError(f"A run's metrics.json must be undamaged. Received: {folder.metrics}. Train it again.")
    if split not in metrics:
        raise InputError(
            f"Runs are compared on a split that they were measured on. Received: {path}, which has no {split} split "
            f"(it was trained with --no-test). Compare with --split val."
        )
    class_names, accuracy, about = _read_numbers(folder, metrics, split)
    task, truth, probabilities, names = _read_predictions(folder.predictions, split, class_names)
    if about["positive_class"] is None and task == "binary":
        task = "multi-class"
    predictions = {"truth": truth, "probabilities": probabilities, "groups": names.groups}
    measured = _measure(folder.predictions, predictions, task, class_names, about)
    if accuracy is None or abs(measured.metrics["accuracy"].value - accuracy) > _SAME_ACCURACY:
        raise InputError(
            f"predictions.csv must give the accuracy in metrics.json, {accuracy}. Received: {folder.path} with "
            f"{measured.metrics['accuracy'].value:.4f}: rows are missing or altered. Train it again."
        )
    checksum = folder.read_environment().get("data_checksum")
    size = folder.best_model.stat().st_size if folder.best_model.is_file() else None
    return Run(
        path=path,
        config=config,
        split=split,
        task=task,
        class_names=class_names,
        truth=truth,
        probabilities=probabilities,
        files=names.files,
        checksum=checksum if isinstance(checksum, str) else "",
        file_bytes=size,
        warnings=measured.warnings,
        groups=names.groups,
        noun=name_samples(metrics),
        **about,
    )


def _read_predictions(
    path: Path, split: str, class_names: Sequence[str]
) -> tuple[str, np.ndarray, np.ndarray, SampleNames]:
    """Returns the task, the truth and the probabilities of :class:`Run`, and what the samples are called."""
    try:
        truth, probabilities, names, exclusive = read_probabilities(path, split, class_names)
    except (*DAMAGED_FILE_ERRORS, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(
            f"predictions.csv must be as the run wrote it. Received: {path} ({_explain(error)}). Train it again."
        ) from None
    one_class = "binary" if len(class_names) == 2 else "multi-class"
    return one_class if exclusive else "multi-label", truth, probabilities, names


def _read_numbers(
    folder: RunFolder, metrics: dict[str, Any], split: str
) -> tuple[tuple[str, ...], Any, dict[str, Any]]:
    """Returns the classes, the accuracy of the split, and further fields of :class:`Run` from metrics.json."""
    try:
        class_names = tuple(metrics["classes"])
        per_class = metrics["per_class"][split]
        thresholds = [per_class[name].get("threshold") for name in class_names]
        accuracy, validation = metrics[split]["accuracy"]["value"], metrics["val"]["auc"]["value"]
        about = {
            "validation_auc": math.nan if validation is None else float(validation),
            "parameters": int(metrics["parameters"]),
            "seconds": float(metrics["seconds"]),
            "epochs": int(metrics["epochs"]),
            "thresholds": None if None in thresholds else tuple(thresholds),
            "positive_class": metrics.get("positive_class"),
        }
    except DAMAGED_FILE_ERRORS as error:
        raise InputError(
            f"A run's metrics.json must contain its metrics. Received: {folder.metrics} ({_explain(error)}). "
            "Train it again."
        ) from None
    return class_names, accuracy, about


def _measure(
    path: Path, predictions: dict[str, Any], task: str, class_names: tuple[str, ...], about: dict[str, Any]
) -> Evaluation:
    decisions = {name: about[name] for name in ("thresholds", "positive_class")}
    try:
        return evaluate_predictions(**predictions, task=task, class_names=class_names, **decisions)
    except InputError as error:
        raise InputError(f"predictions.csv must be as the run wrote it. Received: {path}: {error}") from None


def _explain(error: Exception) -> str:
    text = str(error.args[0]) if error.args else type(error).__name__
    return f"no column or key {text}" if isinstance(error, KeyError) else text
