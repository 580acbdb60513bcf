"""What the list of models shows, worked out once: building every network, to count its parameters, takes seconds.

``python -m keras_lnn.cli.model_list`` writes anew what comes with the package, once networks or layers have changed.
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
    """Returns the rows that are known for the networks as they are now, and the names of the models without one.

    Nothing is built, and Keras is not imported.
    """
    names = model_names()
    known = {row["name"]: row for file in (_cached(), _SHIPPED) for row in _read(file)}
    return [known[name] for name in names if name in known], [name for name in names if name not in known]


def make_rows(names: Iterable[str]) -> list[Row]:
    """Returns a row for each of some models, which are built for it; rows of this package's models are kept."""
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
    # Weights that are only counted get no values: the largest networks alone would be a gigabyte of random numbers.
    with keras.StatelessScope(initialize_variables=False):
        for entry in entries:
            data = get_entry(entry.reference_data)
            parameters = count_parameters(entry.builder(data.image_shape(), len(data.class_names)))
            row = {"name": entry.name, "family": entry.family, "parameters": parameters, "summary": entry.summary}
            rows.append(row)
    # Else Keras gives them values with the next layer that is made.
    keras.utils.clear_session()
    return rows


def _read(file: Path) -> list[Row]:
    """Returns the rows in a file where they are of the sources as they are now."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return content["models"] if content["digest"] == _digest() else []
    except DAMAGED_FILE_ERRORS:
        return []


def _keep(file: Path, rows: list[Row]) -> None:
    if rows:
        try:
            write_json(file, {"digest": _digest(), "models": [*_read(file), *rows]})
        except OSError:  # a cache that cannot be written to costs time only
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
