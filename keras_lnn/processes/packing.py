"""Folders of runs as bytes, for machines without a shared disk: packed, unpacked safely, and their paths translated."""

from __future__ import annotations

import html
import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from keras_lnn.errors import InputError
from keras_lnn.files.atomic import atomic_path
from keras_lnn.files.yaml_files import read_yaml

_SYMLINK, _KIND_OF_FILE = 0o120000, 0o170000


def pack_folder(folder: Path) -> bytes:
    """Returns the files of a folder as a ZIP archive; links and partial files are left out.

    Nothing is compressed, since nearly all bytes of a run are weights and pictures.
    """
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive:
        for path in sorted(folder.rglob("*")):
            inner = path.relative_to(folder)
            if path.is_file() and not path.is_symlink() and not any(part.startswith(".") for part in inner.parts):
                archive.write(path, inner.as_posix())
    return content.getvalue()


def unpack_folder(content: bytes, folder: Path) -> None:
    """Writes the files of an archive as a folder, which replaces one that is there; on any error nothing changes.

    Raises:
        InputError: If the archive is damaged, or holds a name outside of the folder, a link, or a name twice.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive, atomic_path(folder) as temporary:
            temporary.mkdir()
            names = [_require_inner(entry, folder) for entry in archive.infolist()]
            if len(set(names)) < len(names):
                raise InputError(f"A folder that is sent must name each file once. Received: {folder} with one twice.")
            for name in names:
                path = temporary / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.read(name))
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise InputError(f"A folder that is sent must arrive whole. Received: {folder}, damaged ({error}).") from None


def _require_inner(entry: zipfile.ZipInfo, folder: Path) -> str:
    """Returns the name of a file of an archive after checking that it is an ordinary file within the folder."""
    name = entry.filename
    parts = PurePosixPath(name).parts
    linked = entry.external_attr >> 16 & _KIND_OF_FILE == _SYMLINK
    outside = name.startswith("/") or ".." in parts or not parts or any(mark in name for mark in ("\\", ":", "\0"))
    if linked or outside or entry.is_dir():
        raise InputError(f"A folder that is sent must hold ordinary files only. Received: {name!r} for {folder}.")
    return name


def translate_paths(value: Any, places: Mapping[str, str]) -> Any:
    """Returns JSON content in which folders, and paths within them, are replaced.

    Args:
        value: The content.
        places: The new place of each folder.
    """
    if isinstance(value, Mapping):
        return {key: translate_paths(inner, places) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [translate_paths(inner, places) for inner in value]
    if isinstance(value, str):
        for folder, place in places.items():
            if value == folder or value.startswith(folder + os.sep):
                return place + value[len(folder) :]
    return value


def translate_recorded(folder: Path, places: Mapping[str, str]) -> None:
    """Replaces folders in the configurations of the runs within a folder, or of the run that it is."""
    for file in folder.rglob("config.yaml"):
        known = read_yaml(file)
        if (changed := translate_paths(known, places)) != known:
            file.write_text(yaml.safe_dump(changed, sort_keys=False, allow_unicode=True), encoding="utf-8")


def translate_shown(folder: Path, places: Mapping[str, str]) -> None:
    """Replaces folders in what people read within a folder: the pages of runs, and logs.

    Args:
        folder: The folder.
        places: The new place of each folder, whose own path must be so unusual that it stands for nothing else.
    """
    for file in [*folder.rglob("*.html"), *folder.rglob("log.txt")]:
        content = file.read_bytes()
        for old, new in places.items():
            shown = html.escape(new) if file.suffix == ".html" else new
            content = content.replace(os.fsencode(old), os.fsencode(shown))
        file.write_bytes(content)
