"""Measures how much of a result is luck: the same configuration over several seeds, each an ordinary run.

python benchmarks/seeds.py --model lnn --data breastmnist --seeds 5
python benchmarks/seeds.py --model unet --data phantom-liver --seeds 3
python benchmarks/seeds.py --model lnn --data breastmnist --seeds 10 --compare searches/lnn-breastmnist-random/best.yaml

With ``--compare`` a second configuration is trained with the same seeds, and the mean of the differences has a paired
95% interval (Student's t over the seeds).
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pydantic
from rich.table import Table

from keras_lnn.cli.parsing import parse_command, run_main
from keras_lnn.config import TrainConfig
from keras_lnn.evaluation.metrics import metric_label
from keras_lnn.fields.values import OneOf
from keras_lnn.files.atomic import without_nan
from keras_lnn.files.yaml_files import read_yaml
from keras_lnn.saved.formats import list_exports
from keras_lnn.studies.results import summarise
from keras_lnn.terminal import make_console, start_keras

SHOWN = ("auc", "accuracy", "f1")
# Metrics of segmentation models: these, and those of each class, such as ``dice_liver``.
SHOWN_OF_MASKS = ("dice", "iou")


class SeedsCommand(TrainConfig):
    """Train one configuration with several seeds and print the test metrics of each, their mean and spread."""

    seed: int = pydantic.Field(0, ge=0, description="the first seed")
    seeds: int = pydantic.Field(5, ge=1, description="number of seeds")
    compare: Path | None = pydantic.Field(None, description="YAML file of a second configuration, such as best.yaml")
    export: Annotated[str, OneOf(list_exports)] = pydantic.Field(
        "none", description="format in which each model is exported"
    )
    json_output: bool = pydantic.Field(False, alias="json", description="print one JSON object instead of the table")


def main(arguments: Sequence[str]) -> int:
    """Trains the runs and prints the results."""
    command = parse_command(SeedsCommand, arguments, "benchmarks/seeds.py")
    start_keras(make_console(stderr=True))
    data = re.sub(r"[^A-Za-z0-9._-]+", "-", command.data)
    parent = command.run_dir or Path("runs", f"seeds-{command.model}-{data}")
    values = command.model_dump(exclude={"seeds", "json_output", "compare"})
    seeds = range(command.seed, command.seed + command.seeds)
    configurations = {"": values}
    if command.compare is not None:
        same = ("data", "data_dir", "size", "positive_class", "export")
        second = read_yaml(command.compare) | {name: values[name] for name in same}
        configurations = {"first": values, "second": second}
    found = {name: train_seeds(fields, seeds, parent / name) for name, fields in configurations.items()}
    if command.json_output:
        print(json.dumps(without_nan({"runs": str(parent), "test": found}), indent=2))
        return 0
    print_seeds(found, seeds, f"{command.model} on {command.data}, test split, best epoch by validation")
    return 0


def train_seeds(fields: dict[str, Any], seeds: Sequence[int], parent: Path) -> dict[str, list[float]]:
    """Returns the test metrics of each seed; existing runs are not repeated."""
    from keras_lnn.runs.folder import RunFolder
    from keras_lnn.training.loop import resume, train

    results = []
    for seed in seeds:
        folder = RunFolder(parent / str(seed))
        if folder.config.is_file():
            result = resume(folder.path)
        else:
            result = train(TrainConfig.create(fields | {"seed": seed, "run_dir": folder.path}))
        results.append(result.metrics["test"])
    # An undefined metric is None.
    return {
        name: [np.nan if result[name]["value"] is None else result[name]["value"] for result in results]
        for name in results[0]
        if name in SHOWN or (name.split("_")[0] in SHOWN_OF_MASKS and not name.endswith("_per_image"))
    }


def print_seeds(found: dict[str, dict[str, list[float]]], seeds: Sequence[int], title: str) -> None:
    """Prints one row per metric and configuration, and for two configurations their paired differences.

    The interval is that of the mean over seeds, by Student's t: what other seeds would give on the same test samples.
    """
    table = Table(title=title, title_justify="left")
    for name in ("", *map(str, seeds), "mean", "SD", "95% interval"):
        table.add_column(name, justify="right")
    shown = list(next(iter(found.values())))
    for metric in shown:
        for configuration, metrics in found.items():
            summary = summarise(metrics[metric])
            interval = "-" if np.isnan(summary["low"]) else f"{summary['low']:.4f} to {summary['high']:.4f}"
            numbers = (f"{number:.4f}" for number in (*metrics[metric], summary["mean"], summary["sd"]))
            table.add_row(f"{metric_label(metric)} {configuration}".strip(), *numbers, interval)
    console = make_console()
    console.print(table)
    if len(found) == 2 and len(seeds) > 1:
        for metric in shown:
            mean, low, high = paired_interval(found["first"][metric], found["second"][metric])
            console.print(
                f"{metric_label(metric)}, second minus first: {mean:+.4f} (95% interval {low:+.4f} to {high:+.4f})"
            )


def paired_interval(first: Sequence[float], second: Sequence[float]) -> tuple[float, float, float]:
    """Returns the mean of the differences and its 95% interval."""
    from scipy import stats

    differences = np.subtract(second, first)
    mean, error = differences.mean(), stats.sem(differences)
    if error == 0.0:
        return mean, mean, mean
    low, high = stats.t.interval(0.95, len(differences) - 1, loc=mean, scale=error)
    return float(mean), float(low), float(high)


if __name__ == "__main__":
    run_main(main)
