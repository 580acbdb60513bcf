"""What a search may choose from: written beside the argument or the field that it is for."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers from the lowest to the highest, both among them.

    Args:
        low: The lowest.
        high: The highest.
        step: The distance between two choices; any number in between where it is None.
        log: Whether equal factors are equally likely, as suits a learning rate.
    """

    low: float
    high: float
    step: float | None = None
    log: bool = False


@dataclasses.dataclass(frozen=True)
class Choice:
    """Some values.

    Args:
        values: At least one; all of one type.
    """

    values: tuple[Any, ...]


def find_range(annotation: Any) -> Range | Choice | None:
    """The range in an annotation such as ``Annotated[int, Ge(4), Range(8, 64)] | None``."""
    for part in typing.get_args(annotation):
        if isinstance(part, Range | Choice):
            return part
        if (found := find_range(part)) is not None:
            return found
    return None
