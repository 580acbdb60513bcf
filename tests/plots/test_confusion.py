"""Confusion matrices."""

import numpy as np
import pytest
from plot_cases import CHEST, heading, predict_classes, predict_labels, texts
from sklearn import metrics

from keras_lnn import plots


@pytest.mark.parametrize(("classes", "present"), [(2, 2), (11, 11), (5, 4)])
def test_confusion_of_classes_equals_scikit_learn(classes, present):
    truth, probabilities = predict_classes(classes, present=present)
    names = [f"organ number {index}" for index in range(classes)]
    figure = plots.plot_confusion(truth, probabilities, "binary" if classes == 2 else "ordinal", names)
    expected = metrics.confusion_matrix(truth, probabilities.argmax(axis=1), labels=range(classes))
    axes = figure.axes[0]
    counts = np.array([int(text.split("\n")[0]) for text in texts(axes)]).reshape(classes, classes)
    np.testing.assert_array_equal(counts, expected)
    shares = expected / np.maximum(expected.sum(axis=1, keepdims=True), 1)
    np.testing.assert_allclose(axes.images[0].get_array(), shares)
    for text, share, total in zip(texts(axes), shares.ravel(), expected.sum(axis=1).repeat(classes), strict=True):
        if total == 0:
            assert text == "0\n–"
        elif share > 0.005:
            assert text.endswith(f"\n{share:.0%}")
    assert f"{np.trace(expected)} of {len(truth)} right" in heading(figure)
    assert [label.get_text().replace("\n", " ") for label in axes.get_yticklabels()] == names


def test_confusion_of_fourteen_labels_has_a_matrix_each():
    truth, probabilities = predict_labels(14)
    figure = plots.plot_confusion(truth, probabilities, "multi-label", CHEST)
    assert [axes.get_title() for axes in figure.axes] == CHEST
    expected = metrics.multilabel_confusion_matrix(truth, probabilities > 0.5)
    for axes, matrix in zip(figure.axes, expected, strict=True):
        assert [int(text.split("\n")[0]) for text in texts(axes)] == matrix.ravel().tolist()


def test_confusion_says_that_a_small_share_is_not_none():
    truth = np.array([0] * 1000 + [1])
    probabilities = np.array([0.9] + [0.1] * 999 + [0.9])
    figure = plots.plot_confusion(truth, probabilities, "binary", ["no", "yes"])
    assert texts(figure.axes[0]) == ["999\n>99%", "1\n<1%", "0", "1\n100%"]


def test_confusion_of_very_many_classes_leaves_the_numbers_out():
    truth, probabilities = predict_classes(25)
    figure = plots.plot_confusion(truth, probabilities, "multi-class", [str(index) for index in range(25)])
    assert texts(figure.axes[0]) == []
    assert figure.axes[0].images[0].get_array().shape == (25, 25)
