"""``predictions.csv``, the table of what a run predicts for each sample: written and read back here."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from keras_lnn.evaluation.mask_overlaps import MaskMeasures
from keras_lnn.evaluation.masks import metric_name
from keras_lnn.files.csv_tables import plain_cell
from keras_lnn.statistics.bootstrap import defined_mean

if TYPE_CHECKING:
    from keras_lnn.data.arrays import Split

_PROBABILITY, _TRUTH = "probability ", "truth "


@dataclasses.dataclass(frozen=True)
class SampleNames:
    """The names of the samples of a table.

    Args:
        files: File name of each sample; empty where there are no files.
        groups: The patient of each sample; None where patients are not known.
    """

    files: tuple[str, ...]
    groups: tuple[str, ...] | None


def tabulate_probabilities(
    split: Split, probabilities: np.ndarray, class_names: Sequence[str], split_name: str, exclusive: bool
) -> pd.DataFrame:
    """Returns one row per sample with the truth and the probability of each class or label.

    Args:
        split: The samples.
        probabilities: (samples, classes or labels).
        class_names: One name for each class or label.
        split_name: The split's name, for the first column.
        exclusive: Whether each sample has exactly one of the classes.
    """
    columns, labels = _sample_columns(split, split_name), split.labels
    if exclusive:
        columns |= {"truth": labels, "truth_name": [class_names[label] for label in labels]}
    else:
        columns |= {_TRUTH + name: labels[:, index] for index, name in enumerate(class_names)}
    columns |= {_PROBABILITY + name: probabilities[:, index] for index, name in enumerate(class_names)}
    return pd.DataFrame(columns)


def read_probabilities(
    path: Path, split_name: str, class_names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, SampleNames, bool]:
    """Returns what :func:`tabulate_probabilities` has written of a split.

    Args:
        path: The file.
        split_name: The split whose rows are read.
        class_names: The classes or labels whose columns are read.

    Returns:
        The truth, the probabilities, the names of the samples, and whether each has exactly one of the classes.
    """
    table = _read_split(path, split_name)
    probabilities = table[[_PROBABILITY + name for name in class_names]].to_numpy(dtype=np.float64)
    exclusive = "truth" in table
    labels = table["truth"] if exclusive else table[[_TRUTH + name for name in class_names]]
    truth = labels.to_numpy(dtype=np.float64)
    if not np.array_equal(truth, np.floor(truth)):
        raise ValueError("truth is not whole numbers")
    return truth.astype(np.int64), probabilities, _read_names(table), exclusive


def tabulate_measures(split: Split, measures: MaskMeasures, split_name: str) -> pd.DataFrame:
    """Returns one row per image: its index, file and patient where known, its measures, and the pixels of each class.

    Cells are empty where there is nothing to measure: Dice and IoU of a class that is neither present nor predicted,
    and distances of a class that is not both.
    """
    columns = _sample_columns(split, split_name)
    columns |= {"dice": measures.mean_dice(), "iou": defined_mean(measures.iou.T)}
    columns["pixel_error"] = measures.wrong / measures.pixels
    columns["image_pixels"] = measures.pixels
    columns[_diagonal(measures.in_millimetres)] = measures.diagonals
    class_measures = {
        "dice": measures.dice,
        "iou": measures.iou,
        metric_name("hd95", measures): measures.hausdorff,
        metric_name("surface_distance", measures): measures.surface,
        "pixels": measures.truth.astype(np.int64),
        "predicted_pixels": measures.predicted.astype(np.int64),
        "common_pixels": measures.common.astype(np.int64),
    }
    for place, name in enumerate(measures.class_names):
        columns |= {f"{metric} {name}": values[:, place] for metric, values in class_measures.items()}
    return pd.DataFrame(columns)


def read_measures(path: Path, split_name: str, class_names: Sequence[str]) -> tuple[MaskMeasures, SampleNames]:
    """Returns what :func:`tabulate_measures` has written of a split, and the names of its images.

    Args:
        path: The file.
        split_name: The split whose rows are read.
        class_names: The classes without the background.
    """
    table = _read_split(path, split_name)

    def columns(metric: str) -> np.ndarray:
        return table[[f"{metric} {name}" for name in class_names]].to_numpy(dtype=np.float64)

    unit = "_mm" if f"hd95_mm {class_names[0]}" in table else ""
    # A version that did not write the size of images wrote errors as shares, so that one pixel stands for an image.
    pixels = int(table.get("image_pixels", pd.Series([1]))[0])
    diagonals = table.get(_diagonal(bool(unit)), pd.Series(np.full(len(table), np.nan)))
    measures = MaskMeasures(
        class_names=tuple(class_names),
        truth=columns("pixels"),
        predicted=columns("predicted_pixels"),
        common=columns("common_pixels"),
        wrong=table["pixel_error"].to_numpy(dtype=np.float64) * pixels,
        pixels=pixels,
        hausdorff=columns(f"hd95{unit}"),
        surface=columns(f"surface_distance{unit}"),
        diagonals=diagonals.to_numpy(dtype=np.float64),
        in_millimetres=bool(unit),
    )
    return measures, _read_names(table)


def _diagonal(in_millimetres: bool) -> str:
    """Returns the name of the column with the distance between opposite corners of each image."""
    return "diagonal_mm" if in_millimetres else "diagonal"


def _sample_columns(split: Split, split_name: str) -> dict[str, Any]:
    """Returns the first columns of a table: split, index, file and patient where they are known."""
    columns: dict[str, Any] = {"split": split_name, "index": np.arange(len(split))}
    if split.names is not None:
        columns["file"] = list(split.names)
    if split.groups is not None:
        columns["patient"] = list(split.groups)
    return columns


def _read_split(path: Path, split_name: str) -> pd.DataFrame:
    table = pd.read_csv(path, dtype={"file": str, "patient": str}, low_memory=False)
    table = table[table["split"] == split_name].reset_index(drop=True)
    if table.empty or list(table["index"]) != list(range(len(table))):
        raise ValueError(f"the rows of {split_name} are not 0, 1, 2, ...")
    return table


def _read_names(table: pd.DataFrame) -> SampleNames:
    # A column is empty for a split of which nothing is known where it is known of another split.
    known = {name: tuple(map(plain_cell, table[name])) for name in ("file", "patient") if _is_known(table, name)}
    return SampleNames(known.get("file", ()), known.get("patient"))


def _is_known(table: pd.DataFrame, column: str) -> bool:
    return column in table and not table[column].isna().any()
