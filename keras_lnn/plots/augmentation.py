"""A sheet that shows how augmentation changes images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_lnn.data.arrays import SeriesArray, name_samples
from keras_lnn.errors import InputError
from keras_lnn.plots.arguments import check_images
from keras_lnn.plots.masks import name_colours, outline_classes
from keras_lnn.plots.samples import view_of
from keras_lnn.plots.series import FRAME_INCHES, frame_cells
from keras_lnn.plots.sheet import IMAGES_IN_A_ROW, Block, Cell, draw_sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IMAGE_INCHES = 1.1


def plot_augmentation(
    images: Any,
    versions: Any,
    names: Sequence[str],
    title: str,
    masks: np.ndarray | None = None,
    class_names: Sequence[str] = (),
    times: np.ndarray | None = None,
) -> Figure:
    """Draws one row per image: the original, followed by its augmented version in each epoch.

    Args:
        images: (samples, height, width, channels), or volumes (samples, depth, height, width, channels), of which the
            middle slice is drawn; 1 or 3 channels, values 0..255. Of series, each version is a row of frames.
        versions: (samples, epochs, ...shape of an image), values 0..255; seven epochs at most.
        names: Title of each row.
        title: Beginning of the heading.
        masks: Class indices of each image and of its versions, (samples, 1 + epochs, ...shape of an image without
            channels), whose classes are outlined.
        class_names: Names of the classes of the masks, the background first.
        times: Of series, the times of the frames of each version, (samples, epochs, steps), NaN where there is no
            frame; those of the originals if not given.

    Returns:
        The figure.

    Raises:
        InputError: If the arguments do not fit together.
    """
    count, versions = check_images(images), np.asarray(versions)
    images = images if isinstance(images, SeriesArray) else np.asarray(images)
    _require_fit(count, images, versions, names, masks)
    blocks = []
    for number, (row, name) in enumerate(zip(versions, names, strict=True)):
        seen = (images[number], *row)
        if isinstance(images, SeriesArray):
            blocks.append(Block(name, _series_cells(images, number, seen, times), ""))
            continue
        words = ["original", *(f"epoch {epoch}" for epoch in range(1, len(row) + 1))] if number == 0 else None
        cells = [
            Cell(
                _picture(one),
                words[place] if words else "",
                outlines=()
                if masks is None
                else outline_classes(_middle(masks[number, place], 2), len(class_names) - 1),
            )
            for place, one in enumerate(seen)
        ]
        blocks.append(Block(name, cells, ""))
    heading = f"{title}: {name_samples(images)} as seen in training{view_of(images)}"
    inches = FRAME_INCHES if isinstance(images, SeriesArray) else IMAGE_INCHES
    return draw_sheet(heading, blocks, inches, name_colours(class_names[1:]))


def _require_fit(count: int, images: Any, versions: np.ndarray, names: Sequence[str], masks: np.ndarray | None) -> None:
    """Checks that versions, names and masks are those of the images."""
    most = IMAGES_IN_A_ROW - 1
    if versions.shape != (count, *versions.shape[1:2], *images.shape[1:]) or len(names) != count:
        raise InputError(
            "versions must be (samples, epochs, ...shape of an image) with one name per sample. Received: "
            f"{versions.shape} and {len(names)} names for images {images.shape}. Give those of the same images."
        )
    if not 1 <= versions.shape[1] <= most:
        raise InputError(f"versions must be of 1 to {most} epochs. Received: {versions.shape[1]}. Leave some out.")
    if masks is not None and masks.shape != (count, 1 + versions.shape[1], *images.shape[1:-1]):
        raise InputError(
            "masks must be given for each image and each of its versions, (samples, 1 + epochs, ...). Received: "
            f"{masks.shape} for versions {versions.shape}. Give those of the same images."
        )


def _series_cells(
    series: SeriesArray, number: int, versions: Sequence[np.ndarray], times: np.ndarray | None
) -> list[Cell]:
    """Returns a row of frames of each version of a series, the original first."""
    cells: list[Cell] = []
    for epoch, frames in enumerate(versions):
        above = f"epoch {epoch}" if epoch else "original"
        own = series.times(number) if epoch == 0 or times is None else times[number, epoch - 1]
        cells += frame_cells(_picture(frames, 4), own, series.unit, above=above)
    return cells


def _middle(array: np.ndarray, axes: int) -> np.ndarray:
    """Returns the middle slice of an array that has more than ``axes`` axes, and any other array unchanged."""
    return array[len(array) // 2] if array.ndim > axes else array


def _picture(image: np.ndarray, axes: int = 3) -> np.ndarray:
    return np.clip(np.rint(_middle(image, axes)), 0, 255).astype(np.uint8)
