"""The evaluation of a saved model on the data of its training, as at the end of its run, or on other data."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_lnn.data import ImageData, Split, load_data
from keras_lnn.data.arrays import ALL
from keras_lnn.data.samples import SplitPlan
from keras_lnn.fields.options import DataOptions
from keras_lnn.saved.predictor import load_predictor
from keras_lnn.saved.results import name_samples
from keras_lnn.saved.signature import Signature
from keras_lnn.training.class_names import with_classes_of
from keras_lnn.training.report import measure_split, metrics_of_split
from keras_lnn.training.samples import LEARNED_DATA, ChosenSamples, LearnedData, choose_samples


def evaluate_model(
    model: str | Path,
    *,
    data: str | None = None,
    split: str | None = None,
    options: DataOptions = DataOptions(),  # noqa: B008, it is frozen
    map_classes: Mapping[str, str] | None = None,
    positive_class: str | None = None,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Measures a saved model.

    Images are recognised by their content, so the data that the model was trained on are measured in the splits of its
    run even if they were renamed or moved. Of other data all images are measured that were in neither training nor
    validation.

    Args:
        model: A run, a ``.keras`` file, an exported folder, or a name in ``saved_models/``.
        data: Data set; the one that it was trained on if not given.
        split: ``train``, ``val``, ``test`` or ``all``, which is everything but training and validation; if not given,
            ``test`` for the data that it was trained on and ``all`` for other data.
        options: Options for reading the data; missing values are those of the training.
        map_classes: The model's class name for each class that has another name in the data.
        positive_class: The positive one of two classes; that of its training if not given.
        progress: Called with the fraction done.

    Returns:
        The content that metrics.json has for a split, with what was measured: ``model``, ``data``, ``data_is`` (in
        words), ``split``, ``images``, ``patients`` (None where unknown), ``left_out_training_images``, ``new_images``
        and ``missing_images``.
    """
    predictor = load_predictor(model)
    signature = predictor.signature
    if positive_class is not None:
        signature.get_task().require_positive_class(positive_class)
        signature = _with_positive_class(positive_class, signature)
    learned = LearnedData.of(model, signature)
    name = data or learned.name
    reading = learned.reading(name, options)

    def load(plan: SplitPlan) -> ImageData:
        loaded = load_data(name, reading, plan=plan, progress=progress)
        return with_classes_of(signature, loaded, map_classes or {})

    loaded = load("whole")
    if ALL in loaded.splits and learned.samples is None and learned.is_same(loaded, name):
        # A version that kept no list of samples split them in the order of their table.
        loaded = load("as listed")
    # Masks that get their size in another way have other pixels.
    compare_labels = not signature.get_task().resizes_labels or reading.own.fit == signature.own.fit
    chosen = choose_samples(learned, loaded, name, split, compare_labels)
    predicted = np.concatenate([predictor.predict_compact(part.images) for part in chosen.parts])
    measured = chosen.joined()
    metrics = metrics_of_split(measure_split(measured, predicted, signature), signature, chosen.split)
    metrics["warnings"] = [*_warnings(chosen, learned, loaded), *metrics["warnings"]]
    return {"model": str(model), "data": name, **_describe(chosen, measured), **metrics}


def _with_positive_class(positive_class: str, signature: Signature) -> Signature:
    """Returns the signature with another positive class; the threshold rule then names the class it was chosen for."""
    before = signature.class_names[signature.get_task().positive_index(signature.positive_class)]
    rule = signature.threshold_rule
    if rule is not None and positive_class != before:
        rule = f"{rule} of {before}"
    return dataclasses.replace(signature, positive_class=positive_class, threshold_rule=rule)


def _describe(chosen: ChosenSamples, measured: Split) -> dict[str, Any]:
    """Returns which samples were measured, and how many."""
    return {
        "data_is": chosen.data_is,
        "split": chosen.split,
        "images": len(measured),
        "patients": None if measured.groups is None else len(set(measured.groups)),
        "left_out_training_images": chosen.left_out,
        "new_images": chosen.new,
        "missing_images": chosen.missing,
    }


def describe_measured(metrics: dict[str, Any]) -> str:
    """Returns a title for the metrics of :func:`evaluate_model`: model, split, data and number of images."""
    samples = name_samples(metrics)
    which = f"all {samples}" if metrics["split"] == ALL else f"the {metrics['split']} split"
    patients = "" if metrics["patients"] is None else f" of {metrics['patients']:,} patients"
    return (
        f"{metrics['model']} on {which} of {metrics['data']} ({metrics['data_is']}): {metrics['images']:,} {samples}"
        f"{patients}"
    )


def _warnings(chosen: ChosenSamples, learned: LearnedData, loaded: ImageData) -> list[str]:
    """Returns reasons to doubt the metrics, one sentence each."""
    found = list(chosen.warnings)
    asked_for = learned.config is not None and learned.is_named(loaded.name)
    if asked_for and learned.samples is not None and chosen.data_is != LEARNED_DATA:
        there = learned.count_found(loaded.splits[ALL].require_digests())
        found.insert(
            0,
            f"{loaded.name} no longer contains the data that the model was trained on: {there} of"
            f" {len(learned.samples)} images are left.",
        )
    return found + ([] if loaded.check is None else [f"{warning}." for warning in loaded.check.warnings])
