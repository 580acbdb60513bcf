"""Whether an image is like those that a model has learned from: the rate of false alarms, and other data."""

import numpy as np
import pytest

from keras_lnn.errors import InputError
from keras_lnn.explaining.likeness import is_unlike, measure_likeness, rank_among, warn_of_unlike
from keras_lnn.explaining.neighbours import LearnedFeatures


def learn_from(train, validation):
    """Returns learned features from features of the splits."""
    learned = LearnedFeatures(
        directions=(train / np.linalg.norm(train, axis=1, keepdims=True)).astype(np.float32),
        rows=np.arange(len(train)),
        names=[""] * len(train),
        labels=[""] * len(train),
        patients=None,
        validation=np.zeros(0),
    )
    distances = np.sort(learned.measure_distances(validation))
    return LearnedFeatures(**vars(learned) | {"validation": distances})


def draw_features(generator, count, shift=0.0):
    return generator.gamma(2.0, size=(count, 8)).astype(np.float32) + np.array([shift] + [0] * 7, np.float32)


def test_p_values_count_the_validation_images_that_are_as_far():
    validation = np.arange(1.0, 20.0)
    p_values, farther = rank_among(np.array([0.5, 1.0, 10.5, 19.0, 20.0]), validation)
    np.testing.assert_allclose(p_values, [1, 1, 0.5, 0.1, 0.05])
    np.testing.assert_allclose(farther, [0, 0, 10 / 19, 18 / 19, 1])
    assert is_unlike(p_values).tolist() == [False, False, False, False, True]
    with pytest.raises(InputError, match=r"false_alarms must lie between 0 and 1\. Received: 5"):
        is_unlike(p_values, 5)


@pytest.mark.parametrize("count", [19, 30, 60])
def test_the_rate_of_false_alarms_is_the_conformal_one(count):
    generator = np.random.default_rng(count)
    # With n validation images the rate is exactly floor(0.05 (n + 1)) / (n + 1), on average over these images.
    exact = np.floor(0.05 * (count + 1)) / (count + 1)
    rates = []
    for _ in range(1500):
        distances = generator.gamma(2.0, size=count + 20)
        rates.append(is_unlike(rank_among(distances[count:], np.sort(distances[:count]))[0]).mean())
    assert abs(np.mean(rates) - exact) < 4 * np.std(rates) / np.sqrt(len(rates))


def test_images_of_the_same_kind_are_rarely_reported_and_others_are():
    generator = np.random.default_rng(0)
    learned = learn_from(draw_features(generator, 300), draw_features(generator, 200))
    same = measure_likeness(learned, draw_features(generator, 400))
    other = measure_likeness(learned, draw_features(generator, 50, shift=60.0))
    assert 0.02 < same.unlike.mean() < 0.09
    assert other.unlike.all()
    assert (other.p_values == 1 / 201).all()
    assert other.describe(0) == (
        "is unlike the images that the model has learned from: farther than 100% of the validation images"
    )
    usual = int(np.argmax(same.p_values))
    assert same.describe(usual).startswith("is like the images that the model has learned from: farther than ")


def test_too_few_validation_images_are_said_and_report_nothing():
    generator = np.random.default_rng(0)
    learned = learn_from(draw_features(generator, 50), draw_features(generator, 18))
    found = measure_likeness(learned, draw_features(generator, 5, shift=60.0))
    assert not found.unlike.any()
    assert found.describe(0) == (
        "cannot be compared with the images that the model has learned from: 18 validation images are too few for 5% of"
        " false alarms"
    )
    enough = learn_from(draw_features(generator, 50), draw_features(generator, 19))
    assert measure_likeness(enough, draw_features(generator, 5, shift=60.0)).unlike.all()


def test_a_warning_names_the_images_that_are_unlike():
    generator = np.random.default_rng(0)
    learned = learn_from(draw_features(generator, 50), draw_features(generator, 99))
    assert warn_of_unlike(["a", "b"], np.array([0.06, 1.0]), learned) is None
    assert warn_of_unlike(["a", "b", "c"], np.array([0.05, 1.0, 0.01]), learned) == (
        "2 of 3 images are unlike those that the model has learned from, so that predictions for them may mean nothing;"
        " farther than 96% or more of the validation images: a, c"
    )
    few = learn_from(draw_features(generator, 50), draw_features(generator, 18))
    assert warn_of_unlike(["a"], np.array([1 / 19]), few) == (
        "18 validation images are too few to report images that are unlike those learned from"
    )
