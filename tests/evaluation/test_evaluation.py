"""Every metric against MedMNIST's evaluator and scikit-learn, every interval against a naive re-evaluation."""

import contextlib
import importlib
import io
import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from keras_lnn.errors import InputError
from keras_lnn.evaluation.checked import CheckedPredictions
from keras_lnn.evaluation.metrics import METRICS, list_class_metrics
from keras_lnn.evaluation.predictions import (
    evaluate_predictions,
    measure_predictions,
)
from keras_lnn.statistics import Estimate
from keras_lnn.tasks.decisions import CLASSIFICATIONS

MEDMNIST_TASKS = {
    "binary": "binary-class",
    "multi-class": "multi-class",
    "ordinal": "ordinal-regression",
    "multi-label": "multi-label, binary-class",
}


@pytest.fixture(scope="module")
def medmnist_evaluator(tmp_path_factory):
    """The evaluator itself; its package makes a folder in the home and prints a line when it is imported."""
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()):
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        return importlib.import_module("medmnist.evaluator")


def simulate(task, samples, classes, seed=0, levels=None):
    """Returns truth with every class, and probabilities correlated with it; few levels make many ties."""
    generator = np.random.default_rng(seed)
    if task == "multi-label":
        truth = (generator.random((samples, classes)) < 0.3).astype(np.uint8)
        truth[0], truth[1] = 0, 1
        scores = generator.normal(size=truth.shape) + truth
        probabilities = 1 / (1 + np.exp(0.8 - scores))
        return truth, probabilities if levels is None else np.round(probabilities * levels) / levels
    truth = np.concatenate([np.arange(classes), generator.integers(classes, size=samples - classes)])
    scores = np.exp(generator.normal(size=(samples, classes)) + (truth[:, None] == np.arange(classes)))
    if levels is not None:
        scores = np.ceil(scores / scores.max() * levels)
    if task == "binary" and levels is not None:
        second = np.round(scores[:, 1] / scores.sum(axis=1) * levels) / levels
        return truth, np.stack([1 - second, second], axis=1)
    return truth, scores / scores.sum(axis=1, keepdims=True)


def evaluate(truth, probabilities, task, **options):
    names = [f"class {index}" for index in range(probabilities.shape[1])]
    return evaluate_predictions(truth, probabilities, task=task, class_names=names, **options)


def naive_metrics(truth, probabilities, task):
    """All metrics by scikit-learn and plain loops, from the definitions."""
    classes = range(probabilities.shape[1])
    if task == "multi-label":
        positive, answer = truth, (probabilities > 0.5).astype(int)
        # scikit-learn takes a single column for two classes.
        options = {"average": "binary" if len(classes) == 1 else "macro", "zero_division": 0}
        accuracy = np.mean(truth == answer)
        balanced = np.mean([balanced_accuracy_score(truth[:, label], answer[:, label]) for label in classes])
        brier = np.mean([brier_score_loss(truth[:, label], probabilities[:, label]) for label in classes])
        loss = np.mean([naive_log_loss(np.where(truth == 1, probabilities, 1 - probabilities)[:, k]) for k in classes])
        confidence, correct = probabilities.ravel(), truth.ravel()
        found = answer
    else:
        positive = (truth[:, None] == np.array(classes)).astype(int)
        answer = (probabilities[:, 1] > 0.5).astype(int) if task == "binary" else probabilities.argmax(axis=1)
        options = {"average": "binary" if len(classes) == 2 else "macro", "zero_division": 0}
        if len(classes) > 2:
            options["labels"] = classes
        accuracy, balanced = np.mean(truth == answer), balanced_accuracy_score(truth, answer)
        if len(classes) == 2:
            brier = brier_score_loss(truth, probabilities[:, 1])
        else:
            brier = brier_score_loss(truth, probabilities, labels=classes)
        loss = naive_log_loss(probabilities[np.arange(len(truth)), truth])
        confidence, correct = probabilities[np.arange(len(truth)), answer], truth == answer
        found = (answer[:, None] == np.array(classes)).astype(int)
    aucs = [roc_auc_score(positive[:, label], probabilities[:, label]) for label in classes]
    precisions = [average_precision_score(positive[:, label], probabilities[:, label]) for label in classes]
    specificities = [recall_score(1 - positive[:, k], 1 - found[:, k], zero_division=0) for k in classes]
    two = task != "multi-label" and len(classes) == 2
    macro = options if task == "multi-label" else {"average": "macro", "zero_division": 0, "labels": classes}
    return {
        "auc": aucs[1] if task == "binary" else np.mean(aucs),
        "accuracy": accuracy,
        "f1": f1_score(truth, answer, **options),
        "f1_macro": f1_score(truth, answer, **macro),
        "precision": precision_score(truth, answer, **options),
        "sensitivity": recall_score(truth, answer, **options),
        "specificity": specificities[1] if two else np.mean(specificities),
        "balanced_accuracy": balanced,
        "average_precision": precisions[1] if two else np.mean(precisions),
        "brier": brier,
        "log_loss": loss,
        "expected_calibration_error": naive_calibration_error(confidence, correct),
    }


