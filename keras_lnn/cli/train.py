"""``keras-lnn train``: trains a network, chooses an epoch on validation, tests it once and exports it."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pydantic

from keras_lnn.cli.parsing import parse_options
from keras_lnn.config import TrainConfig
from keras_lnn.errors import InputError
from keras_lnn.fields.options import FoldOptions, HostOptions
from keras_lnn.fields.values import validate
from keras_lnn.files.yaml_files import read_yaml
from keras_lnn.hosts.place import find_place


class TrainCommand(HostOptions, FoldOptions, TrainConfig):
    """Train a model on medical images, choose its best epoch on validation, test it once and export it."""

    config: Path | None = pydantic.Field(
        None, description="YAML file with any of these fields; options on the command line override it"
    )
    print_config: bool = pydantic.Field(False, description="print the whole configuration as YAML and stop")
    show_augmentation: Path | None = pydantic.Field(None, description="draw augmented images to this PNG file and stop")
    show_copies: Path | None = pydantic.Field(
        None, description="draw own images that are in two splits, or nearly, to this PNG file, with a table, and stop"
    )
    resume: Path | None = pydantic.Field(None, description="continue this run after its last complete checkpoint")


def main(arguments: Sequence[str], program: str = "keras-lnn train") -> int:
    """Parses the options and trains; slow imports wait until the options are valid."""
    options = parse_options(TrainCommand, arguments, program)
    config_file = options.pop("config", None)
    print_config = options.pop("print_config", False)
    picture, copies = options.pop("show_augmentation", None), options.pop("show_copies", None)
    run_dir = options.pop("resume", None)
    stops = print_config or picture is not None or copies is not None
    about_hosts = {name: options.pop(name) for name in HostOptions.model_fields if name in options}
    place = find_place(validate(HostOptions, about_hosts), os.environ)
    if run_dir is not None and (options or config_file is not None or stops):
        raise InputError("--resume takes the run's own configuration. Received: other options. Leave them out.")
    values = {**(read_yaml(config_file) if config_file is not None else {}), **options}
    about_folds = {name: values.pop(name) for name in FoldOptions.model_fields if name in values}
    folding = validate(FoldOptions, about_folds)
    if about_folds and (folding.folds is None or stops):
        shown = (
            "--show-augmentation" if picture is not None else "--show-copies" if copies is not None else "no --folds"
        )
        other = "--print-config" if print_config else shown
        raise InputError(f"--{next(iter(about_folds))} is for cross-validation. Received: {other}. Leave one out.")
    if place.count > 1 and (folding.folds is not None or stops):
        raise InputError(
            f"--hosts is for the training of one run. Received: {place.count} with"
            f" {'--folds' if folding.folds is not None else 'an option that only shows something'}. Leave one out."
        )
    config = TrainConfig.create(values)

    from keras_lnn.data.catalog import require_source
    from keras_lnn.runs.own_modules import require_names
    from keras_lnn.terminal import make_console, start_keras

    require_names(config)
    if not print_config:  # the configuration may be meant for another machine
        require_source(config.data, config.image_dir)
    if folding.folds is not None:
        from keras_lnn.cli.folds import run_folds

        run_folds(config, folding)
        return 0
    before = config.start_from if run_dir is None else Path(run_dir)
    if before is not None:
        from keras_lnn.runs.folder import RunFolder

        RunFolder.open(before)
    console = make_console(stderr=print_config)
    start_keras(console)
    from keras_lnn.hosts.joining import open_hosts
    from keras_lnn.training import copies as copying
    from keras_lnn.training import loop as training
    from keras_lnn.training import preview as showing
    from keras_lnn.training import protocol

    if picture is not None:
        showing.show_augmentation(config, Path(picture), console)
    if copies is not None:
        copying.show_copies(config, Path(copies), console)
    if print_config:
        sys.stdout.write(protocol.complete_config(config).to_yaml())
    if not stops:
        with open_hosts(place, console) as hosts:
            if run_dir is None:
                training.train(config, hosts=hosts)
            else:
                training.resume(Path(run_dir), hosts=hosts)
    return 0
