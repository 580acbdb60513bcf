"""Decoding of many image files into one file by several processes.

Threads do not suffice: the decoders hold Python's lock for much of their work. The processes are plain programs that
read their tasks from standard input and write rows of pixels to their places in the file, so that nothing large is
sent between processes, and each of them ends by itself when its parent is gone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import queue
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from keras_lnn.data.decode.faults import CRASH, Decoded
from keras_lnn.data.decode.file_frames import FileFrame, ImageFile
from keras_lnn.data.decode.images import Progress, decode_images
from keras_lnn.data.options import Rendering
from keras_lnn.errors import InputError

# Fewer files are decoded faster than a process starts.
_FEW_FILES = 600
_BY_ROW = ("faults", "digests", "frames")
_MOST_FILES_AT_ONCE = 64
_MOST_BYTES_AT_ONCE = 2**25


@dataclasses.dataclass(frozen=True)
class PixelFile:
    """A file of pixels, one row per image.

    Args:
        path: The file, which must exist.
        offset: Number of bytes before the first row.
        shape: Shape of one image or volume.
        rendering: How image files become pixels.
    """

    path: Path
    offset: int
    shape: tuple[int, ...]
    rendering: Rendering

    def rows_at_once(self) -> int:
        """Returns how many images are decoded before they are written."""
        return max(1, min(_MOST_FILES_AT_ONCE, _MOST_BYTES_AT_ONCE // int(np.prod(self.shape))))

    def fill(self, start: int, files: Sequence[str | os.PathLike], workers: int | None) -> Decoded:
        """Decodes files into the rows from ``start`` on; rows of files that cannot be read are zeros.

        Raises:
            InputError: If they cannot be written.
        """
        pixels = np.zeros((len(files), *self.shape), np.uint8)
        found = decode_images(files, pixels, self.rendering, workers=workers)
        try:
            with open(self.path, "r+b") as stream:
                stream.seek(self.offset + start * pixels[0].nbytes)
                stream.write(pixels.data)
        except OSError as error:
            raise InputError(
                f"The decoded images need room on the cache's disk. Received: {self.path.parent.parent}"
                f" ({error.strerror}). Make room there, or point KERAS_LNN_CACHE to a larger disk."
            ) from None
        faults = {start + row: reason for row, reason in found.faults.items()}
        digests = {start + row: digest for row, digest in found.digests.items()}
        frames = {start + row: count for row, count in found.frames.items()}
        return Decoded(faults, found.brightest, [start + row for row in found.obstacles], digests, frames)


def decode_to_file(files: Sequence[ImageFile], target: PixelFile, progress: Progress | None = None) -> Decoded:
    """Decodes image files into a file of pixels, in their order.

    Args:
        files: The image files.
        target: The file of pixels.
        progress: Called in the thread of the caller with the fraction that is done.

    Returns:
        The faults, and other findings of decoding.
    """
    chunk = target.rows_at_once()
    starts = range(0, len(files), chunk)
    parts = []
    done = 0
    for part, count in _decode_chunks(starts, lambda start: files[start : start + chunk], target, len(files)):
        parts.append(part)
        done += count
        if progress is not None:
            progress(done / len(files))
    return _join(parts)


def _join(parts: Sequence[Decoded]) -> Decoded:
    """Returns the findings of all parts together."""
    return Decoded(
        {row: reason for part in parts for row, reason in part.faults.items()},
        max((part.brightest for part in parts if part.brightest is not None), default=None),
        sorted(row for part in parts for row in part.obstacles),
        {row: digest for part in parts for row, digest in part.digests.items()},
        {row: count for part in parts for row, count in part.frames.items()},
    )


def _decode_chunks(starts: range, take: Callable[[int], Sequence[ImageFile]], target: PixelFile, count: int) -> Any:
    """Yields the findings of each chunk, with its number of files, in any order."""
    workers = min(os.cpu_count() or 1, 32)
    if count < _FEW_FILES or workers == 1:
        for start in starts:
            yield target.fill(start, take(start), None), len(take(start))
        return
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for start in starts:
        waiting.put(start)
    results: queue.SimpleQueue[tuple[Decoded, int] | BaseException] = queue.SimpleQueue()

    def serve() -> None:
        try:
            with _Worker(target) as worker, contextlib.suppress(queue.Empty):
                while True:
                    start = waiting.get_nowait()
                    results.put((worker.decode(start, take(start)), len(take(start))))
        except BaseException as error:
            results.put(error)

    pool = ThreadPoolExecutor(workers)
    try:
        for _ in range(workers):
            pool.submit(serve)
        for _ in starts:
            result = results.get()
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        with contextlib.suppress(queue.Empty):
            while True:
                waiting.get_nowait()
        pool.shutdown()


class _Worker:
    """A process that decodes; if a file crashes it, another process replaces it and the file is a fault."""

    def __init__(self, target: PixelFile) -> None:
        self._target = target
        self._start()

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def decode(self, start: int, files: Sequence[ImageFile]) -> Decoded:
        try:
            reply = self._ask(start, files)
        except (OSError, ValueError):  # the process has closed its end of the pipes
            self._stop()
            self._start()
        else:
            if "error" in reply:
                raise InputError(reply["error"])
            by_row: dict[str, Any] = {name: {int(row): value for row, value in reply[name].items()} for name in _BY_ROW}
            return Decoded(**{**reply, **by_row})
        if len(files) == 1:
            return Decoded({start: CRASH})
        parts = [self.decode(start + row, [file]) for row, file in enumerate(files)]
        found = _join(parts)
        if list(found.faults.values()) == [CRASH] * len(files):
            raise InputError(
                "The processes that decode images must run. Received: all of them end as soon as they begin. Check the"
                " limits of memory and of processes."
            )
        return found

    def _ask(self, start: int, files: Sequence[ImageFile]) -> dict[str, Any]:
        self._orders.write(json.dumps([start, [_to_json(file) for file in files]]).encode() + b"\n")
        self._orders.flush()
        return json.loads(self._replies.readline())

    def _start(self) -> None:
        target = self._target
        order = [os.fspath(target.path), target.offset, target.shape, dataclasses.asdict(target.rendering)]
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        self._process = subprocess.Popen(
            # Run as a module, it would be imported twice if its package imports it, with a warning.
            [sys.executable, "-c", f"from {__name__} import work; work()"],
            env=os.environ | {"PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"},  # decoding multiplies no matrices
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdin is not None  # both are pipes
        assert self._process.stdout is not None
        self._orders, self._replies = self._process.stdin, self._process.stdout
        self._orders.write(json.dumps(order).encode() + b"\n")

    def _stop(self) -> None:
        with contextlib.suppress(OSError):
            self._orders.close()
        self._replies.close()
        self._process.wait()


def work() -> None:
    """Decodes the files requested at standard input until it ends."""
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        _serve()


def _serve() -> None:
    path, offset, shape, rendering = json.loads(sys.stdin.readline())
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in rendering.items()
    }
    target = PixelFile(Path(path), offset, tuple(shape), Rendering(**fields))
    for line in sys.stdin:
        start, files = json.loads(line)
        try:
            reply = dataclasses.asdict(target.fill(start, [_from_json(file) for file in files], 1))
        except InputError as error:
            reply = {"error": str(error)}
        print(json.dumps(reply), flush=True)


def _to_json(file: str | os.PathLike) -> Any:
    if not isinstance(file, FileFrame):
        return os.fspath(file)
    return [os.fspath(file), file.index, file.window, file.is_slice]


def _from_json(content: Any) -> str | FileFrame:
    if isinstance(content, str):
        return content
    path, index, window, is_slice = content
    return FileFrame(Path(path), index, None if window is None else tuple(window), is_slice)
