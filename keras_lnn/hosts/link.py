"""Connections between the hosts of a run: plain values in a fixed order, and the end of all when one of them ends."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from keras_lnn.errors import InputError
from keras_lnn.hosts.place import Place

# A host that is lost without a word, such as by a power cut, is noticed after a minute (the last is in milliseconds).
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 60_000}
_SECONDS_BETWEEN_TRIES = 0.2
_SECONDS_FOR_A_GREETING = 10.0


def end_process(message: str) -> None:
    """Ends this process with one line, at once: its main thread may wait for another host, and nobody can wake it."""
    print(f"error: {message}", file=sys.stderr, flush=True)
    os._exit(2)


class _Connection:
    """A connection to one host, whose messages are JSON values, one per line."""

    def __init__(self, rank: int, connected: socket.socket) -> None:
        self.rank = rank
        self.socket = connected
        self.lines = connected.makefile("r", encoding="utf-8", newline="\n")
        self.received: queue.SimpleQueue[Any] = queue.SimpleQueue()
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):  # they have other names on some systems
                connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def send(self, **message: Any) -> None:
        self.socket.sendall(json.dumps(message).encode() + b"\n")

    def read(self, seconds: float | None) -> dict[str, Any]:
        """Returns the next message; raises OSError if there is none."""
        self.socket.settimeout(seconds)
        line = self.lines.readline()
        try:
            message = json.loads(line)
        except ValueError:
            raise ConnectionError("closed") from None
        if not isinstance(message, dict):
            raise ConnectionError("not a message")
        return message

    def close(self) -> None:
        # A thread that reads is woken first, since it holds the lock that closing needs.
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.lines.close()
        self.socket.close()


class HostLink:
    """The connections of this host: those of host 0 to all others, or that of another host to host 0.

    When a host fails or is lost, all others end with one line.

    Args:
        place: The place of this host.
        wait_seconds: How long hosts wait for one another at the start.
        end: Called with a line if another host is lost; it must not return to the run.
    """

    def __init__(self, place: Place, wait_seconds: float = 300.0, end: Callable[[str], None] = end_process) -> None:
        self.place = place
        self.end = end
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._connections = self._await_others(wait_seconds) if place.rank == 0 else [self._join(wait_seconds)]
        for connection in self._connections:
            threading.Thread(target=self._listen, args=(connection,), daemon=True).start()

    @property
    def is_open(self) -> bool:
        """Returns whether the hosts still need each other."""
        return not self._closed.is_set()

    def share(self, value: Any) -> Any:
        """Returns host 0's value on all hosts."""
        if self.place.rank:
            return self._connections[0].received.get()
        self._send_all(value=value)
        return value

    def gather(self, value: Any) -> list[Any]:
        """Returns the values of all hosts, by rank, on host 0, and nothing on the others."""
        if self.place.rank:
            self._send_all(value=value)
            return []
        return [value, *(connection.received.get() for connection in self._connections)]

    def close(self) -> None:
        """Ends the connections, after which another host may end without harm."""
        with self._lock:
            if self._closed.is_set():
                return
            self._closed.set()
        self._send_all(end=True)
        self._disconnect()

    def fail(self, reason: str) -> None:
        """Sends the reason why this host failed to all others, so that they end."""
        with self._lock:
            if self._closed.is_set():
                return
            self._closed.set()
        self._send_all(failed=reason)
        self._disconnect()

    def _disconnect(self) -> None:
        for connection in self._connections:
            connection.close()

    def _send_all(self, **message: Any) -> None:
        for connection in self._connections:
            with contextlib.suppress(OSError):  # that it is lost is noticed where it is read from
                connection.send(**message)

    def _listen(self, connection: _Connection) -> None:
        """Takes messages from another host until it ends."""
        reason = ""
        try:
            while True:
                message = connection.read(None)
                if "end" in message:
                    return
                if "failed" in message:
                    reason = message["failed"]
                    break
                connection.received.put(message["value"])
        except (OSError, ValueError, KeyError):
            pass
        with self._lock:
            if self._closed.is_set():
                return
            self._closed.set()
        about = reason or f"The run needs all of its hosts. Received: host {connection.rank} was lost."
        if not reason:
            about += " Start the command with --resume and the run's folder on all hosts."
        for other in self._connections:
            if other is not connection:
                with contextlib.suppress(OSError):
                    other.send(failed=about)
        self._disconnect()
        self.end(about)

    def _await_others(self, seconds: float) -> list[_Connection]:
        """Returns the connections of host 0, by rank, once all others are there."""
        place, found = self.place, dict[int, _Connection]()
        try:
            both = socket.has_dualstack_ipv6()
            family = socket.AF_INET6 if both else socket.AF_INET
            server = socket.create_server(("", place.port), family=family, dualstack_ipv6=both, backlog=place.count)
        except OSError as error:
            raise InputError(
                f"The port of --coordinator must be free on host 0. Received: {place.port} ({error.strerror}). Choose"
                " another one, the same on each host."
            ) from None
        with server:
            until = time.monotonic() + seconds
            while len(found) < place.count - 1:
                server.settimeout(max(until - time.monotonic(), 0.01))
                try:
                    connected, _ = server.accept()
                except TimeoutError:
                    missing = ", ".join(str(rank) for rank in range(1, place.count) if rank not in found)
                    self._refuse(
                        found,
                        f"All {place.count} hosts must be there within {seconds:g} s. Received: no host {missing}."
                        f" Start the same command there, and check that it reaches {place.address}:{place.port}.",
                    )
                self._greet(_Connection(0, connected), found)
            for connection in found.values():
                connection.send(welcome=True)
        return [found[rank] for rank in sorted(found)]

    def _greet(self, connection: _Connection, found: dict[int, _Connection]) -> None:
        """Adds a connection to those found, or closes it if it is not from a host of a run."""
        try:
            hello = connection.read(_SECONDS_FOR_A_GREETING)
            rank, count = int(hello["rank"]), int(hello["count"])
        except (OSError, ValueError, KeyError, TypeError):
            connection.close()
            return
        reason = ""
        if count != self.place.count:
            reason = (
                f"--hosts must be the same on each host. Received: {self.place.count} on host 0 and {count} on host"
                f" {rank}. Correct one."
            )
        elif rank in found or not 0 < rank < count:
            reason = (
                f"--host-rank must be another number on each host. Received: {rank} on two of them. Give the numbers"
                f" from 0 to {count - 1}."
            )
        if reason:
            self._refuse({**found, -1: connection}, reason)
        connection.rank = rank
        found[rank] = connection

    def _refuse(self, found: dict[int, _Connection], reason: str) -> None:
        """Sends the reason why the run cannot begin to the hosts that are there, and raises it."""
        for connection in found.values():
            with contextlib.suppress(OSError):
                connection.send(failed=reason)
            connection.close()
        raise InputError(reason)

    def _join(self, seconds: float) -> _Connection:
        """Returns the connection to host 0, once all hosts are there."""
        place, until = self.place, time.monotonic() + seconds
        while True:
            try:
                connected = socket.create_connection((place.address, place.port), timeout=_SECONDS_FOR_A_GREETING)
                break
            except OSError as error:
                if time.monotonic() > until:
                    raise InputError(
                        f"Host 0 must be reached within {seconds:g} s. Received: {place.address}:{place.port}"
                        f" ({error.strerror or error}). Start the same command there with --host-rank 0, or correct"
                        " --coordinator."
                    ) from None
                time.sleep(_SECONDS_BETWEEN_TRIES)
        connection = _Connection(0, connected)
        try:
            connection.send(rank=place.rank, count=place.count)
            answer = connection.read(max(until - time.monotonic(), 1.0) + _SECONDS_FOR_A_GREETING)
        except OSError:
            answer = {"failed": f"Host 0 must wait for the others. Received: {place.address}:{place.port} without one."}
        if "failed" in answer:
            connection.close()
            raise InputError(str(answer["failed"]))
        return connection
