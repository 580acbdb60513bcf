"""The runs that an ensemble joins: found, read, and checked to be different models of one signature."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from keras_lnn.comparing.compared_run import ComparedRun, same_samples
from keras_lnn.comparing.runs import find_runs, read_any_run
from keras_lnn.config import TrainConfig
from keras_lnn.data.augment.operations import find_mirrors
from keras_lnn.data.samples import SHORT, SampleRecord
from keras_lnn.errors import InputError
from keras_lnn.files.atomic import file_digest
from keras_lnn.runs.folder import RunFolder
from keras_lnn.saved.ensembles import Member
from keras_lnn.saved.predictor import find_model
from keras_lnn.saved.signature import SIGNATURE_FILE, Signature, read_signature

# From the weakest use of a sample to the strongest: what one member has trained on, the ensemble has trained on.
_USES = ("test", "val", "train")
# What all members must agree on, in words.
_SHARED: dict[str, Callable[[Signature], Any]] = {
    "task": lambda signature: signature.task,
    "classes": lambda signature: ", ".join(signature.class_names),
    "shape of an image": lambda signature: signature.image_shape,
    "unit of times": lambda signature: signature.time_unit,
    "positive class": lambda signature: signature.positive_class,
    "data": lambda signature: f"{signature.data} ({signature.checksum})",
    "options for reading images": lambda signature: signature.own,
}


@dataclasses.dataclass(frozen=True)
class MemberRun:
    """A complete run that becomes a member.

    Args:
        path: Its folder.
        config: Its configuration.
        signature: The signature of its best model.
        digest: SHA-256 of its ``best.keras``.
    """

    path: Path
    config: TrainConfig
    signature: Signature
    digest: str

    @property
    def folder(self) -> RunFolder:
        """Returns its folder as that of a run."""
        return RunFolder(self.path)

    @property
    def is_tested(self) -> bool:
        """Returns whether the run was measured on its test split."""
        return "test" in (self.folder.read_metrics() or {})

    def describe(self) -> Member:
        """Returns what the signature of the ensemble says of it."""
        known = self.signature
        return Member(self.folder.name, self.digest, known.model, known.seed, known.fold)

    def read(self, split: str) -> ComparedRun:
        """Returns the run with what it predicted for a split, ``test`` or ``val``."""
        return read_any_run(self.path, split)


def open_members(paths: Iterable[str | os.PathLike], fewest: int = 2) -> list[MemberRun]:
    """Returns the runs at or below some folders, which must be different models of one signature.

    Args:
        paths: Runs, or folders that are searched for runs at any depth, such as that of a cross-validation.
        fewest: How many there must be.
    """
    found: dict[str, MemberRun] = {}
    for path in map(Path, paths):
        _require_no_export(path)
        for place in find_runs(path):
            best = find_model(place)
            member = MemberRun(place, TrainConfig.from_yaml(RunFolder(place).config), read_signature(best), "")
            member = dataclasses.replace(member, digest=file_digest(best))
            if member.digest in found:
                raise InputError(
                    f"An ensemble joins different models. Received: {place}, the same model as"
                    f" {found[member.digest].path}. Name it once."
                )
            found[member.digest] = member
    members = list(found.values())
    if len(members) < fewest:
        alone = f"only {members[0].path}" if members else "none"
        raise InputError(f"An ensemble joins at least two runs. Received: {alone}. Name more runs, or --views mirror.")
    require_alike(members)
    return members


def require_alike(members: Sequence[MemberRun]) -> None:
    """Checks that the same images can be given to all members, and that their outputs mean the same."""
    first = members[0]
    for member in members[1:]:
        for what, read in _SHARED.items():
            expected, received = read(first.signature), read(member.signature)
            if expected != received:
                raise InputError(
                    f"Members of an ensemble must have the same {what}, {expected} as {first.path}. Received:"
                    f" {member.path} with {received}. Name runs that were trained alike."
                )


def find_axes(members: Sequence[MemberRun]) -> tuple[int, ...]:
    """Returns the axes, counted from 1, along which all members have learned from mirror images; there must be one."""
    signature = members[0].signature
    series = signature.time_unit is not None
    names = [member.config.augmentation or "none" for member in members]
    axes = set.intersection(*(set(find_mirrors(name, signature.image_shape, series=series)) for name in names))
    if not axes:
        raise InputError(
            "--views mirror needs members that have learned from mirror images. Received: the augmentation"
            f" {' and '.join(sorted(set(names)))}. Leave it out, or train with --augmentation mirror where left and"
            " right mean the same."
        )
    return tuple(sorted(axes))


def share_splits(members: Sequence[MemberRun]) -> bool:
    """Returns whether all members were validated, and tested where they were, on the same samples."""
    if any(member.signature.fold != members[0].signature.fold for member in members):
        return False
    splits = ("val", "test") if all(member.is_tested for member in members) else ("val",)
    return all(same_samples([member.read(split) for member in members]) for split in splits)


def merge_records(records: Sequence[SampleRecord | None]) -> SampleRecord | None:
    """Returns the samples of all members with the strongest use of each; None unless each member has a record.

    Args:
        records: The samples of each member. What one of them has trained on is training, and what one was validated on
            is validation; only what the others did not use, or tested on too, stays a test.
    """
    known = [record for record in records if record is not None]
    if len(known) < len(records):
        return None
    uses: dict[tuple[str | None, ...], str] = {}
    for record in known:
        names, groups = (column or [None] * len(record) for column in (record.names, record.groups))
        for *key, split in zip(record.digests, record.labels, names, groups, record.splits, strict=True):
            sample = tuple(key)
            uses[sample] = max(split, uses.get(sample, split), key=_USES.index)
    # As in a record of one run: split by split.
    ordered = sorted(uses.items(), key=lambda item: -_USES.index(item[1]))
    digests, labels, names, groups = (list(column) for column in zip(*(key for key, _ in ordered), strict=True))
    return SampleRecord(
        splits=[split for _, split in ordered],
        digests=digests,
        labels=labels,
        names=None if None in names else names,
        groups=None if None in groups else groups,
    )


def with_unseen_test(record: SampleRecord, whole: SampleRecord) -> SampleRecord:
    """Returns a record with the test samples of another one that are not in it under any name.

    Args:
        record: The samples that the members have seen.
        whole: All samples of the data, with the test split that they came with.
    """
    seen = {digest[:SHORT] for digest in record.digests}
    samples = enumerate(zip(whole.digests, whole.splits, strict=True))
    test = whole.take([row for row, (digest, split) in samples if split == "test" and digest[:SHORT] not in seen])

    def join(before: list[str] | None, added: list[str] | None) -> list[str] | None:
        return None if before is None or added is None else before + added

    return SampleRecord(
        splits=record.splits + test.splits,
        digests=record.digests + test.digests,
        labels=record.labels + test.labels,
        names=join(record.names, test.names),
        groups=join(record.groups, test.groups),
    )


def _require_no_export(path: Path) -> None:
    if path.is_file() or (path / SIGNATURE_FILE).is_file():
        kind = "an exported folder" if path.is_dir() else "a file"
        raise InputError(f"An ensemble joins runs. Received: {path}, {kind}. Name the folder of its run.")
