"""Arrays that stay on disk: unpacked once in a stream, mapped into memory, and never resident as a whole."""

import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np

# How many bytes are read between two hints to the system that the pages behind us can go.
_RELEASE_AFTER_BYTES = 64 * 2**20


class MappedArray:
    """An array in an ``.npy`` file, read by rows through a memory map whose pages are given back as it goes.

    ``numpy.memmap`` alone would let the resident set grow to the size of the file.

    Args:
        path: An ``.npy`` file in C order.
        shape: To see the same bytes in another shape, such as with a channel axis behind; the file's own if not given.
    """

    def __init__(self, path: str | os.PathLike, shape: tuple[int, ...] | None = None) -> None:
        self.path = Path(path)
        with open(self.path, "rb") as stream:
            stored, _, self.dtype = read_npy_header(stream)
            offset = stream.tell()
            self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        self.shape = shape or stored
        # Rows are read in random order: reading ahead would only fill memory.
        self._map.madvise(mmap.MADV_RANDOM)
        self._array = np.frombuffer(self._map, self.dtype, offset=offset).reshape(self.shape)
        self._read_bytes = 0

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        taken = self._array[rows].copy() if isinstance(rows, slice | int) else self._array[rows]
        self._read_bytes += taken.nbytes
        if self._read_bytes >= _RELEASE_AFTER_BYTES:
            self._map.madvise(mmap.MADV_DONTNEED)
            self._read_bytes = 0
        return taken


def read_npy_header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, Fortran order and dtype at the head of an ``.npy`` stream, which then stands at the first byte of data."""
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    return np.lib.format.read_array_header_2_0(stream)