def naive_log_loss(of_truth):
    return -np.mean([np.log(max(value, 2.0**-23)) for value in of_truth])


def naive_calibration_error(confidence, correct):
    error, edges = 0.0, np.linspace(0, 1, 16)
    for low, high in itertools.pairwise(edges):
        inside = (confidence > low) & (confidence <= high) | (confidence == 0) & (low == 0)
        if inside.any():
            error += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    return error


CASES = [
    ("binary", 2, None),
    ("binary", 2, 8),
    ("multi-class", 2, 5),
    ("multi-class", 4, None),
    ("multi-class", 4, 3),
    ("ordinal", 5, 6),
    ("multi-label", 3, None),
    ("multi-label", 3, 10),
    ("multi-label", 1, 10),
]


@settings(deadline=None, max_examples=50)
@given(data=st.data())
@pytest.mark.parametrize("task", CLASSIFICATIONS)
def test_auc_and_accuracy_are_those_of_medmnist(medmnist_evaluator, task, data):
    classes = 2 if task == "binary" else data.draw(st.integers(2, 5))
    samples = data.draw(st.integers(classes + 2, 40))
    levels = data.draw(st.sampled_from([None, 1, 2, 4, 10]))
    truth, probabilities = simulate(task, samples, classes, data.draw(st.integers(0, 2**32 - 1)), levels)
    if data.draw(st.booleans()):
        probabilities = probabilities.astype(np.float32)
    metrics = evaluate(truth, probabilities, task).metrics
    expected_auc = medmnist_evaluator.getAUC(truth, probabilities, MEDMNIST_TASKS[task])
    expected_accuracy = medmnist_evaluator.getACC(truth, probabilities, MEDMNIST_TASKS[task])
    assert metrics["auc"].value == pytest.approx(expected_auc, rel=0, abs=1e-12)
    assert metrics["accuracy"].value == pytest.approx(expected_accuracy, rel=0, abs=1e-12)


@pytest.mark.parametrize(("task", "classes", "levels"), CASES)
def test_metrics_are_those_of_scikit_learn(task, classes, levels):
    for seed in range(5):
        truth, probabilities = simulate(task, 30 + seed, classes, seed, levels)
        evaluation = evaluate(truth, probabilities, task)
        assert tuple(evaluation.metrics) == tuple(METRICS)
        values = {name: estimate.value for name, estimate in evaluation.metrics.items()}
        assert values == pytest.approx(naive_metrics(truth, probabilities, task), rel=0, abs=1e-12)


