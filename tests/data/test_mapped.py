"""Arrays on disk: the same rows as in memory, without the file becoming resident."""

import os

import numpy as np
import pytest

from keras_lnn.data.mapped import MappedArray


def test_rows_are_those_of_the_array(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (40, 5, 6), dtype=np.uint8)
    np.save(tmp_path / "a.npy", array)
    mapped = MappedArray(tmp_path / "a.npy", (40, 5, 6, 1))
    assert (len(mapped), mapped.shape, mapped.dtype) == (40, (40, 5, 6, 1), np.uint8)
    for rows in (np.array([3, 1, 1, 39]), slice(5, 12), 7):
        np.testing.assert_array_equal(mapped[rows][..., 0], array[rows])
        assert mapped[rows].flags.owndata or mapped[rows].base is not mapped._array


def resident_bytes() -> int:
    with open("/proc/self/statm") as stream:
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads the resident set from /proc")
def test_reading_all_of_a_file_does_not_make_it_resident(tmp_path):
    rows, width = 3000, 2**17
    np.lib.format.open_memmap(tmp_path / "a.npy", mode="w+", dtype=np.uint8, shape=(rows, width)).flush()
    mapped = MappedArray(tmp_path / "a.npy")
    order = np.random.default_rng(0).permutation(rows)
    before = resident_bytes()
    highest = 0
    for start in range(0, rows, 100):
        assert mapped[order[start : start + 100]].sum() == 0
        highest = max(highest, resident_bytes())
    assert mapped.shape[0] * width > 370 * 2**20
    assert highest - before < 160 * 2**20
