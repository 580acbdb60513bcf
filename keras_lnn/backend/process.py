"""What is set once in a process, and what a run records of it."""

import importlib.metadata
import os
import platform
from typing import Any

import keras

from keras_lnn.backend.devices import list_devices

_PACKAGES = ("keras-lnn", "keras", "tensorflow", "jax", "ncps", "numpy", "scikit-learn", "medmnist")


def prepare_backend(seed: int, deterministic: bool, precision: str) -> None:
    """Sets seeds, determinism and precision of this process, before the first layer is created."""
    keras.utils.clear_session()
    keras.config.set_dtype_policy(precision)
    keras.utils.set_random_seed(seed)
    if deterministic and keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def describe_environment() -> dict[str, Any]:
    """Returns versions, backend and devices, to be stored with a run."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "packages": versions,
        "backend": keras.backend.backend(),
        "devices": list_devices(),
        "machine": platform.machine(),
        "system": platform.system(),
        "processors": os.cpu_count(),
    }
