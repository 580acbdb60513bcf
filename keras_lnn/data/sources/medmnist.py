"""MedMNIST files: found, downloaded, checked, and read as a whole or row by row from disk."""

import math
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from keras_lnn.data.arrays import SPLITS, ImageData, Split
from keras_lnn.data.catalog import DataEntry
from keras_lnn.data.disk import DiskArray, has_stamped, read_npz_headers, write_stamp
from keras_lnn.data.sources.download import download
from keras_lnn.errors import FullDiskError, InputError
from keras_lnn.files.atomic import (
    DAMAGED_FILE_ERRORS,
    atomic_path,
    cache_folder,
    file_digest,
    remove_partial_files,
    require_file,
)

# Files that unpack to more than this are read from disk, batch by batch.
MEMORY_LIMIT_BYTES = 2**30
_Header = tuple[tuple[int, ...], np.dtype]


def medmnist_file(entry: DataEntry, size: int, data_dir: Path | str | None = None) -> Path:
    """Returns the path of a set's file: in the given folder, else ``$MEDMNIST_ROOT``, else ``~/.medmnist``."""
    folder = Path(data_dir or os.environ.get("MEDMNIST_ROOT") or Path.home() / ".medmnist")
    return folder / f"{entry.name}{'' if size == 28 else f'_{size}'}.npz"


def load_medmnist(
    entry: DataEntry,
    size: int,
    data_dir: Path | str | None = None,
    accept_checksum: bool = False,
    progress: Callable[[float], None] | None = None,
    memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
) -> ImageData:
    """Loads one MedMNIST set and downloads its file if it is missing.

    Args:
        entry: Entry of the catalog.
        size: One of its sizes.
        data_dir: Folder of the files.
        accept_checksum: Whether to accept a file that is not the official one, if its arrays are right.
        progress: Called with the fraction of a download that is done.
        memory_limit_bytes: Files that unpack to more than this are read from disk, batch by batch.
    """
    path = medmnist_file(entry, size, data_dir)
    url, md5 = entry.sources[size]
    if not path.exists():
        remedy = f"Put the file there by hand, or use the embedded {_phantom_like(entry)}, which needs no file."
        download(url, path, md5=md5, progress=progress, remedy=remedy)
    found = f"md5:{_verified_md5(path, md5, accept_checksum)}"
    try:
        with zipfile.ZipFile(path) as archive:
            headers = _read_headers(archive, path)
            _check_headers(headers, entry, size, path)
            total = sum(math.prod(shape) * dtype.itemsize for shape, dtype in headers.values())
            if total > memory_limit_bytes:
                splits = _open_splits(archive, headers, path, found, progress)
            else:
                splits = {name: _read_split(archive, name) for name in SPLITS}
    except InputError:
        raise
    except DAMAGED_FILE_ERRORS as error:
        place = str(error.filename or "") if isinstance(error, OSError) else ""
        if isinstance(error, OSError) and place.startswith(str(cache_folder())):
            raise InputError(
                f"The cache must be a folder that can be written to. Received: {place} ({error.strerror}). Set "
                f"KERAS_LNN_CACHE to another folder."
            ) from None
        raise _damaged(path, error) from None
    splits = {name: _shape_split(split, entry) for name, split in splits.items()}
    return ImageData(entry.name, entry.task, entry.class_names, splits, found)


def _phantom_like(entry: DataEntry) -> str:
    return "phantom-vessel" if entry.dimensions == 3 else "phantom-breast"


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"A MedMNIST file must be a whole .npz. Received: {path} ({error}). Delete it and try again.")


def _verified_md5(path: Path, official: str, accept_checksum: bool) -> str:
    require_file(path, "The data file")
    try:
        found = file_digest(path, "md5")
    except OSError as error:
        raise InputError(f"The data file must be readable. Received: {path} ({error.strerror}).") from None
    if found != official and not accept_checksum:
        raise InputError(
            f"The checksum of {path} must be {official}. Received: {found}. Delete the file to have it downloaded "
            f"anew, or pass --accept-checksum if it is a copy that you saved yourself."
        )
    return found


