"""The ROC curve of an ensemble over those of its members."""

import numpy as np
from plot_cases import CHEST, predict_labels

from keras_lnn.plots.ensembles import plot_ensemble_roc

TRUTH = [0, 0, 1, 1]
PERFECT = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.1, 0.9]])
WRONG = PERFECT[:, ::-1]


def curves(figure):
    return [line.get_ydata() for line in figure.axes[0].lines if line.get_linestyle() == "-"]


def test_the_ensemble_is_drawn_over_its_members():
    figure = plot_ensemble_roc(TRUTH, PERFECT, [WRONG, PERFECT], "binary", ("benign", "malignant"))
    first, second, ensemble = curves(figure)
    assert not first[1:-1].any()
    assert (second[1:] == 1).all()
    assert (ensemble[1:] == 1).all()
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["each of 2 members", "ensemble"]
    # The other class of the same probabilities is ranked as well.
    assert (curves(plot_ensemble_roc(TRUTH, PERFECT, [], "binary", ("a", "b"), "a"))[0][1:] == 1).all()


def test_several_labels_have_one_curve_per_model():
    truth, probabilities = predict_labels(len(CHEST))
    assert len(curves(plot_ensemble_roc(truth, probabilities, [probabilities], "multi-label", CHEST))) == 2


def test_samples_of_one_class_have_no_curve():
    figure = plot_ensemble_roc([1, 1], PERFECT[:2], [PERFECT[:2]], "binary", ("a", "b"))
    assert "no curve is defined" in [text.get_text() for text in figure.axes[0].texts]
