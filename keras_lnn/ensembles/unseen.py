"""Predictions for samples that the members of an ensemble have not seen, by which it chooses how it decides."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_lnn.comparing.runs import Run
from keras_lnn.data.arrays import Split
from keras_lnn.ensembles.joining import join_models
from keras_lnn.ensembles.members import MemberRun
from keras_lnn.errors import InputError
from keras_lnn.saved.ensembles import ON_FOLDS, ON_VALIDATION
from keras_lnn.saved.predictor import KerasPredictor
from keras_lnn.statistics.prediction_sets import draw_one_of_each
from keras_lnn.trained.evaluate import open_model


@dataclasses.dataclass(frozen=True)
class UnseenPredictions:
    """Probabilities of an ensemble, or of its members, for samples that those who predict them have not seen.

    Args:
        truth: Class indices (samples,), or 0/1 (samples, labels).
        probabilities: (samples, classes or labels).
        groups: The patient of each sample; None where patients are not known.
        chosen_on: What the samples are, in words.
        names: The name of each sample; empty where samples have none.
    """

    truth: np.ndarray
    probabilities: np.ndarray
    groups: Sequence[str] | None
    chosen_on: str
    names: Sequence[str] = ()

    def of_each_once(self) -> UnseenPredictions:
        """Returns one random prediction of each sample, since the repeats of a cross-validation are no new samples."""
        if len(set(self.names)) == len(self.names):
            return self
        rows = draw_one_of_each(self.names)
        groups = None if self.groups is None else [self.groups[row] for row in rows]
        names = [self.names[row] for row in rows]
        return UnseenPredictions(self.truth[rows], self.probabilities[rows], groups, self.chosen_on, names)

    def as_split(self) -> Split:
        """Returns the samples as a split without their pixels."""
        without_pixels = np.zeros((len(self.truth), 1, 1, 1), np.uint8)
        return Split(without_pixels, self.truth, None, None if self.groups is None else list(self.groups))


def gather_unseen(
    members: Sequence[MemberRun], same_splits: bool, predict: Callable[[MemberRun, Run], np.ndarray] | None = None
) -> UnseenPredictions | None:
    """Returns what an ensemble can choose its decisions on; None where the members leave nothing to choose on.

    That is the mean of the members' probabilities for a validation split that they share, or what each member of a
    cross-validation predicted for its own fold, all together.

    Args:
        members: Runs of a classification.
        same_splits: Whether they share their splits.
        predict: Returns what a member predicts for the samples of its run; None for what the run has predicted.
    """
    if same_splits:
        runs = _read(members, "val")
        mean = np.mean(_list_probabilities(members, runs, predict), axis=0)
        return UnseenPredictions(runs[0].truth, mean, runs[0].groups, ON_VALIDATION, runs[0].files)
    if not all(member.signature.fold is not None and member.is_tested for member in members):
        return None
    runs = _read(members, "test")
    known = [run.groups for run in runs if run.groups is not None]
    groups = [group for of_run in known for group in of_run] if len(known) == len(runs) else None
    return UnseenPredictions(
        np.concatenate([run.truth for run in runs]),
        np.concatenate(_list_probabilities(members, runs, predict)),
        groups,
        ON_FOLDS,
        [name for run in runs for name in run.files],
    )


def predict_mirrored(member: MemberRun, run: Run, axes: Sequence[int], load: Callable[..., Any]) -> np.ndarray:
    """Returns the mean of what a member predicts for the samples of its run and for their mirror images.

    Args:
        member: The member.
        run: The run with the split that is predicted.
        axes: Axes of the images, counted from 1, along which they are mirrored.
        load: Loads data, as :func:`keras_lnn.data.load_data` does.
    """
    opened = open_model(member.path, split=run.split, options=member.config, load=load)
    if not isinstance(opened.predictor, KerasPredictor):
        raise ValueError(f"Members of an ensemble must be Keras models. Received: {member.path}.")
    if not np.array_equal(opened.chosen.joined().labels, run.truth):
        raise InputError(
            f"The {run.split} samples of a run must be those that it was measured on. Received: {member.path}, whose"
            f" data {opened.name} have other samples or labels now. Restore them."
        )
    signature = opened.signature
    model = join_models([opened.predictor.model], [signature.calibration], signature.get_task(), axes)
    mirrored = KerasPredictor(model, dataclasses.replace(signature, calibration=None))
    return np.concatenate([mirrored.predict_compact(part.images) for part in opened.chosen.parts])


def _list_probabilities(
    members: Sequence[MemberRun], runs: Sequence[Run], predict: Callable[[MemberRun, Run], np.ndarray] | None
) -> list[np.ndarray]:
    if predict is None:
        return [run.probabilities for run in runs]
    return [predict(member, run) for member, run in zip(members, runs, strict=True)]


def _read(members: Sequence[MemberRun], split: str) -> list[Run]:
    runs = [member.read(split) for member in members]
    found = [run for run in runs if isinstance(run, Run)]
    if len(found) < len(runs):
        raise ValueError(f"Only probabilities of whole images have thresholds. Received: {type(runs[0]).__name__}.")
    return found
