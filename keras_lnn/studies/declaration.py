"""The declaration of a study: read from one YAML file, validated, and expanded into runs."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pydantic

from keras_lnn.config import TrainConfig
from keras_lnn.errors import InputError, show_value, suggest
from keras_lnn.fields.options import OwnModules
from keras_lnn.fields.roles import Role, Trait, fields_with
from keras_lnn.fields.values import FEWEST_FOLDS, MOST_FOLDS, parse_fold, validate
from keras_lnn.files.yaml_files import read_yaml
from keras_lnn.studies.grid import Grid, Point, count_points, lay_out_grid

QUICK_EPOCHS = 2
DEFAULT_SEEDS = 5
MOST_RUNS = 10_000
_BUILT_IN = Path(__file__).parent
# The training fields that a study sets for its runs, which a user may therefore not set.
_DECIDED = fields_with(TrainConfig, Role.PART, Role.OUTPUT, Trait.LAID_OUT)

Figures = dict[str, float]
# Stands for a data set in ``published``: figures on images other than the study's, shown beside all data sets.
ELSEWHERE = "elsewhere"
# Name of the figure that follows each class over the epochs; other figures are named after the field on their x axis.
CLASSES = "classes"


class Protocol(pydantic.BaseModel):
    """The settings that all networks of a study share: training fields, and the arguments below.

    Args:
        grid: Training fields with several values, including ``model_args.NAME``: each network is trained with each
            combination, under its name followed by the values.
        networks: The networks to train; all of the study's networks if not given.
        figures: Further figures: a field of the grid, along which the accuracy is drawn, or ``classes``.
        note: Note below the tables.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="allow", protected_namespaces=())

    grid: dict[str, Annotated[list[Any], pydantic.Field(min_length=1)]] = {}
    networks: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()
    note: str = ""

    @property
    def fields(self) -> dict[str, Any]:
        """Returns the training fields."""
        return dict(self.model_extra or {})

    @pydantic.model_validator(mode="after")
    def _check(self) -> Protocol:
        for name in self.grid:
            if name == "model_args" or ("." in name and not name.startswith("model_args.")):
                raise ValueError(f"must have only training fields and model_args.NAME in a grid, but {name} is neither")
        for name in self.figures:
            if name != CLASSES and name not in self.grid:
                known = ", ".join([*self.grid, CLASSES])
                raise ValueError(f"must draw figures along fields of the grid, {known}, but {name} is none of them")
        return self


