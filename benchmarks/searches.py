"""Measures the overhead of a search: memory of the searching process, time of a trial's process, and workers.

python benchmarks/searches.py --trials 30

The same trials run three times: by ``python -m tuning`` with one worker and with two, and by KerasTuner's ordinary
search, which trains in its own process. Resident memory is read from outside after each trial.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pydantic

from keras_lnn.cli.parsing import parse_command, run_main
from keras_lnn.terminal import loading, make_console, print_rows

_HERE = Path(__file__).resolve()
_MIB = 2**20


class SearchesCommand(pydantic.BaseModel):
    """Measure what searches cost beside their trials."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model: str = pydantic.Field("lnn", description="model")
    data: str = pydantic.Field("phantom-breast", description="data set")
    trials: int = pydantic.Field(30, ge=2, description="trials of each search")
    epochs: int = pydantic.Field(2, ge=1, description="epochs of each trial")
    json_output: bool = pydantic.Field(False, alias="json", description="print one JSON object instead of the tables")


def main(arguments: Sequence[str]) -> int:
    """Measures the searches and prints the results."""
    if arguments[:1] == ["in-process"]:
        _search_in_process(*arguments[1:])
        return 0
    command = parse_command(SearchesCommand, arguments, "benchmarks/searches.py")
    quiet = make_console(stderr=True)
    with tempfile.TemporaryDirectory() as folder, loading(quiet, "searching"):
        rows = measure(command, Path(folder))
    if command.json_output:
        print(json.dumps(rows, indent=2))
        return 0
    title = f"{command.trials} trials of {command.model} on {command.data}, {command.epochs} epochs"
    print_rows(rows, title, digits=1)
    return 0


def measure(command: SearchesCommand, folder: Path) -> list[dict[str, Any]]:
    """Returns one row per search."""
    rows = []
    for workers in (1, 2):
        search = folder / f"{workers}-workers"
        options = [
            *("--model", command.model, "--data", command.data, "--epochs", str(command.epochs), "--tuner", "random"),
            *("--max-trials", str(command.trials), "--workers", str(workers), "--search-dir", str(search)),
        ]
        found = _watch([sys.executable, "-m", "tuning", *options], search / "trials.csv", command.trials)
        table = pd.read_csv(search / "trials.csv")
        overhead = statistics.median(table["process_seconds"] - table["seconds"])
        rows.append({"search": f"ours, workers: {workers}", **found, "beside_training_s": overhead})
    log = folder / "in-process.csv"
    arguments = [command.model, command.data, str(command.epochs), str(command.trials), str(log)]
    found = _watch([sys.executable, str(_HERE), "in-process", *arguments], log, command.trials)
    return [*rows, {"search": "KerasTuner, in its own process", **found, "beside_training_s": "-"}]


def _watch(arguments: list[str], log: Path, trials: int) -> dict[str, Any]:
    """Runs a search and reads its resident memory whenever its log has one more trial."""
    begun = time.monotonic()
    paths = os.pathsep.join([str(_HERE.parents[1]), *sys.path])
    process = subprocess.Popen(
        arguments,
        env={**os.environ, "PYTHONPATH": paths},
        cwd=_HERE.parents[1],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    watched = psutil.Process(process.pid)
    sizes: dict[int, float] = {}
    first = begun
    while process.poll() is None:
        time.sleep(0.2)
        done = _count(log)
        if done and done not in sizes:
            first = time.monotonic() if len(sizes) == 0 else first
            try:
                sizes[done] = watched.memory_info().rss / _MIB
            except psutil.Error:
                break
    if process.wait() != 0:
        raise RuntimeError(f"{' '.join(arguments)} ended with exit status {process.returncode}")
    early, late = sizes[min(sizes)], sizes[max(size for size in sizes if size <= trials)]
    return {
        "seconds": time.monotonic() - begun,
        "first_MiB": early,
        "last_MiB": late,
        "growth_%": 100.0 * (late / early - 1.0),
    }


def _count(log: Path) -> int:
    """Returns the number of trials that have ended."""
    try:
        table = pd.read_csv(log)
    except (OSError, ValueError):
        return 0
    return int(table["status"].isin(["completed", "failed"]).sum())


def _search_in_process(model: str, data: str, epochs: str, trials: str, log: str) -> None:
    """Searches with KerasTuner as most people use it: build, compile and fit, one trial after the other."""
    import keras_tuner

    from keras_lnn.backend.process import prepare_backend
    from keras_lnn.config import TrainConfig
    from keras_lnn.data import load_data
    from keras_lnn.data.pipeline import evaluation_batches, steps_per_epoch, training_batches
    from keras_lnn.registry import build_model
    from keras_lnn.tasks.kinds import make_task
    from keras_lnn.training.compiling import compile_model
    from keras_lnn.training.protocol import complete_config
    from tuning.space import make_space

    config = complete_config(TrainConfig(model=model, data=data, epochs=int(epochs)))
    space, images = make_space(config), load_data(data)
    task = make_task(images.task, images.class_names)
    done = []

    class Tuner(keras_tuner.RandomSearch):
        def run_trial(self, trial: Any, *_: Any, **__: Any) -> dict[str, float]:
            chosen = complete_config(space.apply(config, trial.hyperparameters.values))
            prepare_backend(0, True, "float32")
            steps = steps_per_epoch(images.splits["train"], chosen.batch_size)
            network = build_model(model, images.image_shape, task.outputs, **chosen.model_args)
            compile_model(network, task, chosen, steps * chosen.epochs, images.splits["train"].labels)
            augmentation = images.augmentation if chosen.augmentation == "auto" else chosen.augmentation
            batches = training_batches(
                images.splits["train"],
                batch_size=chosen.batch_size,
                seed=0,
                epochs=chosen.epochs,
                augmentation=augmentation,
            )
            history = network.fit(
                batches,
                epochs=chosen.epochs,
                steps_per_epoch=steps,
                validation_data=evaluation_batches(images.splits["val"], 256),
                verbose=0,
            )
            done.append("completed")
            pd.DataFrame({"status": done}).to_csv(log, index=False)
            return {"val_auc": max(history.history["val_auc"])}

    tuner = Tuner(
        hypermodel=lambda hyperparameters: None,
        objective=keras_tuner.Objective("val_auc", "max"),
        max_trials=int(trials),
        seed=config.seed + 1,
        hyperparameters=space.hyperparameters(config),
        tune_new_entries=False,
        allow_new_entries=False,
        directory=str(Path(log).parent),
        project_name="in-process",
    )
    tuner.search(verbose=0)


if __name__ == "__main__":
    run_main(main)
