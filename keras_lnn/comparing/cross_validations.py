"""Cross-validations read for a comparison: the predictions of all folds together, and those of each fold."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_lnn.comparing.compared_run import ComparedRun, check_same_samples
from keras_lnn.comparing.mask_runs import MaskRun
from keras_lnn.comparing.runs import Run, read_any_run
from keras_lnn.errors import InputError
from keras_lnn.evaluation.checked import CheckedPredictions
from keras_lnn.evaluation.mask_overlaps import MaskMeasures
from keras_lnn.evaluation.predictions import measure_predictions
from keras_lnn.files.atomic import DAMAGED_FILE_ERRORS
from keras_lnn.runs.finding import FOLDS_FILE, find_run_folders
from keras_lnn.statistics.measurements import Measurement, mean_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class PooledFolds(ComparedRun):
    """One repeat of a cross-validation: each sample is predicted by the model that neither learned nor chose by it.

    Args:
        folds: The run of each fold, in order.
    """

    folds: tuple[ComparedRun, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PooledRun(PooledFolds, Run):
    """One repeat of a cross-validation of classes.

    Args:
        order: The rows of all folds one after another, in the order of the samples' names.
    """

    folds: tuple[Run, ...]
    order: np.ndarray

    @property
    def has_thresholds(self) -> bool:
        """Returns whether each model has thresholds of its own, chosen on its own validation."""
        return all(run.has_thresholds for run in self.folds)

    def check(self, positive_class: str | None = None) -> CheckedPredictions:
        """Returns the predictions of all folds with the decisions of each model; see :meth:`Run.check`."""
        return CheckedPredictions.joined([run.check(positive_class) for run in self.folds], self.order)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PooledMasks(PooledFolds, MaskRun):
    """One repeat of a cross-validation of masks, with the measures of the images of all folds."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossValidation(ComparedRun):
    """A whole cross-validation, with the predictions of its first repeat as those of a run.

    Args:
        repeats: Its repeats, in the order of their seeds.
        test_over_train: Ratio of the test samples of a fold to its training samples.
    """

    repeats: tuple[PooledFolds, ...]
    test_over_train: float

    @property
    def page(self) -> Path:
        """Returns the path of its page."""
        return self.path / "folds.html"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassCrossValidation(CrossValidation, Run):
    """A whole cross-validation of classes."""

    repeats: tuple[PooledRun, ...]

    @property
    def parts(self) -> tuple[PooledRun, ...]:
        """Returns its repeats."""
        return self.repeats

    @property
    def has_thresholds(self) -> bool:
        """Returns whether each model has thresholds of its own."""
        return all(part.has_thresholds for part in self.repeats)

    def check(self, positive_class: str | None = None) -> CheckedPredictions:
        """Returns the predictions of the first repeat; see :meth:`Run.check`."""
        return self.repeats[0].check(positive_class)

    def measure(self, positive_class: str | None = None) -> tuple[dict[str, Measurement], dict[str, list[Measurement]]]:
        """Returns each metric as the mean over the repeats, with the uncertainty of the samples, which are the same."""
        if len(self.repeats) == 1:
            return self.repeats[0].measure(positive_class)
        units = self.groups or self.files
        found = [measure_predictions(part.check(positive_class), units) for part in self.repeats]
        overall = {name: _mean([one[name] for one, _ in found]) for name in found[0][0]}
        places = range(len(self.class_names))
        return overall, {
            name: [_mean([classes[name][place] for _, classes in found]) for place in places] for name in found[0][1]
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskCrossValidation(CrossValidation, MaskRun):
    """A whole cross-validation of masks."""

    repeats: tuple[PooledMasks, ...]

    @property
    def parts(self) -> tuple[PooledMasks, ...]:
        """Returns its repeats."""
        return self.repeats


def _mean(parts: Sequence[Measurement]) -> Measurement:
    return mean_of(parts, highest=math.inf)


def find_cross_validations(paths: Iterable[str | os.PathLike]) -> list[Path]:
    """Returns the folders of cross-validations among the given ones, each once; none if all are of runs.

    Raises:
        InputError: If some are cross-validations and others are not.
    """
    given = [Path(path) for path in paths]
    found = {path.resolve(): path for path in given if (path / FOLDS_FILE).is_file()}
    others = [path for path in given if not (path / FOLDS_FILE).is_file()]
    if found and others:
        raise InputError(
            "Cross-validations are compared with each other, and runs with runs. Received:"
            f" {next(iter(found.values()))}, a cross-validation, and {others[0]}, which is none. Name folders of one"
            " kind."
        )
    return list(found.values())


def load_cross_validations(folders: Sequence[Path], split: str = "test") -> list[CrossValidation]:
    """Reads complete cross-validations of the same folds of the same data.

    Args:
        folders: Their folders.
        split: The split that was asked for; cross-validations have ``test`` only.

    Raises:
        InputError: If one is not complete, or their data, folds or repeats differ.
    """
    if split != "test":
        raise InputError(
            f"Cross-validations are compared on the tests of their folds. Received: --split {split}. Leave it out."
        )
    read = [read_cross_validation(folder) for folder in folders]
    check_same_samples([repeat for one in read for repeat in one.repeats])
    for other in read[1:]:
        _require_same_folds(read[0], other)
    return read


def read_cross_validation(folder: Path) -> CrossValidation:
    """Reads one complete cross-validation."""
    known = _read_results(folder)
    paths = [place for place, _ in find_run_folders(folder)]
    by_partition: dict[int, list[ComparedRun]] = {}
    for run in (read_any_run(path, "test") for path in paths):
        by_partition.setdefault(run.config.seed_of_splits, []).append(run)
    folds, repeats = known["folds"], known["repeats"]
    if len(by_partition) != repeats or any(len(runs) != folds for runs in by_partition.values()):
        raise InputError(
            f"A cross-validation must have a run for each fold. Received: {folder} with {len(paths)} runs for {repeats}"
            f" x {folds} folds. Continue it with train --config {folder / FOLDS_FILE}."
        )
    repeated = tuple(_pool(folder, by_partition[seed], known["warnings"]) for seed in sorted(by_partition))
    about: dict[str, Any] = {name: sum(getattr(part, name) for part in repeated) for name in ("seconds", "epochs")}
    about |= {"repeats": repeated, "test_over_train": float(known["test_over_train"])}
    validation = float(np.mean([part.validation_value for part in repeated]))
    if isinstance(repeated[0], PooledRun):
        about["validation_auc"] = validation
        return ClassCrossValidation(**{**_fields_of(Run, repeated[0]), **about})
    about["validation_dice"] = validation
    return MaskCrossValidation(**{**_fields_of(MaskRun, repeated[0]), **about})


def _read_results(folder: Path) -> dict[str, Any]:
    path = folder / "folds.json"
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        kinds = {"folds": int, "repeats": int, "test_over_train": (int, float), "warnings": list}
        if all(isinstance(known[name], kind) for name, kind in kinds.items()):
            return known
    except DAMAGED_FILE_ERRORS:
        pass
    raise InputError(
        f"A cross-validation must be complete to be compared. Received: {folder} without a sound folds.json. Continue"
        f" it with train --config {folder / FOLDS_FILE}."
    )


def _fields_of(kind: type[ComparedRun], run: ComparedRun) -> dict[str, Any]:
    return {field.name: getattr(run, field.name) for field in dataclasses.fields(kind)}


def _pool(folder: Path, runs: Sequence[ComparedRun], warnings: Sequence[str]) -> PooledRun | PooledMasks:
    """Returns the runs of one repeat as one run, whose samples are sorted by name as in every other repeat."""
    runs = sorted(runs, key=lambda run: int((run.config.fold or "0").partition("/")[0]))
    files = np.array([name for run in runs for name in run.files], dtype=object).astype(str)
    truth = np.concatenate([run.truth for run in runs])
    order = np.argsort(files, kind="stable") if len(files) == len(truth) else np.arange(len(truth))
    groups = [np.array(run.groups, dtype=object) for run in runs if run.groups is not None]
    first = runs[0]
    sizes = [run.file_bytes for run in runs if run.file_bytes is not None]
    about: dict[str, Any] = {
        "path": folder,
        "config": first.config.model_copy(update={"fold": None, "split_seed": first.config.seed_of_splits}),
        "truth": truth[order],
        "files": tuple(files[order].tolist()) if len(files) else (),
        "groups": tuple(np.concatenate(groups)[order].tolist()) if len(groups) == len(runs) else None,
        "seconds": sum(run.seconds for run in runs),
        "epochs": sum(run.epochs for run in runs),
        "file_bytes": max(sizes, default=None),
        "warnings": tuple(warnings),
        "folds": tuple(runs),
    }
    validation = float(np.mean([run.validation_value for run in runs]))
    classes = [run for run in runs if isinstance(run, Run)]
    masks = [run for run in runs if isinstance(run, MaskRun)]
    if len(classes) == len(runs):
        about |= {"probabilities": np.concatenate([run.probabilities for run in classes])[order], "thresholds": None}
        about |= {"order": order, "validation_auc": validation}
        return PooledRun(**{**_fields_of(Run, first), **about})
    if len(masks) == len(runs):
        about["measures"] = MaskMeasures.join([run.measures for run in masks]).take(order)
        about["validation_dice"] = validation
        return PooledMasks(**{**_fields_of(MaskRun, first), **about})
    raise InputError(
        f"Only cross-validations of classes, labels or masks are compared. Received: {folder}, which predicts"
        f" {first.predicts}. Compare the runs of one fold."
    )


def _require_same_folds(first: CrossValidation, other: CrossValidation) -> None:
    """Checks that two cross-validations dealt the same samples to the same folds."""
    received = f"{first.path} with {_describe_folds(first)}, {other.path} with {_describe_folds(other)}"
    if _describe_folds(first) == _describe_folds(other):
        pairs = zip(first.repeats, other.repeats, strict=True)
        folds = [(a, b) for one, two in pairs for a, b in zip(one.folds, two.folds, strict=True)]
        if all(sorted(a.files) == sorted(b.files) and a.samples == b.samples for a, b in folds):
            return
        received += ", but other samples in them"
    raise InputError(
        f"Cross-validations to compare must have the same folds. Received: {received}. Train both with the same --data,"
        " --folds, --repeats and --split-seed."
    )


def _describe_folds(one: CrossValidation) -> str:
    seed, count = one.config.seed_of_splits, len(one.repeats)
    return f"{len(one.repeats[0].folds)} folds, {count} repeat{'s' if count > 1 else ''} and split seed {seed}"
