"""The ROC curve of each fold of a cross-validation and their mean."""

import numpy as np
import pytest
from plot_cases import CHEST, TISSUE, predict_classes, predict_labels

from keras_lnn.plots.folds import plot_fold_roc

NAMES = ("benign", "malignant")
# Perfect, and wrong for one of two positives in the middle of two negatives.
PERFECT = ([0, 0, 1, 1], np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.1, 0.9]]))
HALF = ([0, 0, 1, 1], np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [0.1, 0.9]]))


def curves(figure):
    *folds, mean = [line for line in figure.axes[0].lines if line.get_linestyle() == "-"]
    return [line.get_ydata() for line in folds], mean.get_ydata()


def test_the_mean_is_taken_at_each_false_positive_rate():
    folds, mean = curves(plot_fold_roc([PERFECT, HALF], "binary", NAMES))
    assert len(folds) == 2
    np.testing.assert_allclose(mean[1:], np.mean(folds, axis=0)[1:])
    # At a rate of a quarter the second fold finds one of its two positives.
    assert mean[50] == pytest.approx((1.0 + 0.5) / 2)
    assert mean[0] == 0
    assert mean[-1] == 1


def test_scores_of_different_folds_are_not_compared():
    shifted = (PERFECT[0], np.clip(PERFECT[1] * [1, 0.1], 0, 1))
    shifted = (shifted[0], np.column_stack([1 - shifted[1][:, 1], shifted[1][:, 1]]))
    _, mean = curves(plot_fold_roc([PERFECT, shifted], "binary", NAMES))
    assert (mean[1:] == 1).all()


def test_a_fold_without_a_class_has_no_curve():
    one_class = ([0, 0], PERFECT[1][:2])
    folds, _ = curves(plot_fold_roc([PERFECT, one_class], "binary", NAMES))
    assert len(folds) == 1
    (note,) = [text.get_text() for text in plot_fold_roc([one_class], "binary", NAMES).axes[0].texts]
    assert note == "no curve is defined"


def test_several_classes_and_labels_have_one_curve_per_fold():
    for task, names, predict in (
        ("multi-class", TISSUE, lambda: predict_classes(len(TISSUE))),
        ("multi-label", CHEST, lambda: predict_labels(len(CHEST))),
    ):
        figure = plot_fold_roc([predict(), predict()], task, names)
        assert len(curves(figure)[0]) == 2
        assert "Mean over classes or labels" in figure.axes[0].get_title(loc="left")
