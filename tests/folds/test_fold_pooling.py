"""Predictions of several folds measured as one set: by patient, at each model's thresholds, once per sample."""

import numpy as np
import pytest
from run_samples import BLOOD, BREAST, CHEST, binary_probabilities, class_probabilities, label_probabilities, make_truth
from sklearn import metrics

from keras_lnn.errors import InputError
from keras_lnn.evaluation.predictions import evaluate_predictions
from keras_lnn.folds.pooling import FoldPredictions, measure_pooled

TRUTH = make_truth(150, 60)
PROBABILITIES = binary_probabilities(TRUTH, 1.0, 0)
NAMES = [f"{row:03}.png" for row in range(150)]
PATIENTS = [f"p{row // 3}" for row in range(150)]


def cut(count=5, thresholds=(None,) * 5, groups=None, probabilities=PROBABILITIES, truth=TRUTH):
    rows = np.array_split(np.random.default_rng(1).permutation(len(truth)), count)
    return [
        FoldPredictions(
            truth[part],
            probabilities[part],
            [NAMES[row] for row in part],
            threshold,
            None if groups is None else [groups[row] for row in part],
        )
        for part, threshold in zip(rows, thresholds, strict=True)
    ]


@pytest.mark.parametrize("groups", [None, PATIENTS])
def test_the_cuts_do_not_matter_to_the_metrics_of_all_predictions(groups):
    found = measure_pooled([cut(groups=groups)], task="binary", class_names=BREAST)
    whole = evaluate_predictions(TRUTH, PROBABILITIES, task="binary", class_names=BREAST, groups=groups)
    assert found.metrics["auc"].value == pytest.approx(metrics.roc_auc_score(TRUTH, PROBABILITIES[:, 1]))
    for name, estimate in whole.metrics.items():
        np.testing.assert_allclose(
            list(found.metrics[name].to_json().values()), list(estimate.to_json().values()), atol=1e-9
        )
    assert found.basis == whole.basis
    assert found.per_class.keys() == whole.per_class.keys()
    assert found.per_class[BREAST[0]]["support"] == 90


def test_each_model_decides_at_its_own_thresholds():
    limits = [0.2, 0.35, 0.5, 0.65, 0.8]
    folds = cut(thresholds=[(1 - limit, limit) for limit in limits])
    found = measure_pooled([folds], task="binary", class_names=BREAST)
    truth = np.concatenate([fold.truth for fold in folds])
    decided = np.concatenate([fold.probabilities[:, 1] > limit for fold, limit in zip(folds, limits, strict=True)])
    assert found.metrics["f1_tuned"].value == pytest.approx(metrics.f1_score(truth, decided))
    assert found.metrics["sensitivity_tuned"].value == pytest.approx(metrics.recall_score(truth, decided))
    assert found.metrics["f1"].value == pytest.approx(metrics.f1_score(TRUTH, PROBABILITIES[:, 1] > 0.5))


def test_repeats_do_not_make_the_intervals_narrower_than_the_samples_allow():
    def width(estimate):
        return estimate.high - estimate.low

    once = measure_pooled([cut()], task="binary", class_names=BREAST)
    # The same predictions over and over hold nothing new.
    often = measure_pooled([cut()] * 4, task="binary", class_names=BREAST)
    assert (often.basis.unit, often.basis.count, often.basis.images) == ("images", 150, 150)
    for name in ("auc", "accuracy", "f1", "brier", "average_precision"):
        assert often.metrics[name].value == pytest.approx(once.metrics[name].value)
        assert width(often.metrics[name]) == pytest.approx(width(once.metrics[name]), rel=0.03)
    by_patient = measure_pooled([cut(groups=PATIENTS)] * 2, task="binary", class_names=BREAST)
    assert (by_patient.basis.unit, by_patient.basis.count) == ("patients", 50)


def test_metrics_of_repeats_are_means_of_those_of_each_repeat():
    other = binary_probabilities(TRUTH, 1.0, 5)
    found = measure_pooled([cut(), cut(probabilities=other)], task="binary", class_names=BREAST)
    areas = [metrics.roc_auc_score(TRUTH, one[:, 1]) for one in (PROBABILITIES, other)]
    assert found.metrics["auc"].value == pytest.approx(np.mean(areas))
    assert found.metrics["auc"].low < np.mean(areas) < found.metrics["auc"].high
    with pytest.raises(InputError, match="must predict the same samples"):
        measure_pooled([cut(), cut()[:4]], task="binary", class_names=BREAST)


def test_several_classes_and_labels_are_pooled_too():
    classes = np.random.default_rng(0).integers(0, 3, 150)
    folds = cut(probabilities=class_probabilities(classes, 3, 1.5, 0), truth=classes)
    found = measure_pooled([folds], task="multi-class", class_names=BLOOD)
    together = [np.concatenate([getattr(fold, name) for fold in folds]) for name in ("truth", "probabilities")]
    expected = metrics.roc_auc_score(*together, multi_class="ovr")
    assert found.metrics["auc"].value == pytest.approx(expected)
    assert found.positive_class is None
    labels = (np.random.default_rng(2).random((150, 4)) < 0.3).astype(np.uint8)
    folds = cut(
        probabilities=label_probabilities(labels, 2.0, 0),
        truth=labels,
        thresholds=[(0.2 + k / 10,) * 4 for k in range(5)],
    )
    found = measure_pooled([folds], task="multi-label", class_names=CHEST)
    decided = np.concatenate([fold.probabilities > fold.thresholds for fold in folds])
    truth = np.concatenate([fold.truth for fold in folds])
    assert found.metrics["f1_tuned"].value == pytest.approx(metrics.f1_score(truth, decided, average="macro"))
