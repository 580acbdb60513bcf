"""Whether maps are true: deletion and insertion, the randomisation test, and lesions whose place is known."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter
from scipy.stats import rankdata

from keras_lnn.data.arrays import ImageArray, SeriesArray, network_inputs
from keras_lnn.errors import InputError, suggest
from keras_lnn.explaining.maps import find_target, make_maps, make_subject
from keras_lnn.explaining.pixels import blur, mean_of
from keras_lnn.explaining.subject import Subject
from keras_lnn.saved.predictor import Predictor, batch_size_for
from keras_lnn.statistics.bootstrap import bootstrap
from keras_lnn.statistics.intervals import Estimate

# A curve is read at so many points beside its start, and compared with so many random maps of each image.
_POINTS = 14
_RANDOM_MAPS = 3
# Random maps to compare with, as the share of an image's side by which their noise is smoothed.
CONTROLS = {"regions": 1 / 14, "pixels": 0.0}


@dataclasses.dataclass(frozen=True)
class Curves:
    """Areas under curves of the probability of what is explained while pixels are replaced or come back.

    Args:
        deletion: Mean over a curve on which the most important pixels are replaced first, (samples,); low for true
            maps.
        insertion: Mean over a curve on which they come first into a blurred image, (samples,); high for true maps.
    """

    deletion: np.ndarray
    insertion: np.ndarray

    def deletion_gain(self, random: Curves) -> Estimate:
        """Returns by how much the area under the curve of deletion is smaller than with random maps, paired."""
        return mean_difference(random.deletion - self.deletion)

    def insertion_gain(self, random: Curves) -> Estimate:
        """Returns by how much the area under the curve of insertion is larger than with random maps, paired."""
        return mean_difference(self.insertion - random.insertion)


def measure_curves(
    predictor: Predictor, images: ImageArray, maps: np.ndarray, target: int | str | None = None
) -> Curves:
    """Returns the areas under the curves of deletion and insertion.

    Petsiuk, Das and Saenko, "RISE: randomized input sampling for explanation of black-box models", 2018: deleted pixels
    become the mean of their image, and inserted ones replace those of a blurred image. Sharp edges that come into a
    blurred image could make evidence that is not in the image; a blurred image from which nothing can be read is as
    hard to reach by deletion, as it often still shows the lesion.

    Args:
        predictor: The model.
        images: The images.
        maps: Their maps.
        target: As for :func:`keras_lnn.explaining.maps.explain`.
    """
    return Curves(*_measure_areas(predictor, images, maps, target))


def measure_random_curves(
    predictor: Predictor, images: ImageArray, control: str = "regions", target: int | str | None = None, seed: int = 0
) -> Curves:
    """Returns the areas under the curves of random maps, the means over three maps of each image.

    Args:
        predictor: The model.
        images: The images.
        control: ``regions`` for noise that is smoothed by a fourteenth of the side: regions vanish as they do with
            maps, only elsewhere. ``pixels`` for a random order of single pixels, the control of the literature; the
            noise that it leaves all over an image is unlike any image that the network knows, and alone confuses it
            (Hooker et al., "A benchmark for interpretability methods in deep neural networks", 2019).
        target: As for :func:`keras_lnn.explaining.maps.explain`.
        seed: Seed of the random maps.
    """
    if control not in CONTROLS:
        raise InputError(f"There is no control {control!r}. {suggest(control, CONTROLS)}")
    generator = np.random.default_rng(seed)
    width = max(images.shape[-3:-1]) * CONTROLS[control]
    # The frames of a series are images of their own; the slices of a volume belong together.
    widths = (0, *(0 if isinstance(images, SeriesArray) else width,) * (len(images.shape) - 4), width, width)
    areas = []
    for _ in range(_RANDOM_MAPS):
        noise = generator.random(images.shape[:-1], np.float32)
        areas.append(_measure_areas(predictor, images, gaussian_filter(noise, widths), target))
    return Curves(*np.mean(areas, axis=0))


def _measure_areas(predictor: Predictor, images: ImageArray, maps: np.ndarray, target: int | str | None) -> np.ndarray:
    """Returns the areas under the curves of deletion and of insertion of all images, (2, samples)."""
    subject = make_subject(predictor)
    place, size = find_target(subject.task, target), batch_size_for(images.shape[1:])
    areas = []
    for start in range(0, len(images), size):
        inputs = [part.astype(np.float32) for part in network_inputs(images, slice(start, start + size))]
        areas.append(_areas(subject, inputs, maps[start : start + size], subject.weigh(inputs, place)))
    return np.concatenate(areas, axis=1)


def _areas(subject: Subject, inputs: Sequence[np.ndarray], maps: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the areas under the curves of deletion and of insertion, (2, samples), by the trapezoidal rule."""
    images, *others = inputs
    flat = maps.reshape(len(maps), -1)
    # 0 for the most important pixel, towards 1 for the least; equal ones in the order of the image.
    order = np.argsort(np.argsort(-flat, axis=1, kind="stable"), axis=1, kind="stable") / flat.shape[1]
    order = order.reshape(*maps.shape, 1)
    shares = np.linspace(0, 1, _POINTS + 1)
    curves = []
    for first, last in ((images, np.broadcast_to(mean_of(images), images.shape)), (blur(images), images)):
        steps = [np.where(order < share, last, first) for share in shares]
        curves.append([subject.probabilities([step, *others], weights) for step in steps])
    return np.trapezoid(np.asarray(curves, np.float64), shares, axis=1)