class Study(pydantic.BaseModel):
    """A study as its file declares it.

    Args:
        title: Title of the study.
        data: Names of data sets.
        seeds: Number of runs of each network on each data set, five if not given; with folds there are repeats instead.
        folds: Number of folds: each network is trained on each data set once for each fold, which it is tested on.
        repeats: Number of times that the samples are dealt to folds. Each repeat has a seed of its own, for its folds
            and for the weights. Several seeds on the same folds would test the same samples again, for which the
            corrected resampled t has no term.
        reference: The network that the others are compared with; the one with the best validation AUC if not given.
        shuffled_splits: Whether each seed has its own split of the data sets that have no splits of their own.
        sampling: Whether the runs are also measured on the test series under other samplings.
        protocols: Settings shared by all networks, by the name of the protocol; a study follows the first by default.
        networks: The training fields of each network by its name, including ``model``, which is the name if not given.
        published: Published metrics by data set and network; those under ``elsewhere`` were measured on other images.
        benchmarks: The same for networks that are not trained here but appear in the figures.
        parameters: Published parameter counts.
        published_note: Note on what limits the published figures.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    title: str
    data: tuple[str, ...] = pydantic.Field(min_length=1)
    seeds: Annotated[int, pydantic.Field(ge=1)] | None = None
    folds: Annotated[int, pydantic.Field(ge=FEWEST_FOLDS, le=MOST_FOLDS)] | None = None
    repeats: int = pydantic.Field(1, ge=1, le=MOST_FOLDS)
    reference: str | None = None
    shuffled_splits: bool = False
    sampling: bool = False
    protocols: dict[str, Protocol] = pydantic.Field(default={"published": Protocol()}, min_length=1)
    networks: dict[str, dict[str, Any]] = pydantic.Field(min_length=1)
    published: dict[str, dict[str, Figures]] = {}
    benchmarks: dict[str, dict[str, Figures]] = {}
    parameters: dict[str, int] = {}
    published_note: str = ""

    @pydantic.model_validator(mode="after")
    def _check_fields(self) -> Study:
        protocols = {name: {**protocol.fields, **protocol.grid} for name, protocol in self.protocols.items()}
        for name, fields in [*protocols.items(), *self.networks.items()]:
            decided = [field for field in fields if field in _DECIDED]
            if decided:
                raise ValueError(f"must leave {', '.join(decided)} to the study, but {name} sets it")
            if not isinstance(fields.get("model_args", {}), dict):
                raise ValueError(f"must have lines 'argument: value' as model_args, but {name} has other content")
        if self.reference is not None and self.reference not in self.networks:
            raise ValueError(f"must have its reference among its networks, but {self.reference} is not")
        for name, protocol in self.protocols.items():
            unknown = [network for network in protocol.networks if network not in self.networks]
            if unknown:
                raise ValueError(f"must have {', '.join(unknown)}, which {name} names, among its networks")
        return self

    @pydantic.model_validator(mode="after")
    def _check_folds(self) -> Study:
        if self.folds is None:
            if self.repeats > 1:
                raise ValueError("must have folds if it has repeats, which deal the samples to folds anew")
            return self
        if self.seeds is not None:
            raise ValueError("must have repeats in place of seeds if it has folds: each repeat has its own seed")
        if self.shuffled_splits:
            raise ValueError("must not have both folds and shuffled_splits: each repeat deals the samples anew")
        if self.sampling:
            raise ValueError("must not have both folds and sampling, which is compared on the same test series")
        fields = [*(protocol.fields for protocol in self.protocols.values()), *self.networks.values()]
        if any("fold" in part for part in fields):
            raise ValueError("must not have both folds and the training field fold")
        return self

    @property
    def seed_count(self) -> int:
        """Returns the number of seeds, which is that of the repeats of a study with folds."""
        return self.seeds or DEFAULT_SEEDS if self.folds is None else self.repeats

    def list_folds(self) -> list[str | None]:
        """Returns the fold of each run of one seed, such as ``2/5``; a single None without folds."""
        return [None] if self.folds is None else [f"{number}/{self.folds}" for number in range(1, self.folds + 1)]

    def published_for(self, data: str) -> tuple[dict[str, Figures], bool]:
        """Returns the published figures by network, and whether they were measured on the images of this data set.

        Folds test other images than the test split, which the published figures were measured on.
        """
        if data in self.published:
            return self.published[data], self.folds is None
        return self.published.get(ELSEWHERE, {}), False


@dataclasses.dataclass(frozen=True)
class StudyRun:
    """One run of a study.

    Args:
        network: Its name in the study, including the values of the grid.
        config: Its configuration, complete except for what the model's own protocol adds.
        base: The name of the network as declared.
        point: The values of the grid.
        of_fold: Whether it is one of the runs of a study with folds.
    """

    network: str
    config: TrainConfig
    base: str = ""
    point: Point = dataclasses.field(default_factory=lambda: Point({}))
    of_fold: bool = False

    # What it is a part of, and the option that sets the folder of that, for messages.
    whole: ClassVar[str] = "A study"
    folder_option: ClassVar[str] = "--study-dir"

    @property
    def folder(self) -> Path:
        """Returns the run's folder."""
        if self.config.run_dir is None:
            raise ValueError(f"A run of a study must have a folder. Received: {self.network} without run_dir.")
        return self.config.run_dir

    @property
    def name(self) -> str:
        """Returns the name of the run in messages."""
        seed = self.config.seed
        place = f"repeat {seed + 1}, fold {self.config.fold}" if self.of_fold else f"seed {seed}"
        return f"{self.network} on {self.config.data}, {place}"


def built_in_studies() -> list[str]:
    """Returns the names of the studies that come with the package."""
    return sorted(path.stem.replace("_", "-") for path in _BUILT_IN.glob("*.yaml"))


