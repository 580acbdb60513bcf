"""New series through a model: thinned, with their times, one row each; files with faults named."""

import dataclasses

import numpy as np
import pytest
from quick_predictors import LastTime
from tiny_series import make_series_data

from keras_lnn.data.arrays import SeriesArray
from keras_lnn.errors import InputError
from keras_lnn.saved.image_files import check_headers, find_inputs
from keras_lnn.saved.image_predictions import predict_files, require_free_table, write_predictions
from keras_lnn.saved.series_predictions import predict_series, thin_series


def series_at(*times, unit="minutes"):
    """Series with frames whose value is their number."""
    frames = [
        np.arange(len(part), dtype=np.uint8)[:, None, None, None] * np.ones((5, 5, 1), np.uint8) for part in times
    ]
    return SeriesArray.join(frames, times, unit)


def save(path, *times, **changes):
    series = series_at(*times)
    arrays = {"frames": series.frames, "times": np.concatenate(times), "lengths": series.lengths}
    np.savez_compressed(path, **arrays | changes)
    return path


def test_each_series_has_a_row_with_its_frames_and_times():
    table = predict_series(LastTime(), series_at([5, 6, 7], [0.0]), ["a", "b"], np.array([5, 0.0]))
    assert table.columns.tolist()[:2] == ["file", "predicted"]
    assert table["file"].tolist() == ["a", "b"]
    assert table["frames"].tolist() == [3, 1]
    assert table["first time (minutes)"].tolist() == [5, 0]
    assert table["last time (minutes)"].tolist() == [7, 0]
    np.testing.assert_allclose(table["probability bright"], [0.022, 0])


def test_long_series_are_thinned_evenly_in_time_and_said():
    predictor, warned = LastTime(), []
    times = [0, 0.1, 0.2, 0.3, 0.4, 1, 2, 3]
    predict_series(predictor, series_at(times, [0, 1]), ["long", "short"], warn=warned.append)
    (read,) = predictor.read
    assert read.shape == (2, 4, 5, 5, 1)
    np.testing.assert_array_equal(read.times(0), [0, 1, 2, 3])
    assert read[0][:, 0, 0, 0].tolist() == [0, 5, 6, 7]
    assert read[1][:, 0, 0, 0].tolist() == [0, 1, 1, 1]
    (warning,) = warned
    assert warning.startswith("1 of 2 series have more than the 4 frames that the model reads")
    assert warning.endswith("long (8)")


def test_series_that_are_short_enough_are_not_copied():
    series = series_at([0, 1], [0, 1, 2])
    assert thin_series(series, 4) == dataclasses.replace(series, steps=4)


@pytest.mark.parametrize(("interval", "warns"), [(0.21, False), (4.9, False), (0.19, True), (5.1, True), (0.0, False)])
def test_intervals_far_from_those_of_training_are_warned_of(interval, warns):
    warned = []
    predict_series(LastTime(), series_at(interval * np.arange(4), [0.0]), ["a", "b"], warn=warned.append)
    assert bool(warned) == warns
    if warns:
        assert f"a ({interval:.3g} minutes)" in warned[0]
        assert warned[0].startswith("1 of 2 series have a median interval more than 5 times above or below 1 minutes")
    predict_series(LastTime(median_interval=None), series_at([0, 100.0]), ["a"], warn=pytest.fail)


def test_a_model_gets_series_as_it_has_learned_them():
    for predictor, series, words in (
        (LastTime(), series_at([0, 1], unit="hours"), "Received: .* in hours"),
        (LastTime(), make_series_data().splits["test"].images, r"Received: \(12, 12, 1\)"),
        (LastTime(time_unit=None), series_at([0, 1]), "which reads images"),
    ):
        with pytest.raises(InputError, match=words):
            predict_series(predictor, series, ["a"])


def test_files_of_series_are_predicted_and_their_table_replaced(tmp_path):
    one, two = save(tmp_path / "one.npz", [3, 4]), save(tmp_path / "two.npz", [0.0], [7, 8, 9])
    predictor, done = LastTime(), []
    files = find_inputs([one, two], predictor.signature)
    check_headers(files, predictor.signature, skip_bad=False)
    table = predict_files(predictor, files, done.append)
    assert table["file"].tolist() == [str(one), f"{two}#0", f"{two}#1"]
    assert table["first time (minutes)"].tolist() == [3, 0, 7]
    assert table["last time (minutes)"].tolist() == [4, 0, 9]
    assert done == [0.5, 1]
    write_predictions(table, tmp_path / "table.csv")
    assert require_free_table(tmp_path / "table.csv")
    # Frames without the axis of their one channel.
    grey = save(tmp_path / "grey.npz", [3, 4], frames=np.array([np.zeros((5, 5)), np.ones((5, 5))], np.uint8))
    assert predict_files(predictor, [grey])["probability bright"].tolist() == table["probability bright"].tolist()[:1]


BAD = {
    "frames of float64": {"frames": np.zeros((2, 5, 5, 1))},
    r"frames of uint8 \(6, 5, 1\)": {"frames": np.zeros((2, 6, 5, 1), np.uint8)},
    "times of float64": {"times": np.zeros(3)},
    "each of 2 frames needs one": {"times": np.array(["a", "b"])},
    "lengths of float64": {"lengths": np.ones(2)},
    "add up to 3 for 2 frames": {"lengths": np.array([1, 2])},
    "or one below 1": {"lengths": np.array([0, 2])},
    "not a finite number": {"times": np.array([0, np.nan])},
    "times that fall in series 0": {"times": np.array([1.0, 0.5])},
    "not a whole .npz file": {"times": np.array([0, None])},
}


@pytest.mark.parametrize("words", BAD)
def test_what_is_wrong_with_a_file_of_series_is_said(tmp_path, words):
    bad, good = save(tmp_path / "bad.npz", [0, 1], **BAD[words]), save(tmp_path / "good.npz", [0, 1])
    with pytest.raises(InputError, match=rf"1 of 2 that cannot be read: .*bad\.npz \(.*{words}"):
        predict_files(LastTime(), [bad, good])
    warned = []
    table = predict_files(LastTime(), [bad, good], skip_bad=True, warn=warned.append)
    assert table["file"].tolist() == [str(good)]
    assert warned[0].startswith("left out 1 of 2 files")


def test_other_files_are_no_series(tmp_path):
    signature = LastTime().signature
    with pytest.raises(InputError, match="does not exist"):
        find_inputs([tmp_path / "no.npz"], signature)
    (tmp_path / "cut.npz").write_bytes(save(tmp_path / "a.npz", [0, 1]).read_bytes()[:200])
    np.savez(tmp_path / "none.npz", frames=np.zeros(3))
    for name, words in (("cut", "not a whole .npz"), ("none", "without frames, times, lengths")):
        with pytest.raises(InputError, match=words):
            check_headers([tmp_path / f"{name}.npz"], signature, skip_bad=False)