@pytest.mark.parametrize(
    ("task", "classes", "levels", "images_of_patient"),
    [(*case, images_of_patient) for case in (CASES[1], CASES[3], CASES[7]) for images_of_patient in (None, 3)],
)
def test_deviations_have_the_variance_of_a_bootstrap(task, classes, levels, images_of_patient):
    samples, resamples, seed = 240, 150, 7
    truth, probabilities = simulate(task, samples, classes, seed, levels)
    groups = None if images_of_patient is None else np.arange(samples) // images_of_patient
    names = tuple(f"class {index}" for index in range(classes))
    checked = CheckedPredictions.checked(truth, probabilities, task, names, None)
    overall, _ = measure_predictions(checked, groups)
    generator, again = np.random.default_rng(seed), []
    for _ in range(resamples):
        units = np.arange(samples) if groups is None else groups
        drawn = generator.integers(units.max() + 1, size=units.max() + 1)
        rows = np.concatenate([np.flatnonzero(units == unit) for unit in drawn])
        # Its values are those of scikit-learn, as the test above shows.
        drawn = CheckedPredictions.checked(truth[rows], probabilities[rows], task, names, None)
        again.append({name: found.value for name, found in measure_predictions(drawn, None)[0].items()})
    for name in set(METRICS) - {"expected_calibration_error"}:
        expected = np.nanstd([metrics[name] for metrics in again], ddof=1)
        # 150 resamples give a standard deviation to within 6%, so that this is three and a half of its errors.
        assert np.sqrt((overall[name].deviations ** 2).sum()) == pytest.approx(expected, rel=0.22), name


def test_intervals_widen_with_the_correlation_within_patients():
    truth, probabilities = simulate("binary", 60, 2)
    alone = evaluate(truth, probabilities, "binary")
    # Each image four times: the numbers stay, and so does what is known of them.
    again = [np.repeat(part, 4, axis=0) for part in (truth, probabilities)]
    copies = evaluate(*again, "binary")
    patients = evaluate(*again, "binary", groups=[f"P{index // 4}" for index in range(240)])
    assert (copies.basis.unit, patients.basis.unit) == ("images", "patients")
    assert str(patients.basis) == "60 patients (240 images)"
    for name in METRICS:
        wide, narrow, known = (found.metrics[name] for found in (alone, copies, patients))
        assert wide.value == pytest.approx(narrow.value, abs=1e-9)
        assert narrow.high - narrow.low < 0.65 * (wide.high - wide.low)
        assert known.high - known.low == pytest.approx(wide.high - wide.low, rel=0.08), name


def test_perfect_metrics_have_a_lower_bound_and_are_named():
    truth = np.repeat([1, 0], [12, 30])
    second = np.where(truth == 1, 0.9, 0.1)
    found = evaluate(truth, np.stack([1 - second, second], axis=1), "binary")
    # Clopper and Pearson's lower end for 12 of 12 is .735, Wilson's .757.
    assert 0.70 < found.metrics["sensitivity"].low < 0.76
    assert 0.85 < found.metrics["specificity"].low < 0.89
    assert 0.88 < found.metrics["accuracy"].low < 0.92
    assert 0.80 < found.metrics["auc"].low < 0.95
    assert all(found.metrics[name].high == 1 for name in ("auc", "accuracy", "sensitivity", "f1", "average_precision"))
    assert np.isnan(found.metrics["brier"].low)
    (sentence,) = found.warnings
    assert sentence == (
        "No error was seen: AUC, accuracy, sensitivity, specificity, precision, F1, average precision are 1 here. The "
        "lower end of the interval shows how low the true value may still be."
    )
    # Two patients are not 12 independent images.
    patients = ["A"] * 12 + ["B"] * 30
    of_patients = evaluate(truth, np.stack([1 - second, second], axis=1), "binary", groups=patients)
    assert of_patients.metrics["sensitivity"].low < 0.2
    assert "There are 2 patients: intervals that rest on fewer than 10 are unreliable." in of_patients.warnings


@pytest.mark.parametrize(("task", "classes"), [("binary", 2), ("multi-label", 4)])
def test_the_calibration_error_has_an_interval_where_an_error_was_seen(task, classes):
    truth, probabilities = simulate(task, 80, classes)
    found = evaluate(truth, probabilities, task).metrics["expected_calibration_error"]
    assert 0 <= found.low < found.value < found.high < 1
    right = np.eye(2)[truth] if task == "binary" else truth
    perfect = evaluate(truth, np.where(right == 1, 0.9, 0.1), task).metrics["expected_calibration_error"]
    assert perfect.value == pytest.approx(0.1)
    assert np.isnan([perfect.low, perfect.high]).all()


