"""Times of frames become elapsed times in a learned unit and a mask."""

import keras
import numpy as np
import pytest

from keras_lnn.layers import ElapsedTime
from keras_lnn.layers.elapsed_time import find_median_interval

TIMES = np.array([[0.0, 1.0, 4.0, np.nan], [0.0, 0.5, np.nan, np.nan], [0.0, np.nan, np.nan, np.nan]], np.float32)


def elapsed_of(layer: ElapsedTime, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    elapsed, is_frame = layer(times)
    return keras.ops.convert_to_numpy(elapsed), keras.ops.convert_to_numpy(is_frame)


def test_they_are_divided_by_the_median_of_the_training_data():
    layer = ElapsedTime()
    elapsed, is_frame = elapsed_of(layer, TIMES)
    np.testing.assert_array_equal(elapsed[..., 0], [[1, 1, 3, 0], [1, 0.5, 0, 0], [1, 0, 0, 0]])
    np.testing.assert_array_equal(is_frame, np.isfinite(TIMES))
    layer.adapt(TIMES)  # intervals of 1, 3 and 0.5
    assert float(layer.unit_time) == 1.0
    layer.adapt(60 * TIMES)
    assert float(layer.unit_time) == 60.0
    seconds, _ = elapsed_of(layer, 60 * TIMES)
    np.testing.assert_allclose(seconds, elapsed, rtol=1e-6)


def test_the_first_frame_has_a_time_of_1_whatever_the_unit_and_the_origin():
    layer = ElapsedTime()
    layer.adapt(np.array([[0.0, 7.0]]))
    elapsed, _ = elapsed_of(layer, TIMES)
    moved, _ = elapsed_of(layer, TIMES + 32)
    np.testing.assert_array_equal(elapsed[:, 0], 1.0)
    np.testing.assert_array_equal(moved, elapsed)


@pytest.mark.parametrize("times", [TIMES[2:], np.zeros((2, 3)), np.zeros((2, 1))])
def test_data_without_intervals_leave_the_unit_at_1(times):
    layer = ElapsedTime()
    layer.adapt(times)
    assert float(layer.unit_time) == 1.0


def test_images_at_the_same_time_do_not_count_in_the_median():
    layer = ElapsedTime()
    times = np.array([[0.0, 0.0, 0.0, 2.0, 6.0]])
    layer.adapt(times)
    assert float(layer.unit_time) == find_median_interval(times) == 3.0


def test_intervals_are_those_within_series():
    assert find_median_interval(TIMES) == 1.0  # of 1, 3 and 0.5
    assert find_median_interval(TIMES[:1]) == 2.0
    assert find_median_interval(TIMES[2:]) is None


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_it_comes_back_from_a_file_with_its_unit_and_is_never_rounded(policy, tmp_path):
    before = keras.dtype_policies.get(keras.config.dtype_policy())
    keras.config.set_dtype_policy(policy)
    try:
        times = keras.Input((4,), dtype="float32")
        model = keras.Model(times, ElapsedTime(name="elapsed_time")(times))
        model.get_layer("elapsed_time").adapt(0.1 * TIMES)
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
        long = np.array([[0.0, 100_000.1, 200_000.2, np.nan]], np.float32)
        expected = np.diff(long, axis=1) / np.float32(0.1)
        for one in (model, again):
            elapsed, is_frame = one(long)
            assert keras.backend.standardize_dtype(elapsed.dtype) == "float32"
            assert keras.ops.convert_to_numpy(is_frame).tolist() == [[True, True, True, False]]
            np.testing.assert_allclose(keras.ops.convert_to_numpy(elapsed)[0, 1:3, 0], expected[0, :2], rtol=1e-6)
    finally:
        keras.config.set_dtype_policy(before)


def test_it_says_its_shapes():
    assert ElapsedTime().compute_output_shape((None, 5)) == ((None, 5, 1), (None, 5))
    assert ElapsedTime(name="times").get_config().keys() == {"name", "trainable"}
