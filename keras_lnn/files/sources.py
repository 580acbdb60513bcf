"""The version of the installed code, by which machines that work together know that they do the same."""

import functools
import hashlib
import platform
from pathlib import Path

import keras_lnn


@functools.cache
def describe_code() -> str:
    """Returns the version of this code and of Python in one line; it has a digest of the sources."""
    package = Path(keras_lnn.__file__).parent
    digest = hashlib.sha256()
    for folder in (package, package.parent / "tuning"):
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.relative_to(package.parent).as_posix().encode() + b"\0" + path.read_bytes())
    return f"keras-lnn {keras_lnn.__version__} (sources {digest.hexdigest()[:8]}), Python {platform.python_version()}"