@pytest.mark.parametrize(("task", "classes", "levels"), CASES)
def test_each_class_against_the_rest(task, classes, levels):
    truth, probabilities = simulate(task, 50, classes, 3, levels)
    evaluation = evaluate(truth, probabilities, task)
    assert list(evaluation.per_class) == [f"class {index}" for index in range(classes)]
    for index, entries in enumerate(evaluation.per_class.values()):
        if task == "multi-label":
            positive, found = truth[:, index], probabilities[:, index] > 0.5
        else:
            positive = (truth == index).astype(int)
            answer = probabilities[:, 1] > 0.5 if task == "binary" else probabilities.argmax(axis=1)
            found = answer == index
        assert tuple(entries) == ("support", *list_class_metrics())
        assert entries["support"] == positive.sum()
        assert {name: entries[name].value for name in list_class_metrics()} == pytest.approx(
            {
                "auc": roc_auc_score(positive, probabilities[:, index]),
                "average_precision": average_precision_score(positive, probabilities[:, index]),
                "f1": f1_score(positive, found, zero_division=0),
                "precision": precision_score(positive, found, zero_division=0),
                "sensitivity": recall_score(positive, found, zero_division=0),
                "specificity": recall_score(1 - positive, ~found, zero_division=0),
            },
            rel=0,
            abs=1e-12,
        )
        # Precision of a class that is never predicted has no interval.
        given = [name for name in list_class_metrics() if not np.isnan(entries[name].low)]
        assert set(list_class_metrics()) - set(given) <= (set() if found.any() else {"precision"})
        assert all(entries[name].low <= entries[name].value <= entries[name].high for name in given)


def test_a_tie_between_two_classes_goes_to_the_first():
    metrics = evaluate(np.array([0, 0, 1]), np.array([[0.5, 0.5], [0.9, 0.1], [0.5, 0.5]]), "binary").metrics
    assert metrics["accuracy"].value == pytest.approx(2 / 3)
    assert metrics["auc"].value == pytest.approx(0.75)


def test_binary_metrics_read_the_last_column_where_rounding_makes_the_columns_differ():
    probabilities = np.array([[1.0, 0.001], [1.0, 0.002], [0.5, 0.502]])
    metrics = evaluate(np.array([0, 1, 1]), probabilities, "binary").metrics
    assert metrics["auc"].value == 1
    assert metrics["accuracy"].value == pytest.approx(2 / 3)


def test_calibration_error_and_brier_score_equal_known_values():
    truth = np.array([1] * 9 + [0])
    metrics = evaluate(truth, np.tile([0.1, 0.9], (10, 1)), "binary").metrics
    assert metrics["expected_calibration_error"].value == pytest.approx(0, abs=1e-12)
    assert metrics["brier"].value == pytest.approx(0.09)
    sure = evaluate(truth, np.tile([0.0, 1.0], (10, 1)), "binary").metrics
    assert sure["expected_calibration_error"].value == pytest.approx(0.1)
    assert sure["brier"].value == pytest.approx(0.1)


def test_a_label_of_one_class_is_left_out_of_the_mean_and_named():
    truth, probabilities = simulate("multi-label", 60, 3)
    truth[:, 1] = 0
    evaluation = evaluate(truth, probabilities, "multi-label")
    assert np.isnan([evaluation.per_class["class 1"]["auc"].value, evaluation.per_class["class 1"]["auc"].low]).all()
    others = [roc_auc_score(truth[:, label], probabilities[:, label]) for label in (0, 2)]
    assert evaluation.metrics["auc"].value == pytest.approx(np.mean(others))
    (sentence,) = evaluation.warnings
    assert sentence.startswith("AUC is not defined for 'class 1' (0),")


def test_one_class_only_has_no_auc_and_no_collapse():
    evaluation = evaluate(np.zeros(20, int), np.tile([0.8, 0.2], (20, 1)), "binary")
    assert np.isnan(evaluation.metrics["auc"].value)
    assert evaluation.metrics["balanced_accuracy"].value == 1
    one_sided, perfect = evaluation.warnings
    assert one_sided.startswith("AUC is not defined for 'class 0' (20), 'class 1' (0),")
    assert perfect.startswith("No error was seen: accuracy, specificity are 1 here.")


