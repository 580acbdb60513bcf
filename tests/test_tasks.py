"""The four tasks: outputs, loss, probabilities and weights."""

import keras
import numpy as np
import pytest
from scipy.special import expit, softmax

from keras_lnn.errors import InputError
from keras_lnn.losses import ASYMMETRIC, FOCAL, FocalCrossentropy, MultiLabelCrossentropy
from keras_lnn.schedules import make_schedule
from keras_lnn.tasks import Task

LOGITS = np.random.default_rng(0).normal(0, 2, (8, 3)).astype(np.float32)


@pytest.mark.parametrize("kind", ["multi-class", "ordinal"])
def test_classes_are_a_softmax(kind):
    task = Task(kind, ("a", "b", "c"))
    assert task.outputs == 3
    np.testing.assert_allclose(task.probabilities(LOGITS), softmax(LOGITS, axis=1), rtol=1e-5)
    labels = np.array([0, 1, 2, 0, 1, 2, 0, 1])
    expected = -np.log(softmax(LOGITS.astype(float), axis=1)[np.arange(8), labels]).mean()
    assert float(task.loss()(labels, LOGITS)) == pytest.approx(expected, rel=1e-5)
    (metric,) = task.metrics()
    metric.update_state(labels, LOGITS)
    assert list(metric.result()) == ["accuracy", "f1", "auc"]


def test_labels_are_sigmoids():
    task = Task("multi-label", ("a", "b", "c"))
    np.testing.assert_allclose(task.probabilities(LOGITS), expit(LOGITS), rtol=1e-5)
    truth = (LOGITS > 0.3).astype(np.uint8)
    p = expit(LOGITS.astype(float))
    expected = -(truth * np.log(p) + (1 - truth) * np.log(1 - p)).mean()
    assert float(task.loss()(truth, LOGITS)) == pytest.approx(expected, rel=1e-5)
    (metric,) = task.metrics()
    metric.update_state(truth, LOGITS)
    assert float(metric.result()["accuracy"]) == pytest.approx((truth == (LOGITS > 0)).mean())
    assert float(metric.result()["auc"]) == 1.0


def test_two_classes_are_told_by_their_difference():
    (metric,) = Task("binary", ("a", "b")).metrics()
    metric.update_state([0, 1, 1], [[2.0, 1.0], [0.0, 3.0], [1.0, 0.0]])
    found = {name: round(float(value), 4) for name, value in metric.result().items()}
    assert found == {"accuracy": 0.6667, "f1": 0.6667, "auc": 0.75}


def test_balanced_weights_give_every_class_the_same_share():
    labels = np.array([0] * 6 + [1] * 3 + [2])
    weights, none = Task("multi-class", ("a", "b", "c")).balanced_weights(labels)
    assert none is None
    assert [weights[index] * count for index, count in enumerate((6, 3, 1))] == pytest.approx([10 / 3] * 3)
    table = np.array([[1, 0], [1, 0], [1, 1], [0, 0]], np.uint8)
    none, positive = Task("multi-label", ("a", "b")).balanced_weights(table)
    assert none is None
    np.testing.assert_allclose(positive, [1 / 3, 3.0])


TRUTH = (LOGITS > 0.3).astype(np.float32)


@pytest.mark.parametrize("shape", [(0.0, 0.0, 0.0), FOCAL, ASYMMETRIC, (1.0, 3.0, 0.1)])
@pytest.mark.parametrize("weights", [None, [2.0, 1.0, 0.5]])
def test_the_loss_of_labels_is_its_formula_and_finite(shape, weights):
    loss = MultiLabelCrossentropy(*shape, positive_weights=weights)
    (a, b, margin), p = shape, expit(LOGITS.astype(float))
    q = np.maximum(p - margin, 0)
    positive = np.array(weights or [1, 1, 1]) * (1 - p) ** a * np.log(p)
    expected = -(TRUTH * positive + (1 - TRUTH) * q**b * np.log(1 - q)).mean()
    assert float(loss(TRUTH, LOGITS)) == pytest.approx(expected, rel=1e-5)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert float(again(TRUTH, LOGITS)) == float(loss(TRUTH, LOGITS))
    assert again.get_config() == loss.get_config()


@pytest.mark.parametrize("shape", [(), FOCAL, ASYMMETRIC])
def test_gradients_stay_finite_at_extreme_logits(shape):
    import tensorflow as tf

    logits = tf.constant([[1e4, -1e4, 0.0], [-1e4, 1e4, 50.0], [100.0, -100.0, -50.0]])
    for truth in ([[0.0, 1.0, 1.0]], [[1.0, 0.0, 0.0]]):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = MultiLabelCrossentropy(*shape)(tf.constant(truth * 3), logits)
        assert np.isfinite(value)
        assert np.isfinite(tape.gradient(value, logits)).all()


def test_plain_cross_entropies_are_those_of_keras():
    plain = MultiLabelCrossentropy()(TRUTH, LOGITS)
    assert float(plain) == pytest.approx(
        float(keras.losses.BinaryCrossentropy(from_logits=True)(TRUTH, LOGITS)), rel=1e-5
    )
    labels = np.array([0, 1, 2, 0, 1, 2, 0, 1])
    sparse = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    assert float(FocalCrossentropy(0.0)(labels, LOGITS)) == pytest.approx(float(sparse(labels, LOGITS)), rel=1e-5)
    p = softmax(LOGITS.astype(float), axis=1)[np.arange(8), labels]
    focal = FocalCrossentropy()
    assert float(focal(labels, LOGITS)) == pytest.approx((-((1 - p) ** 2) * np.log(p)).mean(), rel=1e-5)
    assert keras.losses.deserialize(keras.losses.serialize(focal)).get_config() == focal.get_config()


def test_tasks_know_their_losses():
    labels, classes = Task("multi-label", ("a", "b", "c")), Task("multi-class", ("a", "b", "c"))
    assert labels.loss("asymmetric").margin == 0.05
    assert labels.loss("focal", np.array([2.0, 1.0, 1.0])).positive_weights == [2.0, 1.0, 1.0]
    assert isinstance(classes.loss("focal"), FocalCrossentropy)
    with pytest.raises(InputError, match=r"for several labels to an image\. Received: a multi-class task"):
        classes.loss("asymmetric")


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
