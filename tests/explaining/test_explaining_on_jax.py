"""Explanations on the JAX backend: the same tests in a process of their own."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() == "jax", reason="this is the process")
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_maps_are_the_same_on_jax():
    folder = Path(__file__).parent
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "not slow", "-p", "no:cacheprovider", str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=folder.parents[1])
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout
