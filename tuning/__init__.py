"""Robust hyperparameter searches by KerasTuner and Optuna, with one process per trial.

The names below are loaded when they are first used.
"""

import importlib
from typing import Any

_PUBLIC = {
    "search": "searching",
    "SearchResult": "searching",
    "SearchSettings": "settings",
    "Space": "space",
    "make_space": "space",
}
__all__ = [*_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
