"""The search space: ranges of the model's own arguments and of training fields, and changes from a user's file."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import keras_tuner

from keras_lnn.config import TrainConfig
from keras_lnn.errors import InputError, suggest
from keras_lnn.fields.roles import Role, Trait, fields_with
from keras_lnn.files.yaml_files import read_yaml
from keras_lnn.models.ranges import Choice, Range, find_range
from keras_lnn.registry import builder_arguments, check_arguments, get_model
from keras_lnn.tasks.kinds import list_search_ranges

# The training fields that are searched by default; a file may name any other field of a configuration.
TRAINING_RANGES: dict[str, Range | Choice] = {
    "learning_rate": Range(1e-4, 1e-2, log=True),
    "weight_decay": Choice((0.0, 1e-5, 1e-4, 1e-3)),
    "batch_size": Choice((32, 64, 128)),
    "optimizer": Choice(("adam", "adamw", "nadam", "rmsprop")),
    "schedule": Choice(("constant", "cosine", "warmup-cosine")),
    "augmentation": Choice(("none", "auto")),
}

# Fields that a search sets itself, or that trials are judged by.
_NOT_SEARCHED = fields_with(TrainConfig, Role.MODEL, Role.DATA, Role.SEED, Role.PART, Role.OUTPUT, Trait.SAME_IN_TRIALS)
_KEYS = ("low", "high", "step", "log")
_EXAMPLE = "Write such as {low: 0.0001, high: 0.01, log: true}, [32, 64] or one value"


@dataclasses.dataclass(frozen=True)
class Space:
    """The space that a search chooses from.

    Args:
        model: Name of the model.
        ranges: Possible values of each builder argument or training field, by its name.
    """

    model: str
    ranges: Mapping[str, Range | Choice]

    def hyperparameters(self, config: TrainConfig) -> keras_tuner.HyperParameters:
        """Returns KerasTuner's description of the space; a published value that is among the choices is the default."""
        published = {**config.model_dump(), **_builder_defaults(self.model), **config.model_args}
        found = keras_tuner.HyperParameters()
        for name, entry in self.ranges.items():
            default = published.get(name)
            if isinstance(entry, Choice):
                found.Choice(name, list(entry.values), default=default if default in entry.values else None)
                continue
            options: dict[str, Any] = {"sampling": "log" if entry.log else "linear"}
            inside = isinstance(default, int | float) and entry.low <= default <= entry.high
            options["default"] = default if inside and _on_grid(entry, default) else None
            if entry.step is not None:
                options["step"] = int(entry.step) if _is_whole(entry) else entry.step
            kind = found.Int if _is_whole(entry) else found.Float
            number = int if _is_whole(entry) else float
            kind(name, number(entry.low), number(entry.high), **options)
        return found

    def apply(self, config: TrainConfig, values: Mapping[str, Any]) -> TrainConfig:
        """Returns the configuration with the chosen values; KerasTuner's own entries are ignored."""
        chosen = {name: value for name, value in values.items() if name in self.ranges}
        arguments = {name: value for name, value in chosen.items() if name not in TrainConfig.model_fields}
        fields = {name: value for name, value in chosen.items() if name in TrainConfig.model_fields}
        return TrainConfig.create({**config.model_dump(), **fields, "model_args": {**config.model_args, **arguments}})

    def rows(self) -> list[dict[str, str]]:
        """Returns one row per name for display."""
        return [
            {
                "name": name,
                "of": "training" if name in TrainConfig.model_fields else self.model,
                "choices": _describe(entry),
            }
            for name, entry in self.ranges.items()
        ]


def make_space(config: TrainConfig, file: Path | None = None, *, fixed: Collection[str] = ()) -> Space:
    """Returns the space of a configuration's model, narrowed or widened by a file.

    The file has one entry per name: a mapping of ``low``, ``high`` and optionally ``step`` and ``log``, a list of
    values, or one value, which fixes it. Arguments that the configuration's ``model_args`` sets are not searched.

    Args:
        config: Configuration of the trials.
        file: YAML file, or None.
        fixed: Training fields that were set by the user and are not searched unless the file names them.
    """
    ranges = {**builder_ranges(config.model), **TRAINING_RANGES}
    ranges |= {name: Choice(values) for name, values in list_search_ranges(get_model(config.model).predicts).items()}
    ranges = {name: entry for name, entry in ranges.items() if name not in fixed}
    for name, content in (read_yaml(file) if file is not None else {}).items():
        _require_name(name, config.model)
        ranges[name] = _read_entry(name, content)
    ranges = {name: entry for name, entry in ranges.items() if name not in config.model_args}
    space = Space(config.model, ranges)
    for name, entry in ranges.items():
        _check_entry(space, config, name, entry)
    if not ranges:
        raise InputError(
            "A search must have hyperparameters to choose. Received: none. Add some to the file of --space."
        )
    return space


