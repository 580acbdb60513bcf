"""Arguments that all pictures of predictions refuse."""

import numpy as np
import pytest

from keras_lnn import plots
from keras_lnn.errors import InputError


@pytest.mark.parametrize(
    ("truth", "probabilities", "task", "names", "message"),
    [
        ([0, 1], [0.1, 0.2, 0.3], "binary", "ab", "one label per prediction"),
        ([], [], "binary", "ab", "at least one prediction"),
        ([0, 1], [0.1, 1.7], "binary", "ab", "from 0 to 1. Received: 0.1 to 1.7"),
        ([0, 1], [0.1, np.nan], "binary", "ab", "Apply the softmax"),
        ([0, 2], [0.1, 0.9], "binary", "ab", "from 0 to 1. Received: 2"),
        ([0, 1], [0.1, 0.9], "binary", "abc", "two class names"),
        ([0, 1], [[0.5, 0.5]] * 2, "multi-class", "abc", "one column for each of 3"),
        ([0, 1], [[0.5, 0.5]] * 2, "multi-label", "ab", "shape"),
        ([0, 1], [0.1, 0.9], "multiclass", "ab", "Did you mean multi-class"),
    ],
)
@pytest.mark.parametrize(
    "plot", [plots.plot_roc, plots.plot_precision_recall, plots.plot_confusion, plots.plot_reliability]
)
def test_predictions_that_do_not_fit_are_refused(plot, truth, probabilities, task, names, message):
    with pytest.raises(InputError, match=message):
        plot(truth, probabilities, task, list(names))
