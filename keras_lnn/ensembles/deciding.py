"""How an ensemble decides: its thresholds, sets and referral, chosen on samples that its members did not train on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from keras_lnn.comparing.runs import Run
from keras_lnn.data.arrays import Split
from keras_lnn.ensembles.members import MemberRun
from keras_lnn.saved.ensembles import ON_FOLDS, ON_VALIDATION
from keras_lnn.saved.signature import Signature
from keras_lnn.tasks.thresholds import choose_thresholds
from keras_lnn.training.promised import choose_promised

Value = TypeVar("Value")


@dataclasses.dataclass(frozen=True)
class UnseenPredictions:
    """Probabilities of an ensemble, or of its members, for samples that those who predict them have not seen.

    Args:
        truth: Class indices (samples,), or 0/1 (samples, labels).
        probabilities: (samples, classes or labels).
        groups: The patient of each sample; None where patients are not known.
        chosen_on: What the samples are, in words.
    """

    truth: np.ndarray
    probabilities: np.ndarray
    groups: Sequence[str] | None
    chosen_on: str


def gather_unseen(members: Sequence[MemberRun], same_splits: bool) -> UnseenPredictions | None:
    """Returns what thresholds can be chosen on; None where the members leave nothing to choose on.

    That is the mean of the members' probabilities for a validation split that they share, or what each member of a
    cross-validation predicted for its own fold, all together.

    Args:
        members: Runs of a classification.
        same_splits: Whether they share their splits.
    """
    if same_splits:
        runs = _read(members, "val")
        mean = np.mean([run.probabilities for run in runs], axis=0)
        return UnseenPredictions(runs[0].truth, mean, runs[0].groups, ON_VALIDATION)
    if not all(member.signature.fold is not None and member.is_tested for member in members):
        return None
    runs = _read(members, "test")
    truth, probabilities = (np.concatenate([getattr(run, name) for run in runs]) for name in ("truth", "probabilities"))
    known = [run.groups for run in runs if run.groups is not None]
    groups = [group for of_run in known for group in of_run] if len(known) == len(runs) else None
    return UnseenPredictions(truth, probabilities, groups, ON_FOLDS)


def choose_decisions(signature: Signature, members: Sequence[MemberRun]) -> tuple[Signature, list[str]]:
    """Returns the signature of an ensemble with its thresholds, sets and referral, and what could not be chosen.

    Args:
        signature: The signature of the ensemble, without them.
        members: Its members, whose options are followed where all have the same ones.
    """
    task, ensemble = signature.get_task(), signature.ensemble
    options = [(one.config.coverage, one.config.coverage_by_class, one.config.referral_risk) for one in members]
    coverage, _, risk = _agreed(options) or (None, False, None)
    promises = coverage is not None or risk is not None
    if ensemble is None or not (task.has_thresholds or promises):
        return signature, []
    unseen = gather_unseen(members, ensemble.same_splits)
    if unseen is None:
        noted = "Thresholds are 0.5, since the members share no validation split and are not the folds of one"
        return signature, [f"{noted} cross-validation."] if task.has_thresholds else []
    rule = _agreed([member.signature.threshold_rule for member in members]) or task.threshold_rule
    if rule is not None:
        positive = task.positive_index(signature.positive_class)
        thresholds = choose_thresholds(unseen.truth, unseen.probabilities, rule, positive)
        ensemble = dataclasses.replace(ensemble, thresholds_on=unseen.chosen_on)
        signature = dataclasses.replace(signature, thresholds=thresholds, threshold_rule=rule, ensemble=ensemble)
    if not promises:
        return signature, []
    if not ensemble.same_splits:
        return signature, ["Prediction sets and referral are left out, since the members share no validation split."]
    groups = None if unseen.groups is None else list(unseen.groups)
    without_pixels = np.zeros((len(unseen.truth), 1, 1, 1), np.uint8)
    validation = Split(without_pixels, unseen.truth, None, groups)
    return choose_promised(members[0].config, signature, validation, unseen.probabilities)


def _read(members: Sequence[MemberRun], split: str) -> list[Run]:
    runs = [member.read(split) for member in members]
    found = [run for run in runs if isinstance(run, Run)]
    if len(found) < len(runs):
        raise ValueError(f"Only probabilities of whole images have thresholds. Received: {type(runs[0]).__name__}.")
    return found


def _agreed(values: Sequence[Value]) -> Value | None:
    """Returns the value that all members have; None where they differ."""
    return values[0] if all(value == values[0] for value in values) else None
