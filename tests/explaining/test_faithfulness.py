"""Measures of whether maps are true, on cases whose answer is known."""

import keras
import numpy as np
import pytest
from explained_models import draw_images, make_convolutions, make_linear, make_predictor
from scipy.stats import spearmanr

from keras_lnn.errors import InputError
from keras_lnn.explaining.faithfulness import (
    CONTROLS,
    Curves,
    mass_within,
    mean_difference,
    measure_curves,
    measure_random_curves,
    points_within,
    randomise,
    rank_correlation,
)
from keras_lnn.explaining.pixels import blur


def test_mass_and_highest_point_within_an_enlarged_lesion():
    maps, lesions = np.zeros((4, 7, 7)), np.zeros((4, 7, 7), bool)
    lesions[:3, 3, 3] = True
    maps[0, 3, 5], maps[0, 0, 0], maps[0, 6, 6] = 3, 1, -9  # two pixels away; what is negative does not count
    maps[1, 3, 6] = 1
    assert mass_within(maps, lesions)[:3].tolist() == [0.75, 0, 0]
    assert points_within(maps, lesions)[:3].tolist() == [1, 0, 0]
    assert mass_within(maps, lesions, margin=1)[0] == 0
    assert np.isnan([mass_within(maps, lesions)[3], points_within(maps, lesions)[3]]).all()


def test_a_constant_map_wins_the_pointing_game_by_the_share_of_the_lesion():
    lesions = np.zeros((1, 4, 5), bool)
    lesions[0, :2, :2] = True
    assert points_within(np.ones((1, 4, 5)), lesions, margin=0).tolist() == [0.2]


def test_rank_correlation_is_that_of_scipy():
    first, second = np.random.default_rng(0).integers(0, 9, (2, 3, 5, 5))
    expected = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(rank_correlation(first, second), expected)
    assert rank_correlation(first, np.zeros_like(first)).tolist() == [0, 0, 0]


def test_the_interval_of_a_mean_difference_is_about_that_of_student():
    differences = np.random.default_rng(0).normal(0.1, 0.2, 200)
    found = mean_difference(differences)
    reach = 1.97 * differences.std(ddof=1) / np.sqrt(200)
    assert found.value == pytest.approx(differences.mean())
    assert (found.high - found.low) / 2 == pytest.approx(reach, rel=0.1)


@pytest.fixture(scope="module")
def darkness():
    """A network whose logits are sums of pixels, images of a few values, and the true map of its second class."""
    model, weights = make_linear()
    model.layers[-1].set_weights([weights / 100 for weights in model.layers[-1].get_weights()])
    images = draw_images(40, 6, 6, 1)
    margin = weights[..., 1] - weights[..., 0]
    return make_predictor(model), images, (images[..., 0] - images.mean(axis=(1, 2, 3))[:, None, None]) * margin


@pytest.fixture(scope="module")
def random_curves(darkness):
    predictor, images, _ = darkness
    return {control: measure_random_curves(predictor, images, control, target=1) for control in CONTROLS}


def test_curves_tell_true_maps_from_their_opposite_and_from_random_ones(darkness, random_curves):
    predictor, images, maps = darkness
    by_chance = np.random.default_rng(5).random(maps.shape)
    found, opposite, noise = (measure_curves(predictor, images, some, target=1) for some in (maps, -maps, by_chance))
    for random in random_curves.values():
        assert found.deletion_gain(random).low > 0
        assert found.insertion_gain(random).low > 0
        assert opposite.deletion_gain(random).high < 0
    gain = noise.deletion_gain(random_curves["pixels"])
    assert gain.low < 0 < gain.high


def test_random_regions_are_another_control_than_random_pixels(darkness, random_curves):
    regions, pixels = (random_curves[control].deletion for control in ("regions", "pixels"))
    assert np.abs(regions - pixels).max() > 1e-3
    with pytest.raises(InputError, match=r"There is no control 'pixel'. Did you mean pixels"):
        measure_random_curves(*darkness[:2], "pixel")


def test_areas_of_a_curve_by_hand():
    inputs = keras.Input((2, 7, 1))
    logit = inputs[:, 0, 0] / 50.0
    predictor = make_predictor(keras.Model(inputs, keras.ops.concatenate([0 * logit, logit], axis=-1)))
    images = draw_images(1, 2, 7, 1).astype("float32")
    first = np.zeros((1, 2, 7))
    first[0, 0, 0] = 1
    found = measure_curves(predictor, images, first, target=1)
    # One of 14 pixels is replaced at each of 14 steps, and only the first counts: half a step of the other probability.
    pixels = [float(some) for some in (images[0, 0, 0, 0], images.mean(), blur(images)[0, 0, 0, 0])]
    whole, deleted, blurred = (1 / (1 + np.exp(-pixel / 50)) for pixel in pixels)
    assert found.deletion[0] == pytest.approx(deleted + (whole - deleted) / 28, rel=1e-4)
    assert found.insertion[0] == pytest.approx(whole + (blurred - whole) / 28, rel=1e-4)


def test_the_difference_of_curves_is_paired():
    low, high = np.linspace(0, 0.4, 9), np.linspace(0.1, 0.5, 9)
    curves, random = Curves(deletion=low, insertion=high), Curves(deletion=high, insertion=low)
    assert curves.deletion_gain(random).value == pytest.approx(0.1)
    assert curves.insertion_gain(random).value == pytest.approx(0.1)


def test_maps_follow_weights_that_are_drawn_anew_and_the_weights_come_back():
    model, _ = make_linear()
    predictor, before = make_predictor(model), model.get_weights()
    found = randomise(predictor, draw_images(4, 6, 6, 1), "integrated-gradients")
    assert found.layers == (model.layers[-1].name,)
    assert found.correlations.shape == (1, 4)
    assert found.fall() > 0.3
    for weight, after in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, after)


@pytest.mark.slow
def test_weights_are_drawn_anew_from_the_last_layer_down():
    predictor, images = make_predictor(make_convolutions()), draw_images(4, 8, 8, 1)
    found = randomise(predictor, images, "integrated-gradients", stages=3)
    assert found.layers == ("logits", "second", "first")
    assert found.correlations.shape == (3, 4)
    assert found.fall() > 0.3
    # What does not read the weights of the last layer does not follow them.
    blind = randomise(predictor, images, "visual-backprop", stages=3)
    np.testing.assert_allclose(blind.correlations[0], 1)
