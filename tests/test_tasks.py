"""The four tasks: outputs, loss, probabilities and weights."""

import keras
import numpy as np
import pytest
from scipy.special import expit, softmax

from keras_lnn.losses import WeightedBinaryCrossentropy
from keras_lnn.schedules import make_schedule
from keras_lnn.tasks import Task

LOGITS = np.random.default_rng(0).normal(0, 2, (8, 3)).astype(np.float32)


@pytest.mark.parametrize("kind", ["binary", "multi-class", "ordinal"])
def test_classes_are_a_softmax(kind):
    task = Task(kind, ("a", "b", "c"))
    assert task.outputs == 3
    np.testing.assert_allclose(task.probabilities(LOGITS), softmax(LOGITS, axis=1), rtol=1e-5)
    labels = np.array([0, 1, 2, 0, 1, 2, 0, 1])
    expected = -np.log(softmax(LOGITS.astype(float), axis=1)[np.arange(8), labels]).mean()
    assert float(task.loss()(labels, LOGITS)) == pytest.approx(expected, rel=1e-5)
    assert [metric.name for metric in task.metrics()] == ["accuracy", "auc"]


def test_labels_are_sigmoids():
    task = Task("multi-label", ("a", "b", "c"))
    np.testing.assert_allclose(task.probabilities(LOGITS), expit(LOGITS), rtol=1e-5)
    truth = (LOGITS > 0.3).astype(np.uint8)
    p = expit(LOGITS.astype(float))
    expected = -(truth * np.log(p) + (1 - truth) * np.log(1 - p)).mean()
    assert float(task.loss()(truth, LOGITS)) == pytest.approx(expected, rel=1e-5)
    accuracy, auc = task.metrics()
    assert float(accuracy(truth, LOGITS)) == pytest.approx((truth == (LOGITS > 0)).mean())
    assert float(auc(truth, LOGITS)) == 1.0


def test_balanced_weights_give_every_class_the_same_share():
    labels = np.array([0] * 6 + [1] * 3 + [2])
    weights, none = Task("multi-class", ("a", "b", "c")).balanced_weights(labels)
    assert none is None
    assert [weights[index] * count for index, count in enumerate((6, 3, 1))] == pytest.approx([10 / 3] * 3)
    table = np.array([[1, 0], [1, 0], [1, 1], [0, 0]], np.uint8)
    none, positive = Task("multi-label", ("a", "b")).balanced_weights(table)
    assert none is None
    np.testing.assert_allclose(positive, [1 / 3, 3.0])


def test_weighted_cross_entropy_is_its_formula_and_finite():
    loss = WeightedBinaryCrossentropy([2.0, 1.0, 0.5])
    truth = (LOGITS > 0.3).astype(np.float32)
    p = expit(LOGITS.astype(float))
    expected = -(np.array([2, 1, 0.5]) * truth * np.log(p) + (1 - truth) * np.log(1 - p)).mean()
    assert float(loss(truth, LOGITS)) == pytest.approx(expected, rel=1e-5)
    extreme = np.array([[1e4, -1e4, 0.0]], np.float32)
    assert np.isfinite(float(loss(np.array([[0.0, 1.0, 1.0]]), extreme)))
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert float(again(truth, LOGITS)) == pytest.approx(expected, rel=1e-5)
    ones = WeightedBinaryCrossentropy([1.0, 1.0, 1.0])(truth, LOGITS)
    assert float(ones) == pytest.approx(
        float(keras.losses.BinaryCrossentropy(from_logits=True)(truth, LOGITS)), rel=1e-5
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("constant", [1.0, 1.0, 1.0]),
        ("cosine", [1.0, 0.5, 0.0]),
        ("exponential", [1.0, 0.1, 0.01]),
        ("warmup-cosine", [0.0, 0.5868, 0.0]),
    ],
)
def test_courses_of_the_learning_rate(name, expected):
    schedule = make_schedule(name, 1.0, 100)
    values = [schedule if isinstance(schedule, float) else float(schedule(step)) for step in (0, 50, 100)]
    assert values == pytest.approx(expected, abs=1e-3)


def test_warm_up_ends_at_the_top():
    schedule = make_schedule("warmup-cosine", 0.2, 100)
    rates = [float(schedule(step)) for step in range(100)]
    assert max(rates) == pytest.approx(0.2)
    assert rates.index(max(rates)) == 10
