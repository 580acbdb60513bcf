"""Finds and reads complete runs, and checks that all of them answered the same samples."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import pandas as pd

from keras_lnn.config import TrainConfig
from keras_lnn.errors import InputError
from keras_lnn.evaluation.cautions import Basis
from keras_lnn.evaluation.predictions import Evaluation, evaluate_predictions
from keras_lnn.files.atomic import DAMAGED_FILE_ERRORS
from keras_lnn.files.csv_tables import plain_cell
from keras_lnn.runs.folder import RunFolder

_PROBABILITY, _TRUTH = "probability ", "truth "
# What predictions.csv and metrics.json of one run may differ by: both come from the same float32 probabilities.
_SAME_ACCURACY = 1e-6


class _HasConfig(Protocol):
    config: TrainConfig


AnyRun = TypeVar("AnyRun", bound=_HasConfig)


@dataclasses.dataclass(frozen=True)
class Run:
    """A complete run, with its answers to the samples of one split.

    Args:
        path: Its folder, as it was given or found.
        config: Its complete configuration.
        split: ``test`` or ``val``.
        task: ``binary``, ``multi-class`` or ``multi-label``.
        class_names: One name a class or label.
        truth: Class indices (samples,), or 0/1 (samples, labels).
        probabilities: (samples, classes or labels).
        files: Name of each sample's file, or empty where there are none.
        thresholds: Of each of two classes or of several labels, chosen on validation; None for one half.
        validation_auc: Of the epoch that was kept; nan where it is not defined.
        parameters: Numbers that were learned.
        seconds: Of training.
        epochs: That were trained.
        checksum: Of the data, or empty where it is not known.
        file_bytes: Size of best.keras, or None where it is not there.
        warnings: What the numbers of this split do not show.
        groups: The patient of each sample; None where nobody knows.
        positive_class: Which of two classes its sensitivity speaks of; None for the second one.
    """

    path: Path
    config: TrainConfig
    split: str
    task: str
    class_names: tuple[str, ...]
    truth: np.ndarray
    probabilities: np.ndarray
    files: tuple[str, ...]
    thresholds: tuple[float, ...] | None
    validation_auc: float
    parameters: int
    seconds: float
    epochs: int
    checksum: str
    file_bytes: int | None
    warnings: tuple[str, ...]
    groups: tuple[str, ...] | None = None
    positive_class: str | None = None

    @property
    def basis(self) -> Basis:
        """What intervals rest on: patients where they are known, else images."""
        return Basis.of(self.samples, self.groups)

    @property
    def samples(self) -> int:
        """How many samples it answered."""
        return len(self.truth)

    @property
    def positive(self) -> np.ndarray:
        """Whether each sample is of each class or has each label, (samples, classes)."""
        if self.task == "multi-label":
            return self.truth.astype(bool)
        return self.truth[:, None] == np.arange(len(self.class_names))

    @property
    def collapsed(self) -> bool:
        """Whether it always gives the same answer, or never predicts some label."""
        return any("has collapsed" in warning for warning in self.warnings)


def load_runs(paths: Iterable[str | os.PathLike], *, split: str = "test") -> list[Run]:
    """Reads all complete runs in some folders.

    Args:
        paths: Runs, or folders that are searched for runs at any depth.
        split: Whose samples are compared, ``test`` or ``val``.

    Returns:
        The runs in the order of the paths, each once.

    Raises:
        InputError: If a folder holds no complete run, a file is damaged, or the samples differ between runs.
    """
    if split not in ("test", "val"):
        raise InputError(f"split must be test or val. Received: {split}.")
    runs = [read_run(folder, split) for folder in find_all_runs(paths)]
    check_same_samples(runs)
    return runs


def find_all_runs(paths: Iterable[str | os.PathLike]) -> list[Path]:
    """Returns the folders of the complete runs at or below some paths, in the order of the paths, each once."""
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        for folder in find_runs(path):
            found.setdefault(folder.resolve(), folder)
    if not found:
        raise InputError("There must be a run to compare. Received: no path. Name folders of runs.")
    return list(found.values())


def part_by_data(runs: Sequence[AnyRun], same: Callable[[Sequence[AnyRun]], bool]) -> list[list[AnyRun]]:
    """Puts the runs of each data set together: those on data of one name, and those on the same samples.

    Args:
        runs: Of one kind, in any order.
        same: Whether runs answered the same samples; data have other names where they were moved.

    Returns:
        One list per data set, in the order of their first runs. Runs on data of one name whose samples differ stay
        together, so that whoever compares them reports it.
    """
    parts: list[list[AnyRun]] = []
    for run in runs:
        named = (part for part in parts if run.config.data in {other.config.data for other in part})
        alike = (part for part in parts if same([part[0], run]))
        part = next(itertools.chain(named, alike), None)
        if part is None:
            parts.append([run])
        else:
            part.append(run)
    return parts


def with_known_patients(runs: Sequence[AnyRun]) -> list[AnyRun]:
    """Returns runs on the same samples, of classes or of masks, each with the patients that any of them knows."""
    known = next((run.groups for run in runs if run.groups is not None), None)
    return [run if run.groups is not None else dataclasses.replace(run, groups=known) for run in runs]


def find_runs(path: Path) -> list[Path]:
    """The folders of the complete runs at or below a path, sorted."""
    if not path.is_dir():
        raise InputError(f"What is compared are folders of runs. Received: {path}, which is no folder.")
    unfinished, complete = [], []
    for place, folders, files in os.walk(path):
        # What a killed process was writing, and other hidden things, are no runs.
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if "config.yaml" in files:
            folders.clear()
            (complete if {"metrics.json", "predictions.csv"} <= set(files) else unfinished).append(Path(place))
    if not complete:
        there = f"{len(unfinished)} without metrics.json or predictions.csv" if unfinished else "none"
        raise InputError(
            f"A folder must hold complete runs (config.yaml, metrics.json, predictions.csv). Received: {path} with "
            f"{there}. {'Go on with them by train.py --resume.' if unfinished else 'Train some by train.py.'}"
        )
    return sorted(complete)


def read_run(path: Path, split: str = "test") -> Run:
    """Reads one complete run; whatever is damaged or does not fit together is one clear line."""
    folder = RunFolder.open(path)
    config = TrainConfig.from_yaml(folder.config)
    metrics = folder.read_metrics()
    if metrics is None:
        raise InputError(f"A run's metrics.json must be whole. Received: {folder.metrics}. Train it once more.")
    if split not in metrics:
        raise InputError(
            f"Runs are compared on a split that they were measured on. Received: {path}, which has no {split} split "
            f"(it was trained with --no-test). Compare by --split val."
        )
    class_names, accuracy, about = _read_numbers(folder, metrics, split)
    task, truth, probabilities, files, groups = read_predictions(folder.predictions, split, class_names)
    if about["positive_class"] is None and task == "binary":
        task = "multi-class"
    predictions = {"truth": truth, "probabilities": probabilities, "groups": groups}
    measured = _measure(folder.predictions, predictions, task, class_names, about)
    if accuracy is None or abs(measured.metrics["accuracy"].value - accuracy) > _SAME_ACCURACY:
        raise InputError(
            f"predictions.csv must hold what metrics.json was worked out from. Received: {folder.path} with an "
            f"accuracy of {measured.metrics['accuracy'].value:.4f} against {accuracy}: rows are missing or altered. "
            "Train it once more."
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
        files=files,
        checksum=checksum if isinstance(checksum, str) else "",
        file_bytes=size,
        warnings=measured.warnings,
        groups=groups,
        **about,
    )


def read_predictions(
    path: Path, split: str, class_names: Sequence[str]
) -> tuple[str, np.ndarray, np.ndarray, tuple[str, ...], tuple[str, ...] | None]:
    """Reads the samples of one split from a predictions.csv.

    Args:
        path: The file.
        split: Whose rows.
        class_names: Whose columns.

    Returns:
        The task, the truth, the probabilities, the names of the files and the patients, as in :class:`Run`.
    """
    try:
        table = pd.read_csv(path, dtype={"file": str, "patient": str}, keep_default_na=True, low_memory=False)
        table = table[table["split"] == split]
        if list(table["index"]) != list(range(len(table))) or table.empty:
            raise ValueError(f"the rows of {split} are not 0, 1, 2, ...")
        probabilities = table[[_PROBABILITY + name for name in class_names]].to_numpy(dtype=np.float64)
        if "truth" in table:
            task, labels = "binary" if len(class_names) == 2 else "multi-class", table["truth"]
        else:
            task, labels = "multi-label", table[[_TRUTH + name for name in class_names]]
        truth = labels.to_numpy(dtype=np.float64)
        if not np.array_equal(truth, np.floor(truth)):
            raise ValueError("truth is not whole numbers")
        files = tuple(plain_cell(str(file)) for file in table["file"]) if "file" in table else ()
        # A split whose patients nobody knows has an empty column where another split's are known.
        known = "patient" in table and not table["patient"].isna().any()
        groups = tuple(map(plain_cell, table["patient"])) if known else None
    except (*DAMAGED_FILE_ERRORS, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(
            f"predictions.csv must be as the run has written it. Received: {path} ({_explain(error)}). "
            "Train it once more."
        ) from None
    return task, truth.astype(np.int64), probabilities, files, groups


def same_samples(runs: Sequence[Run]) -> bool:
    """Whether all runs answered the same samples."""
    try:
        check_same_samples(runs)
    except InputError:
        return False
    return True


def check_same_samples(runs: Sequence[Run]) -> None:
    """Checks that all runs answered the same samples; the first that did not is named.

    The files of one data set differ between sizes of the images, so checksums count among runs of one size.
    """
    first = runs[0]
    by_size: dict[int | None, Run] = {}
    of_patients = next((run for run in runs if run.groups is not None), None)
    for run in runs:
        alike = by_size.setdefault(run.config.size, run)
        known = run.checksum and alike.checksum
        if first.class_names != run.class_names or first.task != run.task:
            _refuse(first, run, f"{first.task}: {_listed(first)}", f"{run.task}: {_listed(run)}")
        if known and run.checksum != alike.checksum:
            _refuse(alike, run, f"{alike.config.data} ({alike.checksum})", f"{run.config.data} ({run.checksum})")
        if first.samples != run.samples:
            _refuse(first, run, *(f"{one.samples} {one.split} samples of {one.config.data}" for one in (first, run)))
        if first.files and run.files and first.files != run.files:
            place = int(np.argmax(np.array(first.files) != np.array(run.files)))
            _refuse(first, run, f"{first.files[place]} as sample {place}", run.files[place])
        if run.groups is not None and of_patients is not None and run.groups != of_patients.groups:
            place = int(np.argmax(np.array(of_patients.groups) != np.array(run.groups)))
            _refuse(of_patients, run, f"sample {place} of another patient", "other patients")
        if not np.array_equal(first.truth, run.truth):
            count = int((first.truth != run.truth).reshape(first.samples, -1).any(axis=1).sum())
            _refuse(first, run, f"{first.samples} labels of {first.config.data}", f"{count} others")


def _read_numbers(
    folder: RunFolder, metrics: dict[str, Any], split: str
) -> tuple[tuple[str, ...], Any, dict[str, Any]]:
    """The classes, the accuracy of the split, and further fields of :class:`Run` from the content of metrics.json."""
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
            f"A run's metrics.json must have its metrics. Received: {folder.metrics} ({_explain(error)}). "
            "Train it once more."
        ) from None
    return class_names, accuracy, about


def _measure(
    path: Path, predictions: dict[str, Any], task: str, class_names: tuple[str, ...], about: dict[str, Any]
) -> Evaluation:
    decisions = {name: about[name] for name in ("thresholds", "positive_class")}
    try:
        return evaluate_predictions(**predictions, task=task, class_names=class_names, **decisions)
    except InputError as error:
        raise InputError(f"predictions.csv must be as the run has written it. Received: {path}: {error}") from None


def _refuse(first: Run, second: Run, of_first: str, of_second: str) -> None:
    advice = "Name folders of one data set"
    if first.config.seed_of_splits != second.config.seed_of_splits:
        advice += ", trained with one --split-seed where its splits are drawn"
    raise InputError(
        f"Runs are compared on the same {first.split} samples. Received: {first.path} with {of_first}, {second.path} "
        f"with {of_second}. {advice}."
    )


def _listed(run: Run) -> str:
    shown = ", ".join(run.class_names[:4])
    return shown if len(run.class_names) <= 4 else f"{shown}, ... ({len(run.class_names)})"


def _explain(error: Exception) -> str:
    text = str(error.args[0]) if error.args else type(error).__name__
    return f"no column or key {text}" if isinstance(error, KeyError) else text
