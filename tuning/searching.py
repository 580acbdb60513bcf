"""A whole search, started or resumed."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import platform
import re
import socket
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, cast

import pandas as pd
import yaml
from rich.console import Console

from keras_lnn.config import (
    CompleteConfig,
    TrainConfig,
    Trait,
    fields_with,
    parse_duration,
    parse_memory,
    validate,
    values_in_trials,
)
from keras_lnn.errors import InputError
from keras_lnn.files.atomic import hold_folder, write_text
from keras_lnn.files.written import require_own_folder
from keras_lnn.files.yaml_files import read_yaml
from keras_lnn.processes.runner import Limits, Outcome, ProcessRunner, share_gpus, share_processors
from keras_lnn.terminal import make_console
from keras_lnn.training.protocol import complete_config
from tuning.display import SearchDisplay
from tuning.oracles import SafeOracle, make_oracle
from tuning.results import best_config, trials_table, write_pictures, write_results
from tuning.settings import SearchSettings, lasting, parse_address
from tuning.space import Space, make_space
from tuning.tuner import ProcessTuner

_LOOK_EVERY_SECONDS = 0.5
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
        """Returns KerasTuner's oracle, which holds the trials."""
        return cast("SafeOracle", self.tuner.oracle)


def search(
    config: TrainConfig,
    space: Space | None = None,
    settings: SearchSettings | None = None,
    *,
    console: Console | None = None,
    runner: ProcessRunner | None = None,
    **options: Any,
) -> SearchResult | None:
    """Searches for hyperparameters, with each trial in its own process; resumes a search that was stopped.

    Args:
        config: Configuration of the trials; missing fields follow the model's published protocol. Its seed is that of
            the search and of each trial's first run.
        space: The search space; if not given, the ranges declared for the model and the training.
        settings: Settings of the search.
        console: Console for the progress; standard output if not given.
        runner: Runner of the trials' processes; if not given, the search starts its own.
        **options: Fields of the settings, instead of ``settings``: ``tuner="hyperband", max_trials=50``.

    Returns:
        The result; None for a worker, whose chief has it.
    """
    settings = (settings or validate(SearchSettings, options)).with_environment(os.environ)
    config = complete_config(config)
    if settings.objective is not None:
        config = config.model_copy(update={"monitor": settings.objective})
    # All runs of all trials, and a later training of the best one, must have the same test split.
    config = config.model_copy(update={**values_in_trials(TrainConfig), "split_seed": config.seed_of_splits})
    own = runner or ProcessRunner(share_processors(settings.workers))
    try:
        return _Search(config, space or make_space(config), settings, console or make_console(), own).run()
    finally:
        if runner is None:
            own.close()