def test_one_positive_sample_gives_wide_intervals():
    truth = np.array([1] + [0] * 29)
    second = np.linspace(0.6, 0.1, 30)
    estimate = evaluate(truth, np.stack([1 - second, second], axis=1), "binary").metrics["auc"]
    assert (estimate.value, estimate.high) == (1, 1)
    assert estimate.low < 0.45


def test_good_models_get_no_warning():
    for task, classes in [("binary", 2), ("multi-class", 4), ("multi-label", 3)]:
        assert evaluate(*simulate(task, 200, classes), task).warnings == ()


def test_collapse_to_one_class_is_reported():
    truth = np.array([0] * 42 + [1] * 114)
    probabilities = np.tile([0.3, 0.7], (156, 1))
    names = ("malignant", "normal, benign")
    (sentence,) = evaluate_predictions(truth, probabilities, task="binary", class_names=names).warnings
    assert sentence == (
        "The model predicts 'normal, benign' for all 156 samples: it has collapsed to one class. "
        "Always predicting 'normal, benign' has an accuracy of 0.731."
    )
    (sentence,) = evaluate_predictions(truth, probabilities[:, ::-1], task="binary", class_names=names).warnings
    assert sentence.endswith(
        "Always predicting 'malignant' has an accuracy of 0.269, always predicting 'normal, benign' 0.731."
    )


@pytest.mark.parametrize(
    ("rare_truth", "rare_answers", "collapsed"),
    [(100, 3, False), (100, 2, True), (2, 2, False), (2, 1, False), (2, 0, True), (3, 2, True)],
)
def test_collapse_is_detected_by_its_rule(rare_truth, rare_answers, collapsed):
    truth = (np.arange(200) < rare_truth).astype(int)
    second = np.where(np.arange(200) < rare_answers, 0.9, 0.1)
    warnings = evaluate(truth, np.stack([1 - second, second], axis=1), "binary").warnings
    assert any("collapsed" in sentence for sentence in warnings) == collapsed


def test_collapse_of_labels_is_reported():
    truth, probabilities = simulate("multi-label", 100, 3)
    probabilities[:, 2] *= 0.4
    (sentence,) = evaluate(truth, probabilities, "multi-label").warnings
    assert sentence.startswith("The model never predicts 'class 2' in 100 samples: it has collapsed for this label")
    (sentence,) = evaluate(truth, probabilities * 0.4, "multi-label").warnings
    assert sentence.startswith("The model predicts no label for any of 100 samples: it has collapsed.")
    assert sentence.endswith(f"has an accuracy of {1 - truth.mean():.3f}.")


def test_tiny_classes_are_named():
    truth, probabilities = simulate("multi-class", 100, 3)
    truth = np.where(np.arange(100) < 4, 2, truth % 2)
    warnings = evaluate(truth, probabilities, "multi-class").warnings
    (sentence,) = (text for text in warnings if "below one half" not in text)
    assert sentence.startswith("There are fewer than 10 samples of 'class 2' (4):")
    labels, probabilities = simulate("multi-label", 100, 2)
    labels[:, 1] = np.arange(100) >= 9
    (sentence,) = evaluate(labels, probabilities, "multi-label").warnings
    assert sentence.startswith("There are fewer than 10 samples with or without 'class 1' (9):")


def test_json_has_every_number_by_name():
    evaluation = evaluate(*simulate("binary", 40, 2), "binary")
    content = json.loads(json.dumps(evaluation.to_json()))
    assert list(content) == list(METRICS)
    assert all(Estimate(**entry) == evaluation.metrics[name] for name, entry in content.items())
    of_class = json.loads(json.dumps(evaluation.per_class_to_json()))["class 1"]
    assert of_class["support"] == evaluation.per_class["class 1"]["support"]
    assert Estimate(**of_class["auc"]) == evaluation.metrics["auc"]


