"""The four tasks: outputs, loss, probabilities and weights."""

import keras
import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.metrics import accuracy_score, f1_score, jaccard_score

from keras_lnn.cli.parsing import parse_command
from keras_lnn.cli.train import TrainCommand
from keras_lnn.config import TrainConfig
from keras_lnn.errors import InputError
from keras_lnn.evaluation.checked import CheckedPredictions
from keras_lnn.evaluation.predictions import evaluate_predictions
from keras_lnn.losses import (
    ASYMMETRIC,
    FOCAL,
    BinaryCrossentropyDice,
    FocalCrossentropy,
    FocalTversky,
    MultiLabelCrossentropy,
    ProbabilitySquaredError,
    SoftF1,
)
from keras_lnn.plots.arguments import check_predictions
from keras_lnn.registry import register_model
from keras_lnn.saved.card import model_card, shown_metrics
from keras_lnn.saved.file_writers import find_writer
from keras_lnn.saved.signature import Signature
from keras_lnn.tasks.calibration import Calibration
from keras_lnn.tasks.classification import SingleLabelTask
from keras_lnn.tasks.decisions import decide_likeliest
from keras_lnn.tasks.kinds import KINDS, list_forms, list_monitors, make_task
from keras_lnn.tasks.score import ScoredMetrics
from keras_lnn.training.compiling import compile_model
from keras_lnn.training.protocol import complete_config
from tuning.settings import SearchSettings

LOGITS = np.random.default_rng(0).normal(0, 2, (8, 3)).astype(np.float32)


@pytest.mark.parametrize("kind", ["multi-class", "ordinal"])
def test_classes_use_a_softmax(kind):
    task = make_task(kind, ("a", "b", "c"))
    assert task.outputs == 3
    np.testing.assert_allclose(task.probabilities(LOGITS), softmax(LOGITS, axis=1), rtol=1e-5)
    labels = np.array([0, 1, 2, 0, 1, 2, 0, 1])
    expected = -np.log(softmax(LOGITS.astype(float), axis=1)[np.arange(8), labels]).mean()
    assert float(task.loss()(labels, LOGITS)) == pytest.approx(expected, rel=1e-5)
    (metric,) = task.metrics()
    metric.update_state(labels, LOGITS)
    assert list(metric.result()) == ["accuracy", "f1", "auc", "score"]


def test_probabilities_are_those_of_the_calibrated_logits():
    offset = Calibration("vector", (2.0, 0.5, 1.0), (0.0, -1.0, 1.0))
    scaled = LOGITS * [2.0, 0.5, 1.0] + [0.0, -1.0, 1.0]
    for kind, expected in (("multi-class", softmax(scaled, axis=1)), ("multi-label", expit(scaled))):
        task = make_task(kind, ("a", "b", "c"), offset)
        for logits in (LOGITS, keras.ops.convert_to_tensor(LOGITS)):
            np.testing.assert_allclose(task.probabilities(logits), expected, rtol=1e-5)
    masks = make_task("segmentation", ("a", "b", "c"), Calibration("temperature", (0.5,)))
    np.testing.assert_allclose(masks.probabilities(LOGITS), softmax(LOGITS / 2, axis=1), rtol=1e-5)


def test_published_models_are_not_calibrated_unless_asked_to_be():
    def method(model, **fields):
        return complete_config(TrainConfig(model=model, **fields)).calibration

    assert [method(name) for name in ("lnn", "crnet-1fc", "resnet18", "multilabel-cnn")] == ["none"] * 4
    assert [method(name) for name in ("cnn", "unet")] == ["temperature"] * 2
    assert method("lnn", calibration="vector") == "vector"
    with pytest.raises(
        InputError, match=r"predicts masks must be one of none, temperature\. Received: vector for unet"
    ):
        method("unet", calibration="vector")


def test_a_coverage_by_class_needs_a_coverage():
    assert complete_config(TrainConfig(coverage=0.9, coverage_by_class=True)).coverage == 0.9
    with pytest.raises(InputError, match=r"--coverage-by-class needs a coverage. .* Add --coverage 0.9"):
        complete_config(TrainConfig(coverage_by_class=True))


def test_labels_use_sigmoids():
    task = make_task("multi-label", ("a", "b", "c"))
    np.testing.assert_allclose(task.probabilities(LOGITS), expit(LOGITS), rtol=1e-5)
    truth = (LOGITS > 0.3).astype(np.uint8)
    p = expit(LOGITS.astype(float))
    expected = -(truth * np.log(p) + (1 - truth) * np.log(1 - p)).mean()
    assert float(task.loss()(truth, LOGITS)) == pytest.approx(expected, rel=1e-5)
    (metric,) = task.metrics()
    metric.update_state(truth, LOGITS)
    assert float(metric.result()["accuracy"]) == pytest.approx((truth == (LOGITS > 0)).mean())
    assert float(metric.result()["auc"]) == 1.0


