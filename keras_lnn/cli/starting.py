"""The base class of the commands, and the import of Keras and the user's modules once the options are valid."""

from typing import TYPE_CHECKING

import pydantic

from keras_lnn.fields.options import OwnModules
from keras_lnn.runs.own_modules import import_modules, require_modules
from keras_lnn.terminal import start_keras

if TYPE_CHECKING:
    from rich.console import Console


class Command(pydantic.BaseModel):
    """The options of a command."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


def start(command: OwnModules, console: "Console") -> None:
    """Imports Keras, and then the modules that the command names."""
    require_modules(command.imports)
    start_keras(console)
    import_modules(command.imports)
