"""The user's own modules: importing one registers its models, layers and data sets."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable

from keras_lnn.config import TrainConfig
from keras_lnn.data.catalog import require_data
from keras_lnn.errors import InputError
from keras_lnn.registry import require_model

_REMEDY = "Name modules that Python finds from here, such as my_models for my_models.py."


def import_modules(names: Iterable[str]) -> None:
    """Imports modules from the working folder or the installed packages; modules imported before stay as they are."""
    for name in names:
        _look_in_working_folder()
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:  # a user's module may raise anything
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            remedy = _REMEDY if isinstance(error, ImportError) else "Correct it."
            raise InputError(
                f"--imports must name modules that can be imported. Received: {name} ({reason}). {remedy}"
            ) from None


def require_modules(names: Iterable[str]) -> None:
    """Checks that modules of these names exist, without importing them."""
    for name in names:
        _look_in_working_folder()
        if not _is_there(name.partition(".")[0]):
            raise InputError(f"--imports must name modules that can be imported. Received: {name}. {_REMEDY}")


def require_names(config: TrainConfig) -> None:
    """Checks the names of model and data without importing Keras.

    What the user's own modules register is not known before they are imported, which takes as long as importing Keras.
    If there are such modules, only the existence of their files is checked.
    """
    require_modules(config.imports)
    if not config.imports:
        require_model(config.model)
        require_data(config.data)


def _look_in_working_folder() -> None:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


def _is_there(package: str) -> bool:
    try:
        return package in sys.modules or importlib.util.find_spec(package) is not None
    except ValueError:
        return False
