"""How Keras is imported: without what a run does not need, and with the programs that JAX has compiled before."""

import contextlib
import gc
import importlib
import importlib.abc
import importlib.machinery
import json
import os
import sys
import threading
from collections.abc import Collection, Generator
from pathlib import Path
from types import ModuleType
from typing import Any

from keras_lnn.starting.kept_programs import keep_programs

# Keras imports these for functions that hardly anyone calls; the first brings scikit-learn and half of SciPy.
_RARELY_USED = {"keras.wrappers", "matplotlib.pyplot"}
# Parts of TensorFlow's public interface that only name what is elsewhere, and that a training does not use.
_RARELY_USED |= {
    f"tensorflow._api.v2.{name}"
    for name in (
        *("__internal__.feature_column", "audio", "compat.v1", "compat.v2", "debugging", "estimator"),
        *("feature_column", "lookup", "mlir", "profiler", "quantization", "queue", "sets", "signal"),
        *("strings", "summary", "test", "tpu"),
    )
}
# So many new objects begin a collection of garbage. To build a network makes millions, of which hardly any is garbage.
_OBJECTS_OF_COLLECTION = 50_000


def import_keras(*others: str) -> None:
    """Imports Keras without what a run does not need, then other modules, and spares all of it garbage collection.

    Args:
        others: Names of modules to import too.
    """
    backend = _chosen_backend()
    keep_programs(backend)
    gc.disable()  # its collections take a fifth of the time and find nothing
    try:
        with _sparing(_RARELY_USED, _unneeded_with(backend)):
            importlib.import_module("keras")
        for name in others:
            importlib.import_module(name)
        gc.freeze()  # later collections would walk through all of TensorFlow
    finally:
        gc.enable()
        gc.set_threshold(_OBJECTS_OF_COLLECTION, 20, 20)


def _unneeded_with(backend: str) -> set[str]:
    """Returns the modules that Keras can do without on a backend: its NumPy backend computes some functions by JAX."""
    return {"jax"} if backend in ("", "tensorflow") else set()


def _chosen_backend() -> str:
    """Returns the backend that Keras will choose when it is imported."""
    found: Any = {}
    file = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "keras.json"
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(file.read_text(encoding="utf-8"))
    return os.environ.get("KERAS_BACKEND") or (found.get("backend", "") if isinstance(found, dict) else "")


class _SparingFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds some modules so that they are loaded when they are first used, and others so that they seem missing."""

    def __init__(self, late: Collection[str], hidden: Collection[str]) -> None:
        self.late = late
        self.hidden = hidden

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if fullname in self.hidden and fullname not in sys.modules:
            return importlib.machinery.ModuleSpec(fullname, self)
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target) if fullname in self.late else None
        if spec is not None and spec.loader is not None:
            spec.loader = _LateLoader(spec.loader)
        return spec

    def exec_module(self, module: ModuleType) -> None:
        raise ModuleNotFoundError(f"{module.__name__} is not loaded together with Keras", name=module.__name__)


class _LateModule(ModuleType):
    """A module that is loaded when an attribute is first used that its name and path do not give.

    That of ``importlib`` loads at any look at it, and TensorFlow looks at the path of every module.
    """

    def __dir__(self) -> list[str]:
        getattr(self, "__all__", None)  # loads it
        return sorted(vars(self))

    def __getattr__(self, name: str) -> Any:
        loader = self.__spec__.loader if self.__spec__ is not None else None
        if isinstance(loader, _LateLoader):
            loader.load(self)
        if type(self) is _LateModule:  # it is being loaded by this thread
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(self, name)


class _LateLoader(importlib.abc.Loader):
    """Loads a module when one of its own attributes is first used.

    Args:
        loader: The loader that it has otherwise.
    """

    def __init__(self, loader: Any) -> None:
        self.loader = loader
        self._lock = threading.RLock()
        self._is_begun = False

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__class__ = _LateModule

    def load(self, module: ModuleType) -> None:
        """Loads the module, unless that has been done or this thread is doing it."""
        with self._lock:
            if self._is_begun:
                return
            self._is_begun = True
            try:
                self.loader.exec_module(module)
            except BaseException:
                self._is_begun = False
                raise
            module.__class__ = ModuleType


@contextlib.contextmanager
def _sparing(late: Collection[str], hidden: Collection[str]) -> Generator[None]:
    """Saves the time of modules that are imported inside the context without need.

    Args:
        late: Names of modules that are loaded when one of their attributes is first used.
        hidden: Names of modules that other modules can do without; inside the context they seem missing. TensorFlow
            imports JAX only to convert its functions.
    """
    finder = _SparingFinder(late, hidden)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
