"""The metrics in custom_metrics.py against scikit-learn; one file that needs nothing of the package."""

import ast
import functools
import importlib.util
import os
import subprocess
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_cases import (
    CURVES,
    LABELS,
    RESULTS,
    TESTED_ON_TENSORFLOW,
    assert_equal,
    draw,
    expected,
    kinds,
    only_tensorflow,
)
from sklearn import metrics as reference

import custom_metrics
from custom_metrics import ClassificationMetrics


@kinds
@settings(max_examples=6, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    samples=st.integers(1, 60),
    parts=st.integers(1, 3),
    skew=st.sampled_from([0.0, 0.03, 0.5, 0.97, 1.0]),
    weighted=st.booleans(),
    outputs=st.integers(1, 2),
    threshold=st.sampled_from([0.5, 0.2, 0.9]),
)
def test_results_equal_those_of_scikit_learn(kind, seed, samples, parts, skew, weighted, outputs, threshold):
    truth, probabilities, weights = draw(kind, samples, seed, skew, outputs)
    threshold = 0.5 if kind == "multi-class" else threshold
    metric = ClassificationMetrics(kind, RESULTS[kind], threshold=threshold)
    for rows in np.array_split(np.arange(samples), min(parts, samples)):
        metric.update_state(truth[rows], probabilities[rows], weights[rows] if weighted else None)
    weights = weights if weighted else np.ones(samples)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's on labels that do not occur
        wanted = expected(kind, truth, probabilities, weights, RESULTS[kind], threshold)
    assert_equal(metric, wanted, 1e-6)


@functools.cache
def compiled(kind: str, jit_compile: bool):
    import tensorflow as tf

    metric = ClassificationMetrics(kind, RESULTS[kind] + CURVES[kind])
    metric.build(1 if kind == "binary" else LABELS)
    return metric, tf.function(metric.update_state, jit_compile=jit_compile, autograph=False)


@only_tensorflow
@pytest.mark.parametrize(
    ("kind", "jit_compile"),
    [
        *(("multi-label", False), ("binary", True)),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (("binary", False), ("multi-class", False), ("multi-class", True), ("multi-label", True))
        ),
    ],
)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10**6), skew=st.sampled_from([0.1, 0.5, 0.9]))
def test_results_are_equal_in_graphs_and_under_xla(kind, jit_compile, seed, skew):
    metric, update = compiled(kind, jit_compile)
    metric.reset_state()
    truth, probabilities, weights = draw(kind, 48, seed, skew)
    for rows in (slice(0, 24), slice(24, 48)):
        update(truth[rows], probabilities[rows], weights[rows])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = expected(kind, truth, probabilities, weights, RESULTS[kind])
    found = {name: float(value) for name, value in metric.result().items()}
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, abs=1e-6), name


@only_tensorflow
@pytest.mark.parametrize("kind", ["binary", "multi-label", pytest.param("multi-class", marks=pytest.mark.slow)])
def test_no_graph_holds_control_flow(kind):
    import tensorflow as tf

    metric, update = compiled(kind, False)
    truth, probabilities, weights = draw(kind, 24, 0)
    result = tf.function(metric.result, autograph=False)
    graphs = [update.get_concrete_function(truth, probabilities, weights).graph, result.get_concrete_function().graph]
    names = {operation.type for graph in graphs for operation in graph.get_operations()}
    names |= {
        node.op for graph in graphs for function in graph.as_graph_def().library.function for node in function.node_def
    }
    assert "MatMul" in names
    branching = ("If", "While", "Case", "Switch", "Merge", "Enter", "Exit", "NextIteration", "LoopCond", "Cond")
    assert [name for name in names if name.removeprefix("Stateless").removeprefix("Ref") in branching] == []
    curves = ClassificationMetrics(kind, CURVES[kind][:1], exact_samples=9)
    curves.build(LABELS)
    sorting = tf.function(lambda: curves.result(exact=True), autograph=False).get_concrete_function().graph
    names |= {operation.type for operation in sorting.get_operations()}
    assert [name for name in names if name.removeprefix("Stateless").removeprefix("Ref") in branching] == []
    # The whole metric, 31 and more results of it, is a handful of operations of an update.
    assert sum(operation.type == "MatMul" for operation in graphs[0].get_operations()) <= 2


