"""Records of the samples of a run, which find them again by their content under any names and in any order."""

from __future__ import annotations

import collections
import csv
import dataclasses
import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from keras_lnn.data.arrays import SPLITS, ImageData
from keras_lnn.data.checking import name_some
from keras_lnn.errors import InputError
from keras_lnn.files.atomic import DAMAGED_FILE_ERRORS, as_text
from keras_lnn.files.csv_tables import plain_cell, safe_cell

# Hexadecimal digits of a digest in an exported model; samples are compared by this many.
SHORT = 16
_LABEL_DIGITS = 8
_COLUMNS = ("split", "index", "file", "patient", "digest", "label_digest")


@dataclasses.dataclass(frozen=True)
class SampleRecord:
    """The samples of a run, split by split in the order of the run; one entry per sample.

    Args:
        splits: ``train``, ``val`` or ``test``.
        digests: SHA-256 of the content of the sample's file, or its first 16 digits.
        labels: A hash of each sample's label, see :func:`label_digests`.
        names: Names of the files; None if they are not known, as in an exported model.
        groups: Patients; None if they are not known.
    """

    splits: list[str]
    digests: list[str]
    labels: list[str]
    names: list[str] | None = None
    groups: list[str] | None = None

    def __len__(self) -> int:
        return len(self.digests)

    @classmethod
    def of(cls, data: ImageData) -> SampleRecord | None:
        """Returns the record of loaded data, or None if their samples have no digests."""
        parts = [data.splits[name] for name in SPLITS]
        digests: list[str] = []
        labels: list[str] = []
        for part in parts:
            if part.digests is None:
                return None
            digests += part.digests
            labels += label_digests(part.digests, part.labels, data.class_names)
        names = _join([part.names for part in parts])
        return cls(
            splits=[name for name, part in zip(SPLITS, parts, strict=True) for _ in range(len(part))],
            digests=digests,
            labels=labels,
            names=None if names is None else [as_text(name) for name in names],
            groups=_join([part.groups for part in parts]),
        )

    def counts(self) -> dict[str, int]:
        """Returns the number of samples in each split."""
        return {name: self.splits.count(name) for name in SPLITS}

    def take(self, rows: Sequence[int]) -> SampleRecord:
        """Returns the record of some of the samples.

        Args:
            rows: Their places.
        """
        splits, digests, labels = ([column[row] for row in rows] for column in (self.splits, self.digests, self.labels))
        names, groups = (
            None if column is None else [column[row] for row in rows] for column in (self.names, self.groups)
        )
        return SampleRecord(splits, digests, labels, names, groups)

    def knows(self, digests: Sequence[str], splits: Sequence[str] = SPLITS) -> np.ndarray:
        """Returns whether the content of each file is that of a sample in one of the splits."""
        pairs = zip(self.digests, self.splits, strict=True)
        known = {digest[:SHORT] for digest, split in pairs if split in splits}
        return np.array([digest[:SHORT] in known for digest in digests], bool)

    def find(
        self, digests: Sequence[str], names: Sequence[str], labels: np.ndarray, class_names: Sequence[str]
    ) -> FoundSamples:
        """Finds the samples of the record in loaded data.

        Args:
            digests: SHA-256 of the content of each loaded file.
            names: Name of each loaded file, which matters only among files of equal content.
            labels: As in :class:`~keras_lnn.data.arrays.Split`.
            class_names: One name per class or label.
        """
        loaded_labels = label_digests(digests, labels, class_names)
        places = _match(
            _Samples([digest[:SHORT] for digest in self.digests], self.labels, self.names or [None] * len(self)),
            _Samples([digest[:SHORT] for digest in digests], loaded_labels, [as_text(name) for name in names]),
        )
        return FoundSamples(self, loaded_labels, places)

    def to_csv(self) -> str:
        """Returns a table with one row per sample."""
        stream = io.StringIO()
        writer = csv.writer(stream, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        writer.writerow(_COLUMNS)
        numbers: collections.Counter[str] = collections.Counter()
        for row, split in enumerate(self.splits):
            group = "" if self.groups is None else self.groups[row]
            name = "" if self.names is None else self.names[row]
            cells = (safe_cell(name), safe_cell(group), self.digests[row], self.labels[row])
            writer.writerow((split, numbers[split], *cells))
            numbers[split] += 1
        return stream.getvalue()

    @classmethod
    def read_csv(cls, path: Path) -> SampleRecord:
        """Reads a table that :meth:`to_csv` returned, its rows in any order."""
        try:
            with open(path, encoding="utf-8", newline="") as stream:
                rows = list(csv.DictReader(stream, strict=True))
            rows.sort(key=lambda row: (SPLITS.index(row["split"]), int(row["index"])))
            columns = {name: [row[name] for row in rows] for name in _COLUMNS}
            if not rows or not all(len(digest) >= SHORT for digest in columns["digest"]):
                raise ValueError("a digest is cut off")
        except (*DAMAGED_FILE_ERRORS, csv.Error) as error:
            raise InputError(
                f"The samples of a run must be as it wrote them. Received: {path} ({error}). Bring the file back"
                " from a copy, or begin a new run."
            ) from None
        names, groups = ([plain_cell(cell) for cell in columns[name]] for name in ("file", "patient"))
        return cls(columns["split"], columns["digest"], columns["label_digest"], names, groups if any(groups) else None)

    def to_json(self) -> dict[str, Any]:
        """Returns the record for an exported model: short digests, no names and no patients."""
        entries = [f"{digest[:SHORT]}-{label}" for digest, label in zip(self.digests, self.labels, strict=True)]
        return {
            name: [entry for entry, split in zip(entries, self.splits, strict=True) if split == name] for name in SPLITS
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Sequence[str]]) -> SampleRecord:
        """Reads what :meth:`to_json` returned."""
        entries = [(name, *entry.split("-")) for name in SPLITS for entry in content[name]]
        splits, digests, labels = (list(column) for column in zip(*entries, strict=True))
        return cls(splits, digests, labels)


