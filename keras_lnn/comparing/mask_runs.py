"""Runs of masks side by side on the same images: means over seeds, and differences with intervals over patients."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from keras_lnn.comparing.groups import group_runs
from keras_lnn.comparing.runs import with_known_patients
from keras_lnn.config import TrainConfig
from keras_lnn.errors import InputError, suggest
from keras_lnn.evaluation.mask_overlaps import MaskMeasures
from keras_lnn.evaluation.masks import MASK_METRICS, GroupedMeasures
from keras_lnn.files.atomic import DAMAGED_FILE_ERRORS, writing_to
from keras_lnn.files.csv_tables import plain_cell, to_csv
from keras_lnn.files.written import OTHER_FOLDER, WrittenFiles
from keras_lnn.plots import plot_dice_of_models, save_figure
from keras_lnn.runs.folder import RunFolder
from keras_lnn.saved.card import metric_label
from keras_lnn.statistics import Estimate
from keras_lnn.statistics.bootstrap import bounded_interval, defined_mean, resample_weights
from keras_lnn.statistics.deviations import resampled_deviations
from keras_lnn.statistics.paired_tests import Measured, compare_means, holm, mean_over_runs

if TYPE_CHECKING:
    from rich.console import Console

COMPARED = ("dice", "iou", "dice_per_image")
_TESTED = ("dice", "iou")
_RESAMPLES = 2000
_CONFIDENCE = 0.95
# What predictions.csv and metrics.json of one run may differ by.
_SAME_DICE = 1e-6


@dataclasses.dataclass(frozen=True)
class MaskRun:
    """A complete run of masks, with what it reached on each image of one split.

    Args:
        path: Its folder.
        config: Its complete configuration.
        class_names: Without the background.
        measures: Of each image.
        groups: The patient of each image; None where nobody knows.
        images: Name or position of each image with the true pixels of each class: what tells sets of images apart.
        checksum: Of the data, or empty where it is not known.
        validation_dice: Of the epoch that was kept.
        parameters: Numbers that were learned.
        collapsed: Whether it answers one class everywhere.
    """

    path: Path
    config: TrainConfig
    class_names: tuple[str, ...]
    measures: MaskMeasures
    groups: tuple[str, ...] | None
    images: tuple[tuple[Any, ...], ...]
    checksum: str
    validation_dice: float
    parameters: int
    collapsed: bool


@dataclasses.dataclass(frozen=True)
class MaskComparison:
    """What compared runs of masks say.

    Args:
        models: A row a model: its seeds, means over them with 95% intervals, and its size.
        differences: A row a model and metric: the model's mean less the reference's, with its 95% interval and p.
        dice: By model, of each image and class the mean over its seeds, (samples, classes); nan where no seed has one.
        class_names: Without the background.
        reference: Name of the model that the others are told against.
        data: What was answered.
        title: What was compared.
    """

    models: pd.DataFrame
    differences: pd.DataFrame
    dice: dict[str, np.ndarray]
    class_names: tuple[str, ...]
    reference: str
    data: str
    title: str


def is_mask_run(path: Path) -> bool:
    """Whether a run is complete and of masks."""
    metrics = RunFolder(path).read_metrics()
    return metrics is not None and "dice" in metrics["val"]


def read_mask_run(path: Path, split: str = "test") -> MaskRun:
    """Reads one complete run of masks; what is damaged, or not of masks, is one clear line."""
    folder = RunFolder.open(path)
    metrics = folder.read_metrics()
    if metrics is None or "dice" not in metrics["val"]:
        raise InputError(
            f"Runs of masks are compared with runs of masks. Received: {path}, which has no Dice. Name folders of one"
            " data set."
        )
    if split not in metrics:
        raise InputError(
            f"Runs are compared on a split that they were measured on. Received: {path}, which has no {split} split "
            "(it was trained with --no-test). Compare by --split val."
        )
    try:
        names = tuple(metrics["classes"][1:])
        table = pd.read_csv(folder.predictions, dtype={"file": str, "patient": str})
        table = table[table["split"] == split].reset_index(drop=True)
        measures = _read_measures(table, names)
        dice = GroupedMeasures(measures)(np.ones((1, len(measures))))[0, 0]
        known = metrics[split]["dice"]["value"]
        if known is not None and not abs(dice - known) <= _SAME_DICE:
            raise ValueError(f"a Dice of {dice:.4f} against {known:.4f} in metrics.json")
        validation = metrics["val"]["dice"]["value"]
    except (*DAMAGED_FILE_ERRORS, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(
            f"predictions.csv and metrics.json must be as the run has written them. Received: {path} ({error}). "
            "Train it once more."
        ) from None
    for column in {"file", "patient"} & set(table):
        table[column] = table[column].map(plain_cell, na_action="ignore")
    name = table["file"] if "file" in table else table["index"]
    checksum = folder.read_environment().get("data_checksum")
    return MaskRun(
        path=path,
        config=TrainConfig.from_yaml(folder.config),
        class_names=names,
        measures=measures,
        groups=tuple(table["patient"]) if "patient" in table and not table["patient"].isna().any() else None,
        images=tuple(zip(name, *measures.truth.T.tolist(), strict=True)),
        checksum=checksum if isinstance(checksum, str) else "",
        validation_dice=float("nan") if validation is None else validation,
        parameters=metrics["parameters"],
        collapsed=any("has collapsed" in warning for warning in metrics["warnings"]),
    )


def same_images(runs: Sequence[MaskRun]) -> bool:
    """Whether all runs answered the same images with the same masks."""
    first = runs[0]
    known = {run.checksum for run in runs if run.checksum}
    same = all((run.class_names, run.images) == (first.class_names, first.images) for run in runs)
    return same and len(known) <= 1


def compare_masks(runs: Sequence[MaskRun], reference: str | None = None) -> MaskComparison:
    """Compares models by their masks of the same images; runs that differ in nothing but their seed are one model.

    Intervals hold what other patients and other seeds would change.

    Args:
        runs: On the same images.
        reference: Name of the model that the others are told against; the one with the best mean validation Dice if
            not given.
    """
    for run in runs:
        if not same_images([runs[0], run]):
            raise InputError(
                f"Runs are compared on the same images and masks. Received: {runs[0].path} and {run.path}, whose"
                " differ. Name folders of one data set, size and split."
            )
    runs = with_known_patients(runs)
    patients = runs[0].groups
    groups = {group.name: group for group in group_runs(runs)}
    if reference is not None and reference not in groups:
        raise InputError(
            f"The reference must be one of the models. Received: {reference}. {suggest(reference, groups)}"
        )
    chosen = reference or max(
        groups, key=lambda name: np.nan_to_num(np.mean([run.validation_dice for run in groups[name].runs]))
    )
    measured = {name: _measure(group.runs) for name, group in groups.items()}
    models = []
    for name, group in groups.items():
        row: dict[str, Any] = {"model": name, "seeds": len(group.runs)}
        row["collapsed"] = sum(run.collapsed for run in group.runs)
        for metric in COMPARED:
            mean = mean_over_runs(measured[name][metric])
            row |= {metric: mean.value, f"{metric}_low": mean.low, f"{metric}_high": mean.high}
        models.append(row | {"parameters": group.runs[0].parameters})
    table = pd.DataFrame(models).sort_values("dice", ascending=False, kind="stable", ignore_index=True)
    title = f"{runs[0].config.data}, {len(runs[0].images)} images"
    title += "" if patients is None else f" of {len(set(patients))} patients"
    dice = {name: defined_mean(np.stack([run.measures.dice for run in groups[name].runs])) for name in table["model"]}
    return MaskComparison(
        models=table,
        differences=_differences(measured, chosen, "images" if patients is None else "patients"),
        dice=dice,
        class_names=runs[0].class_names,
        reference=chosen,
        data=runs[0].config.data,
        title=title,
    )


def write_mask_comparison(comparison: MaskComparison, folder: Path) -> dict[str, Path]:
    """Writes the two tables and how Dice spreads over the images; gives their paths by what they are."""
    written = {"models": folder / "comparison.csv", "differences": folder / "pairs.csv", "picture": folder / "dice.png"}
    files = WrittenFiles(folder, OTHER_FOLDER)
    files.require_free(written.values())
    with writing_to(folder):
        files.write_text(written["models"], to_csv(comparison.models))
        files.write_text(written["differences"], to_csv(comparison.differences))
        with files.write(written["picture"]) as temporary:
            save_figure(plot_dice_of_models(comparison.dice, comparison.class_names), temporary)
    return written


def print_mask_comparison(comparison: MaskComparison, console: Console) -> None:
    """A table of the models, and a sentence a difference."""
    from rich.table import Table
    from rich.text import Text

    title = f"{comparison.title}, means over seeds with 95% intervals"
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("model", overflow="fold")
    for name in ("seeds", *map(metric_label, COMPARED), "parameters"):
        table.add_column(name, justify="right")
    for row in comparison.models.to_dict("records"):
        cells = [_interval(row[name], row[f"{name}_low"], row[f"{name}_high"], "") for name in COMPARED]
        table.add_row(Text(row["model"]), str(row["seeds"]), *cells, f"{row['parameters']:,}")
    console.print(table)
    for row in comparison.differences.to_dict("records"):
        difference = _interval(row["difference"], row["low"], row["high"], "+")
        console.print(
            f"- {metric_label(row['metric'])} of {row['model']} less {row['reference']}: {difference}, p"
            f" {row['corrected']:.3f} after Holm's correction"
        )


def _interval(value: float, low: float, high: float, sign: str) -> str:
    ends = "" if np.isnan(low) else f" ({low:{sign}.3f} to {high:{sign}.3f})"
    return f"{value:{sign}.3f}{ends}"


def _measure(runs: Sequence[MaskRun]) -> dict[str, Measured]:
    values, drawn_of_runs = [], []
    for run in runs:
        statistics = GroupedMeasures(run.measures, run.groups)
        patients = statistics.groups
        values.append(statistics(np.ones((1, patients)))[: len(MASK_METRICS), 0])
        # The same patients are drawn for every run.
        drawn = [statistics(weights)[: len(MASK_METRICS)] for weights in resample_weights(patients, _RESAMPLES, seed=0)]
        drawn_of_runs.append(np.concatenate(drawn, axis=1))
    found = {}
    for name in COMPARED:
        place = MASK_METRICS.index(name)
        estimates = [
            Estimate(row[place], *bounded_interval(row[place], rows[place], _CONFIDENCE, 1.0, patients))
            for row, rows in zip(values, drawn_of_runs, strict=True)
        ]
        deviations = np.stack([resampled_deviations(rows[place]) for rows in drawn_of_runs])
        # Few patients spread less when they are drawn again than new ones would.
        correction = np.sqrt(patients / max(patients - 1, 1))
        found[name] = Measured(estimates, deviations * correction, max(patients - 1, 1))
    return found


def _differences(measured: dict[str, dict[str, Measured]], reference: str, unit: str) -> pd.DataFrame:
    rows = []
    for metric in _TESTED:
        found = {
            name: compare_means(of_model[metric], measured[reference][metric], degrees=of_model[metric].degrees)
            for name, of_model in measured.items()
            if name != reference
        }
        corrected = holm([difference.p for difference in found.values()]) if found else []
        for (name, difference), p in zip(found.items(), corrected, strict=True):
            row = {"model": name, "reference": reference, "metric": metric, "difference": difference.value}
            row |= {"low": difference.low, "high": difference.high, "p": difference.p, "corrected": float(p)}
            rows.append({**row, "test": f"paired t, standard error by bootstrap over {unit}"})
    return pd.DataFrame(rows)


def _read_measures(table: pd.DataFrame, names: Sequence[str]) -> MaskMeasures:
    def columns(metric: str) -> np.ndarray:
        return table[[f"{metric} {name}" for name in names]].to_numpy(dtype=np.float64)

    if table.empty or list(table["index"]) != list(range(len(table))):
        raise ValueError("its rows are not 0, 1, 2, ...")
    unit = "_mm" if f"hd95_mm {names[0]}" in table else ""
    # Errors are shares, of images whose size is not written: nothing here asks for their pixels.
    return MaskMeasures(
        class_names=tuple(names),
        truth=columns("pixels"),
        predicted=columns("predicted_pixels"),
        common=columns("common_pixels"),
        wrong=table["pixel_error"].to_numpy(dtype=np.float64),
        pixels=1,
        hausdorff=columns(f"hd95{unit}"),
        surface=columns(f"surface_distance{unit}"),
        in_millimetres=bool(unit),
    )
