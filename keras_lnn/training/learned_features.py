"""The features of the images that a run has learned from, kept in its folder."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from keras_lnn.data import ImageData, Split
from keras_lnn.errors import InputError
from keras_lnn.explaining.neighbours import LearnedFeatures, learn_features, read_features_file, write_features
from keras_lnn.files.atomic import file_digest
from keras_lnn.runs.folder import RunFolder
from keras_lnn.saved.predictor import Predictor
from keras_lnn.training.evaluate import LastLoaded, open_model
from keras_lnn.training.samples import LEARNED_DATA

_CANNOT_TELL = "It cannot be told whether images are like those that {} has learned from."


def load_learned_features(model: str | Path, load: Callable[..., ImageData] | None = None) -> LearnedFeatures:
    """Returns the features of the training and validation images of a model.

    They are computed once for each model of a run, and kept in the run's folder; for a model without its run they are
    computed again each time.

    Args:
        model: A run, or a ``.keras`` file whose data can be found.
        load: Loads data, as :func:`keras_lnn.data.load_data` does; data of the last two names are kept if not given.

    Raises:
        InputError: If the images can no longer be found, with a sentence that can be shown in place of a result.
    """
    run = RunFolder(Path(model))
    is_run = run.config.is_file() and run.best_model.is_file()
    digest = file_digest(run.best_model) if is_run else ""
    kept = read_features_file(run.features, digest) if is_run else None
    if kept is not None:
        return kept
    predictor, train, validation = open_learned_splits(model, load)
    learned = learn_features(predictor, train, validation)
    if is_run:
        # In a folder that cannot be written to they are only not kept.
        with contextlib.suppress(OSError):
            write_features(run.features, learned, digest)
    return learned


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
        raise InputError(f"{_CANNOT_TELL.format(model)} {reason}") from None
    for one in opened:
        if one.chosen.data_is != LEARNED_DATA:
            raise InputError(f"{_CANNOT_TELL.format(model)} {one.name} no longer contains them.")
    return opened[0].predictor, opened[0].chosen.joined(), opened[1].chosen.joined()
