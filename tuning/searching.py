"""A whole search, started or resumed."""

from __future__ import annotations

import dataclasses
import os
import platform
import re
import time
from pathlib import Path
from typing import Any, cast

import pandas as pd
from rich.console import Console

from keras_lnn.config import CompleteConfig, TrainConfig
from keras_lnn.errors import InputError
from keras_lnn.fields.roles import values_in_trials
from keras_lnn.fields.values import parse_duration, validate
from keras_lnn.files.atomic import hold_folder
from keras_lnn.files.written import require_own_folder
from keras_lnn.processes.engines import Engine, open_engine
from keras_lnn.processes.pool import Pool, run_threads
from keras_lnn.processes.runner import Outcome
from keras_lnn.terminal import make_console
from keras_lnn.training.protocol import complete_config
from tuning.chief import distributed, require_free
from tuning.display import SearchDisplay
from tuning.identity import describe_search, digest_search, require_same_description, write_description
from tuning.oracles import make_oracle
from tuning.pruning import Pruner
from tuning.results import best_config, trials_table, write_pictures, write_results
from tuning.safe_oracle import SafeOracle
from tuning.settings import SearchSettings
from tuning.space import Space, make_space
from tuning.tuner import ProcessTuner

# The file that marks a folder as a search, and the files that a search replaces.
_STATE, _REPLACED = "oracle.json", ("trials.csv", "best.yaml", "plots")


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """The result of a search.

    Args:
        folder: Folder of the search.
        tuner: KerasTuner's object; its ``oracle`` holds the trials.
        trials: One row per trial, as in ``trials.csv``.
        best: The configuration of the best trial, as in ``best.yaml``; None if no trial succeeded.
        stopped_because: Why the search ended before all trials were run, or empty.
    """

    folder: Path
    tuner: ProcessTuner
    trials: pd.DataFrame
    best: TrainConfig | None
    stopped_because: str

    @property
    def oracle(self) -> SafeOracle:
        """Returns the oracle, which holds the trials."""
        return cast("SafeOracle", self.tuner.oracle)


def search(
    config: TrainConfig,
    space: Space | None = None,
    settings: SearchSettings | None = None,
    *,
    console: Console | None = None,
    engine: Engine | None = None,
    **options: Any,
) -> SearchResult | None:
    """Searches for hyperparameters, with each trial in its own process; resumes a search that was stopped.

    Args:
        config: Configuration of the trials; missing fields follow the model's published protocol. Its seed is that of
            the search and of each trial's first run.
        space: The search space; if not given, the ranges declared for the model and the training.
        settings: Settings of the search.
        console: Console for the progress; standard output if not given.
        engine: Where the trials' processes run; if not given, the search opens what the settings choose.
        **options: Fields of the settings, instead of ``settings``: ``tuner="hyperband", max_trials=50``.

    Returns:
        The result; None for a worker, whose chief has it.
    """
    settings = (settings or validate(SearchSettings, options)).with_environment(os.environ)
    if settings.folds is not None and config.fold is not None:
        raise InputError(
            f"A search with folds trains every trial on each of them. Received: --folds {settings.folds} and --fold"
            f" {config.fold}. Leave one out."
        )
    config = complete_config(config)
    if settings.objective is not None:
        config = config.model_copy(update={"monitor": settings.objective})
    # All runs of all trials, and a later training of the best one, must have the same test split.
    config = config.model_copy(update={**values_in_trials(TrainConfig), "split_seed": config.seed_of_splits})
    settings.require_cluster()
    settings.require_pruning_tuner()
    own = engine or open_engine(settings, settings.workers, settings.limits)
    try:
        return _Search(config, space or make_space(config), settings, console or make_console(), own).run()
    finally:
        if engine is None:
            own.close()


