"""AUC and average precision in custom_metrics.py: exact at any scale of the scores, or off by no more than they say."""

import keras
import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_cases import CURVES, LABELS, assert_equal, draw, expected, kinds, only_tensorflow
from sklearn import metrics as reference

import custom_metrics
from custom_metrics import ClassificationMetrics


def draw_scores(kind: str, samples: int, seed: int, scale: float, offset: float = 0.0, share: float = 0.5):
    """Targets, logits of 32 bits and what they rank by, exactly; a third of the samples are equal to each other."""
    generator = np.random.default_rng(seed)
    labels = 1 if kind == "binary" else LABELS
    if kind == "multi-class":
        truth = generator.choice(labels, samples, p=[share, *[(1 - share) / (labels - 1)] * (labels - 1)])
        truth[:labels] = range(labels)
        positive = np.eye(labels)[truth]
    else:
        truth = (generator.random((samples, labels)) < share).astype(int)
        truth[:2] = [0] * labels, [1] * labels
        positive = truth
    logits = (scale * (generator.normal(size=(samples, labels)) + positive) + offset).astype("float32")
    logits[2 * samples // 3 :] = logits[0]
    exact = logits.astype("float64")
    if kind == "multi-class":
        others = [scipy.special.logsumexp(np.delete(exact, index, axis=1), axis=1) for index in range(labels)]
        exact = exact - np.stack(others, axis=1)
    return (truth[:, 0] if kind == "binary" else truth), logits, exact


@kinds
@settings(max_examples=5, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    scale=st.sampled_from([1e-4, 1.0, 1e4]),
    offset=st.sampled_from([0.0, -1.2]),
    share=st.sampled_from([0.5, 0.02]),
    weighted=st.booleans(),
)
def test_curves_of_logits_equal_those_of_scikit_learn(kind, seed, scale, offset, share, weighted):
    truth, logits, exact = draw_scores(kind, 300, seed, scale, offset, share)
    metric = ClassificationMetrics(kind, CURVES[kind], from_logits=True, exact_samples=300)
    weights = np.random.default_rng(seed).choice([0.25, 1.0, 3.0], 300) if weighted else np.ones(300)
    for rows in (slice(0, 100), slice(100, 170), slice(170, 300)):
        metric.update_state(truth[rows], logits[rows], weights[rows] if weighted else None)
    assert_equal(metric, expected(kind, truth, exact, weights, CURVES[kind]), 1e-6)
    assert all(float(bound) == 0.0 for bound in metric.curve_bounds().values())


@kinds
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10**6), outputs=st.integers(1, 2))
def test_curves_of_probabilities_equal_those_of_scikit_learn(kind, seed, outputs):
    truth, probabilities, weights = draw(kind, 200, seed, outputs=outputs)
    metric = ClassificationMetrics(kind, CURVES[kind])
    metric.update_state(truth, probabilities, weights)
    assert_equal(metric, expected(kind, truth, probabilities, weights, CURVES[kind]), 1e-6)


@only_tensorflow
@pytest.mark.parametrize(
    ("kind", "jit_compile"),
    [
        ("binary", False),
        pytest.param("multi-label", False, marks=pytest.mark.slow),
        pytest.param("multi-class", True, marks=pytest.mark.slow),
        pytest.param("binary", True, marks=pytest.mark.slow),
    ],
)
def test_exact_curves_are_equal_in_graphs_and_under_xla(kind, jit_compile):
    import tensorflow as tf

    metric = ClassificationMetrics(kind, CURVES[kind], from_logits=True, exact_samples=90)
    metric.build(1 if kind == "binary" else LABELS)
    update = tf.function(metric.update_state, jit_compile=jit_compile, autograph=False)
    result = tf.function(lambda: metric.result(exact=True), jit_compile=jit_compile, autograph=False)
    for scale in (1e-4, 1e4):
        metric.reset_state()
        truth, logits, exact = draw_scores(kind, 90, 3, scale, offset=1.2)
        for rows in (slice(0, 45), slice(45, 90)):
            update(truth[rows], logits[rows])
        wanted = expected(kind, truth, exact, np.ones(90), CURVES[kind])
        assert {name: float(value) for name, value in result().items()} == pytest.approx(wanted, abs=1e-6)
    update(truth, logits)
    by_bins = {name: float(value) for name, value in metric.result(exact=False).items()}
    assert {name: float(value) for name, value in result().items()} == pytest.approx(by_bins, abs=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="programs of JAX")
