"""What decoding of files finds besides their pixels: files that cannot be read, and why."""

from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Sequence

from keras_lnn.errors import EnvironmentFault, InputError

ImageSource = str | os.PathLike | bytes

CRASH, NO_MEMORY = "crashes the decoder", "needs more memory than is available"
_NAMED_AT_MOST = 5
# Refusals by the system are not caused by the content of a file.
_REFUSED_BY_SYSTEM = frozenset(
    [errno.EACCES, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOENT, errno.ENOMEM, errno.EPERM, errno.ESTALE]
)


@dataclasses.dataclass
class Decoded:
    """Findings of decoding besides the pixels.

    Args:
        faults: The reason for each row that could not be read, in a few words.
        brightest: The highest value in 16-bit files; None if there was no such file.
        obstacles: The rows among the faults whose files may be valid: a package is missing, or the system refused them.
        digests: Hash of the values of each row as stored in the file; see :mod:`keras_lnn.data.decode.copies`.
        frames: Number of frames (or times, or pages) of each row whose file has several.
    """

    faults: dict[int, str] = dataclasses.field(default_factory=dict)
    brightest: int | None = None
    obstacles: list[int] = dataclasses.field(default_factory=list)
    digests: dict[int, str] = dataclasses.field(default_factory=dict)
    frames: dict[int, int] = dataclasses.field(default_factory=dict)

    @property
    def is_final(self) -> bool:
        """Returns whether the faults remain as long as the files are the same."""
        # A decoder may crash, and memory may be short, because of what else runs on the machine.
        return not self.obstacles and not {CRASH, NO_MEMORY} & set(self.faults.values())

    def require_no_obstacles(self, names: Sequence[ImageSource]) -> None:
        """Raises an error if a file cannot be read for a reason outside of it.

        Args:
            names: Names of the files for the message.
        """
        if self.obstacles:
            obstacles = {row: self.faults[row] for row in self.obstacles}
            remedy = "Remove the cause; --skip-bad skips only files that are damaged themselves."
            raise InputError(describe_faults(obstacles, names, remedy))


def name_fault(error: Exception) -> str:
    """Returns the fault of an image file in a few words."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels"
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, FileNotFoundError):
        return "missing"
    if isinstance(error, PermissionError):
        return "no permission"
    if isinstance(error, MemoryError):
        return NO_MEMORY
    if is_obstacle(error):
        return (getattr(error, "strerror", None) or str(error)).lower()
    return "truncated" if "truncated" in str(error).lower() else "damaged"


def is_obstacle(error: Exception) -> bool:
    """Returns whether an image file could not be read for a reason outside of it."""
    if isinstance(error, OSError) and error.errno is None:  # Pillow was built without this decoder
        return "not available" in str(error)
    return isinstance(error, EnvironmentFault) or (isinstance(error, OSError) and error.errno in _REFUSED_BY_SYSTEM)


def describe_faults(faults: dict[int, str], names: Sequence[ImageSource], remedy: str = "") -> str:
    """Returns a sentence that lists the files that cannot be read, with the reasons."""
    rows = sorted(faults)
    named = [
        f"{'image ' + str(row) if isinstance(names[row], bytes) else names[row]} ({faults[row]})"
        for row in rows[:_NAMED_AT_MOST]
    ]
    more = f" and {len(rows) - len(named)} more" if len(rows) > len(named) else ""
    return (
        f"Every image file must be readable. Received: {len(rows)} of {len(names)} that cannot be read: "
        f"{', '.join(named)}{more}. {remedy or 'Replace or remove them.'}"
    )