class _Search:
    def __init__(
        self,
        config: CompleteConfig,
        space: Space,
        settings: SearchSettings,
        console: Console,
        engine: Engine,
    ) -> None:
        self.config = config
        self.space = space
        self.settings = settings
        self.console = console
        self.folder = (settings.search_dir or default_folder(config, settings)).absolute()
        self.resumed = (self.folder / _STATE).is_file()
        require_own_folder(self.folder, _STATE, _REPLACED, "--search-dir")
        self._description = describe_search(config, space, settings)
        oracle = self._make_oracle()
        with distributed(settings):
            self.tuner = ProcessTuner(
                oracle,
                config,
                space,
                self.folder,
                seeds=[config.seed + count for count in range(settings.seeds_per_trial)],
                folds=settings.folds,
                settings="" if settings.role == "alone" else digest_search(self._description),
                ended=self._on_end,
            )
        oracle.settings = self.tuner.settings
        self._engine = engine
        self.display = SearchDisplay(console, self.tuner, oracle, settings, engine.workers)
        self._budget = parse_duration(settings.max_time)
        self._looked = time.monotonic()

    @property
    def _oracle(self) -> SafeOracle:
        """Returns the keeper of the trials, which a worker does not have: it asks its chief."""
        return cast("SafeOracle", self.tuner.oracle)

    def run(self) -> SearchResult | None:
        if self.settings.role == "worker":
            self.console.print(f"working for {self.settings.chief}; runs go to {self.folder}")
            begun = time.monotonic()
            self._make_pool().run(lambda: self._budget is None or time.monotonic() - begun <= self._budget)
            return None
        remedy = "Wait for it, give another --search-dir, or work for it with --chief."
        with hold_folder(self.folder, "A search", remedy):
            oracle = self._oracle
            if self.resumed:
                require_same_description(self.folder, self._description)
                oracle.reload(keep_ongoing=self.settings.role == "chief")
            else:
                write_description(self.folder, self._description)
            oracle.save()
            self._engine.begin(self.folder, self.console)
            self.display.introduce(self.folder, self.config, self.space, self.resumed)
            self._looked = time.monotonic()
            try:
                with self.display:
                    if self.settings.role == "chief":
                        self._serve(oracle)
                    else:
                        self._work(oracle)
            except KeyboardInterrupt:
                self.console.print("stopped; the same command continues the search")
                raise
            finally:
                oracle.save()
            return self._finish(oracle)

    def _finish(self, oracle: SafeOracle) -> SearchResult:
        write_results(self.folder, oracle, self.config, self.space)
        write_pictures(self.folder, oracle, self.tuner, self.space, self.console)
        self.display.conclude(self.folder)
        return SearchResult(
            folder=self.folder,
            tuner=self.tuner,
            trials=trials_table(oracle, self.space),
            best=best_config(oracle, self.config, self.space),
            stopped_because=oracle.stopped_because,
        )

    def _make_pool(self) -> Pool:
        name = os.environ.get("KERASTUNER_TUNER_ID") or f"{platform.node()}-{os.getpid()}"
        return Pool(self._engine.resources(self.settings.limits, name), self.tuner, self.tuner.stop)

    def _work(self, oracle: SafeOracle) -> None:
        """Runs trials on this machine until there are no more or the time is up."""
        pool = self._make_pool()

        def look() -> bool:
            is_time_up = self._is_time_up(oracle)
            self.display.watch(pool.running())
            return not is_time_up

        pool.run(look)

    def _serve(self, oracle: SafeOracle) -> None:
        """Hands out trials to workers on other machines until all is done and they know that."""
        oracle.silence_seconds = parse_duration(self.settings.worker_timeout)
        if self.settings.serve is None:
            raise ValueError("A chief must serve at an address. Received: none. Give --serve HOST:PORT.")
        require_free(self.settings.serve)

        def serve() -> None:
            with distributed(self.settings):
                self.tuner.search()  # KerasTuner's own service

        def look() -> bool:
            for worker in oracle.forget_silent_workers():
                self.console.print(f"worker {worker} gave no sign of life for {self.settings.worker_timeout}")
            self._is_time_up(oracle)  # the chief waits until its workers know
            self.display.watch_workers()
            return not self._is_over(oracle)

        # The service is not waited for, because nothing ends it.
        run_threads({"chief": serve}, look, self.tuner.stop, join_seconds=0.0)
        self.display.watch_workers()

    def _is_time_up(self, oracle: SafeOracle) -> bool:
        """Adds the time since the last look to that of the search; returns whether it has had all its time."""
        now = time.monotonic()
        oracle.elapsed_seconds, self._looked = oracle.elapsed_seconds + now - self._looked, now
        if self._budget is None or oracle.elapsed_seconds <= self._budget:
            return False
        oracle.stopped_because = f"the time is up (--max-time {self.settings.max_time})"
        return True

    def _is_over(self, oracle: SafeOracle) -> bool:
        """Returns whether no trials are left and all known workers have been informed."""
        limit = oracle.max_trials is not None and len(oracle.end_order) >= oracle.max_trials
        nothing_left = oracle.told_to_stop or bool(oracle.stopped_because) or limit
        return nothing_left and not oracle.running() and not oracle.tuner_ids

    def _on_end(self, trial: Any, outcome: Outcome) -> None:
        self.display.report_trial(trial, outcome)
        if self.settings.role == "alone":
            write_results(self.folder, self._oracle, self.config, self.space)

    def _make_oracle(self) -> SafeOracle:
        oracle = make_oracle(
            self.settings.tuner,
            objective=self.config.monitor,
            hyperparameters=self.space.hyperparameters(self.config),
            seed=self.config.seed,
            max_trials=self.settings.most_trials,
            epochs=self.config.epochs,
            factor=self.settings.factor,
        )
        oracle.max_total_epochs = self.settings.max_total_epochs
        oracle.max_failures = self.settings.max_failures
        oracle.pruner = self._make_pruner(oracle.objective.direction)
        return oracle

    def _make_pruner(self, direction: str) -> Pruner | None:
        settings = self.settings
        if settings.prune == "none":
            return None
        runs = settings.seeds_per_trial * (settings.folds or 1)
        return Pruner(settings.prune, direction == "max", runs, self.config.epochs, settings.factor)


def default_folder(config: TrainConfig, settings: SearchSettings) -> Path:
    """Returns a folder that depends on model, data, tuner, pruning and folds, so that a repeated command resumes."""
    data = re.sub(r"[^A-Za-z0-9._-]+", "-", config.data).strip("-")
    prune = "" if settings.prune == "none" else f"-{settings.prune}"
    folds = "" if settings.folds is None else f"-{settings.folds}-folds"
    return Path("searches", f"{config.model}-{data}-{settings.tuner}{prune}{folds}")
