"""The layers on the JAX backend: the same tests in a process of their own."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

pytestmark = [
    pytest.mark.skipif(keras.backend.backend() == "jax", reason="this is the process"),
    pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed"),
]
FEW = "((outputs or gradients) and (ltc-auto or cfc-auto)) or reference"


def run_on_jax(*arguments: str) -> None:
    folder = Path(__file__).parent
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=folder.parents[1])
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout


@pytest.mark.slow
def test_the_functions_are_the_same_on_jax():
    run_on_jax("-k", FEW)


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600)
def test_the_layer_tests_pass_on_jax():
    run_on_jax()
