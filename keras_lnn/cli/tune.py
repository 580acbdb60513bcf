"""``keras-lnn tune``: a hyperparameter search, with each trial in its own process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydantic

from keras_lnn.cli.parsing import parse_options
from keras_lnn.cli.starting import require_one_device
from keras_lnn.config import TrainConfig
from keras_lnn.errors import InputError
from keras_lnn.fields.roles import Role, fields_with
from keras_lnn.fields.values import validate
from keras_lnn.files.yaml_files import read_yaml
from tuning.settings import SearchSettings

# Fields that a search sets for its trials, which a user may therefore not set.
_DECIDED = fields_with(TrainConfig, Role.PART, Role.OUTPUT)


class SearchCommand(SearchSettings, TrainConfig):
    """Search for hyperparameters, each trial in its own process; the same command continues a stopped search."""

    space: Path | None = pydantic.Field(
        None, description="YAML file that changes which hyperparameters are searched, and their ranges"
    )
    show_space: bool = pydantic.Field(False, description="print the hyperparameters and their ranges, and stop")
    config: Path | None = pydantic.Field(
        None, description="YAML file with training fields; options on the command line override it"
    )


def main(arguments: Sequence[str], program: str = "keras-lnn tune") -> int:
    """Parses the options and searches; slow imports wait until the options are valid."""
    options = parse_options(SearchCommand, arguments, program)
    space_file, show_space, config_file = (options.pop(name, None) for name in ("space", "show_space", "config"))
    decided = [f"--{name.replace('_', '-')}" for name in _DECIDED if name in options]
    if decided:
        raise InputError(
            f"A search decides which files its trials write, and where. Received: {', '.join(decided)}. Leave it out."
        )
    own = {name: options.pop(name) for name in list(options) if name in SearchSettings.model_fields}
    settings = validate(SearchSettings, own)
    given = {name: value for name, value in _read_fields(config_file).items() if name not in _DECIDED}
    config = TrainConfig.create({**given, **options})

    from keras_lnn.data.catalog import require_source
    from keras_lnn.processes.engines import open_engine
    from keras_lnn.processes.sharing import keep_this_process_small
    from keras_lnn.runs.own_modules import import_modules, require_names
    from keras_lnn.terminal import make_console, start_keras

    require_names(config)
    require_one_device(config, "a search")
    if not show_space:
        require_source(config.data, config.image_dir)
    settings.role  # noqa: B018, two roles are reported before Keras is imported
    settings.require_cluster()
    settings.require_pruning_tuner()
    console = make_console()
    # The trials' processes import TensorFlow while this one, which does not need it, reads the space.
    engine = None if show_space else open_engine(settings, settings.workers, settings.limits)
    keep_this_process_small()
    start_keras(console)
    import_modules(config.imports)
    from tuning.display import space_table
    from tuning.searching import search
    from tuning.space import make_space

    space = make_space(config, space_file, fixed=options)
    if engine is None:  # only the space is shown
        console.print(space_table(space))
        return 0
    try:
        search(config, space, settings, console=console, engine=engine)
    finally:
        engine.close()
    return 0


def _read_fields(file: Any) -> dict[str, Any]:
    return read_yaml(file) if file is not None else {}