def builder_ranges(model: str) -> dict[str, Range | Choice]:
    """Returns the ranges declared with the arguments of a model's builder."""
    types = typing.get_type_hints(get_model(model).builder, include_extras=True)
    found = {name: find_range(types[name]) for name in builder_arguments(get_model(model))}
    return {name: entry for name, entry in found.items() if entry is not None}


def _builder_defaults(model: str) -> dict[str, Any]:
    return {name: parameter.default for name, parameter in builder_arguments(get_model(model)).items()}


def _require_name(name: str, model: str) -> None:
    known = {*builder_arguments(get_model(model)), *(set(TrainConfig.model_fields) - set(_NOT_SEARCHED))}
    if name in _NOT_SEARCHED:
        raise InputError(f"{name} must not be searched. Received: a space with {name}. Remove it, or give --{name}.")
    if name not in known:
        raise InputError(f"There is no hyperparameter {name!r}. {suggest(str(name), known)}")


def _read_entry(name: str, content: Any) -> Range | Choice:
    if isinstance(content, Mapping):
        unknown = [key for key in content if key not in _KEYS]
        numbers = [content.get(key) for key in ("low", "high")]
        numbers += [content["step"]] if content.get("step") is not None else []
        if unknown or any(isinstance(value, bool) or not isinstance(value, int | float) for value in numbers):
            raise InputError(
                f"A range must have numbers low, high and perhaps step, log. Received: {name}: {content}. {_EXAMPLE}."
            )
        entry = Range(content["low"], content["high"], content.get("step"), content.get("log", False) is True)
        finite = all(math.isfinite(number) for number in numbers)
        if not finite or entry.low >= entry.high or (entry.log and entry.low <= 0) or (entry.step or 1) <= 0:
            raise InputError(
                f"A range must have a low below its high, a step above 0, and a low above 0 if it is log. Received:"
                f" {name}: {content}. {_EXAMPLE}."
            )
        if entry.log and entry.step is not None:
            raise InputError(f"A range must not have both step and log. Received: {name}: {content}. Leave one out.")
        return entry
    values = content if isinstance(content, list) else [content]
    if not values or any(isinstance(value, list | dict) for value in values):
        raise InputError(f"The choices of {name} must be plain values. Received: {content}. {_EXAMPLE}.")
    if any(value is None for value in values):
        raise InputError(f"A choice must have a value. Received: {name}: {content}. Name each value.")
    # KerasTuner needs values of one type, so a 0 beside 0.001 becomes a float too.
    if any(isinstance(value, float) for value in values) and not any(isinstance(value, str) for value in values):
        values = [float(value) for value in values]
    if len({type(value) for value in values}) > 1:
        raise InputError(f"The choices of {name} must have one type. Received: {content}. Write all in the same way.")
    return Choice(tuple(dict.fromkeys(values)))


def _check_entry(space: Space, config: TrainConfig, name: str, entry: Range | Choice) -> None:
    """Checks that the argument or field accepts each end of a range and each choice."""
    for value in entry.values if isinstance(entry, Choice) else (entry.low, entry.high):
        number = int(value) if isinstance(entry, Range) and _is_whole(entry) else value
        changed = space.apply(config, {name: number})
        if name not in TrainConfig.model_fields:
            check_arguments(get_model(config.model), {name: changed.model_args[name]})


def _is_whole(entry: Range) -> bool:
    return all(isinstance(number, int) for number in (entry.low, entry.high, entry.step or 1))


def _on_grid(entry: Range, value: float) -> bool:
    step = entry.step or (1 if _is_whole(entry) and not entry.log else None)
    return step is None or math.isclose((value - entry.low) / step, round((value - entry.low) / step), abs_tol=1e-9)


def _describe(entry: Range | Choice) -> str:
    if isinstance(entry, Choice):
        return ", ".join(map(str, entry.values))
    how = ", log" if entry.log else f", step {entry.step:g}" if entry.step else ""
    return f"{entry.low:g} to {entry.high:g}{how}"
