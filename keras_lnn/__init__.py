"""keras-lnn: train, compare, tune and ship liquid neural networks on medical images with Keras 3.

The names below are the public interface; everything else may change between versions. They are loaded when they are
first used, so that importing the package costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_lnn.comparing.comparison import compare
    from keras_lnn.comparing.runs import load_runs
    from keras_lnn.comparing.writing import write_comparison
    from keras_lnn.config import TrainConfig
    from keras_lnn.data.catalog import register_data
    from keras_lnn.data.sources.loading import load_data
    from keras_lnn.data.sources.own_arrays import register_arrays
    from keras_lnn.evaluation.predictions import evaluate_predictions
    from keras_lnn.layers.cfc import CfC
    from keras_lnn.layers.ltc import LTC
    from keras_lnn.registry import build_model, list_models, register_model
    from keras_lnn.saved.export import export_model
    from keras_lnn.saved.image_predictions import predict_files
    from keras_lnn.saved.predictor import load_model, load_predictor
    from keras_lnn.trained.evaluate import evaluate_model
    from keras_lnn.training.loop import resume, train
    from tuning.searching import search
    from tuning.settings import SearchSettings
    from tuning.space import make_space

__version__ = "0.1.0"

_MODULES = {
    "keras_lnn.comparing.comparison": ("compare",),
    "keras_lnn.comparing.runs": ("load_runs",),
    "keras_lnn.comparing.writing": ("write_comparison",),
    "keras_lnn.config": ("TrainConfig",),
    "keras_lnn.data.catalog": ("register_data",),
    "keras_lnn.data.sources.loading": ("load_data",),
    "keras_lnn.data.sources.own_arrays": ("register_arrays",),
    "keras_lnn.evaluation.predictions": ("evaluate_predictions",),
    "keras_lnn.layers.cfc": ("CfC",),
    "keras_lnn.layers.ltc": ("LTC",),
    "keras_lnn.registry": ("build_model", "list_models", "register_model"),
    "keras_lnn.saved.export": ("export_model",),
    "keras_lnn.saved.image_predictions": ("predict_files",),
    "keras_lnn.saved.predictor": ("load_model", "load_predictor"),
    "keras_lnn.trained.evaluate": ("evaluate_model",),
    "keras_lnn.training.loop": ("resume", "train"),
    "tuning.searching": ("search",),
    "tuning.settings": ("SearchSettings",),
    "tuning.space": ("make_space",),
}
_PUBLIC = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "LTC",
    "CfC",
    "SearchSettings",
    "TrainConfig",
    "__version__",
    "build_model",
    "compare",
    "evaluate_model",
    "evaluate_predictions",
    "export_model",
    "list_models",
    "load_data",
    "load_model",
    "load_predictor",
    "load_runs",
    "make_space",
    "predict_files",
    "register_arrays",
    "register_data",
    "register_model",
    "resume",
    "search",
    "train",
    "write_comparison",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
