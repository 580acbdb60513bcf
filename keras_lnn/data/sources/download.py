"""Downloads of files with progress, retries and a checksum; a file is complete or absent."""

import contextlib
import hashlib
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from keras_lnn.errors import InputError
from keras_lnn.files.atomic import atomic_path, remove_partial_files

_PIECE_BYTES = 2**20


def download(
    url: str,
    path: Path,
    *,
    md5: str,
    remedy: str,
    progress: Callable[[float], None] | None = None,
    attempts: int = 3,
    timeout_seconds: float = 30.0,
    pause_seconds: float = 1.0,
) -> None:
    """Downloads a file.

    Args:
        url: Address of the file.
        path: Where to save it; after a failure nothing is left there.
        md5: Its checksum.
        remedy: End of the error message: what else the user can do.
        progress: Called with the fraction done.
        attempts: Number of attempts if the connection breaks.
        timeout_seconds: Seconds without data after which an attempt counts as broken.
        pause_seconds: Pause before the second attempt, doubled before each further one.
    """
    if path.parent.exists() and not path.parent.is_dir():
        raise InputError(f"The data folder must be a folder. Received: {path.parent}. Choose another with --data-dir.")
    made_folder = not path.parent.exists()
    reason = ""
    for attempt in range(attempts):
        if attempt:
            time.sleep(pause_seconds * 2 ** (attempt - 1))
        try:
            remove_partial_files(path.parent)
            with atomic_path(path) as temporary:
                found = _fetch(url, temporary, timeout_seconds, progress)
                if found != md5:
                    raise _WrongChecksum(f"its checksum is {found}, not {md5}")
            return
        except urllib.error.HTTPError as error:
            reason = f"the server replied {error.code} {error.reason}"
            if error.code < 500 and error.code != 429:
                break
        except _WrongChecksum as error:
            reason = str(error)
        except PermissionError as error:
            raise InputError(f"The data folder must be writable. Received: {path.parent} ({error.strerror}).") from None
        except (OSError, EOFError) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
    if made_folder:
        with contextlib.suppress(OSError):
            path.parent.rmdir()
    raise InputError(f"{path} does not exist and {url} cannot be downloaded ({reason}). {remedy}")


class _WrongChecksum(Exception):
    pass


def _fetch(url: str, path: Path, timeout_seconds: float, progress: Callable[[float], None] | None) -> str:
    digest = hashlib.md5()
    with urllib.request.urlopen(url, timeout=timeout_seconds) as response, open(path, "wb") as target:
        expected = int(response.headers.get("Content-Length") or 0)
        received = 0
        while piece := response.read(_PIECE_BYTES):
            target.write(piece)
            digest.update(piece)
            received += len(piece)
            if progress and expected:
                progress(received / expected)
        if received < expected:
            raise EOFError(f"the connection ended after {received} of {expected} bytes")
    return digest.hexdigest()