GOOD = {
    "truth": np.array([0, 1, 1]),
    "probabilities": np.array([[0.6, 0.4], [0.2, 0.8], [0.5, 0.5]]),
    "task": "binary",
    "class_names": ("a", "b"),
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "multiclass"}, r"task must be one of .* Received: multiclass\. Did you mean multi-class"),
        ({"truth": np.array([0, 1])}, r"shape \(3,\) to fit the probabilities\. Received: \(2,\)"),
        ({"truth": np.array([[0], [1], [1]])}, r"Received: \(3, 1\)\. Give class indices"),
        ({"truth": np.array([0, 1, 2])}, r"between 0 and 1\. Received: 0 to 2"),
        ({"truth": np.array([0, -1, 1])}, r"Received: -1 to 1"),
        ({"truth": np.array([0.0, 1.0, 1.0])}, r"integers\. Received: float64"),
        ({"task": "multi-label"}, r"shape \(3, 2\) to fit the probabilities\. Received: \(3,\)"),
        ({"task": "multi-label", "truth": np.array([[0, 1], [2, 0], [0, 0]])}, r"Received: 0 to 2\. Give 0 or 1"),
        ({"probabilities": np.array([0.4, 0.8, 0.5])}, r"must be \(samples, 2\).* Received: shape \(3,\)"),
        ({"probabilities": np.full((3, 3), 1 / 3)}, r"Received: shape \(3, 3\)"),
        ({"probabilities": np.zeros((0, 2)), "truth": np.zeros(0, int)}, r"at least one sample\. Received: 0"),
        ({"probabilities": np.array([[0.6, 0.4], [np.nan, 0.8], [0, np.inf]])}, r"infinity for 2 of 3 samples"),
        ({"probabilities": np.array([[2.0, -1.0]] * 3)}, r"between 0 and 1\. Received: -1 to 2\. Apply softmax"),
        ({"probabilities": np.array([[0.5, 0.9]] * 3)}, r"must sum to one\. Received: sums from 1\.4 to 1\.4"),
        ({"class_names": ("a", "a")}, r"must differ from each other\. Received: \('a', 'a'\)"),
        ({"class_names": ("a", "b", "c"), "probabilities": np.full((3, 3), 1 / 3)}, r"exactly 2 classes\. Received: 3"),
        ({"class_names": ("a",), "probabilities": np.ones((3, 1)), "task": "ordinal"}, r"at least 2 classes"),
        ({"class_names": (), "probabilities": np.ones((3, 0)), "task": "multi-label"}, r"at least 1 label"),
        ({"groups": ("A", "B")}, r"the patient of each of the 3 samples\. Received: 2"),
        ({"confidence": 1.0}, r"confidence must lie between 0 and 1"),
    ],
)
def test_invalid_arguments_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        evaluate_predictions(**{**GOOD, **changes})


def test_collapse_of_labels_is_judged_at_their_thresholds():
    truth, probabilities = simulate("multi-label", 100, 3)
    names = ("a", "b", "c")
    low = 0.4 * probabilities
    about = {"task": "multi-label", "class_names": names}
    (above_one_half,) = evaluate_predictions(truth, low, **about).warnings
    assert above_one_half.startswith("The model predicts no label for any of 100 samples: it has collapsed.")
    assert evaluate_predictions(truth, low, **about, thresholds=(0.15, 0.15, 0.15)).warnings == ()
    (sentence,) = evaluate_predictions(truth, low, **about, thresholds=(0.0, 0.15, 0.9)).warnings
    assert sentence == (
        "The model never predicts 'c' in 100 samples: it has collapsed for this label, and accuracy does not show it. "
        "The model predicts 'a' for all 100 samples: it has collapsed for this label, and accuracy does not "
        "show it."
    )


def test_an_auc_below_one_half_is_named():
    truth, probabilities = simulate("binary", 60, 2)
    (sentence,) = evaluate(truth, probabilities[:, ::-1], "binary").warnings
    area = evaluate(truth, probabilities[:, ::-1], "binary").metrics["auc"].value
    assert sentence == f"The AUC is {area:.3f}, below one half: chance does not explain this: check the labels."
    truth, probabilities = simulate("multi-label", 200, 3)
    probabilities[:, 1] = np.random.default_rng(12).random(200)
    found = evaluate(truth, probabilities, "multi-label")
    area = found.per_class["class 1"]["auc"].value
    assert area < 0.5
    assert found.warnings == (f"The AUC is below one half for 'class 1' ({area:.3f}): no better than a guess.",)
