"""Programs that JAX has compiled, kept between processes, so that a network is compiled once and not by each run.

JAX compiles the whole training step, which takes as long as hundreds of steps, and can keep the programs in a folder.
Here that folder is chosen and kept small. TensorFlow could keep programs too, but there a folder that cannot be written
to ends a training, and a program is only found again after exactly the same history.
"""

import contextlib
import hashlib
import importlib.metadata
import os
import platform
import re
import shutil
import time
from pathlib import Path

from keras_lnn.files.atomic import cache_folder

_VARIABLE = "JAX_COMPILATION_CACHE_DIR"
_FOLDERS = "programs"
_OWN_NAME = re.compile(r"jax-[0-9a-f]{12}")
_MOST_BYTES = 2**28
_UNUSED_SECONDS = 30 * 86_400
# Keeping a program that is compiled in less time costs more than it saves.
_SECONDS = "0.3"


def keep_programs(backend: str) -> Path | None:
    """Makes JAX, which is imported later, keep what it compiles, and use what earlier processes have kept.

    Nothing is kept where ``$KERAS_LNN_PROGRAMS`` is ``0``, where the user has chosen a folder by JAX's own variable,
    and where the folder of the cache cannot be written to.

    Args:
        backend: The backend of Keras; for others than JAX nothing is kept.

    Returns:
        The folder, or None if nothing is kept.
    """
    inherited = Path(os.environ.get(_VARIABLE, ""))
    if inherited.parent.name == _FOLDERS and _OWN_NAME.fullmatch(inherited.name):
        del os.environ[_VARIABLE]  # the process that has set it may run on another machine
    if backend != "jax" or os.environ.get("KERAS_LNN_PROGRAMS") == "0" or _VARIABLE in os.environ:
        return None
    # A home folder that cannot be found is a RuntimeError.
    with contextlib.suppress(OSError, RuntimeError, importlib.metadata.PackageNotFoundError):
        folder = cache_folder().absolute() / _FOLDERS / f"jax-{_fingerprint()}"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.access(folder, os.W_OK | os.X_OK):
            os.utime(folder)
            remove_programs(folder)
            os.environ[_VARIABLE] = str(folder)
            os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", _SECONDS)
            return folder
    return None


def _fingerprint() -> str:
    """Returns a short name of the compiler's version and of the processor, whose native code the programs are."""
    described = [importlib.metadata.version("jaxlib"), platform.system(), platform.machine(), platform.processor()]
    described.append(str(os.cpu_count()))
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
        described += [line for line in lines if line.startswith(("model name", "flags", "Features"))]
    return hashlib.sha256("\n".join(described).encode()).hexdigest()[:12]


def remove_programs(folder: Path) -> None:
    """Removes the programs that were not read for the longest time beyond a size, and folders that nobody uses.

    Args:
        folder: The folder that is used, beside which those for other processors and versions are.
    """
    files = [(max(found.st_atime, found.st_mtime), found.st_size, path) for path, found in _list_files(folder)]
    size = sum(bytes for _, bytes, _ in files)
    for _, bytes, path in sorted(files):
        if size <= _MOST_BYTES:
            break
        path.unlink(missing_ok=True)
        size -= bytes
    for other in folder.parent.iterdir():
        unused = time.time() - other.stat().st_mtime
        if other != folder and _OWN_NAME.fullmatch(other.name) and unused > _UNUSED_SECONDS:
            shutil.rmtree(other, ignore_errors=True)


def _list_files(folder: Path) -> list[tuple[Path, os.stat_result]]:
    found = []
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # another process may remove it now
            if path.is_file():
                found.append((path, path.stat()))
    return found
