"""A record of the files that this package has written, so that it never replaces files of others."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import TextIO

from keras_lnn.errors import InputError
from keras_lnn.files.atomic import atomic_path, file_digest, remove_partial_files

# In a folder of results, one line per file that was written there, in the format of ``sha256sum``.
LIST_FILE = ".keras-lnn-written"
OTHER_FOLDER = "Choose another --output, or move it away."


class WrittenFiles:
    """The files that this package has written to a folder, identified by their content; removes partial files.

    A file that a user has put there or has changed since, such as a corrected mask, is not among them.

    Args:
        folder: Folder of the results; it need not exist.
        remedy: What to do if another file is in the way, for the message.
    """

    def __init__(self, folder: Path, remedy: str) -> None:
        self.folder = folder
        self._remedy = remedy
        self._digests: set[str] = set()
        remove_partial_files(folder)
        with contextlib.suppress(OSError):
            lines = (folder / LIST_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
            self._digests = {line.partition(" ")[0] for line in lines}

    def require_free(self, paths: Iterable[Path]) -> None:
        """Checks that only files of this package will be replaced.

        Args:
            paths: Files and folders that will be replaced.
        """
        for path in paths:
            foreign = next((file for file in _files_of(path) if not self._has_written(file)), None)
            if foreign is not None:
                raise InputError(
                    "Only files that keras-lnn wrote and that are unchanged since are replaced. Received:"
                    f" {foreign}, which is not one of them. {self._remedy}"
                )

    @contextlib.contextmanager
    def write(self, path: Path) -> Generator[Path]:
        """Yields a temporary path for a file or a folder, as ``atomic_path`` does, and records it."""
        with atomic_path(path) as temporary:
            yield temporary
            # Recorded before it is renamed: a process that is killed in between leaves no unrecorded file.
            self._note(temporary, path)

    def write_text(self, path: Path, text: str) -> None:
        """Writes a text file atomically and records it."""
        with self.write(path) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")

    def _has_written(self, file: Path) -> bool:
        return file.is_file() and file_digest(file) in self._digests

    def _note(self, temporary: Path, path: Path) -> None:
        with open(self.folder / LIST_FILE, "a", encoding="utf-8", errors="backslashreplace") as stream:
            for file in _files_of(temporary):
                digest = file_digest(file)
                self._digests.add(digest)
                stream.write(f"{digest}  {os.path.relpath(path / file.relative_to(temporary), self.folder)}\n")


def require_own_folder(folder: Path, mark: str, names: Iterable[str], option: str) -> None:
    """Checks that a folder whose files will be replaced holds work of this package, or none of these files.

    Args:
        folder: Folder of the work.
        mark: A file that identifies such a folder.
        names: Files and folders that will be replaced.
        option: Option that sets the folder, for the message.
    """
    if (folder / mark).exists():
        return
    foreign = [name for name in names if os.path.lexists(folder / name)]
    if foreign:
        raise InputError(
            f"{option} must not name a folder in which other files would be replaced. Received: {folder} with"
            f" {', '.join(foreign)}. Choose another one."
        )


def is_stream(path: Path) -> bool:
    """Returns whether a path names an output that cannot be replaced: a pipe, a device, standard output."""
    try:
        found = os.stat(path)
    except OSError:
        return False
    return _is_standard_output(found) or not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode))


def is_standard_output(path: Path) -> bool:
    """Returns whether a path, such as ``/dev/stdout``, names the standard output of this process."""
    try:
        return _is_standard_output(os.stat(path))
    except OSError:
        return False


@contextlib.contextmanager
def open_stream(path: Path) -> Generator[TextIO]:
    """Opens an output for which :func:`is_stream` is true as text; standard output is written without reopening it."""
    if is_standard_output(path):
        yield sys.stdout
        sys.stdout.flush()
        return
    with open(path, "w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
        yield stream


def _is_standard_output(found: os.stat_result) -> bool:
    try:
        return os.path.samestat(found, os.fstat(1))
    except OSError:  # it is closed
        return False


def _files_of(path: Path) -> list[Path]:
    """Returns a file, or all files in a folder and below it; empty if the path does not exist."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if not file.is_dir())
    return [path] if os.path.lexists(path) else []