# How own images get their splits: by seed; by seed in the order of the table, as before samples were recorded; none,
# but one split "all" beside those that the data themselves define; or as a run has recorded them.
SplitPlan = Literal["seeded", "as listed", "whole"] | SampleRecord


@dataclasses.dataclass(frozen=True)
class FoundSamples:
    """The positions of a record's samples in loaded data.

    Args:
        record: The samples.
        labels: A hash of each loaded file's label, see :func:`label_digests`.
        places: For each loaded file its position in the record; -1 if it is not one of the samples.
    """

    record: SampleRecord
    labels: list[str]
    places: np.ndarray

    @property
    def is_relabelled(self) -> np.ndarray:
        """Returns whether each loaded file is a sample whose label differs from that in the record."""
        pairs = zip(self.places, self.labels, strict=True)
        return np.array([place >= 0 and self.record.labels[place] != label for place, label in pairs], bool)

    def rows(self, split: str) -> np.ndarray:
        """Returns the loaded files that are the samples of a split, in the order of the record."""
        rows = np.flatnonzero(self.places >= 0)
        rows = rows[np.argsort(self.places[rows], kind="stable")]
        return np.array([row for row in rows if self.record.splits[self.places[row]] == split], int)

    def missing(self, split: str | None = None) -> list[int]:
        """Returns the positions in the record of samples that were not found, of a split or of all."""
        found = set(self.places.tolist())
        return [
            place
            for place, of_split in enumerate(self.record.splits)
            if place not in found and split in (None, of_split)
        ]

    def require_the_same(self, name: str) -> None:
        """Checks that the loaded files are exactly the samples of the record."""
        missing, added = self.missing(), int((self.places < 0).sum())
        if not missing and not added:
            return
        names = [self.record.names[place] for place in missing] if self.record.names else []
        known = f" ({name_some(names)})" if names else ""
        raise InputError(
            f"A run must continue with the data that it began with. Received: {name}, in which {len(missing)} of"
            f" {len(self.record)} images are missing or changed{known} and {added} others were added. Restore the old"
            " data or begin a new run."
        )


def _join(columns: Sequence[Sequence[str] | None]) -> list[str] | None:
    """Returns the entries of all splits; None where a split does not know them."""
    known = [column for column in columns if column is not None]
    return [entry for column in known for entry in column] if len(known) == len(columns) else None


def label_digests(digests: Sequence[str], labels: np.ndarray, class_names: Sequence[str]) -> list[str]:
    """Returns a hash of the label of each file, which shows later whether the label has changed.

    The whole digest of the file is hashed with its label, so that only somebody who has the file can find the label.

    Args:
        digests: Whole SHA-256 of the content of each file.
        labels: As in :class:`~keras_lnn.data.arrays.Split`; for masks, their pixels.
        class_names: One name per class or label, in any order.
    """

    def describe(label: np.ndarray) -> bytes:
        if label.ndim > 1:
            return label.tobytes()
        present = [class_names[index] for index in (np.flatnonzero(label).tolist() if label.ndim else [int(label)])]
        return "|".join(sorted(present)).encode("utf-8", "surrogateescape")

    return [
        hashlib.sha256(digest.encode() + b"\0" + describe(label)).hexdigest()[:_LABEL_DIGITS]
        for digest, label in zip(digests, labels, strict=True)
    ]


@dataclasses.dataclass(frozen=True)
class _Samples:
    digests: list[str]
    labels: list[str]
    names: Sequence[str | None]


def _match(recorded: _Samples, loaded: _Samples) -> np.ndarray:
    """Returns the position in the record of each loaded file, or -1.

    Files of equal content are distinguished by label and name as far as these are unchanged, then by their order.
    """
    keys: tuple[Callable[[_Samples, int], Any], ...] = (
        lambda samples, row: (samples.labels[row], samples.names[row]),
        lambda samples, row: samples.labels[row],
        lambda samples, row: samples.names[row],
        lambda samples, row: None,
    )
    places = np.full(len(loaded.digests), -1)
    free = set(range(len(recorded.digests)))
    for key in keys:
        waiting: dict[Any, collections.deque[int]] = {}
        for place in sorted(free):
            waiting.setdefault((recorded.digests[place], key(recorded, place)), collections.deque()).append(place)
        for row in np.flatnonzero(places < 0):
            candidates = waiting.get((loaded.digests[row], key(loaded, row)))
            if candidates:
                places[row] = candidates.popleft()
                free.discard(int(places[row]))
    return places
