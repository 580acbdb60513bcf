"""Prediction sets and referral of a run: chosen on validation, measured on every split."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from keras_lnn.config import TrainConfig
from keras_lnn.data.arrays import Split, name_samples
from keras_lnn.evaluation.cautions import Basis
from keras_lnn.evaluation.prediction_sets import measure_referral, measure_sets
from keras_lnn.files.atomic import without_nan
from keras_lnn.saved.signature import Signature
from keras_lnn.tasks.prediction_sets import choose_sets
from keras_lnn.tasks.referral import choose_referral_of


def choose_promised(
    config: TrainConfig, signature: Signature, validation: Split, predicted: np.ndarray
) -> tuple[Signature, list[str]]:
    """Returns the signature with the sets and the referral that were asked for, and sentences on what cannot be had.

    Args:
        config: What was asked for.
        signature: The signature of the model, with its calibration and its thresholds.
        validation: The samples on which they are chosen.
        predicted: The calibrated probabilities of these samples.
    """
    truth, groups, notes = validation.labels, validation.groups, []
    if config.coverage is not None:
        sets, note = choose_sets(
            truth,
            predicted,
            config.coverage,
            by_class=config.coverage_by_class,
            groups=groups,
            class_names=signature.class_names,
        )
        signature = dataclasses.replace(signature, sets=sets)
        notes.append(note)
    if config.referral_risk is not None:
        decided = signature.get_task().decide(predicted, signature.thresholds)
        about = (config.referral_risk, signature.thresholds, groups)
        referral, note = choose_referral_of(truth, predicted, decided, *about)
        signature = dataclasses.replace(signature, referral=referral)
        notes.append(note)
    return signature, [note for note in notes if note]


def measure_promised(splits: dict[str, tuple[Split, np.ndarray]], signature: Signature) -> dict[str, Any]:
    """Returns what the sets and the referral of a model do on some splits, in the form of metrics.json.

    Args:
        splits: The samples of each split and what is predicted for them.
        signature: The signature of the model.

    Returns:
        ``sets`` and ``referral``, each with how it was chosen and one entry per split; empty where the model has none.
    """
    found: dict[str, Any] = {}
    if signature.sets is not None:
        found["sets"] = dataclasses.asdict(signature.sets)
    if signature.referral is not None:
        found["referral"] = dataclasses.asdict(signature.referral)
    for name, (split, predicted) in splits.items():
        promised = signature.find_promised(predicted)
        if "set" in promised:
            found["sets"][name] = measure_sets(promised["set"], split.labels, signature.class_names, split.groups)
        if "refer" in promised:
            right = signature.get_task().decide(predicted, signature.thresholds) == split.labels
            found["referral"][name] = measure_referral(promised["refer"], right, split.groups)
    return without_nan(found)


def describe_chosen_on(validation: Split) -> dict[str, Any]:
    """Returns the number of validation samples or patients on which sets and referral were chosen."""
    basis = Basis.of(len(validation), validation.groups, name_samples(validation.images))
    return {"unit": basis.unit, "count": basis.count}
