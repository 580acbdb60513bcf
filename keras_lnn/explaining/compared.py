"""Samples beside what a model has learned from: how far they are from it, and the training samples nearest to them."""

from __future__ import annotations

import dataclasses

from keras_lnn.data.arrays import ImageArray
from keras_lnn.explaining.likeness import Likeness
from keras_lnn.explaining.neighbours import Neighbours


@dataclasses.dataclass(frozen=True)
class LearnedComparison:
    """How samples compare with those that a model has learned from.

    Args:
        likeness: How far each is from them.
        neighbours: The training samples nearest to each.
        training_images: The training split, in which the neighbours have their positions; None if it is gone.
        absence: A sentence on why it is gone.
    """

    likeness: Likeness
    neighbours: Neighbours
    training_images: ImageArray | None
    absence: str = ""

    def describe_distance(self, place: int) -> str:
        """Returns in words how far a sample is from those that were learned.

        Args:
            place: Which of the samples.
        """
        return f"farther than {self.likeness.farther_than[place]:.0%} of the validation {self.likeness.noun}"

    def warn_of(self, place: int) -> list[str]:
        """Returns a sentence on a sample that is unlike those that were learned; nothing for any other.

        Args:
            place: Which of the samples.
        """
        found = self.likeness
        if not found.unlike[place]:
            return []
        noun = "series" if found.noun == "series" else found.noun.removesuffix("s")
        return [
            f"This {noun} {found.describe(place)}. What is predicted and explained of it may mean nothing. Of"
            f" {found.noun} like the validation {found.noun}, at most {found.false_alarms:.0%} on average are reported"
            " so by mistake."
        ]

    def describe(self) -> str:
        """Returns what was compared with what, or why no sample can be reported as unlike."""
        found, noun = self.likeness, self.likeness.noun
        compared = (
            f"By the features that the model decides by, each of the {noun} was compared with its nearest training"
            f" {noun}, and its distance with that of {found.validation_images:,} validation {noun}."
        )
        if found.cannot_be_unlike:
            compared += f" These are too few to report {noun} that are unlike those learned from."
        return " ".join([compared, self.absence]).strip()
