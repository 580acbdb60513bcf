"""The features of the images that a run has learned from, kept in its folder."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from keras_lnn.data import ImageData, Split
from keras_lnn.data.arrays import ImageArray
from keras_lnn.errors import InputError
from keras_lnn.explaining.compared import LearnedComparison
from keras_lnn.explaining.features import make_reader, read_features
from keras_lnn.explaining.likeness import measure_likeness
from keras_lnn.explaining.neighbours import LearnedFeatures, learn_features, read_features_file, write_features
from keras_lnn.files.atomic import file_digest
from keras_lnn.runs.folder import RunFolder
from keras_lnn.saved.predictor import Predictor
from keras_lnn.trained.evaluate import LastLoaded, open_model
from keras_lnn.trained.samples import LEARNED_DATA

_UNKNOWN = "It is not known whether images are like those that {} has learned from."


def learn_to_compare(
    model: str | Path, predictor: Predictor, progress: Callable[[float], None] | None = None
) -> tuple[LearnedFeatures, Callable[[ImageArray], np.ndarray]]:
    """Returns the features of the training images, and what gives the likeness of other images to them.

    Args:
        model: A run, or a ``.keras`` file whose data can be found.
        predictor: The same model, loaded.
        progress: Called with the fraction done.
    """
    read, learned = make_reader(predictor), load_learned_features(model, progress=progress)
    return learned, lambda images: measure_likeness(learned, read(images)).p_values


def load_learned_features(
    model: str | Path,
    load: Callable[..., ImageData] | None = None,
    progress: Callable[[float], None] | None = None,
) -> LearnedFeatures:
    """Returns the features of the training and validation images of a model.

    They are computed once for each model of a run, and kept in the run's folder; for a model without its run they are
    computed again each time.

    Args:
        model: A run, or a ``.keras`` file whose data can be found.
        load: Loads data, as :func:`keras_lnn.data.load_data` does; data of the last two names are kept if not given.
        progress: Called with the fraction done.

    Raises:
        InputError: If the images can no longer be found, with a sentence that can be shown in place of a result.
    """
    run = RunFolder(Path(model))
    is_run = _is_run(run)
    digest = file_digest(run.best_model) if is_run else ""
    kept = read_features_file(run.features, digest) if is_run else None
    if kept is not None:
        return kept
    predictor, train, validation = open_learned_splits(model, load)
    learned = learn_features(predictor, train, validation, progress=progress)
    if is_run:
        # In a folder that cannot be written to they are only not kept.
        with contextlib.suppress(OSError):
            write_features(run.features, learned, digest)
    return learned


def compare_with_learned(
    model: str | Path,
    predictor: Predictor,
    images: ImageArray,
    load: Callable[..., ImageData],
    progress: Callable[[float], None] | None = None,
) -> LearnedComparison | str:
    """Returns how samples compare with those that a run has learned from, or a sentence on why that is not known.

    Args:
        model: The model. A ``.keras`` file alone is not compared, even where its data could be downloaded.
        predictor: The same, loaded.
        images: The samples, of the shape that the model reads.
        load: As for :func:`load_learned_features`.
        progress: Called with the fraction done.
    """
    noun, cannot_tell = predictor.signature.samples, _UNKNOWN.format(model)
    if not _is_run(RunFolder(Path(model))):
        return f"{cannot_tell} A .keras file does not hold those {noun}: explain its run."
    try:
        learned = load_learned_features(model, load, progress)
        features = read_features(predictor, images)
    except InputError as error:
        return f"{cannot_tell} {str(error).removeprefix(cannot_tell).strip()}"
    likeness, neighbours = measure_likeness(learned, features), learned.find_neighbours(features)
    try:
        _, train, _ = open_learned_splits(model, load)
    except InputError as error:
        reason = str(error).removeprefix(cannot_tell).strip()
        return LearnedComparison(likeness, neighbours, None, f"Training {noun} cannot be drawn: {reason}")
    if not _are_still(learned, train):
        changed = f"Training {noun} cannot be drawn, because they have changed since their features were kept."
        return LearnedComparison(likeness, neighbours, None, f"{changed} Remove {RunFolder(Path(model)).features}.")
    return LearnedComparison(likeness, neighbours, train.images)


def _is_run(run: RunFolder) -> bool:
    return run.config.is_file() and run.best_model.is_file()


def _are_still(learned: LearnedFeatures, train: Split) -> bool:
    """Returns whether the training split still has the images of some features at the same places."""
    if learned.rows.max() >= len(train):
        return False
    return train.names is None or [str(train.names[row]) for row in learned.rows] == list(learned.names)


def open_learned_splits(
    model: str | Path, load: Callable[..., ImageData] | None = None
) -> tuple[Predictor, Split, Split]:
    """Returns a model with its training and its validation split.

    Args:
        model: As for :func:`load_learned_features`.
        load: Likewise.
    """
    load = load or LastLoaded()
    try:
        opened = [open_model(model, split=split, load=load) for split in ("train", "val")]
    except InputError as error:
        # The features are asked for by commands that have other data, if any.
        reason = str(error).removesuffix(" Give their place with --data.")
        raise InputError(f"{_UNKNOWN.format(model)} {reason}") from None
    for one in opened:
        if one.chosen.data_is != LEARNED_DATA:
            raise InputError(f"{_UNKNOWN.format(model)} {one.name} no longer contains them.")
    return opened[0].predictor, opened[0].chosen.joined(), opened[1].chosen.joined()
