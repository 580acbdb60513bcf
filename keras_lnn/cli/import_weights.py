"""``keras-lnn import``: reads weights learned in PyTorch into the Keras model of the same network."""

from pathlib import Path
from typing import Any

import pydantic
from pydantic_settings import CliPositionalArg

from keras_lnn.cli.starting import Command, start
from keras_lnn.config import TrainConfig
from keras_lnn.errors import InputError
from keras_lnn.fields.options import OwnModules
from keras_lnn.fields.values import Side
from keras_lnn.registry import require_model
from keras_lnn.terminal import loading, make_console


class ImportCommand(OwnModules, Command):
    """Load weights learned in PyTorch (a state_dict saved as .npz) into the Keras model of the same network."""

    weights: CliPositionalArg[Path] = pydantic.Field(description=".npz file with the arrays of a state_dict")
    model: str = pydantic.Field(description="name of the model that the weights belong to")
    output: Path = pydantic.Field(description="folder to create; it can be used like that of a run")
    model_args: dict[str, Any] = pydantic.Field(default_factory=dict, description="arguments of the model's builder")
    data: str | None = pydantic.Field(
        None, description="data set that the model is for (default: the one that it was published for)"
    )
    size: Side | None = pydantic.Field(None, description="side of the images in pixels")
    implicit_param_constraints: bool = pydantic.Field(
        True, description="whether an LTC keeps its conductances positive by softplus, as ncps.torch does by default"
    )


def run_import(command: ImportCommand) -> None:
    """Imports the weights and prints the path of the model."""
    console = make_console()
    if not command.weights.is_file():
        raise InputError(
            f"Weights must be an existing .npz file. Received: {command.weights}, which does not exist. Check the path."
        )
    if not command.imports:
        require_model(command.model)
    start(command, console)
    from keras_lnn.registry import get_model
    from keras_lnn.saved.torch_weights import import_weights
    from keras_lnn.training.protocol import complete_config

    with loading(console, "importing"):
        config = TrainConfig.create(
            {
                "model": command.model,
                "model_args": command.model_args,
                "data": command.data or get_model(command.model).reference_data,
                "size": command.size,
                "run_dir": command.output,
                "imports": command.imports,
            }
        )
        folder = import_weights(command.weights, complete_config(config), command.implicit_param_constraints)
    console.print(f"imported {command.weights} as {command.model} for {config.data}: {folder.path}")