class _Search:
    def __init__(
        self,
        config: CompleteConfig,
        space: Space,
        settings: SearchSettings,
        console: Console,
        runner: ProcessRunner,
    ) -> None:
        self.config = config
        self.space = space
        self.settings = settings
        self.console = console
        self.folder = (settings.search_dir or default_folder(config, settings)).absolute()
        self.resumed = (self.folder / _STATE).is_file()
        require_own_folder(self.folder, _STATE, _REPLACED, "--search-dir")
        self._errors: list[BaseException] = []
        oracle = self._make_oracle()
        with _distributed(settings):
            self.tuner = ProcessTuner(
                oracle,
                config,
                space,
                self.folder,
                runner=runner,
                seeds=[config.seed + count for count in range(settings.seeds_per_trial)],
                limits=Limits(parse_duration(settings.trial_timeout), parse_memory(settings.memory_limit)),
                settings="" if settings.role == "alone" else self._digest(),
                ended=self._on_end,
            )
        oracle.settings = self.tuner.settings
        self.display = SearchDisplay(console, self.tuner, oracle, settings)

    @property
    def _oracle(self) -> SafeOracle:
        """Returns the keeper of the trials, which a worker does not have: it asks its chief."""
        return cast("SafeOracle", self.tuner.oracle)

    def run(self) -> SearchResult | None:
        if self.settings.role == "worker":
            self.console.print(f"working for {self.settings.chief}; runs go to {self.folder}")
            self._wait(self._start_workers(), None)
            return None
        remedy = "Wait for it, give another --search-dir, or work for it by --chief."
        with hold_folder(self.folder, "A search", remedy):
            oracle = self._oracle
            self._keep_settings()
            if self.resumed:
                oracle.reload(keep_ongoing=self.settings.role == "chief")
            oracle.save()
            self.display.introduce(self.folder, self.config, self.space, self.resumed)
            try:
                with self.display:
                    threads = self._start_chief() if self.settings.role == "chief" else self._start_workers()
                    self._wait(threads, oracle)
            except KeyboardInterrupt:
                self.console.print("stopped; the same command goes on with it")
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

    def _start_workers(self) -> list[threading.Thread]:
        environments = share_gpus(self.settings.workers)
        base = os.environ.get("KERASTUNER_TUNER_ID") or f"{platform.node()}-{os.getpid()}"
        threads = []
        for number, environment in enumerate(environments):
            name = base if len(environments) == 1 else f"{base}-{number}"
            threads.append(self._start(lambda n=name, e=environment: self.tuner.run_worker(n, e), name))
        return threads

    def _start_chief(self) -> list[threading.Thread]:
        self._oracle.silence_seconds = parse_duration(self.settings.worker_timeout)
        if self.settings.serve is None:
            raise ValueError("A chief must serve at an address. Received: none. Give --serve HOST:PORT.")
        _require_free(self.settings.serve)

        def serve() -> None:
            with _distributed(self.settings):
                self.tuner.search()  # KerasTuner's own service

        return [self._start(serve, "chief")]

    def _start(self, work: Any, name: str) -> threading.Thread:
        def guarded() -> None:
            try:
                work()
            except BaseException as error:
                self._errors.append(error)

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        return thread

    def _wait(self, threads: list[threading.Thread], oracle: SafeOracle | None) -> None:
        """Waits until all workers are done, the time is up, or an error occurs."""
        budget = parse_duration(self.settings.max_time)
        begun = last = time.monotonic()
        try:
            while any(thread.is_alive() for thread in threads):
                time.sleep(_LOOK_EVERY_SECONDS)
                if self._errors:
                    break
                now = time.monotonic()
                if oracle is None:
                    if budget is not None and now - begun > budget:
                        break
                    continue
                oracle.elapsed_seconds, last = oracle.elapsed_seconds + now - last, now
                for worker in oracle.forget_silent_workers():
                    self.console.print(f"worker {worker} was not heard of for {self.settings.worker_timeout}")
                self.display.update()
                if budget is not None and oracle.elapsed_seconds > budget:
                    oracle.stopped_because = f"the time is up (--max-time {self.settings.max_time})"
                    if self.settings.role != "chief":
                        break  # a chief waits until its workers know
                if self.settings.role == "chief" and self._is_over(oracle):
                    break
        finally:
            self.tuner.stop.set()
            if self.settings.role != "chief":
                for thread in threads:
                    thread.join(timeout=30)
        if self._errors:
            raise self._errors[0]

    def _is_over(self, oracle: SafeOracle) -> bool:
        """Returns whether no trials are left and all known workers have been informed."""
        limit = oracle.max_trials is not None and len(oracle.end_order) >= oracle.max_trials
        nothing_left = oracle.told_to_stop or bool(oracle.stopped_because) or limit
        return nothing_left and not oracle.running() and not oracle.tuner_ids

    def _on_end(self, trial: Any, outcome: Outcome) -> None:
        self.display.report(trial, outcome)
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
        return oracle

    def _describe(self) -> dict[str, dict[str, Any]]:
        """Returns the description that must stay the same until a search ends."""
        return {
            "config": self.config.model_dump(mode="json"),
            "space": {row["name"]: row["choices"] for row in self.space.rows()},
            "search": lasting(self.settings),
        }

    def _digest(self) -> str:
        """Returns a digest, without paths, by which a worker checks that its options equal its chief's."""
        content = self._describe()
        places = fields_with(TrainConfig, Trait.PLACE)
        content["config"] = {name: value for name, value in content["config"].items() if name not in places}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def _keep_settings(self) -> None:
        """Writes the description of the search; if there is one already, it must be the same."""
        path = self.folder / "search.yaml"
        now = self._describe()
        if not self.resumed:
            write_text(path, yaml.safe_dump(now, sort_keys=False, allow_unicode=True))
            return
        before = read_yaml(path)
        for part, values in now.items():
            for name in {**values, **before.get(part, {})}:
                old, new = before.get(part, {}).get(name), values.get(name)
                if old != new:
                    raise InputError(
                        f"A search goes on as it began. Received: {name} {new}, which was {old} in {self.folder}."
                        " Give that, or another --search-dir."
                    )


def default_folder(config: TrainConfig, settings: SearchSettings) -> Path:
    """Returns a folder that depends on model, data and tuner alone, so that repeating a command resumes its search."""
    data = re.sub(r"[^A-Za-z0-9._-]+", "-", config.data).strip("-")
    return Path("searches", f"{config.model}-{data}-{settings.tuner}")


def _require_free(address: str) -> None:
    """Checks that nothing listens at an address: the service itself would share the port with another chief."""
    try:
        with socket.create_server(parse_address(address)):
            return
    except OSError as error:
        raise InputError(
            f"--serve must be an address of this machine that is free. Received: {address} ({error.strerror})."
            " Choose another port."
        ) from None


@contextlib.contextmanager
def _distributed(settings: SearchSettings) -> Generator[None]:
    """Sets the three environment variables by which KerasTuner identifies a chief and its workers."""
    address = settings.serve or settings.chief
    if address is None:
        yield
        return
    host, port = parse_address(address)
    name = "chief" if settings.serve else os.environ.get("KERASTUNER_TUNER_ID", f"worker-{os.getpid()}")
    variables = {
        "KERASTUNER_ORACLE_IP": host,
        "KERASTUNER_ORACLE_PORT": str(port),
        "KERASTUNER_TUNER_ID": name,
    }
    before = {key: os.environ.get(key) for key in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
