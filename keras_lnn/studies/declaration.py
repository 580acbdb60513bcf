"""What a study is: read from one YAML file, validated once, and laid out into runs."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydantic

from keras_lnn.config import TrainConfig, read_yaml, validate
from keras_lnn.errors import InputError, suggest

QUICK_EPOCHS = 2
_BUILT_IN = Path(__file__).parent
# What a study decides for its runs.
_DECIDED = ("data", "seed", "run_dir", "export", "export_dir", "tensorboard", "start_from", "stop_after", "test")

Figures = dict[str, float]


class Study(pydantic.BaseModel):
    """A study as its file declares it.

    Args:
        title: What it is.
        data: Names of data sets.
        seeds: Runs of each network on each data set.
        reference: The network that the others are compared with; the one with the best validation AUC if not given.
        shuffled_splits: Whether each seed has a split of its own, of data sets that come without.
        protocols: By name, the training fields that hold for all networks; the first one is what a study follows.
        networks: By name, the training fields of each, ``model`` among them; the model of that name if not given.
        published: By data set and network, published metrics.
        benchmarks: The same of networks that are not trained here, for the pictures.
        parameters: Published parameter counts.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    title: str
    data: tuple[str, ...] = pydantic.Field(min_length=1)
    seeds: int = pydantic.Field(5, ge=1)
    reference: str | None = None
    shuffled_splits: bool = False
    protocols: dict[str, dict[str, Any]] = pydantic.Field(default={"published": {}}, min_length=1)
    networks: dict[str, dict[str, Any]] = pydantic.Field(min_length=1)
    published: dict[str, dict[str, Figures]] = {}
    benchmarks: dict[str, dict[str, Figures]] = {}
    parameters: dict[str, int] = {}

    @pydantic.model_validator(mode="after")
    def _check_fields(self) -> Study:
        for name, fields in {**self.protocols, **self.networks}.items():
            decided = [field for field in fields if field in _DECIDED]
            if decided:
                raise ValueError(f"must leave {', '.join(decided)} to the study, which {name} does not")
        if self.reference is not None and self.reference not in self.networks:
            raise ValueError(f"must have its reference among its networks, where {self.reference} is not")
        return self


@dataclasses.dataclass(frozen=True)
class StudyRun:
    """One run of a study.

    Args:
        network: Its name in the study.
        config: Complete but for what the model's own protocol says.
    """

    network: str
    config: TrainConfig

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.config.run_dir

    @property
    def name(self) -> str:
        """As people are told of it."""
        return f"{self.network} on {self.config.data}, seed {self.config.seed}"


def built_in_studies() -> list[str]:
    """Names of the studies that come with the package."""
    return sorted(path.stem.replace("_", "-") for path in _BUILT_IN.glob("*.yaml"))


def load_study(name: str) -> Study:
    """Reads a study.

    Args:
        name: Of one that comes with the package, or a YAML file.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        if name not in built_in_studies():
            raise InputError(f"There is no study {name!r}. {suggest(name, built_in_studies())} Or name a YAML file.")
        path = _BUILT_IN / f"{name.replace('-', '_')}.yaml"
    return validate(Study, read_yaml(path))


def choose(kind: str, wanted: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    """The wanted names in their order, or all; an unknown one is an error that lists the nearest."""
    for name in wanted or ():
        if name not in known:
            raise InputError(f"The study has no {kind} {name!r}. {suggest(name, known)}")
    return list(dict.fromkeys(wanted)) if wanted else list(known)


def lay_out(
    study: Study,
    folder: Path,
    *,
    networks: Sequence[str] | None = None,
    data: Sequence[str] | None = None,
    seeds: int | None = None,
    protocol: str | None = None,
    quick: bool = False,
    fields: dict[str, Any] | None = None,
) -> list[StudyRun]:
    """All runs of a study, first seeds first: a table of one seed is there early.

    Args:
        study: What is declared.
        folder: That holds the runs, as ``DATA/NETWORK/seed-N``.
        networks: Names of networks; all if not given.
        data: Names of data sets, also of others than the study's own; all of its own if not given.
        seeds: Runs of each; as declared if not given.
        protocol: Name of a protocol; the first if not given.
        quick: Whether this is only to see that all runs through: two epochs, one seed.
        fields: Training fields of all runs, such as ``data_dir``.
    """
    protocol = choose("protocol", [protocol] if protocol else None, list(study.protocols))[0]
    names = choose("network", networks, list(study.networks))
    runs = []
    for seed in range(1 if quick else seeds or study.seeds):
        for set_name in data or study.data:
            for name in names:
                config = {"model": name, **study.protocols[protocol], **study.networks[name], **(fields or {})}
                arguments = (part.get("model_args", {}) for part in (study.protocols[protocol], study.networks[name]))
                config["model_args"] = {key: value for part in arguments for key, value in part.items()}
                config |= {"data": set_name, "seed": seed, "split_seed": seed if study.shuffled_splits else 0}
                config |= {"export": "none", "tensorboard": False}
                config |= {"epochs": QUICK_EPOCHS, "early_stopping": 0} if quick else {}
                config["run_dir"] = folder / path_name(set_name) / path_name(name) / f"seed-{seed}"
                runs.append(StudyRun(name, TrainConfig.create(config)))
    return runs


def path_name(name: str) -> str:
    """A name as that of a folder."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-")
