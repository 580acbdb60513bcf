"""The roles of fields: what each field of a configuration is for, stated in its annotation and nowhere else."""

import dataclasses
import enum
from typing import Any

import pydantic


class Role(enum.Enum):
    """What a field of a configuration is for. Each field has exactly one role, beside its type.

    Whatever handles fields by their meaning asks for roles and traits (:func:`fields_with`) and names no fields.
    """

    MODEL = "the network and its arguments"
    DATA = "the samples, their labels and their splits"
    SETTING = "how pixels are prepared, how the network learns and how it decides; another value gives another model"
    SEED = "the random draws of one model"
    PART = "the part of a longer training that a run does"
    CONTROL = "how a run or a search is executed; another value seeks the same model"
    MEASURE = "what the metrics describe; another value changes no weights"
    OUTPUT = "what a run measures, writes and exports at its end, and where"


class Trait(enum.Enum):
    """Further properties of a field, which may have any number of them."""

    PLACE = "holds a path, which may differ between machines"
    COLUMN = "names columns of the user's table"
    LASTING = "shapes the weights or the optimizer's state, so a run that continues from a checkpoint must keep it"
    SAME_IN_TRIALS = "is the same in all trials of a search, or is the metric that they are judged by"
    LAID_OUT = "varies over the runs of a study"


@dataclasses.dataclass(frozen=True)
class InTrials:
    """Gives a field its value in the trials of a search, which measure on validation only and write little.

    Args:
        value: The value.
    """

    value: Any


@dataclasses.dataclass(frozen=True)
class Before:
    """Says what a field of a finished run or a begun search is where a version without that field wrote it.

    Args:
        value: The value.
    """

    value: Any


def fields_with(model_class: type[pydantic.BaseModel], *marks: Role | Trait) -> tuple[str, ...]:
    """Returns the names of the fields that have at least one of the roles and traits, in the order of declaration."""
    return tuple(
        name for name, field in model_class.model_fields.items() if any(mark in marks for mark in field.metadata)
    )


def values_in_trials(model_class: type[pydantic.BaseModel]) -> dict[str, Any]:
    """Returns the values that a search gives to fields in each of its trials, by name."""
    return _values_of(model_class, InTrials)


def values_before(model_class: type[pydantic.BaseModel]) -> dict[str, Any]:
    """Returns the values of fields that older versions did not have and that mean what these did, by name."""
    return _values_of(model_class, Before)


def _values_of(model_class: type[pydantic.BaseModel], kind: type[InTrials | Before]) -> dict[str, Any]:
    return {
        name: mark.value
        for name, field in model_class.model_fields.items()
        for mark in field.metadata
        if isinstance(mark, kind)
    }
