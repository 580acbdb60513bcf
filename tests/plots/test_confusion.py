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


def test_confusion_of_fourteen_labels_has_one_row_each():
    truth, probabilities = predict_labels(14)
    figure = plots.plot_confusion(truth, probabilities, "multi-label", CHEST)
    present, absent = figure.axes
    names = [label.get_text() for label in present.get_yticklabels()]
    assert names == [f"{name} ({count})" for name, count in zip(CHEST, truth.sum(axis=0), strict=True)]
    assert [label.get_text() for axes in figure.axes for label in axes.get_xticklabels()] == [
        *("found", "missed", "not predicted", "false alarm")
    ]
    expected = metrics.multilabel_confusion_matrix(truth, probabilities > 0.5)
    for axes, cells in ((present, expected[:, 1, ::-1]), (absent, expected[:, 0])):
        assert [int(text.split()[0]) for text in texts(axes)] == cells.ravel().tolist()
        shares = np.round(100 * cells / cells.sum(axis=1, keepdims=True))
        assert texts(axes)[0].endswith(f"{shares[0, 0]:.0f}%")
    assert "150 samples, predicted above 0.5" in heading(figure)


def test_a_label_that_no_image_has_is_drawn_without_shares():
    truth = np.array([[0, 1], [0, 0]])
    figure = plots.plot_confusion(truth, np.full((2, 2), 0.9), "multi-label", ["a", "b"])
    assert texts(figure.axes[0]) == ["0  –", "0  –", "1  100%", "0"]
    assert texts(figure.axes[1]) == ["0", "2  100%", "0", "1  100%"]


def test_confusion_shows_small_shares_as_nonzero():
    truth = np.array([0] * 1000 + [1])
    probabilities = np.array([0.9] + [0.1] * 999 + [0.9])
    figure = plots.plot_confusion(truth, probabilities, "binary", ["no", "yes"])
    assert texts(figure.axes[0]) == ["999\n>99%", "1\n<1%", "0", "1\n100%"]


def test_confusion_of_very_many_classes_omits_the_numbers():
    truth, probabilities = predict_classes(25)
    figure = plots.plot_confusion(truth, probabilities, "multi-class", [str(index) for index in range(25)])
    assert texts(figure.axes[0]) == []
    assert figure.axes[0].images[0].get_array().shape == (25, 25)
