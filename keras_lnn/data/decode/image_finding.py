"""Image files in a folder and below it, found by their suffixes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from keras_lnn.data.decode import medical_files
from keras_lnn.errors import InputError

_NAMED_AT_MOST = 5
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".webp", ".tiff"})


def find_images(path: str | os.PathLike, unreadable: list[str] | None = None) -> list[Path]:
    """Finds the image files in a folder and below it, by their suffix.

    Hidden files and folders (``.DS_Store``, ``._scan.png``, ``.ipynb_checkpoints``) and files of other kinds are
    ignored. Linked folders are followed, each real folder once.

    Args:
        path: A folder, or one image file.
        unreadable: Receives the folders that cannot be read, with the reasons; None to raise an error for them.

    Returns:
        The paths, sorted; empty if there is none.
    """
    path = Path(path)
    if path.is_file():
        return [path] if _has_image_suffix(path.name) else []
    if not path.is_dir():
        raise InputError(f"The folder of images must exist. Received: {path}. Check the path.")
    folders = walk_folders(path, unreadable)
    found = [folder / name for folder, names in folders for name in names if is_image_name(name)]
    return sorted(found, key=lambda file: file.relative_to(path).parts)


def walk_folders(path: Path, unreadable: list[str] | None = None) -> Iterator[tuple[Path, list[str]]]:
    """Yields a folder and its subfolders, each real one once and no hidden ones, with the names of their files.

    Args:
        path: A folder.
        unreadable: As in :func:`find_images`.
    """
    failed: list[str] = []

    def note(error: OSError) -> None:
        failed.append(f"{error.filename} ({(error.strerror or 'unreadable').lower()})")

    visited = set()
    for folder, subfolders, names in os.walk(path, followlinks=True, onerror=note):
        real = os.path.realpath(folder)
        subfolders[:] = [] if real in visited else sorted(name for name in subfolders if not name.startswith("."))
        if real not in visited:
            yield Path(folder), names
        visited.add(real)
    if unreadable is not None:
        unreadable.extend(failed)
    else:
        require_readable_folders(failed)


def require_readable_folders(unreadable: Sequence[str], remedy: str = "") -> None:
    """Raises an error if there are folders that cannot be read."""
    if unreadable:
        more = f" and {len(unreadable) - _NAMED_AT_MOST} more" if len(unreadable) > _NAMED_AT_MOST else ""
        raise InputError(
            f"Every folder of images must be readable. Received: {', '.join(unreadable[:_NAMED_AT_MOST])}{more}."
            f" Give permission to read it, or move it away{remedy}."
        )


def is_image_name(name: str) -> bool:
    """Returns whether a file has the suffix of an image, and is not hidden."""
    return not name.startswith(".") and _has_image_suffix(name)


def _has_image_suffix(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES or name.lower().endswith(medical_files.SUFFIXES)
