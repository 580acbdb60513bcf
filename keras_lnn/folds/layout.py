"""The run of each fold of a cross-validation in its folder, and the record of how it was begun."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any, ClassVar

import yaml

from keras_lnn.config import TrainConfig
from keras_lnn.errors import InputError
from keras_lnn.fields.options import FoldOptions
from keras_lnn.files.atomic import write_text
from keras_lnn.files.written import require_own_folder
from keras_lnn.files.yaml_files import read_yaml
from keras_lnn.runs.finding import FOLDS_FILE
from keras_lnn.saved.formats import NO_EXPORT
from keras_lnn.saved.signature import short_data_name
from keras_lnn.studies.declaration import StudyRun

# Fields of a single run that mean nothing for all folds together; the others are those of each run.
_OF_ONE_RUN = ("fold", "start_from", "stop_after")
_WRITTEN = ("folds.csv", "folds.json", "folds.html", "predictions.csv", "doubtful_labels.csv", "plots")


@dataclasses.dataclass(frozen=True)
class FoldRun(StudyRun):
    """The run of one fold.

    Args:
        repeat: Number of the partition, from 1.
        fold: Number of the fold, from 1.
        partition: What the run is called beside its fold; empty for a single partition.
    """

    repeat: int = 1
    fold: int = 1
    partition: str = ""

    whole: ClassVar[str] = "A cross-validation"
    folder_option: ClassVar[str] = "--run-dir"

    @property
    def name(self) -> str:
        """Returns the name of the run in messages."""
        return f"{self.partition}fold {self.config.fold}"

    @property
    def place(self) -> str:
        """Returns the run's folder within that of the cross-validation."""
        parent = self.folder.parent.name
        return f"{parent}/{self.folder.name}" if parent == _name_repeat(self.repeat) else self.folder.name


def name_folder(config: TrainConfig, folds: int) -> Path:
    """Returns the folder of a cross-validation: the one that was asked for, or always the same for the same data."""
    if config.run_dir is not None:
        return config.run_dir
    data = re.sub(r"[^A-Za-z0-9._=-]+", "-", Path(short_data_name(config.data).rpartition(":")[2]).stem).strip("-.")
    return Path("runs", f"{config.model}-{data or 'data'}-{folds}-folds")


def lay_out_folds(config: TrainConfig, options: FoldOptions) -> list[FoldRun]:
    """Returns the runs of a cross-validation in their folders, ``fold-1`` and so on, or ``repeat-1/fold-1``.

    The runs of one repeat have the same seed; each further repeat has the next seed, for the partition too. The folds
    of a cross-validation that was begun without repeats stay where they are as the first repeat.

    Args:
        config: The configuration that all runs share.
        options: The number of folds and of repeats.
    """
    count, repeats = options.folds, options.repeats
    if count is None:
        raise ValueError("A cross-validation must have a number of folds. Received: none. Give folds.")
    _require_whole(config)
    folder = name_folder(config, count)
    runs = []
    for repeat in range(repeats):
        begun_alone = repeat == 0 and (repeats == 1 or (folder / "fold-1").is_dir())
        parent = folder if begun_alone else folder / _name_repeat(repeat + 1)
        seeds = {"seed": config.seed + repeat, "split_seed": config.seed_of_splits + repeat}
        for number in range(1, count + 1):
            own = {"fold": f"{number}/{count}", "run_dir": parent / f"fold-{number}", "export": NO_EXPORT, **seeds}
            values = TrainConfig.create(config.model_dump() | own)
            partition = f"repeat {repeat + 1}, " if repeats > 1 else ""
            runs.append(FoldRun(config.model, values, repeat=repeat + 1, fold=number, partition=partition))
    return runs


def begin_folder(folder: Path, config: TrainConfig, options: FoldOptions) -> None:
    """Writes down how a cross-validation was begun, for ``train --config``; checks that it goes on in the same way.

    It may go on with more repeats.

    Args:
        folder: Its folder.
        config: The configuration that all runs share.
        options: The number of folds and of repeats.
    """
    asked = {"folds": options.folds, "repeats": options.repeats}
    path = folder / FOLDS_FILE
    if path.exists():
        known = read_yaml(path)
        begun = {name: known.get(name) for name in asked}
        if begun == asked:
            return
        if begun["folds"] != asked["folds"] or (begun["repeats"] or 1) > options.repeats:
            raise InputError(
                f"A cross-validation must continue with the options that it began with, {_spell(begun)}, or with more"
                f" repeats. Received: {_spell(asked)} for {folder}. Give those, or another --run-dir."
            )
        # Without all repeats the cross-validation is no longer complete.
        (folder / "folds.json").unlink(missing_ok=True)
        write_text(path, yaml.safe_dump(known | asked, sort_keys=False, allow_unicode=True))
        return
    content: dict[str, Any] = {**asked, **config.model_dump(mode="json", exclude_unset=True), "run_dir": str(folder)}
    write_text(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def require_folder(folder: Path) -> None:
    """Checks that the folder of a cross-validation is new, or that of one, so that nothing of others is replaced."""
    require_own_folder(folder, FOLDS_FILE, ("config.yaml", *_WRITTEN), "--run-dir")


def _require_whole(config: TrainConfig) -> None:
    """Checks that no field asks for what only a single run can do."""
    for name in _OF_ONE_RUN:
        if getattr(config, name) is not None:
            raise InputError(
                f"--folds trains every fold from its beginning to its end. Received: --{name.replace('_', '-')}"
                f" {getattr(config, name)}. Leave it out, or leave out --folds."
            )
    if not config.test:
        raise InputError("--folds tests each fold once. Received: --no-test. Leave it out, or leave out --folds.")
    if "export" in config.model_fields_set and config.export != NO_EXPORT:
        raise InputError(
            f"--folds exports no model, since none of them learned from all images. Received: --export {config.export}."
            " Leave it out, and export the run of a fold."
        )


def _name_repeat(repeat: int) -> str:
    """Returns the name of the folder of a repeat, from 1."""
    return f"repeat-{repeat}"


def _spell(options: dict[str, Any]) -> str:
    return " ".join(f"--{name} {value}" for name, value in options.items())
