"""The grouping of runs into models, whose seeds they are, and the names of the models."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Sequence
from typing import Any

from keras_lnn.comparing.compared_run import ComparedRun
from keras_lnn.config import TrainConfig
from keras_lnn.fields.roles import Role, fields_with, values_before


@dataclasses.dataclass(frozen=True)
class Group:
    """The runs of one model.

    Args:
        name: Name that distinguishes it from the other models.
        runs: One run per seed, sorted by seed.
        settings: Settings in which it differs from the other models, as text by field.
        left_out: Runs that repeat a seed.
    """

    name: str
    runs: tuple[ComparedRun, ...]
    settings: dict[str, str]
    left_out: tuple[ComparedRun, ...] = ()


def group_runs(runs: Sequence[ComparedRun]) -> list[Group]:
    """Groups the runs whose configurations differ only in the seed and in paths.

    If two runs have the same seed the first is taken, because they are copies of each other and not independent draws.

    Returns:
        The models in the order of their first runs. Runs of a study or a search, which lie in ``MODEL/seed-N``, have
        the name of that folder; others have the name of their network, with the differing settings if it is not unique.
    """
    gathered: dict[str, list[ComparedRun]] = {}
    for run in runs:
        gathered.setdefault(json.dumps(_settings(run), sort_keys=True), []).append(run)
    described = [_settings(members[0]) for members in gathered.values()]
    differing = sorted({key for row in described for key in row if len({_text(one.get(key)) for one in described}) > 1})
    groups = []
    names = _names(list(gathered.values()), described)
    for members, row, name in zip(gathered.values(), described, names, strict=True):
        by_seed: dict[int, ComparedRun] = {}
        for run in members:
            by_seed.setdefault(run.config.seed, run)
        kept = tuple(by_seed[seed] for seed in sorted(by_seed))
        left_out = tuple(run for run in members if by_seed[run.config.seed] is not run)
        settings = {key: _text(row.get(key)) for key in differing if key != "model"}
        groups.append(Group(name, kept, settings, left_out))
    return groups


def _settings(run: ComparedRun) -> dict[str, Any]:
    values = run.config.model_dump(mode="json")
    # Where things are and what is written make no other model, and the data are the same for all.
    found = {name: values[name] for name in fields_with(TrainConfig, Role.SETTING, Role.PART)}
    found |= {name: value for name, value in values_before(TrainConfig).items() if found.get(name, value) is None}
    # Each seed continues a run of its own, so only whether it continues one distinguishes models, not which.
    found["start_from"] = found["start_from"] is not None
    # A builder's argument may have the same name as a field of the configuration.
    arguments = {f"model_args.{name}" if name in values else name: of for name, of in run.config.model_args.items()}
    return {"model": run.config.model, **found, **arguments}


def _names(members: list[list[ComparedRun]], described: list[dict[str, Any]]) -> list[str]:
    names = [_folder_name(runs) or row["model"] for runs, row in zip(members, described, strict=True)]
    for name in {name for name in names if names.count(name) > 1}:
        places = [index for index, one in enumerate(names) if one == name]
        rows = [described[place] for place in places]
        fields = _distinguishing_fields(rows)
        for place, row in zip(places, rows, strict=True):
            # An argument that was not given has the builder's default, which is not known here.
            assigned = [f"{field}={_text(row[field])}" for field in fields if field in row]
            names[place] = " ".join([name, *assigned])
    return _unique(names)


def _folder_name(runs: list[ComparedRun]) -> str:
    parents = {run.path.resolve().parent.name for run in runs if re.fullmatch(r"seed[-_]?\d+", run.path.resolve().name)}
    whole = len(parents) == 1 and all(run.path.resolve().parent.name in parents for run in runs)
    return parents.pop() if whole else ""


def _distinguishing_fields(rows: list[dict[str, Any]]) -> list[str]:
    """Returns the fewest fields that distinguish the rows, arguments of the network before those of training."""
    keys = list(dict.fromkeys(key for row in reversed(rows) for key in row))
    differing = [key for key in keys if len({_text(row.get(key)) for row in rows}) > 1]
    arguments = [key for key in differing if key not in TrainConfig.model_fields]
    ordered = arguments + [key for key in differing if key not in arguments]
    for count in (1, 2):
        for chosen in itertools.combinations(ordered, count):
            if len({tuple(_text(row.get(key)) for key in chosen) for row in rows}) == len(rows):
                return list(chosen)
    return ordered


def _unique(names: list[str]) -> list[str]:
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return unique


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "default" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
