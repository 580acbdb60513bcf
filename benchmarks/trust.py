"""Tabulates how far cross-validated models and their ensembles can be trusted: one row per ensemble.

The models are trained and joined first; nothing is trained here. The published table is made by these commands:

for model in cnn lnn; do
    options="--model $model --data breastmnist --folds 5 --calibration temperature --coverage .9"
    keras-lnn train $options --run-dir runs/$model
    keras-lnn ensemble runs/$model --output runs/$model-joined --coverage .9
    keras-lnn train $options --augmentation mirror --run-dir runs/$model-flipped
    keras-lnn ensemble runs/$model-flipped --output runs/$model-flipped-joined --coverage .9
    keras-lnn ensemble runs/$model-flipped --output runs/$model-flipped-views --coverage .9 --views mirror
done
python benchmarks/trust.py --folds runs/cnn,runs/cnn-flipped,runs/lnn,runs/lnn-flipped \
    --ensembles runs/cnn-joined,runs/cnn-flipped-joined,runs/cnn-flipped-views,runs/lnn-joined,\
runs/lnn-flipped-joined,runs/lnn-flipped-views --csv docs/results/tables/trust.csv --hardware "two CPU cores"

The AUC over the folds is that of the training images, each predicted by the model that did not see it. All else is
measured on the test split that the folds have left out.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic

from keras_lnn.cli.parsing import parse_command, run_main
from keras_lnn.config import TrainConfig
from keras_lnn.errors import InputError
from keras_lnn.files.atomic import atomic_path, file_digest
from keras_lnn.terminal import make_console, print_rows

_ERROR = "expected_calibration_error"
# What the published sets promise.
_COVERAGE = 0.9
_BEFORE, _AFTER = "calibration error without calibration", "calibration error"


class TrustCommand(pydantic.BaseModel):
    """Tabulate how good cross-validated models and their ensembles are, and how well they know it."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    folds: str = pydantic.Field(description="folders of cross-validations, as a,b")
    ensembles: str = pydantic.Field(description="folders of their ensembles, as a,b")
    hardware: str = pydantic.Field("not recorded", description="the machine, for the head of the table")
    csv: Path | None = pydantic.Field(None, description="file to write the table to")


def main(arguments: Sequence[str]) -> int:
    """Reads the folders and prints the table."""
    command = parse_command(TrustCommand, arguments, "benchmarks/trust.py")
    folds = [(Path(folder), _read(Path(folder), "folds.json")) for folder in command.folds.split(",")]
    pairs = []
    for folder in map(Path, command.ensembles.split(",")):
        found = _read(folder, "ensemble.json")
        place, validated = find_folds(folder, found, folds)
        pairs.append((place, validated, name_protocol(place, is_mirrored(folder)), found))
    rows = [tabulate(validated, name, found) for _, validated, name, found in pairs]
    if command.csv is not None:
        protocol = describe_protocol([place for place, *_ in pairs], [found for *_, found in pairs])
        write_table(rows, command, protocol, command.csv)
    # The intervals are in the table; with them a row is wider than a terminal.
    shown = [{name: value for name, value in row.items() if not name.endswith((" low", " high"))} for row in rows]
    print_rows(shown, "ensembles of cross-validated models", digits=3)
    make_console().print(find_gains(rows), soft_wrap=True, markup=False)
    return 0


def find_folds(
    folder: Path, found: Mapping[str, Any], folds: Sequence[tuple[Path, dict[str, Any]]]
) -> tuple[Path, dict[str, Any]]:
    """Returns the folder and the results of the cross-validation whose models an ensemble joins.

    Args:
        folder: The folder of the ensemble.
        found: Content of its ensemble.json.
        folds: The folder and the results of each cross-validation.
    """
    joined = {member["digest"] for member in found["members"]}
    matching = [one for one in folds if joined == {file_digest(path) for path in one[0].glob("**/fold-*/best.keras")}]
    if len(matching) != 1 or "test" not in found:
        raise InputError(
            "--ensembles must be measured, and each must join the models of one of --folds. Received:"
            f" {folder}, which fits {len(matching)} of them."
        )
    return matching[0]


def name_protocol(folder: Path, mirrored: bool) -> str:
    """Returns the model of a cross-validation with what differs from its own protocol.

    Args:
        folder: The folder of the cross-validation.
        mirrored: Whether its ensemble predicts mirror images.
    """
    config = TrainConfig.from_yaml(next(folder.glob("**/fold-1/config.yaml")))
    augmented = config.augmentation not in (None, "none")
    places = " and ".join(["training"] * augmented + ["predicting"] * mirrored)
    return f"{config.model}, mirrored in {places}" if places else config.model


def is_mirrored(folder: Path) -> bool:
    """Returns whether an ensemble also predicts mirror images."""
    from keras_lnn.saved.signature import read_signature

    ensemble = read_signature(folder / "ensemble.keras").ensemble
    return ensemble is not None and bool(ensemble.mirrored)


