"""How an ensemble decides: its thresholds, sets and referral, chosen on samples that its members did not train on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from keras_lnn.data import load_data
from keras_lnn.ensembles.members import MemberRun
from keras_lnn.ensembles.promises import Promises, find_agreed
from keras_lnn.ensembles.unseen import UnseenPredictions, gather_unseen, predict_mirrored
from keras_lnn.errors import InputError
from keras_lnn.saved.signature import Signature
from keras_lnn.tasks.thresholds import choose_thresholds
from keras_lnn.training.promised import choose_promised


def choose_decisions(
    signature: Signature,
    members: Sequence[MemberRun],
    asked: Promises = Promises(),  # noqa: B008, it is frozen
    load: Callable[..., Any] = load_data,
) -> tuple[Signature, list[str]]:
    """Returns the signature of an ensemble with its thresholds, sets and referral, and what could not be chosen.

    Args:
        signature: The signature of the ensemble, without them.
        members: Its members, whose options are followed where all have the same ones and nothing else is asked for.
        asked: The sets and the referral that are asked for.
        load: Loads data, as :func:`keras_lnn.data.load_data` does, to predict mirror images.
    """
    task, ensemble, config = signature.get_task(), signature.ensemble, asked.complete(members)
    promises = config.coverage is not None or config.referral_risk is not None
    if ensemble is None or not (task.has_thresholds or promises):
        return signature, []
    unseen, notes = _find_unseen(members, ensemble.same_splits, ensemble.mirrored, load)
    if unseen is None:
        return signature, _describe_missing(asked, task.has_thresholds, promises)
    signature = dataclasses.replace(signature, ensemble=dataclasses.replace(ensemble, thresholds_on=unseen.chosen_on))
    rule = find_agreed([member.signature.threshold_rule for member in members]) or task.threshold_rule
    if rule is not None:
        positive = task.positive_index(signature.positive_class)
        thresholds = choose_thresholds(unseen.truth, unseen.probabilities, rule, positive)
        signature = dataclasses.replace(signature, thresholds=thresholds, threshold_rule=rule)
    if not promises:
        return signature, notes
    once = unseen.of_each_once()
    signature, of_promises = choose_promised(config, signature, once.as_split(), once.probabilities)
    return signature, [*notes, *of_promises]


def _find_unseen(
    members: Sequence[MemberRun], same_splits: bool, axes: Sequence[int], load: Callable[..., Any]
) -> tuple[UnseenPredictions | None, list[str]]:
    """Returns what decisions are chosen on, and why mirror images could not be predicted for it."""
    if not axes:
        return gather_unseen(members, same_splits), []
    try:
        return gather_unseen(members, same_splits, lambda one, run: predict_mirrored(one, run, axes, load)), []
    except InputError as error:
        note = f"Decisions were chosen on predictions without mirror images, which need the data: {error}"
        return gather_unseen(members, same_splits), [note]


def _describe_missing(asked: Promises, has_thresholds: bool, promises: bool) -> list[str]:
    """Returns what is left out where there is nothing to choose on; what was asked for must not be."""
    why = "the members share no validation split and are not the folds of one cross-validation"
    if asked.list_asked():
        raise InputError(
            f"{' and '.join(asked.list_asked())} must be chosen on samples that members have not seen. Received: runs"
            f" that leave none, since {why}. Leave it out, or join runs of one split or the folds of one."
        )
    found = [f"Thresholds are 0.5, since {why}."] if has_thresholds else []
    return [*found, f"Prediction sets and referral are left out, since {why}."] if promises else found
