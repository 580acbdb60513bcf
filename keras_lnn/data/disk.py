"""Arrays that stay on disk: unpacked once in a stream, then read row by row, never resident as a whole."""

import json
import math
import os
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_lnn.files import DAMAGED_FILE_ERRORS, file_digest, write_json

_STAMP = "stamp.json"


class DiskArray:
    """An array in an ``.npy`` file of which only the rows that are asked for come into memory.

    The rows are read from the file, not through a memory map: a map makes what surrounds each row resident too, by
    large pages up to 2 MiB for a row of 2 KiB, so that a single batch of 2,048 rows of a 4 GiB file was seen to take
    4 GiB. The system's own cache of the file serves both ways alike.

    Args:
        path: An ``.npy`` file in C order.
        shape: To see the same bytes in another shape, such as with a channel axis behind; the file's own if not given.
    """

    def __init__(self, path: str | os.PathLike, shape: tuple[int, ...] | None = None) -> None:
        self.path = Path(path)
        self._descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        weakref.finalize(self, os.close, self._descriptor)
        with open(self.path, "rb") as stream:
            stored, fortran_order, self.dtype = read_npy_header(stream)
            self._offset = stream.tell()
        if fortran_order or self.dtype.hasobject:
            raise ValueError(f"The array must be plain numbers in C order. Received: {self.path}.")
        self.shape = shape or stored
        self._row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                return self._read(start, max(0, stop - start))
            rows = np.arange(start, stop, step)
        if isinstance(rows, int | np.integer):
            return self._read(range(len(self))[rows], 1)[0]
        rows = np.asarray(rows)
        taken = np.empty((len(rows), *self.shape[1:]), self.dtype)
        view, size = _bytes_of(taken), self._row_bytes
        for place, row in enumerate(rows.tolist()):
            self._read_into(view[place * size : (place + 1) * size], range(len(self))[row])
        return taken

    def _read(self, start: int, count: int) -> np.ndarray:
        taken = np.empty((count, *self.shape[1:]), self.dtype)
        if count:
            self._read_into(_bytes_of(taken), start)
        return taken

    def _read_into(self, target: memoryview, row: int) -> None:
        place = self._offset + row * self._row_bytes
        done = 0
        while done < len(target):
            count = os.preadv(self._descriptor, [target[done:]], place + done)
            if count == 0:
                raise OSError(f"{self.path} ends before row {row}")
            done += count


def _bytes_of(array: np.ndarray) -> memoryview:
    return memoryview(array.reshape(-1).view(np.uint8))


def read_npy_header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, Fortran order and dtype at the head of an ``.npy`` stream, which then stands at the first byte of data."""
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    return np.lib.format.read_array_header_2_0(stream)


def stamp_files(folder: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Returns size, time and SHA-256 of cached files, by which is known later whether they are as they were written."""
    found = {}
    for name in names:
        status = (folder / name).stat()
        digest = file_digest(folder / name)
        found[name] = {"bytes": status.st_size, "modified": status.st_mtime_ns, "sha256": digest}
    return found


def are_as_stamped(folder: Path, stamp: Mapping[str, Mapping[str, Any]]) -> bool:
    """Returns whether files are as :func:`stamp_files` has seen them; they are read only where their time differs."""

    def is_same(name: str, known: Mapping[str, Any]) -> bool:
        status = (folder / name).stat()
        if status.st_size != known["bytes"]:
            return False
        return status.st_mtime_ns == known["modified"] or file_digest(folder / name) == known["sha256"]

    try:
        return all(is_same(name, known) for name, known in stamp.items())
    except OSError:
        return False


def write_stamp(folder: Path, names: Sequence[str]) -> None:
    """Writes the stamp of cached files beside them, as the last of all."""
    write_json(folder / _STAMP, stamp_files(folder, names))


def has_stamped(folder: Path, names: Sequence[str]) -> bool:
    """Returns whether cached files are there and as they were when their stamp was written."""
    try:
        stamp = json.loads((folder / _STAMP).read_text(encoding="utf-8"))
        return set(stamp) == set(names) and are_as_stamped(folder, stamp)
    except DAMAGED_FILE_ERRORS:
        return False
