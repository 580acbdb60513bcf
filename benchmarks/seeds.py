"""How much of a result is luck: the same configuration over several seeds, each an ordinary run.

python benchmarks/seeds.py --model lnn --data breastmnist --seeds 5
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pydantic
from rich.table import Table

from keras_lnn.commands import parse_command, run_main
from keras_lnn.config import TrainConfig
from keras_lnn.files import without_nan
from keras_lnn.model_card import metric_label
from keras_lnn.terminal import make_console, start_keras

SHOWN = ("auc", "accuracy", "f1")


class SeedsCommand(TrainConfig):
    """Train one configuration with several seeds and print the test metrics of each, their mean and range."""

    seed: int = pydantic.Field(0, ge=0, description="the first seed")
    seeds: int = pydantic.Field(5, ge=1, description="how many seeds")
    export: Literal["saved_model", "keras", "none"] = pydantic.Field("none", description="format in which each leaves")
    json_output: bool = pydantic.Field(False, alias="json", description="print one JSON object instead of the table")


def main(arguments: Sequence[str]) -> int:
    """Trains and prints."""
    command = parse_command(SeedsCommand, arguments, "benchmarks/seeds.py")
    console = make_console(stderr=True)
    start_keras(console)
    from keras_lnn.training import train

    data = re.sub(r"[^A-Za-z0-9._-]+", "-", command.data)
    parent = command.run_dir or Path("runs", f"seeds-{command.model}-{data}")
    values = command.model_dump(exclude={"seeds", "json_output"})
    seeds = range(command.seed, command.seed + command.seeds)
    results = []
    for seed in seeds:
        config = TrainConfig.create(values | {"seed": seed, "run_dir": parent / str(seed)})
        results.append(train(config, console).metrics["test"])
    # An undefined metric is None.
    found = {
        name: [np.nan if result[name]["value"] is None else result[name]["value"] for result in results]
        for name in SHOWN
    }
    if command.json_output:
        print(json.dumps(without_nan({"runs": str(parent), "test": found}), indent=2))
        return 0
    table = Table(
        title=f"{command.model} on {command.data}, test split, best epoch by validation", title_justify="left"
    )
    for name in ("", *map(str, seeds), "mean", "lowest", "highest"):
        table.add_column(name, justify="right")
    for name, numbers in found.items():
        summary = (np.mean(numbers), min(numbers), max(numbers))
        table.add_row(metric_label(name), *(f"{number:.4f}" for number in (*numbers, *summary)))
    make_console().print(table)
    return 0


if __name__ == "__main__":
    run_main(main)
