"""Overlap and surface distances of each image, from which the metrics of segmentation are computed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from keras_lnn.errors import InputError
from keras_lnn.evaluation.surfaces import surface_distances
from keras_lnn.statistics.bootstrap import defined_mean

# Class 0 is what is left over: to find it again says nothing.
FOREGROUND = 1
_OF_IMAGES = ("truth", "predicted", "common", "wrong", "hausdorff", "surface", "diagonals")


@dataclasses.dataclass(frozen=True)
class MaskMeasures:
    """Measures of each image; the arrays are (samples, classes) without the background.

    Args:
        class_names: Names of the classes without the background.
        truth: True pixels of each class.
        predicted: Pixels predicted as each class.
        common: Pixels that belong to the class and are predicted as it.
        wrong: Pixels of another class than predicted, including the background, (samples,).
        pixels: Number of pixels of one image.
        hausdorff: 95th percentile Hausdorff distances, the larger one of the two directions; nan where a class is not
            both present and predicted.
        surface: Mean surface distances; nan in the same places.
        diagonals: The distance between opposite corners of each image, (samples,), which no distance exceeds; nan where
            it is not known.
        in_millimetres: Whether distances are in millimetres instead of pixels.
    """

    class_names: tuple[str, ...]
    truth: np.ndarray
    predicted: np.ndarray
    common: np.ndarray
    wrong: np.ndarray
    pixels: int
    hausdorff: np.ndarray
    surface: np.ndarray
    diagonals: np.ndarray
    in_millimetres: bool = False

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def dice(self) -> np.ndarray:
        """Twice the common pixels over all of both; nan where a class is neither there nor predicted."""
        return divide_or_nan(2 * self.common, self.truth + self.predicted)

    @property
    def iou(self) -> np.ndarray:
        """The common pixels over those of either; nan where a class is neither there nor predicted."""
        return divide_or_nan(self.common, self.truth + self.predicted - self.common)

    @property
    def pixel_error(self) -> np.ndarray:
        """Share of the pixels on the wrong side of each class against the rest."""
        return (self.truth + self.predicted - 2 * self.common) / self.pixels

    @classmethod
    def join(cls, parts: Sequence[MaskMeasures]) -> MaskMeasures:
        """Returns the measures of several sets of images of one size as those of one set."""
        joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _OF_IMAGES}
        return dataclasses.replace(parts[0], **joined)

    def take(self, rows: np.ndarray) -> MaskMeasures:
        """Returns the measures of some of the images."""
        return dataclasses.replace(self, **{name: getattr(self, name)[rows] for name in _OF_IMAGES})

    def mean_dice(self) -> np.ndarray:
        """Mean over the classes that are there or predicted, (samples,); nan where none is."""
        return defined_mean(self.dice.T)


def measure_masks(
    truth: np.ndarray,
    predicted: np.ndarray,
    class_names: Sequence[str],
    spacing: np.ndarray | Sequence[float] | None = None,
    progress: Callable[[float], None] | None = None,
    *,
    with_distances: bool = True,
) -> MaskMeasures:
    """Measures predicted masks, image by image.

    Args:
        truth: Class indices (samples, [depth,] height, width).
        predicted: The same of the predictions.
        class_names: One name per class, the background first.
        spacing: Millimetres from pixel to pixel along each axis, of all images or (samples, axes); distances are in
            pixels if not given.
        progress: Called with the fraction done.
        with_distances: Whether surface distances are measured, which takes most of the time; they are nan if not.

    Raises:
        InputError: If truth, predictions and names do not fit together.
    """
    names = tuple(class_names)
    _check(truth, predicted, names)
    sizes = None if spacing is None else spread_spacing(spacing, truth.shape)
    shape = (len(truth), len(names) - FOREGROUND)
    counts = np.zeros((3, *shape), np.float64)
    distances = np.full((2, *shape), np.nan)
    wrong = np.zeros(len(truth))
    for row, (true_mask, predicted_mask) in enumerate(zip(truth, predicted, strict=True)):
        confusion = _confusion(true_mask, predicted_mask, len(names))
        wrong[row] = confusion.sum() - np.trace(confusion)
        sides = (confusion.sum(axis=1), confusion.sum(axis=0), np.diag(confusion))
        counts[:, row] = [side[FOREGROUND:] for side in sides]
        for column in np.flatnonzero(counts[:2, row].all(axis=0)) if with_distances else ():
            index = column + FOREGROUND
            size = None if sizes is None else sizes[row]
            distances[:, row, column] = surface_distances(true_mask == index, predicted_mask == index, size)
        if progress is not None:
            progress((row + 1) / len(truth))
    pixels = int(np.prod(truth.shape[1:]))
    true_mask, predicted_mask, common = counts
    sides = np.array(truth.shape[1:]) * (np.ones((len(truth), 1)) if sizes is None else sizes)
    hausdorff, surface = distances
    return MaskMeasures(
        names[FOREGROUND:],
        true_mask,
        predicted_mask,
        common,
        wrong,
        pixels,
        hausdorff,
        surface,
        np.hypot.reduce(sides, axis=1),
        in_millimetres=sizes is not None,
    )


def spread_spacing(spacing: np.ndarray | Sequence[float], shape: tuple[int, ...]) -> np.ndarray:
    """The spacing of each image of masks of a shape, (samples, axes).

    Raises:
        InputError: If it does not fit, or is not above 0.
    """
    sizes, wanted = np.asarray(spacing, np.float64), (shape[0], len(shape) - 1)
    if sizes.shape not in (wanted, wanted[1:]) or not np.all(sizes > 0):
        raise InputError(
            f"spacing must be one size above 0 for each of the {wanted[1]} axes of an image, or that for each of the "
            f"{wanted[0]} images. Received: {sizes.tolist() if sizes.size < 10 else f'an array {sizes.shape}'}."
        )
    return np.broadcast_to(sizes, wanted)


def divide_or_nan(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divides; nan where there is nothing to divide by."""
    out = np.full(np.broadcast(numerator, denominator).shape, np.nan)
    return np.divide(numerator, denominator, out=out, where=denominator != 0)


def _confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    pairs = truth.ravel().astype(np.intp) * classes + predicted.ravel()
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def _check(truth: np.ndarray, predicted: np.ndarray, names: tuple[str, ...]) -> None:
    if truth.shape != predicted.shape or truth.ndim not in (3, 4) or not truth.size:
        raise InputError(
            "Masks must be (samples, height, width) or (samples, depth, height, width), and predictions as large as"
            f" the truth. Received: {truth.shape} and {predicted.shape}. Give both of one split."
        )
    if len(names) < 2 or len(set(names)) < len(names):
        raise InputError(
            f"Masks must have a background and at least one other class, each with its own name. Received: {names}."
        )
    for what, masks in (("truth", truth), ("predictions", predicted)):
        if masks.dtype.kind not in "iu" or masks.min() < 0 or masks.max() >= len(names):
            raise InputError(
                f"Masks must hold class indices from 0 to {len(names) - 1}. Received: {what} of {masks.dtype} from"
                f" {masks.min()} to {masks.max()}. Take the argmax of probabilities."
            )
