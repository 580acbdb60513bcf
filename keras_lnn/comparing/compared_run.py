"""The base class of compared runs, and checks that runs predict the same samples."""

from __future__ import annotations

import abc
import dataclasses
import itertools
import pkgutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np

from keras_lnn.config import TrainConfig
from keras_lnn.errors import InputError
from keras_lnn.evaluation.cautions import Basis
from keras_lnn.evaluation.predictions import Evaluation
from keras_lnn.runs.folder import RunFolder
from keras_lnn.statistics.measurements import Measurement
from keras_lnn.statistics.paired_tests import Difference, Measured
from keras_lnn.tasks.kinds import find_kind
from keras_lnn.tasks.task import Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparedRun(abc.ABC):
    """A complete run, with its predictions for the samples of one split.

    Args:
        path: Its folder, as it was given or found.
        config: Its complete configuration.
        split: ``test`` or ``val``.
        task: The kind of its task.
        class_names: One name for each class or label that is compared.
        truth: The true labels of each sample, (samples, ...).
        files: File name of each sample, or empty if there are no files.
        parameters: Number of trainable parameters.
        seconds: Training time.
        epochs: Number of trained epochs.
        checksum: Checksum of the data, or empty if it is not known.
        file_bytes: Size of best.keras, or None if there is no such file.
        warnings: Cautions that the numbers of this split do not show.
        groups: The patient of each sample; None if patients are not known.
        noun: What the samples are, in the plural.
        positive_class: The class that sensitivity refers to in a binary task; None for the second one and for other
            tasks.

    Attributes:
        tested: The metrics whose differences are tested, in order.
        pictures: The names of the figures in addition to the maps of differences.
    """

    path: Path
    config: TrainConfig
    split: str
    task: str
    class_names: tuple[str, ...]
    truth: np.ndarray
    files: tuple[str, ...]
    parameters: int
    seconds: float
    epochs: int
    checksum: str
    file_bytes: int | None
    warnings: tuple[str, ...]
    groups: tuple[str, ...] | None = None
    noun: str = dataclasses.field(default="images", kw_only=True)
    positive_class: str | None = None

    tested: ClassVar[tuple[str, ...]]
    pictures: ClassVar[tuple[str, ...]]

    @property
    def page(self) -> Path:
        """Returns the path of its page, which need not exist."""
        return RunFolder(self.path).report

    @property
    def kind(self) -> RunKind:
        """Returns how runs of this task are read, measured and compared."""
        return RunKind.of(find_kind(self.task))

    @property
    def predicts(self) -> str:
        """Returns the form of the models' output, such as ``classes``; runs of one form are compared."""
        return find_kind(self.task).predicts

    @property
    def leading(self) -> str:
        """Returns the metric by which models are sorted, and whose validation value decides on the reference."""
        return find_kind(self.task).leading

    @property
    @abc.abstractmethod
    def validation_value(self) -> float:
        """Returns the leading metric on validation for the epoch that was kept; nan where it is not defined."""

    @property
    def highest(self) -> dict[str, float]:
        """Returns the upper limits of the metrics that can exceed one."""
        return {}

    @property
    def samples_are(self) -> str:
        """Returns a description of what runs must have in common to be compared."""
        return f"{self.split} samples"

    @abc.abstractmethod
    def count_classes(self) -> list[int]:
        """Returns the number of samples that contain each class or label."""

    @abc.abstractmethod
    def choose_headline(self, known: Sequence[str]) -> tuple[str, ...]:
        """Returns the metrics that are shown first, of which the first two are described in words.

        Args:
            known: The metrics that every model has.
        """

    @abc.abstractmethod
    def describe_methods(self) -> list[str]:
        """Returns sentences that say how intervals were computed and differences were tested."""

    @property
    def basis(self) -> Basis:
        """Returns the units that intervals rest on: patients where they are known, otherwise images."""
        return Basis.of(self.samples, self.groups, self.noun)

    @property
    def samples(self) -> int:
        """Returns the number of predicted samples."""
        return len(self.truth)

    @property
    def collapsed(self) -> bool:
        """Returns whether the run always predicts the same, or never predicts some label."""
        return any("has collapsed" in warning for warning in self.warnings)


