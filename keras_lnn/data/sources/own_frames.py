"""The image files of samples: one per image, or several of a series, with their times."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_lnn.data.arrays import ImageArray, SeriesArray
from keras_lnn.data.decode.copies import digests_of
from keras_lnn.data.decode.file_frames import FileFrame
from keras_lnn.data.splitting import SelectedRows
from keras_lnn.files.atomic import as_text

# Images with less variation in their miniatures, such as black ones, are alike in any two series.
_LEAST_DEVIATION = 2.0


@dataclasses.dataclass(frozen=True)
class SeriesFiles:
    """The images of one series in the order of their times.

    Args:
        frames: The images.
        times: The time of each, in the unit of all series.
    """

    frames: tuple[FileFrame, ...]
    times: np.ndarray


@dataclasses.dataclass(frozen=True)
class FileRows:
    """The files of all samples, one sample's after the other's.

    Args:
        files: The files.
        owners: The number of the sample that each file belongs to, never falling.
        times: The time of each file; None if each sample is one image.
    """

    files: list[Path] | list[FileFrame]
    owners: np.ndarray
    times: np.ndarray | None = None

    @classmethod
    def of(cls, samples: Sequence[Path | SeriesFiles]) -> FileRows:
        """Returns the files of images, or of series."""
        series = [sample for sample in samples if isinstance(sample, SeriesFiles)]
        if not series:
            return cls([sample for sample in samples if isinstance(sample, Path)], np.arange(len(samples)))
        return cls(
            [frame for each in series for frame in each.frames],
            np.repeat(np.arange(len(series)), [len(each.frames) for each in series]),
            np.concatenate([each.times for each in series]),
        )

    def take(self, rows: Sequence[int]) -> FileRows:
        """Returns some of the files; the samples that still have files are numbered again from 0."""
        places = np.asarray(rows, int)
        _, owners = np.unique(self.owners[places], return_inverse=True)
        times = None if self.times is None else self.times[places]
        return FileRows([self.files[row] for row in places.tolist()], owners, times)

    def count(self) -> int:
        """Returns the number of samples."""
        return int(self.owners[-1]) + 1 if len(self.owners) else 0

    def names(self, samples: Sequence[str]) -> list[str]:
        """Returns the name of each file for messages: that of its sample, for series with the file's own."""
        if self.times is None:
            return list(samples)
        return [
            f"{samples[owner]}: {as_text(file.path.name)}{file.frame_name}"
            for owner, file in zip(self.owners, self.files, strict=True)
            if isinstance(file, FileFrame)
        ]

    def digest(self, digests: Sequence[str]) -> list[str]:
        """Returns the digest of each sample: that of its file, for series of all files with their times.

        Args:
            digests: The digest of each file.
        """
        if self.times is None:
            return list(digests)
        found = []
        for start, stop in self._bounds():
            # Times since the first image, in millionths: the digest must not depend on the last bit of a date.
            since = np.rint((self.times[start:stop] - self.times[start]) * 1e6).astype(np.int64).tolist()
            parts = zip(digests[start:stop], self.files[start:stop], since, strict=True)
            lines = [f"{digest} {getattr(file, 'index', None)} {time}" for digest, file, time in parts]
            found.append(hashlib.sha256("\n".join(lines).encode()).hexdigest())
        return found

    def digest_pixels(self, prints: np.ndarray) -> list[str]:
        """Returns a hash of the pixels of each sample.

        Args:
            prints: Fingerprint of each file's image.
        """
        digests = digests_of(prints)
        if self.times is None:
            return digests
        return [hashlib.sha256("".join(digests[start:stop]).encode()).hexdigest() for start, stop in self._bounds()]

    def find_shared(self, prints: np.ndarray, parts: np.ndarray) -> list[tuple[int, int]]:
        """Returns pairs of files with the same pixels in two series of different parts of the data.

        Args:
            prints: Fingerprint of each file's image.
            parts: The part that each file belongs to.
        """
        if self.times is None:
            return []
        first: dict[str, int] = {}
        pairs = []
        varied = prints[:, 8:].std(axis=1) >= _LEAST_DEVIATION
        for row, digest in enumerate(digests_of(prints)):
            other = first.setdefault(digest, row)
            if varied[row] and parts[other] != parts[row]:
                pairs.append((other, row))
        return pairs

    def pair_samples(self, pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Returns the samples of pairs of files, each pair of samples once."""
        owners = self.owners.tolist()
        return list(dict.fromkeys((owners[one], owners[other]) for one, other in pairs))

    def arrange(
        self, images: ImageArray, places: np.ndarray, rows: np.ndarray, unit: str | None, steps: int | None
    ) -> ImageArray:
        """Returns the images of some samples, or series of them.

        Args:
            images: Decoded images.
            places: The decoded image of each file.
            rows: The samples.
            unit: The unit of the times of series.
            steps: Number of images that each series is padded to; the length of the longest if not given.
        """
        if self.times is None:
            return SelectedRows(images, places[rows])
        bounds = np.array(self._bounds())
        lengths = np.diff(bounds, axis=1)[:, 0]
        starts = bounds[:, 0]
        since = self.times - self.times[starts][self.owners]
        frames = SelectedRows(images, places)
        every = SeriesArray(frames, starts, lengths, since, steps or int(lengths.max()), unit or "")
        return every.take(rows)

    def _bounds(self) -> list[tuple[int, int]]:
        edges = np.searchsorted(self.owners, np.arange(self.count() + 1)).tolist()
        return list(itertools.pairwise(edges))
