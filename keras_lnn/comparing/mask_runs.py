"""Runs of segmentation: read from their folders, and measured by the pixels of each image."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from keras_lnn.comparing.compared_run import ComparedRun, RunKind
from keras_lnn.config import TrainConfig
from keras_lnn.data.arrays import Split
from keras_lnn.errors import InputError
from keras_lnn.evaluation.cautions import Basis
from keras_lnn.evaluation.mask_overlaps import MaskMeasures
from keras_lnn.evaluation.masks import GroupedMeasures, MaskEvaluation, evaluate_measures, metric_name
from keras_lnn.evaluation.metrics import MASK_METRICS, list_compared_metrics, list_tested_metrics
from keras_lnn.files.atomic import DAMAGED_FILE_ERRORS
from keras_lnn.folds.pooling import find_units, list_groups, require_same_samples
from keras_lnn.runs.folder import RunFolder
from keras_lnn.saved.results import name_samples
from keras_lnn.statistics import Estimate
from keras_lnn.statistics.bootstrap import bounded_interval, defined_mean, resample_weights
from keras_lnn.statistics.deviations import resampled_deviations
from keras_lnn.statistics.measurements import Measurement
from keras_lnn.statistics.paired_tests import Difference, Measured, compare_means
from keras_lnn.tasks.prediction_tables import read_measures
from keras_lnn.tasks.segmentation import measures_of
from keras_lnn.tasks.task import Task

COMPARED = list_compared_metrics(MASK_METRICS)
_RESAMPLES = 2000
_CONFIDENCE = 0.95
# What predictions.csv and metrics.json of one run may differ by.
_SAME_DICE = 1e-6


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskRun(ComparedRun):
    """A run of a segmentation, with what it reached on each image of one split.

    Args:
        class_names: Without the background.
        truth: The true pixels of each class, (images, classes).
        background: Name of the class that is not measured.
        measures: What was measured of each image.
        validation_dice: Validation Dice of the epoch that was kept; nan where it is not defined.
    """

    background: str
    measures: MaskMeasures
    validation_dice: float

    tested = list_tested_metrics(MASK_METRICS)
    pictures = ("metrics", "dice")

    @property
    def validation_value(self) -> float:
        """Returns Dice on validation."""
        return self.validation_dice

    @property
    def highest(self) -> dict[str, float]:
        """Returns the largest distance that an image has room for, as the upper limit of distances."""
        distances = [metric_name(name, self.measures) for name, metric in MASK_METRICS.items() if metric.is_distance]
        return dict.fromkeys(distances, float(self.measures.diagonals.max()))

    @property
    def parts(self) -> tuple[MaskRun, ...]:
        """Returns the run itself, or the repeats of a cross-validation, which predict the same images each."""
        return (self,)

    @property
    def samples_are(self) -> str:
        """Returns in words what runs must have in common."""
        return "images and masks"

    def count_classes(self) -> list[int]:
        """Returns how many images each class is in."""
        return (self.truth > 0).sum(axis=0).tolist()

    def choose_headline(self, known: Sequence[str]) -> tuple[str, ...]:
        """Returns the metrics that are shown first."""
        return COMPARED

    def describe_methods(self) -> list[str]:
        """Returns sentences on intervals and tests of segmentations."""
        return [
            f"They contain the true value in about 95% of cases and come from {_RESAMPLES:,} bootstrap resamples of "
            f"the {self.basis.unit}, the same ones for every run.",
            "Dice and IoU are those of all pixels of the split together, means over the classes without the "
            "background. They are compared by a paired t-test, whose standard error is that of the resamples.",
        ]


def read_mask_run(path: Path, split: str = "test") -> MaskRun:
    """Reads one complete run of a segmentation; what is damaged or of another task is one clear line."""
    folder = RunFolder.open(path)
    metrics = folder.read_metrics()
    if metrics is None or not set(COMPARED) <= metrics["val"].keys():
        raise InputError(
            f"Segmentation runs are compared only with each other. Received: {path}, which has no Dice. Name folders of"
            " one data set."
        )
    if split not in metrics:
        raise InputError(
            f"Runs are compared on a split that they were measured on. Received: {path}, which has no {split} split "
            "(it was trained with --no-test). Compare with --split val."
        )
    try:
        background, *names = metrics["classes"]
        measures, samples = read_measures(folder.predictions, split, names)
        dice = GroupedMeasures(measures)(np.ones((1, len(measures))))[0, 0]
        known = metrics[split]["dice"]["value"]
        if known is not None and not abs(dice - known) <= _SAME_DICE:
            raise ValueError(f"a Dice of {dice:.4f} against {known:.4f} in metrics.json")
        validation = metrics["val"]["dice"]["value"]
        about = {name: metrics[name] for name in ("parameters", "seconds", "epochs")}
        warnings = _read_warnings(metrics, split)
    except (*DAMAGED_FILE_ERRORS, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(
            f"predictions.csv and metrics.json must be as the run wrote them. Received: {path} ({error}). "
            "Train it again."
        ) from None
    checksum = folder.read_environment().get("data_checksum")
    return MaskRun(
        path=path,
        config=TrainConfig.from_yaml(folder.config),
        split=split,
        task="segmentation",
        class_names=tuple(names),
        background=background,
        truth=measures.truth,
        files=samples.files,
        measures=measures,
        groups=samples.groups,
        checksum=checksum if isinstance(checksum, str) else "",
        file_bytes=folder.best_model.stat().st_size if folder.best_model.is_file() else None,
        validation_dice=float("nan") if validation is None else validation,
        warnings=warnings,
        noun=name_samples(metrics),
        **about,
    )


def mean_dice(runs: Sequence[MaskRun]) -> np.ndarray:
    """Returns Dice of each image and class, (images, classes), the mean over runs; nan where no run has one."""
    return defined_mean(np.stack([part.measures.dice for run in runs for part in run.parts]))


def measure_mask_model(
    runs: Sequence[MaskRun], *, positive_class: str | None = None, progress: Callable[[float], None] | None = None
) -> tuple[dict[str, Measured], dict[str, dict[str, Measured]]]:
    """Measures the runs of one model.

    Args:
        runs: One for each seed, on the same images.
        positive_class: None, since masks have none.
        progress: Called with the fraction done.

    Returns:
        Each of ``COMPARED``, and nothing for single labels.
    """
    found: dict[str, list[Measurement]] = {name: [] for name in COMPARED}
    units = 1
    for place, run in enumerate(runs):
        of_run, units = _resample([part.measures for part in run.parts], run.groups)
        for name in COMPARED:
            found[name].append(of_run[name])
        if progress is not None:
            progress((place + 1) / len(runs))
    return {name: Measured.of(of_runs, max(units - 1, 1)) for name, of_runs in found.items()}, {}


def measure_mask_split(
    metric: str, task: Task, split: Split, predicted: Sequence[np.ndarray]
) -> tuple[list[Measurement], Callable[[np.ndarray], float]]:
    """Returns a metric of the masks of several models; see :attr:`RunKind.measure_split`."""
    measured, units = [], 1
    for masks in predicted:
        found, units = _resample([measures_of(task.measure(split, masks))], split.groups)
        measured.append(found[metric])
    degrees = float(max(units - 1, 1))
    return measured, lambda _: degrees


def _resample(repeats: Sequence[MaskMeasures], groups: Sequence[str] | None) -> tuple[dict[str, Measurement], int]:
    """Returns each of ``COMPARED`` with its deviations, and the number of units; the same ones are drawn each time.

    Args:
        repeats: The measures of the same images for each model, over which metrics are averaged.
        groups: The patient of each image.
    """
    statistics = [GroupedMeasures(measures, groups) for measures in repeats]
    patients = statistics[0].groups

    def average(weights: np.ndarray) -> np.ndarray:
        return defined_mean(np.stack([one(weights)[: len(MASK_METRICS)] for one in statistics]))

    values = average(np.ones((1, patients)))[:, 0]
    drawn = np.concatenate([average(weights) for weights in resample_weights(patients, _RESAMPLES, seed=0)], axis=1)
    # Few patients spread less when they are drawn again than new ones would.
    correction = np.sqrt(patients / max(patients - 1, 1))
    found = {}
    for name in COMPARED:
        place = list(MASK_METRICS).index(name)
        ends = bounded_interval(values[place], drawn[place], _CONFIDENCE, 1.0, patients)
        found[name] = Measurement(Estimate(values[place], *ends), resampled_deviations(drawn[place]) * correction)
    return found, patients


def compare_mask_models(
    metric: str, first: Sequence[MaskRun], one: Measured, second: Sequence[MaskRun], other: Measured, label: str = ""
) -> tuple[Difference, str]:
    """Returns the difference of a metric of two models, and how it was tested.

    Args:
        metric: Its name.
        first: The runs of one model.
        one: The metric of them.
        second: The runs of the other model.
        other: The metric of them.
        label: Empty, since masks are not compared by single labels.
    """
    unit = first[0].basis.unit
    return compare_means(one, other, degrees=one.degrees), f"paired t, standard error by bootstrap over {unit}"


def pool_mask_runs(repeats: Sequence[Sequence[MaskRun]]) -> MaskEvaluation:
    """Returns the metrics of the images of all folds as those of one set, as a run measures its own.

    Args:
        repeats: The run of each fold, for each repeat.
    """
    first, names = repeats[0][0], [[name for run in folds for name in run.files] for folds in repeats]
    require_same_samples(names)
    patients = [list_groups([run.groups for run in folds]) for folds in repeats]
    return evaluate_measures(
        [MaskMeasures.join([run.measures for run in folds]) for folds in repeats],
        find_units(patients, names),
        background=first.background,
        basis=Basis.of(sum(run.samples for run in repeats[0]), patients[0], first.noun),
    )


def _read_warnings(metrics: dict[str, Any], split: str) -> tuple[str, ...]:
    """Returns the warnings of a split; they were written of the test split if there is one, else of validation."""
    is_measured = split == "test" or "test" not in metrics
    return tuple(text for text in metrics["warnings"] if is_measured or "has collapsed" in text)


MASK_RUNS = RunKind(read_mask_run, measure_mask_model, compare_mask_models, measure_mask_split, pool_mask_runs)
