"""A disk that is full, as far as this process and its children can tell."""

import contextlib
import resource


@contextlib.contextmanager
def full_disk(largest_file=1000):
    """Lets no file grow beyond some bytes: the system then fails a write as it does where there is no room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
