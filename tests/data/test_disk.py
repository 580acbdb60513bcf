"""Arrays on disk: the same rows as in memory, without the file becoming resident."""

import gc
import os

import numpy as np
import pytest

from keras_lnn.data.disk import DiskArray


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
@pytest.mark.parametrize(
    "rows",
    [np.array([3, 1, 1, 39, -1]), slice(5, 12), slice(None), slice(30, 2, -7), slice(9, 9), 7, -2, np.int64(4), [8, 2]],
)
def test_rows_on_disk_equal_those_of_the_array(tmp_path, dtype, rows):
    array = np.random.default_rng(0).integers(0, 256, (40, 5, 6)).astype(dtype)
    np.save(tmp_path / "a.npy", array)
    on_disk = DiskArray(tmp_path / "a.npy", (40, 5, 6, 1))
    assert (len(on_disk), on_disk.shape, on_disk.dtype) == (40, (40, 5, 6, 1), dtype)
    np.testing.assert_array_equal(on_disk[rows][..., 0], array[rows])
    assert DiskArray(tmp_path / "a.npy").shape == array.shape


@pytest.mark.parametrize("rows", [40, -41, [3, 40]])
def test_rows_out_of_range_are_refused(tmp_path, rows):
    np.save(tmp_path / "a.npy", np.zeros((40, 2), np.uint8))
    with pytest.raises(IndexError):
        DiskArray(tmp_path / "a.npy")[rows]


def test_a_file_that_ends_early_is_reported(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((40, 1000), np.uint8))
    os.truncate(path, 20_000)
    on_disk = DiskArray(path)
    assert on_disk[3].sum() == 0
    with pytest.raises(OSError, match="ends before row 30"):
        on_disk[30]


def test_only_arrays_in_c_order_are_read(tmp_path):
    np.save(tmp_path / "a.npy", np.asfortranarray(np.zeros((4, 3))))
    with pytest.raises(ValueError, match="C order"):
        DiskArray(tmp_path / "a.npy")


def test_the_file_is_closed_after_use(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 3)))
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else None
    on_disk = DiskArray(tmp_path / "a.npy")
    del on_disk
    gc.collect()
    assert before is None or len(os.listdir("/proc/self/fd")) <= before
