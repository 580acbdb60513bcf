"""What the hosts of one run must have in common, which is checked before they compute together."""

from typing import Any

from keras_lnn.backend.devices import list_devices
from keras_lnn.backend.process import describe_environment
from keras_lnn.config import TrainConfig
from keras_lnn.fields.roles import Trait, fields_with
from keras_lnn.files.sources import describe_code

# Packages of which all hosts must have the same versions, since each compiles the program of all.
_COMPUTING = ("keras", "jax", "tensorflow")


def list_installed() -> dict[str, Any]:
    """Returns the code of this host, the versions that its numbers depend on, and its devices."""
    packages = describe_environment()["packages"]
    devices = [name.partition(":")[0] for name in list_devices()]
    return {
        "code": describe_code(),
        **{f"version of {name}": packages[name] for name in _COMPUTING if name in packages},
        "devices": f"{len(devices)} {devices[0]}",
    }


def list_options(config: TrainConfig) -> dict[str, Any]:
    """Returns the options of a run by their names on the command line, without paths, which may differ."""
    values = config.model_dump(mode="json", exclude=set(fields_with(TrainConfig, Trait.PLACE)))
    return {f"--{name.replace('_', '-')}": value for name, value in values.items()}
