"""Augmentation in time: which frames stay, at which times, and what is refused."""

import numpy as np
import pytest
import tensorflow as tf
from tiny_series import make_series_data

from keras_lnn.data.arrays import SeriesArray, Split, network_inputs
from keras_lnn.data.augment.operations import make_augmentation
from keras_lnn.data.augment.times import TIME_OPERATIONS
from keras_lnn.data.pipeline import training_batches
from keras_lnn.errors import InputError

SELECTING = ["drop-frames", "start-later", "frame-rate"]
LENGTHS = np.arange(256) % 12 + 1
GAPS = np.random.default_rng(0).uniform(0.05, 4, (256, 12))
TIMES = [np.concatenate([[0.0], np.cumsum(gaps[: length - 1])]) for gaps, length in zip(GAPS, LENGTHS, strict=True)]
# The first pixel of each frame holds its number.
FRAMES = [np.arange(length, dtype=np.uint8)[:, None, None, None].repeat(2, axis=1) for length in LENGTHS]
SERIES = SeriesArray.join(FRAMES, TIMES, "minutes", steps=13)


def apply(name: str, step: int = 5, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Returns the numbers of the frames that stay in each series, and their times."""
    images, times = network_inputs(SERIES, slice(None))
    augment = make_augmentation(name, SERIES.shape[1:], seed, series=True)
    images, times = (part.numpy() for part in augment(images, step, times=times))
    numbers, counts = images[:, :, 0, 0, 0].astype(int), np.isfinite(times).sum(axis=1)
    assert (np.isfinite(times) == (np.arange(13) < counts[:, None])).all()
    for row, count in zip(numbers, counts, strict=True):
        assert (row[count:] == row[count - 1]).all()
    return [row[:count] for row, count in zip(numbers, counts, strict=True)], times


@pytest.mark.parametrize("name", [*SELECTING, "+".join(SELECTING)])
def test_frames_that_stay_keep_their_order_their_times_and_the_last_one(name):
    kept, times = apply(name)
    for numbers, found, known in zip(kept, times, TIMES, strict=True):
        assert (np.diff(numbers) > 0).all()
        assert numbers[-1] == len(known) - 1
        assert len(numbers) >= min(2, len(known))
        np.testing.assert_allclose(found[: len(numbers)], known[numbers] - known[numbers[0]], atol=1e-5)
    assert any(len(numbers) < len(known) for numbers, known in zip(kept, TIMES, strict=True))


def test_half_of_the_frames_or_more_stay_when_some_are_dropped():
    kept, _ = apply("drop-frames")
    long = [numbers for numbers, length in zip(kept, LENGTHS, strict=True) if length == 12]
    shares = [len(numbers) / 12 for numbers in long]
    assert np.mean(shares) == pytest.approx((11 * 0.75 + 1) / 12, abs=0.1)
    assert {number for numbers in long for number in numbers} == set(range(12))


def test_a_later_start_is_within_the_first_half():
    kept, _ = apply("start-later")
    starts = {int(length): set() for length in range(1, 13)}
    for numbers, length in zip(kept, LENGTHS, strict=True):
        assert (np.diff(numbers) == 1).all()
        starts[int(length)].add(int(numbers[0]))
    assert starts[12] == set(range(7))
    assert (starts[1], starts[2], starts[3]) == ({0}, {0}, {0, 1})


def test_another_frame_rate_is_every_second_or_third_frame():
    kept, _ = apply("frame-rate")
    rates = {int(length): set() for length in range(2, 13)}
    for numbers, length in zip(kept, LENGTHS, strict=True):
        if length > 1:
            assert len(set(np.diff(numbers))) == 1
            assert numbers[0] < numbers[1] - numbers[0]
            rates[int(length)].add(int(numbers[1] - numbers[0]))
    assert rates[12] == {1, 2, 3}
    assert (rates[2], rates[3]) == ({1}, {1, 2})


def test_times_move_by_a_tenth_of_an_interval_and_keep_their_order():
    kept, times = apply("jitter-times")
    moved = []
    for numbers, found, known in zip(kept, times, TIMES, strict=True):
        assert numbers.tolist() == list(range(len(known)))
        found = found[: len(known)]
        assert found[0] == 0
        if len(known) > 1:
            # The first frame moves too, and times count from it.
            limit = 0.1 * np.sort(np.diff(known))[(len(known) - 2) // 2]
            assert np.abs(found - known).max() <= 2 * limit + 1e-5
            assert (np.diff(found) > 0).all()
            moved.append(np.abs(found[1:] - known[1:]).max() / limit)
    assert np.min(moved) > 0
    assert np.max(moved) > 1


def test_frames_at_one_time_stay_at_one_time():
    images, times = np.zeros((1, 4, 2, 1, 1)), np.array([[0, 1, 1, 3]], np.float32)
    _, moved = make_augmentation("jitter-times", (4, 2, 1, 1), 0, series=True)(images, 5, times=times)
    assert moved[0, 1] == moved[0, 2]


@pytest.mark.parametrize("name", [*TIME_OPERATIONS, "mirror+drop-frames+jitter-times"])
def test_it_follows_from_seed_and_step_alone_also_in_tf_data(name):
    split = make_series_data(16).splits["train"]
    images, times = network_inputs(split.images, slice(None))
    augment = make_augmentation(name, images.shape[1:], 3, series=True)
    eager = augment(images, 5, times=times)
    steps = tf.data.Dataset.from_tensor_slices([4, 5])
    other, again = steps.map(lambda step: augment(images, step, times=times))
    assert not np.array_equal(other[1], again[1], equal_nan=True) or not np.array_equal(other[0], again[0])
    np.testing.assert_allclose(eager[0], again[0], atol=1e-3)
    np.testing.assert_allclose(eager[1], again[1], atol=1e-6)
    np.testing.assert_array_equal(augment(images, 5, times=times)[1], eager[1])


def test_all_frames_of_a_series_move_alike():
    frame = np.random.default_rng(0).uniform(0, 255, (4, 1, 12, 12, 1)).astype(np.float32)
    images, times = frame.repeat(5, axis=1), np.arange(5, dtype=np.float32)[None].repeat(4, axis=0)
    augment = make_augmentation("drop-frames+mirror+contrast", images.shape[1:], 0, series=True)
    changed = augment(images, 5, times=times)[0].numpy()
    np.testing.assert_allclose(changed, changed[:, :1].repeat(5, axis=1), atol=1e-3)
    assert not np.allclose(changed, images)


def test_a_later_begin_of_training_continues_as_the_whole_stream_would():
    split = make_series_data().splits["train"]
    options = {"batch_size": 10, "seed": 3, "epochs": 2, "augmentation": "drop-frames+jitter-times+flip"}
    whole = list(training_batches(split, **options))
    rest = list(training_batches(split, first_epoch=1, **options))
    assert len(rest) == 3
    for (inputs, labels), (later, later_labels) in zip(whole[3:], rest, strict=True):
        for part, other in zip((*inputs, labels), (*later, later_labels), strict=True):
            np.testing.assert_array_equal(part, other)


@pytest.mark.parametrize("name", ["drop-frames", "mirror+jitter-times"])
def test_images_have_no_times_to_change(name):
    with pytest.raises(InputError, match=r"(drop|jitter)-\w+ changes the frames and times of series\. Rec.*6x6"):
        make_augmentation(name, (6, 6, 1), 0)


@pytest.mark.parametrize("name", ["flip-shift", "drop-frames+turn-right-angles", "flip-turn-shift"])
def test_series_are_not_moved_along_time(name):
    with pytest.raises(InputError, match=r"moves along the first axis, which in series is time\. Received: series"):
        make_augmentation(name, (6, 6, 6, 1), 0, series=True)


def test_a_run_on_images_refuses_time_operations_before_it_trains():
    split = make_series_data().splits["train"]
    images = Split(split.images[:][:, 0], split.labels)
    with pytest.raises(InputError, match="changes the frames and times of series"):
        training_batches(images, batch_size=4, seed=0, epochs=1, augmentation="frame-rate")
    with pytest.raises(InputError, match="moves along the first axis"):
        training_batches(split, batch_size=4, seed=0, epochs=1, augmentation="flip-shift")


def test_all_hosts_together_augment_series_as_one():
    name, (images, times) = "+".join(TIME_OPERATIONS), network_inputs(SERIES, slice(8))
    whole = make_augmentation(name, SERIES.shape[1:], 3, series=True)(images, 5, times=times)
    parts = [
        make_augmentation(name, SERIES.shape[1:], 3, series=True, host=host, hosts=2)(
            images[here], 5, times=times[here]
        )
        for host, here in enumerate((slice(4), slice(4, 8)))
    ]
    for found, expected in zip(zip(*parts, strict=True), whole, strict=True):
        np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-5)
