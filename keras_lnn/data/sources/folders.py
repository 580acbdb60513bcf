"""A folder of images with one folder for each class: ``folder:PATH``."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from keras_lnn.data.arrays import SPLITS, ImageData
from keras_lnn.data.checking import name_some, require_different_names
from keras_lnn.data.decode import dicom_files, dicom_volumes
from keras_lnn.data.decode.image_finding import find_images, require_readable_folders
from keras_lnn.data.options import OwnImages
from keras_lnn.data.reading import Reading
from keras_lnn.data.sources.own_images import FoundImages, LabelledFiles, load_own_images
from keras_lnn.errors import InputError
from keras_lnn.files.atomic import as_text

SPLIT_SPELLINGS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


def load_folder(path: str | os.PathLike, reading: Reading = Reading()) -> ImageData:  # noqa: B008, it is frozen
    """Loads images that lie in one folder for each class.

    The layout is either ``PATH/CLASS/*.png``, which is split at random (70 % train, 10 % val, 20 % test, stratified),
    or ``PATH/train/CLASS/*.png`` beside ``val`` (or ``valid``, ``validation``) and ``test``; if one of these two is
    missing it is split off train. Class folders may contain folders. Classes are in the natural order of their names:
    ``grade2`` before ``grade10``. Decoded images are kept in a file of the cache, as those of a table are. If several
    images show one patient, make the splits yourself, or write a table.

    The checksum is the SHA-256 of one line per file, in the order of the names: its path relative to PATH, its size and
    the SHA-256 of its content, with a zero byte between the three.

    Args:
        path: The folder.
        reading: How the files become pixels and splits, and whether bad ones are left out.

    Returns:
        The images with a report on them; the names of the samples are paths relative to PATH.
    """
    root = Path(path)
    unreadable: list[str] = []
    files, labelled = label_folder(root, reading.own, unreadable)
    found = FoundImages(
        name=f"folder:{os.fspath(path)}",
        files=files,
        labelled=dataclasses.replace(labelled, notes=_describe_series(files, reading.own.frame)),
        checksum=lambda kept, digests: _checksum(root, kept.names, digests),
        warnings=(f"left out folders that cannot be read: {name_some(unreadable)}",) if unreadable else (),
    )
    return load_own_images(found, reading)


def label_folder(root: Path, options: OwnImages, unreadable: list[str]) -> tuple[list[Path], LabelledFiles]:
    """Finds the images in the folders of their classes.

    Args:
        root: The folder.
        options: Whether folders of DICOM slices are volumes, and whether unreadable folders are left out.
        unreadable: Receives the folders that cannot be read.

    Returns:
        The files, and their labels.
    """
    splits, class_names = _find_classes(root, options, unreadable)
    files = [file for by_class in splits.values() for images in by_class.values() for file in images]
    given = [split for split, by_class in splits.items() for images in by_class.values() for _ in images]
    labelled = LabelledFiles(
        names=[file.relative_to(root).as_posix() for file in files],
        task="binary" if len(class_names) == 2 else "multi-class",
        class_names=tuple(as_text(name) for name in class_names),
        labels=np.concatenate([_labels(by_class, class_names) for by_class in splits.values()]),
        splits=None if len(splits) == 1 else given,
    )
    return files, labelled


def _find_classes(
    root: Path, options: OwnImages, unreadable: list[str]
) -> tuple[dict[str, dict[str, list[Path]]], tuple[str, ...]]:
    """Returns the images by split and class, and the names of the classes in their order."""
    if not root.exists():
        raise InputError(f"The folder of images must exist. Received: {root}. Check the path.")
    if not root.is_dir():
        raise InputError(f"folder:PATH must name a folder. Received: {root}, which is a file. Name the folder above.")
    folders = split_folders(root)
    splits = {split: _find_images_by_class(folder, options, unreadable) for split, folder in folders.items()}
    class_names = tuple(splits["train"])
    require_different_names(class_names, f"class folders of {folders['train']}")
    if len(class_names) < 2:
        raise InputError(
            f"There must be at least 2 class folders. Received: only {class_names[0]} in {folders['train']}."
            " Sort the images into one folder per class."
        )
    for split, by_class in splits.items():
        if by_class.keys() != splits["train"].keys():
            raise InputError(_describe_difference(split, by_class, splits["train"]))
    return splits, class_names


def split_folders(root: Path) -> dict[str, Path]:
    """Returns the folders of the splits that exist, or the folder itself as train if it has none."""
    found: dict[str, Path] = {}
    for folder in _folders(root):
        for split, spellings in SPLIT_SPELLINGS.items():
            if folder.name.lower() in spellings:
                if split in found:
                    raise InputError(
                        f"There must be one {split} folder. Received: {found[split].name} and {folder.name} in {root}."
                        " Join them or move one away."
                    )
                found[split] = folder
    if "train" in found:
        return {split: found[split] for split in SPLITS if split in found}
    if found and len(found) == len(_folders(root)):
        raise InputError(
            f"Beside val and test there must be a train folder. Received: only"
            f" {', '.join(folder.name for folder in found.values())} in {root}. Add train, or name a folder of classes."
        )
    return {"train": root}


def _find_images_by_class(folder: Path, options: OwnImages, unreadable: list[str]) -> dict[str, list[Path]]:
    classes = sorted(_folders(folder), key=lambda entry: natural_order(entry.name))
    if not classes:
        raise InputError(
            f"There must be one folder per class. Received: no folders in {folder}. Sort the images into class folders."
        )
    loose = [image for entry in folder.iterdir() if entry.is_file() for image in _visible_images(entry)]
    if loose:
        raise InputError(
            f"Every image must lie in the folder of its class. Received: {len(loose)} directly in {folder}, such as"
            f" {min(loose).name}. Move them into a class folder or away."
        )
    images = {entry.name: find_images(entry, unreadable) for entry in classes}
    if not options.skip_bad:
        require_readable_folders(unreadable, ", or skip it with --skip-bad")
    if options.frame != "each":
        images = {entry.name: _join_series(images[entry.name], entry) for entry in classes}
    empty = [name for name, files in images.items() if not files]
    if empty:
        raise InputError(
            f"Every class folder must have images. Received: none in {', '.join(empty)} of {folder}."
            " Add PNG, JPEG, BMP, GIF or TIFF files or remove the folder."
        )
    return images


def _join_series(images: Sequence[Path], class_folder: Path) -> list[Path]:
    """Replaces the files of each folder below a class that is one DICOM series by the folder itself."""
    by_folder: dict[Path, list[Path]] = {}
    for image in images:
        by_folder.setdefault(image.parent, []).append(image)
    joined = []
    for folder, files in by_folder.items():
        below = folder != class_folder and all(map(dicom_files.is_dicom, files))
        joined += [folder] if below and dicom_volumes.is_series(files) else files
    return joined


def _describe_series(files: Sequence[Path], frame: str | None) -> tuple[str, ...]:
    count = sum(file.is_dir() for file in files)
    if not count or frame is not None:
        return ()
    return (
        f"{count:,} folders hold one DICOM series each, read as volumes; --frame each reads the slices as separate"
        " images",
    )


def _visible_images(file: Path) -> list[Path]:
    return [] if file.name.startswith(".") else find_images(file)


def _describe_difference(split: str, by_class: Mapping[str, object], train: Mapping[str, object]) -> str:
    unknown = [name for name in by_class if name not in train]
    if unknown:
        return (
            f"Every class of {split} must be in train. Received: {', '.join(unknown)} in {split} only."
            f" Add images to train or remove them from {split}."
        )
    missing = [name for name in train if name not in by_class]
    return (
        f"Every class must have images in {split}. Received: none of {', '.join(missing)}."
        f" Add images, or remove {split} so that it is split off train."
    )


def _folders(folder: Path) -> list[Path]:
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        require_readable_folders([f"{folder} ({(error.strerror or 'unreadable').lower()})"])
    return sorted(entry for entry in entries if entry.is_dir() and not entry.name.startswith((".", "__MACOSX")))


def natural_order(name: str) -> list[str | tuple[int, str]]:
    """Returns a key that sorts names so that numbers in them, of any length, count as numbers."""
    return [_number_order(part) if k % 2 else part for k, part in enumerate(re.split(r"(\d+)", name))]


def _number_order(digits: str) -> tuple[int, str]:
    # Compared as text: Python refuses to convert numbers of some thousand digits.
    plain = "".join(str(unicodedata.digit(digit)) for digit in digits).lstrip("0")
    return len(plain), plain


def _labels(by_class: Mapping[str, Sequence[Path]], class_names: Sequence[str]) -> np.ndarray:
    return np.repeat(np.arange(len(class_names)), [len(by_class[name]) for name in class_names]).astype(np.int64)


def _checksum(root: Path, names: Sequence[str], digests: Sequence[str]) -> str:
    lines = [f"{name}\0{_size(root / name)}\0{digest}\n" for name, digest in zip(names, digests, strict=True)]
    return f"sha256:{hashlib.sha256(''.join(sorted(lines)).encode('utf-8', 'surrogateescape')).hexdigest()}"


def _size(path: Path) -> int:
    files = dicom_volumes.list_slices(path) if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)