def test_two_classes_are_reported_by_their_difference():
    (metric,) = make_task("binary", ("a", "b")).metrics()
    metric.update_state([0, 1, 1], [[2.0, 1.0], [0.0, 3.0], [1.0, 0.0]])
    found = {name: round(float(value), 4) for name, value in metric.result().items()}
    # 0.2 of two in three, 0.3 of F1 2/3, 0.5 of one common in two.
    assert found == {"accuracy": 0.6667, "f1": 0.6667, "auc": 0.75, "score": 0.5833}


NEARLY_ONE_HALF = [0.49999997, 0.5]
DECISIONS = [
    ("binary", [NEARLY_ONE_HALF, [0.5, 0.5], [0.4, 0.6], [np.nan, np.nan], [np.nan, 0.9]], None, [0, 0, 1, 0, 1]),
    ("multi-class", [[0.2, 0.4, 0.4], [0.0, 0.0, 0.0], [np.nan, 0.1, 0.3], [np.nan] * 3], None, [1, 0, 2, 0]),
    ("ordinal", [[0.3, 0.3, 0.4], [0.4, 0.2, 0.4]], None, [2, 0]),
    ("segmentation", [[NEARLY_ONE_HALF, [0.5, 0.5]], [[0.5, np.nan], [0.1, 0.9]]], None, [[1, 0], [0, 1]]),
    ("multi-label", [NEARLY_ONE_HALF, [0.51, np.nan]], None, [[False, False], [True, False]]),
    ("binary", [[0.7, 0.3], [0.75, 0.25], [np.nan, np.nan]], [0.72, 0.28], [1, 0, 0]),
    ("binary", [[0.7, 0.3], [0.7, 0.3]], [0.7, float(np.float32(0.3)) - 1e-9], [1, 1]),
    # The nearest float32 to the first threshold is the probability itself.
    ("multi-label", [[0.3, 0.6], [0.3, 0.61]], [float(np.float32(0.3)) - 1e-9, 0.6], [[1, 1], [1, 1]]),
    ("multi-label", [[0.3, 0.25], [0.3, 0.26]], [float(np.float32(0.3)) + 1e-9, 0.25], [[0, 0], [0, 1]]),
]


@pytest.mark.parametrize(("kind", "probabilities", "thresholds", "expected"), DECISIONS)
def test_arrays_tensors_and_graphs_are_decided_alike(kind, probabilities, thresholds, expected):
    import tensorflow as tf

    single = np.array(probabilities, np.float32)
    task = make_task(kind, ("a", "b", "c")[: single.shape[-1]])
    graph = tf.function(lambda tensor: task.decide(tensor, thresholds))
    compiled = tf.function(lambda tensor: task.decide(tensor, thresholds), jit_compile=True)
    for decided in (
        task.decide(single, thresholds),
        task.decide(single.astype(np.float64), thresholds),
        task.decide(tf.constant(single), thresholds),
        graph(tf.constant(single)),
        compiled(tf.constant(single)),
    ):
        np.testing.assert_array_equal(decided, expected)


@pytest.mark.parametrize("task", ["binary", "multi-class", "multi-label"])
def test_metrics_and_pictures_decide_alike(task):
    probabilities = np.array([NEARLY_ONE_HALF, [0.5, 0.5], [0.7, 0.3], [0.2, 0.8]])
    truth = np.eye(2, dtype=np.int64)[[0, 1, 0, 1]] if task == "multi-label" else np.array([0, 1, 0, 1])
    names = ("a", "b")
    decided = make_task(task, names).decide(probabilities)
    measured = CheckedPredictions.checked(truth, probabilities, task, names, None).predicted
    drawn = check_predictions(truth, probabilities, task, names).predicted
    np.testing.assert_array_equal(drawn, decided)
    np.testing.assert_array_equal(measured, decided if task == "multi-label" else np.eye(2)[decided])


def test_metrics_and_pictures_take_probabilities_within_one_tolerance():
    probabilities = np.array([[-0.0004, 1.0004], [1.0004, 0.0]])
    found = evaluate_predictions(np.array([0, 1]), probabilities, task="binary", class_names=("a", "b"))
    assert found.metrics["brier"].value == 1
    assert check_predictions([0, 1], probabilities, "binary", ("a", "b")).probabilities.max() == 1
    for check in (
        lambda wrong: CheckedPredictions.checked(np.array([0, 1]), wrong, "binary", ("a", "b"), None),
        lambda wrong: check_predictions([0, 1], wrong, "binary", ("a", "b")),
    ):
        with pytest.raises(InputError, match=r"0 (and|to) 1"):
            check(np.array([[0.0, 1.002], [0.5, 0.5]]))