@kinds
def test_exact_curves_are_equal_when_compiled_by_jax(kind):
    import jax

    metric = ClassificationMetrics(kind, CURVES[kind], from_logits=True, exact_samples=90)
    metric.build(1 if kind == "binary" else LABELS)

    @jax.jit
    def measure(truth, logits):
        state = [np.zeros(variable.shape, "float32") for variable in metric.variables]
        for rows in (slice(0, 45), slice(45, 90)):
            state = metric.stateless_update_state(state, truth[rows], logits[rows])
        with keras.StatelessScope(state_mapping=list(zip(metric.variables, state, strict=True))):
            return metric.result(exact=True)

    for scale in (1e-4, 1e4):
        truth, logits, exact = draw_scores(kind, 90, 3, scale, offset=1.2)
        found = {name: float(value) for name, value in measure(truth, logits).items()}
        assert found == pytest.approx(expected(kind, truth, exact, np.ones(90), CURVES[kind]), abs=1e-6)
        poisoned = measure(truth, np.where(np.arange(90)[:, None] == 7, np.nan, logits))
        assert all(np.isnan(float(value)) for value in poisoned.values())


@kinds
@settings(max_examples=5, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    scale=st.sampled_from([1e-6, 1e-4, 1.0, 1e4, 1e6]),
    offset=st.sampled_from([0.0, -1.2]),
    share=st.sampled_from([0.5, 0.02]),
    bins=st.sampled_from([2, 50, 2000]),
)
def test_the_histogram_keeps_its_error_bound(kind, seed, scale, offset, share, bins):
    truth, logits, exact = draw_scores(kind, 500, seed, scale, offset, share)
    metric = ClassificationMetrics(kind, CURVES[kind], from_logits=True, bins=bins, exact_samples=400)
    for rows in np.array_split(np.arange(500), 3):
        metric.update_state(truth[rows], logits[rows])
    found, bounds = metric.result(), metric.curve_bounds()
    for name, value in expected(kind, truth, exact, np.ones(500), CURVES[kind]).items():
        assert abs(float(found[name]) - value) <= float(bounds[name]) + 1e-6, name
        # Bins of a fixed width would take all scores of a small scale for equal.
        if bins == 2000 and share == 0.5 and name.startswith("auc"):
            assert float(found[name]) == pytest.approx(value, abs=0.02)


def test_curves_are_exact_as_long_as_all_scores_are_kept():
    truth, logits, exact = draw_scores("binary", 64, 0, 1.0)
    metric = custom_metrics.AUC("binary", from_logits=True, bins=2, exact_samples=64)
    wanted = reference.roc_auc_score(truth, exact[:, 0])
    metric.update_state(truth[:40], logits[:40])
    metric.update_state(truth[40:], logits[40:])
    assert float(metric.result()) == pytest.approx(wanted, abs=1e-6)
    by_bins = float(metric.result(exact=False))
    assert by_bins != pytest.approx(wanted, abs=1e-3)
    metric.update_state(truth, logits)  # the same again, too much to be kept
    assert float(metric.result()) == pytest.approx(by_bins, abs=1e-6)
    assert abs(by_bins - wanted) <= float(metric.curve_bounds()["auc"]) < 0.5
    metric.reset_state()
    metric.update_state(truth, logits)
    assert float(metric.result()) == pytest.approx(wanted, abs=1e-6)


def test_labels_that_are_absent_are_left_out_of_the_mean_auc():
    generator = np.random.default_rng(0)
    truth, logits = generator.integers(0, 2, (50, 7)), generator.normal(size=(50, 7)).astype("float32")
    truth[:, 2], truth[:, 5] = 0, 1
    results = ["auc", "auc_weighted", "auc_per_class", "average_precision"]
    metric = ClassificationMetrics("multi-label", results, from_logits=True)
    metric.update_state(truth, logits)
    found = {name: float(value) for name, value in metric.result().items()}
    there = [index for index in range(7) if index not in (2, 5)]
    aucs = [reference.roc_auc_score(truth[:, index], logits[:, index]) for index in there]
    assert found["auc"] == pytest.approx(np.mean(aucs), abs=1e-6)
    assert found["auc_weighted"] == pytest.approx(np.average(aucs, weights=truth[:, there].sum(axis=0)), abs=1e-6)
    assert [index for index in range(7) if np.isnan(found[f"auc_{index}"])] == [2, 5]
    # As in scikit-learn the average precision of a label without positives is 0.
    precisions = [reference.average_precision_score(truth[:, i], logits[:, i]) if i != 2 else 0.0 for i in range(7)]
    assert found["average_precision"] == pytest.approx(np.mean(precisions), abs=1e-6)
    nowhere = ClassificationMetrics("multi-label", ["auc", "auc_weighted"])
    nowhere.update_state(np.zeros((3, 2)), np.full((3, 2), 0.5))
    assert all(np.isnan(float(value)) for value in nowhere.result().values())


def test_pooled_auc_compares_scores_across_labels():
    generator = np.random.default_rng(4)
    truth = (generator.random((3000, 2)) < [0.2, 0.7]).astype("int32")
    logits = (generator.normal(size=truth.shape) + truth + [-4.0, 3.0]).astype("float32")
    metric = ClassificationMetrics("multi-label", ["auc_micro"], from_logits=True, exact_samples=0)
    metric.update_state(truth, logits)
    exact = reference.roc_auc_score(truth.ravel(), logits.ravel())
    assert float(metric.result()["auc_micro"]) == pytest.approx(exact, abs=1e-3)
