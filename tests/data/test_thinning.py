import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_lnn.data.thinning import thin_evenly


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=40), st.integers(1, 45))
def test_thinning_keeps_the_asked_number_of_frames_with_both_ends(times, steps):
    times = np.sort(times)
    kept = thin_evenly(times, steps)
    assert len(kept) == min(steps, len(times))
    assert np.all(np.diff(kept) > 0)
    assert kept[-1] == len(times) - 1
    assert len(kept) == 1 or kept[0] == 0


def test_thinning_is_even_in_time_and_not_in_number():
    assert thin_evenly([0, 1, 2, 3, 4, 50, 100], 3).tolist() == [0, 5, 6]
    assert thin_evenly(np.arange(101.0), 5).tolist() == [0, 25, 50, 75, 100]
    assert thin_evenly([0, 1, 2, 3, 100], 4).tolist() == [0, 2, 3, 4]


def test_no_frame_cannot_be_kept():
    with pytest.raises(ValueError, match="At least 1 frame"):
        thin_evenly([0, 1], 0)