def mean_difference(differences: np.ndarray) -> Estimate:
    """Returns the mean of differences between -1 and 1, with the interval of the bootstrap over the samples.

    Args:
        differences: One difference for each sample.
    """

    def shifted_mean(weights: np.ndarray) -> np.ndarray:
        return 1 + (weights @ differences / weights.sum(axis=1))[None]

    (found,) = bootstrap(shifted_mean, len(differences), highest=2.0)
    return Estimate(found.value - 1, found.low - 1, found.high - 1)


def mass_within(maps: np.ndarray, lesions: np.ndarray, margin: int = 2) -> np.ndarray:
    """Returns the share of the positive part of each map that lies within the enlarged lesion, (samples,).

    It is nan for samples without a lesion and 0 for empty maps.

    Args:
        maps: (samples, ..., height, width).
        lesions: Masks of the same shape.
        margin: By how many pixels lesions are enlarged.
    """
    positive, enlarged = np.maximum(maps, 0).reshape(len(maps), -1), _enlarge(lesions, margin)
    total = positive.sum(axis=1)
    inside = (positive * enlarged).sum(axis=1)
    share = np.divide(inside, total, out=np.zeros(len(maps)), where=total > 0)
    return np.where(enlarged.any(axis=1), share, np.nan)


def points_within(maps: np.ndarray, lesions: np.ndarray, margin: int = 2) -> np.ndarray:
    """Returns 1 where the highest point of a map lies within the enlarged lesion, else 0: the pointing game.

    Where several points are highest it is the share of them that lie within; nan for samples without a lesion. Empty
    maps count as 0. Arguments as in :func:`mass_within`.
    """
    flat, enlarged = maps.reshape(len(maps), -1), _enlarge(lesions, margin)
    highest = (flat == flat.max(axis=1, keepdims=True)) & (flat > 0)
    share = (highest & enlarged).sum(axis=1) / np.maximum(highest.sum(axis=1), 1)
    return np.where(enlarged.any(axis=1), share, np.nan)


def _enlarge(lesions: np.ndarray, margin: int) -> np.ndarray:
    """Returns masks (samples, pixels) that are enlarged by so many pixels along the axes of space."""
    if margin:
        lesions = np.stack([binary_dilation(lesion, iterations=margin) for lesion in lesions])
    return lesions.reshape(len(lesions), -1)


@dataclasses.dataclass(frozen=True)
class Randomised:
    """How alike maps stay when the weights of a network are drawn anew from the top layer down.

    Args:
        layers: Name of the layer that was drawn anew last, at each stage.
        correlations: Rank correlation of each sample's map with its original, (stages, samples).
    """

    layers: tuple[str, ...]
    correlations: np.ndarray

    def fall(self) -> float:
        """Returns by how much the mean rank correlation has fallen when all weights are random, at most 1 or 2."""
        return 1 - float(self.correlations[-1].mean())


def randomise(
    predictor: Predictor,
    images: ImageArray,
    method: str,
    target: int | str | None = None,
    stages: int = 5,
    seed: int = 0,
) -> Randomised:
    """Returns the randomisation test: maps that do not depend on the weights explain nothing.

    Adebayo et al., "Sanity checks for saliency maps", 2018: the layers with weights are drawn anew one after the other,
    from the last one down to the first, as they were before training. Maps of the same target are compared with those
    of the trained network by Spearman's rank correlation. The weights are put back at the end.

    Args:
        predictor: The model.
        images: A few images, which are read as one batch.
        method: A name in ``METHODS``.
        target: As for :func:`keras_lnn.explaining.maps.explain`.
        stages: Number of times that maps are made; the last one is with all weights random.
        seed: Seed of the new weights.
    """
    subject = make_subject(predictor)
    model = subject.model
    inputs = [part.astype(np.float32) for part in network_inputs(images, slice(None))]
    weights = subject.weigh(inputs, find_target(subject.task, target))
    layers = list_trained_layers(model)[::-1]
    ends = np.unique(np.linspace(0, len(layers), min(stages, len(layers)) + 1).round().astype(int))[1:]
    kept, drawn = model.get_weights(), np.random.default_rng(seed)
    original, found, done = make_maps(subject, inputs, method, weights), [], 0
    try:
        for end in ends:
            for layer in layers[done:end]:
                draw_anew(layer, int(drawn.integers(2**31)))
            done = end
            fresh = make_subject(predictor)  # feature maps are those of a copy of the weights
            found.append(rank_correlation(original, make_maps(fresh, inputs, method, weights)))
    finally:
        model.set_weights(kept)
    return Randomised(tuple(layers[end - 1].name for end in ends), np.stack(found))


def list_trained_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Returns the layers that are trained, in the order in which they are called; nested networks by their layers."""
    found = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found += list_trained_layers(layer)
        elif layer.trainable_weights:
            found.append(layer)
    return found


def draw_anew(layer: keras.layers.Layer, seed: int) -> None:
    """Gives a layer new weights, as a new layer of its configuration has them.

    Args:
        layer: A layer that has been built.
        seed: Seed of the new weights.
    """
    keras.utils.set_random_seed(seed)
    new = type(layer).from_config(layer.get_config())
    build = getattr(layer, "get_build_config", dict)() or {}
    if not build:
        raise InputError(f"A layer must know its shapes to be drawn anew. Received: {layer.name}.")
    new.build_from_config(build)
    layer.set_weights(new.get_weights())


def rank_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns Spearman's rank correlation of two maps of each sample, (samples,); 0 where one of them is constant.

    Args:
        first: (samples, ...).
        second: Of the same shape.
    """
    ranks = [rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (first, second)]
    ranks = [each - each.mean(axis=1, keepdims=True) for each in ranks]
    product = (ranks[0] * ranks[1]).sum(axis=1)
    length = np.sqrt((ranks[0] ** 2).sum(axis=1) * (ranks[1] ** 2).sum(axis=1))
    return np.divide(product, length, out=np.zeros(len(first)), where=length > 0)
