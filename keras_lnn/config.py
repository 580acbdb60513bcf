"""The configuration of a training run: frozen, typed, validated once, read from and written to YAML."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pydantic
import yaml

from keras_lnn.fields.options import DataOptions, OwnModules
from keras_lnn.fields.roles import Before, InTrials, Role, Trait
from keras_lnn.fields.values import (
    Count,
    CountOrZero,
    NumberOrZero,
    OneOf,
    PositiveNumber,
    Seed,
    Share,
    ShareAboveZero,
    parse_duration,
    parse_fold,
    validate,
)
from keras_lnn.files.yaml_files import read_yaml
from keras_lnn.saved.formats import NO_EXPORT, list_exports
from keras_lnn.tasks.kinds import list_monitors
from keras_lnn.tasks.task import list_losses
from keras_lnn.tasks.thresholds import parse_threshold

Optimizer = Literal["adam", "adamw", "sgd", "rmsprop", "nadam", "lion"]
Schedule = Literal["constant", "cosine", "cosine-restarts", "warmup-cosine", "exponential", "steps"]
Calibrating = Literal["none", "temperature", "vector"]
MODEL_DEFAULT = "(default: the model's published protocol)"


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
    loss: Annotated[str | None, OneOf(list_losses), Role.SETTING] = pydantic.Field(
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
    calibration: Annotated[Calibrating | None, Role.SETTING, Before("none")] = pydantic.Field(
        None,
        description="calibration of the probabilities, fitted on validation after training; temperature: one number "
        "by which all logits are divided, for several labels one each, which changes no ranking; vector: also offsets, "
        "and for several classes a scale for each (default: temperature; none for models with a published protocol)",
    )
    coverage: Annotated[ShareAboveZero | None, Role.OUTPUT, InTrials(None)] = pydantic.Field(
        None,
        description="prediction sets for data with one class per image: the share of samples, such as 0.9, whose set "
        "of classes contains the true one; chosen on validation (default: no sets)",
    )
    coverage_by_class: Annotated[bool, Role.OUTPUT, InTrials(False)] = pydantic.Field(
        False, description="--coverage holds for each true class on its own; needs more validation images"
    )
    referral_risk: Annotated[ShareAboveZero | None, Role.OUTPUT, InTrials(None)] = pydantic.Field(
        None,
        description="refer unsure samples to a human, for data with one class per image: the largest share of wrong "
        "decisions, such as 0.05, among those that are not referred; chosen on validation (default: no referral)",
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
        None, description="seed for splitting data that have no splits of their own, and for folds (default: --seed)"
    )
    fold: Annotated[str | None, Role.DATA, Trait.LASTING] = pydantic.Field(
        None,
        description="FOLD/FOLDS, such as 2/5: train one run of a cross-validation; all images except a given test split"
        " are dealt to folds by --split-seed, by patient where known; this fold is tested, the next one validates and"
        " the others train; see --folds",
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
    devices: Annotated[Count, Role.CONTROL, Trait.SAME_IN_TRIALS] = pydantic.Field(
        1,
        description="number of this machine's devices, such as GPUs, that divide each batch among them; it must divide"
        " the batch size",
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
    explanations: Annotated[bool, Role.OUTPUT, InTrials(False)] = pydantic.Field(
        True,
        description="draw where the kept model looks in a few test images, where few predictions show it: for images of"
        " at most 64 pixels a side and models of at most a million parameters",
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

    @pydantic.field_validator("fold", mode="after")
    @classmethod
    def _fold(cls, value: str | None) -> str | None:
        if value is not None:
            parse_fold(value)
        return value

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
        loss: str
        augmentation: str
        monitor: str
        early_stopping: int
        early_stopping_margin: float
        keep: Literal["best", "last"]
        weight_average: float
        calibration: Calibrating

else:
    CompleteConfig = TrainConfig
