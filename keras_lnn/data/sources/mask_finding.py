"""Checks of the masks in a folder: complete, readable, as large as their images, with known classes."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from keras_lnn.data.checking import name_some
from keras_lnn.data.decode.images import Progress, map_files
from keras_lnn.data.decode.mask_pixels import MaskValue, native_grid
from keras_lnn.data.decode.medical_files import Grid, is_nifti
from keras_lnn.data.options import OwnImages
from keras_lnn.data.sources.decoded_samples import digest_files
from keras_lnn.data.sources.mask_classes import (
    BACKGROUND,
    MaskClasses,
    MaskFacts,
    choose_classes,
    read_classes,
    scan_masks,
    split_by_brightness,
)
from keras_lnn.data.sources.mask_files import CLASSES, MaskedFiles, find_masked_files
from keras_lnn.data.sources.own_images import LabelledFiles
from keras_lnn.errors import InputError

_BLACK = (0, "#000000")
_LOSSY = (".jpg", ".jpeg")


@dataclasses.dataclass(frozen=True)
class FoundMasks:
    """Images with valid masks, and each distinct content of a mask file once.

    Args:
        files: Images and masks.
        classes: Classes of the masks.
        unique: Mask files of different content, in the order of their hashes.
        digests: Hash of the content of each of them.
        places: Index into them for each image and column of masks; -1 if a class has no file.
        present: Whether each class is in the masks of each image in their own size, 0 or 1.
        grids: The grid of pixels of each image; None if it cannot be read.
        volumes: Whether masks have a depth.
    """

    files: MaskedFiles
    classes: MaskClasses
    unique: list[Path]
    digests: list[str]
    places: np.ndarray
    present: np.ndarray
    grids: list[Grid | None]
    volumes: bool

    def labelled(
        self,
        task: str,
        class_names: tuple[str, ...],
        labels: np.ndarray,
        *,
        present: np.ndarray | None = None,
        spacing: np.ndarray | None = None,
        notes: tuple[str, ...] = (),
    ) -> LabelledFiles:
        """Returns the images with labels that follow from their masks."""
        return LabelledFiles(
            names=self.files.names,
            task=task,
            class_names=class_names,
            labels=labels,
            splits=self.files.splits,
            groups=self.files.groups,
            notes=(*self.files.notes, *self.classes.notes, *notes),
            present=present,
            spacing=spacing,
        )


def find_masks(root: Path, options: OwnImages, progress: Progress | None = None) -> FoundMasks:
    """Finds the masks of the images in a folder and checks them; each kind of mistake is reported in one sentence.

    Args:
        root: The folder.
        options: Roles of a manifest's columns, and whether images with bad masks are left out.
        progress: Called with the fraction of the masks that is checked.
    """
    files = find_masked_files(root, options)
    files = _leave_out(files, _missing(files, root), options, "have a mask", "Add the masks or remove the images")
    digests, faults = _digest(files)
    files = _leave_out(files, _each(files, faults), options, "have a readable mask", "Repair or replace the masks")
    by_content = {digests[path] + path.suffix.lower(): path for path in _paths(files)}
    unique = [by_content[key] for key in sorted(by_content)]
    place_of_content = {key: place for place, key in enumerate(sorted(by_content))}
    places = {path: place_of_content[digests[path] + path.suffix.lower()] for path in _paths(files)}
    known = _read_known(root, files, options.mask_threshold)
    unique_digests = [digests[path] for path in unique]
    coloured = known.coloured if known and known.values else None
    facts = scan_masks(unique, unique_digests, coloured, progress, options.mask_threshold)
    faults = {path: facts.faults[place] for path, place in places.items() if place in facts.faults}
    files = _leave_out(files, _each(files, faults), options, "have a readable mask", "Repair or replace the masks")
    grids = _read_grids(files.images)
    sizes = _wrong_sizes(files, grids, facts, places)
    files = _leave_out(files, sizes, options, "have a mask of its size", "Repair or replace the masks")
    apart = _lying_elsewhere(files, grids)
    files = _leave_out(
        files, apart, options, "have a mask with its affine", "Save masks with the affines of their images"
    )
    found = {value for path in _paths(files) for value in facts.values[places[path]]}
    if options.mask_threshold is not None and 1 not in found:
        raise InputError(
            f"Some pixels of masks must be brighter than --mask-threshold. Received: {options.mask_threshold:g}, above"
            f" which there is no pixel in {root}. Give a lower threshold, or leave it out."
        )
    classes = known or choose_classes(found, lossy=any(path.suffix.lower() in _LOSSY for path in _paths(files)))
    if classes.values:
        unknown = {path: _describe_unknown(facts.values[place], classes) for path, place in places.items()}
        bad = _each(files, {path: reason for path, reason in unknown.items() if reason})
        files = _leave_out(
            files, bad, options, f"have a mask with only the classes in {CLASSES}", "Add the missing classes there"
        )
    used = sorted({places[path] for path in _paths(files)})
    renumbered = {place: number for number, place in enumerate(used)}
    return FoundMasks(
        files=files,
        classes=classes,
        unique=[unique[place] for place in used],
        digests=[unique_digests[place] for place in used],
        places=np.array(
            [[-1 if mask is None else renumbered[places[mask]] for mask in masks] for masks in files.masks], int
        ),
        present=_find_present(files, classes, facts, places),
        grids=[grids.get(path) for path in files.images],
        volumes=len(facts.shapes[used[0]]) == 3,
    )


def _paths(files: MaskedFiles) -> list[Path]:
    return sorted({mask for masks in files.masks for mask in masks if mask is not None})


def _each(files: MaskedFiles, faults: Mapping[Path, str]) -> dict[int, str]:
    """Returns the fault of the masks of each image, by its row."""
    each = ((row, mask) for row, masks in enumerate(files.masks) for mask in reversed(masks))
    return {row: faults[mask] for row, mask in each if mask is not None and mask in faults}


def _leave_out(files: MaskedFiles, bad: Mapping[int, str], options: OwnImages, rule: str, remedy: str) -> MaskedFiles:
    """Leaves out images with faults if that is allowed, else raises an error."""
    if not bad:
        return files
    named = [f"{files.names[row]} ({bad[row]})" for row in sorted(bad)]
    if not options.skip_bad or len(bad) == len(files.names):
        other = "" if options.skip_bad else ", or skip these images with --skip-bad"
        raise InputError(
            f"Every image must {rule}. Received: {len(bad)} of {len(files.names)} images that do not:"
            f" {name_some(named)}. {remedy}{other}."
        )
    kept = files.take([row for row in range(len(files.names)) if row not in bad])
    warning = f"left out {len(bad)} of {len(files.names)} images that do not {rule}: {name_some(named)}"
    return dataclasses.replace(kept, warnings=(*kept.warnings, warning))


def _missing(files: MaskedFiles, root: Path) -> dict[int, str]:
    missing = {}
    for path in _paths(files):
        if not os.path.isfile(path):
            shown = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
            missing[path] = f"no {shown}{'' if path.suffix else '.*'}"
    bad = _each(files, missing)
    return bad | {row: "no mask" for row, masks in enumerate(files.masks) if not files.columns and None in masks}


def _digest(files: MaskedFiles) -> tuple[dict[Path, str], dict[Path, str]]:
    paths = _paths(files)
    digests, faults = digest_files(paths)
    return dict(zip(paths, digests, strict=True)), {paths[row]: reason for row, reason in faults.items()}


def _read_known(root: Path, files: MaskedFiles, threshold: float | None) -> MaskClasses | None:
    """Returns the classes given by the columns of a manifest, by a threshold, or in a table; None if not given."""
    if files.columns:
        return MaskClasses((BACKGROUND, *files.columns), ())
    if threshold is not None:
        return split_by_brightness(threshold, root / CLASSES)
    return read_classes(root / CLASSES) if (root / CLASSES).is_file() else None


def _read_grids(images: Sequence[Path]) -> dict[Path, Grid]:
    """Returns the grid of pixels of each image that can be read."""

    def read(path: Path) -> Grid | None:
        try:
            return native_grid(path)
        except Exception:  # reported when the image is decoded
            return None

    return {path: grid for path, grid in zip(images, map_files(read, images), strict=True) if grid is not None}


def _wrong_sizes(
    files: MaskedFiles, grids: Mapping[Path, Grid], facts: MaskFacts, places: Mapping[Path, int]
) -> dict[int, str]:
    bad = {}
    for row, (image, masks) in enumerate(zip(files.images, files.masks, strict=True)):
        if image not in grids:
            continue
        shape = grids[image].shape
        shapes = [facts.shapes[places[mask]] for mask in masks if mask is not None]
        wrong = [other for other in shapes if other != shape]
        if wrong:
            bad[row] = f"{_as_size(shape)}, its mask {_as_size(wrong[0])}"
    return bad


def _lying_elsewhere(files: MaskedFiles, grids: Mapping[Path, Grid]) -> dict[int, str]:
    """Returns the images whose NIfTI masks have a different affine, which would be mirrored or shifted."""
    known = _read_grids([path for path in _paths(files) if is_nifti(path)])

    def is_apart(image: Path, mask: Path | None) -> bool:
        return image in grids and mask in known and not grids[image].lies_on(known[mask])

    pairs = enumerate(zip(files.images, files.masks, strict=True))
    return {row: "another affine" for row, (image, masks) in pairs if any(is_apart(image, mask) for mask in masks)}


def _as_size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, reversed(shape)))


def _describe_unknown(values: list, classes: MaskClasses) -> str:
    unknown = [value for value in values if value not in classes.values]
    return f"{'colour' if classes.coloured else 'index'} {name_some(list(map(str, unknown)))}" if unknown else ""


def _find_present(files: MaskedFiles, classes: MaskClasses, facts: MaskFacts, places: Mapping[Path, int]) -> np.ndarray:
    def values_of(mask: Path | None) -> Collection[MaskValue]:
        return () if mask is None else facts.values[places[mask]]

    def is_drawn(mask: Path | None) -> bool:
        return any(value not in _BLACK for value in values_of(mask))

    if files.columns:
        rows = [[True, *map(is_drawn, masks)] for masks in files.masks]
    else:
        rows = [[value in values_of(mask) for value in classes.values] for (mask,) in files.masks]
    return np.array(rows, np.uint8)
