"""The base class of the commands, a check of their runs, and the import of Keras and the user's modules."""

from typing import TYPE_CHECKING

import pydantic

from keras_lnn.config import TrainConfig
from keras_lnn.errors import InputError
from keras_lnn.fields.options import OwnModules
from keras_lnn.runs.own_modules import import_modules, require_modules
from keras_lnn.terminal import start_keras

if TYPE_CHECKING:
    from rich.console import Console


class Command(pydantic.BaseModel):
    """The options of a command."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


def require_one_device(config: TrainConfig, whole: str) -> None:
    """Checks that one of several runs, each in its own process with one of the GPUs, asks for no more than that.

    Args:
        config: Configuration of the run.
        whole: What the run is a part of, such as ``a search``.
    """
    if config.devices > 1:
        raise InputError(
            f"Each run of {whole} uses one device. Received: --devices {config.devices}. Leave it out; --workers sets"
            " the number of runs at a time."
        )


def start(command: OwnModules, console: "Console") -> None:
    """Imports Keras, and then the modules that the command names."""
    require_modules(command.imports)
    start_keras(console)
    import_modules(command.imports)