def test_balanced_weights_give_every_class_the_same_share():
    labels = np.array([0] * 6 + [1] * 3 + [2])
    weights, none = make_task("multi-class", ("a", "b", "c")).balanced_weights(labels)
    assert none is None
    assert [weights[index] * count for index, count in enumerate((6, 3, 1))] == pytest.approx([10 / 3] * 3)
    table = np.array([[1, 0], [1, 0], [1, 1], [0, 0]], np.uint8)
    none, positive = make_task("multi-label", ("a", "b")).balanced_weights(table)
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


def test_plain_cross_entropies_equal_those_of_keras():
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
    labels, classes = make_task("multi-label", ("a", "b", "c")), make_task("multi-class", ("a", "b", "c"))
    assert labels.loss("asymmetric").margin == 0.05
    assert labels.loss("focal", np.array([2.0, 1.0, 1.0])).positive_weights == [2.0, 1.0, 1.0]
    assert isinstance(classes.loss("focal"), FocalCrossentropy)
    with pytest.raises(InputError, match=r"for several labels per image\. Received: a multi-class task"):
        classes.loss("asymmetric")


NEW_LOSSES = {
    "bce-dice": BinaryCrossentropyDice,
    "focal-tversky": FocalTversky,
    "soft-f1": SoftF1,
    "mean-squared-error": ProbabilitySquaredError,
}


@pytest.mark.parametrize("name", NEW_LOSSES)
def test_losses_use_the_probabilities_that_the_model_predicts(name):
    labels, classes = make_task("multi-label", ("a", "b", "c")), make_task("multi-class", ("a", "b", "c"))
    for task, truth in ((labels, TRUTH), (classes, np.arange(8) % 3)):
        loss = task.loss(name)
        assert type(loss) is NEW_LOSSES[name]
        given = NEW_LOSSES[name]("given")(truth, task.probabilities(LOGITS))
        assert float(loss(truth, LOGITS)) == pytest.approx(float(given), rel=1e-4)


@pytest.mark.parametrize("name", ["cross-entropy", "focal", *NEW_LOSSES])
@pytest.mark.parametrize("kind", ["multi-class", "multi-label"])
def test_balanced_weights_go_to_fit_or_to_the_loss(name, kind):
    task = make_task(kind, ("a", "b", "c"))
    classes = np.array([0] * 6 + [1] * 3 + [2])
    labels = np.eye(3, dtype=np.uint8)[classes] if kind == "multi-label" else classes
    expected = [4 / 6, 7 / 3, 9.0] if kind == "multi-label" else [10 / 18, 10 / 9, 10 / 3]
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    config = complete_config(TrainConfig.create({"model": "dnn", "loss": name, "class_weight": "balanced"}))
    of_fit = compile_model(model, task, config, 10, labels)
    if kind == "multi-class" and name not in NEW_LOSSES:
        assert list(of_fit.values()) == pytest.approx(expected)
        return
    assert of_fit is None
    weights = model.loss.class_weights if name in NEW_LOSSES else model.loss.positive_weights
    assert weights == pytest.approx(expected)
    weighted, plain = _pull(model.loss, labels), _pull(task.loss(name), labels)
    assert weighted[2] / weighted[0] > 1.5 * plain[2] / plain[0] > 0


def _pull(loss, labels):
    """Returns how strongly the loss raises the logits of the positives of each class."""
    import tensorflow as tf

    logits = tf.zeros((10, 3))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = loss(labels, logits)
    up = -tape.gradient(value, logits).numpy()
    truth = labels if labels.ndim == 2 else np.eye(3)[labels]
    return (up * truth).sum(axis=0)


