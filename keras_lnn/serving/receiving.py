"""Requests with files, received piece by piece into a folder."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

from python_multipart.exceptions import FormParserError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from keras_lnn.serving.limits import MEBIBYTE, Limits, Refused
from keras_lnn.serving.uploads import Asked, Upload, clean_label

FORM, JSON = "multipart/form-data", "application/json"
_BODY = "request.json"
_MOST_FIELDS, _LONGEST_FIELD = 20, 2**17


async def receive(request: Request, folder: Path, limits: Limits) -> Upload | Path:
    """Returns the files of a request, or the file of a request in JSON that :func:`read_json` reads.

    Args:
        request: The request.
        folder: An empty folder.
        limits: What is accepted.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (FORM, JSON):
        raise Refused(415, f"A request must be {FORM} or {JSON}. Received: {clean_label(kind) or 'neither'}.")
    most = limits.form_bytes if kind == FORM else limits.json_bytes
    try:
        promised = int(request.headers.get("content-length", 0))
    except ValueError:
        raise Refused(400, "Content-Length must be a number. Received: another text.") from None
    if promised > most:
        raise too_large(limits)
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(415, "A request must not be compressed. Received: one with a Content-Encoding. Send it as it is.")
    stream = _limited(request, most, limits)
    try:
        return await (_receive_form(request, stream, folder, limits) if kind == FORM else _receive_json(stream, folder))
    except ClientDisconnect:
        raise Refused(400, "A request must be whole. Received: one that ended early.") from None


def too_large(limits: Limits) -> Refused:
    """Returns the refusal of too many bytes."""
    return Refused(
        413,
        f"The files of a request must have at most {limits.upload_bytes / MEBIBYTE:g} MB. Received: more. Send fewer or"
        " smaller files, or start the server with a larger --max-upload-mb.",
    )


async def _limited(request: Request, most: int, limits: Limits) -> AsyncGenerator[bytes]:
    received = 0
    async for piece in request.stream():
        received += len(piece)
        if received > most:
            raise too_large(limits)
        yield piece


async def _receive_json(stream: AsyncGenerator[bytes], folder: Path) -> Path:
    path = folder / _BODY
    with open(path, "wb") as into:
        async for piece in stream:
            await asyncio.to_thread(into.write, piece)
    return path


class _WholeForms(MultiPartParser):
    """Reads forms, and refuses those that end before their last boundary."""

    _has_ended = False

    def on_end(self) -> None:
        """Called at the last boundary."""
        self._has_ended = True

    async def parse(self) -> FormData:
        """Returns the form."""
        try:
            form = await super().parse()
            if not self._has_ended:
                raise MultiPartException("an end without a boundary")
        except FormParserError:
            raise MultiPartException("Invalid multipart data.") from None
        finally:
            if not self._has_ended:
                # Those of unfinished parts are not in the form.
                for file in self._files_to_close_on_error:
                    file.close()
        return form


async def _receive_form(request: Request, stream: AsyncGenerator[bytes], folder: Path, limits: Limits) -> Upload:
    counts: dict[str, Any] = {"max_files": limits.files, "max_fields": _MOST_FIELDS, "max_part_size": _LONGEST_FIELD}
    parser = _WholeForms(request.headers, stream, **counts)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        status = 413 if error.message.startswith(("Too many", "Part exceeded")) else 400
        raise Refused(status, f"A form must be whole and small. Received: {clean_label(error.message)}") from None
    try:
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        asked = Asked.of({name: value for name, value in form.multi_items() if isinstance(value, str)})
        if sum(file.size or 0 for file in files) > limits.upload_bytes:
            raise too_large(limits)
        return await asyncio.to_thread(_write_files, files, asked, folder)
    finally:
        await form.close()


def _write_files(files: list[UploadFile], asked: Asked, folder: Path) -> Upload:
    paths, labels = [], []
    for number, file in enumerate(files):
        # A field for files that was left empty has neither a name nor content.
        if not file.filename and not file.size:
            continue
        paths.append(folder / f"upload-{number:06d}")
        labels.append(clean_label(file.filename or "") or f"file {number + 1}")
        with open(paths[-1], "wb") as into:
            while piece := file.file.read(MEBIBYTE):
                into.write(piece)
    return _require_files(Upload(folder, paths, labels, asked))


def read_json(path: Path, limits: Limits) -> Upload:
    """Returns the files of a request in JSON, which are written beside it.

    Args:
        path: The JSON: an object with ``files``, each with ``name`` and base64 ``content``, and with options.
        limits: What is accepted.
    """
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise Refused(400, "The request must be JSON. Received: text that is none.") from None
    path.unlink()
    if not isinstance(content, dict):
        raise Refused(400, "The request must be a JSON object with files. Received: another value.")
    files = content.pop("files", None)
    if not isinstance(files, list) or not all(isinstance(file, Mapping) for file in files):
        raise Refused(400, "files must be a list of objects with name and content. Received: another value.")
    if len(files) > limits.files:
        raise Refused(413, f"A request must have at most {limits.files:,} files. Received: {len(files):,}.")
    asked = Asked.of(content)
    paths, labels, total = [], [], 0
    for number, file in enumerate(files):
        name, text = file.get("name", ""), file.get("content")
        if not isinstance(name, str) or not isinstance(text, str):
            raise Refused(400, f"name and content must be text. Received: others for file {number + 1}.")
        try:
            pixels = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise Refused(400, f"content must be base64. Received: other text for file {number + 1}.") from None
        total += len(pixels)
        if total > limits.upload_bytes:
            raise too_large(limits)
        paths.append(path.with_name(f"upload-{number:06d}"))
        paths[-1].write_bytes(pixels)
        labels.append(clean_label(name) or f"file {number + 1}")
    return _require_files(Upload(path.parent, paths, labels, asked))


def _require_files(upload: Upload) -> Upload:
    if not upload.files:
        raise Refused(400, "A request must have at least one file. Received: none.")
    return upload
