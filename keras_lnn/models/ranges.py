"""Search spaces of hyperparameters, written in the annotation of the argument or field that they belong to."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any


@dataclasses.dataclass(frozen=True)
class Range:
    """An interval of numbers that includes both ends.

    Args:
        low: The smallest value.
        high: The largest value.
        step: The distance between two choices; None for any number in between.
        log: Whether values are drawn on a logarithmic scale, as suits a learning rate.
    """

    low: float
    high: float
    step: float | None = None
    log: bool = False


@dataclasses.dataclass(frozen=True)
class Choice:
    """A list of values.

    Args:
        values: At least one value; all of one type.
    """

    values: tuple[Any, ...]


def find_range(annotation: Any) -> Range | Choice | None:
    """Returns the range in an annotation such as ``Annotated[int, Ge(4), Range(8, 64)] | None``."""
    for part in typing.get_args(annotation):
        if isinstance(part, Range | Choice):
            return part
        if (found := find_range(part)) is not None:
            return found
    return None
