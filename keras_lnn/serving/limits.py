"""What a server accepts, and the refusals of what it does not."""

from __future__ import annotations

import dataclasses
import queue
import threading
import time
from collections.abc import Callable
from typing import TypeVar

_Result = TypeVar("_Result")
MEBIBYTE = 2**20
# Whoever is refused for lack of room may ask again after so many seconds.
RETRY_AFTER_SECONDS = 2
# So many requests wait for each one that is worked on; more are refused.
_WAITING_FOR_EACH = 8
# Forms have a few fields, and JSON holds content as base64, which is a third larger.
_FORM_BYTES = 2**16
# Whoever waits finds out after so many seconds that a request was given up.
_WAITING_SECONDS = 0.1


class Refused(Exception):
    """A request that is not fulfilled, with one line that says why.

    Args:
        status: The HTTP status.
        message: The rule, what was received and what helps, in one line.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclasses.dataclass(frozen=True)
class Limits:
    """What is accepted of each request, and of all of them together.

    Args:
        upload_bytes: Most bytes of all files of a request.
        pixels: Most pixels or voxels that all files of a request may hold once they are decompressed.
        files: Most files of a request.
        timeout_seconds: Most seconds from the arrival of a request to its answer.
        parallel: Number of requests that are worked on at the same time.
    """

    upload_bytes: int = 64 * MEBIBYTE
    pixels: int = 2**26
    files: int = 1000
    timeout_seconds: float = 60.0
    parallel: int = 4

    @property
    def admitted(self) -> int:
        """Returns how many requests are worked on or wait; one more is refused."""
        return self.parallel * (1 + _WAITING_FOR_EACH)

    @property
    def form_bytes(self) -> int:
        """Returns the most bytes of a form with files: beside them its fields and the heads of its parts."""
        return self.upload_bytes + _FORM_BYTES + 512 * self.files

    @property
    def json_bytes(self) -> int:
        """Returns the most bytes of a request in JSON, which holds files as base64."""
        return self.upload_bytes * 4 // 3 + _FORM_BYTES + 512 * self.files


class Deadline:
    """The end of the time that a request has: a number of seconds, or as soon as its client has left.

    Args:
        seconds: From now on.
    """

    def __init__(self, seconds: float) -> None:
        self._allowed = seconds
        self._end = time.monotonic() + seconds
        self._given_up = threading.Event()

    def give_up(self) -> None:
        """Ends the time now, because nobody waits for the answer any more."""
        self._given_up.set()

    def remaining(self) -> float:
        """Returns the seconds that are left; raises an error where none are."""
        left = self._end - time.monotonic()
        if left <= 0 or self._given_up.is_set():
            raise self._refusal()
        return left

    def wait(self, get: Callable[[float], _Result]) -> _Result:
        """Returns what a function gives; raises an error where no time is left before it does.

        Args:
            get: Waits for at most so many seconds, and raises TimeoutError or queue.Empty after them.
        """
        while True:
            seconds = min(self.remaining(), _WAITING_SECONDS)
            try:
                return get(seconds)
            except (TimeoutError, queue.Empty):
                continue

    def _refusal(self) -> Refused:
        """Returns the refusal of a request whose time is over."""
        if self._given_up.is_set():
            return Refused(408, "A request must be waited for. Received: one whose client has left.")
        return Refused(
            504,
            f"A request must be answered within {self._allowed:g} seconds. Received: one that took longer. Send fewer"
            " files at a time, or start the server with a longer --timeout.",
        )
