"""Targets and predictions for the metrics in custom_metrics.py, and what scikit-learn makes of them."""

import keras
import numpy as np
import pytest
from sklearn import metrics as reference

import custom_metrics
from custom_metrics import ClassificationMetrics

TESTED_ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
only_tensorflow = pytest.mark.skipif(not TESTED_ON_TENSORFLOW, reason="graphs and XLA programs of TensorFlow")
LABELS = 4
RESULTS = {
    kind: [
        *(
            f"{base}{average}"
            for base in ("f1", "precision", "recall", "dice", "iou", "specificity")
            for average in tail
        ),
        "accuracy",
        "accuracy_per_class",
        "subset_accuracy",
        "balanced_accuracy",
        "balanced_accuracy_per_class",
        "matthews_correlation",
        "matthews_correlation_per_class",
    ]
    for kind, tail in {
        "binary": ("", "_per_class"),
        "multi-class": ("", "_macro", "_micro", "_weighted", "_per_class"),
        "multi-label": ("", "_macro", "_micro", "_weighted", "_per_class"),
    }.items()
}
RESULTS["multi-label"] += [f"{base}_samples" for base in ("f1", "precision", "recall", "dice", "iou")]
CURVES = {
    "binary": ["auc", "average_precision"],
    "multi-class": [f"{base}{average}" for base in ("auc", "average_precision") for average in ("", "_per_class")],
    "multi-label": [
        f"{base}{average}"
        for base in ("auc", "average_precision")
        for average in ("", "_micro", "_weighted", "_per_class")
    ],
}
kinds = pytest.mark.parametrize("kind", list(RESULTS))
RATIOS = {
    "f1": reference.f1_score,
    "dice": reference.f1_score,
    "iou": reference.jaccard_score,
    "precision": reference.precision_score,
    "recall": reference.recall_score,
}


def draw(kind: str, samples: int, seed: int, skew: float = 0.5, outputs: int = 1):
    """Targets, probabilities and weights; with a skew near 0 or 1 some labels never occur or always do."""
    generator = np.random.default_rng(seed)
    weights = generator.choice([0.25, 0.5, 1.0, 2.0, 3.0], samples).astype("float32")
    if kind == "multi-class":
        shares = np.array([skew, *[(1 - skew) / (LABELS - 1)] * (LABELS - 1)])
        truth = generator.choice(LABELS, samples, p=shares)
        logits = generator.normal(size=(samples, LABELS)) + np.eye(LABELS)[truth]
        odds = np.exp(logits)
        return truth, (odds / odds.sum(axis=1, keepdims=True)).astype("float32"), weights
    labels = LABELS if kind == "multi-label" else 1
    truth = (generator.random((samples, labels)) < skew).astype("int64")
    probabilities = 1 / (1 + np.exp(-(generator.normal(size=truth.shape) + truth)))
    probabilities = probabilities.astype("float32")
    if kind == "binary":
        truth = truth[:, 0]
        if outputs == 2:
            probabilities = np.concatenate([1 - probabilities, probabilities], axis=1)
    return truth, probabilities, weights


def expected(kind: str, truth, probabilities, weights, names: list[str], threshold=0.5) -> dict[str, float]:
    """What scikit-learn gives."""
    if kind == "multi-class":
        classes = np.arange(LABELS)
        positive, predicted = truth[:, None] == classes, probabilities.argmax(axis=1)[:, None] == classes
    else:
        positive = truth.reshape(len(truth), -1) == 1
        predicted = probabilities[:, -positive.shape[1] :] > np.float32(threshold)
    scores = probabilities[:, -positive.shape[1] :].astype("float64")
    positive, predicted = positive.astype(int), predicted.astype(int)
    found = {}
    for name in names:
        base = max((base for base in custom_metrics._RESULTS if name.startswith(base)), key=len)
        average = name[len(base) + 1 :] or None
        values = _of(base, average, kind, positive, predicted, scores, weights, truth)
        if average == "per_class":
            first = 1 if kind == "binary" else 0
            found.update({f"{base}_{index + first}": value for index, value in enumerate(np.atleast_1d(values))})
        else:
            found[name] = values
    return found


def _of(base, average, kind, positive, predicted, scores, weights, truth):
    columns = range(positive.shape[1])

    def each(function, *arrays):
        return np.array([function(*(array[:, i] for array in arrays), sample_weight=weights) for i in columns])

    if base in RATIOS or base == "specificity":
        arguments = {"sample_weight": weights, "zero_division": 0}
        pair, function = (positive, predicted), RATIOS.get(base)
        if base == "specificity":
            pair, function = (1 - positive, 1 - predicted), reference.recall_score
        if kind == "binary":
            return function(pair[0][:, 0], pair[1][:, 0], **arguments)
        if base == "specificity" and average == "weighted":
            support = weights @ positive
            return (function(*pair, average=None, **arguments) * support).sum() / max(support.sum(), 1e-9)
        return function(*pair, average={"per_class": None, None: "macro"}.get(average, average), **arguments)
    if base == "subset_accuracy":
        return reference.accuracy_score(positive, predicted, sample_weight=weights)
    if base in ("auc", "average_precision"):
        function = reference.roc_auc_score if base == "auc" else reference.average_precision_score
        if average == "per_class" or kind == "multi-class":
            values = each(function, positive, scores)
            return values if average == "per_class" else values.mean()
        return function(positive, scores, average=average or "macro", sample_weight=weights)
    function = {
        "accuracy": reference.accuracy_score,
        "balanced_accuracy": reference.balanced_accuracy_score,
        "matthews_correlation": reference.matthews_corrcoef,
    }[base]
    if average is None and kind == "multi-class":
        return function(truth, predicted.argmax(axis=1), sample_weight=weights)
    values = each(function, positive, predicted)
    return values if average == "per_class" else values.mean()


def assert_equal(metric: ClassificationMetrics, wanted: dict[str, float], tolerance: float) -> None:
    found = {name: float(value) for name, value in metric.result().items()}
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        # The precision of the very first answers hangs on the order within a bin.
        wider = 5 * tolerance if name.startswith("average_precision") else tolerance
        assert found[name] == pytest.approx(value, abs=wider, nan_ok=True), name
