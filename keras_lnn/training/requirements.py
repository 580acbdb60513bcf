"""What a run needs to begin or to continue, checked before a folder is made."""

from typing import Any

from keras_lnn.config import TrainConfig
from keras_lnn.data import ImageData
from keras_lnn.errors import InputError
from keras_lnn.fields.roles import Trait, fields_with
from keras_lnn.registry import get_model, list_models
from keras_lnn.runs.folder import RunFolder
from keras_lnn.tasks.task import Task
from keras_lnn.training.protocol import complete_config, require_promises

# Fields that weights and optimizer depend on, so that a run that continues must keep them.
_LASTING = fields_with(TrainConfig, Trait.LASTING)

# A message names at most this many models.
_MOST_MODELS_NAMED = 8


def lasting_fields(config: TrainConfig) -> dict[str, Any]:
    """Returns the fields that a run cannot change when it continues, as JSON values."""
    return {**config.model_dump(mode="json", include=set(_LASTING)), "split_seed": config.seed_of_splits}


def require_lasting_fields(folder: RunFolder, config: TrainConfig) -> None:
    """Checks that the fields that a run must keep are unchanged; older versions recorded only the seed."""
    environment = folder.read_environment()
    begun = environment.get("begun_with") or {name: environment[name] for name in ("seed",) if name in environment}
    fields = lasting_fields(config)
    edited = [name for name, value in begun.items() if fields.get(name, value) != value]
    if edited:
        name = edited[0]
        raise InputError(
            f"A run must continue with the {name} that it began with, {begun[name]}. Received: {folder.config} with"
            f" {fields[name]}. Change it back, or begin a new run."
        )


def require_start(before: RunFolder, config: TrainConfig, data: ImageData) -> None:
    """Checks that a run to continue from was trained on the same data in the same way."""
    known = complete_config(TrainConfig.from_yaml(before.config))
    differing = [name for name in _LASTING if getattr(known, name) != getattr(config, name)]
    if known.seed == config.seed and known.seed_of_splits != config.seed_of_splits:
        differing.append("split_seed")
    if before.read_environment().get("data_checksum") != data.checksum:
        differing.insert(0, "data")
    if differing:
        raise InputError(
            f"The run of --start-from must have the same {', '.join(_LASTING)}, split_seed and data. Received:"
            f" {before.path} with another {', '.join(differing)}. Give those values, or leave out --start-from."
        )
    if before.read_checkpoint() is None:
        raise InputError(
            f"The run of --start-from must have a complete checkpoint. Received: {before.path}, which has none."
        )


def require_form(model: str, task: Task, data: str) -> None:
    """Checks that the model predicts what the data have labels for: images or their pixels."""
    form = get_model(model).predicts
    if form == task.predicts:
        return
    others = [entry.name for entry in list_models() if entry.predicts == task.predicts]
    few = len(others) <= _MOST_MODELS_NAMED
    remedy = f"Choose one of {', '.join(others)}" if few else f"Choose another model, or data with {form}"
    raise InputError(
        f"A {task.kind} task needs a model that predicts {task.predicts}. Received: {model}, which predicts "
        f"{form}, for {data}. {remedy}."
    )


def require_operating_point(config: TrainConfig, task: Task) -> None:
    """Checks that a threshold, a positive class, prediction sets and a referral fit the task."""
    if config.threshold is not None and not task.has_thresholds:
        raise InputError(
            f"--threshold is for two classes or several labels per image. Received: {config.threshold} for a "
            f"{task.kind} task. Leave it out: the likeliest class is predicted."
        )
    require_promises(config, task)
    task.require_positive_class(config.positive_class)


def require_reads(model: str, data: ImageData) -> None:
    """Checks that the model reads what the data are: images, or series of images."""
    reads, given = get_model(model).reads, "series" if data.series is not None else "images"
    if reads != given:
        others = [entry.name for entry in list_models() if entry.reads == given]
        few = len(others) <= _MOST_MODELS_NAMED
        remedy = f"Choose one of {', '.join(others)}" if few else f"Choose another model, or data of {reads}"
        raise InputError(f"{model} reads {reads}. Received: {data.name}, whose samples are {given}. {remedy}.")