def _read_headers(archive: zipfile.ZipFile, path: Path) -> dict[str, _Header]:
    found, headers = read_npz_headers(archive), {}
    for split in SPLITS:
        for kind in ("images", "labels"):
            key = f"{split}_{kind}"
            if key not in found:
                raise InputError(f"A MedMNIST file must hold the array {key}. Received: {path} without it.")
            header = found[key]
            if header.fortran_order:
                raise InputError(f"Array {key} must be plain numbers in C order. Received: {path} in Fortran order.")
            headers[key] = (header.shape, header.dtype)
    return headers


def _check_headers(headers: dict[str, _Header], entry: DataEntry, size: int, path: Path) -> None:
    image_shape = (size,) * entry.dimensions + ((3,) if entry.channels == 3 else ())
    label_columns = len(entry.class_names) if entry.task == "multi-label" else 1
    for split in SPLITS:
        (images, image_type), (labels, label_type) = headers[f"{split}_images"], headers[f"{split}_labels"]
        if not images or images[0] == 0:
            raise InputError(f"Every split needs images. Received: {path} with none in {split}.")
        if images[1:] != image_shape or image_type != np.uint8:
            raise InputError(
                f"Images of {entry.name} must be uint8 of shape {image_shape}. Received: {path} with {image_type} of "
                f"shape {images[1:]} in {split}."
            )
        if not labels or labels[0] != images[0]:
            count = labels[0] if labels else 0
            raise InputError(
                f"Every image needs a label. Received: {path} with {images[0]} images and {count} labels in {split}."
            )
        if math.prod(labels[1:]) != label_columns or label_type.kind not in "uib":
            raise InputError(
                f"Labels of {entry.name} must be whole numbers, {label_columns} per image. Received: {path} with "
                f"{label_type} of shape {labels} in {split}."
            )


def _read_split(archive: zipfile.ZipFile, name: str) -> Split:
    arrays = []
    for kind in ("images", "labels"):
        with archive.open(f"{name}_{kind}.npy") as stream:
            arrays.append(np.lib.format.read_array(stream, allow_pickle=False))
    images, labels = arrays
    return Split(images, labels)


def _open_splits(
    archive: zipfile.ZipFile,
    headers: dict[str, _Header],
    path: Path,
    checksum: str,
    progress: Callable[[float], None] | None,
) -> dict[str, Split]:
    folder = cache_folder() / "medmnist" / f"{path.stem}-{checksum.removeprefix('md5:')}"
    if not has_stamped(folder, [f"{key}.npy" for key in headers]):
        _unpack(archive, list(headers), folder, path, progress)
    return {
        name: Split(DiskArray(folder / f"{name}_images.npy"), np.load(folder / f"{name}_labels.npy")) for name in SPLITS
    }


def _unpack(
    archive: zipfile.ZipFile, keys: list[str], folder: Path, path: Path, progress: Callable[[float], None] | None
) -> None:
    sizes = [archive.getinfo(f"{key}.npy").file_size for key in keys]
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_partial_files(folder.parent)
    free = shutil.disk_usage(folder.parent).free
    if free < sum(sizes):
        raise FullDiskError(
            f"Unpacking {path} needs {sum(sizes) / 2**30:.1f} GiB. Received: {free / 2**30:.1f} GiB free in "
            f"{folder.parent}. Make room or set KERAS_LNN_CACHE to another folder."
        )
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        written = 0
        for key in keys:
            with archive.open(f"{key}.npy") as source, open(temporary / f"{key}.npy", "wb") as target:
                while piece := source.read(2**22):
                    target.write(piece)
                    written += len(piece)
                    if progress:
                        progress(written / sum(sizes))
        write_stamp(temporary, [f"{key}.npy" for key in keys])


def _shape_split(split: Split, entry: DataEntry) -> Split:
    images = split.images
    if entry.channels == 1:
        shape = (*images.shape, 1)
        images = DiskArray(images.path, shape) if isinstance(images, DiskArray) else np.asarray(images).reshape(shape)
    labels = np.asarray(split.labels)
    if entry.task == "multi-label":
        labels = labels.astype(np.uint8) if labels.min() >= 0 else labels
    else:
        labels = labels.reshape(len(labels)).astype(np.int64)
    return Split(images, labels)