def load_study(name: str) -> Study:
    """Reads a study.

    Args:
        name: Name of a study that comes with the package, or path of a YAML file.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        if name not in built_in_studies():
            raise InputError(f"There is no study {name!r}. {suggest(name, built_in_studies())} Or name a YAML file.")
        path = _BUILT_IN / f"{name.replace('-', '_')}.yaml"
    return validate(Study, read_yaml(path))


def choose(kind: str, wanted: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    """Returns the wanted names in their order, or all known ones; an unknown name raises an error with the nearest."""
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
    grid: Grid | None = None,
) -> list[StudyRun]:
    """Returns all runs of a study, ordered by seed so that a table of one seed is available early.

    Args:
        study: The declaration.
        folder: Folder that holds the runs, as ``DATA/NETWORK/seed-N``, or ``DATA/NETWORK/repeat-N/fold-K``.
        networks: Names of networks; all if not given.
        data: Names of data sets, which may be others than the study's own; all of its own if not given.
        seeds: Number of seeds, or of repeats of a study with folds; as declared if not given.
        protocol: Name of a protocol; the first if not given.
        quick: Whether this is only a check that all runs complete: two epochs, one seed.
        fields: Training fields of all runs, such as ``data_dir``.
        grid: Values that replace those of the protocol's grid, or further fields.
    """
    decided = [field for field in {**(fields or {}), **(grid or {})} if field in _DECIDED]
    if decided:
        raise InputError(
            f"A study sets {', '.join(_DECIDED)} itself. Received: {', '.join(decided)}. Give --data and --seeds"
            " for data sets and seeds, and leave out the rest."
        )
    chosen = study.protocols[choose("protocol", [protocol] if protocol else None, list(study.protocols))[0]]
    if "fold" in {**chosen.grid, **(grid or {})}:
        raise InputError(
            "A study compares networks on the same test images, so folds are not for its grid. Received: fold. Give one"
            " fold to all runs, as a training field, or declare folds in the study's file to train on each."
        )
    if study.folds is not None and "fold" in (fields or {}):
        raise InputError(
            f"A study with folds trains on each of them. Received: fold {show_value((fields or {})['fold'])} and"
            f" {study.folds} folds. Leave fold out."
        )
    names = choose("network", networks or chosen.networks, list(study.networks))
    options: dict[str, Any] = {"protocol": protocol, "quick": quick, "fields": fields}
    sets = list(data or study.data)
    repeats = 1 if quick else seeds or study.seed_count
    folds = study.list_folds()
    count = repeats * len(folds) * len(sets) * len(names) * count_points({**chosen.grid, **(grid or {})})
    if count > MOST_RUNS:
        raise InputError(
            f"A study must have at most {MOST_RUNS:,} runs. Received: {show_value(count)} from networks, data sets,"
            " seeds, folds and values of the grid. Leave some out."
        )
    points = lay_out_grid({**chosen.grid, **(grid or {})})
    runs = [
        make_run(study, folder, name, set_name, seed, point, fold=fold, **options)
        for seed in range(repeats)
        for fold in folds
        for set_name in sets
        for name in names
        for point in points
    ]
    _require_own_folders(runs)
    return runs


def make_run(
    study: Study,
    folder: Path,
    name: str,
    data: str,
    seed: int,
    point: Point,
    *,
    fold: str | None = None,
    protocol: str | None = None,
    quick: bool = False,
    fields: dict[str, Any] | None = None,
) -> StudyRun:
    """Returns one run of a study.

    Args:
        study: The declaration.
        folder: Folder that holds the runs.
        name: Name of the network.
        data: Name of the data set.
        seed: Seed of the run.
        point: The values of the grid.
        fold: The fold of the run, such as ``2/5``; None in a study without folds.
        protocol: Name of a protocol; the first if not given.
        quick: Whether to train for two epochs only.
        fields: Training fields of all runs.
    """
    chosen = study.protocols[protocol or next(iter(study.protocols))]
    declared = (chosen.fields, study.networks[name], fields or {})
    config = {"model": name, **{key: value for part in declared for key, value in part.items()}}
    arguments = (part.get("model_args", {}) for part in declared)
    config["model_args"] = {key: value for part in arguments for key, value in part.items()}
    modules = (validate(OwnModules, {"imports": part.get("imports", ())}).imports for part in declared)
    config["imports"] = list(dict.fromkeys(name for part in modules for name in part))
    config |= {"data": data, "seed": seed, "split_seed": seed if study.shuffled_splits or fold is not None else 0}
    config |= {"export": "none", "tensorboard": False, "explanations": False}
    network = point.name(name)
    if fold is not None:
        config["fold"] = fold
    place = f"seed-{seed}" if fold is None else f"repeat-{seed + 1}/fold-{parse_fold(fold)[0]}"
    config["run_dir"] = folder / path_name(data) / path_name(network) / place
    short = {"epochs": QUICK_EPOCHS, "early_stopping": 0} if quick else {}
    return StudyRun(network, TrainConfig.create(point.apply(config) | short), name, point, fold is not None)


def _require_own_folders(runs: Sequence[StudyRun]) -> None:
    seen: dict[Path, str] = {}
    for run in runs:
        if run.folder in seen:
            raise InputError(
                f"Each network of a study must have a different name. Received: {seen[run.folder]!r} and"
                f" {run.network!r}, which share {run.folder}. Change a name or a value of the grid."
            )
        seen[run.folder] = run.network


def path_name(name: str) -> str:
    """Returns a name as a folder name that cannot lead out of the folder that it is joined to."""
    found = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-")
    if not found.strip(".-"):
        raise InputError(
            f"Names of networks, data and values must contain letters or digits. Received: {name!r}. Change it."
        )
    return found