@dataclasses.dataclass(frozen=True)
class RunKind:
    """Functions that read, measure and compare runs with one form of output; a task names the one of its runs.

    Args:
        read: Returns the complete run in a folder, with its predictions for a split.
        measure: Returns the metrics of the runs of one model, and those of each label, which may be none; it takes the
            runs, ``positive_class`` and ``progress``.
        test: Returns the difference of a metric of two models and the name of the test; it takes the metric, the runs
            and the measured metric of each model, and the label.
        measure_split: Returns the leading metric of several models for the samples of a split; None for what the task
            itself measures with deviations.
        pool: Returns the metrics of what the models of all folds predict as those of one set; it takes the run of each
            fold, for each repeat. None for a kind whose folds are not pooled.
    """

    read: Callable[[Path, str], ComparedRun]
    measure: Callable[..., tuple[dict[str, Measured], dict[str, dict[str, Measured]]]]
    test: Callable[..., tuple[Difference, str]]
    measure_split: Callable[..., tuple[list[Measurement], Callable[[np.ndarray], float]]] | None = None
    pool: Callable[..., Evaluation] | None = None

    @classmethod
    def of(cls, task: type[Task]) -> RunKind:
        """Returns how the runs of a task are read, measured and compared."""
        return pkgutil.resolve_name(task.run_kind)


AnyRun = TypeVar("AnyRun", bound=ComparedRun)


def part_by_data(runs: Sequence[AnyRun], same: Callable[[Sequence[AnyRun]], bool]) -> list[list[AnyRun]]:
    """Groups runs by data set: runs on data of the same name, and runs on the same samples.

    Args:
        runs: Runs in any order.
        same: Returns whether runs predict the same samples, because moved data have another name.

    Returns:
        One list per data set, in the order of their first runs. Runs on data of the same name whose samples differ stay
        together, so that the comparison reports it.
    """
    parts: list[list[AnyRun]] = []
    for run in runs:
        possible = [part for part in parts if part[0].predicts == run.predicts]
        named = (part for part in possible if run.config.data in {other.config.data for other in part})
        alike = (part for part in possible if same([part[0], run]))
        part = next(itertools.chain(named, alike), None)
        if part is None:
            parts.append([run])
        else:
            part.append(run)
    return parts


def with_known_patients(runs: Sequence[AnyRun]) -> list[AnyRun]:
    """Returns runs on the same samples, of either kind, each with the patients that any of them knows."""
    known = next((run.groups for run in runs if run.groups is not None), None)
    return [run if run.groups is not None else dataclasses.replace(run, groups=known) for run in runs]


def same_samples(runs: Sequence[ComparedRun]) -> bool:
    """Returns whether all runs predict the same samples."""
    try:
        check_same_samples(runs)
    except InputError:
        return False
    return True


def check_same_samples(runs: Sequence[ComparedRun]) -> None:
    """Checks that all runs predict the same samples; the error names the first run that does not.

    The files of a data set differ between image sizes, so checksums are compared among runs of one size only.
    """
    first = runs[0]
    by_size: dict[int | None, ComparedRun] = {}
    with_patients = next((run for run in runs if run.groups is not None), None)
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
        if run.groups is not None and with_patients is not None and run.groups != with_patients.groups:
            place = int(np.argmax(np.array(with_patients.groups) != np.array(run.groups)))
            _refuse(with_patients, run, f"sample {place} of another patient", "other patients")
        if not np.array_equal(first.truth, run.truth):
            count = int((first.truth != run.truth).reshape(first.samples, -1).any(axis=1).sum())
            _refuse(first, run, f"{first.samples} labels of {first.config.data}", f"{count} others")


def _refuse(first: ComparedRun, second: ComparedRun, in_first: str, in_second: str) -> None:
    """Raises an error that names two runs and the values in which they differ."""
    advice = "Name folders of one data set"
    if first.config.fold != second.config.fold:
        folds = " and ".join(run.config.fold or "none" for run in (first, second))
        advice += f", and of one fold (these are of folds {folds})"
    elif first.config.seed_of_splits != second.config.seed_of_splits:
        advice += ", trained with the same --split-seed if the splits are drawn"
    raise InputError(
        f"Runs to compare must have the same {first.samples_are}. Received: {first.path} with {in_first}, "
        f"{second.path} with {in_second}. {advice}."
    )


def _listed(run: ComparedRun) -> str:
    shown = ", ".join(run.class_names[:4])
    return shown if len(run.class_names) <= 4 else f"{shown}, ... ({len(run.class_names)})"
