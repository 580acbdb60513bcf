"""What a run needs to continue after a whole epoch, and the files of arrays that hold it."""

import contextlib
import dataclasses
import errno
import json
import zipfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np

from keras_lnn.data.disk import read_npz_headers
from keras_lnn.files.atomic import atomic_path

# The lists of arrays in a checkpoint.
GROUPS = ("model", "optimizer", "average", "confusion")


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Everything that a run needs to continue after a whole epoch.

    Args:
        epoch: Number of whole epochs trained.
        model: Values of the model's variables, in order, including those of the random generators.
        optimizer: Values of the optimizer's variables, in order.
        history: One row per epoch.
        seconds: Training time so far.
        average: Averages of the model's variables, if the run keeps them.
        confusion: Validation confusion matrix of each epoch; of the last epochs only, if the run began with a version
            that did not record it.
    """

    epoch: int
    model: list[np.ndarray]
    optimizer: list[np.ndarray]
    history: list[dict[str, float]]
    seconds: float
    average: list[np.ndarray] = dataclasses.field(default_factory=list)
    confusion: list[np.ndarray] = dataclasses.field(default_factory=list)

    @property
    def kept(self) -> list[np.ndarray]:
        """Returns the values that serve as the model of this epoch."""
        return self.average or self.model


def write_arrays(path: Path, groups: dict[str, list[np.ndarray]], meta: dict[str, Any]) -> None:
    """Writes named lists of arrays to a file, with plain content that :func:`read_meta` reads without them."""
    arrays: dict[str, Any] = {
        f"{group}/{index:05d}": value for group, values in groups.items() for index, value in enumerate(values)
    }
    with atomic_path(path) as temporary:
        np.savez(temporary, meta=np.array(json.dumps(meta)), **arrays)


class UnreadableNow(Exception):
    """Raised if a file could not be read for a reason outside the file, so that its content may be intact."""


@contextlib.contextmanager
def _open_arrays(path: Path) -> Generator[Any]:
    """Opens a file of arrays; a temporary failure to read it does not count as damage."""
    try:
        with open(path, "rb") as stream, zipfile.ZipFile(stream) as archive:
            read_npz_headers(archive)
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as stored:
                yield stored
    except OSError as error:
        if error.errno in (None, errno.ENOENT, errno.EINVAL):
            raise
        raise UnreadableNow(f"{path} ({error.strerror})") from error


def read_meta(path: Path) -> dict[str, Any]:
    """Returns the plain content of a file of arrays."""
    with _open_arrays(path) as stored:
        return json.loads(str(stored["meta"]))


def read_arrays(path: Path) -> tuple[dict[str, list[np.ndarray]], dict[str, Any]]:
    """Returns the lists of arrays in a file by their names, and its plain content."""
    groups: dict[str, list[np.ndarray]] = {name: [] for name in GROUPS}
    with _open_arrays(path) as stored:
        meta = json.loads(str(stored["meta"]))
        for key in sorted(stored.files):
            if key != "meta":
                groups.setdefault(key.split("/")[0], []).append(stored[key])
    return groups, meta
