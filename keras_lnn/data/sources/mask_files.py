"""The pairs of images and masks in a folder or a manifest."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from keras_lnn.data.checking import name_some
from keras_lnn.data.decode.image_finding import IMAGE_SUFFIXES, find_images
from keras_lnn.data.decode.medical_files import SUFFIXES
from keras_lnn.data.grouping import describe_torn
from keras_lnn.data.options import OwnImages
from keras_lnn.data.sources.mask_classes import BACKGROUND
from keras_lnn.data.sources.table_columns import (
    GROUP_NAMES,
    SPLIT_NAMES,
    find_column,
    find_file_column,
    list_columns,
    plain_name,
    read_splits,
    require_column,
    require_filled,
    require_inside,
)
from keras_lnn.data.sources.table_file import TextTable, read_table
from keras_lnn.errors import InputError

IMAGES, MASKS, MANIFEST, CLASSES = "images", "masks", "manifest.csv", "classes.csv"
_MASK_NAMES = frozenset(["mask", "maskfile", "maskname", "maskpath", "masks", "segmentation", "seg"])
_ENDINGS = (*SUFFIXES, *IMAGE_SUFFIXES)
_WHOLE_PATHS = "Move it below the manifest, or write whole paths."


@dataclasses.dataclass(frozen=True)
class MaskedFiles:
    """Image files with their mask files, one entry per image.

    Args:
        names: The names of the images in all messages and reports.
        images: One path per image; it need not exist.
        masks: The paths of an image's masks: one, or one per class, None if the class is not in the image.
        columns: The classes of several masks per image; empty if there is one mask.
        splits: ``train``, ``val`` or ``test``; None if not given.
        groups: The patients; None if not given.
        notes: Decisions that were taken, one sentence each.
        warnings: Faults that may spoil the results, one sentence each.
    """

    names: list[str]
    images: list[Path]
    masks: list[tuple[Path | None, ...]]
    columns: tuple[str, ...] = ()
    splits: list[str] | None = None
    groups: list[str] | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def take(self, rows: Sequence[int]) -> MaskedFiles:
        """Returns some of the images."""
        lists = {name: getattr(self, name) for name in ("names", "images", "masks", "splits", "groups")}
        chosen = {name: None if values is None else [values[row] for row in rows] for name, values in lists.items()}
        return dataclasses.replace(self, **chosen)


def find_masked_files(root: Path, options: OwnImages) -> MaskedFiles:
    """Finds images and masks: those listed in a manifest, else files of the same name in two folders."""
    if not root.is_dir():
        raise InputError(
            f"masks:DIR must name a folder. Received: {root}, which is"
            f" {'a file' if root.exists() else 'not there'}. Check the path."
        )
    if (root / MANIFEST).is_file():
        return _read_manifest(root, read_table(root / MANIFEST), options)
    missing = [name for name in (IMAGES, MASKS) if not (root / name).is_dir()]
    if missing:
        raise InputError(
            f"A folder with masks must have the folders {IMAGES} and {MASKS}, or a {MANIFEST}. Received: {root} without"
            f" {' and '.join(missing)}. Put the images in {IMAGES} and masks of the same names in {MASKS}."
        )
    images = find_images(root / IMAGES)
    if not images:
        raise InputError(
            f"There must be images with masks. Received: none in {root / IMAGES}."
            " Add PNG, JPEG, BMP, GIF, TIFF, DICOM or NIfTI files."
        )
    stems = [_stem(image, root / IMAGES) for image in images]
    _require_different(stems, images, root)
    masks = _masks_by_stem(root)
    unused = masks.keys() - set(stems)
    notes = [f"{len(unused):,} masks have no image"] if unused else []
    return MaskedFiles(
        names=[image.relative_to(root / IMAGES).as_posix() for image in images],
        images=images,
        masks=[(masks.get(stem, root / MASKS / stem),) for stem in stems],
        notes=tuple(notes),
    )


def _read_manifest(root: Path, table: TextTable, options: OwnImages) -> MaskedFiles:
    file_column = find_file_column(table, options.file_column)
    split_column = find_column(table, "split", options.split_column, SPLIT_NAMES)
    group_column = find_column(table, "group", options.group_column, GROUP_NAMES)
    names = require_filled(table, file_column, "an image")
    _require_once(table, names)
    require_inside(names, table, _WHOLE_PATHS)
    images = [_resolve(name, root, IMAGES) for name in names]
    taken = [name for name in (file_column, split_column, group_column) if name is not None]
    mask_columns, columns = _find_mask_columns(table, options, taken)
    masks: list[tuple[Path | None, ...]]
    if mask_columns:
        read = table.column if columns else lambda name: require_filled(table, name, "a mask")
        mask_cells = [read(name) for name in mask_columns]
        for cells in mask_cells:
            require_inside(cells, table, _WHOLE_PATHS)
        cells = zip(*mask_cells, strict=True)
        masks = [tuple(_resolve(cell, root, MASKS) if cell else None for cell in row) for row in cells]
    elif (root / MASKS).is_dir():
        by_stem = _masks_by_stem(root)
        stems = [_stem(image, root / IMAGES) for image in images]
        masks = [(by_stem.get(stem, root / MASKS / stem),) for stem in stems]
    else:
        raise InputError(
            "A manifest must have a column mask, or one column per class with the paths of its masks. Received: columns"
            f" {list_columns(table.columns)} in {table.path}. Add one, or a folder {MASKS} with files of these names."
        )
    splits = None if split_column is None else read_splits(table, split_column)
    groups = None if group_column is None else require_filled(table, group_column, "a patient")
    ignored = [name for name in table.columns if name and name not in (*taken, *mask_columns)]
    return MaskedFiles(
        names=names,
        images=images,
        masks=masks,
        columns=columns,
        splits=splits,
        groups=groups,
        notes=(f"columns ignored: {name_some(ignored)}",) if ignored else (),
        warnings=describe_torn(groups, splits),
    )


def _find_mask_columns(
    table: TextTable, options: OwnImages, taken: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the columns with paths of masks, and their names if each of them is a class.

    Masks of the background are ignored: it is all that no class covers.
    """
    if options.label_columns is not None:
        named = tuple(require_column(table, name, "--label-columns") for name in options.label_columns)
        if len(set(named)) < len(named) or BACKGROUND in map(plain_name, named):
            raise InputError(
                "--label-columns of masks must name the column of each class once, without the background, which is"
                f" every pixel outside of all classes. Received: {','.join(named)}. Correct the names."
            )
        single = len(named) == 1 and plain_name(named[0]) in _MASK_NAMES
        return named, () if single else named
    free = [name for name in table.columns if name and name not in taken and plain_name(name) != BACKGROUND]
    masks = [name for name in free if plain_name(name) in _MASK_NAMES]
    if len(masks) > 1:
        raise InputError(
            f"There must be one mask column. Received: {', '.join(masks)} in {table.path}."
            " Choose one with --label-columns NAME."
        )
    if masks:
        return tuple(masks), ()
    classes = tuple(name for name in free if any(cell.lower().endswith(_ENDINGS) for cell in table.column(name)))
    return classes, classes


