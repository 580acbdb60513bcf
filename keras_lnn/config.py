"""What a training run is: one frozen, typed configuration, validated once, read from and written to YAML."""

import csv
import dataclasses
import enum
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, overload

import pydantic
import yaml
from pydantic_core import PydanticCustomError, core_schema

from keras_lnn.errors import InputError, show_value, suggest
from keras_lnn.files.yaml_files import read_yaml
from keras_lnn.saved.formats import NO_EXPORT, list_exports
from keras_lnn.tasks.kinds import list_monitors
from keras_lnn.tasks.thresholds import parse_threshold

Loss = Literal["cross-entropy", "focal", "asymmetric", "bce-dice", "focal-tversky", "soft-f1", "mean-squared-error"]
Optimizer = Literal["adam", "adamw", "sgd", "rmsprop", "nadam", "lion"]
Schedule = Literal["constant", "cosine", "cosine-restarts", "warmup-cosine", "exponential", "steps"]
# More than anybody trains for, and few enough to be counted in any way.
MOST = 10**6
LARGEST_SIDE = 8192
MOST_WORKERS = 1024
Count = Annotated[int, pydantic.Field(ge=1, le=MOST)]
CountOrZero = Annotated[int, pydantic.Field(ge=0, le=MOST)]
Side = Annotated[int, pydantic.Field(ge=8, le=LARGEST_SIDE)]
Seed = Annotated[int, pydantic.Field(ge=0, lt=2**31)]
Share = Annotated[float, pydantic.Field(ge=0, lt=1)]
PositiveNumber = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]
NumberOrZero = Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)]
_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
MODEL_DEFAULT = "(default: the model's published protocol)"


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


def _split_names(value: Any) -> Any:
    """Returns the names in ``a,b,c``; other values as they are."""
    return [name.strip() for name in value.split(",")] if isinstance(value, str) else value


def fields_with(model_class: type[pydantic.BaseModel], *marks: Role | Trait) -> tuple[str, ...]:
    """Returns the names of the fields that have at least one of the roles and traits, in the order of declaration."""
    return tuple(
        name for name, field in model_class.model_fields.items() if any(mark in marks for mark in field.metadata)
    )


def values_in_trials(model_class: type[pydantic.BaseModel]) -> dict[str, Any]:
    """Returns the values that a search gives to fields in each of its trials, by name."""
    return {
        name: mark.value
        for name, field in model_class.model_fields.items()
        for mark in field.metadata
        if isinstance(mark, InTrials)
    }


class OwnModules(pydantic.BaseModel):
    """Imports of the user's own modules: the same option for every command that knows models or data."""

    imports: Annotated[tuple[str, ...], pydantic.BeforeValidator(_split_names), Role.CONTROL, Trait.SAME_IN_TRIALS] = (
        pydantic.Field((), description="Python modules with your own models, layers or data sets, as a,b")
    )


