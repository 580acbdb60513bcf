"""The thread of a served model: what waits is predicted together, in order and in time."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from quick_predictors import Brightness, LastTime

from keras_lnn.data.arrays import SeriesArray
from keras_lnn.serving.batching import ModelThread
from keras_lnn.serving.limits import Deadline, Refused

SOON = 10.0


class Counting(Brightness):
    """Keeps the sizes of its batches, and waits before the first one."""

    def __init__(self):
        super().__init__("dark", "bright")
        self.sizes, self.go, self.begun = [], threading.Event(), threading.Event()

    def predict(self, images):
        self.begun.set()
        self.go.wait(SOON)
        self.sizes.append(len(images))
        if images.max() == 13:
            raise RuntimeError("bad luck")
        return super().predict(images)


@pytest.fixture
def counting():
    predictor = Counting()
    thread = ModelThread(predictor, (1, 4, 8))
    yield predictor, thread
    predictor.go.set()
    thread.stop()


def images_of(*values):
    return np.stack([np.full((16, 16, 1), value, np.uint8) for value in values])


def wait_for(thread, count):
    for _ in range(10_000):
        if len(thread._jobs) == count:
            return
        threading.Event().wait(0.001)
    raise AssertionError(len(thread._jobs))


def test_what_waits_is_predicted_together_and_each_gets_its_own(counting):
    predictor, thread = counting
    expected = Brightness("dark", "bright")
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(thread.predict, images_of(200), Deadline(SOON))
        predictor.begun.wait(SOON)
        parts = [images_of(*range(20 * place, 20 * place + place + 1)) for place in range(3)]
        waiting = [pool.submit(thread.predict, part, Deadline(SOON)) for part in parts]
        wait_for(thread, 3)
        predictor.go.set()
        for part, result in zip([images_of(200), *parts], [first, *waiting], strict=True):
            np.testing.assert_array_equal(result.result(), expected.predict(part))
    # One, then six of three requests, filled up to eight.
    assert predictor.sizes == [1, 8]


def test_many_samples_are_predicted_in_parts(counting):
    predictor, thread = counting
    predictor.go.set()
    many = images_of(*range(20, 41))
    np.testing.assert_array_equal(thread.predict(many, Deadline(SOON)), Brightness("dark", "bright").predict(many))
    assert predictor.sizes == [8, 8, 8]


def test_a_request_that_is_given_up_is_not_predicted(counting):
    predictor, thread = counting
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(thread.predict, images_of(1), Deadline(SOON))
        predictor.begun.wait(SOON)
        with pytest.raises(Refused, match=r"within 0\.05 seconds"):
            thread.predict(images_of(2), Deadline(0.05))
        predictor.go.set()
        first.result()
    thread.call(lambda: None, Deadline(SOON))
    assert predictor.sizes == [1]


def test_a_failure_goes_to_those_who_asked_and_the_thread_goes_on(counting):
    predictor, thread = counting
    predictor.go.set()
    with pytest.raises(RuntimeError, match="bad luck"):
        thread.predict(images_of(13), Deadline(SOON))
    assert len(thread.predict(images_of(14), Deadline(SOON))) == 1
    assert thread.call(lambda: "called", Deadline(SOON)) == "called"


def test_series_are_joined_with_their_times():
    predictor = LastTime()
    thread = ModelThread(predictor, (1, 4))
    frames = [np.full((count, 5, 5, 1), 7, np.uint8) for count in (2, 4)]
    series = [SeriesArray.join([one], [np.arange(len(one)) * 3.0], "minutes", 4) for one in frames]
    held = threading.Event()
    with ThreadPoolExecutor(3) as pool:
        blocked = pool.submit(thread.call, lambda: held.wait(SOON), Deadline(SOON))
        results = [pool.submit(thread.predict, one, Deadline(SOON)) for one in series]
        while len(thread._jobs) < 2:
            held.wait(0.001)
        held.set()
        assert blocked.result()
        found = [result.result() for result in results]
    np.testing.assert_allclose(found, [LastTime().predict(one) for one in series])
    assert [len(read) for read in predictor.read] == [4]
    thread.stop()
