"""A sheet that shows how augmentation changes images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_lnn.data.arrays import as_series, name_samples
from keras_lnn.errors import InputError
from keras_lnn.plots.arguments import check_images
from keras_lnn.plots.masks import name_colours, outline_classes
from keras_lnn.plots.sheet import IMAGES_IN_A_ROW, Block, draw_sheet
from keras_lnn.plots.views import middle_slice, view_samples

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
    images = np.asarray(images) if as_series(images) is None else images
    _require_fit(count, images, versions, names, masks)
    view, blocks, classes = view_samples(images), [], len(class_names) - 1
    for number, (row, name) in enumerate(zip(versions, names, strict=True)):
        outlines = [] if masks is None else [outline_classes(middle_slice(one, 2), classes) for one in masks[number]]
        cells = view.version_cells(number, row, outlines, None if times is None else times[number])
        blocks.append(Block(name, cells, ""))
    heading = f"{title}: {name_samples(images)} as seen in training{view.note}"
    return draw_sheet(heading, blocks, view.inches(IMAGE_INCHES), name_colours(class_names[1:]))


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