class DataOptions(pydantic.BaseModel):
    """How a data set is read: the same options for every command that reads one.

    They are flat, since they are options of a command line and lines of a configuration file. What is read by them gets
    them as one nested :class:`~keras_lnn.data.reading.Reading`, which takes each field by its name.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", validate_default=True, protected_namespaces=())

    size: Annotated[Side | None, Role.SETTING] = pydantic.Field(
        None, description="side of the images in pixels (default: 28 for the catalog, 64 for own images)"
    )
    data_dir: Annotated[Path | None, Role.DATA, Trait.PLACE] = pydantic.Field(
        None, description="folder of the data files (default: $MEDMNIST_ROOT, else ~/.medmnist)"
    )
    accept_checksum: Annotated[bool, Role.DATA] = pydantic.Field(
        False, description="accept a data file whose checksum is not the official one, if its arrays are valid"
    )
    image_dir: Annotated[Path | None, Role.DATA, Trait.PLACE] = pydantic.Field(
        None, description="folder of the images of table:FILE (default: the table's folder)"
    )
    file_column: Annotated[str | None, Role.DATA, Trait.COLUMN] = pydantic.Field(
        None, description="column of the table that names the files"
    )
    label_columns: Annotated[
        tuple[str, ...] | None, pydantic.BeforeValidator(_split_names), Role.DATA, Trait.COLUMN
    ] = pydantic.Field(
        None, description="columns of the table with labels: one column of classes, or several of 0 and 1, as a,b,c"
    )
    split_column: Annotated[str | None, Role.DATA, Trait.COLUMN] = pydantic.Field(
        None, description="column of the table with train, val or test"
    )
    group_column: Annotated[str | None, Role.DATA, Trait.COLUMN] = pydantic.Field(
        None, description="column of the table, such as patient; images with the same value stay in one split"
    )
    fit: Annotated[Literal["stretch", "pad"] | None, Role.SETTING] = pydantic.Field(
        None, description="how own images are resized; pad: keep the aspect ratio and fill the rest with black"
    )
    window: Annotated[str | None, Role.SETTING] = pydantic.Field(
        None,
        description="CENTER,WIDTH of the range of values that is read from own images with more than 8 bits, such as "
        "40,400 or --window=-600,1500 (default: the window that a DICOM file names, else the whole range)",
    )
    skip_bad: Annotated[bool, Role.DATA] = pydantic.Field(
        False, description="leave out image files that are missing or unreadable"
    )
    mask_threshold: Annotated[Annotated[float, pydantic.Field(ge=0)] | None, Role.DATA] = pydantic.Field(
        None,
        description="brightness above which a pixel of a smoothed or lossily compressed mask belongs to the class, "
        "such as 127",
    )
    frame: Annotated[str | None, Role.SETTING] = pydantic.Field(
        None,
        description="the frame, page or time point that is read from own images that have several: first, middle, a "
        "number from 1, or mean for the mean of all; each reads the slices of a DICOM series as separate images "
        "(default: the first; a DICOM series in a folder, and a CT, MR or PET file with many slices, are volumes)",
    )

    @pydantic.field_validator("window", mode="after")
    @classmethod
    def _window(cls, value: str | None) -> str | None:
        parse_window(value)
        return value

    @pydantic.field_validator("frame", mode="before")
    @classmethod
    def _frame(cls, value: Any) -> str | None:
        return parse_frame(value)


class _Subject(pydantic.BaseModel):
    """The model and the data; a class of its own, so that these fields stay the first ones of a configuration."""

    model: Annotated[str, Role.MODEL, Trait.LASTING] = pydantic.Field(
        "lnn", description="model to train; see: python -m keras_lnn list models"
    )
    model_args: Annotated[dict[str, Any], Role.MODEL, Trait.LASTING] = pydantic.Field(
        default_factory=dict, description="arguments of the model's builder, such as units=19,dropout=0.2"
    )
    data: Annotated[str, Role.DATA, Trait.PLACE, Trait.LAID_OUT] = pydantic.Field(
        "phantom-breast",
        description="data set: a name from the catalog (python -m keras_lnn list data), folder:PATH, table:FILE, "
        "masks:DIR, mask-classes:DIR or tfds:NAME",
    )


class TrainConfig(OwnModules, DataOptions, _Subject):
    """The whole configuration of a training run; fields left out follow the model's published protocol."""

    fit: Annotated[Literal["stretch", "pad"], Role.SETTING] = pydantic.Field(
        "stretch", description=DataOptions.model_fields["fit"].description
    )
    epochs: Annotated[Count | None, Role.SETTING, Trait.SAME_IN_TRIALS] = pydantic.Field(
        None, description=f"passes over the training images {MODEL_DEFAULT}"
    )
    batch_size: Annotated[Count | None, Role.SETTING, Trait.LASTING] = pydantic.Field(
        None, description=f"images per training step {MODEL_DEFAULT}"
    )
    optimizer: Annotated[Optimizer | None, Role.SETTING, Trait.LASTING] = pydantic.Field(
        None, description=f"optimizer that updates the weights {MODEL_DEFAULT}"
    )
    learning_rate: Annotated[PositiveNumber | None, Role.SETTING] = pydantic.Field(
        None, description=f"learning rate at the start, or at the peak after a warm-up {MODEL_DEFAULT}"
    )
    weight_decay: Annotated[NumberOrZero | None, Role.SETTING] = pydantic.Field(
        None, description=f"decoupled weight decay {MODEL_DEFAULT}"
    )
    schedule: Annotated[Schedule | None, Role.SETTING] = pydantic.Field(
        None,
        description="learning-rate schedule; steps: a tenth of the rate after half of the run, a hundredth after three "
        f"quarters {MODEL_DEFAULT}",
    )
    restart_epochs: Annotated[Count | None, Role.SETTING] = pydantic.Field(
        None, description=f"epochs between two restarts of --schedule cosine-restarts {MODEL_DEFAULT}"
    )
    loss: Annotated[Loss | None, Role.SETTING] = pydantic.Field(
        None,
        description="loss that training minimises; focal: easy samples weigh less; asymmetric: easy negatives weigh "
        "even less (only for data with several labels per image); bce-dice, focal-tversky and soft-f1: overlap of "
        "probabilities and truth over each batch; mean-squared-error: squared error of the probabilities "
        f"{MODEL_DEFAULT}",
    )
    class_weight: Annotated[Literal["none", "balanced"], Role.SETTING] = pydantic.Field(
        "none",
        description="balanced: rare classes weigh as much as frequent ones in the loss; in segmentation by their "
        "number of pixels, with a weight of at most 10",
    )
    augmentation: Annotated[str | None, Role.SETTING] = pydantic.Field(
        None,
        description="none; auto, which suits the data; shift-rotate, mirror, any-orientation, crnet; flip-shift or "
        "flip-turn-shift for volumes; or several of these and of the following operations joined by +, such as "
        "resized-crop+flip+noise: shift, rotate, turn, flip, flip-both, resized-crop, noise, blur, brightness, "
        f"contrast, turn-right-angles {MODEL_DEFAULT}",
    )
    monitor: Annotated[str | None, OneOf(list_monitors), Role.SETTING, Trait.SAME_IN_TRIALS] = pydantic.Field(
        None,
        description="validation value that chooses the best epoch, one of those that the model's task has; val_score: "
        f"0.2 accuracy + 0.3 F1 + 0.5 IoU {MODEL_DEFAULT}",
    )
    early_stopping: Annotated[CountOrZero | None, Role.SETTING] = pydantic.Field(
        None, description=f"epochs without improvement after which the run stops, 0 for never {MODEL_DEFAULT}"
    )
    early_stopping_margin: Annotated[NumberOrZero | None, Role.SETTING] = pydantic.Field(
        None,
        description="difference from the best value at which a worse epoch counts towards --early-stopping "
        f"{MODEL_DEFAULT}",
    )
    keep: Annotated[Literal["best", "last"] | None, Role.SETTING] = pydantic.Field(
        None, description=f"epoch that is tested and exported: the best by --monitor, or the last one {MODEL_DEFAULT}"
    )
    weight_average: Annotated[Share | None, Role.SETTING, Trait.LASTING] = pydantic.Field(
        None,
        description="momentum of the running average of the weights that is validated and kept, such as 0.99; 0 for "
        f"no average {MODEL_DEFAULT}",
    )
    threshold: Annotated[str | None, Role.SETTING] = pydantic.Field(
        None,
        description="rule that chooses the decision threshold on validation, for two classes or several labels per "
        "image: youden, f1, sensitivity=.9, specificity=.9; or the threshold itself as a number (default: youden for "
        "two classes, f1 for each label)",
    )
    positive_class: Annotated[str | None, Role.MEASURE] = pydantic.Field(
        None,
        description="which of two classes is the positive one in sensitivity, specificity, precision, F1 and "
        "--threshold (default: that of the data set, else the second one)",
    )
    seed: Annotated[Seed, Role.SEED, Trait.LASTING, Trait.LAID_OUT] = pydantic.Field(
        0, description="seed of initialisation, shuffling, augmentation and dropout"
    )
    split_seed: Annotated[Seed | None, Role.DATA, Trait.LAID_OUT] = pydantic.Field(
        None, description="seed for splitting data that have no splits of their own (default: --seed)"
    )
    deterministic: Annotated[bool, Role.CONTROL, Trait.SAME_IN_TRIALS] = pydantic.Field(
        True, description="the same seed on the same machine gives the same weights, bit for bit"
    )
    precision: Annotated[Literal["float32", "mixed_float16", "mixed_bfloat16"], Role.SETTING, Trait.LASTING] = (
        pydantic.Field("float32", description="precision of the computation; mixed keeps the weights in float32")
    )
    xla: Annotated[bool, Role.CONTROL] = pydantic.Field(
        False,
        description="compile the whole training step with XLA (on a CPU only for models without convolutions); needs "
        "--no-deterministic",
    )
    start_from: Annotated[Path | None, Role.PART, Trait.PLACE] = pydantic.Field(
        None, description="run to continue from its last epoch, in a new folder; give more --epochs"
    )
    stop_after: Annotated[Count | None, Role.PART] = pydantic.Field(
        None, description="epoch after which the run ends, while its schedule is still that of all --epochs"
    )
    test: Annotated[bool, Role.OUTPUT, InTrials(False)] = pydantic.Field(
        True, description="test the kept epoch; --no-test measures it on validation only and draws only the history"
    )
    run_dir: Annotated[Path | None, Role.OUTPUT, Trait.PLACE, InTrials(None)] = pydantic.Field(
        None, description="folder of the run (default: runs/TIME-MODEL-DATA)"
    )
    time_budget: Annotated[str | None, Role.SETTING, Trait.SAME_IN_TRIALS] = pydantic.Field(
        None, description="training stops after this time, such as 90s, 10m or 2h"
    )
    tensorboard: Annotated[bool, Role.OUTPUT, InTrials(False)] = pydantic.Field(
        True, description="write TensorBoard logs to the run's folder"
    )
    export: Annotated[str, OneOf(list_exports), Role.OUTPUT, InTrials(NO_EXPORT)] = pydantic.Field(
        "saved_model", description="format in which the best model leaves at the end"
    )
    export_dir: Annotated[Path, Role.OUTPUT, Trait.PLACE] = pydantic.Field(
        Path("saved_models"), description="folder in which the exported model's folder is made"
    )

    @pydantic.field_validator("time_budget", mode="before")
    @classmethod
    def _duration(cls, value: Any) -> str | None:
        parse_duration(value)
        return None if value is None else str(value)

    @pydantic.field_validator("threshold", mode="before")
    @classmethod
    def _threshold(cls, value: Any) -> str | None:
        if value is None:
            return None
        parse_threshold(str(value))
        return str(value)

    @classmethod
    def create(cls, values: dict[str, Any]) -> "TrainConfig":
        """Validates values; a bad one ends in an :class:`InputError` of one line."""
        return validate(cls, values)

    @classmethod
    def from_yaml(cls, path: str | Path) -> "TrainConfig":
        """Reads a configuration file; unknown keys are errors."""
        return cls.create(read_yaml(path))

    def to_yaml(self) -> str:
        """Returns the configuration as YAML, one field per line."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    @property
    def seed_of_splits(self) -> int:
        """Returns the seed for splitting data sets that have no splits of their own."""
        return self.seed if self.split_seed is None else self.split_seed

    def with_defaults(self, defaults: dict[str, Any]) -> "TrainConfig":
        """Returns a copy in which the fields that were left out have the given values."""
        missing = {name: value for name, value in defaults.items() if getattr(self, name) is None}
        return self.create({**self.model_dump(), **missing})


if TYPE_CHECKING:

    class CompleteConfig(TrainConfig):
        """A configuration of which no field is missing, for type checkers; at run time it is a ``TrainConfig``."""

        epochs: int
        batch_size: int
        optimizer: Optimizer
        learning_rate: float
        weight_decay: float
        schedule: Schedule
        restart_epochs: int
        loss: Loss
        augmentation: str
        monitor: str
        early_stopping: int
        early_stopping_margin: float
        keep: Literal["best", "last"]
        weight_average: float

else:
    CompleteConfig = TrainConfig


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
