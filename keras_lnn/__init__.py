"""keras-lnn: train, compare, tune and ship liquid neural networks on medical images with Keras 3.

The names below are loaded when they are first used, so that importing the package costs nothing.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "TrainConfig": "config",
    "train": "training.loop",
    "resume": "training.loop",
    "load_data": "data",
    "register_arrays": "data",
    "register_data": "data",
    "build_model": "registry",
    "list_models": "registry",
    "register_model": "registry",
    "evaluate_predictions": "evaluation.predictions",
    "export_model": "saved.export",
    "load_model": "saved.predictor",
    "load_predictor": "saved.predictor",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
