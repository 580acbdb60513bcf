"""The one thread that uses the model: it predicts what waits in common batches, and makes maps in between."""

from __future__ import annotations

import collections
import dataclasses
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, TypeVar

import numpy as np

from keras_lnn.data.arrays import ImageArray, SeriesArray, as_series, take_images
from keras_lnn.saved.own_samples import join_series
from keras_lnn.saved.predictor import Predictor, batch_size_for
from keras_lnn.serving.limits import Deadline

_Result = TypeVar("_Result")
# A network is compiled once for each size of a batch; samples are added to reach the next one.
BATCH_SIZES = (1, 8, 32)


@dataclasses.dataclass
class _Job:
    """Samples to predict, or a function to call."""

    deadline: Deadline
    images: ImageArray | None = None
    function: Callable[[], Any] | None = None
    result: Future[Any] = dataclasses.field(default_factory=Future)


class ModelThread:
    """A thread that uses a model for many requests.

    Args:
        predictor: The model.
        sizes: Sizes of batches.
    """

    def __init__(self, predictor: Predictor, sizes: Sequence[int] = BATCH_SIZES) -> None:
        most = min(max(sizes), batch_size_for(predictor.signature.image_shape))
        self._sizes = sorted({*(size for size in sizes if size < most), most})
        self._predictor = predictor
        self._jobs: collections.deque[_Job] = collections.deque()
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    def predict(self, images: ImageArray, deadline: Deadline) -> np.ndarray:
        """Returns the probabilities of samples, in common batches with those of other requests.

        Args:
            images: Raw images, volumes or series.
            deadline: When the result is no longer waited for.
        """
        size = self._sizes[-1]
        parts = [take_images(images, slice(start, start + size)) for start in range(0, len(images), size)]
        # One part of a request at a time, so that others get their turn.
        return np.concatenate([self._wait(_Job(deadline, images=part)) for part in parts])

    def call(self, function: Callable[[], _Result], deadline: Deadline) -> _Result:
        """Returns what a function gives that uses the model.

        Args:
            function: The function.
            deadline: When the result is no longer waited for.
        """
        return self._wait(_Job(deadline, function=function))

    def warm_up(self) -> None:
        """Compiles the network for each size of a batch."""
        shape, unit = self._predictor.signature.image_shape, self._predictor.signature.time_unit
        for size in self._sizes:
            images: ImageArray = np.zeros((size, *shape), np.uint8)
            if unit is not None:
                frames = np.zeros((shape[0], *shape[1:]), np.uint8)
                images = SeriesArray.join([frames] * size, [np.arange(float(shape[0]))] * size, unit, shape[0])
            self.call(lambda images=images: self._predictor.predict(images), Deadline(float("inf")))

    def stop(self) -> None:
        """Ends the thread after what it is doing."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join()
        for job in self._jobs:
            job.result.cancel()

    def _wait(self, job: _Job) -> Any:
        left = job.deadline.remaining()
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()
        try:
            return job.result.result(timeout=min(left, threading.TIMEOUT_MAX))
        except FutureTimeout:
            job.result.cancel()
            raise job.deadline.refusal() from None

    def _work(self) -> None:
        while True:
            jobs = self._take()
            if not jobs:
                return
            try:
                results = self._run(jobs)
            except Exception as error:
                for job in jobs:
                    job.result.set_exception(error)
            else:
                for job, result in zip(jobs, results, strict=True):
                    job.result.set_result(result)

    def _take(self) -> list[_Job]:
        """Returns the next jobs to do together, none of which has been given up; an empty list at the end."""
        with self._changed:
            while True:
                while not self._jobs and not self._stopped:
                    self._changed.wait()
                if self._stopped:
                    return []
                taken: list[_Job] = []
                count = 0
                while self._jobs and (not taken or self._joins(taken, count, self._jobs[0])):
                    job = self._jobs.popleft()
                    if not job.deadline.has_passed and job.result.set_running_or_notify_cancel():
                        taken.append(job)
                        count += 0 if job.images is None else len(job.images)
                if taken:
                    return taken

    def _joins(self, taken: Sequence[_Job], count: int, job: _Job) -> bool:
        if job.images is None or taken[0].images is None:
            return False
        return count + len(job.images) <= self._sizes[-1]

    def _run(self, jobs: Sequence[_Job]) -> list[Any]:
        if jobs[0].function is not None:
            return [jobs[0].function()]
        images = [job.images for job in jobs if job.images is not None]
        joined = _join(images)
        count = len(joined)
        probabilities = self._predictor.predict(_fill(joined, next(size for size in self._sizes if size >= count)))
        ends = np.cumsum([len(each) for each in images])
        return [probabilities[end - len(each) : end] for each, end in zip(images, ends, strict=True)]


def _join(parts: Sequence[ImageArray]) -> ImageArray:
    if len(parts) == 1:
        return parts[0]
    series = [found for part in parts if (found := as_series(part)) is not None]
    return join_series(series) if series else np.concatenate([np.asarray(part[:]) for part in parts])


def _fill(images: ImageArray, size: int) -> ImageArray:
    """Returns samples of which the first one is repeated up to a number; its results are not asked for."""
    rows = np.arange(size)
    rows[rows >= len(images)] = 0
    if size == len(images):
        return images
    series = as_series(images)
    return np.asarray(images[rows]) if series is None else series.take(rows)
