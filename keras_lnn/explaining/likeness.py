"""Whether an image is like those that a model has learned from, with a known rate of false alarms."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_lnn.data.checking import name_some
from keras_lnn.errors import InputError
from keras_lnn.explaining.neighbours import LearnedFeatures

FALSE_ALARMS = 0.05


@dataclasses.dataclass(frozen=True)
class Likeness:
    """How far images are from what a model has learned, compared with validation images.

    The distance of each image ranks among those of the validation images, of which the model has not learned. A new
    image of their kind is as likely to have any of the ranks (Vovk, Gammerman and Shafer, "Algorithmic learning in a
    random world", 2005), so that the share of false alarms is at most the one that was chosen, whatever the network.

    Args:
        distances: Distance of each image to its tenth nearest training image, (images,).
        p_values: One plus the number of validation images that are at least as far, divided by their number plus one.
        farther_than: The share of the validation images that are closer.
        unlike: Whether each image is unlike those that were learned.
        validation_images: With how many images they were compared; with one per patient where patients are known.
        false_alarms: The share of images like the validation images that are reported.
        noun: What the samples are, in the plural.
    """

    distances: np.ndarray
    p_values: np.ndarray
    farther_than: np.ndarray
    unlike: np.ndarray
    validation_images: int
    false_alarms: float
    noun: str = "images"

    def describe(self, place: int) -> str:
        """Returns a sentence about one of the images, without its subject; in words that need no statistics.

        Args:
            place: Which of the images.
        """
        share = f"{self.farther_than[place]:.0%} of the validation {self.noun}"
        learned = f"the {self.noun} that the model has learned from"
        if self.unlike[place]:
            return f"is unlike {learned}: farther than {share}"
        if self.cannot_be_unlike:
            return (
                f"cannot be compared with {learned}: {self.validation_images} validation {self.noun} are too few for"
                f" {self.false_alarms:.0%} of false alarms"
            )
        return f"is like {learned}: farther than {share}"

    @property
    def cannot_be_unlike(self) -> bool:
        """Returns whether there are too few validation images for any image to be reported."""
        return not _is_at_most(1 / (self.validation_images + 1), self.false_alarms)


def measure_likeness(learned: LearnedFeatures, features: np.ndarray, false_alarms: float = FALSE_ALARMS) -> Likeness:
    """Compares images with those that a model has learned from.

    Args:
        learned: The features of these.
        features: Those of the images, as :func:`keras_lnn.explaining.features.read_features` returns them.
        false_alarms: The share of images like the validation images that are reported, at most.
    """
    distances = learned.measure_distances(features)
    p_values, farther = rank_among(distances, learned.validation)
    return Likeness(
        distances,
        p_values,
        farther,
        is_unlike(p_values, false_alarms),
        len(learned.validation),
        false_alarms,
        learned.noun,
    )


def warn_of_unlike(names: Sequence[str], p_values: np.ndarray, learned: LearnedFeatures) -> str | None:
    """Returns a sentence that names the images that are unlike those that were learned; None if none is.

    Args:
        names: Names of the images.
        p_values: Of the images.
        learned: The features that they were compared with.
    """
    unlike, noun, count = np.flatnonzero(is_unlike(p_values)), learned.noun, len(learned.validation)
    if not _is_at_most(1 / (count + 1), FALSE_ALARMS):
        return f"{count} validation {noun} are too few to report {noun} that are unlike those learned from"
    if not len(unlike):
        return None
    least = 1 - (p_values[unlike].max() * (count + 1) - 1) / count
    some = name_some([str(names[row]) for row in unlike])
    return (
        f"{len(unlike):,} of {len(names):,} {noun} are unlike those that the model has learned from, so that"
        f" predictions for them may mean nothing; farther than {least:.0%} or more of the validation {noun}: {some}"
    )


def rank_among(distances: np.ndarray, validation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the p value of each distance, and the share of the validation images that are closer.

    Args:
        distances: Of the images, (images,).
        validation: Of the validation images, rising.
    """
    closer = np.searchsorted(validation, distances, side="left")
    count = len(validation)
    return (1 + count - closer) / (count + 1), closer / max(count, 1)


def is_unlike(p_values: np.ndarray, false_alarms: float = FALSE_ALARMS) -> np.ndarray:
    """Returns whether each image is reported, so that at most a given share of false alarms is expected.

    Args:
        p_values: Of the images.
        false_alarms: The share, between 0 and 1.
    """
    if not 0 < false_alarms < 1:
        raise InputError(f"false_alarms must lie between 0 and 1. Received: {false_alarms}. Give 0.05 for 5%.")
    return _is_at_most(p_values, false_alarms)


def _is_at_most(p_values: np.ndarray | float, share: float) -> np.ndarray:
    # A p value of exactly 5% counts, whatever its last digit as a float.
    return np.asarray(p_values) <= share + 1e-12
