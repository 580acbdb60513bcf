"""Simulates a full disk for this process and its children."""

import contextlib
import resource


@contextlib.contextmanager
def full_disk(largest_file=1000):
    """Limits the size of files, so that the system fails a write as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
