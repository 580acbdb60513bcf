"""The processes that read uploaded files: as many as the machine is kept busy with, and replaced when they end."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from typing import IO, Any

from keras_lnn.serving import reading
from keras_lnn.serving.limits import Deadline, Limits, Refused

_STARTING_SECONDS = 120.0


class Readers:
    """Processes that read uploaded files.

    Args:
        limits: What is accepted.
        count: Number of processes; that of the processors if not given.
    """

    def __init__(self, limits: Limits, count: int | None = None) -> None:
        self._idle: queue.SimpleQueue[_Reader] = queue.SimpleQueue()
        count = count or max(1, min(os.cpu_count() or 1, limits.parallel))
        self._readers = [_Reader(limits.pixels) for _ in range(count)]
        for reader in self._readers:
            self._idle.put(reader)

    def wait(self) -> None:
        """Waits until all processes have started."""
        for reader in self._readers:
            reader.wait(Deadline(_STARTING_SECONDS))

    def obey(self, order: dict[str, Any], deadline: Deadline) -> dict[str, Any]:
        """Returns what a process replies to an order.

        Args:
            order: The ``work`` and what belongs to it.
            deadline: When the process is stopped.
        """
        reader = deadline.wait(lambda seconds: self._idle.get(timeout=seconds))
        try:
            reply = reader.ask(order, deadline)
        finally:
            self._idle.put(reader)
        if "error" in reply:
            raise Refused(reply["status"], reply["error"])
        return reply

    def stop(self) -> None:
        """Ends all processes."""
        for reader in self._readers:
            reader.stop()


class _Reader:
    """One process, which is started again when it has ended or was stopped."""

    def __init__(self, most_pixels: int) -> None:
        self._most_pixels = most_pixels
        self._process: subprocess.Popen[bytes] | None = None
        self._replies: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._ready = False
        self._start()

    def ask(self, order: dict[str, Any], deadline: Deadline) -> dict[str, Any]:
        if self._process is None or self._process.poll() is not None:
            self._start()
        self.wait(deadline)
        deadline.remaining()
        try:
            self._send(order)
            return deadline.wait(self._receive)
        except Refused:
            self._start()
            raise
        except (OSError, ValueError):
            self._start()
            message = "Every file must be readable. Received: one that crashes its decoder. Leave it out."
            raise Refused(422, message) from None

    def wait(self, deadline: Deadline) -> None:
        """Waits until the process can be asked."""
        if self._ready:
            return
        try:
            deadline.wait(self._receive)
        except ValueError:
            message = "The processes that read files must run. Received: one that ends as soon as it begins."
            raise Refused(500, f"{message} Check the limits of memory and of processes.") from None
        self._ready = True

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()

    def _start(self) -> None:
        self.stop()
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        self._process = subprocess.Popen(
            # Run as a module, it would be imported twice if its package imports it, with a warning.
            [sys.executable, "-c", f"from {reading.__name__} import work; work()"],
            env=os.environ | {"PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C ends the server, which ends its readers
        )
        self._ready, self._replies = False, queue.SimpleQueue()
        threading.Thread(target=_forward, args=(self._process.stdout, self._replies), daemon=True).start()
        self._send({"pixels": self._most_pixels})

    def _send(self, content: dict[str, Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None  # it is a pipe
        self._process.stdin.write(json.dumps(content).encode() + b"\n")
        self._process.stdin.flush()

    def _receive(self, seconds: float) -> dict[str, Any]:
        """Returns the next reply; raises TimeoutError where it takes longer."""
        try:
            line = self._replies.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError from None
        if not line:
            raise ValueError("The process has ended.")
        return json.loads(line)


def _forward(stream: IO[bytes], lines: queue.SimpleQueue[bytes]) -> None:
    """Puts each line of a stream into a queue, and an empty one at its end."""
    with contextlib.suppress(OSError, ValueError):  # closed
        for line in stream:
            lines.put(line)
    lines.put(b"")
