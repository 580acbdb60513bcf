"""Distances between surfaces: hand-made cases, and an implementation that compares every pair of pixels."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_lnn.evaluation.surfaces import surface_distances


def surface_points(mask):
    """Returns the pixels with an adjacent pixel outside, one by one."""
    points = []
    for place in itertools.product(*map(range, mask.shape)):
        if not mask[place]:
            continue
        for axis, step in itertools.product(range(mask.ndim), (-1, 1)):
            other = list(place)
            other[axis] += step
            if not 0 <= other[axis] < mask.shape[axis] or not mask[tuple(other)]:
                points.append(place)
                break
    return np.array(points, float)


def distances_by_pairs(truth, predicted, spacing):
    """Returns the distances from every pixel of one surface to every pixel of the other."""
    first, second = (surface_points(mask) * spacing for mask in (truth, predicted))
    pairs = np.sqrt(((first[:, None] - second[None]) ** 2).sum(axis=-1))
    there, back = pairs.min(axis=1), pairs.min(axis=0)
    return max(np.percentile(there, 95), np.percentile(back, 95)), np.mean([*there, *back])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(7, 9), (1, 12), (4, 5, 6)]), st.floats(0.02, 0.7))
def test_surface_distances_agree_with_those_over_all_pairs(seed, shape, share):
    generator = np.random.default_rng(seed)
    truth, predicted = generator.random((2, *shape)) < share
    spacing = generator.uniform(0.3, 4.0, len(shape))
    found = surface_distances(truth, predicted, spacing)
    if truth.any() and predicted.any():
        assert found == pytest.approx(distances_by_pairs(truth, predicted, spacing), abs=1e-9)
    else:
        expected = 0.0 if truth.any() == predicted.any() else np.nan
        assert found == pytest.approx((expected, expected), nan_ok=True)


def test_a_square_moved_by_three_pixels_is_three_pixels_away():
    truth, predicted = np.zeros((2, 20, 20), bool)
    truth[5:10, 5:10] = predicted[5:10, 8:13] = True
    hausdorff, mean = surface_distances(truth, predicted)
    assert hausdorff == pytest.approx(3.0)
    assert 0 < mean < 3
    assert surface_distances(truth, predicted, (1.0, 2.5))[0] == pytest.approx(7.5, abs=2.5)
    assert surface_distances(truth, truth) == (0.0, 0.0)


def test_two_single_pixels_have_their_euclidean_distance():
    truth, predicted = np.zeros((2, 10, 10), bool)
    truth[1, 1] = predicted[4, 5] = True
    assert surface_distances(truth, predicted) == pytest.approx((5.0, 5.0))
    assert surface_distances(truth, predicted, (2.0, 1.0)) == pytest.approx((np.sqrt(52), np.sqrt(52)))
    assert surface_distances(predicted, truth) == surface_distances(truth, predicted)


def test_two_empty_masks_have_distance_zero_and_one_empty_mask_none():
    nothing, something = np.zeros((2, 6, 6), bool)
    something[2, 2] = True
    assert surface_distances(nothing, nothing) == (0.0, 0.0)
    assert np.isnan(surface_distances(something, nothing)).all()
    assert np.isnan(surface_distances(nothing, something)).all()


def test_the_border_of_the_image_is_part_of_the_surface():
    truth, predicted = np.zeros((2, 8, 8), bool)
    truth[:], predicted[2:6, 2:6] = True, True
    hausdorff, _ = surface_distances(truth, predicted)
    assert hausdorff == pytest.approx(distances_by_pairs(truth, predicted, 1.0)[0])
    assert hausdorff > 2
