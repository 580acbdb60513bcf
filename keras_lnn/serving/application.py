"""The HTTP interface: the page, what the model is, and predictions."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import shutil
import tempfile
from collections.abc import AsyncGenerator, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keras_lnn.serving.limits import RETRY_AFTER_SECONDS, Deadline, Refused
from keras_lnn.serving.origins import HEADERS, require_own_host, require_own_origin
from keras_lnn.serving.receiving import read_json, receive
from keras_lnn.serving.service import Service
from keras_lnn.serving.uploads import Upload

_PAGE = Path(__file__).parent / "page"
_STYLE = Path(__file__).parents[1] / "pages" / "templates" / "style.css"
_SAFE_METHODS = ("GET", "HEAD")
_logger = logging.getLogger(__name__)


def make_application(service: Service, folder: Path, names: Collection[str] = ()) -> Starlette:
    """Returns the application.

    Args:
        service: What answers.
        folder: Folder for the files of requests.
        names: Names of the server beside ``localhost`` and addresses.
    """
    desk = _Desk(service, folder)
    style = _STYLE.read_bytes() + (_PAGE / "page.css").read_bytes()
    description = json.dumps(service.description, ensure_ascii=False).encode()
    contents = {
        "/": ((_PAGE / "page.html").read_bytes(), "text/html; charset=utf-8"),
        "/page.css": (style, "text/css; charset=utf-8"),
        "/page.js": ((_PAGE / "page.js").read_bytes(), "text/javascript; charset=utf-8"),
        "/model": (description, "application/json"),
        "/healthz": (b'{"status": "ok"}', "application/json"),
    }
    routes = [Route(path, _give(*content)) for path, content in contents.items()]

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        yield
        desk.close()

    handlers: dict[Any, Any] = {Refused: _refuse, HTTPException: _refuse_http}
    predict = Route("/predict", desk.predict, methods=["POST"])
    application = Starlette(routes=[*routes, predict], exception_handlers=handlers, lifespan=lifespan)
    application.add_middleware(_Guard, names=frozenset(name.lower() for name in names))
    return application


class _Desk:
    """Receives requests for predictions and lets some of them wait."""

    def __init__(self, service: Service, folder: Path) -> None:
        self._service = service
        self._folder = folder
        self._admitted = 0
        self._pool = ThreadPoolExecutor(service.limits.parallel, thread_name_prefix="request")

    async def predict(self, request: Request) -> Response:
        limits = self._service.limits
        if self._admitted >= limits.admitted:
            raise Refused(503, f"At most {limits.admitted} requests may wait. Received: one more. Ask again later.")
        deadline = Deadline(limits.timeout_seconds)
        self._admitted += 1
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        try:
            try:
                upload = await asyncio.wait_for(receive(request, folder, limits), limits.timeout_seconds)
            except TimeoutError:
                raise Refused(
                    408, f"A request must be whole within {limits.timeout_seconds:g} seconds. Received: a part of one."
                ) from None
            # Were it cancelled, its thread would go on in a folder that is removed.
            work = asyncio.get_running_loop().run_in_executor(self._pool, self._answer, upload, deadline)
            leaving = asyncio.ensure_future(_wait_until_left(request))
            try:
                await asyncio.wait([work, leaving], return_when=asyncio.FIRST_COMPLETED)
            finally:
                leaving.cancel()
            if not work.done():
                deadline.give_up()
            content = await asyncio.shield(work)
        finally:
            deadline.give_up()
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            self._admitted -= 1
        return Response(content, media_type="application/json")

    def _answer(self, received: Upload | Path, deadline: Deadline) -> bytes:
        deadline.remaining()
        upload = read_json(received, self._service.limits) if isinstance(received, Path) else received
        return self._service.answer(upload, deadline)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


async def _wait_until_left(request: Request) -> None:
    """Returns once the client of a request has closed its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _Guard:
    """Refuses requests of pages of other sites, and gives every answer the headers that protect its page."""

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        is_started = False

        async def send_guarded(message: Message) -> None:
            nonlocal is_started
            is_started = True
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        headers = Headers(scope=scope)
        try:
            if len(headers.getlist("host")) > 1:
                raise Refused(400, "A request must have one Host header. Received: several.")
            require_own_host(headers, self._names)
            if scope["method"] not in _SAFE_METHODS:
                require_own_origin(headers)
        except Refused as error:
            await refusal(error)(scope, receive, send_guarded)
            return
        try:
            await self._app(scope, receive, send_guarded)
        except Exception:
            if is_started:
                raise
            _logger.exception("A request failed.")
            error = Refused(500, "The server failed at this request. Its terminal shows why.")
            await refusal(error)(scope, receive, send_guarded)


def refusal(error: Refused) -> Response:
    """Returns the response of a refused request."""
    response = Response(
        json.dumps({"error": error.message, "status": error.status}, ensure_ascii=False),
        error.status,
        media_type="application/json",
    )
    if error.status == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def _give(content: bytes, media_type: str) -> Any:
    async def give(_: Request) -> Response:
        return Response(content, media_type=media_type)

    return give


async def _refuse(_: Request, error: Refused) -> Response:
    return refusal(error)


async def _refuse_http(_: Request, error: HTTPException) -> Response:
    message = f"{error.detail}. The addresses are /, /healthz, /model and /predict."
    response = refusal(Refused(error.status_code, message))
    response.headers.update(error.headers or {})
    return response
