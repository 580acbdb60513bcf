"""The server process: its socket, its connections and its end."""

from __future__ import annotations

import asyncio
import json
import socket
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from keras_lnn.errors import EnvironmentFault, InputError
from keras_lnn.serving.service import Service

_EXTRA = ("starlette", "uvicorn", "python_multipart")
# Connections beside those of requests that are worked on or wait.
_MORE_CONNECTIONS = 200
_IDLE_SECONDS = 15
_LONGEST_HEAD = 2**14


def require_extra() -> None:
    """Checks that the packages of the extra ``serve`` are installed."""
    import importlib.util

    missing = [name for name in _EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise EnvironmentFault(
            f"A server needs the packages of an extra. Received: an environment without {', '.join(missing)}. Install"
            " them: pip install keras-lnn[serve]."
        )


def open_socket(host: str, port: int) -> socket.socket:
    """Returns a socket that listens.

    Args:
        host: Address or name of this machine.
        port: The port; 0 for any that is free.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # With its protocol named, answers are sent at once; else their two parts wait 40 ms for each other.
        opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as error:
        raise InputError(f"--host must be an address of this machine. Received: {host} ({error.strerror}).") from None
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(128)
    except OSError as error:
        opened.close()
        raise InputError(
            f"The server needs a free port. Received: {host} port {port} ({error.strerror}). Choose another --port, or"
            " 0 for any."
        ) from None
    return opened


def name_address(opened: socket.socket) -> str:
    """Returns the address of the page of a server.

    Args:
        opened: Its socket.
    """
    host, port = opened.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def make_server(service: Service, folder: Path, names: Collection[str] = ()) -> Any:
    """Returns a uvicorn server, whose ``run`` takes sockets.

    Args:
        service: What answers.
        folder: Folder for the files of requests.
        names: Names of the server beside ``localhost`` and addresses.
    """
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol

    from keras_lnn.serving.application import make_application

    class Protocol(H11Protocol):
        """Closes connections that send no request, and refuses broken ones in JSON."""

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self.timeout_head_task = self.loop.call_later(_IDLE_SECONDS, self._close_if_silent)

        def connection_lost(self, exc: Exception | None) -> None:
            self.timeout_head_task.cancel()
            super().connection_lost(exc)

        def _close_if_silent(self) -> None:
            if self.scope is None:
                self.transport.abort()

        def send_400_response(self, msg: str) -> None:
            content = json.dumps({"error": "A request must be HTTP. Received: something else.", "status": 400}).encode()
            head = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nx-content-type-options: nosniff\r\n"
            self.transport.write(
                f"{head}content-length: {len(content)}\r\nconnection: close\r\n\r\n".encode() + content
            )
            self.transport.close()

    config = uvicorn.Config(
        make_application(service, folder, names),
        http=Protocol,
        ws="none",
        lifespan="on",
        loop="asyncio",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=service.limits.admitted + _MORE_CONNECTIONS,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=_LONGEST_HEAD,
    )
    return uvicorn.Server(config)


def serve(
    service: Service,
    opened: socket.socket,
    names: Collection[str] = (),
    started: Callable[[Any], None] | None = None,
) -> None:
    """Answers requests until it is interrupted, and then removes all files.

    Args:
        service: What answers.
        opened: The socket, which is closed at the end.
        names: Names of the server beside ``localhost`` and addresses.
        started: Called with the server before it runs.
    """
    with tempfile.TemporaryDirectory(prefix="keras-lnn-serve-", ignore_cleanup_errors=True) as folder, opened:
        server = make_server(service, Path(folder), names)
        try:
            if started is not None:
                started(server)
            server.run(sockets=[opened])
        finally:
            service.stop()
