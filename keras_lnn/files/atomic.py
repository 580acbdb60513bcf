"""Files that are complete or absent: written to a temporary path, flushed to disk and renamed."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Generator
from pathlib import Path
from typing import Any

from keras_lnn.errors import InputError

try:
    import fcntl
except ImportError:  # Windows has no such module
    fcntl = None

# In a folder, the file whose lock says that a process is at work there.
LOCK_FILE = ".lock"
# Suffix of files that are being written.
_PARTIAL = ".keras-lnn.partial"
# Errors that reading a damaged .npz, .keras or .json file can raise.
DAMAGED_FILE_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    EOFError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Generator[Path]:
    """Yields a temporary path in the same folder; on success its content replaces ``path``.

    Works for a file and for a folder. A folder replaces a folder, never a file. On any error nothing changes.

    Args:
        path: Final path of the file or folder.

    Yields:
        The path to write to; it has the same suffix, since writers choose the format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _workplace(path) as workplace:
        temporary = workplace / path.name
        yield temporary
        if path.is_dir() and not temporary.is_dir():
            raise IsADirectoryError(errno.EISDIR, "a folder is there", str(path))
        for file in [temporary] if temporary.is_file() else sorted(temporary.rglob("*")):
            if file.is_file():
                _flush_to_disk(file)
        if path.is_dir():
            os.replace(path, workplace / "replaced")
        os.replace(temporary, path)
        _flush_to_disk(path.parent)


@contextlib.contextmanager
def _workplace(path: Path) -> Generator[Path]:
    """Yields a temporary folder beside a path, locked as long as it is in use."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=_PARTIAL, dir=path.parent))
        with _locked(folder) as held:
            # Before it was locked, another process may have removed it as that of a killed process.
            if held is False or not folder.is_dir():
                continue
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            return


@contextlib.contextmanager
def _locked(folder: Path) -> Generator[bool | None]:
    """Holds the lock of a folder, which the system releases however this process ends.

    Yields:
        Whether the lock is held; None if the system or the disk has no locks.
    """
    if fcntl is None:
        yield None
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = True
        except OSError as error:
            held = False if error.errno in (errno.EAGAIN, errno.EACCES) else None
        yield held
    finally:
        os.close(descriptor)


def as_text(name: str | os.PathLike) -> str:
    """Returns a file name as text; bytes that are not UTF-8 are escaped with backslashes."""
    return os.fspath(name).encode("utf-8", "backslashreplace").decode("utf-8")


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text file atomically."""
    with atomic_path(path) as temporary:
        # File names need not be valid text: invalid bytes are escaped.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Writes a JSON file atomically; numbers that JSON cannot represent become ``null``."""
    write_text(path, json.dumps(without_nan(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def without_nan(content: Any) -> Any:
    """Returns the same nested content with ``None`` in the place of numbers that are not finite."""
    if isinstance(content, dict):
        return {key: without_nan(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [without_nan(value) for value in content]
    if isinstance(content, float) and (content != content or content in (float("inf"), float("-inf"))):
        return None
    return content


def file_digest(path: str | os.PathLike, algorithm: str = "sha256") -> str:
    """Returns the hexadecimal digest of a file, which is read in pieces."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def cache_folder() -> Path:
    """Returns the folder for what can be made anew: ``$KERAS_LNN_CACHE``, else ``~/.cache/keras-lnn``."""
    return Path(os.environ.get("KERAS_LNN_CACHE") or Path.home() / ".cache" / "keras-lnn")


def remove_partial_files(folder: Path) -> None:
    """Removes partial files that killed processes left in a folder; those that are still being written stay."""
    for path in folder.glob(f".*{_PARTIAL}"):
        with _locked(path) as held:
            if held:
                shutil.rmtree(path, ignore_errors=True)


def is_file(path: str | os.PathLike) -> bool:
    """Returns whether a path is that of a regular file, or of a pipe that a shell has opened for this process.

    Opening a named pipe blocks until another process writes to it, and a device may never end.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) or (stat.S_ISFIFO(mode) and os.path.realpath(path).startswith("/proc/"))


def require_file(path: str | os.PathLike, what: str) -> None:
    """Raises an error if an existing path is not a file, before it is opened.

    Args:
        path: Path of the file; a missing file is reported by the code that opens it.
        what: What the file is, for the message.
    """
    if os.path.exists(path) and not is_file(path):
        kind = "a folder" if os.path.isdir(path) else "a pipe or a device"
        raise InputError(f"{what} must be a file. Received: {path}, which is {kind}. Name a file.")


def require_no_pattern(path: Path) -> None:
    """Checks a path for a SavedModel: TensorFlow reads some characters as patterns, and accepts only UTF-8."""
    if set(str(path)) & set("[]*?"):
        raise InputError(f"The folder's path must not contain [, ], * or ?. Received: {path}. Choose another.")
    if as_text(path) != str(path):
        raise InputError(f"The folder's path must be valid UTF-8. Received: {as_text(path)}. Choose another.")


def require_writable(folder: Path, option: str) -> None:
    """Checks that a folder can be written to, or can be created, without creating it."""
    nearest = folder.absolute()
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"{option} must be a folder that can be written to. Received: {folder}. Choose another.")


@contextlib.contextmanager
def hold_folder(folder: Path, what: str, remedy: str) -> Generator[None]:
    """Prevents other processes from doing the same work; the system releases the folder however this process ends.

    Args:
        folder: Folder of the work; it is created if it is missing.
        what: Name of the work, for the message to the second process.
        remedy: What its user can do.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK_FILE, "w") as stream:
        if fcntl is None:
            yield
            return
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                f"{what} must run once at a time. Received: {folder}, in which another process is at work. {remedy}"
            ) from None
        yield


@contextlib.contextmanager
def writing_to(folder: Path) -> Generator[None]:
    """Reports a folder that turns out not to be writable while writing, in one line."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"The output must be a folder that can be written to. Received: {folder} ({error.strerror}). "
            "Choose another --output."
        ) from None


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
