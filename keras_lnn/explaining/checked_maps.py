"""How true the maps of several methods are, measured on the same samples of a split."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from keras_lnn.data.arrays import ImageArray, Split
from keras_lnn.data.phantoms.lesions import LESIONS, draw_lesions
from keras_lnn.data.splitting import take_samples
from keras_lnn.errors import InputError
from keras_lnn.explaining.explanations import explain_samples
from keras_lnn.explaining.faithfulness import (
    mass_within,
    mean_difference,
    measure_curves,
    measure_random_curves,
    points_within,
    randomise,
)
from keras_lnn.saved.predictor import Predictor
from keras_lnn.statistics import Estimate

# Each stage of the randomisation test makes maps anew, of so many samples.
_RANDOMISED = 16


@dataclasses.dataclass(frozen=True)
class CheckedMethod:
    """How true the maps of one method are.

    Args:
        method: Its name.
        deletion: By how much the probability falls faster than with random regions if the strongest pixels go first.
        insertion: By how much it rises faster than with random regions if they come first.
        fall: By how much the rank correlation with the map falls when all weights are random; nan if a layer of the
            network cannot be drawn anew.
        mass: Share of the map within the lesion, enlarged by two pixels; None where lesions are not known.
        pointing: Share of the samples whose strongest point is within it; None likewise.
    """

    method: str
    deletion: Estimate
    insertion: Estimate
    fall: float
    mass: Estimate | None = None
    pointing: Estimate | None = None


@dataclasses.dataclass(frozen=True)
class MapCheck:
    """How true the maps of some methods are.

    Args:
        methods: One for each method.
        samples_are: What they were measured on, in words.
        with_lesion: Number of samples whose lesion is known; 0 where lesions are not known.
        by_chance: Share of an even map that is within the lesion; nan where lesions are not known.
    """

    methods: tuple[CheckedMethod, ...]
    samples_are: str
    with_lesion: int = 0
    by_chance: float = math.nan


def check_methods(
    predictor: Predictor,
    split: Split,
    methods: Sequence[str],
    target: int | str | None = None,
    *,
    samples_are: str,
    lesions: np.ndarray | None = None,
    progress: Callable[[float], None] | None = None,
) -> MapCheck:
    """Measures how true maps are, by deletion and insertion, the randomisation test, and lesions where they are known.

    Args:
        predictor: A run or a ``.keras`` file.
        split: The samples.
        methods: Names in ``METHODS``.
        target: Name or index of a class or label; None for what is predicted.
        samples_are: What the samples are, in words.
        lesions: Masks of the lesions of these samples, from :func:`find_lesions`; None if they are not known.
        progress: Called with the fraction done.
    """
    names = [str(row) for row in range(len(split))]
    explained = explain_samples(predictor, split.images, names, methods, target)
    images = split.images
    random = measure_random_curves(predictor, images, target=target)
    lesions = None if lesions is None else _lesions_of_targets(lesions, [each.target for each in explained], predictor)
    found, by_chance = [], math.nan
    for done, method in enumerate(methods, start=1):
        maps = np.stack([each.maps[method] for each in explained])
        curves = measure_curves(predictor, images, maps, target)
        part = take_samples(split, np.arange(min(_RANDOMISED, len(split)))).images
        measured = CheckedMethod(
            method,
            curves.deletion_gain(random),
            curves.insertion_gain(random),
            _measure_fall(predictor, part, method, target),
        )
        if lesions is not None:
            mass, points = mass_within(maps, lesions), points_within(maps, lesions)
            of_lesions = np.isfinite(mass)
            if of_lesions.any():
                estimates = {"mass": mean_difference(mass[of_lesions]), "pointing": mean_difference(points[of_lesions])}
                measured = dataclasses.replace(measured, **estimates)
                by_chance = float(np.nanmean(mass_within(np.ones_like(maps), lesions)))
        found.append(measured)
        if progress is not None:
            progress(done / len(methods))
    count = 0 if lesions is None else int(lesions.reshape(len(lesions), -1).any(axis=1).sum())
    return MapCheck(tuple(found), samples_are, count, by_chance)


def find_lesions(data: str, split_name: str, shape: tuple[int, ...], rows: np.ndarray) -> np.ndarray | None:
    """Returns the masks of the lesions of some samples of generated data; None for data whose lesions are not known.

    Args:
        data: Name of the data.
        split_name: Name of the split.
        shape: Shape of all its images; lesions of images of another size or number are not known.
        rows: Which of them.
    """
    if data not in LESIONS:
        return None
    masks = draw_lesions(data, split_name)
    places = shape[:-1]
    return masks[rows] if masks.shape[: len(places)] == places else None


def _lesions_of_targets(lesions: np.ndarray, targets: Sequence[str], predictor: Predictor) -> np.ndarray:
    """Returns one mask per sample: of several labels per image, that of the label which is explained."""
    if lesions.ndim < len(predictor.signature.image_shape) + 1:
        return lesions
    names = predictor.signature.class_names
    places = [names.index(target.removeprefix("no ") if target not in names else target) for target in targets]
    return np.stack([masks[..., place] for masks, place in zip(lesions, places, strict=True)])


def _measure_fall(predictor: Predictor, images: ImageArray, method: str, target: int | str | None) -> float:
    try:
        return randomise(predictor, images, method, target, stages=1).fall()
    except InputError:
        return math.nan
