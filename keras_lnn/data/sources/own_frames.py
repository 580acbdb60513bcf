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
    """A sample of the images of one series, in the order of their times.

    Args:
        series: Name of the series. All samples of a series have its images and times.
        frames: The images of the series.
        times: The time of each, in the unit of all series.
        seen: Which of the images the sample consists of, the last of which its label is of; None if the series is one
            sample.
    """

    series: str
    frames: tuple[FileFrame, ...]
    times: np.ndarray
    seen: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class FileRows:
    """The files of all samples; the samples of one series share its files.

    Args:
        files: The files, one series' after the other's.
        owners: The number of the series that each file belongs to, or of the image that it is; never falling.
        rows: The files of each sample, one sample's after the other's.
        lengths: The number of files of each sample.
        times: The time of each file; None if each sample is one image.
        series: Name of each series; empty if each sample is one image.
        of_images: Whether the label of a sample is that of its last image.
    """

    files: list[Path] | list[FileFrame]
    owners: np.ndarray
    rows: np.ndarray
    lengths: np.ndarray
    times: np.ndarray | None = None
    series: tuple[str, ...] = ()
    of_images: bool = False

    @classmethod
    def of(cls, samples: Sequence[Path | SeriesFiles]) -> FileRows:
        """Returns the files of images, or of series."""
        parts = [sample for sample in samples if isinstance(sample, SeriesFiles)]
        if not parts:
            every = np.arange(len(samples))
            return cls([sample for sample in samples if isinstance(sample, Path)], every, every, np.ones_like(every))
        series = {part.series: part for part in parts}
        sizes = [len(each.frames) for each in series.values()]
        starts = dict(zip(series, np.cumsum([0, *sizes[:-1]]), strict=True))
        rows = [
            starts[part.series] + (np.arange(len(part.frames)) if part.seen is None else part.seen) for part in parts
        ]
        return cls(
            [frame for each in series.values() for frame in each.frames],
            np.repeat(np.arange(len(series)), sizes),
            np.concatenate(rows),
            np.array([len(part) for part in rows]),
            np.concatenate([each.times for each in series.values()]),
            tuple(series),
            any(part.seen is not None for part in parts),
        )

    def take(self, rows: Sequence[int]) -> tuple[FileRows, np.ndarray]:
        """Returns some of the files, and which samples are left.

        A sample is left if some of its files are, and, where each image has a label, the one that has its label.
        """
        places = np.asarray(rows, int)
        numbers = np.full(len(self.files), -1)
        numbers[places] = np.arange(len(places))
        found = numbers[self.rows]
        sample = np.repeat(np.arange(len(self.lengths)), self.lengths)
        lengths = np.bincount(sample[found >= 0], minlength=len(self.lengths))
        is_left = lengths > 0
        if self.of_images:
            is_left &= found[np.cumsum(self.lengths) - 1] >= 0
        owned, owners = np.unique(self.owners[places], return_inverse=True)
        left = dataclasses.replace(
            self,
            files=[self.files[row] for row in places.tolist()],
            owners=owners,
            rows=found[(found >= 0) & is_left[sample]],
            lengths=lengths[is_left],
            times=None if self.times is None else self.times[places],
            series=tuple(self.series[owner] for owner in owned.tolist()) if self.series else (),
        )
        return left, np.flatnonzero(is_left)

    def of_samples(self, samples: np.ndarray) -> np.ndarray:
        """Returns the files of some of the samples."""
        return self.rows[np.isin(np.repeat(np.arange(len(self.lengths)), self.lengths), samples)]

    def names(self, samples: Sequence[str]) -> list[str]:
        """Returns the name of each file for messages: that of its sample, for series theirs with the file's own."""
        if self.times is None:
            return list(samples)
        return [
            f"{as_text(self.series[owner])}: {as_text(file.path.name)}{file.frame_name}"
            for owner, file in zip(self.owners, self.files, strict=True)
            if isinstance(file, FileFrame)
        ]

    def digest(self, digests: Sequence[str]) -> list[str]:
        """Returns the digest of each sample: that of its file, for series of all files with their times.

        Args:
            digests: The digest of each file.
        """
        return list(digests) if self.times is None else [self._digest(rows, digests) for rows in self._samples()]

    def digest_series(self, digests: Sequence[str]) -> list[str]:
        """Returns the digest of each series, of all its files with their times.

        Args:
            digests: The digest of each file.
        """
        edges = np.searchsorted(self.owners, np.arange(len(self.series) + 1)).tolist()
        return [self._digest(list(range(start, stop)), digests) for start, stop in itertools.pairwise(edges)]

    def _digest(self, rows: list[int], digests: Sequence[str]) -> str:
        if self.times is None:
            raise ValueError("Files must have times to be digested as series. Received: images. Use their own digests.")
        # Times since the first image, in millionths: the digest must not depend on the last bit of a date.
        since = np.rint((self.times[rows] - self.times[rows[0]]) * 1e6).astype(np.int64).tolist()
        parts = zip(rows, since, strict=True)
        lines = [f"{digests[row]} {getattr(self.files[row], 'index', None)} {time}" for row, time in parts]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def digest_pixels(self, prints: np.ndarray) -> list[str]:
        """Returns a hash of the pixels of each sample.

        Args:
            prints: Fingerprint of each file's image.
        """
        digests = digests_of(prints)
        if self.times is None:
            return digests
        joined = ("".join([digests[row] for row in rows]) for rows in self._samples())
        return [hashlib.sha256(each.encode()).hexdigest() for each in joined]

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
        """Returns the samples of pairs of files, each pair of series once: of each the first sample with the file."""
        owners, first = self.owners.tolist(), np.zeros(len(self.files), int)
        first[self.rows[::-1]] = np.repeat(np.arange(len(self.lengths)), self.lengths)[::-1]
        once = {(owners[one], owners[other]): (int(first[one]), int(first[other])) for one, other in reversed(pairs)}
        return list(once.values())[::-1]

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
        starts = np.cumsum(self.lengths) - self.lengths
        since = self.times[self.rows] - np.repeat(self.times[self.rows[starts]], self.lengths)
        frames = SelectedRows(images, places[self.rows])
        every = SeriesArray(frames, starts, self.lengths, since, steps or int(self.lengths.max()), unit or "")
        return every.take(rows)

    def _samples(self) -> list[list[int]]:
        """Returns the files of each sample."""
        return [part.tolist() for part in np.split(self.rows, np.cumsum(self.lengths)[:-1])]