def tabulate(validated: Mapping[str, Any], name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the row of an ensemble; what it does not have is nan.

    Args:
        validated: Content of the folds.json of its cross-validation.
        name: The name of the row.
        found: Content of its ensemble.json.
    """
    gain, test, sets = found["gain"], found["test"], found.get("sets", {}).get("test", {})
    row: dict[str, Any] = {"model": name, "members": len(found["members"])}
    row |= _estimate("AUC over the folds", validated["mean"]["auc"])
    row |= _estimate("calibration error in the folds, before", validated.get("before_calibration", {}).get(_ERROR, {}))
    row |= _estimate("calibration error in the folds, after", validated["pooled"][_ERROR])
    row |= _estimate("AUC of the ensemble", test["auc"])
    row |= {"AUC, mean of members": _number(gain["mean"]["estimate"]["value"])}
    row |= _estimate("gain in AUC", gain["mean"]["difference"])
    row |= _estimate("accuracy at 0.5", test["accuracy"])
    row |= _estimate(_BEFORE, found["uncalibrated"].get(_ERROR, {}))
    row |= _estimate(_AFTER, test[_ERROR])
    row |= _estimate("log loss without calibration", found["uncalibrated"].get("log_loss", {}))
    row |= _estimate("log loss", test["log_loss"])
    row |= _estimate("coverage of sets", sets.get("coverage", {}))
    row |= _estimate("coverage, positive class", sets.get("coverage_of", {}).get(found["positive_class"], {}))
    return row | _estimate("classes in a set", sets.get("mean_size", {}))


def find_gains(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns sentences about what all rows show."""

    def named(chosen: Sequence[Mapping[str, Any]]) -> str:
        return ", ".join(f"`{row['model']}`" for row in chosen) or "none"

    better = [row for row in rows if row["gain in AUC low"] > 0]
    worse = [row for row in rows if row[_AFTER] > row[_BEFORE]]
    covered = [row for row in rows if row["coverage of sets high"] >= _COVERAGE]
    return (
        f"The AUC is above that of the members on average, by an interval that excludes 0, for {named(better)}."
        f" The calibration error is higher with the calibration of the members than without it for {named(worse)}."
        f" The interval of the coverage reaches the promised {_COVERAGE:g} for {named(covered)}."
    )


def describe_protocol(folds: Sequence[Path], found: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Returns how the models were trained and tested, and their seeds.

    Args:
        folds: The folder of the cross-validation of each ensemble.
        found: Content of the ensemble.json of each.
    """
    trained, seeds = {}, {}
    for folder in dict.fromkeys(folds):
        config = TrainConfig.from_yaml(next(folder.glob("**/fold-1/config.yaml")))
        trained[config.model] = f"{config.model}: {config.epochs} epochs, without augmentation or with mirror images"
        seeds[config.model] = f"{config.seed} ({config.model})"
    data = ", ".join(dict.fromkeys(one["data"] for one in found))
    samples = found[0]["gain"]["samples"]
    promised = sorted({one["sets"]["coverage"] for one in found if "sets" in one})
    sets = f"; sets promise {', '.join(f'{one:g}' for one in promised)}" if promised else ""
    protocol = (
        f"{data}; each fold tests one model, the next one chooses its epoch and its calibration;"
        f" {'; '.join(trained.values())}; ensembles on {samples} of the test split; thresholds"
        f" and sets are chosen on the folds{sets}"
    )
    return protocol, ", ".join(seeds.values())


def write_table(
    rows: Sequence[Mapping[str, Any]], command: TrustCommand, protocol: tuple[str, str], path: Path
) -> None:
    """Writes the table as a CSV file that says in its first lines how it was made."""
    import pandas as pd

    def short(folders: str) -> str:
        return ",".join(f"runs/{Path(folder).name}" for folder in folders.split(","))

    about = {
        "title": "Ensembles of cross-validated models",
        "command": f"python benchmarks/trust.py --folds {short(command.folds)} --ensembles {short(command.ensembles)}",
        "protocol": protocol[0],
        "seeds": protocol[1],
        "intervals": "95%; over the folds by the corrected resampled t, else over the test images; gains are paired",
        "hardware": command.hardware,
        "findings": find_gains(rows),
    }
    head = "".join(f"# {name}: {text}\n" for name, text in about.items())
    with atomic_path(path) as temporary:
        temporary.write_text(head + pd.DataFrame(rows).to_csv(index=False, float_format="%.3f"), encoding="utf-8")


def _read(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    if not path.is_file():
        raise InputError(f"A finished folder has {name}. Received: {folder}. Finish it first, or name another one.")
    return json.loads(path.read_text(encoding="utf-8"))


def _estimate(name: str, estimate: Mapping[str, Any]) -> dict[str, float]:
    """Returns the columns of an estimate with its interval."""
    parts = {name: "value", f"{name} low": "low", f"{name} high": "high"}
    return {column: _number(estimate.get(part)) for column, part in parts.items()}


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


if __name__ == "__main__":
    run_main(main)
