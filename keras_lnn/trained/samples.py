"""The choice of images to measure a model on, without those that it was trained on."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_lnn.config import TrainConfig
from keras_lnn.data.arrays import ALL, SPLITS, ImageData, Split
from keras_lnn.data.catalog import is_own
from keras_lnn.data.joining import join_splits
from keras_lnn.data.reading import Reading
from keras_lnn.data.samples import SHORT, FoundSamples, SampleRecord
from keras_lnn.data.sources.loading import with_columns_of
from keras_lnn.data.splitting import take_samples
from keras_lnn.errors import InputError
from keras_lnn.fields.options import DataOptions
from keras_lnn.runs.folder import RunFolder
from keras_lnn.saved.predictor import find_model
from keras_lnn.saved.signature import Signature, read_samples, short_data_name

LEARNED_DATA, OTHER_DATA = "the data that it was trained on", "other data"
# Weights are fitted on train; the epoch and the thresholds are chosen on val.
_TRAINED = ("train", "val")


@dataclasses.dataclass(frozen=True)
class LearnedData:
    """Everything known about the data that a model was trained on.

    Args:
        signature: Signature of the model.
        config: Configuration of its run; None if the model was not given as a run.
        samples: The images with their splits; None if no list was kept, or if the data have no file per image.
    """

    signature: Signature
    config: TrainConfig | None
    samples: SampleRecord | None

    @classmethod
    def of(cls, model: str | Path, signature: Signature) -> LearnedData:
        """Reads the data of a model from the folder of its run, or from its file or exported folder."""
        run = RunFolder(Path(model))
        if run.config.is_file():
            return cls(signature, TrainConfig.from_yaml(run.config), run.read_samples())
        return cls(signature, None, read_samples(find_model(model)))

    @property
    def name(self) -> str:
        """Returns the name by which the data can be loaded."""
        name = self.signature.data if self.config is None else self.config.data
        if is_own(name) and not Path(name.partition(":")[2]).exists():
            short = "" if self.config is not None else " (the model without its run keeps only this short name)"
            raise InputError(
                f"The {self.signature.samples} that a model was trained on must exist to measure it on them. Received:"
                f" {name}{short}, which does not exist here. Give their place with --data."
            )
        return name

    @property
    def seed(self) -> int:
        """Returns the seed for splitting data sets that have no splits of their own."""
        signature = self.signature
        return (signature.seed if signature.split_seed is None else signature.split_seed) or 0

    def is_named(self, name: str) -> bool:
        """Returns whether a name is that of the data, however its path is written."""
        if self.config is None:
            return short_data_name(name).rstrip("/") == self.signature.data.rstrip("/")
        kind, _, path = name.partition(":")
        own_kind, _, own_path = self.config.data.partition(":")
        return kind == own_kind and os.path.realpath(path) == os.path.realpath(own_path)

    def find(self, data: ImageData) -> FoundSamples | None:
        """Finds the images in loaded data; None if there are no digests to find them by."""
        loaded = data.splits.get(ALL)
        if self.samples is None or loaded is None or loaded.names is None:
            return None
        return self.samples.find(loaded.require_digests(), loaded.names, loaded.labels, data.class_names)

    def is_same(self, data: ImageData, name: str) -> bool:
        """Returns whether loaded data are those that the model was trained on.

        They are if most of their images are known, whatever their name, or if they have the same name and still
        contain most of the images. Without digests of images, they are if the checksum or the name is the same; data
        of the same name with another checksum are the same data, changed.
        """
        if self.samples is None or ALL not in data.splits:
            return data.checksum == self.signature.checksum or self.is_named(name)
        digests = data.splits[ALL].require_digests()
        known = self.samples.knows(digests)
        return known.mean() > 0.5 or (self.is_named(name) and self.count_found(digests) > 0.5 * len(self.samples))

    def count_found(self, digests: Sequence[str]) -> int:
        """Returns the number of the images that are among loaded files."""
        if self.samples is None:
            return 0
        loaded = {digest[:SHORT] for digest in digests}
        return sum(digest[:SHORT] in loaded for digest in self.samples.digests)

    def reading(self, name: str, given: DataOptions) -> Reading:
        """Returns how data are read to measure the model: as options say, else as the data that it learned from.

        Args:
            name: Name of the data.
            given: The options.
        """
        known = Reading(own=self.signature.own) if self.config is None else Reading().with_options(self.config)
        fold = self.signature.fold
        if not self.is_named(name):
            known, fold = dataclasses.replace(known, own=with_columns_of(name, known.own)), None
        if self.signature.time_unit is not None:
            # Times are read in the model's unit, whatever suits the span of other data or is the unit of their numbers.
            unit, steps = self.signature.time_unit, self.signature.image_shape[0]
            own = dataclasses.replace(known.own, time_unit=unit, model_unit=unit, max_steps=steps)
            known = dataclasses.replace(known, own=own)
        known = dataclasses.replace(
            known, size=self.signature.size, channels=self.signature.image_shape[-1], seed=self.seed, fold=fold
        )
        return known.with_options(given)


@dataclasses.dataclass(frozen=True)
class ChosenSamples:
    """The images that a model is measured on.

    Args:
        split: ``train``, ``val``, ``test`` or ``all``.
        parts: The images, in one part or several.
        data_is: ``LEARNED_DATA`` or ``OTHER_DATA``.
        left_out: Number of images that are not measured because they were in training or validation.
        new: Number of images that were added to the data after the training, and are not measured.
        missing: Number of images of the split that no longer exist.
        warnings: Reasons to doubt the metrics, one sentence each.
    """

    split: str
    parts: list[Split]
    data_is: str
    left_out: int = 0
    new: int = 0
    missing: int = 0
    warnings: tuple[str, ...] = ()

    def joined(self) -> Split:
        """Returns all parts as one split."""
        return join_splits(self.parts)


def choose_samples(
    learned: LearnedData, data: ImageData, name: str, split: str | None, compare_labels: bool = True
) -> ChosenSamples:
    """Chooses the images to measure a model on.

    For the data that it was trained on, these are the images recorded for a split, by default the test split; for
    other data, all images, or a split of these data's own. ``all`` leaves out training and validation images.

    Args:
        learned: The data that the model was trained on.
        data: Loaded data, with the model's classes.
        name: Name by which they were requested.
        split: Name of a split, or None for the default.
        compare_labels: Whether labels that differ from the recorded ones are reported.
    """
    if not learned.is_same(data, name):
        return _choose_from_other_data(learned, data, split or ALL)
    found = learned.find(data)
    if found is not None:
        return _choose_recorded(found, data, split or "test", compare_labels, learned.signature.samples)
    _require_unseen(learned.signature, data, split or "test")
    changed = ()
    trained_here = learned.signature.best_epoch is not None or learned.signature.ensemble is not None
    if trained_here and data.checksum != learned.signature.checksum:
        changed = (
            f"{name} has changed since the model was trained on it (checksum {data.checksum}, before "
            f"{learned.signature.checksum}): {learned.signature.samples} of this split may have been in its training.",
        )
    if split == ALL:
        left_out = sum(len(data.splits[name]) for name in _TRAINED)
        return ChosenSamples(ALL, [data.splits["test"]], LEARNED_DATA, left_out, warnings=changed)
    return ChosenSamples(split or "test", [data.splits[split or "test"]], LEARNED_DATA, warnings=changed)


def _require_unseen(signature: Signature, data: ImageData, split: str) -> None:
    """Checks that a split of data without a list of samples means the same for all members of an ensemble."""
    if signature.ensemble is None or signature.ensemble.same_splits:
        return
    if split not in ("test", ALL) or "test" not in data.given_splits:
        raise InputError(
            "Members that learned from different samples, such as those of folds, are measured together on a test split"
            f" that the data came with. Received: {split} of {data.name}. Choose --split test of data that have one, or"
            " other data."
        )


def _choose_recorded(
    found: FoundSamples, data: ImageData, split: str, compare_labels: bool, noun: str
) -> ChosenSamples:
    every = data.splits[ALL]
    fitted = found.record.knows(every.require_digests(), _TRAINED)
    if split == ALL:
        rows, missing, new, left_out = np.flatnonzero(~fitted), 0, 0, int(fitted.sum())
    else:
        rows, missing, new, left_out = found.rows(split), len(found.missing(split)), int((found.places < 0).sum()), 0
    if not len(rows):
        raise InputError(
            f"There must be {noun} to measure the model on. Received: {data.name}, of whose {len(every)} {noun} none is"
            f" in the model's {split} split. Choose another --split or other data."
        )
    relabelled = int(found.is_relabelled[rows].sum()) if compare_labels else 0
    warnings = []
    if new:
        warnings.append(
            f"{new} of {len(every)} {noun} were added to {data.name} after the model was trained on it, and are not"
            f" measured; --split {ALL} measures them together with the test split."
        )
    if missing:
        warnings.append(f"{missing} of {missing + len(rows)} {noun} of the {split} split are missing or changed.")
    if relabelled:
        warnings.append(
            f"{relabelled} of {len(rows)} {noun} had other labels when the model was trained on {data.name}."
        )
    if split == ALL and found.record.groups is not None and every.groups is not None:
        pairs = zip(found.record.groups, found.record.splits, strict=True)
        patients = {patient for patient, patient_split in pairs if patient_split in _TRAINED}
        familiar = sum(every.groups[row] in patients for row in rows)
        if familiar:
            warnings.append(
                f"{familiar} of {len(rows)} {noun} show patients with other {noun} in the model's training or"
                " validation."
            )
    return ChosenSamples(split, [take_samples(every, rows)], LEARNED_DATA, left_out, new, missing, tuple(warnings))


def _choose_from_other_data(learned: LearnedData, data: ImageData, split: str) -> ChosenSamples:
    if split == ALL:
        parts = [data.splits[ALL]] if ALL in data.splits else [data.splits[name] for name in SPLITS]
    elif split in data.given_splits:
        parts = [data.splits[split]]
    else:
        known = f"only {', '.join(data.given_splits)}" if data.given_splits else "no splits"
        raise InputError(
            f"--split must be a split of the data's own. Received: {split} of {data.name}, which the model was not "
            f"trained on and which has {known} of its own. Choose --split {ALL}."
        )
    warnings, left_out, noun = [], 0, learned.signature.samples
    if learned.samples is not None and ALL in data.splits:
        (part,) = parts
        fitted = learned.samples.knows(part.require_digests(), _TRAINED)
        left_out = int(fitted.sum())
        if left_out == len(part):
            raise InputError(
                f"There must be {noun} that the model was not trained on. Received: {data.name}, whose {len(part)}"
                f" {noun} of {split} were all in its training or validation. Choose other data."
            )
        if left_out:
            parts = [take_samples(part, np.flatnonzero(~fitted))]
            warnings.append(
                f"{left_out} of {len(part)} {noun} were in the model's training or validation, and are left out."
            )
    elif is_own(learned.signature.data) and ALL in data.splits:
        warnings.append(f"The model has no list of its training {noun}, so they could not be found and left out.")
    return ChosenSamples(split, parts, OTHER_DATA, left_out, warnings=tuple(warnings))