def _require_once(table: TextTable, names: Sequence[str]) -> None:
    first = {name: row for row, name in reversed(list(enumerate(names)))}
    doubled = [f"{name} ({table.place(row)})" for row, name in enumerate(names) if first[name] != row]
    if doubled:
        raise InputError(
            f"A manifest must name each image once. Received: {name_some(doubled)} again in {table.path}."
            " Remove the row, or name several masks of an image in several columns."
        )


def _resolve(cell: str, root: Path, folder: str) -> Path:
    """Returns the file of a cell, given by its path from the root or its name in the folder of images or masks."""
    path = Path(os.path.normpath(cell.replace("\\", "/") if os.sep == "/" else cell))
    inside = root / folder / path
    return inside if os.path.exists(inside) and not os.path.exists(root / path) else root / path


def _masks_by_stem(root: Path) -> dict[str, Path]:
    masks = find_images(root / MASKS)
    stems = [_stem(mask, root / MASKS) for mask in masks]
    _require_different(stems, masks, root)
    return dict(zip(stems, masks, strict=True))


def _stem(file: Path, folder: Path) -> str:
    """Returns a file's path below a folder without its suffix, which is the same for an image and its mask."""
    name = file.relative_to(folder).as_posix() if file.is_relative_to(folder) else file.name
    ending = next((ending for ending in _ENDINGS if name.lower().endswith(ending)), "")
    return name[: len(name) - len(ending)]


def _require_different(stems: Sequence[str], files: Sequence[Path], root: Path) -> None:
    first: dict[str, Path] = {}
    for stem, file in zip(stems, files, strict=True):
        other = first.setdefault(stem, file)
        if other != file:
            raise InputError(
                f"Images and masks are matched by their names without endings, so these must differ. Received:"
                f" {other.relative_to(root).as_posix()} and {file.relative_to(root).as_posix()} in {root}. Rename one."
            )


def list_manifest_columns(root: Path) -> tuple[str, ...]:
    """Returns the names of the columns of a folder's manifest; empty if there is none."""
    manifest = root / MANIFEST
    return read_table(manifest).columns if manifest.is_file() else ()
