"""Compiled programs that are kept between processes, so that a network is compiled once and not by each run.

XLA compiles the recurrences of liquid layers, on JAX the whole training step, which takes as long as hundreds of steps.
Both frameworks can keep what they have compiled in a folder; here it is chosen, checked and kept small.
"""

import atexit
import contextlib
import hashlib
import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil

from keras_lnn.files.atomic import cache_folder

# Programs are native code: those of another processor, or of another version of the compiler, have another folder.
_FOLDERS = "programs"
_FLUSHED = "flushed.txt"
_MOST_BYTES, _LEAST_FREE_BYTES = 2**28, 2**30
_TENSORFLOW_OPTION = "--tf_xla_persistent_cache_directory="
# Keeping a program that is compiled in less time costs more than it saves.
_SECONDS_ON_JAX = "0.3"


def keep_programs(backend: str) -> Path | None:
    """Makes a framework that is imported later keep what it compiles, and use what earlier processes have kept.

    Nothing is kept where ``$KERAS_LNN_PROGRAMS`` is ``0``, where the user has set the framework's own option for it,
    and where the folder of the cache cannot be written to or has hardly any room.

    Args:
        backend: The backend of Keras; others than TensorFlow and JAX compile nothing.

    Returns:
        The folder, or None if nothing is kept.
    """
    if backend not in ("tensorflow", "jax") or os.environ.get("KERAS_LNN_PROGRAMS") == "0":
        return None
    others = [flag for flag in os.environ.get("TF_XLA_FLAGS", "").split() if not _is_own(flag)]
    is_chosen = any(flag.startswith(_TENSORFLOW_OPTION) for flag in others)
    if is_chosen if backend == "tensorflow" else "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return None
    with contextlib.suppress(OSError, importlib.metadata.PackageNotFoundError):
        folder = _prepare_folder(backend)
        if folder is None:
            return None
        if backend == "tensorflow":
            own = [f"{_TENSORFLOW_OPTION}{folder}", "--tf_xla_persistent_cache_device_types=CPU"]
            os.environ["TF_XLA_FLAGS"] = " ".join([*others, *own])
        else:
            os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
            os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", _SECONDS_ON_JAX)
        atexit.register(flush_programs, folder)
        return folder
    return None


def _is_own(flag: str) -> bool:
    """Returns whether a flag is one that a process on another machine has set: its folder does not fit this one."""
    own_folder = flag.startswith(_TENSORFLOW_OPTION) and Path(flag).parent.name == _FOLDERS
    return own_folder or flag.startswith("--tf_xla_persistent_cache_device_types=")


def _prepare_folder(backend: str) -> Path | None:
    """Returns the folder for a framework on this processor, whole and not too large; None if it cannot be used."""
    folder = (cache_folder() / _FOLDERS / f"{backend}-{_fingerprint(backend)}").absolute()
    if set(str(folder)) & set(" \t\n"):  # at which TensorFlow divides its flags
        return None
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not os.access(folder, os.W_OK | os.X_OK) or shutil.disk_usage(folder).free < _LEAST_FREE_BYTES:
        return None
    remove_programs(folder)
    return folder


def _fingerprint(backend: str) -> str:
    """Returns a short name of the compiler's version and of what the processor can do."""
    described = [importlib.metadata.version("jaxlib" if backend == "jax" else backend), platform.machine()]
    described += [platform.system(), platform.processor()]
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
        described += [line for line in lines if line.startswith(("model name", "flags", "Features"))]
    return hashlib.sha256("\n".join(described).encode()).hexdigest()[:12]


def remove_programs(folder: Path) -> None:
    """Removes programs that may be damaged and, beyond a size of the folder, the oldest ones.

    A file that was not flushed before the machine stopped can be shorter than what was written to it, and TensorFlow
    ends a training that reads such a file.
    """
    flushed, started = _read_flushed(folder), psutil.boot_time()
    kept = []
    for entry in _list_files(folder):
        with contextlib.suppress(OSError):
            found = entry.stat()
            if flushed.get(entry.name) != found.st_size and found.st_mtime < started:
                os.unlink(entry)
            else:
                kept.append((found.st_mtime, found.st_size, entry))
    size = sum(bytes for _, bytes, _ in kept)
    for _, bytes, entry in sorted(kept, key=lambda row: row[0]):
        if size <= _MOST_BYTES:
            break
        with contextlib.suppress(OSError):
            os.unlink(entry)
        size -= bytes


def flush_programs(folder: Path) -> None:
    """Notes which programs are whole, once they are on the disk."""
    with contextlib.suppress(OSError):
        flushed, lines = _read_flushed(folder), []
        for entry in _list_files(folder):
            size = entry.stat().st_size
            if flushed.get(entry.name) == size:
                continue
            with open(entry, "rb") as stream:
                os.fsync(stream.fileno())
            lines.append(f"{size} {entry.name}\n")
        if lines:
            with open(folder / _FLUSHED, "a", encoding="utf-8") as stream:
                stream.write("".join(lines))


def _list_files(folder: Path) -> Iterator[os.DirEntry]:
    with os.scandir(folder) as entries:
        yield from (entry for entry in entries if entry.is_file() and entry.name != _FLUSHED)


def _read_flushed(folder: Path) -> dict[str, int]:
    """Returns the size of each program that was flushed."""
    try:
        text = (folder / _FLUSHED).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    parts = [line.split(" ", 1) for line in text.splitlines()]
    return {part[1]: int(part[0]) for part in parts if len(part) == 2 and part[0].isdigit()}
