"""The rows of the list of models, which are cached: building every network to count its parameters takes seconds.

``python -m keras_lnn.cli.model_list`` updates the rows that come with the package after networks or layers change.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from keras_lnn.files.atomic import DAMAGED_FILE_ERRORS, cache_folder, write_json
from keras_lnn.registry import count_parameters, list_models, model_names

_PACKAGE = Path(__file__).parents[1]
_SHIPPED = _PACKAGE / "models" / "listed.json"
Row = dict[str, Any]


def find_rows() -> tuple[list[Row], list[str]]:
    """Returns the cached rows that match the current sources, and the names of the models without one.

    No network is built, and Keras is not imported.
    """
    names = model_names()
    known = {row["name"]: row for file in (_cached(), _SHIPPED) for row in _read(file)}
    return [known[name] for name in names if name in known], [name for name in names if name not in known]


def make_rows(names: Iterable[str]) -> list[Row]:
    """Returns one row per model, for which the models are built; rows of this package's models are cached."""
    wanted = set(names)
    entries = [entry for entry in list_models() if entry.name in wanted]
    rows = _build(entries)
    ours = {entry.name for entry in entries if entry.builder.__module__.startswith("keras_lnn.models.")}
    _keep(_cached(), [row for row in rows if row["name"] in ours])
    return rows


def _build(entries: list[Any]) -> list[Row]:
    import keras

    from keras_lnn.data.catalog import get_entry

    rows = []
    # Weights that are only counted need no values: the largest networks alone would take a gigabyte of random numbers.
    with keras.StatelessScope(initialize_variables=False):
        for entry in entries:
            data = get_entry(entry.reference_data)
            parameters = count_parameters(entry.builder(data.image_shape(), len(data.class_names)))
            row = {"name": entry.name, "family": entry.family, "parameters": parameters, "summary": entry.summary}
            rows.append(row)
    # Otherwise Keras would initialise them when the next layer is created.
    keras.utils.clear_session()
    return rows


def _read(file: Path) -> list[Row]:
    """Returns the rows in a file if they match the current sources, otherwise none."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return content["models"] if content["digest"] == _digest() else []
    except DAMAGED_FILE_ERRORS:
        return []


def _keep(file: Path, rows: list[Row]) -> None:
    if rows:
        try:
            write_json(file, {"digest": _digest(), "models": [*_read(file), *rows]})
        except OSError:  # a cache that cannot be written only costs time
            return


def _cached() -> Path:
    return cache_folder() / f"models-{_digest()[:16]}.json"


@functools.cache
def _digest() -> str:
    """Returns a hash of all sources on which the parameters of a network depend."""
    digest = hashlib.sha256()
    for folder in ("models", "layers"):
        for file in sorted(path for path in (_PACKAGE / folder).iterdir() if path.suffix in (".py", ".yaml")):
            digest.update(f"{folder}/{file.name}\0".encode() + file.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    write_json(_SHIPPED, {"digest": _digest(), "models": _build(list_models())})
