"""Values for the fields that a configuration leaves out: the model's published protocol, then our defaults."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from keras_lnn.config import CompleteConfig, TrainConfig
from keras_lnn.data.arrays import ImageData
from keras_lnn.data.augment.operations import list_operations
from keras_lnn.data.catalog import require_data
from keras_lnn.errors import InputError
from keras_lnn.registry import check_arguments, get_model, require_model
from keras_lnn.runs.own_modules import import_modules
from keras_lnn.tasks.kinds import list_calibrations, list_defaults, list_monitors
from keras_lnn.tasks.task import Task

# Defaults for the fields that neither a model's protocol nor its task sets.
DEFAULTS = {
    "epochs": 50,
    "batch_size": 128,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
    "schedule": "constant",
    "restart_epochs": 10,
    "loss": "cross-entropy",
    "augmentation": "none",
    "early_stopping": 0,
    "early_stopping_margin": 0.0,
    "keep": "best",
    "weight_average": 0.0,
    # Tasks that have probabilities calibrate them; models with a published protocol do not, as published.
    "calibration": "none",
}


def complete_config(config: TrainConfig) -> CompleteConfig:
    """Imports the user's modules, checks the names and fills every missing field from the model's protocol."""
    import_modules(config.imports)
    require_model(config.model)
    require_data(config.data)
    entry = get_model(config.model)
    arguments = check_arguments(entry, config.model_args)
    defaults = {**DEFAULTS, **list_defaults(entry.predicts), **entry.protocol}
    complete = cast("CompleteConfig", config.with_defaults(defaults))
    monitors = list_monitors(entry.predicts)
    if complete.monitor not in monitors:
        raise InputError(
            f"--monitor of a model that predicts {entry.predicts} must be one of {', '.join(monitors)}. "
            f"Received: {complete.monitor} for {config.model}. Choose one of these."
        )
    if complete.calibration not in list_calibrations(entry.predicts):
        raise InputError(
            f"--calibration of a model that predicts {entry.predicts} must be one of "
            f"{', '.join(list_calibrations(entry.predicts))}. Received: {complete.calibration} for {config.model}."
            " Choose one of these."
        )
    if complete.augmentation != "auto":
        list_operations(complete.augmentation)
    require_coverage(complete.coverage, complete.coverage_by_class)
    if complete.xla and complete.deterministic:
        raise InputError(
            "--xla and determinism exclude each other in TensorFlow. Received: both. Add --no-deterministic."
        )
    if complete.batch_size % complete.devices:
        nearest = max(round(complete.batch_size / complete.devices), 1) * complete.devices
        raise InputError(
            f"--devices must divide the batch size. Received: {complete.devices} devices for batches of"
            f" {complete.batch_size}. Give --batch-size {nearest}, or another number of devices."
        )
    return complete.model_copy(update={"model_args": arguments})


def name_augmentation(config: CompleteConfig, data: ImageData) -> CompleteConfig:
    """Returns the configuration with ``auto`` replaced by the augmentation for these data."""
    if config.augmentation != "auto":
        return config
    return config.model_copy(update={"augmentation": data.augmentation})


def is_run_of(folder: Path, config: TrainConfig) -> bool:
    """Returns whether a folder holds the run of a configuration, complete or not.

    The imported modules are ignored, whether maps are drawn, and the number of devices: they do not make it another
    run.

    Raises:
        InputError: If its configuration exists but cannot be read, so that the folder is not mistaken for another run.
    """
    written = folder / "config.yaml"
    if written.exists():
        try:
            written.read_bytes()
        except OSError as error:
            raise InputError(
                f"A run's configuration must be readable. Received: {written} ({error.strerror}). Nothing was removed:"
                " continue once it can be read."
            ) from None
    wanted = complete_config(config)
    try:
        # The configuration is completed, since newer versions may have added fields since the run began.
        ignored = {name: getattr(wanted, name) for name in ("imports", "explanations", "devices")}
        known = complete_config(TrainConfig.from_yaml(folder / "config.yaml").model_copy(update=ignored))
    except InputError:
        return False
    if wanted.augmentation == "auto":  # a run writes the augmentation that it stands for
        wanted = wanted.model_copy(update={"augmentation": known.augmentation})
    return known == wanted.model_copy(update={"run_dir": known.run_dir})  # a folder may have been moved


def require_coverage(coverage: float | None, by_class: bool) -> None:
    """Checks that a coverage of each class has a value.

    Args:
        coverage: The coverage of prediction sets; None where nobody asked for it.
        by_class: Whether it is to hold for each class on its own.
    """
    if by_class and coverage is None:
        raise InputError("--coverage-by-class needs a coverage. Received: none. Add --coverage 0.9, or leave it out.")


def require_promises(config: TrainConfig, task: Task) -> None:
    """Checks that predictions of a task can have the sets and the referral that are asked for.

    Args:
        config: What is asked for.
        task: The task.
    """
    for option, value in (("--coverage", config.coverage), ("--referral-risk", config.referral_risk)):
        if value is not None and task.without_sets is not None:
            raise InputError(
                f"{option} is for data with one class per image. Received: {value} for a {task.kind} task, where"
                f" {task.without_sets}. Leave it out."
            )
