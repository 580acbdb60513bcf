"""Thresholds of two classes and of labels: chosen on validation by a rule, and used in evaluation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from keras_lnn.errors import InputError
from keras_lnn.evaluation.predictions import evaluate_predictions
from keras_lnn.tasks.thresholds import choose_thresholds, describe_rule, parse_threshold


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), samples=st.integers(1, 40), decimals=st.sampled_from([1, 8]))
def test_no_other_threshold_has_a_larger_f1(seed, samples, decimals):
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 2, (samples, 3))
    scores = generator.random((samples, 3)).round(decimals)
    chosen = choose_thresholds(truth, scores, "f1")
    for column in range(3):
        own = f1_score(truth[:, column], scores[:, column] > chosen[column], zero_division=0)
        candidates = np.unique(np.concatenate([[0.0], scores[:, column]]))
        others = [f1_score(truth[:, column], scores[:, column] > other, zero_division=0) for other in candidates]
        # Above zero nothing predicts a score of exactly zero, which the middle below it does not either.
        assert own >= max(others) - 1e-12


def test_a_threshold_lies_in_the_middle_and_near_one_half():
    assert choose_thresholds(np.array([[0], [0], [1]]), np.array([[0.1], [0.2], [0.4]]), "f1") == pytest.approx((0.3,))
    assert choose_thresholds(np.array([[0], [0]]), np.array([[0.1], [0.2]]), "f1") == (0.5,)
    assert choose_thresholds(np.array([[1], [1]]), np.array([[0.6], [0.8]]), "f1") == pytest.approx((0.3,))


def sides(truth, scores, threshold, positive):
    """Returns sensitivity and specificity of the positive class, where class 1 is predicted above a threshold."""
    decided = (scores[:, 1] > threshold).astype(int) == positive
    present = truth == positive
    return decided[present].mean(), (~decided)[~present].mean()


def two_classes(seed, samples, decimals):
    generator = np.random.default_rng(seed)
    truth = np.concatenate([[0, 1], generator.integers(0, 2, samples)])
    second = np.clip(0.15 * truth + 0.8 * generator.random(len(truth)), 0, 1).round(decimals)
    return truth, np.stack([1 - second, second], axis=1)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    samples=st.integers(0, 40),
    decimals=st.sampled_from([1, 8]),
    positive=st.sampled_from([0, 1]),
    rule=st.sampled_from(["youden", "sensitivity=.9", "specificity=0.8"]),
)
def test_no_other_threshold_of_two_classes_is_better_by_its_rule(seed, samples, decimals, positive, rule):
    truth, scores = two_classes(seed, samples, decimals)
    of_first, chosen = choose_thresholds(truth, scores, rule, positive)
    assert of_first == 1 - chosen
    candidates = [0.0, *scores[:, 1]]
    found = [sides(truth, scores, other, positive) for other in candidates]
    own = sides(truth, scores, chosen, positive)
    if rule == "youden":
        assert sum(own) >= max(map(sum, found)) - 1e-12
        return
    wanted = 0 if rule.startswith("sensitivity") else 1
    level = float(rule.partition("=")[2])
    meeting = [pair[1 - wanted] for pair in found if pair[wanted] >= level]
    # A score of zero lies above no threshold, so that not every sensitivity can be had.
    assert own[wanted] >= level or not meeting
    assert own[1 - wanted] >= max(meeting, default=0)


def test_threshold_rules_may_refer_to_the_first_class():
    truth, scores = np.array([0, 1, 0, 1, 1]), np.array([0.2, 0.55, 0.6, 0.7, 0.9])
    both = np.stack([1 - scores, scores], axis=1)
    assert choose_thresholds(truth, both, "youden")[1] == pytest.approx(0.65)
    assert choose_thresholds(truth, both, "sensitivity=.3", positive=0)[1] == pytest.approx(0.375)
    assert choose_thresholds(truth, both, "0.3", positive=0) == pytest.approx((0.3, 0.7))
    assert choose_thresholds(truth, both, "0.3", positive=1) == pytest.approx((0.7, 0.3))
    assert choose_thresholds(truth * 0, both, "youden") == (0.5, 0.5)


def test_a_model_that_ranks_well_and_predicts_one_class_is_useful_at_its_threshold():
    truth, _ = two_classes(3, 200, 8)
    second = 0.7 + 0.1 * np.random.default_rng(3).random(len(truth)) + 0.1 * truth
    scores = np.stack([1 - second, second], axis=1)
    thresholds = choose_thresholds(truth, scores, "youden", positive=0)
    about = {"task": "binary", "class_names": ("malignant", "benign"), "positive_class": "malignant"}
    found = evaluate_predictions(truth, scores, thresholds=thresholds, **about)
    assert found.metrics["sensitivity"].value == 0
    assert found.metrics["sensitivity_tuned"].value == found.metrics["specificity_tuned"].value == 1
    assert found.metrics["accuracy_tuned"].value == found.metrics["balanced_accuracy_tuned"].value == 1
    assert found.per_class["malignant"]["threshold"] == thresholds[0] == pytest.approx(1 - thresholds[1])
    (sentence,) = (text for text in found.warnings if "collapsed" in text)
    assert sentence.startswith("Above 0.5 the model predicts 'benign' for all 202 samples: it has collapsed")
    assert sentence.endswith(
        f"At its threshold it predicts 'malignant' for {(truth == 0).sum()}, 'benign' for {truth.sum()}."
    )


def test_sensitivity_rules_refer_to_the_positive_class():
    truth, scores = two_classes(5, 100, 8)
    about = {"task": "binary", "class_names": ("malignant", "benign")}
    second, first = (evaluate_predictions(truth, scores, **about, positive_class=name) for name in (None, "malignant"))
    assert (second.positive_class, first.positive_class) == ("benign", "malignant")
    assert first.metrics["auc"] == second.metrics["auc"]
    assert first.metrics["accuracy"] == second.metrics["accuracy"]
    assert first.metrics["sensitivity"] == second.metrics["specificity"]
    assert first.metrics["f1"].value == pytest.approx(f1_score(truth, scores[:, 1] > 0.5, pos_label=0))
    with pytest.raises(InputError, match=r"one of two classes\. Received: bening for a binary task with malignant"):
        evaluate_predictions(truth, scores, **about, positive_class="bening")


@pytest.mark.parametrize(
    "text", ["", "yuoden", "f1=.3", "sensitivity", "sensitivity=1.5", "1", "0", "nan", "recall=.5"]
)
def test_invalid_threshold_rules_are_refused(text):
    with pytest.raises(ValueError, match="must be youden, f1, sensitivity=S, specificity=S or a number"):
        parse_threshold(text)


def test_evaluation_reports_f1_at_the_thresholds_with_intervals():
    generator = np.random.default_rng(0)
    truth = (generator.random((200, 2)) < 0.2).astype(int)
    scores = np.clip(0.2 * truth + 0.3 * generator.random((200, 2)), 0, 1)
    thresholds = (0.25, 0.3)
    found = evaluate_predictions(truth, scores, task="multi-label", class_names=("a", "b"), thresholds=thresholds)
    plain = evaluate_predictions(truth, scores, task="multi-label", class_names=("a", "b"))
    each = [f1_score(truth[:, i], scores[:, i] > thresholds[i]) for i in range(2)]
    assert found.metrics["f1_tuned"].value == pytest.approx(np.mean(each))
    assert found.metrics["f1_tuned"].low < np.mean(each) < found.metrics["f1_tuned"].high
    tuned = ["f1_tuned", "precision_tuned", "sensitivity_tuned", "specificity_tuned"]
    assert list(found.per_class["a"])[-5:] == [*tuned, "threshold"]
    assert [entry["f1_tuned"].value for entry in found.per_class.values()] == pytest.approx(each)
    assert [entry["threshold"] for entry in found.per_class.values()] == [0.25, 0.3]
    assert {name: value for name, value in found.metrics.items() if not name.endswith("_tuned")} == plain.metrics
    assert "f1_tuned" not in plain.per_class["a"]


@pytest.mark.parametrize(
    ("task", "thresholds", "rule"),
    [
        ("multi-label", (0.5,), "one probability for each label"),
        ("multi-label", (0.5, 2.0), "one probability for each label"),
        ("multi-class", (0.5, 0.5), "of a binary or multi-label task"),
        ("binary", (0.5,), "two probabilities that sum to one"),
        ("binary", (0.2, 0.3), "two probabilities that sum to one"),
    ],
)
def test_wrong_thresholds_are_reported(task, thresholds, rule):
    truth = np.array([[0, 1], [1, 0]]) if task == "multi-label" else np.array([0, 1])
    with pytest.raises(InputError, match=rule):
        evaluate_predictions(truth, np.full((2, 2), 0.5), task=task, class_names=("a", "b"), thresholds=thresholds)


@pytest.mark.parametrize(
    ("rule", "reported"),
    [
        (None, "chosen on validation by f1"),
        ("sensitivity=.9", "chosen on validation by sensitivity=.9"),
        ("sensitivity=.9 of malignant", "chosen on validation by sensitivity=.9 for malignant"),
        ("0.3 of malignant", "as requested"),
    ],
)
def test_a_rule_is_reported_in_words(rule, reported):
    assert describe_rule(rule) == reported
