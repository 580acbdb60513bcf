"""Arrays that stay on disk: unpacked once in a stream, then read row by row, never in memory as a whole."""

import json
import math
import os
import weakref
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_lnn.files.atomic import DAMAGED_FILE_ERRORS, file_digest, write_json

_STAMP = "stamp.json"
# The most bytes that zlib can unpack from one byte, and a tolerance for very small files.
_MOST_UNPACKED, _SLACK = 1032, 2**16


class ArrayHeader(NamedTuple):
    """The header of an ``.npy`` file."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype


class DiskArray:
    """An array in an ``.npy`` file that loads only the requested rows into memory.

    The rows are read from the file, not through a memory map: a map also loads the surroundings of each row, in large
    pages of up to 2 MiB for a row of 2 KiB, so that a single batch of 2,048 rows of a 4 GiB file was seen to take
    4 GiB. The system's own cache of the file works the same in both cases.

    Args:
        path: An ``.npy`` file in C order.
        shape: Another shape for the same bytes, such as with a channel axis appended; the file's own if not given.
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
    return array.reshape(-1).view(np.uint8).data


def read_npy_header(stream: Any) -> ArrayHeader:
    """Reads shape, Fortran order and dtype of an ``.npy`` stream and leaves it at the first byte of data."""
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return ArrayHeader(*np.lib.format.read_array_header_1_0(stream))
    return ArrayHeader(*np.lib.format.read_array_header_2_0(stream))


def stamp_files(folder: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Returns size, time and SHA-256 of cached files, which show later whether the files have changed."""
    found = {}
    for name in names:
        status = (folder / name).stat()
        digest = file_digest(folder / name)
        found[name] = {"bytes": status.st_size, "modified": status.st_mtime_ns, "sha256": digest}
    return found


def are_as_stamped(folder: Path, stamp: Mapping[str, Mapping[str, Any]]) -> bool:
    """Returns whether files match their stamp of :func:`stamp_files`; they are read only if their time differs."""

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
    """Writes the stamp of cached files beside them, after all other files."""
    write_json(folder / _STAMP, stamp_files(folder, names))


def has_stamped(folder: Path, names: Sequence[str]) -> bool:
    """Returns whether cached files exist and match their stamp."""
    try:
        stamp = json.loads((folder / _STAMP).read_text(encoding="utf-8"))
        return set(stamp) == set(names) and are_as_stamped(folder, stamp)
    except DAMAGED_FILE_ERRORS:
        return False


def read_npz_headers(archive: zipfile.ZipFile) -> dict[str, ArrayHeader]:
    """Returns the headers of all arrays in an ``.npz`` file by name, and checks that each array has its stated size.

    A caller who then reads the arrays allocates at most about a thousand times the size of the file.

    Args:
        archive: The open file.

    Raises:
        ValueError: If an array holds more or less than its header says, or Python objects.
    """
    if archive.fp is None:
        raise ValueError(f"The archive must be open. Received: {archive.filename}, which is closed.")
    held = os.fstat(archive.fp.fileno()).st_size
    headers = {}
    for entry in archive.infolist():
        if not entry.filename.endswith(".npy"):
            continue
        name = entry.filename.removesuffix(".npy")
        held -= entry.compress_size
        packed = entry.compress_size * (_MOST_UNPACKED if entry.compress_type == zipfile.ZIP_DEFLATED else 1)
        if held < 0 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{name} is not packed as numpy packs it")
        with archive.open(entry) as stream:
            header = read_npy_header(stream)
            size = stream.tell() + math.prod(header.shape) * header.dtype.itemsize
        if header.dtype.hasobject:
            raise ValueError(f"{name} must be plain numbers, not Python objects")
        if size != entry.file_size or size > packed + _SLACK:
            raise ValueError(f"{name} promises {size:,} bytes of {header.dtype} {header.shape}, which it does not hold")
        headers[name] = header
    return headers