def test_weights_count_as_repeats():
    truth, probabilities, _ = draw("multi-label", 20, 3)
    weights = np.random.default_rng(0).integers(1, 4, 20)
    weighted, repeated = (ClassificationMetrics("multi-label", CURVES["multi-label"]) for _ in range(2))
    weighted.update_state(truth, probabilities, weights)
    repeated.update_state(np.repeat(truth, weights, axis=0), np.repeat(probabilities, weights, axis=0))
    assert_equal(weighted, {name: float(value) for name, value in repeated.result().items()}, 1e-6)


@kinds
def test_logits_and_probabilities_give_equal_results(kind):
    for outputs in (1, 2):
        truth, probabilities, _ = draw(kind, 200, 7, outputs=outputs)
        threshold = 0.5 if kind == "multi-class" else 0.3
        logits = np.log(probabilities)
        if kind == "multi-label" or (kind == "binary" and outputs == 1):
            logits = logits - np.log1p(-probabilities)
        names = RESULTS[kind] + CURVES[kind]
        by_probability = ClassificationMetrics(kind, names, threshold=threshold)
        by_logit = ClassificationMetrics(kind, names, threshold=threshold, from_logits=True)
        by_probability.update_state(truth, probabilities)
        by_logit.update_state(truth, logits)
        assert_equal(by_logit, {name: float(value) for name, value in by_probability.result().items()}, 1e-4)


def test_each_label_has_its_own_threshold_and_name():
    truth = np.array([[1, 1], [1, 1]])
    metric = ClassificationMetrics(
        "multi-label", ["recall_per_class"], threshold=[0.2, 0.7], class_names=("mass", "edema")
    )
    metric.update_state(truth, np.array([[0.3, 0.3], [0.1, 0.8]], "float32"))
    assert {name: float(value) for name, value in metric.result().items()} == {"recall_mass": 0.5, "recall_edema": 0.5}
    metric.update_state(truth, np.array([[0.3, 0.3], [0.3, 0.3]], "float32"))
    assert {name: float(value) for name, value in metric.result().items()} == {
        "recall_mass": 0.75,
        "recall_edema": 0.25,
    }


def test_one_hot_targets_act_as_class_indices():
    truth, probabilities, _ = draw("multi-class", 30, 5)
    by_index, one_hot = custom_metrics.F1("multi-class"), custom_metrics.F1("multi-class")
    by_index.update_state(truth, probabilities)
    one_hot.update_state(np.eye(LABELS)[truth], probabilities)
    assert float(by_index.result()) == float(one_hot.result())
    truth, probabilities, _ = draw("binary", 30, 5, outputs=2)
    by_index, one_hot = custom_metrics.F1("binary"), custom_metrics.F1("binary")
    by_index.update_state(truth[:, None], probabilities)
    one_hot.update_state(np.eye(2)[truth], probabilities)
    assert float(by_index.result()) == float(one_hot.result())


def test_each_pixel_of_a_mask_counts_as_a_sample():
    generator = np.random.default_rng(0)
    truth = generator.integers(0, LABELS, (3, 8, 8))
    scores = generator.random((3, 8, 8, LABELS)).astype("float32")
    weights = np.array([1.0, 0.0, 2.0])
    dice, iou = (kind("multi-class", "per_class") for kind in (custom_metrics.Dice, custom_metrics.IoU))
    for metric in (dice, iou):
        metric.update_state(truth, scores, weights)
    flat = (truth.ravel(), scores.argmax(axis=-1).ravel())
    arguments = {"average": None, "sample_weight": np.repeat(weights, 64)}
    np.testing.assert_allclose(dice.result(), reference.f1_score(*flat, **arguments), atol=1e-6)
    np.testing.assert_allclose(iou.result(), reference.jaccard_score(*flat, **arguments), atol=1e-6)


def test_counts_too_large_for_float32_are_exact():
    metric = custom_metrics.Recall("binary")
    truth, scores = np.ones((4, 1)), np.array([[0.9], [0.9], [0.9], [0.1]], "float32")
    metric.build(1)
    metric.counts.assign(np.array([2.0**25, 2.0**25, 2.0**25, 2.0**25]))
    for _ in range(64):
        metric.update_state(truth, scores)
    assert float(metric.result()) == pytest.approx((2**25 + 192) / (2**25 + 256), abs=1e-7)
    assert float(metric.counts[2]) == 2**25 + 256


