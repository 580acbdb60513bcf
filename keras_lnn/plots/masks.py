"""Plots of segmentations: images with true and predicted masks outlined, and the best and the worst cases."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_lnn.errors import InputError
from keras_lnn.plots.arguments import check_images
from keras_lnn.plots.sheet import Block, Cell, Outline, draw_sheet
from keras_lnn.plots.style import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION, shorten_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Colours that show on grey images; further classes start again with the first.
CLASS_COLOURS = (SKY, ORANGE, GREEN, PURPLE, VERMILLION, BLUE)
_TRUTH = "#FFFFFF"
OVERLAY_INCHES = 1.55
CAPTION_WIDTH = 26


def class_colour(index: int) -> str:
    """Returns the colour of a class; index 0 is the first class after the background."""
    return CLASS_COLOURS[index % len(CLASS_COLOURS)]


def name_colours(names: Sequence[str]) -> list[tuple[str, str]]:
    """Returns (name, colour) of each class after the background, for a legend."""
    return [(str(name), class_colour(index)) for index, name in enumerate(names)]


def outline_classes(mask: np.ndarray, count: int) -> list[Outline]:
    """Returns the outline of each class after the background in a mask (height, width)."""
    return [Outline(mask == index + 1, class_colour(index)) for index in range(count)]


@dataclasses.dataclass(frozen=True)
class MaskCases:
    """Images with their true and predicted masks.

    Args:
        images: uint8 (samples, height, width, channels), or volumes (samples, depth, height, width, channels).
        truth: True class indices, in the shape of the images without channels.
        predicted: Predicted class indices, in the same shape.
        class_names: One name per class, the background first.
        dice: Dice of each image and class without the background, (samples, classes - 1); nan where it is not defined.
        names: Names of the images, such as file names; None means their positions.
    """

    images: Any
    truth: np.ndarray
    predicted: np.ndarray
    class_names: Sequence[str]
    dice: np.ndarray
    names: Sequence[str] | None = None

    def __post_init__(self) -> None:
        total = check_images(self.images)
        shape = tuple(self.images.shape[:-1])
        if self.truth.shape != shape or self.predicted.shape != shape:
            raise InputError(
                f"Masks must be as large as their images, {shape}. Received: {self.truth.shape} and "
                f"{self.predicted.shape}. Give those of one split."
            )
        if self.dice.shape != (total, len(self.class_names) - 1) or len(self.names or self.dice) != total:
            raise InputError(
                f"dice must be one number for each of {total} images and {len(self.class_names) - 1} classes, and names"
                f" as many. Received: {self.dice.shape}. Give those of one split."
            )


def plot_mask_overlays(cases: MaskCases, count: int = 8) -> Figure:
    """Draws images alone, with their true masks and with the predicted ones.

    Args:
        cases: The images; those shown are spread evenly over the images that have a true mask.
        count: Number of images to show.

    Returns:
        The figure: a row of images, a row of true masks and a row of predictions.
    """
    views = _spread(cases, count)
    blocks = [
        Block("image", [Cell(view.picture, view.name) for view in views], ""),
        Block("truth", [Cell(view.picture, outlines=view.outlines(view.truth)) for view in views], ""),
        Block(
            "prediction",
            [Cell(view.picture, "", view.values(), outlines=view.outlines(view.predicted)) for view in views],
            "",
        ),
    ]
    return _sheet("True and predicted masks on their images", cases, blocks, name_colours(cases.class_names[1:]))


def plot_mask_samples(
    images: Any, masks: np.ndarray, class_names: Sequence[str], names: Sequence[str] | None = None, count: int = 6
) -> Figure:
    """Draws images alone and with their masks, spread evenly over those that have one.

    Args:
        images: uint8 (samples, height, width, channels), or volumes (samples, depth, height, width, channels).
        masks: Class indices, in the shape of the images without channels.
        class_names: One name per class, the background first.
        names: Names of the images, such as file names; None means their positions.
        count: Number of images to show.

    Returns:
        The figure: a row of images and a row of images with their masks.
    """
    cases = MaskCases(images, masks, masks, class_names, np.full((len(masks), len(class_names) - 1), np.nan), names)
    views = _spread(cases, count)
    blocks = [
        Block("image", [Cell(view.picture, view.name) for view in views], ""),
        Block("mask", [Cell(view.picture, outlines=view.outlines(view.truth)) for view in views], ""),
    ]
    return _sheet(f"{len(views)} of {len(masks)} training images", cases, blocks, name_colours(class_names[1:]))


def _spread(cases: MaskCases, count: int) -> list[_View]:
    """Returns images that are spread evenly over those that have a true mask."""
    found = np.flatnonzero(cases.truth.reshape(len(cases.truth), -1).any(axis=1))
    found = found if len(found) else np.arange(len(cases.truth))
    # The middles of equal parts are taken, because the ends of a scan show least.
    places = (np.arange(min(count, len(found))) + 0.5) * len(found) / min(count, len(found))
    return [_View(cases, sample) for sample in found[places.astype(np.int64)]]


def plot_mask_gallery(cases: MaskCases, count: int = 6) -> Figure:
    """Draws the best, the median and the worst cases by the mean Dice of their classes.

    Args:
        cases: The images; those in which no class is present or predicted have no Dice and are skipped.
        count: Number of images of each kind, at most a third of all so that none is shown twice.

    Returns:
        The figure: the truth is outlined in white, and the prediction on top of it in the colour of its class.
    """
    defined = ~np.isnan(cases.dice)
    mean = np.where(defined, cases.dice, 0).sum(axis=1) / np.maximum(defined.sum(axis=1), 1)
    ranked = np.flatnonzero(defined.any(axis=1))
    ranked = ranked[np.argsort(-mean[ranked], kind="stable")]
    count = min(count, max(1, len(ranked) // 3))
    middle = max(0, (len(ranked) - count) // 2)
    kinds = {"Best": ranked[:count]}
    if len(ranked) > 2:
        kinds["Median"] = ranked[middle : middle + count]
    if len(ranked) > 1:
        kinds["Worst"] = ranked[::-1][:count]
    blocks = []
    for kind, samples in kinds.items():
        views = [_View(cases, sample) for sample in samples]
        cells = [Cell(view.picture, view.name, view.values(), outlines=view.both()) for view in views]
        blocks.append(Block(f"{kind} of {len(ranked)} by mean Dice", cells, "no image has a Dice"))
    legend = [
        ("truth", _TRUTH),
        *((f"{name}, predicted", colour) for name, colour in name_colours(cases.class_names[1:])),
    ]
    return _sheet("Best, median and worst predictions", cases, blocks, legend)


class _View:
    """The parts of one image that are drawn; for a volume, those of the slice with the largest masks."""

    def __init__(self, cases: MaskCases, sample: int) -> None:
        self.picture = np.asarray(cases.images[int(sample)])
        self.truth, self.predicted = cases.truth[sample], cases.predicted[sample]
        self.name = f"#{sample}" if cases.names is None else _short(str(cases.names[sample]))
        self._classes = cases.class_names[1:]
        self._dice = cases.dice[sample]
        if self.truth.ndim == 3:
            both = ((self.truth > 0) * 1 + (self.predicted > 0)).sum(axis=(1, 2))
            place = int(both.argmax()) if both.any() else len(both) // 2
            self.picture, self.truth, self.predicted = self.picture[place], self.truth[place], self.predicted[place]

    def outlines(self, mask: np.ndarray) -> list[Outline]:
        """Returns one outline per class."""
        return outline_classes(mask, len(self._classes))

    def both(self) -> list[Outline]:
        """Returns the outlines of the truth, followed by those of the prediction, which lie on top."""
        truth = [Outline(self.truth == index + 1, _TRUTH, beneath=True) for index in range(len(self._classes))]
        return [*truth, *self.outlines(self.predicted)]

    def values(self) -> str:
        """Returns the caption, one line with the Dice of each class."""
        pairs = zip(self._classes, self._dice, strict=True)
        return "\n".join(
            f"{shorten_name(name, CAPTION_WIDTH - 6)} {'-' if np.isnan(dice) else f'{dice:.3f}'}"
            for name, dice in pairs
        )


def _short(name: str) -> str:
    path = PurePath(name)
    return shorten_name("/".join(path.parts[-2:]) if len(name) <= CAPTION_WIDTH else path.name, CAPTION_WIDTH)


def _sheet(heading: str, cases: MaskCases, blocks: Sequence[Block], legend: Sequence[tuple[str, str]]) -> Figure:
    view = ", fullest slice of each volume" if cases.truth.ndim == 4 else ""
    return draw_sheet(f"{heading}{view}", blocks, OVERLAY_INCHES, legend)