@pytest.mark.parametrize("kind", ["binary", "multi-class", "ordinal", "multi-label"])
def test_the_score_agrees_with_scikit_learn(kind):
    generator = np.random.default_rng(4)
    outputs = 2 if kind == "binary" else 3
    logits = generator.normal(0, 1, (60, outputs)).astype(np.float32)
    if kind == "multi-label":
        truth, predicted, average = generator.integers(0, 2, (60, 3)), logits > 0, "macro"
        accuracy = (truth == predicted).mean()
    else:
        truth, predicted = generator.integers(0, outputs, 60), logits.argmax(axis=1)
        average = "binary" if kind == "binary" else "macro"
        accuracy = accuracy_score(truth, predicted)
    expected = 0.2 * accuracy + 0.3 * f1_score(truth, predicted, average=average)
    expected += 0.5 * jaccard_score(truth, predicted, average=average)
    (metric,) = make_task(kind, ("a", "b", "c")[:outputs]).metrics()
    for half in (slice(0, 25), slice(25, 60)):
        metric.update_state(truth[half], logits[half])
    assert float(metric.result()["score"]) == pytest.approx(expected, rel=1e-5)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    again.update_state(truth, logits)
    assert type(again) is ScoredMetrics
    assert float(again.result()["score"]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "outputs", "validation", "training", "kept"),
    [
        ("binary", 2, 78, 546, 546),
        ("binary", 2, 10**6, 10**7, 10**6),
        ("multi-label", 14, 11_219, 78_468, 11_219),
        ("multi-class", 8, 23_640, 165_466, 23_640),
        ("multi-class", 100, 10_000, 50_000, 10_000),
        ("multi-class", 1000, 50_000, 1_000, 0),  # 50 million scores do not fit
    ],
)
def test_the_number_of_kept_scores_follows_the_validation_set(kind, outputs, validation, training, kept):
    (metric,) = make_task(kind, tuple(map(str, range(outputs)))).metrics(validation, training)
    assert metric.exact_samples == kept


@pytest.mark.parametrize(("f1", "printed"), [(96.13, 92.56), (95.42, 91.25)])
def test_the_published_dice_equals_the_iou(f1, printed):
    # Counts with that F1; their IoU is the number that was printed, and their Dice is F1 itself.
    hits = 10_000
    errors = round(2 * hits * (1 / (f1 / 100) - 1))
    truth = np.repeat([1, 1, 0], [hits, errors, 10])
    logits = np.stack([np.repeat([-1, 1, 1], [hits, errors, 10]), np.zeros(len(truth))], axis=1)
    metric = ScoredMetrics("binary", ["f1", "dice", "iou"], from_logits=True)
    metric.update_state(truth, logits)
    found = {name: float(value) * 100 for name, value in metric.result().items()}
    assert found["f1"] == found["dice"] == pytest.approx(f1, abs=0.006)
    assert found["iou"] == pytest.approx(printed, abs=0.02)


class StagesTask(SingleLabelTask):
    """A user's own kind of task: stages of a disease, where ties are decided for the later stage."""

    monitors = ("val_loss", "val_auc", "val_stages")

    def decide(self, probabilities, thresholds=None):
        return self.outputs - 1 - decide_likeliest(probabilities[..., ::-1])


def test_the_monitors_of_a_new_task_are_offered_and_the_form_of_its_output_is_registered(monkeypatch, capsys):
    class AgeTask(StagesTask):
        predicts = "ages"
        monitors = ("val_loss", "val_years")

    with pytest.raises(InputError, match=r"monitor must be 'val_loss', .* or 'val_iou'\. Received: 'val_years'"):
        TrainConfig.create({"monitor": "val_years"})
    with pytest.raises(ValueError, match=r"What a model predicts must be of a task\. Received: 'ages'"):
        register_model(family="new", reference_data="phantom-breast", predicts="ages")(lambda: None)
    monkeypatch.setitem(KINDS, "age", AgeTask)
    assert TrainConfig.create({"monitor": "val_years"}).monitor == "val_years"
    assert SearchSettings(objective="val_years").objective == "val_years"
    with pytest.raises(SystemExit):
        parse_command(TrainCommand, ["--help"], "train")
    assert "val_dice,val_iou,val_years}" in "".join(capsys.readouterr().out.split())
    assert (list_forms(), list_monitors("ages")) == (["classes", "masks", "ages"], ["val_loss", "val_years"])


def test_a_new_task_needs_only_a_class_and_a_table_entry(monkeypatch):
    monkeypatch.setitem(KINDS, "stages", StagesTask)
    fields = {"task": "stages", "class_names": ("I", "II", "III"), "image_shape": (8, 8, 1)}
    fields |= dict.fromkeys(("model", "data", "checksum", "licence", "trained_by"), "")
    fields |= {"model_args": {}, "size": None, "parameters": 1, "seed": 0, "best_epoch": 1}
    signature = Signature.from_json(Signature(**fields).to_json())
    task = signature.get_task()
    assert isinstance(task, StagesTask)
    probabilities = np.array([[0.4, 0.4, 0.2]])
    assert list(task.name_decision(task.decide(probabilities))) == ["II"]
    np.testing.assert_array_equal(
        task.serve(keras.ops.convert_to_tensor(probabilities), None)["predicted"], [[0, 1, 0]]
    )
    assert find_writer(task, "model", overlay=False).noun == "prediction"
    assert "val_stages" in list_monitors("classes")
    assert "(samples, 3)" in model_card(signature, None, "keras")
    metrics = {"task": "stages", "test": {"auc": 0.5}}
    assert shown_metrics(metrics, "test") == {"auc": "AUC"}
