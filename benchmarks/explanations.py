"""Compares methods of explanation on generated images whose lesions are known: one row per run and method.

python benchmarks/explanations.py --runs runs/lnn,runs/cnn --images 400 --csv docs/results/tables/explanations.csv

A map is true if its mass lies within the lesion, enlarged by two pixels; if the prediction changes sooner when its
pixels are removed or come back in the order of the map than in that of a random one; and if it follows the weights when
these are drawn anew. The row ``uniform`` is the share of the image that the enlarged lesions take.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydantic

from keras_lnn.cli.parsing import parse_command, run_main
from keras_lnn.files.atomic import atomic_path, without_nan
from keras_lnn.terminal import loading, make_console, print_rows, start_keras


class ExplanationsCommand(pydantic.BaseModel):
    """Measure whether the maps of each method are true, on the test split of data whose lesions are known."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    runs: str = pydantic.Field(description="runs or .keras files, as a,b")
    methods: str = pydantic.Field("", description="methods, as a,b; all if not given")
    images: int = pydantic.Field(400, ge=2, description="at most so many test images")
    randomised: int = pydantic.Field(16, ge=1, description="number of images of the randomisation test")
    csv: Path | None = pydantic.Field(None, description="file to write the table to")
    json_output: bool = pydantic.Field(False, alias="json", description="print one JSON object instead of the table")


def main(arguments: Sequence[str]) -> int:
    """Measures the methods and prints the results."""
    command = parse_command(ExplanationsCommand, arguments, "benchmarks/explanations.py")
    quiet = make_console(stderr=True)
    start_keras(quiet)
    with loading(quiet, "measuring"):
        rows = [row for run in command.runs.split(",") for row in measure(command, run)]
    if command.csv is not None:
        write_table(rows, command, command.csv)
    if command.json_output:
        print(json.dumps(without_nan({"rows": rows})["rows"], indent=2))
        return 0
    print_rows(rows, "maps on images whose lesions are known", digits=3)
    return 0


def measure(command: ExplanationsCommand, run: str) -> list[dict[str, Any]]:
    """Returns one row per method, after one for uniform maps."""
    from keras_lnn.data import load_data
    from keras_lnn.data.phantoms.lesions import draw_lesions
    from keras_lnn.explaining.faithfulness import mass_within, measure_chance
    from keras_lnn.explaining.maps import METHODS
    from keras_lnn.saved.predictor import load_predictor

    predictor = load_predictor(run)
    data = predictor.signature.data
    lesions = draw_lesions(data, "test")
    # With several labels the lesion differs from label to label, so that of none is that of the map.
    has = np.flatnonzero(lesions.reshape(len(lesions), -1).any(axis=1))[: command.images]
    images, lesions = load_data(data).splits["test"].images[has], lesions[has]
    chance = measure_chance(predictor, images)
    about = {"network": predictor.signature.model, "data": data, "images": len(has)}
    rows: list[dict[str, Any]] = [
        about | {"method": "uniform", "mass": float(mass_within(np.ones(lesions.shape), lesions).mean())}
    ]
    for method in command.methods.split(",") if command.methods else METHODS:
        rows.append(about | {"method": method} | measure_method(command, predictor, images, lesions, method, chance))
    return rows


def measure_method(
    command: ExplanationsCommand,
    predictor: Any,
    images: np.ndarray,
    lesions: np.ndarray,
    method: str,
    chance: np.ndarray,
) -> dict[str, Any]:
    """Returns the measures of one method."""
    from keras_lnn.explaining.faithfulness import (
        mass_within,
        mean_difference,
        measure_curves,
        points_within,
        randomise,
    )
    from keras_lnn.explaining.maps import explain

    begun = time.process_time()
    maps = explain(predictor, images, method)
    seconds = time.process_time() - begun
    curves = measure_curves(predictor, images, maps, chance=chance)
    estimates = {
        "mass": mean_difference(mass_within(maps, lesions)),
        "pointing": mean_difference(points_within(maps, lesions)),
        "deletion_gain": curves.deletion_gain(),
        "insertion_gain": curves.insertion_gain(),
    }
    row: dict[str, Any] = {}
    for name, estimate in estimates.items():
        row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    fall = randomise(predictor, images[: command.randomised], method, stages=1).fall()
    return row | {"fall_of_correlation": fall, "cpu_seconds": seconds}


def write_table(rows: list[dict[str, Any]], command: ExplanationsCommand, path: Path) -> None:
    """Writes the table as a CSV file that says in its first lines how it was made."""
    import pandas as pd

    names = ",".join(Path(run).name for run in command.runs.split(","))
    about = {
        "title": "Methods of explanation on images whose lesions are known",
        "command": f"python benchmarks/explanations.py --runs {names} --images {command.images}",
        "protocol": f"test images with a lesion, lesions enlarged by two pixels; gains are areas against those of"
        f" random maps; randomisation test of {command.randomised} images",
        "seeds": "one run per network",
        "spread": "95% intervals of the bootstrap over images",
        "hardware": "not recorded",
    }
    head = "".join(f"# {name}: {text}\n" for name, text in about.items())
    with atomic_path(path) as temporary:
        temporary.write_text(head + pd.DataFrame(rows).to_csv(index=False, float_format="%.4g"), encoding="utf-8")


if __name__ == "__main__":
    run_main(main)
