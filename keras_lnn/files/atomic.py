"""Files that are whole or absent: written beside their place, flushed to the disk and renamed."""

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
except ImportError:  # Windows has no such thing
    fcntl = None

# What is being written ends so.
_PARTIAL = ".keras-lnn.partial"
# What reading a damaged .npz, .keras or .json file can raise.
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
    """Gives a temporary path in the same folder; on success what was written there takes the place of ``path``.

    Works for a file and for a folder. A folder takes the place of a folder, never a file. On any error nothing changes.

    Args:
        path: Where the whole file or folder shall be.

    Yields:
        The path to write to; it keeps the suffix, since writers choose the format by it.
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
    """Gives a temporary folder beside a path, locked as long as it is in use."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=_PARTIAL, dir=path.parent))
        with _locked(folder) as held:
            # Before it was locked another process may have taken it for that of a killed one.
            if held is False or not folder.is_dir():
                continue
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            return


@contextlib.contextmanager
def _locked(folder: Path) -> Generator[bool | None]:
    """Holds the lock of a folder, which the system takes back however this process ends.

    Yields:
        Whether it is held; None where the system or the disk has no locks.
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
    """Returns a name of a file as text: bytes of it that are no UTF-8 are written by their numbers."""
    return os.fspath(name).encode("utf-8", "backslashreplace").decode("utf-8")


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text file atomically."""
    with atomic_path(path) as temporary:
        # File names need not be text: what has no letter is written by its number.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Writes a JSON file atomically; numbers that JSON has no word for become ``null``."""
    write_text(path, json.dumps(without_nan(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def without_nan(content: Any) -> Any:
    """The same nested content with ``None`` in the place of numbers that are not finite."""
    if isinstance(content, dict):
        return {key: without_nan(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [without_nan(value) for value in content]
    if isinstance(content, float) and (content != content or content in (float("inf"), float("-inf"))):
        return None
    return content


def file_digest(path: str | os.PathLike, algorithm: str = "sha256") -> str:
    """The hexadecimal digest of a file, read in pieces."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def cache_folder() -> Path:
    """Where unpacked data sets are kept: ``$KERAS_LNN_CACHE``, else ``~/.cache/keras-lnn``."""
    return Path(os.environ.get("KERAS_LNN_CACHE") or Path.home() / ".cache" / "keras-lnn")


def remove_partial_files(folder: Path) -> None:
    """Removes what killed processes were writing to a folder; what others are writing now stays."""
    for path in folder.glob(f".*{_PARTIAL}"):
        with _locked(path) as held:
            if held:
                shutil.rmtree(path, ignore_errors=True)


def is_file(path: str | os.PathLike) -> bool:
    """Returns whether a path is that of a file with an end, or of a pipe that a shell has opened for this process.

    To open a named pipe waits until somebody writes to it, and a device may be read without an end.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) or (stat.S_ISFIFO(mode) and os.path.realpath(path).startswith("/proc/"))


def require_file(path: str | os.PathLike, what: str) -> None:
    """Checks that something that is there is a file, before it is opened.

    Args:
        path: Of the file; one that does not exist is left to whoever opens it.
        what: What it is, for the message.
    """
    if os.path.exists(path) and not is_file(path):
        kind = "a folder" if os.path.isdir(path) else "a pipe or a device"
        raise InputError(f"{what} must be a file. Received: {path}, which is {kind}. Name a file.")


def require_no_pattern(path: Path) -> None:
    """Checks a path for a SavedModel: TensorFlow reads some letters as patterns, and only those of UTF-8."""
    if set(str(path)) & set("[]*?"):
        raise InputError(f"The folder must have no [, ], * or ? in its path. Received: {path}. Choose another.")
    if as_text(path) != str(path):
        raise InputError(f"The folder must have a path of UTF-8 letters. Received: {as_text(path)}. Choose another.")


def require_writable(folder: Path, option: str) -> None:
    """Checks that a folder is there to be written to, or can be made; makes nothing."""
    nearest = folder.absolute()
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"{option} must be a folder that can be written to. Received: {folder}. Choose another.")


@contextlib.contextmanager
def hold_folder(folder: Path, what: str, remedy: str) -> Generator[None]:
    """Keeps other processes from the same work; the system lets go of the folder however this process ends.

    Args:
        folder: Where the work is kept; it is made where it is missing.
        what: What is done there, for the message to whoever comes second.
        remedy: What they can do.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as stream:
        if fcntl is None:
            yield
            return
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                f"{what} must run once at a time. Received: {folder}, which another process is at. {remedy}"
            ) from None
        yield


@contextlib.contextmanager
def writing_to(folder: Path) -> Generator[None]:
    """Tells a folder that cannot be written to, as it turns out while writing, in one line."""
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
