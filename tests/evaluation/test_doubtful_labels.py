"""Labels that predictions contradict: known flips are found, and nothing is where nothing is wrong."""

import numpy as np
import pytest
from run_samples import class_probabilities, label_probabilities

from keras_lnn.evaluation.doubtful_labels import find_doubtful_labels


def flip(truth, classes, share, generator):
    wrong = generator.random(len(truth)) < share
    return np.where(wrong, (truth + generator.integers(1, classes, len(truth))) % classes, truth), wrong


@pytest.mark.parametrize(("classes", "strength"), [(2, 4.0), (5, 5.0)])
def test_flipped_labels_are_found(classes, strength):
    generator = np.random.default_rng(classes)
    truth = generator.integers(0, classes, 1000)
    given, wrong = flip(truth, classes, 0.08, generator)
    found = find_doubtful_labels(given, class_probabilities(truth, classes, strength, 3))
    doubted = np.array([one.sample for one in found])
    assert wrong[doubted].mean() > 0.7  # by chance 0.08
    assert wrong[doubted].sum() / wrong.sum() > 0.7
    # The most doubtful ones are wrong most often.
    assert wrong[doubted[:20]].mean() > 0.9
    assert np.mean([one.suggested == truth[one.sample] for one in found if wrong[one.sample]]) > 0.95
    assert [one.margin for one in found] == sorted(one.margin for one in found)


def test_a_perfect_model_doubts_no_right_label():
    truth = np.random.default_rng(0).integers(0, 3, 300)
    # All right, though not all equally sure.
    assert find_doubtful_labels(truth, class_probabilities(truth, 3, 12.0, 1)) == []
    labels = (np.random.default_rng(1).random((300, 4)) < 0.3).astype(np.uint8)
    assert find_doubtful_labels(labels, np.where(labels, 0.9, 0.1)) == []


def test_each_of_several_labels_is_looked_at_on_its_own():
    generator = np.random.default_rng(4)
    truth = (generator.random((800, 3)) < [0.5, 0.2, 0.05]).astype(np.uint8)
    wrong = generator.random(truth.shape) < 0.05
    found = find_doubtful_labels(truth ^ wrong, label_probabilities(truth, 8.0, 2) ** 1.5)
    hit = np.array([wrong[one.sample, one.label] for one in found])
    assert hit.mean() > 0.5
    assert hit.sum() / wrong.sum() > 0.6
    for one in found:
        assert one.given == (truth ^ wrong)[one.sample, one.label] == 1 - one.suggested
        assert one.given_probability + one.suggested_probability == pytest.approx(1)


def test_the_rule_by_hand():
    truth = np.array([0, 0, 0, 1, 1])
    sure = np.array([0.9, 0.8, 0.1, 0.7, 0.6])  # of the first class for the first three, of the second for the others
    probabilities = np.column_stack([sure, 1 - sure])
    probabilities[3:] = probabilities[3:, ::-1]
    # The mean probability of the second class among those given it is .65, and only the third sample reaches it.
    (found,) = find_doubtful_labels(truth, probabilities)
    assert (found.sample, found.given, found.suggested, found.label) == (2, 0, 1, None)
    assert (found.given_probability, found.suggested_probability) == pytest.approx((0.1, 0.9))


def test_what_is_told_apart_by_chance_is_never_suggested():
    generator = np.random.default_rng(0)
    truth, probabilities = generator.integers(0, 3, 90), generator.dirichlet(np.ones(3), 90)
    assert find_doubtful_labels(truth, probabilities, [False] * 3) == []
    assert {one.suggested for one in find_doubtful_labels(truth, probabilities, [True, False, False])} == {0}
    labels = (generator.random((90, 3)) < 0.5).astype(np.uint8)
    assert {one.label for one in find_doubtful_labels(labels, probabilities, [False, True, False])} == {1}
    # A class of which there is no sample is not suggested either.
    assert all(one.suggested != 2 for one in find_doubtful_labels(truth % 2, probabilities))
