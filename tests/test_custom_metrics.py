"""The metrics in custom_metrics.py against scikit-learn; one file that needs nothing of the package."""

import ast
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

import custom_metrics
from custom_metrics import MacroAUC


def exact(labels: np.ndarray, logits: np.ndarray, multi_label: bool) -> float:
    if multi_label:
        return np.mean([roc_auc_score(labels[:, i], logits[:, i]) for i in range(logits.shape[1])])
    shifted = logits.astype(np.float64)
    odds = [shifted[:, i] - np.logaddexp.reduce(np.delete(shifted, i, 1), axis=1) for i in range(logits.shape[1])]
    return np.mean([roc_auc_score(labels == i, odds[i]) for i in range(logits.shape[1])])


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    classes=st.integers(2, 6),
    scale=st.sampled_from([0.1, 1.0, 10.0]),
    multi_label=st.booleans(),
)
def test_it_is_close_to_the_exact_area(seed, classes, scale, multi_label):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, (300, classes)) if multi_label else generator.integers(0, classes, 300)
    truth = labels if multi_label else np.eye(classes)[labels]
    logits = (scale * (generator.normal(size=(300, classes)) + truth)).astype(np.float32)
    metric = MacroAUC(multi_label=multi_label)
    for start in (0, 100, 170):
        stop = {0: 100, 100: 170, 170: 300}[start]
        metric.update_state(labels[start:stop], logits[start:stop])
    assert float(metric.result()) == pytest.approx(exact(labels, logits, multi_label), abs=3e-3)


def test_weights_count_as_repeats():
    logits = np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 1.5], [0.0, 3.0]], np.float32)
    labels, weights = np.array([0, 0, 1, 1]), np.array([1, 3, 2, 1])
    weighted, repeated = MacroAUC(), MacroAUC()
    weighted.update_state(labels, logits, sample_weight=weights)
    repeated.update_state(np.repeat(labels, weights), np.repeat(logits, weights, axis=0))
    assert float(weighted.result()) == pytest.approx(float(repeated.result()))


def test_equal_scores_are_half_right_and_absent_classes_left_out():
    metric = MacroAUC()
    metric.update_state([0, 1, 0, 1], np.zeros((4, 2), np.float32))
    assert float(metric.result()) == 0.5
    metric.reset_state()
    assert float(metric.result()) == 0.0
    metric = MacroAUC()
    metric.update_state([0, 1, 1], np.array([[3, 0, 0], [0, 3, 0], [0, 2, 0]], np.float32))
    assert float(metric.result()) == 1.0


@pytest.mark.parametrize("jit", [False, True])
def test_it_has_no_branch_and_runs_compiled(jit):
    metric = MacroAUC()
    metric.build(3)

    @tf.function(jit_compile=jit)
    def update(labels, logits):
        metric.update_state(labels, logits)
        return metric.result()

    labels, logits = np.array([0, 1, 2, 1]), np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    eager = MacroAUC()
    eager.update_state(labels, logits)
    assert float(update(labels, logits)) == pytest.approx(float(eager.result()))
    operations = {operation.type for operation in update.get_concrete_function(labels, logits).graph.get_operations()}
    assert not operations & {"If", "StatelessIf", "While", "StatelessWhile", "Switch", "Merge"}


def test_its_configuration_comes_back():
    metric = MacroAUC(multi_label=True, bins=50, name="area")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert again.get_config() == metric.get_config()


def test_the_file_can_be_copied_alone():
    tree = ast.parse(Path(custom_metrics.__file__).read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= {"keras", "numpy", "typing"}
