"""The settings of a search: validated once, written to its folder, and unchanged when it is resumed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from keras_lnn.errors import InputError
from keras_lnn.fields.options import ClusterOptions
from keras_lnn.fields.roles import Before, Role, fields_with
from keras_lnn.fields.values import (
    FEWEST_FOLDS,
    MOST_FOLDS,
    MOST_WORKERS,
    OneOf,
    parse_address,
    parse_duration,
    parse_memory,
    validate,
)
from keras_lnn.processes.runner import Limits
from keras_lnn.tasks.kinds import list_monitors
from tuning.pruning import Prune

Tuner = Literal["hyperband", "random", "bayesian", "tpe", "grid"]

_AtLeastOne = Annotated[int, pydantic.Field(ge=1)]
_SHORTEST_SILENCE_SECONDS = 10.0


class SearchSettings(ClusterOptions):
    """The settings of a search; a TrainConfig and a space describe its trials."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", validate_default=True, protected_namespaces=())

    tuner: Annotated[Tuner, Role.SETTING] = pydantic.Field("tpe", description="method that chooses the values")
    max_trials: Annotated[_AtLeastOne | None, Role.CONTROL] = pydantic.Field(
        None, description="largest number of trials (default: 30; hyperband and grid end by themselves)"
    )
    max_total_epochs: Annotated[_AtLeastOne | None, Role.CONTROL] = pydantic.Field(
        None, description="number of epochs of all trials together after which no new trial starts"
    )
    max_time: Annotated[str | None, Role.CONTROL] = pydantic.Field(
        None, description="time after which the search stops, such as 90s, 30m or 8h; running trials are killed"
    )
    objective: Annotated[str | None, OneOf(list_monitors), Role.SETTING] = pydantic.Field(
        None, description="validation metric that trials are judged by (default: --monitor)"
    )
    seeds_per_trial: Annotated[int, pydantic.Field(ge=1, le=1000), Role.SETTING] = pydantic.Field(
        1, description="number of runs per trial, each with another seed; the trial is judged by their mean"
    )
    folds: Annotated[Annotated[int, pydantic.Field(ge=FEWEST_FOLDS, le=MOST_FOLDS)] | None, Role.SETTING] = (
        pydantic.Field(
            None,
            description="number of folds to which all images except a given test split are dealt; each trial trains one"
            " run for each and is judged by their mean on validation, whose parts together are all images of the folds",
        )
    )
    factor: Annotated[int, pydantic.Field(ge=2), Role.SETTING] = pydantic.Field(
        3,
        description="reduction factor of hyperband and of --prune halving: of this many trials one continues, for this"
        " many times the epochs",
    )
    prune: Annotated[Prune, Role.SETTING, Before("none")] = pydantic.Field(
        "none",
        description="rule by which trials that are worse than others after as many epochs end early: median (worse than"
        " the median of the whole trials) or halving (not among the best; successive halving)",
    )
    workers: Annotated[Annotated[int, pydantic.Field(ge=1, le=MOST_WORKERS)] | None, Role.CONTROL] = pydantic.Field(
        None,
        description="number of trials at a time on this machine; they share its processors, and each gets one GPU"
        " (default: 1, or as many as a Ray cluster has room for; required for Slurm)",
    )
    trial_timeout: Annotated[str | None, Role.CONTROL] = pydantic.Field(
        None, description="time after which a trial is killed, such as 10m"
    )
    memory_limit: Annotated[str | None, Role.CONTROL] = pydantic.Field(
        None, description="memory above which a trial is killed, such as 4G"
    )
    max_failures: Annotated[_AtLeastOne, Role.CONTROL] = pydantic.Field(
        10, description="number of failed trials in a row after which the search stops"
    )
    search_dir: Annotated[Path | None, Role.OUTPUT] = pydantic.Field(
        None, description="folder of the search (default: searches/MODEL-DATA-TUNER); an existing search continues"
    )
    serve: Annotated[str | None, Role.CONTROL] = pydantic.Field(
        None, description="HOST:PORT at which this process serves trials to workers on other machines"
    )
    chief: Annotated[str | None, Role.CONTROL] = pydantic.Field(
        None, description="HOST:PORT of a chief whose trials this process runs"
    )
    worker_timeout: Annotated[str, Role.CONTROL] = pydantic.Field(
        "60s", description="time without a sign of life after which a worker's trial is given to another worker"
    )

    @pydantic.field_validator("max_time", "trial_timeout", "worker_timeout", mode="before")
    @classmethod
    def _duration(cls, value: Any) -> str | None:
        parse_duration(value)
        return None if value is None else str(value)

    @pydantic.field_validator("worker_timeout", mode="after")
    @classmethod
    def _longer_than_a_heartbeat(cls, value: str) -> str:
        if parse_duration(value) < _SHORTEST_SILENCE_SECONDS:
            raise ValueError(
                f"must be at least {_SHORTEST_SILENCE_SECONDS:g} s: workers report every 3 s that they are alive"
            )
        return value

    @pydantic.field_validator("memory_limit", mode="before")
    @classmethod
    def _memory(cls, value: Any) -> str | None:
        parse_memory(value)
        return None if value is None else str(value)

    @pydantic.field_validator("serve", "chief", mode="after")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None:
            parse_address(value)
        return value

    @property
    def most_trials(self) -> int | None:
        """Returns the largest number of trials, or None if the tuner ends by itself."""
        return 30 if self.max_trials is None and self.tuner in ("random", "bayesian", "tpe") else self.max_trials

    def require_pruning_tuner(self) -> None:
        """Checks that the tuner can learn from trials that end early without a value."""
        if self.prune != "none" and self.tuner in ("hyperband", "bayesian"):
            reason = "ends trials early itself" if self.tuner == "hyperband" else "needs the final value of each trial"
            raise InputError(
                f"--prune is for the tuners tpe, random and grid. Received: --prune {self.prune} with {self.tuner},"
                f" which {reason}. Leave it out, or choose another --tuner."
            )

    def with_environment(self, environment: Mapping[str, str]) -> SearchSettings:
        """Returns the settings of a chief or a worker if KerasTuner's three environment variables are set."""
        host, port = (environment.get(f"KERASTUNER_ORACLE_{name}") for name in ("IP", "PORT"))
        name = environment.get("KERASTUNER_TUNER_ID")
        if host is None or self.serve is not None or self.chief is not None:
            return self
        if port is None or name is None:
            raise InputError(
                "KERASTUNER_ORACLE_IP needs KERASTUNER_ORACLE_PORT and KERASTUNER_TUNER_ID too. Received: only"
                " some of them. Set all three, or none."
            )
        return validate(type(self), {**self.model_dump(), "serve" if "chief" in name else "chief": f"{host}:{port}"})

    @property
    def limits(self) -> Limits:
        """Returns the limits beyond which a trial is killed."""
        return Limits(parse_duration(self.trial_timeout), parse_memory(self.memory_limit))

    @property
    def role(self) -> str:
        """Returns ``alone``, ``chief`` or ``worker``."""
        if self.serve is not None and self.chief is not None:
            raise InputError("A process is either a chief or a worker. Received: --serve and --chief. Leave one out.")
        if self.cluster is not None and (self.serve is not None or self.chief is not None):
            other = "--serve" if self.chief is None else "--chief"
            raise InputError(
                f"A search has a cluster, or a chief and workers. Received: --cluster and {other}. Leave one out."
            )
        return "chief" if self.serve is not None else "worker" if self.chief is not None else "alone"


def lasting(settings: SearchSettings) -> dict[str, Any]:
    """Returns the settings that must stay the same until a search ends."""
    return settings.model_dump(mode="json", include=set(fields_with(SearchSettings, Role.SETTING)))
