"""The one thread that uses the model, for one request after the other."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

import numpy as np

from keras_lnn.data.arrays import ImageArray, SeriesArray, as_series, take_images
from keras_lnn.saved.predictor import Predictor, batch_size_for
from keras_lnn.serving.limits import Deadline, Refused

_Result = TypeVar("_Result")
# A network is compiled once for each size of a batch, which takes time and memory that is not given back. Samples are
# therefore repeated up to the next size.
_BATCH_SIZES = (1, 8, 32)


class ModelThread:
    """A thread that uses a model for many requests.

    Requests are not predicted in common batches: measured on two cores, reading their files takes so much longer than
    predicting them that few ever wait for the model.

    Args:
        predictor: The model.
    """

    def __init__(self, predictor: Predictor) -> None:
        most = min(_BATCH_SIZES[-1], batch_size_for(predictor.signature.image_shape))
        self._sizes = [*(size for size in _BATCH_SIZES if size < most), most]
        self._predictor = predictor
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="model")

    def predict(self, images: ImageArray, deadline: Deadline) -> np.ndarray:
        """Returns the probabilities of samples.

        Args:
            images: Raw images, volumes or series.
            deadline: When the result is no longer waited for.
        """
        return self.call_in_parts(self._predict, images, deadline)

    def call_in_parts(
        self, function: Callable[[ImageArray], np.ndarray], images: ImageArray, deadline: Deadline
    ) -> np.ndarray:
        """Returns what a function gives for samples, one part of them at a time, so that other requests get their turn.

        Args:
            function: The function, which uses the model.
            images: The samples.
            deadline: When the result is no longer waited for.
        """
        size = self._sizes[-1]
        parts = [take_images(images, slice(start, start + size)) for start in range(0, len(images), size)]
        return np.concatenate([self.call(functools.partial(function, part), deadline) for part in parts])

    def call(self, function: Callable[[], _Result], deadline: Deadline) -> _Result:
        """Returns what a function gives that uses the model.

        Args:
            function: The function. Where it takes long it should call ``deadline.remaining`` again and again, which
                ends it once nobody waits for it: the thread cannot be stopped.
            deadline: When the result is no longer waited for.
        """
        deadline.remaining()
        future = self._pool.submit(function)

        def wait_for(seconds: float) -> None:
            if not wait([future], seconds).done:
                raise TimeoutError

        try:
            deadline.wait(wait_for)
        except Refused:
            future.cancel()
            raise
        return future.result()

    def warm_up(self) -> None:
        """Compiles the network for each size of a batch."""
        shape, unit = self._predictor.signature.image_shape, self._predictor.signature.time_unit
        for size in self._sizes:
            images: ImageArray = np.zeros((size, *shape), np.uint8)
            if unit is not None:
                frames = np.zeros(shape, np.uint8)
                images = SeriesArray.join([frames] * size, [np.arange(float(shape[0]))] * size, unit, shape[0])
            self.predict(images, Deadline(float("inf")))

    def stop(self) -> None:
        """Ends the thread after what it is doing; what waits is given up."""
        self._pool.shutdown(cancel_futures=True)

    def _predict(self, images: ImageArray) -> np.ndarray:
        size = next(size for size in self._sizes if size >= len(images))
        rows = np.minimum(np.arange(size), len(images) - 1)
        series = as_series(images)
        filled = np.asarray(images[rows]) if series is None else series.take(rows)
        return self._predictor.predict(filled)[: len(images)]
