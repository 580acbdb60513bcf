"""The files of a request: where they lie, what they are called, and what is asked of them."""

from __future__ import annotations

import dataclasses
import math
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_lnn.errors import suggest
from keras_lnn.serving.limits import Refused

_LONGEST_LABEL = 200
_MOST_TIMES = 10_000
_SWITCHES = ("picture", "map", "skip_bad")
OPTIONS = (*_SWITCHES, "times")


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a request asks for beside predictions.

    Args:
        picture: Whether each sample is returned as the model reads it.
        map: Whether a map of where the model looks is returned.
        skip_bad: Whether files that cannot be read are left out; else they are an error.
        times: For a model of series, the time of each file in the unit of the model; None where the files say so.
    """

    picture: bool = False
    map: bool = False
    skip_bad: bool = False
    times: tuple[float, ...] | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Asked:
        """Returns what the fields of a form, or the members of a JSON object, ask for.

        Args:
            options: Text, or values of JSON.
        """
        unknown = next((name for name in options if name not in OPTIONS), None)
        if unknown is not None:
            raise Refused(400, f"There is no option {clean_label(unknown)!r}. {suggest(unknown, OPTIONS)}")
        values: dict[str, Any] = {name: _read_switch(name, options[name]) for name in _SWITCHES if name in options}
        times = options.get("times")
        if times not in (None, "", []):
            values["times"] = _read_times(times)
        return cls(**values)


@dataclasses.dataclass(frozen=True)
class Upload:
    """The files of a request.

    Args:
        folder: The folder that holds them, which is removed with all that is in it once the request is answered.
        files: The path of each within it, whose name the server has chosen.
        labels: What each is called where it comes from, for answers only.
        asked: What is asked for.
    """

    folder: Path
    files: list[Path]
    labels: list[str]
    asked: Asked


def clean_label(name: str) -> str:
    """Returns the name of an uploaded file as it is shown: on one line, and not too long.

    Args:
        name: As the request has it.
    """
    end = name[-4 * _LONGEST_LABEL :]
    shown = "".join("?" if unicodedata.category(character).startswith("C") else character for character in end)
    shown = shown.replace("\\", "/").strip().lstrip("/")
    return shown if len(shown) <= _LONGEST_LABEL else f"...{shown[3 - _LONGEST_LABEL :]}"


def _read_switch(name: str, value: Any) -> bool:
    if isinstance(value, str):
        value = {"true": True, "1": True, "on": True, "false": False, "0": False, "": False}.get(value.lower(), value)
    if not isinstance(value, bool):
        raise Refused(400, f"{name} must be true or false. Received: {clean_label(str(value))}.")
    return value


def _read_times(value: Any) -> tuple[float, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    try:
        if not isinstance(parts, list) or len(parts) > _MOST_TIMES or any(isinstance(part, bool) for part in parts):
            raise ValueError
        times = tuple(float(part) for part in parts)
        if not all(map(math.isfinite, times)):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise Refused(400, "times must be numbers, one for each file, such as 0,1.5,4. Received: others.") from None
    return times