def test_tied_scores_count_half_and_absent_classes_are_left_out():
    metric = custom_metrics.AUC("multi-class", from_logits=True)
    metric.update_state([0, 1, 0, 1], np.zeros((4, 2), "float32"))
    assert float(metric.result()) == 0.5
    metric.reset_state()
    assert np.isnan(float(metric.result()))
    metric = custom_metrics.AUC("multi-class", from_logits=True)
    metric.update_state([0, 0, 1, 1], [[2.0, 0.0, 0], [0.0, 1.0, 0], [1.0, 1.5, 0], [0.0, 3.0, 0]])
    assert 0 < float(metric.result()) < 1


SINGLES = [
    custom_metrics.F1,
    custom_metrics.Precision,
    custom_metrics.Recall,
    custom_metrics.Specificity,
    custom_metrics.Accuracy,
    custom_metrics.SubsetAccuracy,
    custom_metrics.BalancedAccuracy,
    custom_metrics.MatthewsCorrelation,
    custom_metrics.AUC,
    custom_metrics.AveragePrecision,
    custom_metrics.Dice,
    custom_metrics.IoU,
]


@pytest.mark.parametrize("single", SINGLES)
def test_each_result_is_also_a_single_metric(single):
    truth, probabilities, weights = draw("multi-label", 40, 1)
    together = ClassificationMetrics("multi-label", [single.base], threshold=[0.1, 0.4, 0.5, 0.6], bins=100)
    alone = single("multi-label", threshold=[0.1, 0.4, 0.5, 0.6], bins=100, dtype="float32")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(alone))
    assert again.get_config() == alone.get_config()
    assert type(again) is single
    for metric in (together, alone, again):
        metric.update_state(truth, probabilities, weights)
    assert float(alone.result()) == float(again.result()) == float(together.result()[single.base])


def test_all_arguments_are_saved_and_loaded():
    metric = ClassificationMetrics(
        "multi-label",
        ["f1_samples", "auc_per_class"],
        threshold=[0.2, 0.3],
        from_logits=True,
        class_names=("a", "b"),
        bins=50,
        exact_samples=70,
        keep_confusion=True,
        name="mine",
    )
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert again.get_config() == metric.get_config()


def test_a_model_trains_with_the_metrics_and_logs_each_result():
    keras.utils.set_random_seed(0)
    truth, probabilities, _ = draw("multi-label", 32, 2)
    model = keras.Sequential([keras.Input((LABELS,)), keras.layers.Dense(LABELS, activation="sigmoid")])
    results = ["accuracy", "f1", "auc", "recall_per_class"]
    metric = ClassificationMetrics("multi-label", results, class_names="abcd")
    model.compile("adam", "binary_crossentropy", metrics=[metric], run_eagerly=True)
    logs = model.fit(probabilities, truth, epochs=2, verbose=0, validation_data=(probabilities, truth)).history
    names = ["loss", "accuracy", "f1", "auc", *(f"recall_{name}" for name in "abcd")]
    assert sorted(logs) == sorted([*names, *(f"val_{name}" for name in names)])
    answers = model.predict(probabilities, verbose=0)
    wanted = expected("multi-label", truth, answers, np.ones(32), ["accuracy", "f1", "auc"])
    for name, value in wanted.items():
        assert logs[f"val_{name}"][-1] == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("several",), "kind must be one of binary, multi-class, multi-label. Received: 'several'."),
        (("binary", ["f2"]), "results must be of f1, .* Received: 'f2'"),
        (("multi-class", ["subset_accuracy_macro"]), "Received: 'subset_accuracy_macro'"),
        (("multi-class", ["f1_samples"]), "several labels per sample. Received: 'f1_samples' for multi-class"),
        (("binary", ["f1_macro"]), "not a mean. Received: 'f1_macro'"),
        (("binary", ["f1"], 1.0), "threshold must be a probability, or one per label. Received: 1.0."),
        (("multi-class", ["f1"], 0.3), "whatever the threshold. Received: 0.3."),
        (("binary", ["f1"], 0.5, 1), "bins must be at least 2. Received: 1."),
        (("binary", ["f1"], 0.5, 10, -1), "exact_samples must be at least 0, which keeps none. Received: -1."),
    ],
)
def test_invalid_arguments_are_reported(arguments, message):
    kind, results, threshold, bins, exact = (*arguments, *(None, ["f1"], 0.5, 10, 0)[len(arguments) :])
    with pytest.raises(ValueError, match=message):
        ClassificationMetrics(kind, results, threshold=threshold, bins=bins, exact_samples=exact)


