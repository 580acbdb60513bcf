"""What each step of a sequence contributes."""

import keras
import numpy as np
import pytest
from liquid_samples import draw_split, make_model

from keras_lnn.explaining.steps import measure_steps
from keras_lnn.layers import CfC, Rows


@pytest.fixture(autouse=True)
def eagerly():
    """Three steps are computed faster than they are compiled."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def test_a_step_that_is_the_average_contributes_nothing():
    images = draw_split(6).images[:].copy()
    images[:, 1] = images[0, 1]
    found = measure_steps(make_model("dense"), images, images)
    assert found.contributions.shape == (6, 3, 2)
    np.testing.assert_allclose(found.contributions[:, 1], 0, atol=1e-6)
    assert np.abs(found.contributions[:, [0, 2]]).max() > 1e-3


@pytest.mark.slow
def test_contributions_are_those_of_an_image_whose_row_is_the_average():
    images, reference = draw_split(4).images[:], draw_split(10, seed=1).images[:]
    model = make_model("dense")
    model.get_layer("beside").kernel.assign(np.zeros((12, 2)))  # what goes around the layer does not see the steps
    found = measure_steps(model, images, reference)
    replaced = images.astype("float32")
    replaced[:, 2] = reference[:, 2].astype("float32").mean(axis=0)
    logits = [keras.ops.convert_to_numpy(model(np.float32(some))) for some in (images, replaced)]
    np.testing.assert_allclose(found.logits, logits[0], atol=1e-6)
    np.testing.assert_allclose(found.contributions[:, 2], logits[0] - logits[1], atol=1e-5)


@pytest.mark.slow
def test_masked_steps_contribute_nothing_and_are_no_part_of_the_average():
    inputs = keras.Input((3, 4, 1))
    steps = Rows()(inputs / 255)
    read = steps[..., 0] > 0
    model = keras.Model(inputs, CfC(2, backbone_layers=0)(steps, mask=read))
    images = draw_split(5).images[:].copy() // 2 + 1
    images[0, 1] = 0  # a masked row
    images[1:, 1] = 90
    found = measure_steps(model, images, images)
    # All rows that are read are the same, so each is the average of those; with the masked row it would not be.
    np.testing.assert_allclose(found.contributions[:, 1], 0, atol=1e-6)
