"""Building blocks of networks: initial weights."""

from typing import get_args

import keras
import numpy as np
import pytest
from keras import layers

from keras_lnn.models.blocks import Initialisation, convolution_block, make_initializer

FAN_IN, FAN_OUT = 3 * 3 * 32, 3 * 3 * 64


@pytest.mark.parametrize(
    ("name", "variance", "uniform"),
    [
        ("he-normal", 2 / FAN_IN, False),
        ("he-uniform", 2 / FAN_IN, True),
        ("glorot-normal", 2 / (FAN_IN + FAN_OUT), False),
        ("glorot-uniform", 2 / (FAN_IN + FAN_OUT), True),
        ("lecun-normal", 1 / FAN_IN, False),
        ("lecun-uniform", 1 / FAN_IN, True),
    ],
)
def test_weights_are_initialized_by_the_named_initializer(name, variance, uniform):
    keras.utils.set_random_seed(0)
    maps = keras.Input((8, 8, 32))
    model = keras.Model(maps, convolution_block(maps, 64, 3, initialisation=name))
    weights = model.get_weights()[0].ravel()
    assert weights.var() == pytest.approx(variance, rel=0.04)
    # A uniform distribution ends at its root of three deviations, a cut normal one at more than two.
    reach = np.abs(weights).max() / np.sqrt(variance)
    assert reach == pytest.approx(np.sqrt(3), abs=0.01) if uniform else reach > 2


def test_an_orthogonal_matrix_keeps_lengths():
    weights = np.array(make_initializer("orthogonal")((6, 6)))
    np.testing.assert_allclose(weights @ weights.T, np.eye(6), atol=1e-5)


@pytest.mark.parametrize("name", get_args(Initialisation))
def test_each_layer_has_its_own_seeded_initial_weights(name):
    def draw():
        keras.utils.set_random_seed(5)
        return [np.array(make_initializer(name)((4, 4))) for _ in range(2)]

    first, again = draw(), draw()
    assert not np.allclose(*first)
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("normalise", [False, True])
def test_blocks_default_to_the_initializers_of_keras(normalise):
    """Networks keep the initial weights that a seed gave them in earlier versions."""

    def plain(maps, filters):
        maps = layers.Conv2D(filters, 3, 1)(layers.ZeroPadding2D(1)(maps))
        return layers.ReLU()(layers.BatchNormalization()(maps) if normalise else maps)

    def block(maps, filters):
        return convolution_block(maps, filters, 3, padding=1, normalise=normalise)

    found = []
    for build in (plain, block):
        keras.utils.set_random_seed(7)
        inputs = keras.Input((8, 8, 1))
        features = layers.Dropout(0.3)(layers.Flatten()(build(build(inputs, 4), 6)))
        found.append(keras.Model(inputs, layers.Dense(3)(features)).get_weights())
    for without, beside in zip(*found, strict=True):
        np.testing.assert_array_equal(without, beside)
