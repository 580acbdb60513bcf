"""The thread of a served model: few sizes of batches, in turn and in time."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from quick_predictors import Brightness, LastTime

from keras_lnn.data.arrays import SeriesArray
from keras_lnn.serving.limits import Deadline, Refused
from keras_lnn.serving.model_thread import ModelThread

SOON = 60.0


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
    thread = ModelThread(predictor)
    yield predictor, thread
    predictor.go.set()
    thread.stop()


def images_of(*values):
    return np.stack([np.full((16, 16, 1), value, np.uint8) for value in values])


def test_batches_have_few_sizes_and_each_sample_gets_its_own_prediction(counting):
    predictor, thread = counting
    predictor.go.set()
    for count in (1, 3, 8, 32, 70):
        many = images_of(*range(20, 20 + count))
        expected = Brightness("dark", "bright").predict(many)
        np.testing.assert_array_equal(thread.predict(many, Deadline(SOON)), expected)
    assert predictor.sizes == [1, 8, 8, 32, 32, 32, 8]


def test_a_request_that_is_given_up_is_not_predicted(counting):
    predictor, thread = counting
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(thread.predict, images_of(1), Deadline(SOON))
        predictor.begun.wait(SOON)
        with pytest.raises(Refused, match=r"within 0\.05 seconds"):
            thread.predict(images_of(2), Deadline(0.05))
        predictor.go.set()
        first.result()
    thread.call(lambda: None, Deadline(SOON))
    assert predictor.sizes == [1]


def test_a_failure_goes_to_the_one_who_asked_and_the_thread_goes_on(counting):
    predictor, thread = counting
    predictor.go.set()
    with pytest.raises(RuntimeError, match="bad luck"):
        thread.predict(images_of(13), Deadline(SOON))
    assert len(thread.predict(images_of(14), Deadline(SOON))) == 1
    assert thread.call(lambda: "called", Deadline(SOON)) == "called"


def test_series_are_filled_up_with_their_times():
    predictor = LastTime()
    thread = ModelThread(predictor)
    frames = [np.full((count, 5, 5, 1), 7, np.uint8) for count in (2, 4)]
    series = SeriesArray.join(frames, [np.arange(len(one)) * 3.0 for one in frames], "minutes", 4)
    found = thread.predict(series, Deadline(SOON))
    np.testing.assert_allclose(found, LastTime().predict(series))
    thread.warm_up()
    assert [len(read) for read in predictor.read] == [8, 1, 8, 32]
    thread.stop()
