"""The values of fields: their ranges, how those with units or several parts are written, and errors of wrong ones."""

import csv
import dataclasses
import re
from collections.abc import Callable, Iterable
from typing import Annotated, Any, overload

import pydantic
from pydantic_core import PydanticCustomError, core_schema

from keras_lnn.errors import InputError, show_value, suggest

# More than anybody trains for, and few enough to be counted in any way.
MOST = 10**6
LARGEST_SIDE = 8192
MOST_WORKERS = 1024
# Runs in the queue of Slurm, and as processes of this machine that start and end in the same way.
SLURM_NAMES = ("slurm", "slurm-local")
# One fold is tested, one validates and at least one trains.
FEWEST_FOLDS, MOST_FOLDS = 3, 100
Count = Annotated[int, pydantic.Field(ge=1, le=MOST)]
CountOrZero = Annotated[int, pydantic.Field(ge=0, le=MOST)]
Side = Annotated[int, pydantic.Field(ge=8, le=LARGEST_SIDE)]
Seed = Annotated[int, pydantic.Field(ge=0, lt=2**31)]
Share = Annotated[float, pydantic.Field(ge=0, lt=1)]
ShareAboveZero = Annotated[float, pydantic.Field(gt=0, lt=1)]
PositiveNumber = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]
NumberOrZero = Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)]
# The names of units of time with their other spellings; m is left out, since it may be minutes or months.
TIME_UNITS = {
    "microseconds": ("us", "µs", "μs", "usec", "usecs", "microsecond"),
    "milliseconds": ("ms", "msec", "msecs", "millisecond"),
    "seconds": ("s", "sec", "secs", "second"),
    "minutes": ("min", "mins", "minute"),
    "hours": ("h", "hr", "hrs", "hour"),
    "days": ("d", "day"),
    "weeks": ("w", "wk", "wks", "week"),
    "months": ("mo", "mos", "month"),
    "years": ("y", "yr", "yrs", "year"),
}
# The unit of the steps of series whose slices have positions in place of times.
POSITION_UNIT = "mm"
_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


@dataclasses.dataclass(frozen=True)
class OneOf:
    """Restricts a field to names that a table has when a value is checked or the help is printed.

    Args:
        list_names: Returns the names.
    """

    list_names: Callable[[], Iterable[str]]

    def __get_pydantic_core_schema__(self, source: Any, handler: pydantic.GetCoreSchemaHandler) -> Any:
        return core_schema.no_info_after_validator_function(self._require, handler(source))

    def _require(self, value: str | None) -> str | None:
        names = list(self.list_names())
        if value is not None and value not in names:
            *others, last = map(repr, names)
            # Worded as pydantic words a Literal.
            raise PydanticCustomError(
                "literal_error", "Input should be {names}", {"names": f"{', '.join(others)} or {last}"}
            )
        return value


@overload
def parse_duration(text: str | float | int) -> float: ...


@overload
def parse_duration(text: None) -> None: ...


def parse_duration(text: str | float | int | None) -> float | None:
    """Returns the seconds of a duration such as ``90s``, ``10m``, ``1.5h`` or plain seconds."""
    if text is None:
        return None
    text = str(text).strip().lower()
    factor = {"s": 1.0, "m": 60.0, "h": 3600.0}.get(text[-1:])
    try:
        seconds = float(text[:-1]) * factor if factor else float(text)
    except ValueError:
        raise ValueError("must be a number of seconds, or a number followed by s, m or h, such as 10m") from None
    if not 0 < seconds < float("inf"):
        raise ValueError("must be more than zero")
    return seconds


def parse_memory(text: str | int | float | None) -> float | None:
    """Returns the bytes of a size such as ``4G``, ``800M`` or a plain number."""
    if text is None:
        return None
    match = re.fullmatch(r"([0-9.]+)\s*([kmgt]?)i?b?", str(text).strip().lower())
    number, unit = ("", "") if match is None else match.groups()
    try:
        size = float(number) * _UNITS[unit]
    except ValueError:
        raise ValueError("must be a number of bytes, perhaps followed by K, M, G or T, such as 4G") from None
    if not 0 < size < float("inf"):
        raise ValueError("must be finite and more than zero")
    return size


