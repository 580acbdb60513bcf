"""Compares methods of explanation on generated images whose lesions are known: one row per network and method.

python benchmarks/explanations.py --runs runs/lnn-1,runs/lnn-2,runs/cnn-1 --csv docs/results/tables/explanations.csv

A map is true if its mass lies within the lesion, enlarged by two pixels; if the prediction changes sooner when its
pixels are removed or come back in the order of the map than in that of a random one; and if it follows the weights when
these are drawn anew. Runs of the same network and data are averaged image by image.

What is measured are images that are predicted to have a lesion, and have one: those of a class of which every image has
one, predicted right. An image of another class stays what it is when its lesion is deleted, so that no order of its
pixels is right. The mass within all lesions, whatever is predicted, stands in columns of its own.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydantic

from keras_lnn.cli.parsing import parse_command, run_main
from keras_lnn.errors import InputError
from keras_lnn.files.atomic import atomic_path, without_nan
from keras_lnn.terminal import loading, make_console, print_rows, start_keras

# What a method must reach to be trusted, beside gains whose intervals exclude zero.
_LEAST_MASS, _LEAST_FALL = 0.7, 0.5
_GAINS = tuple(f"{game} gain, {control}" for control in ("regions", "pixels") for game in ("deletion", "insertion"))
_FALL, _SECONDS = "fall of correlation", "CPU seconds per 100"


class ExplanationsCommand(pydantic.BaseModel):
    """Measure whether the maps of each method are true, on data whose lesions are known."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    runs: str = pydantic.Field(description="runs or .keras files, as a,b")
    methods: str = pydantic.Field("", description="methods, as a,b; all if not given")
    split: str = pydantic.Field("test", description="split to measure on; val to choose a method")
    images: int = pydantic.Field(400, ge=2, description="at most so many images with a lesion")
    volumes: int = pydantic.Field(24, ge=2, description="at most so many volumes with a lesion")
    randomised: int = pydantic.Field(16, ge=1, description="number of images of the randomisation test")
    hardware: str = pydantic.Field("not recorded", description="the machine, for the head of the table")
    csv: Path | None = pydantic.Field(None, description="file to write the table to")
    json_output: bool = pydantic.Field(False, alias="json", description="print one JSON object instead of the table")


class Measured(NamedTuple):
    """The measures of one method on one run.

    Args:
        values: The values of each image by the name of the measure, nan for images that it is not for.
        fall: The fall of the rank correlation when all weights are random.
        seconds: Processor seconds per 100 images.
    """

    values: dict[str, np.ndarray]
    fall: float
    seconds: float


def main(arguments: Sequence[str]) -> int:
    """Measures the methods and prints the results."""
    command = parse_command(ExplanationsCommand, arguments, "benchmarks/explanations.py")
    quiet = make_console(stderr=True)
    start_keras(quiet)
    found: dict[tuple[str, str], dict[str, list[Measured]]] = {}
    rows: list[dict[str, Any]] = []
    with loading(quiet, "measuring"):
        for run in command.runs.split(","):
            network, methods = measure_run(command, run)
            for method, measured in methods.items():
                found.setdefault(network, {}).setdefault(method, []).append(measured)
            rows = [
                {"row": f"{name}, {method}"} | summarise(runs)
                for (name, _), methods in found.items()
                for method, runs in methods.items()
            ]
            if command.csv is not None:  # after each run, so that a stopped benchmark leaves what it has measured
                write_table(rows, command, [data for _, data in found], command.csv)
    if command.json_output:
        print(json.dumps(without_nan({"rows": rows})["rows"], indent=2))
        return 0
    # The intervals are in the table and in JSON; with them a row is wider than a terminal.
    shown = [{name: value for name, value in row.items() if not name.endswith((" low", " high"))} for row in rows]
    print_rows(shown, "maps on images whose lesions are known", digits=3)
    return 0


def measure_run(command: ExplanationsCommand, run: str) -> tuple[tuple[str, str], dict[str, Measured]]:
    """Returns the names of a run's network and data, and the measures of each method, after those of uniform maps."""
    from keras_lnn.data import load_data
    from keras_lnn.data.phantoms.lesions import draw_lesions
    from keras_lnn.explaining.faithfulness import CONTROLS, mass_within, measure_random_curves
    from keras_lnn.explaining.maps import METHODS
    from keras_lnn.saved.predictor import load_predictor

    predictor = load_predictor(run)
    known = predictor.signature
    split, lesions = load_data(known.data).splits[command.split], draw_lesions(known.data, command.split)
    if lesions.ndim != len(split.images.shape) - 1:
        raise InputError(f"Each image must have one class. Received: {known.data}. Choose another data set.")
    present = lesions.reshape(len(lesions), -1).any(axis=1)
    needed = ~np.isin(split.labels, split.labels[~present])  # of a class of which every image has a lesion
    most = command.volumes if len(split.images.shape) > 4 else command.images
    has = np.flatnonzero(present)[:most]
    images, lesions, needed = split.images[has], lesions[has], needed[has]
    right = needed & (predictor.predict(images).argmax(axis=1) == split.labels[has])
    random = {control: measure_random_curves(predictor, images[right], control) for control in CONTROLS}
    uniform = Measured({"mass, all lesions": mass_within(np.ones(lesions.shape), lesions)}, np.nan, np.nan)
    uniform.values["mass"] = np.where(right, uniform.values["mass, all lesions"], np.nan)
    methods = {"uniform": uniform}
    for method in command.methods.split(",") if command.methods else METHODS:
        methods[method] = measure_method(command, predictor, images, lesions, method, right, random)
    return (known.model, known.data), methods


