"""``keras-lnn evaluate``: the metrics of a trained model on the data that it was trained on, or on other data."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pydantic
from pydantic_settings import CliPositionalArg

from keras_lnn.cli.starting import Command, start
from keras_lnn.data.catalog import require_data, require_source
from keras_lnn.data.sources.subgroups import open_subgroup_table, parse_subgroups
from keras_lnn.errors import InputError
from keras_lnn.fields.options import DataOptions, OwnModules
from keras_lnn.fields.values import Side, parse_classes
from keras_lnn.files.atomic import require_writable
from keras_lnn.terminal import (
    loading,
    make_console,
    print_corruptions,
    print_metrics,
    print_sampling,
    print_subgroups,
    print_written,
)

if TYPE_CHECKING:
    from keras_lnn.trained.samples import LearnedData


class EvaluateCommand(OwnModules, Command, DataOptions):
    """Measure a trained model, with 95% intervals; data options that are left out are taken from its training."""

    model: CliPositionalArg[str] = pydantic.Field(description="run, .keras file, exported folder or name of a model")
    data: str | None = pydantic.Field(None, description="data set (default: the one that the model was trained on)")
    split: Literal["train", "val", "test", "all"] | None = pydantic.Field(
        None,
        description="split to measure; all: every image that was in neither training nor validation (default: test on "
        "the data that the model was trained on, all on other data)",
    )
    size: Side | None = pydantic.Field(None, description="side of the images in pixels")
    map_classes: str | None = pydantic.Field(
        None, description="THEIRS=OURS,...: the model's class names for classes that have other names in the data"
    )
    positive_class: str | None = pydantic.Field(
        None,
        description="which of two classes is the positive one in sensitivity, specificity, precision and F1 (default: "
        "that of the model's training)",
    )
    sampling: bool = pydantic.Field(
        False,
        description="for series: also measure the model on the same series with fewer frames, and write sampling.csv "
        "and sampling.png",
    )
    corruptions: bool = pydantic.Field(
        False,
        description="also measure the model on images with noise, blur and ten other corruptions at five strengths, "
        "and write corruptions.csv and corruptions.png",
    )
    subgroups: str | None = pydantic.Field(
        None,
        description="also measure groups of samples by columns of a table, numbers in bands between edges: "
        "sex,age:40:60; and write subgroups.csv and subgroups.png",
    )
    subgroup_table: Path | None = pydantic.Field(
        None,
        description="CSV file with the columns of --subgroups, and one with the names of the samples or their index as "
        "in predictions.csv (default: the table of the data)",
    )
    output: Path | None = pydantic.Field(
        None,
        description="folder for a page with curves, the table of predictions, and the tables and pictures of "
        "--sampling, --corruptions and --subgroups (default: evaluations/DATA-MODEL with one of these, else nothing is "
        "written)",
    )
    json_output: bool = pydantic.Field(False, alias="json", description="print one JSON object")

    @pydantic.field_validator("subgroups", mode="after")
    @classmethod
    def _subgroups(cls, value: str | None) -> str | None:
        parse_subgroups(value)
        return value

    @pydantic.field_validator("map_classes", mode="after")
    @classmethod
    def _map_classes(cls, value: str | None) -> str | None:
        parse_classes(value)
        return value


def run_evaluate(command: EvaluateCommand) -> None:
    """Measures the model and prints its metrics."""
    console = make_console()
    quiet = make_console(stderr=True)
    from keras_lnn.saved.predictor import find_model
    from keras_lnn.saved.signature import read_signature
    from keras_lnn.trained.samples import LearnedData

    signature = read_signature(find_model(command.model))
    _require_subgroups(command)
    if command.sampling:
        signature.require_series(command.model, "--sampling")
    learned = LearnedData.of(command.model, signature)
    _require_data(command, learned)
    if command.subgroups is not None:
        open_subgroup_table(command.data or learned.name, command.subgroup_table, parse_subgroups(command.subgroups))
    output = _choose_output(command, command.data or learned.name)
    if output is not None:
        require_writable(output, "--output")
    start(command, quiet)
    from keras_lnn.trained.evaluate import describe_measured, evaluate_model

    with loading(quiet, "evaluating") as progress:
        metrics = evaluate_model(
            command.model,
            data=command.data,
            split=command.split,
            options=command,
            map_classes=parse_classes(command.map_classes),
            positive_class=command.positive_class,
            sampling=command.sampling,
            corruptions=command.corruptions,
            subgroups=command.subgroups,
            subgroup_table=command.subgroup_table,
            output=output,
            progress=progress,
        )
    leading = signature.get_task().leading
    if command.json_output:
        print(json.dumps(metrics, indent=2, ensure_ascii=False))
    else:
        print_metrics(console, metrics, describe_measured(metrics))
    if command.json_output:
        return
    if command.sampling:
        print_sampling(console, metrics["sampling"], leading)
    if command.corruptions:
        from keras_lnn.trained.measured_words import describe_corruptions

        print_corruptions(console, metrics["corruptions"], leading)
        console.print(describe_corruptions(metrics["corruptions"], leading))
    if command.subgroups is not None:
        from keras_lnn.trained.measured_words import describe_subgroups

        print_subgroups(console, metrics["subgroups"], leading)
        for sentence in describe_subgroups(metrics["subgroups"]):
            console.print(sentence, markup=False)
    if output is not None:
        print_written(console, {name: Path(path) for name, path in metrics["written"].items()})


def _require_subgroups(command: EvaluateCommand) -> None:
    """Checks that a table of subgroups is not given without subgroups."""
    if command.subgroup_table is not None and command.subgroups is None:
        raise InputError(
            f"--subgroup-table is for --subgroups. Received: {command.subgroup_table} without it. Name the columns with"
            " --subgroups."
        )


def _choose_output(command: EvaluateCommand, data: str) -> Path | None:
    """Returns the folder for the page, tables and pictures; None where none are asked for."""
    asked = command.sampling or command.corruptions or command.subgroups is not None
    if command.output is not None or not asked:
        return command.output
    name = f"{Path(data.rpartition(':')[2]).stem}-{Path(command.model).stem}"
    return Path("evaluations") / re.sub(r"[^A-Za-z0-9._=-]+", "-", name).strip("-.")[:100]


def _require_data(command: EvaluateCommand, learned: "LearnedData") -> None:
    """Checks the name of the data and that their files exist, as far as is possible before importing Keras."""
    name = command.data or learned.name
    require_source(name, command.image_dir)
    if not command.imports and (learned.config is None or not learned.config.imports):
        require_data(name)
