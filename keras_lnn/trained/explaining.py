"""What is explained of a model: samples of the user's own, or examples of the data that it was trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_lnn.data import ImageData, load_data
from keras_lnn.data.arrays import ImageArray, Split
from keras_lnn.data.options import OwnImages
from keras_lnn.data.splitting import take_samples
from keras_lnn.explaining.checked_maps import MapCheck, check_methods, find_lesions
from keras_lnn.explaining.examples import choose_examples
from keras_lnn.explaining.liquid_layers import choose_liquid_layer
from keras_lnn.explaining.measured_circuit import MeasuredCircuit, measure_circuit
from keras_lnn.explaining.silencing import require_probabilities
from keras_lnn.saved.own_samples import read_own_samples
from keras_lnn.saved.predictor import KerasPredictor, Predictor
from keras_lnn.saved.results import split_in_words
from keras_lnn.trained.evaluate import open_model

# More samples change the mean of a step little.
_IN_REFERENCE = 256


@dataclasses.dataclass(frozen=True)
class SamplesToExplain:
    """Samples and what is known of them.

    Args:
        images: The samples.
        names: Name of each.
        truths: The true class of each, in words; None if unknown.
        why: Why each was chosen; None if they were given.
        reference: Samples over which the average step of a liquid layer is taken.
        reference_is: What these are, in words.
        warnings: What may spoil the explanations, one sentence each.
    """

    images: ImageArray
    names: Sequence[str]
    truths: Sequence[str] | None
    why: Sequence[str] | None
    reference: ImageArray
    reference_is: str
    warnings: Sequence[str]


def read_own(
    predictor: Predictor,
    paths: Sequence[Path],
    own: OwnImages | None = None,
    skip_bad: bool = False,
    progress: Callable[[float], None] | None = None,
) -> SamplesToExplain:
    """Returns samples of the user's own, which are their own reference.

    Args:
        predictor: The model.
        paths: Files and folders, as ``predict`` takes them.
        own: For a model of series, how tables are read.
        skip_bad: Whether files that cannot be read are left out; else they are an error.
        progress: Called with the fraction done.
    """
    warnings: list[str] = []
    options = {"own": own, "skip_bad": skip_bad, "warn": warnings.append}
    images, names = read_own_samples(predictor.signature, paths, progress, **options)
    return SamplesToExplain(images, names, None, None, images, f"these {predictor.signature.samples}", warnings)


def read_examples(
    model: str | Path,
    predictor: Predictor,
    count: int,
    data: str | None = None,
    load: Callable[..., ImageData] = load_data,
) -> SamplesToExplain:
    """Returns examples of the data that a model was trained on, or of other data, from the worst to the best.

    Args:
        model: The model.
        predictor: The same, loaded.
        count: How many examples, at most.
        data: Name of the data; those of its training if not given.
        load: Loads data, as :func:`keras_lnn.data.load_data` does.
    """
    opened = open_model(model, data=data, load=load)
    split = max(opened.chosen.parts, key=len)  # other data may have several, of which one has enough examples
    task, noun = predictor.signature.get_task(), predictor.signature.samples
    rows, why = choose_examples(predictor, split, count)
    chosen = take_samples(split, rows)
    truths = [task.describe_label(label) for label in chosen.labels]
    # Samples without files are known by their place in the split, as in predictions.csv.
    names = chosen.names or [f"{opened.chosen.split} {row}" for row in rows]
    reference = thin_out(split, _IN_REFERENCE).images
    reference_is = f"{len(reference)} {noun} of the {split_in_words(opened.chosen.split)} split of {opened.name}"
    return SamplesToExplain(chosen.images, names, truths, why, reference, reference_is, opened.warnings)


def check_maps(
    model: str | Path,
    predictor: Predictor,
    methods: Sequence[str],
    target: str | None = None,
    progress: Callable[[float], None] | None = None,
    **where: Any,
) -> MapCheck:
    """Measures on test samples how true maps are; see :func:`~keras_lnn.explaining.checked_maps.check_methods`.

    Args:
        model: The model.
        predictor: The same, loaded.
        methods: Names of methods.
        target: As for ``explain``.
        progress: Called with the fraction done.
        **where: ``most``, ``data`` and ``load`` of :func:`read_split`.
    """
    on = read_split(model, "test", **where)
    about = {"samples_are": on.are, "lesions": on.lesions, "progress": progress}
    return check_methods(predictor, on.split, methods, target, **about)


def find_circuit(
    model: str | Path,
    predictor: KerasPredictor,
    progress: Callable[[float], None] | None = None,
    **where: Any,
) -> MeasuredCircuit:
    """Finds the smallest circuit on validation and measures it on the whole test split.

    Args:
        model: The model.
        predictor: The same, loaded.
        progress: Called with the fraction done.
        **where: ``most`` (for validation), ``data`` and ``load`` of :func:`read_split`.
    """
    require_probabilities(predictor.signature.get_task())
    choose_liquid_layer(predictor.model)  # before the data are read
    whole: dict[str, Any] = where | {"most": None}
    validation, test = read_split(model, "val", **where), read_split(model, "test", **whole)
    about = {"validation_are": validation.are, "test_are": test.are, "progress": progress}
    return measure_circuit(predictor, validation.split, test.split, **about)


@dataclasses.dataclass(frozen=True)
class MeasuredOn:
    """Samples of a split that something is measured on.

    Args:
        split: The samples.
        are: What they are, in words.
        lesions: Masks of their lesions; None where these are not known.
    """

    split: Split
    are: str
    lesions: np.ndarray | None = None


def read_split(
    model: str | Path,
    name: str,
    most: int | None = None,
    data: str | None = None,
    load: Callable[..., ImageData] = load_data,
) -> MeasuredOn:
    """Returns samples of a split of the data that a model was trained on, or of other data.

    Args:
        model: The model.
        name: Name of the split.
        most: How many samples, at most, spread evenly; None for all.
        data: Name of the data; those of its training if not given.
        load: Loads data, as :func:`keras_lnn.data.load_data` does.
    """
    opened = open_model(model, data=data, split=name, load=load)
    whole = max(opened.chosen.parts, key=len)
    split = whole if most is None else thin_out(whole, most)
    rows = _spread(len(whole), len(split))
    are = f"{len(split)} {opened.signature.samples} of the {split_in_words(name)} split of {opened.name}"
    return MeasuredOn(split, are, find_lesions(opened.name, name, whole.images.shape, rows))


def _spread(count: int, most: int) -> np.ndarray:
    return np.linspace(0, count - 1, most).round().astype(int)


def thin_out(split: Split, count: int) -> Split:
    """Returns at most so many samples, spread evenly over a split."""
    if len(split) <= count:
        return split
    return take_samples(split, _spread(len(split), count))
