"""Confusion of classes after each epoch."""

import numpy as np
import pandas as pd
import pytest

from keras_lnn.evaluation.class_curves import ClassCurves

NAMES = ("no liver", "liver", "lesion")


def test_class_accuracy_is_recall_with_correlations_as_in_numpy():
    matrices = np.random.default_rng(0).integers(0, 9, (6, 3, 3)) + 1
    curves = ClassCurves(list(matrices), 6, NAMES)
    accuracy = curves.accuracy()
    assert list(accuracy.index) == [1, 2, 3, 4, 5, 6]
    assert accuracy.loc[2, "liver"] == pytest.approx(matrices[1, 1, 1] / matrices[1, 1].sum())
    np.testing.assert_allclose(curves.correlation(), np.corrcoef(accuracy.to_numpy().T))
    cells = curves.cells().set_index(["epoch", "truth", "predicted"])["count"]
    assert cells[3, "lesion", "liver"] == matrices[2, 2, 1]
    assert len(cells) == 54


def test_label_accuracy_is_the_share_of_right_decisions():
    matrices = [np.array([[[5, 1], [0, 4]], [[2, 3], [3, 2]]])] * 2
    curves = ClassCurves(matrices, 2, ("mass", "edema"), multi_label=True)
    assert curves.accuracy().to_numpy().tolist() == [[0.9, 0.4]] * 2
    assert curves.correlation().isna().all(axis=None)  # nothing changes


def test_a_run_of_an_older_version_has_its_last_epochs_and_absent_classes_have_none():
    curves = ClassCurves([np.array([[3, 1], [0, 0]])] * 2, 5, ("a", "b"))
    assert list(curves.epochs) == [4, 5]
    expected = pd.DataFrame({"a": [0.75, 0.75], "b": [np.nan, np.nan]}, index=pd.Index([4, 5], name="epoch"))
    pd.testing.assert_frame_equal(curves.accuracy(), expected)
