"""The training images that are nearest to an image in the eyes of a network: by the features that it decides by."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_lnn.data.arrays import Split
from keras_lnn.data.splitting import take_samples
from keras_lnn.errors import InputError
from keras_lnn.explaining.features import make_reader
from keras_lnn.files.atomic import DAMAGED_FILE_ERRORS
from keras_lnn.runs.checkpoints import UnreadableNow, read_arrays, write_arrays
from keras_lnn.saved.predictor import Predictor
from keras_lnn.statistics.prediction_sets import draw_one_of_each

# Of larger splits as many images are drawn, which keeps the file at about ten megabytes at most.
MOST_IMAGES = 5000
# The distance of an image from what was learned is that to its k-th nearest training image, so that one odd training
# image does not count.
NEIGHBOUR = 10
# The form of the file; another one is computed again.
_FORM = 1
_QUERIES_TOGETHER = 512


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """The training images nearest to some images, the nearest first.

    Args:
        rows: Their positions in the training split, (images, k).
        distances: Their cosine distances, from 0 to 2, (images, k).
        names: The name of each, such as its file; its number if it has none.
        labels: The label of each in words.
    """

    rows: np.ndarray
    distances: np.ndarray
    names: list[list[str]]
    labels: list[list[str]]


@dataclasses.dataclass(frozen=True)
class LearnedFeatures:
    """The features of the images that a model has learned from.

    Features are divided by their length, as in Sun et al., "Out-of-distribution detection with deep nearest neighbors",
    2022, and the distance of two images is one minus the cosine of the angle between them. They are not centred or
    standardised before: on the embedded images this found fewer images of other kinds, and no noise at all, since among
    hundreds of centred features any two images are nearly at right angles.

    Args:
        directions: The features of training images, of length one, float32 (images, features): half precision would
            confuse the order of images whose features are nearly alike.
        rows: Position of each image in the training split.
        names: Name of each, such as its file; its number if it has none.
        labels: Label of each in words.
        patients: Patient of each; None where they are unknown.
        validation: The distance of each validation image from what was learned, rising; of one image per patient where
            patients are known.
        noun: What the samples are, in the plural: ``images`` or ``series``.
    """

    directions: np.ndarray
    rows: np.ndarray
    names: Sequence[str]
    labels: Sequence[str]
    patients: Sequence[str] | None
    validation: np.ndarray
    noun: str = "images"

    def measure_distances(self, features: np.ndarray) -> np.ndarray:
        """Returns the distance of images from what was learned: that to their ``NEIGHBOUR``-th nearest training image.

        Args:
            features: As :func:`keras_lnn.explaining.features.read_features` returns them.
        """
        place = min(NEIGHBOUR, len(self.rows)) - 1
        return np.concatenate([np.partition(part, place, axis=1)[:, place] for part in self._distances(features)])

    def find_neighbours(self, features: np.ndarray, count: int = 5) -> Neighbours:
        """Returns the training images nearest to images; where patients are known, at most one image of each.

        Args:
            features: As :func:`keras_lnn.explaining.features.read_features` returns them.
            count: Number of neighbours; fewer if there are fewer training images or patients.
        """
        if count < 1:
            raise InputError(f"count must be at least 1. Received: {count}.")
        patients = (
            np.arange(len(self.rows)) if self.patients is None else np.unique(self.patients, return_inverse=True)[1]
        )
        places, distances = [], []
        for part in self._distances(features):
            for row in part:
                order = np.argsort(row, kind="stable")
                _, first = np.unique(patients[order], return_index=True)
                chosen = order[np.sort(first)[:count]]
                places.append(chosen)
                distances.append(row[chosen])
        found = np.array(places)
        return Neighbours(
            self.rows[found],
            np.array(distances),
            [[self.names[place] for place in row] for row in found],
            [[self.labels[place] for place in row] for row in found],
        )

    def _distances(self, features: np.ndarray) -> list[np.ndarray]:
        """Returns the distances (images, training images) of a part of the images after the other."""
        known = self.directions.astype(np.float64)
        parts = [features[start : start + _QUERIES_TOGETHER] for start in range(0, len(features), _QUERIES_TOGETHER)]
        return [np.clip(1 - _directions(part) @ known.T, 0, 2) for part in parts]


def learn_features(
    predictor: Predictor,
    train: Split,
    validation: Split,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> LearnedFeatures:
    """Computes the features of the images that a model has learned from.

    Args:
        predictor: The model, a run or a ``.keras`` file.
        train: The training split.
        validation: The validation split, whose distances say what is usual.
        seed: Seed for drawing images of splits of more than ``MOST_IMAGES``, and one validation image per patient.
        progress: Called with the fraction done.
    """
    task, done = predictor.signature.get_task(), 0
    rows, chosen = _draw(train, np.arange(len(train)), seed)
    one_each = np.arange(len(validation))
    if validation.groups is not None:
        one_each = draw_one_of_each(validation.groups, seed)
    _, usual = _draw(validation, one_each, seed)

    def count(images: int) -> None:
        nonlocal done
        done += images
        if progress is not None:
            progress(done / (len(chosen) + len(usual)))

    read = make_reader(predictor, count)
    learned = LearnedFeatures(
        directions=_directions(read(chosen.images)).astype(np.float32),
        rows=rows,
        names=[f"#{row}" for row in rows] if chosen.names is None else [str(name) for name in chosen.names],
        labels=[task.describe_label(label) for label in chosen.labels],
        patients=None if chosen.groups is None else [str(group) for group in chosen.groups],
        validation=np.zeros(0),
        noun=predictor.signature.samples,
    )
    return dataclasses.replace(learned, validation=np.sort(learned.measure_distances(read(usual.images))))


def write_features(path: Path, learned: LearnedFeatures, model: str) -> None:
    """Writes features to a file, for :func:`read_features_file`.

    Args:
        path: The ``.npz`` file.
        learned: The features.
        model: Digest of the model's file.
    """
    arrays: dict[str, list[np.ndarray]] = {name: [getattr(learned, name)] for name in _ARRAYS}
    meta: dict[str, Any] = {name: getattr(learned, name) for name in _TEXTS}
    write_arrays(path, arrays, meta | {"model": model, "form": _FORM})


def read_features_file(path: Path, model: str) -> LearnedFeatures | None:
    """Returns the features in a file; None if there is none, if it is damaged, or if it is of another model.

    Args:
        path: The ``.npz`` file.
        model: Digest of the model's file.
    """
    try:
        groups, meta = read_arrays(path)
        if meta["model"] != model or meta["form"] != _FORM:
            return None
        content: dict[str, Any] = {name: groups[name][0] for name in _ARRAYS} | {name: meta[name] for name in _TEXTS}
        return LearnedFeatures(**content)
    except (UnreadableNow, *DAMAGED_FILE_ERRORS):
        return None


_ARRAYS = ("directions", "rows", "validation")
_TEXTS = ("names", "labels", "patients", "noun")


def _draw(split: Split, rows: np.ndarray, seed: int) -> tuple[np.ndarray, Split]:
    """Returns at most ``MOST_IMAGES`` of some rows of a split, rising, and the images."""
    if len(rows) > MOST_IMAGES:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MOST_IMAGES, replace=False))
    return rows, take_samples(split, rows)


def _directions(features: np.ndarray) -> np.ndarray:
    """Returns features divided by their length; where all are off they stay zero, at right angles to all others."""
    exact = features.astype(np.float64)
    lengths = np.linalg.norm(exact, axis=1, keepdims=True)
    return np.divide(exact, lengths, out=np.zeros_like(exact), where=lengths > 0)
