"""``predictions.csv`` is read back unchanged for any names of samples."""

import numpy as np
import pytest

from keras_lnn.data.arrays import Split
from keras_lnn.evaluation.mask_overlaps import measure_masks
from keras_lnn.files.csv_tables import to_csv
from keras_lnn.tasks.kinds import make_task
from keras_lnn.tasks.prediction_tables import read_measures, read_probabilities, tabulate_measures

NAMES = ("=sum(a)", "-x, y", "'quoted'", "plain")
PATIENTS = ("@a", "@a", "+1", "02")


def make_split(labels, names=NAMES, groups=PATIENTS):
    return Split(np.zeros((len(labels), 4, 4, 1), np.uint8), labels, names, groups)


@pytest.mark.parametrize(
    ("kind", "labels"),
    [("multi-class", np.array([0, 2, 1, 1])), ("multi-label", np.array([[0, 1, 1], [0, 0, 0], [1, 1, 1], [1, 0, 0]]))],
)
@pytest.mark.parametrize("named", [True, False])
def test_written_probabilities_are_read_back(tmp_path, kind, labels, named):
    names = ("a", "probability a", "truth")
    probabilities = np.random.default_rng(0).random((4, 3)).astype(np.float32).astype(np.float64)
    split = make_split(labels) if named else make_split(labels, None, None)
    table = make_task(kind, names).tabulate(split, probabilities, None, "test")
    (tmp_path / "predictions.csv").write_text(to_csv(table), encoding="utf-8")
    truth, found, samples, exclusive = read_probabilities(tmp_path / "predictions.csv", "test", names)
    np.testing.assert_array_equal(truth, labels)
    np.testing.assert_array_equal(found, probabilities)
    assert exclusive == (kind == "multi-class")
    assert (samples.files, samples.groups) == ((NAMES, PATIENTS) if named else ((), None))


@pytest.mark.parametrize("spacing", [None, (0.5, 2.0)])
def test_written_mask_measures_are_read_back(tmp_path, spacing):
    generator = np.random.default_rng(1)
    truth, predicted = (generator.integers(0, 3, (4, 4, 4), dtype=np.uint8) for _ in range(2))
    measures = measure_masks(truth, predicted, ("background", "liver", "lesion"), spacing)
    table = tabulate_measures(make_split(truth), measures, "val")
    (tmp_path / "predictions.csv").write_text(to_csv(table), encoding="utf-8")
    found, samples = read_measures(tmp_path / "predictions.csv", "val", measures.class_names)
    for name in ("truth", "predicted", "common", "hausdorff", "surface", "dice", "iou"):
        np.testing.assert_allclose(getattr(found, name), getattr(measures, name), rtol=1e-12, err_msg=name)
    assert found.in_millimetres == (spacing is not None)
    assert (samples.files, samples.groups) == (NAMES, PATIENTS)
    with pytest.raises(ValueError, match="the rows of test are not"):
        read_measures(tmp_path / "predictions.csv", "test", measures.class_names)
