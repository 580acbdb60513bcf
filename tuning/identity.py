"""The identity of a search, fixed until it ends: its configuration, its space and its lasting settings."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml

from keras_lnn.config import TrainConfig
from keras_lnn.errors import InputError
from keras_lnn.fields.roles import Trait, fields_with, values_before, values_in_trials
from keras_lnn.files.atomic import write_text
from keras_lnn.files.yaml_files import read_yaml
from tuning.settings import SearchSettings, lasting
from tuning.space import Space

Description = dict[str, dict[str, Any]]


def describe_search(config: TrainConfig, space: Space, settings: SearchSettings) -> Description:
    """Returns the description that must stay the same until a search ends."""
    return {
        "config": config.model_dump(mode="json"),
        "space": {row["name"]: row["choices"] for row in space.rows()},
        "search": lasting(settings),
    }


def digest_search(description: Description) -> str:
    """Returns a digest, without paths, by which a worker checks that its options equal its chief's."""
    places = fields_with(TrainConfig, Trait.PLACE)
    config = {name: value for name, value in description["config"].items() if name not in places}
    content = json.dumps({**description, "config": config}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def write_description(folder: Path, description: Description) -> None:
    """Writes the description of a search that begins."""
    write_text(folder / "search.yaml", yaml.safe_dump(description, sort_keys=False, allow_unicode=True))


def require_same_description(folder: Path, description: Description) -> None:
    """Checks that a search continues with the description that it began with."""
    before = read_yaml(folder / "search.yaml")
    # Fields that are newer than the search are as in trials, or at their defaults, which mean what was done before.
    newer = TrainConfig().model_dump(mode="json") | values_in_trials(TrainConfig) | values_before(TrainConfig)
    before["config"] = newer | before.get("config", {})
    before["search"] = values_before(SearchSettings) | before.get("search", {})
    for part, values in description.items():
        for name in {**values, **before.get(part, {})}:
            old, new = before.get(part, {}).get(name), values.get(name)
            if old != new:
                raise InputError(
                    f"A search must continue with the {name} that it began with, {old}. Received: {new} for {folder}."
                    f" Give {old}, or another --search-dir."
                )
