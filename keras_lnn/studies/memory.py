"""The record of the runs ever requested in a study's folder, and of the user's modules that they import."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_lnn.errors import InputError
from keras_lnn.files.atomic import DAMAGED_FILE_ERRORS, write_json
from keras_lnn.studies.declaration import Study, StudyRun, make_run
from keras_lnn.studies.grid import Point

FILE, _IMPORTS_FILE = "asked.json", "imports.json"


def remember(folder: Path, runs: Sequence[StudyRun]) -> None:
    """Adds runs, and the modules that they import, to the record in a study's folder."""
    known = {_key(entry): entry for entry in _read(folder, FILE)}
    asked = [
        {"network": run.base, "data": run.config.data, "seed": run.config.seed, "values": run.point.values}
        | ({"fold": run.config.fold} if run.of_fold else {})
        for run in runs
    ]
    write_json(folder / FILE, list((known | {_key(entry): entry for entry in asked}).values()))
    modules = dict.fromkeys([*recall_imports(folder), *(name for run in runs for name in run.config.imports)])
    if modules:
        write_json(folder / _IMPORTS_FILE, list(modules))


def recall_imports(folder: Path) -> list[str]:
    """Returns the modules that were ever imported for the runs in a study's folder."""
    return [name for name in _read(folder, _IMPORTS_FILE) if isinstance(name, str)]


def recall(study: Study, folder: Path, **options: Any) -> list[StudyRun]:
    """Returns the runs in the record, built with the given protocol and fields.

    Args:
        study: The declaration; networks and folds that it no longer has are left out.
        folder: Folder of the study.
        options: ``protocol``, ``quick`` and ``fields`` of :func:`~keras_lnn.studies.declaration.make_run`.
    """
    found = []
    for entry in _read(folder, FILE):
        try:
            name, data, seed, values = (entry[key] for key in ("network", "data", "seed", "values"))
            if entry.get("fold") in study.list_folds():
                found.append(
                    make_run(study, folder, name, data, seed, Point(values), fold=entry.get("fold"), **options)
                )
        except (InputError, *DAMAGED_FILE_ERRORS):
            continue
    return found


def _read(folder: Path, name: str) -> list[Any]:
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
    except DAMAGED_FILE_ERRORS:
        return []
    return content if isinstance(content, list) else []


def _key(entry: Any) -> str:
    return json.dumps(entry, sort_keys=True)