def parse_address(text: str) -> tuple[str, int]:
    """Returns host and port."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise ValueError("must be HOST:PORT, such as 10.0.0.5:8000")
    return host, int(port)


def parse_cluster(text: str | None) -> str | None:
    """Returns the name or address of a cluster after checking that it is a known name or has a host and a port."""
    if text is not None and text not in ("auto", *SLURM_NAMES):
        try:
            parse_address(text)
        except ValueError:
            raise ValueError(
                f"must be auto or HOST:PORT, such as 10.0.0.5:6379, for Ray, or {' or '.join(SLURM_NAMES)}"
            ) from None
    return text


def parse_hosts(text: str | int | None) -> str | None:
    """Returns a number of hosts after checking that it is ``auto`` or a number from 1."""
    if text is None or str(text) == "auto":
        return text if text is None else "auto"
    if not (str(text).isdecimal() and 1 <= int(text) <= MOST_WORKERS):
        raise ValueError(f"must be auto, or a number from 1 to {MOST_WORKERS}")
    return str(int(text))


def parse_time_unit(text: str | None) -> str | None:
    """Returns the name of a unit of time, in the plural, of any of its spellings such as ``min``."""
    if text is None:
        return None
    plain = str(text).strip().lower()
    found = next((unit for unit, spellings in TIME_UNITS.items() if plain in (unit, *spellings)), None)
    if found is None:
        raise ValueError(f"must be a unit of time: {', '.join(TIME_UNITS)}")
    return found


def name_steps(unit: str) -> str:
    """Returns what the steps of series in a unit are: ``position`` for millimetres, else ``time``."""
    return "position" if unit == POSITION_UNIT else "time"


def parse_window(text: str | None) -> tuple[float, float] | None:
    """Returns the two numbers of ``CENTER,WIDTH``."""
    if text is None:
        return None
    try:
        center, width = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError("must be CENTER,WIDTH, such as 40,400") from None
    if not (abs(center) < float("inf") and 0 < width < float("inf")):
        raise ValueError("must have a finite center and a width above 0, such as 40,400")
    return center, width


def parse_frame(text: str | int | None) -> str | None:
    """Returns the choice of a frame as text: ``first``, ``middle``, ``mean``, ``each`` or a number from 1 on."""
    if text is None or str(text) in ("first", "middle", "mean", "each"):
        return None if text is None else str(text)
    if not re.fullmatch("[1-9][0-9]{0,8}", str(text)):
        raise ValueError("must be first, middle, mean, each or a number of at least 1")
    return str(text)


def parse_fold(text: str) -> tuple[int, int]:
    """Returns a fold and the number of folds, parsed from ``2/5``; fewer than three leave nothing to train on."""
    if not re.fullmatch("[0-9]{1,3}/[0-9]{1,3}", text):
        raise ValueError("must be FOLD/FOLDS, such as 2/5")
    number, count = map(int, text.split("/"))
    if not FEWEST_FOLDS <= count <= MOST_FOLDS or not 1 <= number <= count:
        raise ValueError(
            f"must be one of {FEWEST_FOLDS} to {MOST_FOLDS} folds, counted from 1, such as 2/5: one to test on, one for"
            " validation and the others to train on"
        )
    return number, count


def parse_classes(text: str | None) -> dict[str, str]:
    """Returns the model's class name for each class name of other data, parsed from ``THEIRS=OURS,THEIRS=OURS``.

    A pair with a comma in a name is written in double quotes.
    """
    if text is None:
        return {}
    try:
        pairs = [pair for row in csv.reader([text], skipinitialspace=True) for pair in row]
    except csv.Error:
        pairs = []
    names = [pair.partition("=") for pair in pairs]
    if not names or not all(theirs.strip() and ours.strip() for theirs, _, ours in names):
        raise ValueError("must be THEIRS=OURS,THEIRS=OURS, such as benigno=benign,maligno=malignant")
    return {theirs.strip(): ours.strip() for theirs, _, ours in names}


def split_names(value: Any) -> Any:
    """Returns the names in ``a,b,c``; other values as they are."""
    return [name.strip() for name in value.split(",")] if isinstance(value, str) else value


def validate(model_class: type[pydantic.BaseModel], values: dict[str, Any]) -> Any:
    """An object of a typed class, or one line that names the first field that is wrong."""
    try:
        return model_class.model_validate(values)
    except pydantic.ValidationError as error:
        problem = error.errors(include_url=False)[0]
    name = str(problem["loc"][0]) if problem["loc"] else model_class.__name__
    if problem["type"] == "extra_forbidden":
        raise InputError(f"There is no field {name!r}. {suggest(name, model_class.model_fields)}")
    rule = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    rule = rule[0].lower() + rule[1:]
    verb = "" if rule.startswith("should") or rule.startswith("must") else "is not right: "
    raise InputError(f"{name} {verb}{rule.replace('should', 'must')}. Received: {show_value(problem['input'])}.")
