"""Results of the metrics in custom_metrics.py for invalid input and for none."""

import keras
import numpy as np
import pytest
from metric_cases import CURVES, RESULTS, draw, kinds, only_tensorflow

import custom_metrics
from custom_metrics import ClassificationMetrics

NAN = float("nan")
UNUSABLE = [
    (
        "binary",
        [0, 1],
        [NAN, 0.9],
        None,
        r"Predictions must be numbers.* Received: \[nan\], the first of 1 such of 2\.",
    ),
    ("binary", [0, 1], [[0.1, 0.9], [NAN, 0.9]], None, r"Predictions must be .* Received: \[nan, 0\.8999"),
    ("multi-class", [0, 1], [[0.1, 0.2, NAN], [0.5, 0.3, 0.2]], None, "Predictions must be numbers"),
    ("multi-label", [[0, 1]], [[0.3, NAN]], None, "Predictions must be numbers"),
    ("binary", [0, 1], [-2.0, 3.0], None, r"from 0 to 1\. Received: \[-2\.0\].* Give from_logits=True"),
    ("binary", [0, 2], [0.3, 0.4], None, r"Labels must be 0 or 1\. Received: \[2\], the first of 1 such of 2\."),
    ("binary", [0, 0.9], [0.3, 0.4], None, "Labels must be 0 or 1"),
    ("binary", [[1, 1], [0, 1]], [[0.3, 0.7], [0.3, 0.7]], None, r"Labels must be 0 or 1\. Received: \[1, 1\]"),
    ("binary", [[1, 0.5]], [[0.3, 0.7]], None, r"Labels must be 0 or 1\. Received: \[1\.0, 0\.5\]"),
    ("multi-label", [[0, NAN]], [[0.3, 0.4]], None, r"Labels must be 0 or 1\. Received: \[0\.0, nan\]"),
    ("multi-class", [0, 3], [[0.1, 0.2, 0.7]] * 2, None, r"numbers from 0 to 2, or one-hot\. Received: \[3\]"),
    ("multi-class", [0, -1], [[0.1, 0.2, 0.7]] * 2, None, r"Received: \[-1\]"),
    ("multi-class", [0, 1.5], [[0.1, 0.2, 0.7]] * 2, None, r"Received: \[1\.5\]"),
    ("multi-class", [[0, 1, 1]], [[0.1, 0.2, 0.7]], None, r"Received: \[0, 1, 1\]"),
    ("binary", [0, 1], [0.3, 0.4], [1, -1], r"Weights of samples must be finite and at least 0\. Received: \[-1\.0\]"),
    ("binary", [0, 1], [0.3, 0.4], [1, NAN], r"Weights .* Received: \[nan\]"),
    ("binary", [0, 1], [0.3, 0.4], [1, np.inf], r"Weights .* Received: \[inf\]"),
]


@pytest.mark.parametrize(("kind", "truth", "predictions", "weights", "message"), UNUSABLE)
def test_invalid_inputs_raise_an_error(kind, truth, predictions, weights, message):
    truth, predictions = np.array(truth), np.array(predictions, "float32")
    for metric in (ClassificationMetrics(kind), custom_metrics.AUC(kind)):
        with pytest.raises(ValueError, match=message):
            metric.update_state(truth, predictions, weights)
        # Nothing of the batch was counted.
        assert not keras.ops.convert_to_numpy(metric.counts).any()


@only_tensorflow
@pytest.mark.parametrize(
    ("case", "jit_compile"),
    [
        *((0, False), (11, False)),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in ((0, True), (3, True), (5, False), (9, False), (11, True), (14, True))
        ),
    ],
)
def test_invalid_inputs_make_all_results_nan_in_graphs(jit_compile, case):
    import tensorflow as tf

    kind, truth, predictions, weights, _ = UNUSABLE[case]
    results = [*RESULTS[kind], *CURVES[kind]]
    metric = ClassificationMetrics(kind, results, keep_confusion=True)
    update = tf.function(metric.update_state, jit_compile=jit_compile, autograph=False)
    update(np.array(truth), np.array(predictions, "float32"), weights)
    found = {name: float(value) for name, value in metric.result().items()}
    # The results of one label do not hang on another label.
    untouched = {name for name in found if kind == "multi-label" and name.endswith("_0") and name != "auc_0"}
    assert {name for name, value in found.items() if not np.isnan(value)} == untouched
    confusion = keras.ops.convert_to_numpy(metric.confusion_matrix())
    assert np.isnan(confusion[1] if kind == "multi-label" else confusion).all()
    metric.reset_state()
    good = np.full(np.shape(predictions), 0.5, "float32")
    metric.update_state(np.zeros_like(truth), good)
    assert not np.isnan(float(metric.result()["accuracy"]))


@kinds
def test_samples_of_weight_zero_are_ignored(kind):
    truth, probabilities, _ = draw(kind, 30, 4)
    results = RESULTS[kind] + CURVES[kind]
    some, all_of_them = (ClassificationMetrics(kind, results, keep_confusion=True) for _ in range(2))
    some.update_state(truth[:20], probabilities[:20])
    probabilities[20:25], truth[25:] = np.nan, 9
    all_of_them.update_state(truth, probabilities, np.arange(30) < 20)
    for exact in (True, False):
        wanted = {name: float(value) for name, value in some.result(exact).items()}
        found = {name: float(value) for name, value in all_of_them.result(exact).items()}
        # The bins lie around the mean of the first batch, which may be of any samples.
        assert found == pytest.approx(wanted, abs=1e-6 if exact else 0.05, nan_ok=True)
    np.testing.assert_array_equal(*(np.array(metric.confusion_matrix()) for metric in (some, all_of_them)))


@kinds
def test_results_before_the_first_update_equal_those_after_a_reset(kind):
    results, names = RESULTS[kind] + CURVES[kind], None if kind == "binary" else "abcd"
    metric = ClassificationMetrics(kind, results, class_names=names)
    before = {name: float(value) for name, value in metric.result().items()}
    assert all(np.isnan(value) if name.startswith("auc") else value == 0.0 for name, value in before.items())
    metric.update_state(*draw(kind, 9, 0)[:2])
    metric.reset_state()
    assert {name: float(value) for name, value in metric.result().items()} == pytest.approx(before, nan_ok=True)
    unknown = ClassificationMetrics(kind, results).result()
    assert set(unknown) == set(before) if kind == "binary" else {name for name in results if "per_class" not in name}
    assert float(custom_metrics.F1(kind).result()) == 0.0
    assert np.isnan(float(custom_metrics.AUC(kind).result()))
    assert custom_metrics.F1(kind, "per_class").result().shape == ((1,) if kind == "binary" else (0,))
