"""A grid of training fields: every combination of their values, each with a readable name."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from keras_lnn.errors import InputError

Grid = Mapping[str, Sequence[Any]]
_ARGUMENTS = "model_args."


@dataclasses.dataclass(frozen=True)
class Point:
    """One combination of the values of a grid.

    Args:
        values: Values by the name of the field; ``model_args.NAME`` is an argument of the network's builder.
    """

    values: dict[str, Any]

    def name(self, network: str) -> str:
        """Returns the network's name followed by the values, such as ``resnet18 1e-4 he-normal``."""
        return " ".join([network, *(label_of(field, value) for field, value in self.values.items())])

    def apply(self, config: dict[str, Any]) -> dict[str, Any]:
        """Returns the training fields of ``config`` with these values in place of theirs."""
        fields = {name: value for name, value in self.values.items() if not name.startswith(_ARGUMENTS)}
        arguments = {
            name.removeprefix(_ARGUMENTS): value for name, value in self.values.items() if name.startswith(_ARGUMENTS)
        }
        return {**config, **fields, "model_args": {**config.get("model_args", {}), **arguments}}


def count_points(grid: Grid) -> int:
    """Returns the number of combinations."""
    return math.prod(len(values) for values in grid.values())


def lay_out_grid(grid: Grid) -> list[Point]:
    """Returns every combination, the last field varying fastest; an empty grid gives one point without values."""
    return [Point(dict(zip(grid, values, strict=True))) for values in itertools.product(*grid.values())]


def label_of(field: str, value: Any) -> str:
    """Returns a value as text: a word alone, a number after the name of its field."""
    if field == "learning_rate":
        return _scientific(value)
    if isinstance(value, str):
        return value
    return f"{field.removeprefix(_ARGUMENTS).replace('_', ' ')} {value:g}" if _is_number(value) else f"{field} {value}"


def parse_assignments(text: str | None, option: str) -> dict[str, list[Any]]:
    """Reads ``field=value,value field=value``.

    Args:
        text: The text as it was given, or None.
        option: Name of the option, for error messages.
    """
    found: dict[str, list[Any]] = {}
    for part in (text or "").split():
        name, sign, values = part.partition("=")
        parsed = [_read(value) for value in values.split(",") if value]
        if not (name and sign and parsed) or name in found:
            raise InputError(
                f"{option} must be FIELD=VALUE,VALUE with each field once, and spaces between fields, such as"
                f" 'learning_rate=1e-3,1e-4 time_budget=30s,60s'. Received: {part!r}."
            )
        found[name] = parsed
    return found


def _read(text: str) -> Any:
    """Returns a number where the text is one; YAML alone would read ``1e-3`` as a word."""
    try:
        value = yaml.safe_load(text)
        return float(value) if isinstance(value, str) else value
    except (ValueError, RecursionError, yaml.YAMLError):
        return text


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _scientific(value: Any) -> str:
    """Returns a learning rate as text such as ``1e-4`` or ``2.5e-5``."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    if not 0 < number < math.inf:
        return str(value)
    mantissa, exponent = f"{number:.5e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"