@kinds
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10**6), skew=st.sampled_from([0.0, 0.2, 0.5, 1.0]), outputs=st.sampled_from([1, 2]))
def test_confusion_equals_that_of_scikit_learn(kind, seed, skew, outputs):
    metric = ClassificationMetrics(kind, ["accuracy"], keep_confusion=True)
    batches = [draw(kind, samples, seed + samples, skew, outputs) for samples in (7, 20)]
    for batch in batches:
        metric.update_state(*batch)
    truth, probabilities, weights = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    if kind == "multi-label":
        wanted = reference.multilabel_confusion_matrix(truth, probabilities > 0.5, sample_weight=weights)
    else:
        several = probabilities.shape[1] > 1
        predicted = probabilities.argmax(axis=1) if several else (probabilities[:, 0] > 0.5).astype(int)
        classes = np.arange(LABELS if kind == "multi-class" else 2)
        wanted = reference.confusion_matrix(truth, predicted, labels=classes, sample_weight=weights)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(metric.confusion_matrix()), wanted, atol=1e-4)


def test_confusion_changes_no_other_result():
    truth, probabilities, weights = draw("multi-class", 40, 1)
    names = RESULTS["multi-class"]
    plain, counting = (ClassificationMetrics("multi-class", names, keep_confusion=keep) for keep in (False, True))
    for metric in (plain, counting):
        metric.update_state(truth, probabilities, weights)
    assert {name: float(value) for name, value in plain.result().items()} == {
        name: float(value) for name, value in counting.result().items()
    }


def test_confusion_that_was_not_counted_is_reported():
    metric = ClassificationMetrics("binary", ["f1"])
    metric.update_state([1], [[0.7]])
    with pytest.raises(ValueError, match=r"counted for it. Received: keep_confusion=False"):
        metric.confusion_matrix()
    with pytest.raises(ValueError, match=r"counted for it. Received: no sample"):
        ClassificationMetrics("binary", ["f1"], keep_confusion=True).confusion_matrix()


def test_arguments_that_do_not_fit_the_predictions_are_reported():
    truth, probabilities, _ = draw("multi-label", 5, 2)
    with pytest.raises(ValueError, match=r"class_names must have one value per class or label, 4 in all. Received: 2"):
        ClassificationMetrics("multi-label", class_names="ab").update_state(truth, probabilities)
    with pytest.raises(ValueError, match=r"threshold must have one value per class or label, 4 in all. Received: 2"):
        ClassificationMetrics("multi-label", threshold=[0.1, 0.2]).update_state(truth, probabilities)
    with pytest.raises(ValueError, match=r"have 1 or 2 outputs. Received: 4"):
        ClassificationMetrics("binary").update_state(truth[:, 0], probabilities)


def test_the_file_imports_only_keras_and_numpy():
    tree = ast.parse(Path(custom_metrics.__file__).read_text(encoding="utf-8"))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported == {"collections", "typing", "keras", "numpy"}


def run_on_jax(file):
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    path = Path(__file__).with_name(f"{file}.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(path)]
    folder = Path(custom_metrics.__file__).parent
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout


not_on_jax = pytest.mark.skipif(
    not TESTED_ON_TENSORFLOW or importlib.util.find_spec("jax") is None, reason="this is the process, or has no JAX"
)


@not_on_jax
@pytest.mark.slow
@pytest.mark.parametrize(
    "file", ["test_custom_metrics", "test_metric_curves", "test_metric_input", "test_segmentation_metrics"]
)
def test_the_metric_tests_pass_on_jax(file):
    run_on_jax(file)
