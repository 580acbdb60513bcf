import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_lnn.data.arrays import SeriesArray
from keras_lnn.data.thinning import (
    Sampling,
    every_nth,
    keep_at_most,
    keep_share,
    list_samplings,
    samplings_of,
    start_later,
    thin_evenly,
)

LENGTHS = (1, 2, 3, 12)
TIMES = [np.arange(length) ** 2.0 for length in LENGTHS]
# Each frame holds its number, and its series in the tens.
FRAMES = [np.arange(length, dtype=np.uint8)[:, None, None, None] + 20 * row for row, length in enumerate(LENGTHS)]
SERIES = SeriesArray.join(FRAMES, TIMES, "minutes", steps=14)


def list_kept(series):
    """Returns the numbers of the frames of each series."""
    pixels = series[:][..., 0, 0, 0]
    return [[int(pixel) - 20 * row for pixel in pixels[row, :length]] for row, length in enumerate(series.lengths)]


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


@pytest.mark.parametrize("sampling", list_samplings(), ids=lambda sampling: f"{sampling.kind} {sampling.amount}")
def test_thinned_series_keep_the_last_frame_two_frames_and_the_times_between_them(sampling):
    thinned = sampling.apply(SERIES)
    assert thinned.shape == SERIES.shape
    for numbers, times, found in zip(list_kept(thinned), TIMES, thinned.times(), strict=True):
        assert numbers[-1] == len(times) - 1
        assert (np.diff(numbers) > 0).all()
        assert len(numbers) >= min(2, len(times))
        np.testing.assert_array_equal(found[: len(numbers)], times[numbers] - times[numbers[0]])
        assert np.isnan(found[len(numbers) :]).all()
        assert sampling.keeps_all == (len(numbers) == len(times)) or len(times) < 12
    assert (thinned is SERIES) == sampling.keeps_all


def test_a_share_is_kept_evenly_in_time_or_at_random_by_seed():
    assert list_kept(keep_share(SERIES, 0.5)) == [[0], [0, 1], [0, 2], [0, 5, 7, 9, 10, 11]]
    random = list_kept(keep_share(SERIES, 0.5, seed=1))
    assert list(map(len, random)) == [1, 2, 2, 6]
    assert random == list_kept(keep_share(SERIES, 0.5, seed=1))
    others = [list_kept(keep_share(SERIES, 0.5, seed=seed))[3] for seed in range(60)]
    assert {number for numbers in others for number in numbers} == set(range(12))


def test_another_rate_counts_back_from_the_last_frame():
    assert list_kept(every_nth(SERIES, 3)) == [[0], [0, 1], [0, 2], [2, 5, 8, 11]]
    assert list_kept(every_nth(SERIES, 1)) == list_kept(SERIES)


def test_a_later_start_leaves_out_the_first_frames():
    assert list_kept(start_later(SERIES, 0.5)) == [[0], [0, 1], [1, 2], [6, 7, 8, 9, 10, 11]]


def test_thinned_series_are_thinned_again_and_taken_in_parts():
    twice = every_nth(start_later(SERIES, 0.5), 2)
    assert list_kept(twice)[3] == [7, 9, 11]
    assert list_kept(twice.take(np.array([3])))[0] == [number + 60 for number in (7, 9, 11)]


@pytest.mark.parametrize(
    ("thin", "amount"), [(keep_share, 0), (keep_share, 1.5), (every_nth, 0), (start_later, 1), (start_later, -0.1)]
)
def test_an_amount_out_of_range_is_refused(thin, amount):
    with pytest.raises(ValueError, match=f"Received: {amount}"):
        thin(SERIES, amount)


def test_all_frames_come_first_in_each_kind_of_sampling():
    kinds = [sampling.kind for sampling in list_samplings()]
    assert kinds == sorted(kinds, key=kinds.index)
    first = [sampling for place, sampling in enumerate(list_samplings()) if sampling.kind not in kinds[:place]]
    assert all(sampling.keeps_all for sampling in first)
    assert Sampling("evenly", 0.25) in list_samplings()


def test_longer_series_are_thinned_to_the_steps_that_a_model_reads_and_shorter_ones_padded():
    assert list_kept(keep_at_most(SERIES, 3)) == [[0], [0, 1], [0, 1, 2], [0, 8, 11]]
    assert keep_at_most(SERIES, 3).steps == 3
    longer = keep_at_most(SERIES, 20)
    assert longer.steps == 20
    assert list_kept(longer) == list_kept(SERIES)


def test_a_higher_frame_rate_needs_denser_data_of_the_same_series():
    assert [one for one in samplings_of("phantom-growth") if one.needs_denser] == [Sampling("frame rate", 2)]
    assert samplings_of("series:own") == list_samplings()
    with pytest.raises(ValueError, match="can be thinned, but not made denser"):
        Sampling("frame rate", 2).apply(SERIES)