def measure_method(
    command: ExplanationsCommand,
    predictor: Any,
    images: np.ndarray,
    lesions: np.ndarray,
    method: str,
    right: np.ndarray,
    random: dict[str, Any],
) -> Measured:
    """Returns the measures of one method on one run."""
    from keras_lnn.explaining.faithfulness import mass_within, measure_curves, points_within, randomise
    from keras_lnn.explaining.maps import explain

    begun = time.process_time()
    maps = explain(predictor, images, method)
    seconds = time.process_time() - begun
    curves = measure_curves(predictor, images[right], maps[right])
    mass, pointing = mass_within(maps, lesions), points_within(maps, lesions)
    values = {
        "mass": np.where(right, mass, np.nan),
        "pointing": np.where(right, pointing, np.nan),
        "mass, all lesions": mass,
        "pointing, all lesions": pointing,
    }
    for control, areas in random.items():
        for game, gain in (
            ("deletion", areas.deletion - curves.deletion),
            ("insertion", curves.insertion - areas.insertion),
        ):
            values[f"{game} gain, {control}"] = np.full(len(images), np.nan)
            values[f"{game} gain, {control}"][right] = gain
    fall = randomise(predictor, images[right][: command.randomised], method, stages=1).fall()
    return Measured(values, fall, 100 * seconds / len(images))


def summarise(runs: Sequence[Measured]) -> dict[str, Any]:
    """Returns a row of means over images, with intervals; runs of one network are averaged image by image first."""
    from keras_lnn.explaining.faithfulness import mean_difference

    row: dict[str, Any] = {"images": 0}
    for name in ("mass", "pointing", *_GAINS, "mass, all lesions", "pointing, all lesions"):
        if name not in runs[0].values:  # uniform maps have no order and no highest point
            row |= {name: np.nan, f"{name} low": np.nan, f"{name} high": np.nan}
            continue
        values = np.stack([run.values[name] for run in runs])
        values = np.nanmean(values[:, ~np.isnan(values).all(axis=0)], axis=0)
        found = mean_difference(values)
        row |= {name: found.value, f"{name} low": found.low, f"{name} high": found.high}
        row["images"] = row["images"] or len(values)
    row |= {_FALL: np.mean([run.fall for run in runs]), _SECONDS: np.mean([run.seconds for run in runs])}
    return row


def find_trusted(rows: Sequence[dict[str, Any]]) -> str:
    """Returns a sentence about the methods that pass every test."""
    passed = [
        f"`{row['row']}`"
        for row in rows
        if row["mass"] >= _LEAST_MASS and row[_FALL] >= _LEAST_FALL and all(row[f"{gain} low"] > 0 for gain in _GAINS)
    ]
    tests = (
        f"at least {_LEAST_MASS:.0%} of the mass within the enlarged lesion, both gains over both controls above zero,"
        f" and a correlation that falls by at least {_LEAST_FALL}"
    )
    return f"These pass every test ({tests}): {', '.join(passed)}." if passed else f"None passes every test ({tests})."


def write_table(rows: list[dict[str, Any]], command: ExplanationsCommand, data: Sequence[str], path: Path) -> None:
    """Writes the table as a CSV file that says in its first lines how it was made."""
    import pandas as pd

    names = ",".join(f"runs/{Path(run).name}" for run in command.runs.split(","))
    about = {
        "title": "Methods of explanation on images whose lesions are known",
        "command": f"python benchmarks/explanations.py --runs {names} --images {command.images}"
        f" --volumes {command.volumes}",
        "protocol": f"{' and '.join(dict.fromkeys(data))}, {command.split} split; images of a class that needs a"
        " lesion, predicted right; lesions enlarged by two pixels; deletion to the mean of the image, insertion into a"
        f" blurred one, 14 steps; randomisation test of {command.randomised} images",
        "seeds": f"one per run: {', '.join(Path(run).name for run in command.runs.split(','))}",
        "intervals": "95%, of the bootstrap over images; runs of one network are averaged image by image",
        "hardware": command.hardware,
        "findings": find_trusted(rows),
    }
    head = "".join(f"# {name}: {text}\n" for name, text in about.items())
    with atomic_path(path) as temporary:
        temporary.write_text(head + pd.DataFrame(rows).to_csv(index=False, float_format="%.3f"), encoding="utf-8")


if __name__ == "__main__":
    run_main(main)
