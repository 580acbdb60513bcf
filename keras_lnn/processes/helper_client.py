"""The helper process as the program sees it: orders go to it, and each order's replies come back in a queue."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from typing import Any

_LONGEST_LINE = 200


class HelperClient:
    """The process that starts the others, and its replies about each of them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._files = contextlib.ExitStack()
        # What the helper prints, which explains a failure to start.
        self._messages = self._files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115, the stack closes it
        self.process = subprocess.Popen(
            [sys.executable, "-m", "keras_lnn.processes.helper"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._messages,
        )
        assert self.process.stdin is not None  # both are pipes
        assert self.process.stdout is not None
        self._orders, self._reports = self.process.stdin, self.process.stdout
        self._lock = threading.Lock()
        self._replies: dict[int, queue.SimpleQueue[dict[str, int]]] = {}
        self._gone: dict[str, int] | None = None
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    def is_alive(self) -> bool:
        """Returns whether the helper still runs."""
        return self.process.poll() is None

    def ask(self, number: int, order: Mapping[str, Any]) -> queue.SimpleQueue[dict[str, int]]:
        """Sends an order and returns the queue that receives the replies to it."""
        replies: queue.SimpleQueue[dict[str, int]] = queue.SimpleQueue()
        with self._lock:
            self._replies[number] = replies
            if self._gone is not None:
                replies.put(self._gone)
            with contextlib.suppress(OSError):  # the helper has died, and its status says how
                self._orders.write(json.dumps({**order, "number": number}).encode() + b"\n")
                self._orders.flush()
        return replies

    def last_message(self) -> str:
        """Returns the last line that the helper has printed."""
        self._messages.seek(0)
        return last_line(self._messages.read().decode(errors="replace"))

    def close(self) -> None:
        """Ends the helper, which ends its processes."""
        with contextlib.suppress(OSError):
            self._orders.close()
        with self._lock:
            if not self._replies:  # it has no processes to end, and may still be importing
                self.process.kill()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(5)
        self._reports.close()
        self._files.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            for line in self._reports:
                reply = json.loads(line)
                with self._lock:
                    waiting = self._replies[reply["number"]]
                    if "status" in reply:
                        del self._replies[reply["number"]]
                waiting.put(reply)
        gone = {"status": self.process.wait(), "gone": True}
        with self._lock:
            self._gone = gone
            for waiting in self._replies.values():
                waiting.put(gone)


def last_line(text: str) -> str:
    """Returns the last line of a text that is not empty, cut if it is long."""
    return next((line.strip()[:_LONGEST_LINE] for line in reversed(text.split("\n")) if line.strip()), "")
