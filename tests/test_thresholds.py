"""Thresholds of labels: the largest F1 on validation, and what evaluation makes of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from keras_lnn.errors import InputError
from keras_lnn.evaluation import evaluate_predictions
from keras_lnn.thresholds import choose_thresholds


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), samples=st.integers(1, 40), decimals=st.sampled_from([1, 8]))
def test_no_other_threshold_has_a_larger_f1(seed, samples, decimals):
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 2, (samples, 3))
    scores = generator.random((samples, 3)).round(decimals)
    chosen = choose_thresholds(truth, scores)
    for column in range(3):
        own = f1_score(truth[:, column], scores[:, column] > chosen[column], zero_division=0)
        candidates = np.unique(np.concatenate([[0.0], scores[:, column]]))
        others = [f1_score(truth[:, column], scores[:, column] > other, zero_division=0) for other in candidates]
        # Above zero nothing predicts a score of exactly zero, which the middle below it does not either.
        assert own >= max(others) - 1e-12


def test_a_threshold_lies_in_the_middle_and_near_one_half():
    assert choose_thresholds(np.array([[0], [0], [1]]), np.array([[0.1], [0.2], [0.4]])) == pytest.approx((0.3,))
    assert choose_thresholds(np.array([[0], [0]]), np.array([[0.1], [0.2]])) == (0.5,)
    assert choose_thresholds(np.array([[1], [1]]), np.array([[0.6], [0.8]])) == pytest.approx((0.3,))


def test_evaluation_gives_f1_at_them_with_intervals():
    generator = np.random.default_rng(0)
    truth = (generator.random((200, 2)) < 0.2).astype(int)
    scores = np.clip(0.2 * truth + 0.3 * generator.random((200, 2)), 0, 1)
    thresholds = (0.25, 0.3)
    found = evaluate_predictions(truth, scores, task="multi-label", class_names=("a", "b"), thresholds=thresholds)
    plain = evaluate_predictions(truth, scores, task="multi-label", class_names=("a", "b"))
    each = [f1_score(truth[:, i], scores[:, i] > thresholds[i]) for i in range(2)]
    assert found.metrics["f1_tuned"].value == pytest.approx(np.mean(each))
    assert found.metrics["f1_tuned"].low < np.mean(each) < found.metrics["f1_tuned"].high
    assert list(found.per_class["a"])[-2:] == ["f1_tuned", "threshold"]
    assert [entry["f1_tuned"].value for entry in found.per_class.values()] == pytest.approx(each)
    assert [entry["threshold"] for entry in found.per_class.values()] == [0.25, 0.3]
    assert {name: value for name, value in found.metrics.items() if name != "f1_tuned"} == plain.metrics
    assert "f1_tuned" not in plain.per_class["a"]


@pytest.mark.parametrize(
    ("task", "thresholds"), [("multi-label", (0.5,)), ("multi-label", (0.5, 2.0)), ("binary", (0.5, 0.5))]
)
def test_wrong_thresholds_are_told(task, thresholds):
    truth = np.array([[0, 1], [1, 0]]) if task == "multi-label" else np.array([0, 1])
    with pytest.raises(InputError, match="one probability for each label of a multi-label task"):
        evaluate_predictions(truth, np.full((2, 2), 0.5), task=task, class_names=("a", "b"), thresholds=thresholds)
