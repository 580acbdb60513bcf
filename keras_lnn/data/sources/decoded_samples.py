"""The files of samples decoded: with the hash of each sample, and without those that cannot be read."""

from __future__ import annotations

import dataclasses
import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_lnn.data.arrays import ImageArray
from keras_lnn.data.checking import name_some
from keras_lnn.data.decode import medical_files
from keras_lnn.data.decode.decoded_cache import CachedImages, open_or_decode
from keras_lnn.data.decode.dicom_volumes import digest_series
from keras_lnn.data.decode.faults import describe_faults
from keras_lnn.data.decode.file_frames import FileFrame, ImageFile
from keras_lnn.data.decode.images import guess_channels, image_shape, map_files
from keras_lnn.data.reading import Reading
from keras_lnn.data.sources.own_frames import FileRows, SeriesFiles
from keras_lnn.errors import InputError
from keras_lnn.files.atomic import file_digest

_SHORTAGES = frozenset([errno.EMFILE, errno.ENFILE, errno.ENOMEM])


@dataclasses.dataclass(frozen=True)
class DecodedSamples:
    """Samples of which at least one file could be read; where each image has a label, the one with its label.

    Args:
        rows: Which of the given samples they are.
        files: Their files that could be read.
        digests: A hash of the content of each sample.
        cached: The decoded images.
        stored: The decoded image of each file.
        left_out: A warning of the files that could not be read, if there are some.
    """

    rows: np.ndarray
    files: FileRows
    digests: list[str]
    cached: CachedImages
    stored: np.ndarray
    left_out: list[str]

    def arrange(self, rows: np.ndarray, unit: str | None, steps: int | None) -> ImageArray:
        """Returns the images of some of the samples, as :meth:`FileRows.arrange` does."""
        return self.files.arrange(self.cached.images, self.stored, rows, unit, steps)


def decode_samples(samples: Sequence[Path | SeriesFiles], names: Sequence[str], reading: Reading) -> DecodedSamples:
    """Decodes the files of samples, or finds them decoded in the cache.

    Args:
        samples: One path per sample, which need not exist; or the images of a series per sample.
        names: The name of each sample for messages.
        reading: How the files become pixels, and whether bad ones are left out.
    """
    every = FileRows.of(samples)
    digests, faults = digest_files(every.files)
    if len(faults) == len(every.files):
        raise InputError(
            describe_faults(faults, every.files, "Check the folder; for a table, --image-dir and the column of files.")
        )
    cached, places = _decode(every, digests, reading, faults)
    left_out = _leave_out(every.names(names), every.files, faults, reading.own.skip_bad)
    kept = [row for row in range(len(every.files)) if row not in faults]
    files, samples_left = every.take(kept)
    return DecodedSamples(
        rows=samples_left,
        files=files,
        digests=files.digest([digests[row] for row in kept]),
        cached=cached,
        stored=np.array([places[row] for row in kept]),
        left_out=left_out,
    )


def digest_files(files: Sequence[ImageFile]) -> tuple[list[str], dict[int, str]]:
    """Returns the hash of each file's content, and the faults of files that cannot be read."""
    # A file with several images of a series is read once.
    paths = [file.path if isinstance(file, FileFrame) else file for file in files]
    unique = list(dict.fromkeys(paths))
    wrong: dict[Path, str] = {}

    def digest(path: Path) -> str:
        try:
            mode = os.stat(path).st_mode
            if stat.S_ISDIR(mode):
                return digest_series(path)
            if not stat.S_ISREG(mode):
                raise OSError(0, "not a file")
            return file_digest(path)
        except FileNotFoundError:
            wrong[path] = "missing"
        except OSError as error:
            if error.errno in _SHORTAGES:
                reason = (error.strerror or "unreadable").lower()
                raise InputError(
                    f"Every file must be readable. Received: {path} ({reason}), for a reason outside of"
                    " the file. Close other programs, or raise the limit, and try again."
                ) from None
            wrong[path] = (error.strerror or "unreadable").lower()
        return ""

    digests = dict(zip(unique, map_files(digest, unique), strict=True))
    return [digests[path] for path in paths], {row: wrong[path] for row, path in enumerate(paths) if path in wrong}


def _decode(
    rows: FileRows, digests: Sequence[str], reading: Reading, faults: dict[int, str]
) -> tuple[CachedImages, list[int]]:
    """Returns the decoded images, and the index of each file among them; files of the same content share one.

    The images of a series have a window in common, so only series of the same content share them.
    """
    of_series = rows.times is not None
    # In the order of the hashes, so that the cached file depends neither on the order of the files nor on their labels.
    series = rows.digest_series(digests) if of_series else []
    keys = [
        (series[rows.owners[row]] if of_series else "", digests[row] + file.suffix.lower())
        for row, file in enumerate(rows.files)
    ]
    by_content = {keys[row]: row for row in range(len(keys)) if row not in faults}
    # A series' images stay in their order, whose middle may name the window.
    order = sorted(by_content, key=lambda key: (key[0], by_content[key] if of_series else 0, key[1]))
    unique = [rows.files[by_content[key]] for key in order]
    # Slices of a volume that are read one by one are images.
    volumes = not getattr(unique[0], "is_slice", False) and medical_files.is_volume(unique[0], reading.own.frame)
    if volumes and of_series:
        raise InputError(
            f"The images of a series must have two dimensions. Received: {unique[0]}, a volume. Cut out one slice, or"
            " read its slices with --steps-along position."
        )
    channels = reading.channels
    if channels is None:
        channels = 1 if volumes else guess_channels(unique)
    shape = image_shape(reading.own_side, channels)
    shape = (shape[0], *shape) if volumes else shape
    cached = open_or_decode(
        unique,
        [digests[by_content[key]] for key in order],
        shape,
        reading.own.rendering,
        series=np.unique([key[0] for key in order], return_inverse=True)[1].tolist() if of_series else None,
        progress=reading.progress,
    )
    cached.decoded.require_no_obstacles(unique)
    numbers = {key: place for place, key in enumerate(order)}
    places = [numbers.get(key, -1) for key in keys]
    faults |= {row: cached.decoded.faults[place] for row, place in enumerate(places) if place in cached.decoded.faults}
    return cached, places


def _leave_out(names: Sequence[str], files: Sequence[ImageFile], faults: dict[int, str], skip_bad: bool) -> list[str]:
    """Returns a warning of the bad files if they may be left out, else raises an error."""
    if faults and (not skip_bad or len(faults) == len(files)):
        remedy = "" if skip_bad else "Replace or remove them, or skip them with --skip-bad."
        raise InputError(describe_faults(faults, files, remedy))
    bad = [f"{names[row]} ({faults[row]})" for row in sorted(faults)]
    return [f"left out {len(bad)} of {len(files)} files: {name_some(bad)}"] if bad else []
